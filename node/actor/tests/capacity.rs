//! How much mail a mailbox holds, and what becomes of more.

mod scene;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use quorate_actor::{
    Actors, Addr, CallError, Capacity, Exit, Incoming, Mailbox, Message, ReplyTo, SendError, Spawn,
};
use scene::{LONG, act, began, in_life, soon, until};
use tokio::sync::oneshot;

enum Note {
    Is(u64),
    Ask(ReplyTo<u64>),
}

impl Message for Note {}

/// A process that reads nothing until it is let, and then hands out all that lies there, in order.
struct Reader {
    addr: Addr<Note>,
    let_read: oneshot::Sender<()>,
    read: oneshot::Receiver<Vec<u64>>,
}

impl Reader {
    fn new(actors: &Actors, capacity: Capacity) -> Self {
        let (let_read, may_read) = oneshot::channel::<()>();
        let (tell, read) = oneshot::channel();
        let how = Spawn::default().mailbox(capacity);
        let addr = actors.spawn_with(how, async |mut mailbox: Mailbox<Note>| {
            may_read.await.unwrap();
            let mut notes = Vec::new();
            while let Some(news) = mailbox.next_within(Duration::ZERO).await {
                match news {
                    Incoming::Mail(Note::Is(note)) => notes.push(note),
                    Incoming::Mail(Note::Ask(to)) => to.send(0),
                    _ => {}
                }
            }
            let _ = tell.send(notes);
            loop {
                mailbox.receive().await;
            }
        });
        Self { addr, let_read, read }
    }

    async fn read(self) -> Vec<u64> {
        self.let_read.send(()).unwrap();
        soon(self.read).await.unwrap()
    }
}

