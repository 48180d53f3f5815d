//! Selective receive: what it takes, what it leaves, what it costs.

use crate::scene;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use proptest::prelude::*;
use quorate_actor::{
    Actors, Addr, Capacity, Exit, Incoming, Mailbox, Message, Pid, ReplyTo, Spawn, receive,
    yield_now,
};
use scene::{LONG, act, dead, in_life, soon};

/// A process's whole mail, as it lies there.
async fn rest(mailbox: &mut Mailbox<u64>) -> Vec<u64> {
    let mut rest = Vec::new();
    while let Some(Incoming::Mail(note)) = mailbox.next_within(Duration::ZERO).await {
        rest.push(note);
    }
    rest
}

fn to_self(mailbox: &Mailbox<u64>, notes: impl IntoIterator<Item = u64>) {
    notes.into_iter().for_each(|note| mailbox.addr().send(note).unwrap());
}

#[tokio::test(start_paused = true)]
async fn the_first_that_fits_is_taken_and_the_others_stay_in_order() {
    let actors = Actors::alone();
    act(&actors, async |mut mailbox: Mailbox<u64>| {
        to_self(&mailbox, 1..=9);
        let even = receive!(mailbox, {
            Mail(note) if note % 4 == 0 => note,
            Mail(note) if *note > 6 => note,
        });
        assert_eq!(even, 4, "the first in the mailbox, whichever arm it fits");
        assert_eq!(receive!(mailbox, { Mail(9) => 9, Mail(note @ 1..3) => note }), 1);
        to_self(&mailbox, [10]);
        assert_eq!(rest(&mut mailbox).await, [2, 3, 5, 6, 7, 8, 9, 10]);
    })
    .await;
}

#[test]
fn all_kinds_of_news_can_be_received() {
    in_life(async |actors| {
        let gone = dead(&actors).await;
        act(&actors, async move |mut mailbox: Mailbox<u64>| {
            mailbox.trap_exit(true);
            to_self(&mailbox, [1]);
            let (timeout, _) = mailbox.timeout_after(Duration::from_secs(1));
            let monitor = mailbox.monitor(gone);
            mailbox.link(gone);
            assert!(receive!(mailbox, { Timeout(which) if *which == timeout => true }));
            let from: Pid = receive!(mailbox, { Exited(news) => { news.from } });
            let exit = receive!(mailbox, { Down(down) if down.monitor == monitor => down.exit });
            assert_eq!((from, exit), (gone, Exit::NoProc));
            assert_eq!(rest(&mut mailbox).await, [1]);
        })
        .await;
    });
}

#[test]
fn after_is_counted_from_the_receive_and_never_keeps_from_what_lies_here() {
    in_life(async |actors| {
        act(&actors, async |mut mailbox: Mailbox<u64>| {
            let began = quorate_env::now();
            let late =
                receive!(mailbox, { Mail(_) => false, after Duration::from_secs(3) => true });
            assert!(late);
            assert_eq!(quorate_env::now().since(began), Duration::from_secs(3));
            assert!(receive!(mailbox, { Mail(_) => false, after Duration::ZERO => true }));
            to_self(&mailbox, [1, 2]);
            let two = receive!(mailbox, { Mail(2) => 2, after Duration::ZERO => 0 });
            assert_eq!(two, 2);
            // What does not fit does not put off the end of the time.
            let addr = mailbox.addr();
            let beat = addr.send_interval(Duration::from_millis(300), || 7);
            let began = quorate_env::now();
            let late =
                receive!(mailbox, { Mail(9) => false, after Duration::from_secs(2) => true });
            assert!(late && beat.cancel());
            assert_eq!(quorate_env::now().since(began), Duration::from_secs(2));
        })
        .await;
    });
}

#[test]
fn a_receive_without_waiting_finds_all_that_lies_here_and_ends_when_nothing_does() {
    in_life(async |actors| {
        // A run takes only so many; on neither side of that bound is a look anything else than a look.
        for notes in (0..300).chain([1_000, 5_000]) {
            let seen = act(&actors, async move |mut mailbox: Mailbox<u64>| {
                yield_now().await;
                to_self(&mailbox, 0..notes);
                rest(&mut mailbox).await.len() as u64
            });
            assert_eq!(soon(seen).await, notes);
        }
    });
}

