//! Local names.

use quorate_actor::{Exit, Mailbox};
use quorate_vocab::Pid;

use crate::stage::{Events, Stage, Subject, all, finish, oops, scenarios, words};

scenarios![
    name_is_found,
    name_unknown,
    name_freed_at_death,
    name_is_free_when_down_arrives,
    name_taken,
    name_taken_by_itself,
    name_for_the_dead,
    name_again_after_death,
    name_given_up,
    name_given_up_unknown,
    second_name_for_a_process,
    name_is_listed,
];

fn register(on: &Stage, name: &str, pid: Pid) -> String {
    match on.actors().register(name, pid) {
        Ok(()) => "true".to_owned(),
        Err(_) => "refused".to_owned(),
    }
}

fn found(on: &Stage, name: &str, pid: Pid) -> String {
    let word = match on.actors().whereis(name) {
        Some(found) if found == pid => "found",
        Some(_) => "another",
        None => "unknown",
    };
    word.to_owned()
}

/// Ends the subject, so that its name is free.
async fn free(on: &mut Stage, subject: &Subject) {
    finish(subject, Exit::Normal);
    on.fate(subject).await;
}

async fn name_is_found(mut on: Stage) -> Events {
    let a = on.subject().await;
    vec![register(&on, "till", a.pid()), found(&on, "till", a.pid())]
}

async fn name_unknown(on: Stage) -> Events {
    vec![found(&on, "nobody", on.me.pid())]
}

async fn name_freed_at_death(mut on: Stage) -> Events {
    let a = on.subject().await;
    register(&on, "till", a.pid());
    finish(&a, oops());
    all([on.fate(&a).await, vec![found(&on, "till", a.pid())]])
}

async fn name_is_free_when_down_arrives(mut on: Stage) -> Events {
    let a = on.actors().spawn(|mut a: Mailbox<()>| async move {
        a.receive().await;
        Exit::Normal
    });
    register(&on, "till", a.pid());
    on.me.monitor(a.pid());
    a.send(()).expect("it waits for that");
    on.me.next().await;
    vec![found(&on, "till", a.pid())]
}

async fn name_taken(mut on: Stage) -> Events {
    let (a, b) = (on.subject().await, on.subject().await);
    register(&on, "till", a.pid());
    vec![register(&on, "till", b.pid()), found(&on, "till", a.pid())]
}

async fn name_taken_by_itself(mut on: Stage) -> Events {
    let a = on.subject().await;
    register(&on, "till", a.pid());
    vec![register(&on, "till", a.pid())]
}

async fn name_for_the_dead(on: Stage) -> Events {
    let dead = on.dead().await;
    vec![register(&on, "till", dead), found(&on, "till", on.me.pid())]
}

async fn name_again_after_death(mut on: Stage) -> Events {
    let a = on.subject().await;
    register(&on, "till", a.pid());
    free(&mut on, &a).await;
    let b = on.subject().await;
    vec![register(&on, "till", b.pid()), found(&on, "till", b.pid())]
}

async fn name_given_up(mut on: Stage) -> Events {
    let a = on.subject().await;
    register(&on, "till", a.pid());
    let said = on.actors().unregister("till");
    all([words([said]), vec![found(&on, "till", a.pid())], on.fate(&a).await])
}

async fn name_given_up_unknown(on: Stage) -> Events {
    words([on.actors().unregister("nobody")])
}

async fn second_name_for_a_process(mut on: Stage) -> Events {
    let a = on.subject().await;
    register(&on, "till", a.pid());
    vec![register(&on, "counter", a.pid())]
}

async fn name_is_listed(mut on: Stage) -> Events {
    let a = on.subject().await;
    register(&on, "till", a.pid());
    let listed = |on: &Stage| on.actors().registered().iter().any(|(name, _)| name == "till");
    let before = listed(&on);
    free(&mut on, &a).await;
    words([before, listed(&on)])
}
