//! Singletons: who is the one, why, and how that is changed.

use std::time::Duration;

use clap::{Args, Subcommand};
use quorate_env::{now, sleep};
use quorate_http::code;
use serde_json::{Value, json};
use ureq::http::Method;

use crate::args::View;
use crate::client::{Ask, Client, encoded};
use crate::fail::{Done, Fail};
use crate::output::{self, Column, Format, column, shown, wide};
use crate::{agent, runner, span};

const PAGE: usize = 1000;
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// How often it is told how far a drain is.
const TELL_AGAIN: Duration = Duration::from_secs(1);

const SINGLETONS: &[Column] = &[
    column("NAME", |one| shown(&one["name"])),
    column("OWNER", |one| shown(&one["owner"])),
    column("STATE", state),
    column("EPOCH", |one| shown(&one["epoch"])),
    column("CANDIDATES", |one| one["candidates"].as_array().map_or(0, Vec::len).to_string()),
    column("LAST END", last),
    wide("CHECKPOINT", |one| shown(&one["checkpoint"]["bytes"])),
    wide("RESTART", |one| shown(&one["spec"]["restart"])),
    wide("ON", |one| labels(&one["spec"]["on"])),
];

const NODES: &[Column] = &[
    column("NODE", |one| shown(&one["node"])),
    column("ELIGIBLE", |one| shown(&one["eligible"])),
    column("WHY", |one| shown(&one["why"])),
    column("PREFERRED", |one| shown(&one["score"]["preferred"])),
    column("ROOM", |one| shown(&one["score"]["has_room"])),
    column("RING", |one| shown(&one["score"]["place"])),
];

const PAST: &[Column] = &[
    column("EPOCH", |past| shown(&past["epoch"])),
    column("NODE", |past| shown(&past["node"])),
    column("FROM", |past| shown(&past["from"])),
    column("UNTIL", |past| shown(&past["until"])),
    column("EVIDENCE", |past| shown(&past["evidence"])),
    column("WHY", |past| shown(&past["why"])),
];

const MOVES: &[Column] = &[
    column("NAME", |one| shown(&one["name"])),
    column("FROM", |one| shown(&one["from"])),
    column("TO", |one| shown(&one["to"])),
    column("EPOCH", |one| shown(&one["epoch"])),
];

const DRAINS: &[Column] = &[
    column("NODE", |one| shown(&one["name"])),
    column("DRAINING", |one| shown(&one["draining"])),
    column("SINGLETONS", |one| shown(&one["singletons"])),
    column("WHY", |one| shown(&one["why"])),
];

#[derive(Subcommand)]
pub(crate) enum SingletonCommand {
    /// Run a command while this is the one, here and nowhere else
    Run(Box<runner::Run>),
    /// List who is the one of what
    List {
        /// Only names that begin so
        #[arg(default_value = "")]
        prefix: String,
    },
    /// Show one
    Show {
        /// Which singleton
        name: String,
        /// Be content with what the asked node knows
        #[arg(long)]
        local: bool,
    },
    /// Say of each node why it is or is not the owner
    Why {
        /// Which singleton
        name: String,
    },
    /// Print who held it before, and how it is known that each has ended
    History {
        /// Which singleton
        name: String,
    },
    /// Move it to a node, once: it stays there until something moves it again
    Move {
        /// Which singleton
        name: String,
        /// Which node [default: whoever it falls to]
        node: Option<String>,
        /// Only if it is held under exactly this epoch
        #[arg(long, value_name = "E")]
        epoch: Option<u64>,
        /// Do not wait until it is there
        #[arg(long)]
        detach: bool,
    },
    /// Have it end, and not start until it is told to
    Stop {
        /// Which singleton
        name: String,
    },
    /// Let it run again that was stopped, or that failed
    Start {
        /// Which singleton
        name: String,
    },
    /// Print the end of what a command printed that nodes run, wherever it ran last
    Logs {
        /// Which singleton
        name: String,
    },
    /// Print what it said last for its successor
    Checkpoint {
        /// Which singleton
        name: String,
    },
    /// Take it out that nobody offers to run any more
    Forget {
        /// Which singleton
        name: String,
    },
    /// Say that what ran under an epoch has ended, which nobody could prove: if it has not, two will run
    Force {
        /// Which singleton
        name: String,
        /// The epoch that it is held under
        #[arg(long, value_name = "E")]
        epoch: u64,
        /// Who says so, and why; it stands in the history
        #[arg(long, value_name = "TEXT")]
        why: String,
    },
    /// Say which moves would even out what nodes have, and carry them out
    Rebalance(Rebalance),
}

