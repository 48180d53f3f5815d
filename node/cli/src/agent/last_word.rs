//! The last word of an agent that was killed: its guard executes the same command once more, with one flag
//! more, and that tells the others at once what they would learn from a lease.
//!
//! Nothing runs in an agent by leave of its lease, so its guard does not end it: one that was stopped goes on
//! and takes part again.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use quorate::{FencerConfig, Node};
use quorate_env::sleep;
use quorate_fencer::MYSELF;
use quorate_http::code;

use super::settings::Settings;
use super::{Args, Signals, small_runtime};
use crate::fail::{Done, Fail};
use crate::secrets;

/// Where the others were when they were looked at last; in the data directory.
const PEERS: &str = "peers";
/// How often they are looked at.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What an agent asks of its guard.
pub(super) fn fencer() -> FencerConfig {
    let mut last_word: Vec<OsString> = vec![MYSELF.into()];
    last_word.extend(std::env::args_os().skip(1));
    last_word.push("--bury".into());
    FencerConfig { program: MYSELF.into(), last_word, kills: false }
}

/// Says that the life before this one is over.
pub(super) fn say(args: Args) -> Done {
    let settings = Settings::gather(args)?;
    let mut peers = read(&settings.config.data);
    peers.extend(settings.config.join.iter().filter(|join| !join.contains("://")).cloned());
    small_runtime()?.block_on(async {
        // A manager of services ends what is left of a dead one; this takes no longer than its patience.
        let _signals = Signals::new()?;
        let said = quorate::last_word(&settings.config, &peers).await;
        said.map(drop).map_err(|error| Fail::new(code::NO_START, error.to_string()))
    })
}

/// Writes down where the others are, for the last word.
pub(super) async fn note_peers(node: Node, data: PathBuf) {
    let mut noted = String::new();
    loop {
        let id = node.id();
        let others = node.status().members.into_iter().filter(|member| member.id != id);
        let peers: String = others.map(|member| member.address + "\n").collect();
        if peers != noted && secrets::write_whole(&data.join(PEERS), &peers).is_ok() {
            noted = peers;
        }
        sleep(LOOK_AGAIN).await;
    }
}

fn read(data: &Path) -> Vec<String> {
    let peers = std::fs::read_to_string(data.join(PEERS)).unwrap_or_default();
    peers.lines().map(str::to_owned).collect()
}
