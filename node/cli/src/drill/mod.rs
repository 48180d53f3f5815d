//! Drills: harm a cluster on purpose, watch from outside, and say whether all held that must.
//!
//! A drill makes a throw-away cluster of real processes, puts load on it, does what its script says, and
//! judges what witnesses and clients wrote down (`quorate-drill`). What it harms it harms by signals and at
//! the agents' own doors, so it needs no rights.
//!
//! Not here: what scripts come to and what must hold, which the simulation shares, and how an agent harms
//! itself (`quorate-faults`).

mod beat;
mod door;
mod file;
mod live;
mod load;
mod notes;
mod post;
mod replicas;
mod scene;
mod sim;
mod size;
mod watch;
mod world;

use std::path::PathBuf;
use std::time::Duration;

use clap::Subcommand;
use quorate_discovery::nearest;
use quorate_drill::page::page;
use quorate_drill::script::{Script, built_in, churn};
use quorate_drill::story::Story;
use quorate_drill::strip;
use quorate_http::code;
use rand::RngExt;
use serde_json::{Value, json};

use self::live::Live;
use self::scene::Terms;
use crate::agent::{Signals, small_runtime};
use crate::args::Output;
use crate::fail::{Done, Fail};
use crate::output::{self, Column, Format, column, shown, wide};
use crate::span;

/// How many steps a churn has, if it is not said for how long.
const CHURN_STEPS: usize = 12;
/// How long a step of a churn takes with all that belongs to it, about.
const CHURN_STEP: Duration = Duration::from_secs(5);

#[derive(Subcommand)]
pub(crate) enum DrillCommand {
    /// List the drills that there are
    List {
        #[command(flatten)]
        output: Output,
    },
    /// Run a drill on a throw-away cluster; exit code 1 says that something did not hold
    Run(Run),
    /// Run seeds of the deterministic simulation; needs the program quorate-sim beside this one
    Sim(sim::Sim),
    /// End all faults of these agents, at once: the stop button, which works in a minority, too
    Stop {
        /// Which agents
        #[arg(long, value_name = "AGENT,…", value_delimiter = ',', required = true)]
        on: Vec<String>,
        /// A file with their token (mode 0600)
        #[arg(long, value_name = "FILE", env = "QUORATE_API_TOKEN_FILE")]
        api_token_file: Option<PathBuf>,
    },
    /// Live, and write it down; what a drill has singletons run
    #[command(hide = true)]
    Beat(beat::Beat),
}

/// What to run.
#[derive(clap::Args)]
pub(crate) struct Run {
    /// Which: a name of `drill list`, or a file of steps that ends with .toml
    drill: String,
    /// Draw from this [default: another one each time]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// How many nodes [default: as the drill likes]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(3..=9))]
    nodes: Option<u8>,
    /// Go on for about so many minutes; for `churn` alone
    #[arg(long, value_name = "M", value_parser = clap::value_parser!(u64).range(1..=10_080))]
    minutes: Option<u64>,
    /// How soon all must run again, once a quorum can talk [default: the lease, and 4 s]
    #[arg(long, value_name = "TIME", value_parser = span::parse)]
    bound: Option<Duration>,
    /// Write a page here that shows what happened
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
    /// Keep the nodes' data and logs
    #[arg(long)]
    retain: bool,
    /// Drill this cluster instead of a throw-away one: all of its agents, which let themselves be drilled
    #[arg(long, value_name = "AGENT,…", value_delimiter = ',', conflicts_with = "nodes")]
    on: Vec<String>,
    /// Do it; without this it is only said what would be done
    #[arg(long, value_name = "CLUSTER", requires = "on")]
    i_mean: Option<String>,
    /// A file with the token of these agents (mode 0600)
    #[arg(long, value_name = "FILE", env = "QUORATE_API_TOKEN_FILE")]
    api_token_file: Option<PathBuf>,
    #[command(flatten)]
    output: Output,
}

const LIST: &[Column] = &[
    column("DRILL", |drill| shown(&drill["name"])),
    column("NODES", |drill| shown(&drill["nodes"])),
    wide("STEPS", |drill| shown(&drill["steps"])),
    column("WHAT IT SHOWS", |drill| shown(&drill["about"])),
];

/// `quorate drill`
pub(crate) fn run(command: DrillCommand) -> Done {
    match command {
        DrillCommand::List { output } => list(output.format),
        DrillCommand::Run(wish) => drill(&wish),
        DrillCommand::Sim(wish) => sim::run(&wish),
        DrillCommand::Stop { on, api_token_file } => {
            small_runtime()?.block_on(live::stop(&on, api_token_file.as_deref()))
        }
        DrillCommand::Beat(beat) => small_runtime()?.block_on(beat::live(&beat)),
    }
}

fn list(format: Format) -> Done {
    let drills: Vec<Value> = built_in()
        .iter()
        .map(|script| {
            json!({
                "name": script.name,
                "about": script.about,
                "nodes": script.nodes,
                "steps": script.steps.len(),
            })
        })
        .collect();
    output::many(format, &json!({ "drills": drills }), &drills, LIST)
}