#[derive(Args)]
pub(crate) struct Rebalance {
    /// Carry it out
    #[arg(long)]
    commit: bool,
    /// Leave these where they are; repeatable
    #[arg(long, value_name = "NAME")]
    except: Vec<String>,
    /// No more moves than these
    #[arg(long, value_name = "N", default_value_t = 100)]
    most: usize,
    /// No more moves a second than these
    #[arg(long, value_name = "N", default_value_t = 10)]
    rate: u32,
}

#[derive(Args)]
pub(crate) struct Drain {
    /// Which node
    pub(crate) node: String,
    /// Why, for whoever looks
    #[arg(short = 'm', long, value_name = "TEXT", default_value = "")]
    pub(crate) why: String,
    /// Give up waiting after this long; the drain goes on
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = span::parse)]
    pub(crate) deadline: Duration,
    /// Do not wait until the node has none
    #[arg(long)]
    pub(crate) detach: bool,
}

pub(crate) fn run(view: &View, command: SingletonCommand) -> Done {
    let client = Client::new(&view.reach)?;
    let format = view.output.format;
    match command {
        SingletonCommand::Run(wish) => runner::run(&view.reach, &wish),
        SingletonCommand::List { prefix } => list(&client, format, &prefix),
        SingletonCommand::Show { name, local } => {
            let how = if local { "?consistency=local" } else { "" };
            let found = client.ask(&Ask::get(format!("{}{how}", path(&name))))?.with_age();
            output::one(format, &found, SINGLETONS)
        }
        SingletonCommand::Why { name } => why(&client, format, &name),
        SingletonCommand::History { name } => {
            let told = client.ask(&Ask::get(format!("{}/history", path(&name))))?.body;
            let past: Vec<Value> = told["past"].as_array().cloned().unwrap_or_default();
            output::many(format, &told, &past, PAST)
        }
        SingletonCommand::Move { name, node, epoch, detach } => {
            relocate(&client, &name, node.as_deref(), epoch, detach)
        }
        SingletonCommand::Stop { name } => {
            say(&client, &name, "stop", &json!({}))?;
            until(&client, &name, |one| one["grant"].is_null())?;
            output::talk(&format!("{name} is stopped; `quorate singleton start {name}` starts it"));
            Ok(())
        }
        SingletonCommand::Start { name } => {
            say(&client, &name, "start", &json!({}))?;
            output::talk(&format!("{name} may run"));
            Ok(())
        }
        SingletonCommand::Logs { name } => {
            let mut printed = Vec::new();
            client.download(&format!("{}/logs", path(&name)), &mut printed)?;
            output::bytes(&printed)
        }
        SingletonCommand::Checkpoint { name } => {
            let kept = client.ask(&Ask::get(format!("{}/checkpoint", path(&name))))?.body;
            match format {
                Format::Json | Format::Jsonl => output::one(format, &kept, &[]),
                _ => output::bytes(kept["state"].as_str().unwrap_or_default().as_bytes()),
            }
        }
        SingletonCommand::Forget { name } => {
            client.ask(&Ask::write(Method::DELETE, path(&name), None, None))?;
            output::talk(&format!("{name} is taken out"));
            Ok(())
        }
        SingletonCommand::Force { name, epoch, why } => {
            say(&client, &name, "force", &json!({ "epoch": epoch, "why": why }))?;
            output::talk(&format!("{name} is said to have ended under epoch {epoch}"));
            Ok(())
        }
        SingletonCommand::Rebalance(wish) => rebalance(&client, format, &wish),
    }
}

