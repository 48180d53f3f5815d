//! How one process stops another: asks, waits, and kills what does not listen.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use quorate_actor::{Exit, Incoming, Mailbox, Message};
use quorate_env::now;
use quorate_vocab::{Pid, Ref, Time};

/// How a child is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// It is killed, and has no say.
    BrutalKill,
    /// It is asked, has so long to end, and is killed then.
    After(Duration),
    /// It is asked, and has all the time it needs. For supervisors, whose children have limits of their own.
    Infinity,
}

/// Stops a process and waits for its end. Other news of it that lies in the mailbox (that of the link) is
/// left there: a pid is never used again, so a supervisor knows old news as such.
pub(crate) async fn stop<M: Message>(mailbox: &mut Mailbox<M>, pid: Pid, how: Shutdown) -> Exit {
    // Watched before it is asked. A link alone would not do: the child may have cut it.
    let monitor = mailbox.monitor(pid);
    if let Some(exit) = down(mailbox, monitor, ask(mailbox, pid, how)).await {
        return exit;
    }
    mailbox.actors().kill(pid);
    down(mailbox, monitor, None).await.unwrap_or(Exit::Killed)
}

/// Stops processes all at once, and waits for all. Takes everything else out of the mailbox and drops it, so
/// it is for the end of a process: who still asks for something is told so at once.
pub(crate) async fn stop_together<M: Message>(
    mailbox: &mut Mailbox<M>,
    processes: impl Iterator<Item = (Pid, Shutdown)>,
) {
    let begun = now();
    let mut open = BTreeMap::<Ref, Pid>::new();
    let mut due = BTreeSet::<(Time, Ref)>::new();
    for (pid, how) in processes {
        let monitor = mailbox.monitor(pid);
        open.insert(monitor, pid);
        due.extend(ask(mailbox, pid, how).map(|patience| (begun + patience, monitor)));
    }
    while !open.is_empty() {
        let incoming = match due.first() {
            None => Some(mailbox.next().await),
            Some((at, _)) => mailbox.next_within(at.since(now())).await,
        };
        match incoming {
            Some(Incoming::Down(down)) => drop(open.remove(&down.monitor)),
            Some(_) => {}
            None => {
                let late = due.pop_first().and_then(|(_, monitor)| open.get(&monitor));
                late.inspect(|pid| _ = mailbox.actors().kill(**pid));
            }
        }
    }
}

/// Tells a process to end; how long it is then waited for, if not for ever.
fn ask<M: Message>(mailbox: &Mailbox<M>, pid: Pid, how: Shutdown) -> Option<Duration> {
    if how == Shutdown::BrutalKill {
        mailbox.actors().kill(pid);
        return None;
    }
    mailbox.exit(pid, Exit::Shutdown);
    match how {
        Shutdown::After(patience) => Some(patience),
        Shutdown::BrutalKill | Shutdown::Infinity => None,
    }
}

async fn down<M: Message>(
    mailbox: &mut Mailbox<M>,
    monitor: Ref,
    within: Option<Duration>,
) -> Option<Exit> {
    let answers = |incoming: &Incoming<M>| match incoming {
        Incoming::Down(down) if down.monitor == monitor => Some(down.exit.clone()),
        _ => None,
    };
    mailbox.select(answers, within).await.map(|(exit, _)| exit)
}
