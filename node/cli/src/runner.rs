//! `quorate singleton run`: a command that runs here while this is the one, and nowhere else.
//!
//! ```text
//!   session ── renewed every fifth of the lease ──▶ Until { term_at, kill_at } ──▶ fencer ──▶ CMD
//!   look ───── is it still mine? ──────────────────▶ stop
//! ```
//!
//! This process renews and looks; what ends the command in time is the fencer, which lives on when this one
//! or the agent is stopped or killed (docs/adr/0017). All of what blocks is done on other threads, so that an
//! agent that hangs keeps nobody from anything.
//!
//! `candidate` is its part in the cluster, `stint` the command while this is the one, `signals` what it is
//! told from outside. Not here: who becomes the one, which the registry decides, and the end of processes.

mod candidate;
mod signals;
mod stint;

use std::ffi::OsString;
use std::time::Duration;

use clap::{Args, ValueEnum};
use quorate::{Restarts, Time};
use quorate_env::now;
use quorate_fencer::Until;
use quorate_http::code;
use serde_json::{Map, Value, json};
use ureq::http::Method;

use crate::args::{Reach, pair};
use crate::charge::{LATE, LOST};
use crate::client::{Ask, Client};
use crate::fail::{Done, Fail};
use crate::lock::failed;
use crate::singletons::path;
use crate::{agent, output, span};
use signals::Signals;

#[derive(Args)]
pub(crate) struct Run {
    /// Which singleton
    name: String,
    /// Only on nodes with this label; `node` stands for the node's name; repeatable
    #[arg(long, value_name = "K=V", value_parser = pair)]
    on: Vec<(String, String)>,
    /// Rather on nodes with this label; repeatable
    #[arg(long, value_name = "K=V", value_parser = pair)]
    prefer: Vec<(String, String)>,
    /// Never on nodes with this label; repeatable
    #[arg(long, value_name = "K=V", value_parser = pair)]
    not: Vec<(String, String)>,
    /// Start it only when this other singleton is ready; repeatable
    #[arg(long, value_name = "NAME")]
    after: Vec<String>,
    /// A name for singletons that mind each other
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
    /// No two of the group on one node
    #[arg(long, requires = "group")]
    apart: bool,
    /// Spread the group over the values of this label
    #[arg(long, value_name = "LABEL", requires = "group")]
    spread: Option<String>,
    /// Wait no longer than this for it [default: as long as it takes]
    #[arg(long, value_name = "TIME", value_parser = span::parse, conflicts_with = "once")]
    wait: Option<Duration>,
    /// Do not wait for it
    #[arg(long = "try")]
    once: bool,
    /// Let another have it this long after this command was last heard of
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = span::parse)]
    lease: Duration,
    /// How long before the lease ends CMD is asked to end; it is killed before the lease is over
    #[arg(long, value_name = "TIME", default_value = "300ms", value_parser = span::parse)]
    grace: Duration,
    /// How long CMD may take to end when it is to run elsewhere, or to stop
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = span::parse)]
    stop_within: Duration,
    /// When to start CMD again
    #[arg(long, value_enum, default_value_t)]
    restart: Restart,
    /// How often within which time, before it is somebody else's turn
    #[arg(long, value_name = "N/TIME", default_value = "5/10m", value_parser = most)]
    max_restarts: (u32, Duration),
    /// Let the agents run it that were started with --allow-exec, and do not stay: they start it anew
    /// wherever it is to run, from now on
    #[arg(long, conflicts_with_all = ["wait", "once", "lease"])]
    detach: bool,
    /// What to run
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<OsString>,
}

/// When a command is started again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Restart {
    /// Whenever it ended
    Always,
    /// When it ended with another code than 0
    OnFailure,
    /// Never: its code is this command's
    #[default]
    Never,
}

impl Restart {
    fn as_str(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::OnFailure => "on-failure",
            Self::Never => "never",
        }
    }
}

/// How this command came to its end.
enum End {
    /// By the command's end.
    Exited(u8),
    /// By too many ends of the command, the last with this code: it is somebody else's turn.
    Failed(u8),
    /// It is not the one any more, and the command was ended.
    Lost,
    /// It was not the one in time, and nothing was run.
    Late,
}