/// `quorate node drain`
pub(crate) fn drain(view: &View, wish: &Drain) -> Done {
    let client = Client::new(&view.reach)?;
    let node = &wish.node;
    let path = format!("/v1/nodes/{}/drain", encoded(node));
    let body = json!({ "why": wish.why });
    client.ask(&Ask::write(Method::POST, path.as_str(), Some(&body), None))?;
    let until = now() + wish.deadline;
    let draining = async {
        let mut signals = agent::Signals::new()?;
        let mut told = None;
        loop {
            let state = client.ask(&Ask::get(path.as_str()))?.body;
            let left = state["singletons"].as_u64().unwrap_or(0);
            if wish.detach || left == 0 {
                return output::one(view.output.format, &state, DRAINS);
            }
            if !state["draining"].as_bool().unwrap_or(false) {
                return Err(Fail::new(code::REFUSED, "somebody ended the drain"));
            }
            if told.is_none_or(|at| now().since(at) >= TELL_AGAIN) {
                output::talk(&format!("{node} has {left} singletons left"));
                told = Some(now());
            }
            if now() >= until {
                let why = format!("{left} singletons are left on {node}; the drain goes on");
                return Err(Fail::new(code::NO_ANSWER, why));
            }
            tokio::select! {
                biased;
                _ = signals.next() => {
                    output::talk(&format!(
                        "the drain goes on; `quorate node undrain {node}` ends it"
                    ));
                    return Ok(());
                }
                () = sleep(LOOK_AGAIN) => {}
            }
        }
    };
    agent::small_runtime()?.block_on(draining)
}

/// `quorate node undrain`
pub(crate) fn undrain(view: &View, node: &str) -> Done {
    let path = format!("/v1/nodes/{}/undrain", encoded(node));
    Client::new(&view.reach)?.ask(&Ask::write(Method::POST, path, Some(&json!({})), None))?;
    output::talk(&format!("{node} may have singletons again; what was moved stays where it is"));
    Ok(())
}

fn list(client: &Client, format: Format, prefix: &str) -> Done {
    let mut all = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let from = after.map(|after| format!("&after={}", encoded(&after))).unwrap_or_default();
        let path = format!("/v1/singletons?prefix={}&limit={PAGE}{from}", encoded(prefix));
        let page = client.ask(&Ask::get(path))?.body;
        all.extend(page["singletons"].as_array().cloned().unwrap_or_default());
        match page["after"].as_str() {
            Some(last) => after = Some(last.to_owned()),
            None => break,
        }
    }
    let document = json!({ "singletons": all });
    output::many(format, &document, &all, SINGLETONS)
}

fn why(client: &Client, format: Format, name: &str) -> Done {
    let told = client.ask(&Ask::get(format!("{}/why", path(name))))?.body;
    let nodes: Vec<Value> = told["nodes"].as_array().cloned().unwrap_or_default();
    if format == Format::Table || format == Format::Wide {
        let line = match (told["owner"].as_str(), told["reason"].as_str()) {
            (Some(owner), _) => format!(
                "{name} is {} on {owner} under epoch {}; it stays there, whoever joins",
                shown(&told["state"]),
                told["epoch"]
            ),
            (None, Some(reason)) => format!("nobody has {name}: {reason}"),
            (None, None) => format!("nobody has {name}: it is {}", shown(&told["state"])),
        };
        output::line(&line)?;
    }
    output::many(format, &told, &nodes, NODES)
}

