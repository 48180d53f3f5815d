//! A command that runs in the charge of a name: it is ended before the name may be another's.
//!
//! It is not this process that ends it, which may be stopped or killed, but a fencer beside it: that one
//! knows until when the name is held for certain, and counts on its own. Whoever reads a command here finds
//! it over only when nothing of its tree is left.

use std::ffi::OsString;
use std::time::Duration;

use quorate::Time;
use quorate_env::{blocking, now, sleep_until};
use quorate_fencer::{Ending, MYSELF, Orders, Status, Streams, Until, Ward, Why};
use quorate_http::code;
use rustix::process::Signal;

use crate::agent::Signals;
use crate::client::{Ask, Client, name_path};
use crate::fail::Fail;
use crate::last_word;
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
    command: &[OsString],
    grace: Duration,
) -> Result<End, Fail> {
    let env = [
        ("QUORATE_NAME", seat.name.clone()),
        ("QUORATE_EPOCH", seat.epoch.to_string()),
        ("QUORATE_SESSION", seat.session.id.to_string()),
        ("QUORATE_LEASE_MS", seat.session.ttl.as_millis().to_string()),
    ];
    let (name, epoch, session) = (seat.name.clone(), seat.epoch, &mut seat.session);
    let orders = Orders {
        fencer: MYSELF.into(),
        command: command.to_vec(),
        env: env.into_iter().map(|(key, value)| (key.into(), value.into())).collect(),
        directory: None,
        streams: Streams::default(),
        until: until(session, grace),
        wards: None,
        last_word: last_word::of_session(client, session.id),
        is_heir: true,
    };
    let failed = |error: quorate_fencer::SpawnError| Fail::new(code::NO_START, error.to_string());
    let ward = Ward::spawn(orders).await.map_err(failed)?;
    let look = Look { client: client.clone(), session: session.id, name, epoch };
    let mut renewal = Renewal::Due(now() + session.ttl / 4);
    loop {
        tokio::select! {
            biased;
            ending = ward.ended() => return Ok(end_of(ending)),
            // What is not taken any more is about to end, and that is waited for.
            signal = signals.next() => {
                let _ = ward.signal(signal_of(signal).as_raw()).await;
            }
            told = renewal.next(&look) => match told {
                Ok(sent) => {
                    session.renewed(sent);
                    let Until { term_at, kill_at } = until(session, grace);
                    let _ = ward.until(term_at, kill_at).await;
                    renewal = Renewal::Due(now() + session.ttl / 4);
                }
                // Others may hold it by now, so there is no time to be polite.
                Err(fail) if fail.is(code::SESSION_ENDED) => {
                    let _ = ward.stop(Duration::ZERO).await;
                    return Ok(match ward.ended().await {
                        ending if ending.why == Why::Itself => end_of(ending),
                        _ => End::Lost,
                    });
                }
                Err(_) => renewal = Renewal::Due(now() + session.ttl / 20),
            },
        }
    }
}

/// It is killed before the name may be another's, and asked a grace before that.
fn until(session: &Session, grace: Duration) -> Until {
    let last = session.deadline();
    Until { term_at: last - grace, kill_at: last - grace / 5 }
}

fn end_of(ending: Ending) -> End {
    match ending.why {
        Why::Deadline | Why::Asked => End::Lost,
        Why::Itself => End::Exited(code_of(ending.status)),
        Why::ParentDied | Why::FencerDied => {
            output::talk("the fencer of the command was killed, and the command with it");
            End::Exited(FAILED)
        }
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

/// The code that shells have for such an end.
pub(crate) fn code_of(status: Status) -> u8 {
    match status {
        Status::Exited(code) => code,
        Status::Signaled(number) => code_of_signal(number),
    }
}

/// The code that shells have for an end by this signal.
pub(crate) fn code_of_signal(number: i32) -> u8 {
    u8::try_from(128 + number).unwrap_or(FAILED)
}

/// The signals that are passed on.
pub(crate) fn signal_of(name: &str) -> Signal {
    match name {
        "SIGINT" => Signal::INT,
        "SIGHUP" => Signal::HUP,
        _ => Signal::TERM,
    }
}
