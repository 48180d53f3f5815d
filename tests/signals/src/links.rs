//! Links, exit signals, `trap_exit` and kill.

use quorate_actor::{Exit, Incoming, Mailbox, ReplyTo, Spawn};
use quorate_vocab::Pid;

use crate::stage::{
    Events, Note, Order, Stage, Subject, all, because, crash, finish, oops, scenarios,
    waits_for_its_end, words,
};

scenarios![
    link_to_dead_untrapped,
    link_to_dead_trapped,
    link_to_self,
    link_is_bidirectional,
    link_twice_one_exit,
    unlink_then_exit,
    unlink_keeps_what_has_arrived,
    unlink_of_a_stranger,
    link_again_after_unlink,
    normal_through_a_link_untrapped,
    normal_through_a_link_trapped,
    shutdown_through_a_link_untrapped,
    reason_goes_along_a_chain,
    normal_stops_at_the_first_link,
    panic_through_a_link_untrapped,
    panic_through_a_link_trapped,
    exit_normal_to_other_untrapped,
    exit_normal_to_other_trapped,
    exit_normal_to_a_linked_other,
    exit_to_other_untrapped,
    exit_to_other_trapped,
    exit_names_its_sender,
    exit_signals_in_order,
    exit_to_dead,
    exit_normal_to_self_untrapped,
    exit_to_self_trapped,
    exit_to_self_runs_no_further,
    kill_through_trap,
    exit_killed_is_no_kill,
    exit_while_it_calls,
    kill_to_self_through_trap,
    kill_seen_by_a_trapping_link,
    kill_ends_an_untrapping_link,
    ending_as_kill_is_trapped,
    ending_as_kill_untrapped,
    two_reasons_the_first_counts,
    trap_exit_tells_the_old_value,
    trap_exit_given_up,
    parents_end_leaves_the_unlinked,
    parents_end_takes_the_linked,
    parents_normal_end_leaves_the_linked,
    child_unlinked_by_its_parent,
    spawn_link_child_dies_at_once_trapped,
    spawn_link_child_dies_at_once_untrapped,
    spawn_link_child_ends_normally,
    links_of_the_dead_are_gone,
];

async fn link_to_dead_untrapped(mut on: Stage) -> Events {
    let dead = on.dead().await;
    let a = on.subject_that(move |a| a.link(dead)).await;
    on.fate(&a).await
}

async fn link_to_dead_trapped(mut on: Stage) -> Events {
    let dead = on.dead().await;
    let a = on.trapping_that(move |a| a.link(dead)).await;
    on.fate(&a).await
}

async fn link_to_self(mut on: Stage) -> Events {
    let a = on.trapping_that(|a| a.link(a.pid())).await;
    let before = on.fate(&a).await;
    finish(&a, oops());
    all([before, on.fate(&a).await])
}

async fn link_is_bidirectional(mut on: Stage) -> Events {
    let a = on.trapping().await;
    let to = a.pid();
    let b = on.trapping_that(move |b| b.link(to)).await;
    finish(&b, oops());
    on.settle().await;
    let c = on.trapping_that(move |c| c.link(to)).await;
    finish(&a, because("later"));
    all([on.fate_of("a", &a).await, on.fate_of("b", &b).await, on.fate_of("c", &c).await])
}

async fn link_twice_one_exit(mut on: Stage) -> Events {
    let a = on.subject().await;
    let to = a.pid();
    let b = on.trapping_that(move |b| {
        b.link(to);
        b.link(to);
    });
    let b = b.await;
    finish(&a, oops());
    on.fate(&b).await
}

async fn unlink_then_exit(mut on: Stage) -> Events {
    let (a, b) = linked(&mut on).await;
    let from = a.pid();
    on.order(&b, move |b| b.unlink(from)).await;
    finish(&a, oops());
    all([on.fate_of("a", &a).await, on.fate_of("b", &b).await])
}

/// A subject, and one that is linked to it.
async fn linked(on: &mut Stage) -> (Subject, Subject) {
    let a = on.subject().await;
    let to = a.pid();
    let b = on.subject_that(move |b| b.link(to)).await;
    (a, b)
}

