//! Locks: a command that runs while its name is held, here and nowhere else.

use std::ffi::OsString;
use std::time::Duration;

use clap::Args;
use quorate::Time;
use quorate_env::{now, sleep};
use quorate_http::code;
use serde_json::json;
use ureq::http::Method;

use crate::agent::{self, Signals};
use crate::args::Reach;
use crate::charge::{self, End, FAILED, LATE, LOST, Seat};
use crate::client::{Ask, Client, encoded};
use crate::fail::{Done, Fail};
use crate::output;
use crate::session::Session;
use crate::span;

/// How long a single request for a lock waits.
const TURN: Duration = Duration::from_secs(1);
/// How long to wait before a cluster that cannot answer is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(200);

#[derive(Args)]
pub(crate) struct Lock {
    #[command(flatten)]
    reach: Reach,
    /// Which name
    name: String,
    /// Wait no longer than this for it [default: as long as it takes]
    #[arg(long, value_name = "TIME", value_parser = span::parse, conflicts_with = "once")]
    wait: Option<Duration>,
    /// Do not wait for it
    #[arg(long = "try")]
    once: bool,
    #[command(flatten)]
    charge: Charge,
}

/// What to run, and how long it may be taken for alive when nothing is heard of it.
#[derive(Args)]
pub(crate) struct Charge {
    /// Let others have it this long after this command was last heard of
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = span::parse)]
    pub(crate) ttl: Duration,
    /// How long before the end of that time CMD is asked to end; it is killed before the time is over
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = span::parse)]
    pub(crate) grace: Duration,
    /// What to run
    #[arg(last = true, required = true, value_name = "CMD")]
    pub(crate) command: Vec<OsString>,
}

/// `quorate lock`
pub(crate) fn lock(wish: &Lock) -> Done {
    let until = match (wish.once, wish.wait) {
        (true, _) => Some(now()),
        (false, wait) => wait.map(|wait| now() + wait),
    };
    let holding = async {
        let client = Client::new(&wish.reach)?;
        let mut signals = Signals::new()?;
        let mut seat = Seat::take(&client, &wish.name, &wish.charge, &mut signals, until).await?;
        seat.work(&client, &wish.charge, &mut signals).await
    };
    let end = agent::small_runtime().and_then(|runtime| runtime.block_on(holding));
    match end.map_err(failed)? {
        End::Exited(0) => Ok(()),
        End::Exited(code) => Err(Fail::Exit(code)),
        End::Lost => Err(Fail::Exit(LOST)),
    }
}

impl Seat {
    /// Waits for a name until a time, or for as long as it takes.
    pub(crate) async fn take(
        client: &Client,
        name: &str,
        charge: &Charge,
        signals: &mut Signals,
        until: Option<Time>,
    ) -> Result<Self, Fail> {
        if charge.grace >= charge.ttl / 2 {
            let why = "--grace has to be less than half of --ttl";
            return Err(Fail::new(code::BAD_SETTING, why));
        }
        let mut session = patiently(client, || Session::open(client, charge.ttl)).await?;
        match wait_for(client, name, &mut session, signals, until).await {
            Ok(epoch) => Ok(Self { name: name.to_owned(), epoch, session }),
            Err(fail) => {
                // Whatever it holds after all ends with it; if that fails, it expires.
                let _ = session.end(client);
                Err(fail)
            }
        }
    }

    /// Runs the command for as long as the name is held, and gives it back.
    pub(crate) async fn work(
        &mut self,
        client: &Client,
        charge: &Charge,
        signals: &mut Signals,
    ) -> Result<End, Fail> {
        let end = charge::run(client, self, signals, &charge.command, charge.grace).await;
        if let Ok(End::Lost) = end {
            output::talk(&format!("{} was lost, and the command was ended", self.name));
        }
        // If this is not heard, the name is free when its time is over.
        let _ = self.session.end(client);
        end
    }
}

/// Asks again while that may help, for as long as any command asks.
pub(crate) async fn patiently<T>(
    client: &Client,
    mut ask: impl FnMut() -> Result<T, Fail>,
) -> Result<T, Fail> {
    let until = client.deadline();
    loop {
        match ask() {
            Err(fail) if fail.is_passing() && now() < until => sleep(ASK_AGAIN).await,
            told => return told,
        }
    }
}

async fn wait_for(
    client: &Client,
    name: &str,
    session: &mut Session,
    signals: &mut Signals,
    until: Option<Time>,
) -> Result<u64, Fail> {
    let path = format!("/v1/locks/{}", encoded(name));
    let mut renew_at = now() + session.ttl / 4;
    loop {
        tokio::select! {
            biased;
            signal = signals.next() => {
                let number = charge::signal_of(signal).as_raw();
                return Err(Fail::Exit(128 + u8::try_from(number).unwrap_or_default()));
            }
            () = std::future::ready(()) => {}
        }
        if now() >= renew_at {
            match session.renew(client) {
                Err(fail) if fail.is(code::SESSION_ENDED) => return Err(fail),
                // It may be renewed the next time.
                _ => renew_at = now() + session.ttl / 4,
            }
        }
        let left = until.map_or(TURN, |until| until.since(now()));
        let wait = left.min(TURN).min(session.ttl / 4);
        let body = json!({ "session": session.id, "wait_ms": wait.as_millis() as u64 });
        // Blocking is right here: there is nothing else to do, and the call is bounded.
        let fail = match client.ask(&Ask::write(Method::POST, path.as_str(), Some(&body), None)) {
            Ok(held) => {
                let epoch = held.body["epoch"].as_u64();
                return epoch
                    .ok_or_else(|| Fail::new(code::FOREIGN_ANSWER, "a lock without an epoch"));
            }
            Err(fail) => fail,
        };
        let taken = fail.is(code::TAKEN);
        if !taken && !fail.is_passing() {
            return Err(fail);
        }
        if until.is_some_and(|until| now() >= until) {
            if !taken {
                return Err(fail);
            }
            output::talk(&format!("{name} was not free in time: {}", fail.detail()));
            return Err(Fail::Exit(LATE));
        }
        if !taken {
            sleep(ASK_AGAIN).await;
        }
    }
}

/// What goes wrong before there is a command, or beside it, must not look like its own end.
pub(crate) fn failed(fail: Fail) -> Fail {
    match fail {
        Fail::Told(told) => {
            output::talk(&told.to_string());
            Fail::Exit(FAILED)
        }
        other => other,
    }
}