/// `quorate singleton run`
pub(crate) fn run(reach: &Reach, wish: &Run) -> Done {
    if wish.detach {
        return wish.leave_to_agents(reach);
    }
    let running = async {
        wish.judge()?;
        let client = Client::new(reach)?.within(reach.timeout.min(wish.lease));
        // From here on no signal is missed.
        let mut signals = Signals::new()?;
        wait_and_work(wish, &client, &mut signals).await
    };
    match agent::small_runtime().and_then(|runtime| runtime.block_on(running)).map_err(failed)? {
        End::Exited(0) | End::Failed(0) => Ok(()),
        End::Exited(code) | End::Failed(code) => Err(Fail::Exit(code)),
        End::Lost => Err(Fail::Exit(LOST)),
        End::Late => Err(Fail::Exit(LATE)),
    }
}

async fn wait_and_work(wish: &Run, client: &Client, signals: &mut Signals) -> Result<End, Fail> {
    let until = match (wish.once, wish.wait) {
        (true, _) => Some(now()),
        (false, wait) => wait.map(|wait| now() + wait),
    };
    let Some((mut candidate, seat)) = candidate::stand(wish, client, signals, until).await? else {
        return Ok(End::Late);
    };
    output::talk(&format!(
        "{}: this is the one, under epoch {}; lease {:?}, ends by itself {:?} before that does",
        wish.name,
        seat.epoch,
        wish.lease,
        wish.grace + wish.margin()
    ));
    let end = stint::work(&mut candidate, wish, signals, &seat).await;
    match end {
        // Its offer goes with its session; what is known of it stays for whoever looks why.
        Ok(End::Failed(_)) => candidate.end_session().await,
        _ => candidate.leave().await,
    }
    end
}

impl Run {
    /// The times have to leave room for a change of leader between two renewals.
    fn judge(&self) -> Done {
        let renew = self.lease / 5;
        let needs = self.grace + self.margin() + renew * 3;
        if needs > self.lease {
            let why = format!(
                "--grace {:?} + {:?} to be killed in + 3 renewals of {renew:?} are {needs:?}, more than \
                 --lease {:?}; try --lease {:?}",
                self.grace,
                self.margin(),
                self.lease,
                self.grace * 4,
            );
            return Err(Fail::new(code::BAD_SETTING, why));
        }
        Ok(())
    }

    /// How long before the end of the lease the command is killed.
    fn margin(&self) -> Duration {
        self.lease / 20
    }

    fn until(&self, deadline: Time) -> Until {
        let kill_at = deadline - self.margin();
        Until { term_at: kill_at - self.grace, kill_at }
    }

    /// Has agents run it.
    fn leave_to_agents(&self, reach: &Reach) -> Done {
        let text = |word: &OsString| {
            let not_text = || Fail::new(code::BAD_SETTING, format!("{word:?} is no text"));
            word.to_str().map(str::to_owned).ok_or_else(not_text)
        };
        let command: Vec<String> = self.command.iter().map(text).collect::<Result<_, _>>()?;
        let mut spec = self.spec();
        spec["restart"] = self.restart.as_str().into();
        spec["max_restarts"] = self.max_restarts.0.into();
        spec["restarts_within_ms"] = millis(self.max_restarts.1).into();
        let body = json!({ "command": command, "grace_ms": millis(self.grace), "spec": spec });
        let path = format!("{}/exec", path(&self.name));
        Client::new(reach)?.ask(&Ask::write(Method::POST, path, Some(&body), None))?;
        output::talk(&format!(
            "{0}: agents run it; `quorate singleton show {0}`, `logs {0}`, `stop {0}`",
            self.name
        ));
        Ok(())
    }

    /// What becomes of a command that ends by itself.
    fn restarts(&self) -> Restarts {
        let when = match self.restart {
            Restart::Always => quorate::Restart::Always,
            Restart::OnFailure => quorate::Restart::OnFailure,
            Restart::Never => quorate::Restart::Never,
        };
        let (most, within) = self.max_restarts;
        Restarts { when, most, within_ms: millis(within) }
    }

    fn offer(&self, session: u64) -> Value {
        let mut offer = self.spec();
        offer["session"] = session.into();
        offer
    }

    /// What is wanted of the singleton.
    fn spec(&self) -> Value {
        let labels = |pairs: &[(String, String)]| -> Map<String, Value> {
            pairs.iter().map(|(key, value)| (key.clone(), value.as_str().into())).collect()
        };
        json!({
            "on": labels(&self.on),
            "prefer": labels(&self.prefer),
            "not": labels(&self.not),
            "after": self.after,
            "group": self.group,
            "apart": self.apart,
            "spread": self.spread,
        })
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// Understands `5/10m`.
fn most(text: &str) -> Result<(u32, Duration), String> {
    let (number, time) = text.split_once('/').ok_or("it must be N/TIME, such as 5/10m")?;
    let number = number.parse().map_err(|_| format!("`{number}` is no number"))?;
    Ok((number, span::parse(time)?))
}
