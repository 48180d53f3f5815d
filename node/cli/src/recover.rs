//! A cluster whose majority is lost for good: say what one node still has, and go on with that.

use std::path::PathBuf;

use quorate::{Epoch, Survivor};
use quorate_http::code;
use serde_json::{Value, json};

use crate::agent::small_runtime;
use crate::args::Output;
use crate::backup::{ANEW, anew_shown, epoch, next_steps, not_begun};
use crate::fail::{Done, Fail};
use crate::output::{self, Format};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The data directory of the node that is left; no agent may be using it
    #[arg(long, value_name = "DIR", env = "QUORATE_DATA")]
    data: PathBuf,
    /// Go on, and accept for this cluster that what may be lost is lost
    #[arg(long, value_name = "CLUSTER")]
    i_accept_loss: Option<String>,
    /// Give out only epochs of a generation above this epoch's; needed where this node was recovered from
    /// before
    #[arg(long, value_name = "E", value_parser = epoch)]
    above_epoch: Option<Epoch>,
    #[command(flatten)]
    output: Output,
}

/// `quorate recover`
pub(crate) fn run(args: &Args) -> Done {
    let runtime = small_runtime()?;
    let survivor = runtime.block_on(Survivor::find(&args.data)).map_err(|e| not_begun(&e))?;
    let cluster = survivor.cluster().to_string();
    let Some(accepted) = &args.i_accept_loss else {
        match args.output.format {
            Format::Table | Format::Wide => output::bytes(report(&survivor).as_bytes())?,
            format => output::one(format, &described(&survivor), &[])?,
        }
        output::talk(&format!(
            "nothing was changed. Another node may have more: look at each that is left, and go on with the \
             one whose last index is highest. Then: quorate recover --data {} --i-accept-loss {cluster}",
            args.data.display()
        ));
        return Err(Fail::Exit(1));
    };
    if *accepted != cluster {
        let why = format!("it was accepted for {accepted}, and this directory is of {cluster}");
        return Err(Fail::new(code::NOT_ACCEPTED, why));
    }
    let begun = runtime.block_on(survivor.begin_anew(args.above_epoch));
    let (anew, former) = begun.map_err(|e| not_begun(&e))?;
    let mut shown = anew_shown(&anew);
    shown["former"] = json!(former.display().to_string());
    output::one(args.output.format, &shown, ANEW)?;
    output::talk(&format!("what was there before is in {}", former.display()));
    output::talk(&next_steps(&args.data));
    Ok(())
}

fn described(survivor: &Survivor) -> Value {
    let state = survivor.state();
    let others: Vec<Value> = survivor
        .other_voters()
        .iter()
        .map(|voter| {
            json!({
                "id": voter.id.to_string(),
                "name": voter.name.as_ref().map(|name| name.as_str()),
                "address": voter.address,
            })
        })
        .collect();
    json!({
        "name": survivor.cluster().to_string(),
        "cluster": survivor.cluster().to_string(),
        "node": survivor.node().to_string(),
        "term": survivor.term(),
        "last": survivor.last().0,
        "committed": survivor.committed().0,
        "uncommitted": survivor.last().0 - survivor.committed().0,
        "other_voters": others,
        "names": state.names_held(),
        "sessions": state.sessions().count(),
    })
}

/// What is there and what may be lost, for people.
fn report(survivor: &Survivor) -> String {
    let (last, committed) = (survivor.last().0, survivor.committed().0);
    let state = survivor.state();
    let mut text = format!(
        "cluster {}, node {}, term {}\n\n\
         HERE\n\
         \x20 everything up to index {last}: {} names, {} counters\n\
         \x20 up to index {committed} it is known to be agreed\n",
        survivor.cluster(),
        survivor.node(),
        survivor.term(),
        state.names_held(),
        state.counters("", None).count(),
    );
    if last > committed {
        text.push_str(&format!(
            "  {} more are not known to be; they count as agreed from then on\n",
            last - committed
        ));
    }
    text.push_str("\nLOST\n");
    let others = survivor.other_voters();
    match others.is_empty() {
        true => text.push_str("  nothing: this node was the only voter that it knows of\n"),
        false => text.push_str(&format!(
            "  whatever was acknowledged after index {last} by these alone; how much, nobody can say:\n"
        )),
    }
    for voter in others {
        let name = voter.name.as_ref().map_or("-", |name| name.as_str());
        let address = voter.address.as_deref().unwrap_or("-");
        text.push_str(&format!("    {name}  {}  {address}\n", voter.id));
    }
    text.push_str(&format!(
        "  {} sessions, and the names and properties that they hold\n\
         \x20 every epoch of before: each name that stays gets a higher one\n",
        state.sessions().count()
    ));
    text
}