fn send_all(addr: &Addr<Note>, notes: impl IntoIterator<Item = u64>) {
    notes.into_iter().for_each(|note| addr.send(Note::Is(note)).unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_rejecting_mailbox_refuses_what_is_too_much_and_keeps_what_it_has() {
    let actors = Actors::alone();
    // Large ones count in another way than small ones.
    for limit in [1, 3, 5_000] {
        let reader = Reader::new(&actors, Capacity::Reject(limit));
        let addr = reader.addr.clone();
        let notes = 0..u64::from(limit);
        send_all(&addr, notes.clone());
        assert_eq!(addr.send(Note::Is(9)), Err(SendError::Full));
        assert_eq!(addr.call(LONG, Note::Ask).await, Err(CallError::Full));
        assert_eq!(soon(addr.deliver(Note::Is(9))).await, Err(SendError::Full), "it does not park");
        assert_eq!(actors.info(addr.pid()).await.unwrap().brief.mailbox, limit as usize);
        assert!(reader.read().await.into_iter().eq(notes.clone()));
        began(&actors, addr.pid()).await;
        send_all(&addr, [0]);
    }
    let none = Reader::new(&actors, Capacity::Reject(0));
    send_all(&none.addr, [1]);
    assert_eq!(none.addr.send(Note::Is(2)), Err(SendError::Full), "none counts as one");
}

#[tokio::test(start_paused = true)]
async fn a_rejecting_mailbox_takes_as_much_as_before_once_it_was_read() {
    let actors = Actors::alone();
    for limit in [1, 31, 5_000] {
        let how = Spawn::default().mailbox(Capacity::Reject(limit));
        let addr = actors.spawn_with(how, async |mut mailbox: Mailbox<u64>| {
            loop {
                mailbox.receive().await;
            }
        });
        for _ in 0..3 {
            (0..limit).for_each(|_| addr.send(1).unwrap());
            assert_eq!(addr.send(1), Err(SendError::Full));
            until(|| actors.list().iter().all(|brief| brief.mailbox == 0)).await;
        }
        actors.kill(addr.pid());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_never_is_full_never_says_so_whoever_sends() {
    const EACH: u64 = 200_000;
    let actors = Actors::alone();
    for capacity in [Capacity::Unbounded, Capacity::Reject(4 * EACH as u32)] {
        let how = Spawn::default().mailbox(capacity);
        let (tell, told) = oneshot::channel();
        let addr = actors.spawn_with(how, async |mut mailbox: Mailbox<u64>| {
            for _ in 0..4 * EACH {
                mailbox.receive().await;
            }
            let _ = tell.send(());
            Exit::Normal
        });
        let senders = (0..4).map(|_| {
            let addr = addr.clone();
            let send = move || (0..EACH).filter(|note| addr.send(*note).is_err()).count();
            quorate_env::blocking("sender", send).unwrap()
        });
        for refused in senders.collect::<Vec<_>>() {
            assert_eq!(soon(refused).await.unwrap().unwrap(), 0, "{capacity:?}");
        }
        soon(told).await.unwrap();
    }
}

#[test]
fn a_parking_mailbox_lets_its_senders_wait_until_there_is_room() {
    in_life(async |actors| {
        let reader = Reader::new(&actors, Capacity::Park(2));
        let (addr, delivered) = (reader.addr.clone(), Arc::new(AtomicU64::new(0)));
        let counted = delivered.clone();
        let sender = actors.spawn(async move |_: Mailbox<()>| {
            for note in 0..5 {
                addr.deliver(Note::Is(note)).await.unwrap();
                counted.fetch_add(1, Ordering::Relaxed);
            }
            Exit::Normal
        });
        began(&actors, sender.pid()).await;
        assert_eq!(delivered.load(Ordering::Relaxed), 2, "it waits with the third");
        assert_eq!(
            reader.addr.send(Note::Is(9)),
            Err(SendError::Full),
            "who does not wait is told"
        );
        {
            let mut given_up = Box::pin(reader.addr.deliver(Note::Is(9)));
            let wait = quorate_env::timeout(Duration::from_secs(1), given_up.as_mut()).await;
            assert!(wait.is_err());
        }
        let notes = reader.read().await;
        until(|| delivered.load(Ordering::Relaxed) == 5).await;
        assert!((0..5).take(notes.len()).eq(notes.iter().copied()), "{notes:?}");
        assert!(notes.len() >= 2, "{notes:?}");
    });
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_room_is_told_when_the_process_ends() {
    let actors = Actors::alone();
    let reader = Reader::new(&actors, Capacity::Park(1));
    send_all(&reader.addr, [1]);
    let (addr, (to, told)) = (reader.addr.clone(), oneshot::channel());
    let sender = actors.spawn(async move |_: Mailbox<()>| {
        let _ = to.send(addr.deliver(Note::Is(2)).await);
        Exit::Normal
    });
    began(&actors, sender.pid()).await;
    assert!(actors.kill(reader.addr.pid()));
    assert_eq!(soon(told).await.unwrap(), Err(SendError::NoProc));
    assert_eq!(soon(reader.addr.deliver(Note::Is(3))).await, Err(SendError::NoProc));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_parked_sender_gets_in_also_beside_senders_that_do_not_wait() {
    const SENDERS: u64 = 16;
    const EACH: u64 = 500;
    let actors = Actors::alone();
    let (tell, told) = oneshot::channel();
    let how = Spawn::default().mailbox(Capacity::Park(1));
    let addr = actors.spawn_with(how, async |mut mailbox: Mailbox<u64>| {
        let (mut delivered, mut last) = (0, vec![None; SENDERS as usize]);
        while delivered < SENDERS * EACH {
            let note = mailbox.receive().await;
            let Some(last) = last.get_mut((note / EACH) as usize) else { continue };
            assert!(last.replace(note).is_none_or(|last| last < note), "in each one's order");
            delivered += 1;
        }
        let _ = tell.send(());
        Exit::Normal
    });
    let stop = Arc::new(AtomicBool::new(false));
    let pushers = (0..2).map(|_| {
        let (addr, stop) = (addr.clone(), stop.clone());
        let push = move || {
            while !stop.load(Ordering::Relaxed) {
                (0..50).for_each(|_| _ = addr.send(u64::MAX));
                std::thread::yield_now();
            }
        };
        quorate_env::blocking("pusher", push).unwrap()
    });
    let pushers: Vec<_> = pushers.collect();
    for sender in 0..SENDERS {
        let addr = addr.clone();
        actors.spawn(async move |_: Mailbox<()>| {
            for note in sender * EACH..(sender + 1) * EACH {
                addr.deliver(note).await.unwrap();
            }
            Exit::Normal
        });
    }
    soon(told).await.unwrap();
    stop.store(true, Ordering::Relaxed);
    for pusher in pushers {
        soon(pusher).await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_mailbox_that_drops_its_oldest_holds_the_newest_in_order() {
    let actors = Actors::alone();
    for (capacity, kept) in [(Capacity::DropOldest(3), 8..=10), (Capacity::Latest, 10..=10)] {
        let reader = Reader::new(&actors, capacity);
        let addr = reader.addr.clone();
        let mut dropped = Box::pin(addr.call(LONG, Note::Ask));
        let first = std::future::poll_fn(|cx| {
            std::task::Poll::Ready(dropped.as_mut().poll(cx).is_pending())
        });
        assert!(first.await);
        send_all(&addr, 1..=10);
        assert_eq!(soon(dropped).await, Err(CallError::Full), "its caller is told");
        assert!(reader.read().await.into_iter().eq(kept));
    }
}

#[test]
fn a_mailbox_that_drops_its_oldest_is_bounded_also_while_its_process_looks_for_something_else() {
    in_life(async |actors| {
        let how = Spawn::default().mailbox(Capacity::DropOldest(3));
        let (tell, told) = oneshot::channel();
        let addr = actors.spawn_with(how, async |mut mailbox: Mailbox<u64>| {
            let (end, _) = mailbox.timeout_after(Duration::from_secs(1));
            let over = |news: &Incoming<u64>| matches!(news, Incoming::Timeout(_)).then_some(());
            mailbox.select(over, None).await;
            let mut notes = Vec::new();
            while let Some(Incoming::Mail(note)) = mailbox.try_next() {
                notes.push(note);
            }
            let _ = (tell.send(notes), end);
            Exit::Normal
        });
        for note in 0..100 {
            addr.send(note).unwrap();
            // It takes in each before the next.
            began(&actors, addr.pid()).await;
        }
        let notes = soon(told).await.unwrap();
        assert!(notes.len() <= 6 && notes.len() >= 3, "{notes:?}");
        assert!((100 - notes.len() as u64..100).eq(notes.iter().copied()), "{notes:?}");
    });
}

#[tokio::test(start_paused = true)]
async fn news_that_come_after_mail_stay_after_it_also_where_mail_is_dropped() {
    let actors = Actors::alone();
    for (capacity, heard_before) in [
        (Capacity::Unbounded, vec![1, 2, 3]),
        (Capacity::DropOldest(2), vec![2, 3]),
        (Capacity::Latest, vec![3]),
    ] {
        let (to, told) = oneshot::channel();
        let (go, gone_on) = oneshot::channel::<()>();
        let how = Spawn::default().mailbox(capacity);
        let receiver = actors.spawn_with(how, async move |mut mailbox: Mailbox<u64>| {
            mailbox.trap_exit(true);
            gone_on.await.unwrap();
            let mut heard = Vec::new();
            while let Incoming::Mail(note) = mailbox.next().await {
                heard.push(note);
            }
            let _ = to.send(heard);
            Exit::Normal
        });
        began(&actors, receiver.pid()).await;
        let addr = receiver.clone();
        act(&actors, async move |mailbox: Mailbox<()>| {
            (1..=3).for_each(|note| addr.send(note).unwrap());
            mailbox.exit(addr.pid(), Exit::Shutdown);
        })
        .await;
        go.send(()).unwrap();
        assert_eq!(soon(told).await.unwrap(), heard_before, "{capacity:?}");
    }
}

/// A message that panics when it is dropped unread.
struct Bomb(bool);

impl Message for Bomb {}

impl Drop for Bomb {
    fn drop(&mut self) {
        if self.0 {
            panic!("dropped");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_that_panics_when_it_is_dropped_harms_no_other_process() {
    let actors = Actors::alone();
    let how = Spawn::default().mailbox(Capacity::DropOldest(1));
    let addr = actors.spawn_with(how, async |mut mailbox: Mailbox<Bomb>| {
        let never = |_: &Incoming<Bomb>| None::<()>;
        mailbox.select(never, None).await;
        Exit::Normal
    });
    let bystander = scene::idle(&actors);
    for _ in 0..3 {
        // It lies with the process now, and the third makes the first go.
        addr.send(Bomb(true)).unwrap();
        began(&actors, addr.pid()).await;
    }
    assert!(soon(actors.info(bystander.pid())).await.is_some(), "the others still run");
    actors.kill(addr.pid());
    until(|| !actors.is_alive(addr.pid())).await;
    assert!(soon(actors.info(bystander.pid())).await.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_panic_whose_words_panic_again_ends_its_process_only() {
    let actors = Actors::alone();
    let bystander = scene::idle(&actors);
    let first = actors.spawn(async |_: Mailbox<u64>| std::panic::panic_any(Bomb(true)));
    let never: Addr<u64> =
        actors.spawn(|_| -> std::future::Ready<Exit> { std::panic::panic_any(Bomb(true)) });
    until(|| !actors.is_alive(first.pid()) && !actors.is_alive(never.pid())).await;
    assert!(soon(actors.info(bystander.pid())).await.is_some(), "the others still run");
}
