//! Stories of processes on one node.

use crate::common;

use std::sync::Arc;
use std::time::Duration;

use common::{LONG, Till, Wire, open_till, poll_once};
use quorate_actor::{Actors, ActorsConfig, CallError, Exit, Mailbox, Message, ReplyTo, SendError};
use serde::{Deserialize, Serialize};

fn actors() -> Actors {
    Arc::new(Wire::default()).node(1, 1)
}

#[derive(Serialize, Deserialize)]
enum Other {
    Ping(ReplyTo<u64>),
}

impl Message for Other {
    const WIRE: Option<quorate_actor::Wire<Self>> = Some(quorate_actor::Wire::new("test.other", 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mail_between_two_processes_keeps_its_order() {
    const NOTES: u64 = 20_000;
    let actors = actors();
    let receiver = open_till(&actors);
    for _ in 0..2 {
        let to = receiver.clone();
        let sender = actors.spawn(move |_: Mailbox<Till>| async move {
            (0..NOTES).for_each(|note| to.send(Till::Note(note)).unwrap());
            Exit::Normal
        });
        assert!(matches!(actors.ended(sender.pid()).await, Exit::Normal | Exit::NoProc));
    }
    let notes = receiver.call(LONG, Till::Notes).await.unwrap();
    assert!(notes.into_iter().eq((0..NOTES).chain(0..NOTES)));
}

#[tokio::test(start_paused = true)]
async fn a_call_is_answered_and_leaves_no_slot() {
    let actors = actors();
    let till = open_till(&actors);
    till.send(Till::Note(2)).unwrap();
    till.send(Till::Note(3)).unwrap();
    assert_eq!(till.call(LONG, Till::Sum).await, Ok(5));
    let same = actors.addr::<Till>(till.pid());
    assert_eq!(same.call(LONG, Till::Sum).await, Ok(5));
    assert_eq!(actors.counts().calls, 0);
    assert_eq!(actors.counts().answers_late, 0);
}

#[tokio::test(start_paused = true)]
async fn mail_and_calls_to_the_dead_are_refused_at_once() {
    let actors = actors();
    let till = open_till(&actors);
    till.send(Till::Stop).unwrap();
    assert_eq!(actors.ended(till.pid()).await, Exit::Normal);
    for addr in [till.clone(), actors.addr(till.pid())] {
        assert_eq!(addr.send(Till::Note(1)), Err(SendError::NoProc));
        assert_eq!(addr.call(LONG, Till::Sum).await, Err(CallError::NoProc));
    }
    assert_eq!(actors.counts().calls, 0);
}

#[tokio::test(start_paused = true)]
async fn a_call_ends_with_the_process_that_holds_it_however_that_ends() {
    let actors = actors();
    let ends: [fn(&Actors, &quorate_actor::Addr<Till>); 3] = [
        |_, till| till.send(Till::Panic).unwrap(),
        |actors, till| assert!(actors.exit(till.pid(), Exit::Killed)),
        |_, till| till.send(Till::Stop).unwrap(),
    ];
    for (way, end) in ends.into_iter().enumerate() {
        let till = open_till(&actors);
        let mut in_hand = Box::pin(till.call(LONG, Till::Keep));
        assert_eq!(poll_once(&mut in_hand).await, None);
        tokio::task::yield_now().await;
        end(&actors, &till);
        let mut in_mailbox = Box::pin(till.call(LONG, Till::Keep));
        assert_eq!(poll_once(&mut in_mailbox).await, None);
        // A body that returns has dropped what it held of its own will.
        let held = if way == 2 { CallError::NoReply } else { CallError::Died };
        assert_eq!(in_hand.await, Err(held));
        assert_eq!(in_mailbox.await, Err(CallError::NoProc));
    }
    assert_eq!(actors.counts().calls, 0);
}

#[tokio::test(start_paused = true)]
async fn a_panic_ends_its_process_only() {
    let actors = actors();
    let (burning, other) = (open_till(&actors), open_till(&actors));
    let ended = actors.ended(burning.pid());
    burning.send(Till::Panic).unwrap();
    assert_eq!(ended.await, Exit::Panic("the till is on fire".into()));
    assert!(!actors.is_alive(burning.pid()));
    assert_eq!(other.call(LONG, Till::Sum).await, Ok(0));
    assert_eq!(actors.count(), 1);

    fn never_begins(_: Mailbox<Till>) -> std::future::Ready<Exit> {
        panic!("before the first await")
    }
    let stillborn = actors.spawn(never_begins);
    let exit = actors.ended(stillborn.pid()).await;
    assert_eq!(exit, Exit::Panic("before the first await".into()));
}

#[tokio::test(start_paused = true)]
async fn a_full_mailbox_says_so_and_takes_mail_again_when_it_was_read() {
    let config = ActorsConfig { mailbox_max: 3, ..ActorsConfig::default() };
    let actors = Arc::new(Wire::default()).node_with(1, 1, config);
    let till = open_till(&actors);
    (1..=3).for_each(|note| till.send(Till::Note(note)).unwrap());
    assert_eq!(till.send(Till::Note(4)), Err(SendError::Full));
    assert_eq!(till.call(LONG, Till::Sum).await, Err(CallError::Full));
    tokio::task::yield_now().await;
    assert_eq!(till.call(LONG, Till::Notes).await, Ok(vec![1, 2, 3]));
    assert_eq!(actors.counts().calls, 0);
}

#[tokio::test(start_paused = true)]
async fn an_exit_is_told_to_all_who_watched_and_late_askers_learn_that_it_is_gone() {
    let actors = actors();
    let till = open_till(&actors);
    let watchers: Vec<_> = (0..3).map(|_| actors.ended(till.pid())).collect();
    assert!(actors.is_alive(till.pid()));
    assert!(actors.exit(till.pid(), Exit::Because("moved".into())));
    // Whoever comes second says it to a process that is ending: the first exit is the one that counts.
    actors.exit(till.pid(), Exit::Shutdown);
    for watcher in watchers {
        assert_eq!(watcher.await, Exit::Because("moved".into()));
        assert!(!actors.is_alive(till.pid()), "who knows of an exit finds nothing alive");
    }
    assert_eq!(actors.ended(till.pid()).await, Exit::NoProc);
    assert!(!actors.exit(till.pid(), Exit::Killed));
}

#[tokio::test(start_paused = true)]
async fn a_process_that_was_killed_before_it_began_never_runs() {
    let actors = actors();
    let unborn = actors.spawn(|_: Mailbox<Till>| async { panic!("it runs") });
    let ended = actors.ended(unborn.pid());
    actors.exit(unborn.pid(), Exit::Shutdown);
    assert_eq!(ended.await, Exit::Shutdown);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_dropped_ends_its_call_at_once() {
    let actors = actors();
    let till = open_till(&actors);
    assert_eq!(till.call(LONG, Till::Forget).await, Err(CallError::NoReply));
    assert!(actors.is_alive(till.pid()));
}

#[tokio::test(start_paused = true)]
async fn an_answer_after_the_timeout_falls_away() {
    let actors = actors();
    let slow = actors.spawn(|mut mail: Mailbox<Till>| async move {
        let Till::Sum(to) = mail.receive().await else { panic!("another request") };
        quorate_env::sleep(Duration::from_secs(2)).await;
        to.send(7);
        Exit::Normal
    });
    let ended = actors.ended(slow.pid());
    let outcome = slow.call(Duration::from_secs(1), Till::Sum).await;
    assert_eq!(outcome, Err(CallError::Timeout));
    assert_eq!(ended.await, Exit::Normal);
}

#[tokio::test(start_paused = true)]
async fn an_address_of_another_protocol_reaches_nobody() {
    let actors = actors();
    let till = open_till(&actors);
    let wrong = actors.addr::<Other>(till.pid());
    assert_eq!(wrong.call(LONG, Other::Ping).await, Err(CallError::Protocol));
    assert_eq!(till.call(LONG, Till::Sum).await, Ok(0));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_was_handed_on_outlives_who_handed_it_on() {
    let actors = actors();
    let (first, second) = (open_till(&actors), open_till(&actors));
    second.send(Till::Note(9)).unwrap();
    let mut call = Box::pin(first.call(LONG, |to| Till::HandOn(second.pid(), to)));
    assert_eq!(poll_once(&mut call).await, None);
    first.send(Till::Stop).unwrap();
    assert_eq!(actors.ended(first.pid()).await, Exit::Normal);
    assert_eq!(call.await, Ok(9));

    // Handed on to the dead, it ends as if it had been sent there.
    let outcome = second.call(LONG, |to| Till::HandOn(first.pid(), to)).await;
    assert_eq!(outcome, Err(CallError::NoProc));
}

#[tokio::test(start_paused = true)]
async fn a_process_that_floods_itself_lets_others_live() {
    let actors = actors();
    let till = open_till(&actors);
    let flooded = actors.spawn(|mut mail: Mailbox<Till>| async move {
        let own = mail.addr();
        own.send(Till::Note(0)).unwrap();
        while let Till::Note(note) = mail.receive().await {
            own.send(Till::Note(note + 1)).unwrap();
        }
        Exit::Normal
    });
    assert_eq!(till.call(LONG, Till::Sum).await, Ok(0));
    flooded.send(Till::Stop).unwrap();
    assert_eq!(actors.ended(flooded.pid()).await, Exit::Normal);
}

#[tokio::test(start_paused = true)]
async fn a_mailbox_is_of_use_to_its_own_process_only() {
    let actors = actors();
    let (give, given) = tokio::sync::oneshot::channel();
    let giver = actors.spawn(|mail: Mailbox<Till>| async move {
        assert!(give.send(mail).is_ok());
        Exit::Normal
    });
    assert_eq!(actors.ended(giver.pid()).await, Exit::Normal);
    assert_eq!(giver.call(LONG, Till::Sum).await, Err(CallError::NoProc));
    let mut mail = given.await.unwrap();
    let taken = quorate_env::spawn(async move { drop(mail.receive().await) });
    assert!(taken.await.unwrap_err().is_panic());
}

#[tokio::test(start_paused = true)]
async fn closing_ends_all_and_lets_nobody_start() {
    let actors = actors();
    let tills: Vec<_> = (0..5).map(|_| open_till(&actors)).collect();
    let endings: Vec<_> = tills.iter().map(|till| actors.ended(till.pid())).collect();
    actors.close().await;
    assert_eq!(actors.count(), 0);
    for ended in endings {
        assert_eq!(ended.await, Exit::Shutdown);
    }
    let late = actors.spawn(|_: Mailbox<Till>| async { panic!("it runs") });
    assert_eq!(late.send(Till::Stop), Err(SendError::NoProc));
    assert_eq!(actors.ended(late.pid()).await, Exit::NoProc);
}

#[test]
fn a_process_whose_runtime_goes_away_is_known_to_have_ended() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let first = runtime();
    let (actors, till) = first.block_on(async {
        let actors = actors();
        let till = open_till(&actors);
        (actors, till)
    });
    let ended = actors.ended(till.pid());
    drop(first);
    assert_eq!(runtime().block_on(ended), Exit::Killed);
    assert_eq!(actors.count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_ends_while_processes_die_under_it() {
    let actors = actors();
    for round in 0..500 {
        let till = open_till(&actors);
        let ended = actors.ended(till.pid());
        let callers: Vec<_> = (0..4)
            .map(|_| {
                let till = till.clone();
                // Only the death can end these: nobody answers them, and the timeout is an hour.
                quorate_env::spawn(async move { till.call(LONG, Till::Keep).await })
            })
            .collect();
        if round % 2 == 0 {
            tokio::task::yield_now().await;
        }
        assert!(actors.exit(till.pid(), Exit::Killed));
        assert_eq!(ended.await, Exit::Killed);
        for caller in callers {
            let told = caller.await.unwrap();
            assert!(matches!(told, Err(CallError::NoProc | CallError::Died)), "{told:?}");
        }
    }
    assert_eq!((actors.counts().calls, actors.count()), (0, 0));
}