fn relocate(
    client: &Client,
    name: &str,
    node: Option<&str>,
    epoch: Option<u64>,
    detach: bool,
) -> Done {
    let before = client.ask(&Ask::get(path(name)))?.body;
    let begun = now();
    say(client, name, "move", &json!({ "to": node, "epoch": epoch }))?;
    if detach {
        return Ok(());
    }
    if node.is_some() && before["owner"].as_str() == node {
        output::talk(&format!("{name} is on {} already", shown(&before["owner"])));
        return Ok(());
    }
    let moved = until(client, name, |one| {
        one["epoch"].is_u64() && one["epoch"].as_u64() > before["epoch"].as_u64()
    })?;
    output::talk(&format!(
        "{name} moved from {} to {} under epoch {} in {} ms",
        shown(&before["owner"]),
        shown(&moved["owner"]),
        moved["epoch"],
        now().since(begun).as_millis()
    ));
    Ok(())
}

fn rebalance(client: &Client, format: Format, wish: &Rebalance) -> Done {
    let plan = client.ask(&Ask::get(format!("/v1/plan?most={}", wish.most)))?.body;
    let is_wanted = |one: &&Value| {
        let name = one["name"].as_str().unwrap_or_default();
        !wish.except.iter().any(|except| except == name)
    };
    let all = plan["moves"].as_array().cloned().unwrap_or_default();
    let moves: Vec<Value> = all.iter().filter(is_wanted).cloned().collect();
    let document = json!({ "moves": moves });
    output::many(format, &document, &moves, MOVES)?;
    if !wish.commit {
        output::talk(&format!("{} moves; nothing was moved, --commit does it", moves.len()));
        return Ok(());
    }
    // A few at a time, so that no request takes longer than one may.
    let each = usize::try_from(wish.rate.max(1)).unwrap_or(1);
    let mut moved = 0;
    for some in moves.chunks(each) {
        let body = json!({ "moves": some, "per_second": wish.rate });
        let ask = Ask::write(Method::POST, "/v1/plan", Some(&body), None);
        moved += client.ask(&ask)?.body["moved"].as_u64().unwrap_or(0);
    }
    output::talk(&format!("{moved} of {} moved", moves.len()));
    Ok(())
}

fn say(client: &Client, name: &str, what: &str, body: &Value) -> Done {
    let path = format!("{}/{what}", path(name));
    client.ask(&Ask::write(Method::POST, path, Some(body), None)).map(drop)
}

/// Waits until something is so of a singleton, for as long as any command waits.
fn until(client: &Client, name: &str, so: impl Fn(&Value) -> bool) -> Result<Value, Fail> {
    let deadline = client.deadline();
    let looking = async {
        loop {
            let one = client.ask(&Ask::get(path(name)))?.body;
            if so(&one) {
                return Ok(one);
            }
            if now() >= deadline {
                let state = shown(&one["state"]);
                let why = format!("it was decided and is under way: {name} is {state}");
                return Err(Fail::new(code::NO_ANSWER, why));
            }
            sleep(LOOK_AGAIN).await;
        }
    };
    agent::small_runtime()?.block_on(looking)
}

/// A singleton's name is one segment of a path.
pub(crate) fn path(name: &str) -> String {
    format!("/v1/singletons/{}", encoded(name).replace('/', "%2F"))
}

fn state(one: &Value) -> String {
    match one["reason"].as_str() {
        Some(reason) => format!("{}: {reason}", shown(&one["state"])),
        None => shown(&one["state"]),
    }
}

fn last(one: &Value) -> String {
    let last = &one["last"];
    match (last["node"].as_str(), last["why"].as_str()) {
        (None, _) => "-".to_owned(),
        (Some(node), Some("") | None) => format!("{node} {}", shown(&last["evidence"])),
        (Some(node), Some(why)) => format!("{node}: {why}"),
    }
}

fn labels(of: &Value) -> String {
    let pairs = of.as_object().into_iter().flatten();
    let pairs: Vec<String> = pairs.map(|(key, value)| format!("{key}={}", shown(value))).collect();
    pairs.join(",")
}
