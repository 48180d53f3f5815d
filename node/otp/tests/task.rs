//! Tasks and groups of them.

use crate::stories;

use std::future::pending;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use quorate_actor::{Actors, Exit, Incoming, Mailbox, yield_now};
use quorate_otp::{Failure, Order, Task, TaskError, TaskGroup, TaskGroupConfig};
use stories::{LONG, in_process, story};
use tokio::sync::oneshot;

/// Long enough that what a test does in a row is done before it, also where a busy machine stops it in
/// between.
const SOON: Duration = Duration::from_millis(400);

fn ended<T>(exit: Exit) -> Result<T, TaskError> {
    Err(TaskError::Ended { exit })
}

fn boom() -> Exit {
    Exit::Panic("boom".to_owned())
}

#[test]
fn a_task_gives_its_value_once() {
    story(async |actors: Actors| {
        let mut task = Task::start(&actors, async { 6 * 7 });
        assert_eq!(task.await_within(LONG).await, Ok(42));
        assert_eq!(task.await_within(LONG).await, Err(TaskError::Taken));
        assert_eq!(Task::start(&actors, async { "so" }).await, Ok("so"));
    });
}

#[test]
fn one_that_is_late_goes_on_and_can_be_awaited_again() {
    story(async |actors: Actors| {
        let (word, waits) = oneshot::channel();
        let mut task = Task::start(&actors, waits);
        assert_eq!(task.await_within(SOON).await, Err(TaskError::Late));
        word.send(1).unwrap();
        assert_eq!(task.await_within(LONG).await, Ok(Ok(1)));
    });
}

#[test]
fn one_that_ends_without_a_value_says_why() {
    story(async |actors: Actors| {
        let task = Task::<()>::start(&actors, async { panic!("boom") });
        assert_eq!(task.await, ended(boom()));
        let task = Task::<()>::start(&actors, pending());
        actors.kill(task.pid());
        assert_eq!(task.await, ended(Exit::Killed));
    });
}

#[test]
fn a_task_whose_handle_is_dropped_runs_on() {
    story(async |actors: Actors| {
        let (word, waits) = oneshot::channel::<()>();
        let (tell, told) = oneshot::channel();
        drop(Task::start(&actors, async {
            let _ = tell.send(waits.await);
        }));
        word.send(()).unwrap();
        assert_eq!(told.await.unwrap(), Ok(()));
    });
}

#[test]
fn a_task_is_shut_down_where_it_awaits_and_gives_its_value_if_that_was_first() {
    story(async |actors: Actors| {
        let task = Task::<()>::start(&actors, pending());
        let pid = task.pid();
        assert_eq!(task.shutdown(LONG).await, ended(Exit::Shutdown));
        assert!(!actors.is_alive(pid));
        let task = Task::start(&actors, async { 1 });
        actors.ended(task.pid()).await;
        assert_eq!(task.shutdown(LONG).await, Ok(1));
    });
}

#[test]
fn a_linked_task_that_fails_takes_its_starter_along_and_one_that_is_shut_down_does_not() {
    story(async |actors: Actors| {
        let (_, exit) = in_process(&actors, async |mut me: Mailbox<()>| {
            Task::<()>::start_link(&mut me, async { panic!("boom") }).await
        })
        .await;
        assert_eq!(exit, boom());
        let (failed, exit) = in_process(&actors, async |mut me: Mailbox<()>| {
            me.trap_exit(true);
            let task = Task::<()>::start_link(&mut me, async { panic!("boom") });
            let pid = task.pid();
            let failed = task.await;
            let Incoming::Exited(trapped) = me.next().await else { panic!("another thing came") };
            assert_eq!((trapped.from, trapped.exit), (pid, boom()));
            failed
        })
        .await;
        assert_eq!((failed, exit), (Some(ended(boom())), Exit::Normal));
        let (stopped, exit) = in_process(&actors, async |mut me: Mailbox<()>| {
            Task::<()>::start_link(&mut me, pending()).shutdown(LONG).await
        })
        .await;
        assert_eq!((stopped, exit), (Some(ended(Exit::Shutdown)), Exit::Normal));
    });
}

#[test]
fn a_linked_task_ends_with_its_starter() {
    story(async |actors: Actors| {
        let (tell, told) = oneshot::channel();
        let starter = actors.spawn(|mut me: Mailbox<()>| async move {
            let task = Task::<()>::start_link(&mut me, pending());
            tell.send(task.pid()).unwrap();
            me.receive().await;
            Exit::because("tired")
        });
        let end = actors.ended(told.await.unwrap());
        starter.send(()).unwrap();
        assert_eq!(end.await, Exit::because("tired"));
    });
}