#[test]
fn arms_may_leave_what_stands_around_them() {
    in_life(async |actors| {
        async fn first_even(mailbox: &mut Mailbox<u64>) -> Result<u64, std::num::TryFromIntError> {
            let mut seen = 0;
            loop {
                receive!(mailbox, {
                    Mail(note) if *note > 1_000 => {
                        u8::try_from(note)?;
                    }
                    Mail(note) if note % 2 == 0 => return Ok(note * 100 + seen),
                    Mail(1) => continue,
                    Mail(_) => { seen += 1; }
                    after Duration::ZERO => break,
                });
            }
            Ok(seen)
        }
        act(&actors, async |mut mailbox: Mailbox<u64>| {
            to_self(&mailbox, [3, 1, 5, 4, 7, 2_000, 6]);
            assert_eq!(first_even(&mut mailbox).await, Ok(402));
            assert!(first_even(&mut mailbox).await.is_err());
            assert_eq!(first_even(&mut mailbox).await, Ok(600));
            assert_eq!(first_even(&mut mailbox).await, Ok(0));
        })
        .await;
    });
}

#[tokio::test(start_paused = true)]
async fn a_long_tray_is_looked_through_once_not_once_for_each_arrival() {
    const LIE: u64 = 1_000;
    const COME: u64 = 1_000;
    let actors = Actors::alone();
    let looks = act(&actors, async |mut mailbox: Mailbox<u64>| {
        to_self(&mailbox, (0..LIE).map(|_| 0));
        // One comes in each run.
        let to = mailbox.addr();
        mailbox.actors().spawn(async move |_: Mailbox<()>| {
            for note in 1..=COME {
                to.send(note).unwrap();
                yield_now().await;
            }
            Exit::Normal
        });
        let mut looks = 0;
        let wants = |news: &Incoming<u64>| {
            looks += 1;
            matches!(news, Incoming::Mail(COME)).then_some(())
        };
        mailbox.select(wants, None).await;
        looks
    });
    assert_eq!(looks.await, LIE + COME);
}

#[test]
fn a_receive_that_is_given_up_loses_nothing() {
    in_life(async |actors| {
        act(&actors, async |mut mailbox: Mailbox<u64>| {
            to_self(&mailbox, 1..=3);
            for _ in 0..5 {
                let never = mailbox.select(|_| None::<()>, None);
                assert!(quorate_env::timeout(Duration::from_secs(1), never).await.is_err());
            }
            to_self(&mailbox, [4]);
            assert_eq!(rest(&mut mailbox).await, [1, 2, 3, 4]);
        })
        .await;
    });
}

