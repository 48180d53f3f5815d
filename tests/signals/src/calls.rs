//! Calls: the answer has a way of its own, so that a late one falls away.

use futures_util::future::join;
use quorate_actor::{Addr, CallError, Exit, Mailbox, Message, ReplyTo};

use crate::stage::{Events, Note, Stage, all, oops, scenarios, words};

scenarios![
    call_is_answered,
    call_to_the_dead,
    call_while_the_other_ends,
    call_while_the_other_panics,
    call_in_vain,
    call_late_answer_falls_away,
    call_answered_by_another,
    call_leaves_no_down_behind,
    call_dropped_unanswered,
    calls_answered_out_of_order,
    call_whose_caller_has_ended,
];

/// What a server of these scenarios is asked.
enum Ask {
    /// A number.
    Number(u64, ReplyTo<u64>),
    /// Go on.
    Go,
}

impl Message for Ask {}

/// A server that takes one question and does `then`.
fn server<Fut>(
    on: &Stage,
    then: impl FnOnce(Mailbox<Ask>, u64, ReplyTo<u64>) -> Fut + Send + 'static,
) -> Addr<Ask>
where
    Fut: Future<Output = Exit> + Send,
{
    on.actors().spawn(move |mut mailbox: Mailbox<Ask>| async move {
        match mailbox.receive().await {
            Ask::Number(number, to) => then(mailbox, number, to).await,
            Ask::Go => Exit::Normal,
        }
    })
}

/// A call in words.
async fn call(on: &Stage, server: &Addr<Ask>, number: u64, within: u64) -> Events {
    vec![said(server.call(on.ms(within), |to| Ask::Number(number, to)).await)]
}

fn said(answer: Result<u64, CallError>) -> String {
    match answer {
        Ok(number) => number.to_string(),
        Err(CallError::NoProc | CallError::Died) => "noproc".to_owned(),
        Err(CallError::Timeout) => "timeout".to_owned(),
        Err(CallError::NoReply) => "no reply".to_owned(),
        Err(other) => other.to_string(),
    }
}

/// Waits for nothing.
async fn stays(mut mailbox: Mailbox<Ask>) -> Exit {
    mailbox.receive().await;
    Exit::Normal
}

async fn call_is_answered(mut on: Stage) -> Events {
    let a = server(&on, |_, number, to| async move {
        to.send(number + 1);
        Exit::Normal
    });
    all([call(&on, &a, 41, 5000).await, on.heard(&[]).await])
}

async fn call_to_the_dead(mut on: Stage) -> Events {
    let dead = on.actors().addr(on.dead().await);
    all([call(&on, &dead, 1, 5000).await, on.heard(&[]).await])
}

async fn call_while_the_other_ends(mut on: Stage) -> Events {
    let a = server(&on, |_, _, to| async move {
        let _owed = to;
        oops()
    });
    all([call(&on, &a, 1, 5000).await, on.heard(&[]).await])
}

async fn call_while_the_other_panics(mut on: Stage) -> Events {
    let a = server(&on, |_, _, to| async move {
        let _owed = to;
        panic!("boom")
    });
    all([call(&on, &a, 1, 5000).await, on.heard(&[]).await])
}

async fn call_in_vain(mut on: Stage) -> Events {
    let a = server(&on, |mailbox, _, to| async move {
        let _owed = to;
        stays(mailbox).await
    });
    all([call(&on, &a, 1, 50).await, on.heard(&[]).await])
}

async fn call_late_answer_falls_away(mut on: Stage) -> Events {
    let me = on.me.addr();
    let a = server(&on, move |mut mailbox, number, to| async move {
        mailbox.receive().await;
        to.send(number);
        me.send(Note::Log("mail answered".to_owned())).expect("the scenario lives");
        Exit::Normal
    });
    let said = call(&on, &a, 1, 50).await;
    a.send(Ask::Go).expect("it waits for that");
    all([said, on.heard(&[]).await])
}

async fn call_answered_by_another(mut on: Stage) -> Events {
    let a = server(&on, |mailbox, number, to| async move {
        mailbox.actors().spawn(move |_: Mailbox<()>| async move {
            to.send(number + 1);
            Exit::Normal
        });
        stays(mailbox).await
    });
    all([call(&on, &a, 41, 5000).await, on.heard(&[]).await])
}

async fn call_leaves_no_down_behind(mut on: Stage) -> Events {
    let a = server(&on, |_, number, to| async move {
        to.send(number);
        oops()
    });
    all([call(&on, &a, 1, 5000).await, on.heard(&[]).await])
}

/// The server forgets the request and lives on.
async fn call_dropped_unanswered(mut on: Stage) -> Events {
    let a = server(&on, |mailbox, _, to| async move {
        drop(to);
        stays(mailbox).await
    });
    all([call(&on, &a, 1, 200).await, on.heard(&[]).await])
}

async fn calls_answered_out_of_order(on: Stage) -> Events {
    let a = server(&on, |mut mailbox, _, first| async move {
        if let Ask::Number(_, second) = mailbox.receive().await {
            second.send(2);
            first.send(1);
        }
        stays(mailbox).await
    });
    let second = async {
        on.settle().await;
        call(&on, &a, 2, 5000).await
    };
    let (first, second) = join(call(&on, &a, 1, 5000), second).await;
    all([words(first), second])
}

async fn call_whose_caller_has_ended(mut on: Stage) -> Events {
    let me = on.me.addr();
    let a = server(&on, move |mut mailbox, number, to| async move {
        mailbox.receive().await;
        to.send(number);
        me.send(Note::Log("mail answered".to_owned())).expect("the scenario lives");
        stays(mailbox).await
    });
    let (to, within) = (a.clone(), on.ms(5000));
    let b = on.actors().spawn(move |_: Mailbox<()>| async move {
        let _ = to.call(within, |to| Ask::Number(1, to)).await;
        Exit::Normal
    });
    on.settle().await;
    on.actors().kill(b.pid());
    on.settle().await;
    a.send(Ask::Go).expect("it waits for that");
    all([on.heard(&[]).await, words([on.actors().is_alive(a.pid())])])
}
