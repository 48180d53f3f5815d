//! Processes that block, and processes that hold a worker without saying so.

use crate::scene;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use quorate_actor::{
    Actors, ActorsConfig, BlockingMailbox, Carrier, Ended, Exit, Incoming, Mailbox, Message,
    NotSent, Postage, ReplyTo, Spawn, State,
};
use quorate_vocab::{Boot, NodeId};
use scene::{LONG, act, dead, idle, in_life, soon, until};
use tokio::sync::oneshot;

enum Sum {
    Add(u64),
    Is(ReplyTo<u64>),
    Panic,
    End(Exit),
}

impl Message for Sum {}

fn adder(mut mailbox: BlockingMailbox<Sum>) -> Exit {
    let mut sum = 0;
    loop {
        match mailbox.next() {
            Ok(Incoming::Mail(Sum::Add(more))) => sum += more,
            Ok(Incoming::Mail(Sum::Is(to))) => to.send(sum),
            Ok(Incoming::Mail(Sum::Panic)) => panic!("the adder is on fire"),
            Ok(Incoming::Mail(Sum::End(exit))) => return exit,
            Ok(_) => {}
            Err(Ended) => return Exit::because("nobody hears this"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blocking_process_is_a_process_like_any_other_to_the_others() {
    let actors = Actors::alone();
    let adder = actors.spawn_blocking(Spawn::labelled("adder"), adder);
    (1..=100).for_each(|more| adder.send(Sum::Add(more)).unwrap());
    assert_eq!(adder.call(LONG, Sum::Is).await, Ok(5_050));
    assert!(actors.list().iter().any(|brief| brief.label == Some("adder")));
    let pid = adder.pid();
    let heard = act(&actors, async move |mut mailbox: Mailbox<()>| {
        mailbox.trap_exit(true);
        let monitor = mailbox.monitor(pid);
        mailbox.link(pid);
        adder.send(Sum::End(Exit::because("summed up"))).unwrap();
        let (mut linked, mut monitored) = (None, None);
        while linked.is_none() || monitored.is_none() {
            match mailbox.next().await {
                Incoming::Exited(news) if news.from == pid => linked = Some(news.exit),
                Incoming::Down(down) if down.monitor == monitor => monitored = Some(down.exit),
                _ => panic!("nothing else happens"),
            }
        }
        (linked, monitored)
    });
    let exit = Some(Exit::because("summed up"));
    assert_eq!(soon(heard).await, (exit.clone(), exit));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blocking_process_has_ties_and_hears_news() {
    let actors = Actors::alone();
    let gone = dead(&actors).await;
    let (tell, told) = oneshot::channel();
    let process =
        actors.spawn_blocking(Spawn::default(), move |mut mailbox: BlockingMailbox<()>| {
            let monitor = mailbox.with(move |mailbox| {
                mailbox.trap_exit(true);
                mailbox.link(gone);
                mailbox.monitor(gone)
            });
            let linked = matches!(mailbox.next(), Ok(Incoming::Exited(news)) if news.from == gone);
            let monitored = matches!(mailbox.next(),
            Ok(Incoming::Down(down)) if Ok(down.monitor) == monitor && down.exit == Exit::NoProc);
            let nothing = mailbox.next_within(Duration::from_millis(1));
            let _ = tell.send((linked, monitored, matches!(nothing, Ok(None))));
            Exit::Normal
        });
    assert_eq!(soon(told).await.unwrap(), (true, true, true));
    until(|| !actors.is_alive(process.pid())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_panic_of_a_blocking_process_is_its_exit() {
    let actors = Actors::alone();
    let adder = actors.spawn_blocking(Spawn::default(), adder);
    let ended = actors.ended(adder.pid());
    adder.send(Sum::Panic).unwrap();
    assert_eq!(soon(ended).await, Exit::Panic("the adder is on fire".into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blocking_process_that_was_ended_is_gone_at_once_and_its_thread_learns_it_when_it_asks() {
    let actors = Actors::alone();
    let (at_work, works) = oneshot::channel();
    let (go_on, may_go_on) = std::sync::mpsc::channel::<()>();
    let (tell, told) = oneshot::channel();
    let body = move |mut mailbox: BlockingMailbox<u64>| {
        at_work.send(()).unwrap();
        may_go_on.recv().unwrap();
        let seen = (mailbox.next().err(), mailbox.next_within(LONG).err(), mailbox.with(|_| ()));
        tell.send(seen).unwrap();
        Exit::Normal
    };
    let process = actors.spawn_blocking(Spawn::default(), body);
    soon(works).await.unwrap();
    let ended = actors.ended(process.pid());
    assert!(actors.kill(process.pid()));
    assert_eq!(soon(ended).await, Exit::Killed);
    assert!(process.send(1).is_err(), "its thread still works, but it is no process any more");
    go_on.send(()).unwrap();
    assert_eq!(soon(told).await.unwrap(), (Some(Ended), Some(Ended), Err(Ended)));

    // One that waits for mail learns it while it waits.
    let (tell, told) = oneshot::channel();
    let process =
        actors.spawn_blocking(Spawn::default(), move |mut mailbox: BlockingMailbox<u64>| {
            let _ = tell.send(mailbox.next().err());
            Exit::Normal
        });
    // For what its thread asks, or already for the mail that it asked for.
    let waits = |actors: &Actors| {
        actors.list().iter().any(|brief| brief.runs > 0 && brief.state == State::Waiting)
    };
    until(|| waits(&actors)).await;
    actors.kill(process.pid());
    assert_eq!(soon(told).await.unwrap(), Some(Ended));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blocking_process_may_set_timers_and_spawn() {
    let actors = Actors::alone();
    let own = actors.clone();
    let (tell, told) = oneshot::channel();
    let body = move |mut mailbox: BlockingMailbox<u64>| {
        mailbox.addr().send_after(Duration::from_millis(1), 1);
        let first = mailbox.next();
        let to = mailbox.addr();
        own.spawn(async move |_: Mailbox<()>| {
            to.send(2).unwrap();
            Exit::Normal
        });
        let both = [first, mailbox.next()].map(|news| match news {
            Ok(Incoming::Mail(note)) => note,
            _ => 0,
        });
        let _ = tell.send(both);
        Exit::Normal
    };
    actors.spawn_blocking(Spawn::default(), body);
    assert_eq!(soon(told).await, Ok([1, 2]));
}

#[test]
fn there_are_no_blocking_processes_in_a_simulated_life() {
    in_life(async |actors| {
        let process = actors.spawn_blocking(Spawn::default(), adder);
        let exit = soon(actors.ended(process.pid())).await;
        assert!(matches!(&exit, Exit::Because(why) if why.contains("no thread")), "{exit}");
    });
}

struct Nowhere;

impl Carrier for Nowhere {
    fn post(&self, _: NodeId, _: Postage, _: &mut Vec<u8>) -> Result<(), NotSent> {
        Err(NotSent::Unreachable)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_never_awaits_holds_up_no_other_and_is_named() {
    let config = ActorsConfig { hog_after: Duration::from_millis(20), ..ActorsConfig::default() };
    let actors = Actors::new(NodeId(1), Boot(1), Arc::new(Nowhere), config);
    let others: Vec<_> = (0..100).map(|_| idle(&actors)).collect();
    let stop = Arc::new(AtomicBool::new(false));
    let stops = stop.clone();
    let spin = async move |mut mailbox: Mailbox<()>| {
        // Those that it leaves behind itself at its own seat are robbed from there.
        let (own, to) = (mailbox.actors().clone(), mailbox.addr());
        own.spawn(async move |_: Mailbox<()>| {
            to.send(()).unwrap();
            Exit::Normal
        });
        while !stops.load(Ordering::Relaxed) {
            std::hint::spin_loop();
        }
        mailbox.receive().await;
        Exit::Normal
    };
    let hog = actors.spawn_with(Spawn::labelled("spinner"), spin);
    let ended = actors.ended(hog.pid());
    let holds = |held: bool| actors.hogs().iter().any(|it| it.pid == hog.pid() && it.holds == held);
    until(|| holds(true)).await;
    let named = actors.hogs().into_iter().find(|it| it.pid == hog.pid());
    assert_eq!(named.and_then(|hog| hog.label), Some("spinner"));
    for other in &others {
        assert!(soon(actors.info(other.pid())).await.is_some(), "the others go on");
    }
    until(|| actors.count() == 101).await;
    stop.store(true, Ordering::Relaxed);
    assert_eq!(soon(ended).await, Exit::Normal);
    until(|| holds(false)).await;
    actors.close().await;
}
