//! The order of mail and signals, and selective receive.

use std::time::Duration;

use quorate_actor::{Addr, Incoming, Mailbox, Spawn, receive};

use crate::stage::{Events, Note, Order, Stage, all, oops, scenarios, words};

scenarios![
    mail_keeps_its_order,
    mail_then_exit_signal,
    mail_then_down,
    exit_signal_then_mail,
    mail_then_exit_to_an_untrapping,
    mail_to_the_dead,
    selective_receive_keeps_the_others,
    selective_receive_takes_the_first_that_fits,
    save_queue_is_looked_at_from_its_front,
    receive_after_zero_empty,
    receive_after_zero_fits,
    receive_after_zero_fits_none,
    receive_after_keeps_the_others,
    receive_looks_at_signals_in_order,
    receive_after_zero_takes_all,
];

/// Sends 1, 2 and 3.
fn count(to: &Addr<Note>) {
    for number in 1..=3 {
        to.send(Note::Mail(number)).expect("the scenario lives");
    }
}

async fn mail_keeps_its_order(mut on: Stage) -> Events {
    let me = on.me.addr();
    on.actors().spawn(move |_: Mailbox<()>| async move {
        count(&me);
        oops()
    });
    on.heard(&[]).await
}

async fn mail_then_exit_signal(mut on: Stage) -> Events {
    on.me.trap_exit(true);
    let me = on.me.addr();
    on.me.spawn_link(Spawn::default(), move |_: Mailbox<()>| async move {
        count(&me);
        oops()
    });
    on.heard(&[]).await
}

async fn mail_then_down(mut on: Stage) -> Events {
    let me = on.me.addr();
    let (_, m) = on.me.spawn_monitor(Spawn::default(), move |_: Mailbox<()>| async move {
        count(&me);
        oops()
    });
    on.heard(&[(m, "m")]).await
}

async fn exit_signal_then_mail(mut on: Stage) -> Events {
    let a = on.trapping().await;
    a.send(Order::Mail(1)).expect("the subject lives");
    on.me.exit(a.pid(), oops());
    a.send(Order::Mail(2)).expect("the subject lives");
    on.fate(&a).await
}

async fn mail_then_exit_to_an_untrapping(mut on: Stage) -> Events {
    let a = on.subject().await;
    a.send(Order::Mail(1)).expect("the subject lives");
    on.settle().await;
    on.me.exit(a.pid(), oops());
    // It may have ended already.
    let _ = a.send(Order::Mail(2));
    on.fate(&a).await
}

async fn mail_to_the_dead(on: Stage) -> Events {
    let dead: Addr<Order> = on.actors().addr(on.dead().await);
    words([match dead.send(Order::Mail(1)) {
        Ok(()) => "sent".to_owned(),
        Err(error) => format!("refused: {error}"),
    }])
}

fn send_five(on: &Stage) {
    for number in 1..=5 {
        on.me.addr().send(Note::Mail(number)).expect("the scenario lives");
    }
}

/// The first number that fits; of the mailbox as it is if `after` is zero.
async fn take(on: &mut Stage, fits: fn(u64) -> bool, after: Option<Duration>) -> Option<u64> {
    let fits = |news: &Incoming<Note>| match news {
        Incoming::Mail(Note::Mail(number)) if fits(*number) => Some(*number),
        _ => None,
    };
    on.me.select(fits, after).await.map(|(number, _)| number)
}

async fn selective_receive_keeps_the_others(mut on: Stage) -> Events {
    send_five(&on);
    receive!(on.me, { Mail(Note::Mail(3)) => {} });
    on.heard(&[]).await
}

async fn selective_receive_takes_the_first_that_fits(mut on: Stage) -> Events {
    send_five(&on);
    let two = receive!(on.me, { Mail(Note::Mail(n)) if n % 2 == 0 => n });
    let four = receive!(on.me, { Mail(Note::Mail(n)) if n % 2 == 0 => n });
    all([words([two, four]), on.heard(&[]).await])
}

async fn save_queue_is_looked_at_from_its_front(mut on: Stage) -> Events {
    send_five(&on);
    let five = receive!(on.me, { Mail(Note::Mail(5)) => 5 });
    on.me.addr().send(Note::Mail(6)).expect("the scenario lives");
    let first = receive!(on.me, { Mail(Note::Mail(n)) => n });
    let next = receive!(on.me, { Mail(Note::Mail(n)) if *n > 3 => n });
    all([words([five, first, next]), on.heard(&[]).await])
}

async fn receive_after_zero_empty(mut on: Stage) -> Events {
    let said = receive!(on.me, {
        Mail(Note::Mail(n)) => n.to_string(),
        after Duration::ZERO => "nothing".to_owned()
    });
    vec![said]
}

async fn receive_after_zero_fits(mut on: Stage) -> Events {
    send_five(&on);
    words([take(&mut on, |n| n == 2, Some(Duration::ZERO)).await.expect("it is there")])
}

async fn receive_after_zero_fits_none(mut on: Stage) -> Events {
    send_five(&on);
    let nine = take(&mut on, |n| n == 9, Some(Duration::ZERO)).await;
    all([found(nine), on.heard(&[]).await])
}

fn found(number: Option<u64>) -> Events {
    vec![number.map_or("nothing".to_owned(), |number| number.to_string())]
}

async fn receive_after_keeps_the_others(mut on: Stage) -> Events {
    send_five(&on);
    let within = on.ms(10);
    let nine = take(&mut on, |n| n == 9, Some(within)).await;
    all([found(nine), on.heard(&[]).await])
}

async fn receive_looks_at_signals_in_order(mut on: Stage) -> Events {
    on.me.trap_exit(true);
    let me = on.me.addr();
    on.me.spawn_link(Spawn::default(), move |_: Mailbox<()>| async move {
        for number in 1..=2 {
            me.send(Note::Mail(number)).expect("the scenario lives");
        }
        oops()
    });
    on.settle().await;
    let first = receive!(on.me, {
        Exited(_) => "exit",
        Mail(Note::Mail(2)) => "two"
    });
    all([words([first]), on.heard(&[]).await])
}

/// More than a process takes in one turn.
async fn receive_after_zero_takes_all(mut on: Stage) -> Events {
    for number in 1..=1000 {
        on.me.addr().send(Note::Mail(number)).expect("the scenario lives");
    }
    let mut taken = 0_u32;
    while take(&mut on, |_| true, Some(Duration::ZERO)).await.is_some() {
        taken += 1;
    }
    all([words([taken]), on.heard(&[]).await])
}
