//! Stories of supervisors: what they start, stop and start again, and in which order.

use crate::family;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use family::{Worker, begin, diary, end, pid, plot, soon, worker};
use quorate_actor::{Actors, Addr, Exit, Incoming, Mailbox};
use quorate_otp::{
    AutoShutdown, Child, ChildCounts, ChildError, ChildState, Restart, Shutdown, StartError,
    Supervisor, SupervisorAddr,
};
use tokio::sync::{Barrier, Semaphore};

const HOUR: Duration = Duration::from_secs(3600);

fn boom() -> Exit {
    Exit::because("boom")
}

fn ended_by(exit: Exit) -> Option<StartError> {
    Some(StartError::Ended { exit })
}

/// Stops a supervisor from outside, and says how it ended.
async fn stop(actors: &Actors, supervisor: &SupervisorAddr) -> Exit {
    let ended = actors.ended(supervisor.pid());
    actors.exit(supervisor.pid(), Exit::Shutdown);
    soon(ended).await
}

async fn states(supervisor: &SupervisorAddr) -> Vec<(String, &'static str)> {
    let children = soon(supervisor.which_children()).await.unwrap();
    let said = children.into_iter().map(|child| {
        let state = match child.state {
            ChildState::Running(_) => "runs",
            ChildState::Restarting => "restarts",
            ChildState::Stopped => "stopped",
        };
        (child.id.to_string(), state)
    });
    said.collect()
}