#[test]
fn the_starter_of_a_monitored_task_gets_one_down() {
    story(async |actors: Actors| {
        let (found, _) = in_process(&actors, async |mut me: Mailbox<()>| {
            let (task, monitor) = Task::start_monitor(&mut me, async { 1 });
            let value = task.await;
            let Incoming::Down(down) = me.next().await else { panic!("another thing came") };
            (value, down.monitor == monitor, down.exit)
        })
        .await;
        assert_eq!(found, Some((Ok(1), true, Exit::Normal)));
    });
}

fn config(at_once: usize, order: Order, failure: Failure) -> TaskGroupConfig {
    TaskGroupConfig { at_once: NonZeroUsize::new(at_once).unwrap(), order, failure }
}

async fn all<T: Send + 'static>(group: &mut TaskGroup<T>) -> Vec<Result<T, TaskError>> {
    let mut results = Vec::new();
    while let Some(result) = group.next().await {
        results.push(result);
    }
    results
}

#[test]
fn a_group_runs_no_more_at_once_than_it_may_and_all_in_the_end() {
    story(async |actors: Actors| {
        let mut group = TaskGroup::new(&actors, config(3, Order::Start, Failure::EndsOthers));
        let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        for number in 0..20 {
            let (running, most) = (running.clone(), most.clone());
            group.add(async move {
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                yield_now().await;
                running.fetch_sub(1, Ordering::SeqCst);
                number
            });
        }
        let numbers: Vec<_> = (0..20).map(Ok).collect();
        assert_eq!(all(&mut group).await, numbers);
        let most = most.load(Ordering::SeqCst);
        assert!((1..=3).contains(&most), "{most} ran at once");
    });
}

#[test]
fn results_come_as_they_are_ready_or_in_the_order_of_their_start() {
    story(async |actors: Actors| {
        let (done, waits) = oneshot::channel::<()>();
        let mut group = TaskGroup::new(&actors, config(2, Order::Completion, Failure::EndsOthers));
        group.add(async { waits.await.map_or("lost", |()| "one") });
        group.add(async { "two" });
        assert_eq!(group.next().await, Some(Ok("two")));
        done.send(()).unwrap();
        assert_eq!(all(&mut group).await, [Ok("one")]);

        let (done, waits) = oneshot::channel::<()>();
        let mut group = TaskGroup::new(&actors, config(2, Order::Start, Failure::EndsOthers));
        group.add(async { waits.await.map_or("lost", |()| "one") });
        group.add(async { "two" });
        let first = quorate_env::timeout(SOON, group.next()).await;
        assert!(first.is_err(), "the second waits for the first");
        done.send(()).unwrap();
        assert_eq!(all(&mut group).await, [Ok("one"), Ok("two")]);
    });
}

#[test]
fn the_first_failure_ends_the_others_or_is_one_result_among_them() {
    story(async |actors: Actors| {
        let fail = |group: &mut TaskGroup<u32>| {
            group.add(async { panic!("boom") });
            group.add(async { 2 });
        };
        let mut group = TaskGroup::new(&actors, config(1, Order::Start, Failure::IsItsOwn));
        fail(&mut group);
        assert_eq!(all(&mut group).await, [ended(boom()), Ok(2)]);

        let mut group = TaskGroup::new(&actors, config(2, Order::Start, Failure::EndsOthers));
        group.add(pending());
        fail(&mut group);
        assert_eq!(all(&mut group).await, [ended(boom())]);
        // Those that gave a value may take a moment more to end; the one that waits would never end.
        while actors.count() > 0 {
            yield_now().await;
        }
        group.add(async { 3 });
        assert_eq!(all(&mut group).await, [Ok(3)], "and a group can go on after that");
    });
}

#[test]
fn a_group_that_is_dropped_ends_its_tasks() {
    story(async |actors: Actors| {
        let mut group = TaskGroup::<()>::new(&actors, config(2, Order::Start, Failure::IsItsOwn));
        for _ in 0..3 {
            group.add(pending());
        }
        let pids: Vec<_> = actors.list().into_iter().map(|brief| brief.pid).collect();
        assert_eq!(pids.len(), 2);
        let ends: Vec<_> = pids.into_iter().map(|pid| actors.ended(pid)).collect();
        drop(group);
        for end in ends {
            assert_eq!(end.await, Exit::Shutdown);
        }
    });
}