fn drill(wish: &Run) -> Done {
    let seed = wish.seed.unwrap_or_else(|| quorate_env::dice().random_range(1..1_000_000));
    let mut script = script(wish, seed)?;
    if let Some(nodes) = wish.nodes {
        script.nodes = usize::from(nodes);
    }
    let again = again(wish, &script, seed);
    let runtime = small_runtime()?;
    let live = match wish.on.is_empty() {
        true => None,
        false => Some(runtime.block_on(agreed(wish, &mut script))?),
    };
    output::talk(&format!("drill {} · seed {seed} · {} nodes", script.name, script.nodes));
    let terms = Terms { bound: wish.bound, retain: wish.retain, live: live.as_ref() };
    let played = runtime.block_on(async {
        let mut signals = Signals::new()?;
        tokio::select! {
            biased;
            name = signals.next() => Ok(Err(name)),
            story = scene::play(&script, seed, again, terms) => story.map(Ok),
        }
    });
    if let (Some(live), Err(_) | Ok(Err(_))) = (&live, &played) {
        runtime.block_on(live.tidy());
    }
    let story = played?.map_err(|name| {
        let left = if live.is_some() { "its faults were ended" } else { "the cluster is gone" };
        Fail::new(code::DRILL_FAILED, format!("{name} came; {left}"))
    })?;
    tell(wish, &story)?;
    if story.passed() { Ok(()) } else { Err(Fail::Exit(1)) }
}

/// The cluster that is to be drilled, once it is said that just this one is meant.
async fn agreed(wish: &Run, script: &mut Script) -> Result<Live, Fail> {
    let harm = script.harms_processes().map(|step| step.deed.word());
    if let Some(word) = harm.or(script.forgetful.then_some("forgetful")) {
        let why = format!(
            "`{word}` harms processes, and those of a cluster that others use are not harmed"
        );
        return Err(
            Fail::new(code::BAD_SETTING, why).next("drill a throw-away cluster, without --on")
        );
    }
    let live = Live::look(&wish.on, wish.api_token_file.as_deref()).await?;
    script.nodes = live.doors.len();
    output::talk(live.plan(script).trim_end());
    match &wish.i_mean {
        Some(meant) if *meant == live.cluster => {}
        Some(meant) => {
            let why = format!("nothing was done: {meant} is not this cluster, {} is", live.cluster);
            return Err(Fail::new(code::BAD_SETTING, why));
        }
        None => {
            let why = "nothing was done: it was not said that this cluster is meant";
            let next = format!("say it: --i-mean {}", live.cluster);
            return Err(Fail::new(code::BAD_SETTING, why.to_owned()).next(&next));
        }
    }
    live.is_free().await?;
    Ok(live)
}

fn script(wish: &Run, seed: u64) -> Result<Script, Fail> {
    if wish.drill != "churn" {
        return named(&wish.drill);
    }
    let steps =
        wish.minutes.map_or(CHURN_STEPS, |minutes| (minutes * 60 / CHURN_STEP.as_secs()) as usize);
    Ok(churn(seed, steps))
}

/// The drill of a name, or that of a file.
fn named(name: &str) -> Result<Script, Fail> {
    if name.ends_with(".toml") {
        return file::read(name.as_ref());
    }
    let all = built_in();
    let names: Vec<&str> = all.iter().map(|script| script.name.as_str()).collect();
    let near = nearest(name, &names).unwrap_or_default();
    let told = format!("there is no drill `{name}`; the nearest is `{near}`");
    let found = all.into_iter().find(|script| script.name == *name);
    found.ok_or_else(|| Fail::new(code::BAD_SETTING, told).next("`quorate drill list` shows all"))
}

/// The command that does the same again.
fn again(wish: &Run, script: &Script, seed: u64) -> String {
    let mut again = format!("quorate drill run {} --seed {seed}", wish.drill);
    if wish.nodes.is_some() {
        again += &format!(" --nodes {}", script.nodes);
    }
    if let Some(meant) = &wish.i_mean {
        again += &format!(" --on {} --i-mean {meant}", wish.on.join(","));
    }
    if let Some(bound) = wish.bound {
        again += &format!(" --bound {}ms", bound.as_millis());
    }
    if let Some(minutes) = wish.minutes {
        again += &format!(" --minutes {minutes}");
    }
    again
}

fn tell(wish: &Run, story: &Story) -> Done {
    let data = json!(story).to_string();
    if let Some(file) = &wish.report {
        let written = std::fs::write(file, page(&data));
        written.map_err(Fail::io(format!("writing {}", file.display())))?;
    }
    match wish.output.format {
        Format::Json | Format::Jsonl => output::line(&data)?,
        Format::Name => output::line(if story.passed() { "pass" } else { "fail" })?,
        Format::Table | Format::Wide => {
            output::line(&format!("{}{}", strip::strip(story), strip::verdict(story)))?;
        }
    }
    if let Some(file) = &wish.report {
        output::talk(&format!("{} shows it", file.display()));
    }
    output::talk(&format!("again: {}", story.again));
    Ok(())
}