fn said<const N: usize>(states: [(&str, &'static str); N]) -> Vec<(String, &'static str)> {
    states.map(|(id, state)| (id.to_owned(), state)).into()
}

// ── Starts and stops ────────────────────────────────────────────────────────────────────────────────────

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn children_start_in_order_and_stop_in_reverse_order() {
    let (actors, (pen, mut diary)) = (Actors::alone(), diary());
    let tree = ["a", "b", "c"]
        .iter()
        .fold(Supervisor::one_for_one(), |tree, id| tree.child(worker(id, &pen)));
    let supervisor = soon(tree.start(&actors)).await.unwrap();
    diary.reads(&["a starts", "b starts", "c starts"]).await;
    assert_eq!(states(&supervisor).await, said([("a", "runs"), ("b", "runs"), ("c", "runs")]));
    assert_eq!(stop(&actors, &supervisor).await, Exit::Shutdown);
    diary.reads(&["c stops: shutdown", "b stops: shutdown", "a stops: shutdown"]).await;
    assert!(soon(supervisor.which_children()).await.is_err());
}

#[tokio::test]
async fn a_child_that_fails_at_boot_takes_those_before_it_back_and_says_why() {
    let (actors, (pen, mut diary)) = (Actors::alone(), diary());
    let mut bad = plot("c", &pen);
    bad.failures = Arc::new(AtomicU32::new(1));
    let tree = Supervisor::one_for_one()
        .child(worker("a", &pen))
        .child(worker("b", &pen))
        .child(Child::server::<Worker>("c", bad))
        .child(worker("d", &pen));
    let started = soon(tree.start(&actors)).await;
    assert_eq!(started.err(), ended_by(Exit::because("it has a bad day")));
    let story = ["a starts", "b starts", "c fails", "b stops: shutdown", "a stops: shutdown"];
    diary.reads(&story).await;
    assert_eq!(actors.count(), 0);
    let supervisor = soon(tree.start(&actors)).await.expect("the bad day is over");
    assert_eq!(soon(supervisor.count_children()).await.unwrap().active, 4);
}

#[tokio::test]
async fn a_start_that_panics_has_failed_and_harms_nobody_else() {
    let (actors, (pen, mut diary)) = (Actors::alone(), diary());
    let panics = || Child::new("bad", |_| panic!("no such file"));
    let tree = Supervisor::one_for_one().child(worker("a", &pen));
    let started = soon(tree.clone().child(panics()).start(&actors)).await;
    assert_eq!(started.err(), ended_by(Exit::Panic("no such file".into())));
    diary.reads(&["a starts", "a stops: shutdown"]).await;

    let supervisor = soon(tree.start(&actors)).await.unwrap();
    let failed = soon(supervisor.start_child(panics())).await;
    assert_eq!(failed, Err(ChildError::Failed(Exit::Panic("no such file".into()))));
    assert_eq!(states(&supervisor).await, said([("a", "runs")]));
}

#[tokio::test]
async fn a_parent_s_end_stops_the_children_in_reverse_for_the_same_reason() {
    let (actors, (pen, mut diary)) = (Actors::alone(), diary());
    let (told, tells) = tokio::sync::oneshot::channel();
    let workers = pen.clone();
    let parent: Addr<()> = actors.spawn(move |mut mailbox: Mailbox<()>| async move {
        let tree =
            Supervisor::one_for_all().child(worker("a", &workers)).child(worker("b", &workers));
        let supervisor = tree.start_link(&mut mailbox).await.unwrap();
        told.send(supervisor).ok();
        mailbox.receive().await;
        boom()
    });
    let supervisor = soon(tells).await.unwrap();
    let ended = actors.ended(supervisor.pid());
    parent.send(()).unwrap();
    assert_eq!(soon(ended).await, boom());
    let story = ["a starts", "b starts", "b stops: shutdown", "a stops: shutdown"];
    diary.reads(&story).await;
}

#[tokio::test]
async fn an_exit_of_a_stranger_means_nothing_to_a_supervisor() {
    let (actors, (pen, _diary)) = (Actors::alone(), diary());
    let supervisor =
        soon(Supervisor::one_for_one().child(worker("a", &pen)).start(&actors)).await.unwrap();
    let pid = supervisor.pid();
    let stranger: Addr<()> = actors.spawn(move |mailbox: Mailbox<()>| async move {
        mailbox.exit(pid, Exit::Shutdown);
        Exit::Normal
    });
    soon(actors.ended(stranger.pid())).await;
    assert_eq!(states(&supervisor).await, said([("a", "runs")]));
}

#[tokio::test]
async fn children_of_a_killed_supervisor_die_by_their_links() {
    let (actors, (pen, _diary)) = (Actors::alone(), diary());
    let plain = |mut mailbox: Mailbox<()>| async move {
        mailbox.receive().await;
        Exit::Normal
    };
    let inner = Supervisor::one_for_one().child(worker("deep", &pen));
    let tree = Supervisor::one_for_one()
        .child(Child::body("plain", plain))
        .child(Child::supervisor("inner", inner));
    let supervisor = soon(tree.start(&actors)).await.unwrap();
    let inner = SupervisorAddr::of(&actors, pid(&supervisor, "inner").await);
    let plain = actors.ended(pid(&supervisor, "plain").await);
    let deep = actors.ended(pid(&inner, "deep").await);
    let inner = actors.ended(inner.pid());
    actors.kill(supervisor.pid());
    assert_eq!(soon(plain).await, Exit::Killed);
    assert_eq!(soon(deep).await, Exit::Shutdown, "its own supervisor still stops it in good order");
    assert_eq!(soon(inner).await, Exit::Killed);
}

// ── How children are stopped ────────────────────────────────────────────────────────────────────────────

/// A child that nothing but a kill ends.
fn deaf(id: &'static str) -> Child {
    Child::body(id, |mut mailbox: Mailbox<()>| async move {
        mailbox.trap_exit(true);
        loop {
            mailbox.next().await;
        }
    })
}

#[tokio::test]
async fn a_child_that_ignores_shutdown_is_killed_when_its_time_is_up() {
    let (actors, (pen, mut diary)) = (Actors::alone(), diary());
    let tree = Supervisor::one_for_one()
        .child(worker("a", &pen))
        .child(deaf("deaf").shutdown(Shutdown::After(Duration::from_millis(20))));
    let supervisor = soon(tree.start(&actors)).await.unwrap();
    let deaf = actors.ended(pid(&supervisor, "deaf").await);
    diary.reads(&["a starts"]).await;
    assert_eq!(stop(&actors, &supervisor).await, Exit::Shutdown);
    assert_eq!(soon(deaf).await, Exit::Killed);
    diary.reads(&["a stops: shutdown"]).await;
}

#[tokio::test]
async fn a_child_to_be_killed_brutally_has_no_last_words() {
    let (actors, (pen, mut diary)) = (Actors::alone(), diary());
    let tree = Supervisor::one_for_one()
        .child(worker("a", &pen))
        .child(worker("b", &pen).shutdown(Shutdown::BrutalKill));
    let supervisor = soon(tree.start(&actors)).await.unwrap();
    let b = actors.ended(pid(&supervisor, "b").await);
    assert_eq!(stop(&actors, &supervisor).await, Exit::Shutdown);
    assert_eq!(soon(b).await, Exit::Killed);
    diary.reads(&["a starts", "b starts", "a stops: shutdown"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_child_with_infinite_time_is_waited_for_and_one_without_is_not() {
    let (actors, (pen, mut diary)) = (Actors::alone(), diary());
    let slow = |id, how| {
        let plot = family::Plot { lingers: HOUR, ..plot(id, &pen) };
        Child::server::<Worker>(id, plot).shutdown(how)
    };
    let tree = Supervisor::one_for_one()
        .child(slow("a", Shutdown::Infinity))
        .child(slow("b", Shutdown::After(HOUR / 2)));
    let supervisor = soon(tree.start(&actors)).await.unwrap();
    let ended = actors.ended(supervisor.pid());
    let b = actors.ended(pid(&supervisor, "b").await);
    actors.exit(supervisor.pid(), Exit::Shutdown);
    assert_eq!(b.await, Exit::Killed);
    assert_eq!(ended.await, Exit::Shutdown);
    diary.reads(&["a starts", "b starts", "a stops: shutdown"]).await;
}

// ── Strategies ──────────────────────────────────────────────────────────────────────────────────────────

/// `b` of `a`, `b`, `c` crashes; what happens then.
async fn after_a_crash_of_b(tree: Supervisor) -> Vec<String> {
    let (actors, (pen, mut diary)) = (Actors::alone(), diary());
    let tree = ["a", "b", "c"].iter().fold(tree, |tree, id| tree.child(worker(id, &pen)));
    let supervisor = soon(tree.start(&actors)).await.unwrap();
    diary.lines(3).await;
    end(&actors, &supervisor, "b", boom()).await;
    let all = said([("a", "runs"), ("b", "runs"), ("c", "runs")]);
    assert_eq!(states(&supervisor).await, all);
    diary.rest()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_for_one_restarts_the_dead_alone() {
    let story = after_a_crash_of_b(Supervisor::one_for_one()).await;
    assert_eq!(story, ["b stops: boom", "b starts"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_for_all_stops_the_others_backwards_and_starts_all_forwards() {
    let story = after_a_crash_of_b(Supervisor::one_for_all()).await;
    let expected = [
        "b stops: boom",
        "c stops: shutdown",
        "a stops: shutdown",
        "a starts",
        "b starts",
        "c starts",
    ];
    assert_eq!(story, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rest_for_one_stops_and_starts_those_after_the_dead() {
    let story = after_a_crash_of_b(Supervisor::rest_for_one()).await;
    assert_eq!(story, ["b stops: boom", "c stops: shutdown", "b starts", "c starts"]);
}

#[tokio::test]
async fn a_child_is_restarted_as_its_kind_says() {
    use Restart::{Permanent, Temporary, Transient};
    let (actors, (pen, _diary)) = (Actors::alone(), diary());
    let tree = Supervisor::one_for_one()
        .intensity(100, HOUR)
        .child(worker("permanent", &pen).restart(Permanent))
        .child(worker("transient", &pen).restart(Transient))
        .child(worker("temporary", &pen).restart(Temporary));
    let supervisor = soon(tree.start(&actors)).await.unwrap();
    let all = |transient| said([("permanent", "runs"), ("transient", transient)]);
    for exit in [Exit::Normal, Exit::Shutdown, boom(), Exit::Panic("oh".into())] {
        end(&actors, &supervisor, "permanent", exit).await;
    }
    end(&actors, &supervisor, "temporary", boom()).await;
    end(&actors, &supervisor, "transient", boom()).await;
    assert_eq!(states(&supervisor).await, all("runs"));
    for exit in [Exit::Normal, Exit::Shutdown] {
        end(&actors, &supervisor, "transient", exit).await;
        assert_eq!(states(&supervisor).await, all("stopped"));
        soon(supervisor.restart_child("transient")).await.unwrap();
    }
    assert_eq!(states(&supervisor).await, all("runs"));
}

#[tokio::test]
async fn a_temporary_child_that_goes_down_with_another_does_not_come_back() {
    let (actors, (pen, mut diary)) = (Actors::alone(), diary());
    let tree = Supervisor::one_for_all()
        .child(worker("a", &pen))
        .child(worker("b", &pen).restart(Restart::Temporary))
        .child(worker("c", &pen).restart(Restart::Transient));
    let supervisor = soon(tree.start(&actors)).await.unwrap();
    soon(supervisor.terminate_child("c")).await.unwrap();
    end(&actors, &supervisor, "a", boom()).await;
    let left = said([("a", "runs"), ("c", "runs")]);
    assert_eq!(states(&supervisor).await, left, "what was stopped by hand starts with its group");
    diary.lines(4).await;
    diary.reads(&["a stops: boom", "b stops: shutdown", "a starts", "c starts"]).await;
}

// ── Intensity ───────────────────────────────────────────────────────────────────────────────────────────

#[tokio::test]
async fn one_restart_too_many_stops_all_children_backwards_and_ends_as_shutdown() {
    let (actors, (pen, mut diary)) = (Actors::alone(), diary());
    let tree = Supervisor::one_for_one()
        .intensity(2, HOUR)
        .child(worker("a", &pen))
        .child(worker("b", &pen))
        .child(worker("c", &pen));
    let supervisor = soon(tree.start(&actors)).await.unwrap();
    let ended = actors.ended(supervisor.pid());
    for _ in 0..3 {
        end(&actors, &supervisor, "b", boom()).await;
    }
    assert_eq!(soon(ended).await, Exit::Shutdown);
    diary.lines(3).await;
    for _ in 0..2 {
        diary.reads(&["b stops: boom", "b starts"]).await;
    }
    diary.reads(&["b stops: boom", "c stops: shutdown", "a stops: shutdown"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_storm_ends_after_exactly_as_many_restarts_as_are_allowed() {
    let (actors, starts) = (Actors::alone(), Arc::new(AtomicU32::new(0)));
    let counted = starts.clone();
    let bad = Child::body("bad", move |_: Mailbox<()>| {
        counted.fetch_add(1, Ordering::Relaxed);
        async { boom() }
    });
    let tree = Supervisor::one_for_one().intensity(10_000, HOUR).child(bad);
    let supervisor = soon(tree.start(&actors)).await.unwrap();
    let ended = soon(actors.ended(supervisor.pid())).await;
    // It may be over before it was watched.
    assert!(matches!(ended, Exit::Shutdown | Exit::NoProc), "{ended}");
    assert_eq!(starts.load(Ordering::Relaxed), 10_001);
}

#[tokio::test]
async fn a_restart_that_fails_is_tried_again_and_each_try_counts() {
    let (actors, (pen, mut diary)) = (Actors::alone(), diary());
    let mut flaky = plot("b", &pen);
    (flaky.starts, flaky.failures) = (Arc::new(AtomicU32::new(1)), Arc::new(AtomicU32::new(2)));
    let failures = flaky.failures.clone();
    let tree = Supervisor::rest_for_one()
        .intensity(6, HOUR)
        .child(worker("a", &pen))
        .child(Child::server::<Worker>("b", flaky))
        .child(worker("c", &pen));
    let supervisor = soon(tree.start(&actors)).await.unwrap();
    diary.lines(3).await;
    end(&actors, &supervisor, "b", boom()).await;
    diary.reads(&["b stops: boom", "c stops: shutdown"]).await;
    diary.reads(&["b fails", "b fails", "b starts", "c starts"]).await;
    // Three of six are used. Four more failures are one too many.
    failures.store(4, Ordering::Relaxed);
    let ended = actors.ended(supervisor.pid());
    end(&actors, &supervisor, "b", boom()).await;
    diary.reads(&["b stops: boom", "c stops: shutdown", "b fails", "b fails", "b fails"]).await;
    diary.reads(&["a stops: shutdown"]).await;
    assert_eq!(soon(ended).await, Exit::Shutdown);
}

/// A child whose starts wait for `gate` and fail, but the first one.
fn gated(gate: &Arc<Semaphore>, entered: &Arc<Semaphore>) -> Child {
    let (gate, entered) = (gate.clone(), entered.clone());
    let (first, body) =
        (Arc::new(AtomicU32::new(1)), |mut mailbox: Mailbox<family::End>| async move {
            mailbox.receive().await.0
        });
    Child::new("gated", move |mut starter| {
        let (gate, entered, first) = (gate.clone(), entered.clone(), first.clone());
        Box::pin(async move {
            if first.swap(0, Ordering::Relaxed) == 1 {
                return Ok(starter.spawn_link(body).pid());
            }
            entered.add_permits(1);
            gate.acquire().await.expect("it stays open").forget();
            Err(boom())
        })
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_while_a_child_restarts_is_answered_between_two_tries() {
    let actors = Actors::alone();
    let (gate, entered) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let tree = Supervisor::one_for_one().intensity(100, HOUR).child(gated(&gate, &entered));
    let supervisor = soon(tree.start(&actors)).await.unwrap();
    end(&actors, &supervisor, "gated", boom()).await;
    let waits_for_its_try = async || soon(entered.acquire()).await.unwrap().forget();
    waits_for_its_try().await;
    {
        let mut asks = Box::pin(states(&supervisor));
        begin(&mut asks).await;
        gate.add_permits(1);
        assert_eq!(asks.await, said([("gated", "restarts")]));
    }
    waits_for_its_try().await;
    // What a caller wants of a child that restarts is said, but for its end, which is done.
    let mut restarts = Box::pin(supervisor.restart_child("gated"));
    begin(&mut restarts).await;
    let mut deletes = Box::pin(supervisor.delete_child("gated"));
    begin(&mut deletes).await;
    let mut terminates = Box::pin(supervisor.terminate_child("gated"));
    begin(&mut terminates).await;
    gate.add_permits(1);
    assert_eq!(soon(restarts).await, Err(ChildError::Restarting));
    assert_eq!(soon(deletes).await, Err(ChildError::Restarting));
    assert_eq!(soon(terminates).await, Ok(()));
    assert_eq!(states(&supervisor).await, said([("gated", "stopped")]));
    assert_eq!(entered.available_permits(), 0, "nobody tries again what was terminated");
    assert_eq!(soon(supervisor.delete_child("gated")).await, Ok(()));
}

#[tokio::test]
async fn what_a_supervisor_cannot_mend_its_own_supervisor_does() {
    let (actors, (pen, mut diary)) = (Actors::alone(), diary());
    let inner = Supervisor::one_for_one().intensity(0, HOUR).child(worker("deep", &pen));
    let tree = Supervisor::one_for_one().child(Child::supervisor("inner", inner));
    let supervisor = soon(tree.start(&actors)).await.unwrap();
    let before = SupervisorAddr::of(&actors, pid(&supervisor, "inner").await);
    let ended = actors.ended(before.pid());
    end(&actors, &before, "deep", boom()).await;
    assert_eq!(soon(ended).await, Exit::Shutdown);
    diary.reads(&["deep starts", "deep stops: boom", "deep starts"]).await;
    assert_ne!(pid(&supervisor, "inner").await, before.pid());
}

// ── By hand ─────────────────────────────────────────────────────────────────────────────────────────────

#[tokio::test]
async fn children_are_started_terminated_restarted_and_deleted_by_hand() {
    let (actors, (pen, mut diary)) = (Actors::alone(), diary());
    let tree = Supervisor::one_for_one().max_children(2);
    let supervisor = soon(tree.start(&actors)).await.unwrap();
    let a = soon(supervisor.start_child(worker("a", &pen))).await.unwrap();
    let again = soon(supervisor.start_child(worker("a", &pen))).await;
    assert_eq!(again, Err(ChildError::AlreadyStarted(a)));
    assert_eq!(soon(supervisor.restart_child("a")).await, Err(ChildError::Running));
    assert_eq!(soon(supervisor.delete_child("a")).await, Err(ChildError::Running));
    assert_eq!(soon(supervisor.terminate_child("a")).await, Ok(()));
    assert_eq!(soon(supervisor.terminate_child("a")).await, Ok(()), "it is as was asked");
    let again = soon(supervisor.start_child(worker("a", &pen))).await;
    assert_eq!(again, Err(ChildError::AlreadyPresent));
    let b = worker("b", &pen).restart(Restart::Temporary);
    soon(supervisor.start_child(b)).await.unwrap();
    let third = soon(supervisor.start_child(worker("c", &pen))).await;
    assert_eq!(third, Err(ChildError::TooMany { max: 2 }));
    let counts = ChildCounts { specs: 2, active: 1, supervisors: 0, workers: 2 };
    assert_eq!(soon(supervisor.count_children()).await, Ok(counts));
    assert_ne!(soon(supervisor.restart_child("a")).await, Ok(a));
    assert_eq!(soon(supervisor.terminate_child("b")).await, Ok(()), "and forgotten: temporary");
    assert_eq!(soon(supervisor.terminate_child("b")).await, Err(ChildError::NotFound));
    soon(supervisor.terminate_child(pid(&supervisor, "a").await)).await.unwrap();
    assert_eq!(soon(supervisor.delete_child("a")).await, Ok(()));
    assert_eq!(soon(supervisor.delete_child("a")).await, Err(ChildError::NotFound));
    assert_eq!(soon(supervisor.restart_child("a")).await, Err(ChildError::NotFound));
    assert_eq!(states(&supervisor).await, []);
    diary.reads(&["a starts", "a stops: shutdown", "b starts", "a starts"]).await;
    diary.reads(&["b stops: shutdown", "a stops: shutdown"]).await;
}

#[tokio::test]
async fn a_named_child_has_its_name_again_after_a_restart() {
    let (actors, (pen, _diary)) = (Actors::alone(), diary());
    let body = |mut mailbox: Mailbox<family::End>| async move { mailbox.receive().await.0 };
    let tree = Supervisor::one_for_one()
        .intensity(9, HOUR)
        .child(worker("till", &pen).named("shop till"))
        .child(Child::body("door", body).named("shop door"));
    let supervisor = soon(tree.start(&actors)).await.unwrap();
    for (id, name) in [("till", "shop till"), ("door", "shop door")] {
        let before = pid(&supervisor, id).await;
        assert_eq!(actors.whereis(name), Some(before));
        end(&actors, &supervisor, id, boom()).await;
        let after = pid(&supervisor, id).await;
        assert!(after != before && actors.whereis(name) == Some(after));
    }
    for child in [worker("other", &pen), Child::body("other", body)] {
        let failed = soon(supervisor.start_child(child.named("shop door"))).await;
        assert!(matches!(failed, Err(ChildError::Failed(Exit::Because(_)))), "{failed:?}");
    }
    assert_eq!(soon(supervisor.count_children()).await.unwrap().specs, 2);
}

// ── Significant children ────────────────────────────────────────────────────────────────────────────────

/// Two significant children and a helper; the helper has ended, and one of the two has crashed once.
async fn significant(actors: &Actors, auto_shutdown: AutoShutdown) -> SupervisorAddr {
    let (pen, _diary) = diary();
    let transient = worker("transient", &pen).restart(Restart::Transient).significant();
    let temporary = worker("temporary", &pen).restart(Restart::Temporary).significant();
    let tree = Supervisor::one_for_one()
        .auto_shutdown(auto_shutdown)
        .child(worker("helper", &pen).restart(Restart::Temporary))
        .child(transient)
        .child(temporary);
    let supervisor = soon(tree.start(actors)).await.unwrap();
    end(actors, &supervisor, "helper", Exit::Normal).await;
    end(actors, &supervisor, "transient", boom()).await;
    let both = said([("transient", "runs"), ("temporary", "runs")]);
    assert_eq!(states(&supervisor).await, both, "who is restarted has not done its work");
    supervisor
}

#[tokio::test]
async fn a_supervisor_ends_when_any_significant_child_has_done_its_work() {
    let actors = Actors::alone();
    for (id, exit) in [("transient", Exit::Normal), ("temporary", boom())] {
        let supervisor = significant(&actors, AutoShutdown::AnySignificant).await;
        let ended = actors.ended(supervisor.pid());
        end(&actors, &supervisor, id, exit).await;
        assert_eq!(soon(ended).await, Exit::Shutdown);
    }
}

#[tokio::test]
async fn a_supervisor_ends_when_its_last_significant_child_has_done_its_work() {
    let actors = Actors::alone();
    let supervisor = significant(&actors, AutoShutdown::AllSignificant).await;
    let ended = actors.ended(supervisor.pid());
    end(&actors, &supervisor, "transient", Exit::Normal).await;
    let left = said([("transient", "stopped"), ("temporary", "runs")]);
    assert_eq!(states(&supervisor).await, left);
    end(&actors, &supervisor, "temporary", boom()).await;
    assert_eq!(soon(ended).await, Exit::Shutdown);
}

#[tokio::test]
async fn a_description_that_contradicts_itself_starts_nothing() {
    let (actors, (pen, mut diary)) = (Actors::alone(), diary());
    let never = Supervisor::one_for_one();
    let any = Supervisor::one_for_one().auto_shutdown(AutoShutdown::AnySignificant);
    let temporary = worker("a", &pen).restart(Restart::Temporary).significant();
    let permanent = worker("a", &pen).significant();
    let twice = never.clone().child(worker("a", &pen)).child(worker("a", &pen));
    for tree in [never.child(temporary), any.child(permanent), twice] {
        let started = soon(tree.start(&actors)).await;
        assert!(matches!(started, Err(StartError::Ended { exit: Exit::Because(_) })));
    }
    diary.reads(&["a starts", "a stops: shutdown"]).await;
}

// ── Dynamic children ────────────────────────────────────────────────────────────────────────────────────

#[tokio::test]
async fn dynamic_children_are_known_by_pid_and_as_many_as_are_allowed() {
    let (actors, (pen, _diary)) = (Actors::alone(), diary());
    let tree = Supervisor::dynamic().max_children(2).intensity(9, HOUR);
    let supervisor = soon(tree.start(&actors)).await.unwrap();
    let child = || worker("guest", &pen).restart(Restart::Transient);
    let a = soon(supervisor.start_child(child())).await.unwrap();
    let b = soon(supervisor.start_child(child())).await.unwrap();
    let third = soon(supervisor.start_child(child())).await;
    assert_eq!(third, Err(ChildError::TooMany { max: 2 }));
    assert_eq!(soon(supervisor.restart_child("guest")).await, Err(ChildError::Dynamic));
    assert_eq!(soon(supervisor.delete_child("guest")).await, Err(ChildError::Dynamic));
    assert_eq!(soon(supervisor.terminate_child("guest")).await, Err(ChildError::NotFound));
    assert_eq!(soon(supervisor.terminate_child(b)).await, Ok(()));
    assert_eq!(soon(supervisor.terminate_child(b)).await, Err(ChildError::NotFound));
    end(&actors, &supervisor, "guest", boom()).await;
    let children = soon(supervisor.which_children()).await.unwrap();
    assert!(children.len() == 1 && children[0].pid().is_some_and(|pid| pid != a), "restarted");
    end(&actors, &supervisor, "guest", Exit::Normal).await;
    assert_eq!(states(&supervisor).await, [], "what has done its work is forgotten");
}

#[tokio::test]
async fn dynamic_children_stop_all_at_once_and_the_deaf_are_killed() {
    let (actors, meet) = (Actors::alone(), Arc::new(Barrier::new(3)));
    let supervisor = soon(Supervisor::dynamic().start(&actors)).await.unwrap();
    let mut ends = Vec::new();
    for _ in 0..3 {
        let meet = meet.clone();
        // Each of them can end only when all were told to.
        let polite = Child::body("polite", move |mut mailbox: Mailbox<()>| {
            let meet = meet.clone();
            async move {
                mailbox.trap_exit(true);
                while !matches!(mailbox.next().await, Incoming::Exited(_)) {}
                meet.wait().await;
                Exit::Normal
            }
        });
        let polite = polite.shutdown(Shutdown::Infinity);
        let pid = soon(supervisor.start_child(polite)).await.unwrap();
        ends.push((actors.ended(pid), Exit::Normal));
    }
    for how in [Shutdown::After(Duration::from_millis(20)), Shutdown::BrutalKill] {
        let pid = soon(supervisor.start_child(deaf("deaf").shutdown(how))).await.unwrap();
        ends.push((actors.ended(pid), Exit::Killed));
    }
    // All have made their first step when one that was started after them has.
    let last = Child::body("last", |_: Mailbox<()>| async { Exit::Normal });
    let last = soon(supervisor.start_child(last.restart(Restart::Temporary))).await.unwrap();
    soon(actors.ended(last)).await;
    assert_eq!(stop(&actors, &supervisor).await, Exit::Shutdown);
    for (ended, exit) in ends {
        assert_eq!(soon(ended).await, exit);
    }
    assert_eq!(actors.count(), 0);
}
