//! Timers: messages that come later, once or again and again, until they are cancelled.

use crate::scene;

use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use quorate_actor::{Actors, Capacity, Exit, Incoming, Mailbox, Spawn, Timer};
use scene::{act, idle, in_life, soon};

const SECOND: Duration = Duration::from_secs(1);

/// What comes until nothing comes for a while, and after how many milliseconds.
async fn hear(mailbox: &mut Mailbox<u64>) -> Vec<(u64, u128)> {
    let began = quorate_env::now();
    let mut heard = Vec::new();
    while let Some(Incoming::Mail(note)) = mailbox.next_within(20 * SECOND).await {
        heard.push((note, quorate_env::now().since(began).as_millis()));
    }
    heard
}

#[test]
fn messages_come_when_they_are_due_and_in_that_order() {
    in_life(async |actors| {
        let heard = act(&actors, async |mut mailbox: Mailbox<u64>| {
            for (note, seconds) in [(1, 3), (2, 1), (3, 2), (4, 1), (5, 0)] {
                mailbox.addr().send_after(seconds * SECOND, note);
            }
            assert_eq!(mailbox.actors().counts().timers, 5);
            hear(&mut mailbox).await
        });
        let heard = heard.await;
        assert_eq!(heard, [(5, 0), (2, 1_000), (4, 1_000), (3, 2_000), (1, 3_000)]);
        assert_eq!(actors.counts().timers, 0);
    });
}

#[test]
fn a_timer_that_is_set_while_another_is_waited_for_may_be_due_before_it() {
    in_life(async |actors| {
        let heard = act(&actors, async |mut mailbox: Mailbox<u64>| {
            mailbox.addr().send_after(10 * SECOND, 1);
            quorate_env::sleep(SECOND).await;
            mailbox.addr().send_after(SECOND, 2);
            hear(&mut mailbox).await
        });
        assert_eq!(heard.await, [(2, 1_000), (1, 9_000)]);
    });
}

#[test]
fn a_timer_is_cancelled_once_and_then_never_fires() {
    in_life(async |actors| {
        let heard = act(&actors, async |mut mailbox: Mailbox<u64>| {
            let addr = mailbox.addr();
            let (cut, kept) = (addr.send_after(SECOND, 1), addr.send_after(SECOND, 2));
            assert!(cut.cancel());
            assert!(!cut.clone().cancel(), "it is cancelled already");
            let heard = hear(&mut mailbox).await;
            assert!(!kept.cancel(), "it has fired");
            heard
        });
        assert_eq!(heard.await, [(2, 1_000)]);
        assert_eq!(actors.counts().timers, 0);
    });
}

#[test]
fn dropping_a_timer_does_not_cancel_it() {
    in_life(async |actors| {
        let heard = act(&actors, async |mut mailbox: Mailbox<u64>| {
            drop(mailbox.addr().send_after(SECOND, 1));
            hear(&mut mailbox).await
        });
        assert_eq!(heard.await, [(1, 1_000)]);
    });
}

#[test]
fn an_interval_beats_until_it_is_cancelled() {
    in_life(async |actors| {
        act(&actors, async |mut mailbox: Mailbox<u64>| {
            let began = quorate_env::now();
            let mut beat = 0;
            let timer = mailbox.addr().send_interval(2 * SECOND, move || {
                beat += 1;
                beat
            });
            for beat in 1..=5 {
                assert_eq!(mailbox.receive().await, beat);
                assert_eq!(quorate_env::now().since(began), beat as u32 * 2 * SECOND);
            }
            assert!(timer.cancel());
            assert!(!timer.cancel());
            assert!(hear(&mut mailbox).await.is_empty());
        })
        .await;
    });
}

#[test]
fn an_interval_ends_with_its_process_and_leaves_out_what_finds_no_room() {
    in_life(async |actors| {
        let how = Spawn::default().mailbox(Capacity::Reject(2));
        let addr = actors.spawn_with(how, async |mut mailbox: Mailbox<u64>| {
            quorate_env::sleep(10 * SECOND).await;
            while mailbox.next_within(Duration::ZERO).await.is_some() {}
            mailbox.receive().await;
            Exit::Normal
        });
        let (made, counted) = (Arc::new(Mutex::new(0)), Arc::new(Mutex::new(0)));
        let ended = actors.ended(addr.pid());
        let count = made.clone();
        addr.send_interval(SECOND, move || {
            *count.lock().unwrap() += 1;
            1
        });
        assert_eq!(soon(ended).await, Exit::Normal);
        *counted.lock().unwrap() = *made.lock().unwrap();
        quorate_env::sleep(10 * SECOND).await;
        let (made, counted) = (*made.lock().unwrap(), *counted.lock().unwrap());
        assert!(counted >= 10, "it went on where it found no room");
        assert!(made <= counted + 1, "it ends when it finds nobody: {made} beats, {counted}");
        assert_eq!(actors.counts().timers, 0);
    });
}