/// As [`linked`], and the second traps exits.
async fn linked_trapping(on: &mut Stage) -> (Subject, Subject) {
    let a = on.subject().await;
    let to = a.pid();
    let b = on.trapping_that(move |b| b.link(to)).await;
    (a, b)
}

async fn unlink_keeps_what_has_arrived(mut on: Stage) -> Events {
    on.me.trap_exit(true);
    let a = on.me.spawn_link(Spawn::default(), |_: Mailbox<()>| async { oops() });
    on.settle().await;
    on.me.unlink(a.pid());
    on.heard(&[]).await
}

async fn unlink_of_a_stranger(mut on: Stage) -> Events {
    let a = on.subject().await;
    let (stranger, dead) = (a.pid(), on.dead().await);
    let b = on.trapping_that(move |b| {
        b.unlink(stranger);
        b.unlink(dead);
    });
    let b = b.await;
    all([on.fate_of("a", &a).await, on.fate_of("b", &b).await])
}

async fn link_again_after_unlink(mut on: Stage) -> Events {
    let a = on.subject().await;
    let to = a.pid();
    let b = on.trapping_that(move |b| {
        b.link(to);
        b.unlink(to);
        b.link(to);
    });
    let b = b.await;
    finish(&a, oops());
    on.fate(&b).await
}

async fn normal_through_a_link_untrapped(mut on: Stage) -> Events {
    let (a, b) = linked(&mut on).await;
    finish(&a, Exit::Normal);
    all([on.fate_of("a", &a).await, on.fate_of("b", &b).await])
}

async fn normal_through_a_link_trapped(mut on: Stage) -> Events {
    let (a, b) = linked_trapping(&mut on).await;
    finish(&a, Exit::Normal);
    on.fate(&b).await
}

async fn shutdown_through_a_link_untrapped(mut on: Stage) -> Events {
    let (a, b) = linked(&mut on).await;
    finish(&a, Exit::Shutdown);
    on.fate(&b).await
}

/// Ends the first of a chain of links, of which only the last traps exits.
async fn chain_ends(mut on: Stage, exit: Exit) -> Events {
    let (a, b) = linked(&mut on).await;
    let (to_b, c) = (b.pid(), on.subject().await);
    on.order(&c, move |c| c.link(to_b)).await;
    let to_c = c.pid();
    let d = on.trapping_that(move |d| d.link(to_c)).await;
    finish(&a, exit);
    let mut events = Events::new();
    for (name, subject) in [("a", a), ("b", b), ("c", c), ("d", d)] {
        events.extend(on.fate_of(name, &subject).await);
    }
    events
}

async fn reason_goes_along_a_chain(on: Stage) -> Events {
    chain_ends(on, oops()).await
}

async fn normal_stops_at_the_first_link(on: Stage) -> Events {
    chain_ends(on, Exit::Normal).await
}

async fn panic_through_a_link_untrapped(mut on: Stage) -> Events {
    let (a, b) = linked(&mut on).await;
    crash(&a);
    all([on.fate_of("a", &a).await, on.fate_of("b", &b).await])
}

async fn panic_through_a_link_trapped(mut on: Stage) -> Events {
    let (a, b) = linked_trapping(&mut on).await;
    crash(&a);
    on.fate(&b).await
}

async fn exit_normal_to_other_untrapped(mut on: Stage) -> Events {
    let a = on.subject().await;
    on.me.exit(a.pid(), Exit::Normal);
    on.fate(&a).await
}

async fn exit_normal_to_other_trapped(mut on: Stage) -> Events {
    let a = on.trapping().await;
    on.me.exit(a.pid(), Exit::Normal);
    on.fate(&a).await
}

async fn exit_normal_to_a_linked_other(mut on: Stage) -> Events {
    let (a, b) = linked(&mut on).await;
    let to = a.pid();
    on.order(&b, move |b| b.exit(to, Exit::Normal)).await;
    all([on.fate_of("a", &a).await, on.fate_of("b", &b).await])
}

async fn exit_to_other_untrapped(mut on: Stage) -> Events {
    let a = on.subject().await;
    on.me.exit(a.pid(), oops());
    on.fate(&a).await
}

