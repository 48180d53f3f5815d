//! Monitors: one `Down` for each, also for the dead.

use quorate_actor::{Exit, Mailbox, Spawn};

use crate::stage::{Events, Stage, all, because, crash, finish, oops, scenarios, words};

scenarios![
    monitor_then_exit,
    monitor_then_normal,
    monitor_then_panic,
    monitor_then_kill,
    monitor_dead,
    monitor_twice_dead,
    two_monitors_two_downs,
    two_watchers_one_down_each,
    monitor_self,
    monitor_is_no_link,
    demonitor_then_exit,
    demonitor_one_of_two,
    demonitor_flushes,
    demonitor_without_flush,
    demonitor_tells_whether_it_was_open,
    demonitor_of_another_s_monitor,
    spawn_monitor_child_dies_at_once,
    spawn_monitor_child_ends_normally,
    monitor_and_link_both_tell,
    monitor_after_the_end,
];

async fn monitor_then_exit(mut on: Stage) -> Events {
    let a = on.subject().await;
    let m = on.me.monitor(a.pid());
    finish(&a, oops());
    on.heard(&[(m, "m")]).await
}

async fn monitor_then_normal(mut on: Stage) -> Events {
    let a = on.subject().await;
    let m = on.me.monitor(a.pid());
    finish(&a, Exit::Normal);
    on.heard(&[(m, "m")]).await
}

async fn monitor_then_panic(mut on: Stage) -> Events {
    let a = on.subject().await;
    let m = on.me.monitor(a.pid());
    crash(&a);
    on.heard(&[(m, "m")]).await
}

async fn monitor_then_kill(mut on: Stage) -> Events {
    let a = on.trapping().await;
    let m = on.me.monitor(a.pid());
    on.actors().kill(a.pid());
    on.heard(&[(m, "m")]).await
}

async fn monitor_dead(mut on: Stage) -> Events {
    let dead = on.dead().await;
    let m = on.me.monitor(dead);
    on.heard(&[(m, "m")]).await
}

async fn monitor_twice_dead(mut on: Stage) -> Events {
    let dead = on.dead().await;
    let (m, n) = (on.me.monitor(dead), on.me.monitor(dead));
    sorted(on.heard(&[(m, "m"), (n, "n")]).await)
}

/// Nothing is said of the order in which one end is told twice.
fn sorted(mut events: Events) -> Events {
    events.sort();
    events
}

async fn two_monitors_two_downs(mut on: Stage) -> Events {
    let a = on.subject().await;
    let (m, n) = (on.me.monitor(a.pid()), on.me.monitor(a.pid()));
    finish(&a, oops());
    sorted(on.heard(&[(m, "m"), (n, "n")]).await)
}

async fn two_watchers_one_down_each(mut on: Stage) -> Events {
    let a = on.subject().await;
    let to = a.pid();
    let b = on.subject_that(move |b| b.monitor(to)).await;
    let c = on.subject_that(move |c| c.monitor(to)).await;
    finish(&a, oops());
    all([on.fate_of("b", &b).await, on.fate_of("c", &c).await])
}

async fn monitor_self(mut on: Stage) -> Events {
    let a = on.subject_that(|a| a.monitor(a.pid())).await;
    let before = on.fate(&a).await;
    finish(&a, oops());
    all([before, on.fate(&a).await])
}

async fn monitor_is_no_link(mut on: Stage) -> Events {
    let a = on.subject().await;
    let to = a.pid();
    let b = on.subject_that(move |b| b.monitor(to)).await;
    finish(&b, oops());
    let before = all([on.fate_of("a", &a).await, on.fate_of("b", &b).await]);
    let c = on.subject_that(move |c| c.monitor(to)).await;
    finish(&a, oops());
    all([before, on.fate_of("c", &c).await])
}

async fn demonitor_then_exit(mut on: Stage) -> Events {
    let a = on.subject().await;
    let m = on.me.monitor(a.pid());
    on.me.demonitor(m);
    finish(&a, oops());
    on.heard(&[(m, "m")]).await
}

async fn demonitor_one_of_two(mut on: Stage) -> Events {
    let a = on.subject().await;
    let (m, n) = (on.me.monitor(a.pid()), on.me.monitor(a.pid()));
    on.me.demonitor(m);
    finish(&a, oops());
    on.heard(&[(m, "m"), (n, "n")]).await
}

async fn demonitor_flushes(mut on: Stage) -> Events {
    let a = on.subject().await;
    let m = on.me.monitor(a.pid());
    finish(&a, oops());
    on.settle().await;
    on.me.demonitor(m);
    on.heard(&[(m, "m")]).await
}

/// There is no such thing here.
async fn demonitor_without_flush(on: Stage) -> Events {
    demonitor_flushes(on).await
}

async fn demonitor_tells_whether_it_was_open(mut on: Stage) -> Events {
    let a = on.subject().await;
    let (m, n) = (on.me.monitor(a.pid()), on.me.monitor(a.pid()));
    let open = on.me.demonitor(m);
    finish(&a, oops());
    on.settle().await;
    words([open, on.me.demonitor(n), on.me.demonitor(n)])
}

async fn demonitor_of_another_s_monitor(mut on: Stage) -> Events {
    let a = on.subject().await;
    let b = on.subject().await;
    let to = a.pid();
    let m = on.order(&b, move |b| b.monitor(to)).await;
    let said = on.me.demonitor(m);
    finish(&a, oops());
    all([words([said]), on.fate(&b).await])
}

async fn spawn_monitor_child_dies_at_once(mut on: Stage) -> Events {
    let (_, m) = on.me.spawn_monitor(Spawn::default(), |_: Mailbox<()>| async { oops() });
    on.heard(&[(m, "m")]).await
}

async fn spawn_monitor_child_ends_normally(mut on: Stage) -> Events {
    let (_, m) = on.me.spawn_monitor(Spawn::default(), |_: Mailbox<()>| async { Exit::Normal });
    on.heard(&[(m, "m")]).await
}

async fn monitor_and_link_both_tell(mut on: Stage) -> Events {
    on.me.trap_exit(true);
    let a = on.me.spawn_link(Spawn::default(), |mut a: Mailbox<()>| async move {
        a.receive().await;
        because("oops")
    });
    let m = on.me.monitor(a.pid());
    a.send(()).expect("it waits");
    sorted(on.heard(&[(m, "m")]).await)
}

async fn monitor_after_the_end(mut on: Stage) -> Events {
    let a = on.subject().await;
    let to = a.pid();
    let b = on.subject_that(move |b| b.monitor(to)).await;
    finish(&a, oops());
    let before = on.fate(&b).await;
    on.order(&b, move |b| b.monitor(to)).await;
    all([before, on.fate(&b).await])
}