#[test]
fn a_timer_that_is_cancelled_while_it_fires_does_not_fire_again() {
    in_life(async |actors| {
        act(&actors, async |mut mailbox: Mailbox<u64>| {
            let own: Arc<OnceLock<Timer>> = Arc::default();
            let (at, cut) = (own.clone(), Arc::new(Mutex::new(Vec::new())));
            let cuts = cut.clone();
            let timer = mailbox.addr().send_interval(SECOND, move || {
                cuts.lock().unwrap().extend(at.get().map(Timer::cancel));
                7
            });
            own.set(timer).unwrap();
            assert_eq!(hear(&mut mailbox).await.len(), 1, "the beat under way was the last");
            assert_eq!(*cut.lock().unwrap(), [true]);
        })
        .await;
        assert_eq!(actors.counts().timers, 0);
    });
}

#[test]
fn a_timeout_is_news_and_says_which_it_was() {
    in_life(async |actors| {
        act(&actors, async |mut mailbox: Mailbox<u64>| {
            let (late, _) = mailbox.timeout_after(2 * SECOND);
            let (early, _) = mailbox.timeout_after(SECOND);
            let (_, cut) = mailbox.timeout_after(SECOND);
            assert!(cut.cancel());
            mailbox.addr().send(1).unwrap();
            assert!(matches!(mailbox.next().await, Incoming::Mail(1)));
            assert!(matches!(mailbox.next().await, Incoming::Timeout(which) if which == early));
            assert!(matches!(mailbox.next().await, Incoming::Timeout(which) if which == late));
            assert!(mailbox.next_within(20 * SECOND).await.is_none());
        })
        .await;
    });
}

#[test]
fn many_timers_all_come_in_order_and_leave_nothing() {
    const TIMERS: u64 = 100_000;
    in_life(async |actors| {
        let how = Spawn::default().mailbox(Capacity::Unbounded);
        let (tell, told) = tokio::sync::oneshot::channel();
        let addr = actors.spawn_with(how, async |mut mailbox: Mailbox<u64>| {
            let mut heard = Vec::new();
            while heard.len() as u64 != TIMERS / 2 {
                heard.push(mailbox.receive().await);
            }
            let _ = tell.send(heard);
            Exit::Normal
        });
        // Each second one is cancelled.
        for note in 0..TIMERS {
            let after = (note * 7_919) % TIMERS;
            let timer = addr.send_after(Duration::from_millis(after), after);
            if note % 2 == 1 {
                assert!(timer.cancel());
            }
        }
        let heard = told.await.unwrap();
        assert!(heard.is_sorted());
        assert_eq!(actors.counts().timers, 0);
    });
}

#[test]
fn a_timer_that_panics_keeps_no_other_from_firing() {
    in_life(async |actors| {
        let target = idle(&actors);
        target.send_interval(SECOND, || panic!("no beat"));
        let heard = act(&actors, async |mut mailbox: Mailbox<u64>| {
            mailbox.addr().send_after(2 * SECOND, 1);
            hear(&mut mailbox).await
        });
        assert_eq!(heard.await, [(1, 2_000)]);
        assert_eq!(actors.counts().timers, 0, "the one that panics has ended");
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancel_that_races_the_firing_says_what_happened() {
    let actors = Actors::alone();
    let (fired, told) = soon(act(&actors, async |mut mailbox: Mailbox<u64>| {
        let mut told = 0;
        for round in 0..5_000 {
            let timer = mailbox.addr().send_after(Duration::from_micros(round % 50), round);
            if round % 3 > 0 {
                quorate_actor::yield_now().await;
            }
            told += u64::from(!timer.cancel());
        }
        // Those that had fired have come, or are about to.
        let mut fired = 0;
        while fired < told {
            mailbox.receive().await;
            fired += 1;
        }
        (fired, told + u64::from(mailbox.try_next().is_some()))
    }))
    .await;
    assert_eq!(fired, told);
}