async fn exit_to_other_trapped(mut on: Stage) -> Events {
    let a = on.trapping().await;
    on.me.exit(a.pid(), oops());
    on.fate(&a).await
}

async fn exit_names_its_sender(mut on: Stage) -> Events {
    on.me.trap_exit(true);
    let me = on.me.pid();
    let a = on.me.spawn_link(Spawn::default(), move |a: Mailbox<()>| async move {
        a.exit(me, because("first"));
        because("second")
    });
    let mut events = Events::new();
    for _ in 0..2 {
        let exit = |news: &Incoming<Note>| match news {
            Incoming::Exited(news) if news.from == a.pid() => Some(format!("{} of a", news.exit)),
            _ => None,
        };
        let told = on.me.select(exit, Some(on.ms(1000))).await;
        events.extend(told.map(|(event, _)| event));
    }
    events
}

async fn exit_to_dead(on: Stage) -> Events {
    let dead = on.dead().await;
    words([on.me.exit(dead, oops())])
}

async fn exit_normal_to_self_untrapped(mut on: Stage) -> Events {
    let a = on.subject().await;
    on.order(&a, |a| a.exit(a.pid(), Exit::Normal)).await;
    on.fate(&a).await
}

async fn exit_to_self_trapped(mut on: Stage) -> Events {
    let a = on.trapping_that(|a| a.exit(a.pid(), oops())).await;
    on.fate(&a).await
}

async fn exit_to_self_runs_no_further(mut on: Stage) -> Events {
    let me = on.me.addr();
    let a = on.subject_that(move |a| {
        a.exit(a.pid(), oops());
        me.send(Note::Log("further".to_owned())).expect("the scenario lives");
    });
    let a = a.await;
    all([on.fate(&a).await, on.heard(&[]).await])
}

async fn kill_through_trap(mut on: Stage) -> Events {
    let a = on.trapping().await;
    on.actors().kill(a.pid());
    on.fate(&a).await
}

async fn kill_to_self_through_trap(mut on: Stage) -> Events {
    let a = on.trapping_that(|a| a.actors().kill(a.pid())).await;
    on.fate(&a).await
}

async fn kill_seen_by_a_trapping_link(mut on: Stage) -> Events {
    let (a, b) = linked_trapping(&mut on).await;
    on.order(&a, |a| a.trap_exit(true)).await;
    on.actors().kill(a.pid());
    on.fate(&b).await
}

async fn kill_ends_an_untrapping_link(mut on: Stage) -> Events {
    let (a, b) = linked(&mut on).await;
    on.order(&a, |a| a.trap_exit(true)).await;
    let to = b.pid();
    let c = on.trapping_that(move |c| c.link(to)).await;
    on.actors().kill(a.pid());
    all([on.fate_of("b", &b).await, on.fate_of("c", &c).await])
}

/// Only a kill kills: who ends with the reason that a kill leaves behind can be trapped.
async fn ending_as_kill_is_trapped(mut on: Stage) -> Events {
    let (a, b) = linked_trapping(&mut on).await;
    finish(&a, Exit::Killed);
    all([on.fate_of("a", &a).await, on.fate_of("b", &b).await])
}

async fn ending_as_kill_untrapped(mut on: Stage) -> Events {
    let (a, b) = linked(&mut on).await;
    finish(&a, Exit::Killed);
    on.fate(&b).await
}

async fn two_reasons_the_first_counts(mut on: Stage) -> Events {
    let a = on.subject().await;
    on.me.exit(a.pid(), because("first"));
    on.me.exit(a.pid(), because("second"));
    on.fate(&a).await
}

async fn trap_exit_tells_the_old_value(mut on: Stage) -> Events {
    let a = on.subject().await;
    let mut said = Vec::new();
    for trap in [true, true, false, false] {
        said.push(on.order(&a, move |a| a.trap_exit(trap)).await);
    }
    words(said)
}

async fn trap_exit_given_up(mut on: Stage) -> Events {
    let a = on.trapping().await;
    on.me.exit(a.pid(), because("first"));
    let before = on.fate(&a).await;
    on.order(&a, |a| a.trap_exit(false)).await;
    on.me.exit(a.pid(), because("second"));
    all([before, on.fate(&a).await])
}

