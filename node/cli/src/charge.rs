//! A command that runs in the charge of a name: it is ended before the name may be another's.
//!
//! It runs in a process group of its own, with the standard streams of this command. When it has ended, so
//! has its group. What this cannot do: when this very command is stopped or killed, nobody ends the other
//! one. Whoever acts outside of the cluster shows the epoch there.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use quorate::Time;
use quorate_env::{blocking, now, sleep_until};
use quorate_http::code;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::Command;

use crate::agent::Signals;
use crate::client::{Ask, Client, name_path};
use crate::fail::Fail;
use crate::output;
use crate::session::{self, Session};

/// What was held is held no more, and the command was ended.
pub(crate) const LOST: u8 = 75;
/// It was not held in time, so nothing was run.
pub(crate) const LATE: u8 = 124;
/// Nothing can be said of the command: this one failed.
pub(crate) const FAILED: u8 = 125;

/// A name that a session of this command holds.
pub(crate) struct Seat {
    pub(crate) name: String,
    pub(crate) epoch: u64,
    pub(crate) session: Session,
}

/// How the command came to its end.
pub(crate) enum End {
    /// By itself, or by a signal to this command.
    Exited(u8),
    /// Because what was held was lost.
    Lost,
}

/// Runs a command until it ends or the name is no longer held for certain.
pub(crate) async fn run(
    client: &Client,
    seat: &mut Seat,
    signals: &mut Signals,
    command: &mut Command,
    grace: Duration,
) -> Result<End, Fail> {
    let mut child = match command.process_group(0).spawn() {
        Ok(child) => child,
        Err(error) => {
            let program = command.as_std().get_program().to_string_lossy().into_owned();
            output::talk(&format!("{program}: {error}"));
            let found = error.kind() != std::io::ErrorKind::NotFound;
            return Ok(End::Exited(if found { 126 } else { 127 }));
        }
    };
    let group = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    let mut group = Group(group);
    let (name, epoch, session) = (seat.name.clone(), seat.epoch, &mut seat.session);
    let look = Look { client: client.clone(), session: session.id, name, epoch };
    let mut renewal = Renewal::Due(now() + session.ttl / 4);
    let mut lost = false;
    loop {
        let last = session.deadline();
        let end_at = if lost { last - grace / 5 } else { last - grace };
        tokio::select! {
            biased;
            ended = child.wait() => {
                let status = ended.map_err(Fail::io("waiting for the command"))?;
                group.end();
                return Ok(if lost { End::Lost } else { End::Exited(code_of(status)) });
            }
            signal = signals.next() => group.send(signal_of(signal)),
            () = sleep_until(end_at) => {
                group.send(if lost { Signal::KILL } else { Signal::TERM });
                if lost {
                    let _ = child.wait().await;
                    return Ok(End::Lost);
                }
                lost = true;
            }
            told = renewal.next(&look) => match told {
                Ok(sent) => {
                    if !lost {
                        session.renewed(sent);
                    }
                    renewal = Renewal::Due(now() + session.ttl / 4);
                }
                // Others may hold it by now, so there is no time to be polite.
                Err(fail) if fail.is(code::SESSION_ENDED) => {
                    group.send(Signal::KILL);
                    let _ = child.wait().await;
                    return Ok(End::Lost);
                }
                Err(_) => renewal = Renewal::Due(now() + session.ttl / 20),
            }
        }
    }
}

/// A process group that does not outlive this.
struct Group(Option<Pid>);

impl Group {
    fn send(&self, signal: Signal) {
        if let Some(group) = self.0 {
            // It may have ended just now.
            let _ = kill_process_group(group, signal);
        }
    }

    fn end(&mut self) {
        self.send(Signal::KILL);
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.send(Signal::KILL);
    }
}

/// The renewals, one after the other, each on a thread of its own: an agent that hangs must not keep this
/// command from ending the other one in time.
enum Renewal {
    Due(Time),
    UnderWay(tokio::sync::oneshot::Receiver<std::thread::Result<Result<Time, Fail>>>),
}

/// What is renewed, and looked at.
#[derive(Clone)]
struct Look {
    client: Client,
    session: u64,
    name: String,
    epoch: u64,
}

impl Look {
    /// Renews the session; gives when that was sent. A name that somebody released by hand is lost, too.
    fn take(&self) -> Result<Time, Fail> {
        let sent = session::renew(&self.client, self.session)?;
        let gone = || Fail::new(code::SESSION_ENDED, format!("{} was released", self.name));
        match self.client.ask(&Ask::get(name_path(&self.name))) {
            Ok(found) if found.body["epoch"] != self.epoch => Err(gone()),
            Err(fail) if fail.is(code::FREE) => Err(gone()),
            _ => Ok(sent),
        }
    }
}

impl Renewal {
    /// What comes of the next one. Nothing is lost when it is not waited for to the end.
    async fn next(&mut self, look: &Look) -> Result<Time, Fail> {
        if let Self::Due(at) = *self {
            sleep_until(at).await;
            let look = look.clone();
            let told = blocking("renewal", move || look.take()).map_err(Fail::io("renewing"))?;
            *self = Self::UnderWay(told);
        }
        match self {
            Self::UnderWay(told) => match told.await {
                Ok(Ok(renewed)) => renewed,
                _ => Err(Fail::new(code::NO_ANSWER, "a renewal was not finished")),
            },
            Self::Due(_) => unreachable!("it has just begun"),
        }
    }
}

fn code_of(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(FAILED)
}

/// The signals that are passed on.
pub(crate) fn signal_of(name: &str) -> Signal {
    match name {
        "SIGINT" => Signal::INT,
        "SIGHUP" => Signal::HUP,
        _ => Signal::TERM,
    }
}