#[tokio::test(start_paused = true)]
async fn receive_leaves_news_where_they_lie() {
    let actors = Actors::alone();
    let gone = dead(&actors).await;
    act(&actors, async move |mut mailbox: Mailbox<u64>| {
        let monitor = mailbox.monitor(gone);
        to_self(&mailbox, [1]);
        mailbox.monitor(gone);
        to_self(&mailbox, [2]);
        assert_eq!((mailbox.receive().await, mailbox.receive().await), (1, 2));
        let Some(Incoming::Down(down)) = mailbox.try_next() else { panic!("it lay first") };
        assert_eq!(down.monitor, monitor);
        assert!(matches!(mailbox.try_next(), Some(Incoming::Down(_))));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_mailbox_elsewhere_than_in_its_process_panics_and_waits_for_nothing() {
    let actors = Actors::alone();
    let (give, given) = tokio::sync::oneshot::channel();
    actors.spawn(async |mailbox: Mailbox<u64>| {
        let _ = give.send(mailbox);
        std::future::pending().await
    });
    let mut mailbox = given.await.unwrap();
    // On a thread that never ran a process.
    let thread = quorate_env::blocking("elsewhere", move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(mailbox.next_within(LONG)).is_some()
    });
    assert!(soon(thread.unwrap()).await.unwrap().is_err());
}

#[test]
fn a_mailbox_wakes_whoever_waits_for_it_inside_of_its_process() {
    in_life(async |actors| {
        use futures_util::stream::{FuturesUnordered, StreamExt};
        let ended = act(&actors, async |mut mailbox: Mailbox<u64>| {
            let to = mailbox.addr();
            to.send_after(Duration::from_secs(1), 7);
            let wait = Box::pin(async move { mailbox.receive().await });
            // It polls only those of its futures that were woken.
            let mut waiting: FuturesUnordered<_> = [wait].into_iter().collect();
            waiting.next().await
        });
        assert_eq!(soon(ended).await, Some(7));
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_flooded_process_keeps_no_other_from_its_turn() {
    const FLOOD: u64 = 500_000;
    enum Ping {
        Is(ReplyTo<u64>),
    }
    impl Message for Ping {}

    let actors = Actors::alone();
    let read = Arc::new(AtomicU64::new(0));
    let counted = read.clone();
    let how = Spawn::default().mailbox(Capacity::Unbounded);
    let flooded = actors.spawn_with(how, async move |mut mailbox: Mailbox<u64>| {
        while counted.fetch_add(1, Ordering::Relaxed) < FLOOD {
            mailbox.receive().await;
        }
        Exit::Normal
    });
    let seen = read.clone();
    let other = actors.spawn(async move |mut mailbox: Mailbox<Ping>| {
        loop {
            let Ping::Is(to) = mailbox.receive().await;
            to.send(seen.load(Ordering::Relaxed));
        }
    });
    let ended = actors.ended(flooded.pid());
    let answered = act(&actors, async move |_: Mailbox<()>| {
        (0..=FLOOD).for_each(|note| flooded.send(note).unwrap());
        other.call(LONG, Ping::Is).await.unwrap()
    });
    let answered = answered.await;
    assert!(answered < FLOOD / 2, "answered only after {answered} of {FLOOD}");
    soon(ended).await;
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Send(u64),
    /// Something that is not mail comes.
    News,
    Next,
    Receive,
    Select(u64),
    Drain,
    Yield,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0_u64..5).prop_map(Step::Send),
        2 => Just(Step::News),
        2 => Just(Step::Next),
        1 => Just(Step::Receive),
        3 => (0_u64..5).prop_map(Step::Select),
        1 => Just(Step::Yield),
    ];
    let drain = (0_u8..20).prop_map(|n| if n == 0 { Step::Drain } else { Step::Next });
    proptest::collection::vec(prop_oneof![9 => step, 1 => drain], 0..200)
}

/// What lies in the model's mailbox: mail, or something else.
type Lying = Option<u64>;

fn lying(news: Option<Incoming<u64>>) -> Option<Lying> {
    news.map(|news| match news {
        Incoming::Mail(note) => Some(note),
        _ => None,
    })
}

async fn follow(mailbox: &mut Mailbox<u64>, gone: Pid, steps: Vec<Step>) -> Result<(), String> {
    let own: Addr<u64> = mailbox.addr();
    let mut model: VecDeque<Lying> = VecDeque::new();
    for (nth, step) in steps.into_iter().enumerate() {
        let take = |model: &mut VecDeque<Lying>, wants: &dyn Fn(&Lying) -> bool| {
            let at = model.iter().position(wants)?;
            model.remove(at)
        };
        let (is, ought) = match step {
            Step::Send(note) => {
                own.send(note).map_err(|error| error.to_string())?;
                model.push_back(Some(note));
                continue;
            }
            Step::News => {
                mailbox.monitor(gone);
                model.push_back(None);
                continue;
            }
            Step::Yield => {
                yield_now().await;
                continue;
            }
            Step::Next => (lying(mailbox.try_next()), model.pop_front()),
            Step::Receive => match take(&mut model, &|lying| lying.is_some()) {
                None => continue,
                ought => (Some(Some(mailbox.receive().await)), ought),
            },
            Step::Select(note) => {
                let ought = take(&mut model, &|lying| *lying == Some(note));
                let is = receive!(mailbox, {
                    Mail(is) if *is == note => Some(Some(is)),
                    after Duration::ZERO => None,
                });
                (is, ought)
            }
            Step::Drain => {
                while let Some(ought) = model.pop_front() {
                    let is = lying(mailbox.next_within(Duration::ZERO).await);
                    if is != Some(ought) {
                        return Err(format!("{nth}: drained {is:?}, not {ought:?}"));
                    }
                }
                (lying(mailbox.next_within(Duration::ZERO).await), None)
            }
        };
        if is != ought {
            return Err(format!("{nth}: {step:?} gave {is:?}, not {ought:?}"));
        }
        let mails = model.iter().flatten().count();
        if mailbox.len() < mails {
            return Err(format!("{nth}: it says that {} wait, and {mails} do", mailbox.len()));
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// The model: a row, of which the first that fits is taken.
    #[test]
    fn a_mailbox_behaves_as_a_row_from_which_the_first_that_fits_is_taken(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let followed = runtime.block_on(async {
            let actors = Actors::alone();
            let gone = dead(&actors).await;
            let follow = async move |mut mailbox| follow(&mut mailbox, gone, steps).await;
            let followed = act(&actors, follow).await;
            actors.close().await;
            followed
        });
        prop_assert_eq!(followed, Ok(()));
    }
}
