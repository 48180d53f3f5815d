//! Timers: mail that comes later, or not.

use std::time::Duration;

use quorate_actor::{Exit, Incoming, Mailbox};

use crate::stage::{Events, Note, Order, Stage, all, finish, scenarios, words};

scenarios![
    send_after_arrives,
    send_after_in_order_of_time,
    send_after_cancelled,
    send_after_cancelled_too_late,
    send_after_cancelled_twice,
    send_after_to_the_dead,
    send_after_outlives_its_starter,
    send_after_zero,
    interval_until_cancelled,
    timeout_of_its_own,
    timeout_of_its_own_cancelled,
];

/// The next number that the scenario sent to itself.
async fn number(on: &mut Stage) -> u64 {
    let number = |news: &Incoming<Note>| match news {
        Incoming::Mail(Note::Mail(number)) => Some(*number),
        _ => None,
    };
    on.me.select(number, None).await.expect("without a bound it waits").0
}

/// What the scenario hears, where a number means a tick.
async fn tick(on: &mut Stage) -> Events {
    number(on).await;
    words(["tick"])
}

/// As [`Stage::heard`], where a number means a tick.
async fn heard(on: &mut Stage) -> Events {
    let heard = on.heard(&[]).await;
    heard.into_iter().map(|event| event.replace("mail 0", "mail tick")).collect()
}

async fn send_after_arrives(mut on: Stage) -> Events {
    on.me.addr().send_after(on.ms(20), Note::Mail(0));
    let early = if on.me.try_next().is_some() { "early" } else { "nothing" };
    all([words([early]), tick(&mut on).await])
}

async fn send_after_in_order_of_time(mut on: Stage) -> Events {
    for order in [3, 1, 2] {
        on.me.addr().send_after(on.ms(order * 60), Note::Mail(order));
    }
    words([number(&mut on).await, number(&mut on).await, number(&mut on).await])
}

async fn send_after_cancelled(mut on: Stage) -> Events {
    let timer = on.me.addr().send_after(Duration::from_secs(60), Note::Mail(0));
    all([words([timer.cancel()]), heard(&mut on).await])
}

async fn send_after_cancelled_too_late(mut on: Stage) -> Events {
    let timer = on.me.addr().send_after(on.ms(1), Note::Mail(0));
    on.settle().await;
    all([words([timer.cancel()]), heard(&mut on).await])
}

async fn send_after_cancelled_twice(on: Stage) -> Events {
    let timer = on.me.addr().send_after(Duration::from_secs(60), Note::Mail(0));
    words([timer.cancel(), timer.cancel()])
}

async fn send_after_to_the_dead(mut on: Stage) -> Events {
    let a = on.subject().await;
    let timer = a.send_after(Duration::from_secs(60), Order::Mail(0));
    finish(&a, Exit::Normal);
    let gone = on.fate(&a).await;
    let dead = on.actors().addr::<Order>(on.dead().await);
    dead.send_after(on.ms(1), Order::Mail(0));
    all([gone, heard(&mut on).await, words([timer.cancel()])])
}

async fn send_after_outlives_its_starter(mut on: Stage) -> Events {
    let (me, after) = (on.me.addr(), on.ms(50));
    let a = on.actors().spawn(move |mut mailbox: Mailbox<()>| async move {
        mailbox.receive().await;
        me.send_after(after, Note::Mail(0));
        Exit::Normal
    });
    let ended = on.actors().ended(a.pid());
    a.send(()).expect("it waits for that");
    ended.await;
    all([words(["gone"]), tick(&mut on).await])
}

async fn send_after_zero(mut on: Stage) -> Events {
    on.me.addr().send_after(Duration::ZERO, Note::Mail(0));
    tick(&mut on).await
}

async fn interval_until_cancelled(mut on: Stage) -> Events {
    let timer = on.me.addr().send_interval(on.ms(20), || Note::Mail(0));
    let ticks = all([tick(&mut on).await, tick(&mut on).await, tick(&mut on).await]);
    timer.cancel();
    on.settle().await;
    while on.me.try_next().is_some() {}
    all([ticks, heard(&mut on).await])
}

async fn timeout_of_its_own(mut on: Stage) -> Events {
    let (timeout, _) = on.me.timeout_after(on.ms(20));
    let its = |news: &Incoming<Note>| match news {
        Incoming::Timeout(of) if *of == timeout => Some("timeout"),
        _ => None,
    };
    let (event, _) = on.me.select(its, None).await.expect("without a bound it waits");
    words([event])
}

async fn timeout_of_its_own_cancelled(mut on: Stage) -> Events {
    let (_, timer) = on.me.timeout_after(on.ms(20));
    all([words([timer.cancel()]), heard(&mut on).await])
}