async fn parents_end_leaves_the_unlinked(mut on: Stage) -> Events {
    let a = on.subject().await;
    let waits = |mut child: Mailbox<()>| async move {
        child.receive().await;
        Exit::Normal
    };
    let child = on.order(&a, move |a| a.actors().spawn(waits)).await;
    finish(&a, oops());
    let lives = |on: &Stage| on.actors().is_alive(child.pid());
    all([on.fate(&a).await, words([lives(&on)])])
}

async fn spawn_link_child_dies_at_once_trapped(mut on: Stage) -> Events {
    let a = on.trapping_that(|a| spawn_link(a, oops())).await;
    on.fate(&a).await
}

async fn spawn_link_child_dies_at_once_untrapped(mut on: Stage) -> Events {
    let a = on.subject_that(|a| spawn_link(a, oops())).await;
    on.fate(&a).await
}

async fn spawn_link_child_ends_normally(mut on: Stage) -> Events {
    let a = on.subject_that(|a| spawn_link(a, Exit::Normal)).await;
    on.fate(&a).await
}

/// Starts a linked process that ends in its first step.
fn spawn_link(parent: &mut Mailbox<Order>, exit: Exit) {
    parent.spawn_link(Spawn::default(), |_: Mailbox<()>| async { exit });
}

async fn links_of_the_dead_are_gone(mut on: Stage) -> Events {
    let (a, b) = linked_trapping(&mut on).await;
    finish(&a, oops());
    let before = on.fate(&b).await;
    finish(&b, because("later"));
    all([before, on.fate(&b).await, words([on.actors().is_alive(a.pid())])])
}

async fn exit_signals_in_order(mut on: Stage) -> Events {
    let a = on.trapping().await;
    for reason in ["first", "second", "third"] {
        on.me.exit(a.pid(), because(reason));
    }
    on.fate(&a).await
}

async fn exit_killed_is_no_kill(mut on: Stage) -> Events {
    let a = on.trapping().await;
    on.me.exit(a.pid(), Exit::Killed);
    on.fate(&a).await
}

/// Whatever it waits for.
async fn exit_while_it_calls(mut on: Stage) -> Events {
    let b = on.actors().spawn(|mut b: Mailbox<Order>| async move {
        let _unanswered = b.receive().await;
        waits_for_its_end(b).await
    });
    let (server, within) = (b.clone(), on.ms(60_000));
    let (a, monitor) = on.me.spawn_monitor(Spawn::default(), move |_: Mailbox<()>| async move {
        let ask = |to: ReplyTo<()>| Order::Do(Box::new(move |_| to.send(())));
        match server.call(within, ask).await {
            Ok(()) => because("answered"),
            Err(why) => because(&why.to_string()),
        }
    });
    on.settle().await;
    on.me.exit(a.pid(), oops());
    all([on.ended("", monitor).await, words([on.actors().is_alive(b.pid())])])
}

/// A subject, and its linked child that waits.
async fn parent_and_child(on: &mut Stage) -> (Subject, Pid) {
    let a = on.subject().await;
    let waits = |mut child: Mailbox<()>| async move {
        child.receive().await;
        Exit::Normal
    };
    let child = on.order(&a, move |a| a.spawn_link(Spawn::default(), waits).pid()).await;
    (a, child)
}

async fn parents_end_takes_the_linked(mut on: Stage) -> Events {
    let (a, child) = parent_and_child(&mut on).await;
    finish(&a, oops());
    all([on.fate(&a).await, words([on.actors().is_alive(child)])])
}

async fn parents_normal_end_leaves_the_linked(mut on: Stage) -> Events {
    let (a, child) = parent_and_child(&mut on).await;
    finish(&a, Exit::Normal);
    all([on.fate(&a).await, words([on.actors().is_alive(child)])])
}

async fn child_unlinked_by_its_parent(mut on: Stage) -> Events {
    let (a, child) = parent_and_child(&mut on).await;
    on.order(&a, move |a| a.unlink(child)).await;
    finish(&a, oops());
    all([on.fate(&a).await, words([on.actors().is_alive(child)])])
}
