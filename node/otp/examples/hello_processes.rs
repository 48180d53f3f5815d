//! Hello, processes: they are spawned, asked, chosen from, monitored and linked, and many are cheap.
//!
//! Run it with `cargo run --release -p quorate-otp --example hello_processes`.
//!
//! Not here: servers and supervisors, which spare a program these loops.

use std::error::Error;
use std::io::{Write, stdout};
use std::time::Duration;

use quorate_actor::{Actors, Addr, Exit, Mailbox, Message, ReplyTo, receive};
use quorate_otp::Task;

const SOON: Duration = Duration::from_secs(10);

/// What the greeter understands: a cast and a call are variants.
enum Greet {
    Learn(&'static str),
    Ask(ReplyTo<String>),
    Stop,
}

impl Message for Greet {}

/// A process is a future over its mailbox; its state is what it has in hand.
async fn greeter(mut mailbox: Mailbox<Greet>) -> Exit {
    let mut whom = "whoever you are";
    loop {
        match mailbox.receive().await {
            Greet::Learn(name) => whom = name,
            Greet::Ask(reply) => reply.send(format!("hello, {whom}")),
            Greet::Stop => return Exit::Normal,
        }
    }
}

enum Job {
    Small(u32),
    Urgent(u32),
}

impl Message for Job {}

/// Takes urgent jobs first, whatever came before them.
async fn worker(mut mailbox: Mailbox<Job>) -> Exit {
    let mut order = Vec::new();
    while order.len() < 4 {
        let next = receive!(mailbox, {
            Mail(Job::Urgent(job)) => job,
            after Duration::ZERO => match mailbox.receive().await {
                Job::Small(job) | Job::Urgent(job) => job,
            },
        });
        order.push(next.to_string());
    }
    Exit::because(order.join(", "))
}

/// Passes a number around a ring of processes, each of which adds one.
async fn ring(actors: &Actors, size: u64) -> Result<u64, Box<dyn Error + Send + Sync>> {
    let last = actors.spawn(|mut mailbox: Mailbox<u64>| async move {
        let count = mailbox.receive().await;
        Exit::because(count.to_string())
    });
    let ended = actors.ended(last.pid());
    let mut first: Addr<u64> = last;
    for _ in 0..size {
        let next = first;
        first = actors.spawn(|mut mailbox: Mailbox<u64>| async move {
            let count = mailbox.receive().await;
            next.send(count + 1).map_or(Exit::NoProc, |()| Exit::Normal)
        });
    }
    first.send(0)?;
    Ok(ended.await.to_string().parse()?)
}

/// Tells all of it to `out`.
pub(crate) async fn tell(
    out: &mut (impl Write + Send),
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let actors = Actors::alone();

    let ann = actors.spawn(greeter);
    writeln!(out, "{}", ann.call(SOON, Greet::Ask).await?)?;
    ann.send(Greet::Learn("world"))?;
    writeln!(out, "{}", ann.call(SOON, Greet::Ask).await?)?;
    let ended = actors.ended(ann.pid());
    ann.send(Greet::Stop)?;
    writeln!(out, "the greeter ended: {}", ended.await)?;
    let asked = ann.call(SOON, Greet::Ask).await;
    writeln!(out, "asked again: {}", asked.err().map_or("alive".into(), |e| e.to_string()))?;

    // What lies in its mailbox before it first runs, it chooses from.
    let (go, gone) = tokio::sync::oneshot::channel::<()>();
    let slow = actors.spawn(|mailbox: Mailbox<Job>| async {
        match gone.await {
            Ok(()) => worker(mailbox).await,
            Err(_) => Exit::because("nobody let it go"),
        }
    });
    let ended = actors.ended(slow.pid());
    for job in [Job::Small(1), Job::Small(2), Job::Urgent(3), Job::Urgent(4)] {
        slow.send(job)?;
    }
    let _ = go.send(());
    writeln!(out, "jobs were done in this order: {}", ended.await)?;

    let (tell, told) = tokio::sync::oneshot::channel();
    actors.spawn(|mut me: Mailbox<()>| async move {
        me.trap_exit(true);
        let (child, monitor) = me.spawn_monitor(Default::default(), |_: Mailbox<()>| async {
            Exit::because("homesick")
        });
        me.link(child.pid());
        let down = receive!(me, { Down(down) if down.monitor == monitor => down });
        // It was dead when it was linked, or died of the same: the link says one of the two.
        let link = receive!(me, { Exited(trapped) => trapped });
        let _ = tell.send((down.exit, link.from == down.pid));
        Exit::Normal
    });
    let (exit, both) = told.await?;
    writeln!(out, "a child is down: {exit}; its link told of it, too: {both}")?;

    let panicked = Task::<()>::start(&actors, async { panic!("on purpose") }).await;
    writeln!(out, "{}", panicked.err().map_or("no error".into(), |e| e.to_string()))?;
    writeln!(out, "a ring of 1000 processes counted to {}", ring(&actors, 1000).await?)?;

    actors.close().await;
    writeln!(out, "processes left: {}", actors.count())?;
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    tell(&mut stdout()).await
}
