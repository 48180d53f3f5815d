//! Backups: take one of a running cluster, look at it, and begin a new cluster with it.

use std::fs::{self, OpenOptions};
use std::io::{BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Subcommand;
use quorate::{Anew, AnewError, BackupHead, Contents, Epoch};
use quorate_http::code;
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::agent::small_runtime;
use crate::args::View;
use crate::client::Client;
use crate::fail::{Done, Fail};
use crate::output::{self, Column, column, shown, wide};

#[derive(Subcommand)]
pub(crate) enum BackupCommand {
    /// Take a backup of the cluster, with everything that was acknowledged before
    Save {
        /// Where to write it; nothing that is there is replaced
        file: PathBuf,
        /// Be content with what the asked node knows, quorate or not
        #[arg(long)]
        local: bool,
    },
    /// Say what a backup holds, and whether it is whole; asks no agent
    Inspect {
        /// Which backup
        file: PathBuf,
    },
    /// Begin a new cluster of one node with a backup; asks no agent
    Restore {
        /// Which backup
        file: PathBuf,
        /// The data directory of the node; must be empty
        #[arg(long, value_name = "DIR")]
        data: PathBuf,
        /// Give out only epochs of a generation above this epoch's; needed where this backup was restored
        /// before
        #[arg(long, value_name = "E", value_parser = epoch)]
        above_epoch: Option<Epoch>,
    },
}

const HEAD: &[Column] = &[
    column("CLUSTER", |backup| shown(&backup["cluster"])),
    column("INDEX", |backup| shown(&backup["index"])),
    column("TAKEN", |backup| shown(&backup["taken"])),
    column("BY", |backup| shown(&backup["by"])),
    column("NAMES", |backup| shown(&backup["names"])),
    column("SESSIONS", |backup| shown(&backup["sessions"])),
    column("NODES", |backup| shown(&backup["nodes"])),
    wide("COUNTERS", |backup| shown(&backup["counters"])),
    wide("GENERATION", |backup| shown(&backup["generation"])),
    wide("RELEASE", |backup| shown(&backup["release"])),
    wide("BYTES", |backup| shown(&backup["bytes"])),
];

pub(crate) const ANEW: &[Column] = &[
    column("CLUSTER", |anew| shown(&anew["cluster"])),
    column("NODE", |anew| shown(&anew["node"])),
    column("GENERATION", |anew| shown(&anew["generation"])),
    column("INDEX", |anew| shown(&anew["index"])),
];

/// `quorate backup`
pub(crate) fn run(view: &View, command: BackupCommand) -> Done {
    match command {
        BackupCommand::Save { file, local } => save(view, &file, local),
        BackupCommand::Inspect { file } => {
            let (contents, bytes) = read(&file)?;
            output::one(view.output.format, &described(&file, &contents, bytes), HEAD)
        }
        BackupCommand::Restore { file, data, above_epoch } => {
            let (contents, _) = read(&file)?;
            let restored = small_runtime()?.block_on(contents.restore(&data, above_epoch));
            let anew = restored.map_err(|error| not_begun(&error))?;
            output::one(view.output.format, &anew_shown(&anew), ANEW)?;
            output::talk(&next_steps(&data));
            Ok(())
        }
    }
}

/// Writes a backup under another name, and gives it its own only once it was read back whole.
fn save(view: &View, file: &Path, local: bool) -> Done {
    let shown = file.display();
    if file.exists() {
        let next = "name another file; a backup never takes the place of what is there";
        return Err(Fail::new(code::IS_THERE, format!("{shown}")).next(next));
    }
    let part = part_of(file);
    let saved = save_part(view, file, &part, local);
    if saved.is_err() {
        // What was begun is of no use to anybody; that it may stay is no further failure.
        let _ = fs::remove_file(&part);
    }
    let (contents, bytes) = saved?;
    output::one(view.output.format, &described(file, &contents, bytes), HEAD)
}

fn save_part(view: &View, file: &Path, part: &Path, local: bool) -> Result<(Contents, u64), Fail> {
    let doing = || format!("writing {}", part.display());
    let mut open = OpenOptions::new();
    let opened = open.write(true).create(true).truncate(true).mode(0o600).open(part);
    let mut written = opened.map_err(Fail::io(doing()))?;
    let how = if local { "local" } else { "linearizable" };
    Client::new(&view.reach)?.download(&format!("/v1/backup?consistency={how}"), &mut written)?;
    written.flush().and_then(|()| written.sync_all()).map_err(Fail::io(doing()))?;
    drop(written);
    let read = read(part)?;
    // A link, unlike a new name, never takes the place of what came meanwhile.
    fs::hard_link(part, file).map_err(Fail::io(format!("naming {}", file.display())))?;
    fs::remove_file(part).map_err(Fail::io(doing()))?;
    Ok(read)
}

fn part_of(file: &Path) -> PathBuf {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(format!(".part-{}", std::process::id()));
    file.with_file_name(name)
}

/// Reads a backup to its end, and says how long it is.
fn read(file: &Path) -> Result<(Contents, u64), Fail> {
    let doing = || format!("reading {}", file.display());
    let opened = OpenOptions::new().read(true).open(file).map_err(Fail::io(doing()))?;
    let bytes = opened.metadata().map_err(Fail::io(doing()))?.len();
    let mut known = None;
    let contents = Contents::read(BufReader::new(opened), |head| known = Some(head.clone()));
    let contents = contents.map_err(|error| {
        let mut detail = format!("{}: {error}", file.display());
        if let Some(BackupHead { cluster, index, by, taken_ms, .. }) = known {
            let taken = day(taken_ms);
            detail.push_str(&format!(
                "\nits head, which is whole, says: cluster {cluster}, index {index}, taken {taken} by {by}"
            ));
        }
        Fail::new(code::BAD_BACKUP, detail)
    })?;
    Ok((contents, bytes))
}

fn described(file: &Path, contents: &Contents, bytes: u64) -> Value {
    let (head, state) = (contents.head(), contents.state());
    json!({
        "name": file.display().to_string(),
        "whole": true,
        "bytes": bytes,
        "cluster": head.cluster.to_string(),
        "index": head.index.0,
        "generation": head.generation,
        "taken": day(head.taken_ms),
        "taken_ms": head.taken_ms,
        "by": head.by.as_str(),
        "release": head.release,
        "names": state.names_held(),
        "sessions": state.sessions().count(),
        "nodes": state.nodes().count(),
        "counters": state.counters("", None).count(),
    })
}

/// A moment of the wall clock, as people write it.
fn day(ms: u64) -> String {
    let at = OffsetDateTime::UNIX_EPOCH + Duration::from_millis(ms.min(253_000_000_000_000));
    let (hour, minute, second) = at.to_hms();
    format!("{} {hour:02}:{minute:02}:{second:02} UTC", at.date())
}

pub(crate) fn epoch(text: &str) -> Result<Epoch, String> {
    let number = text.parse().ok().and_then(Epoch::from_shown);
    number.ok_or_else(|| "it must be an epoch, as it is shown of a name".to_owned())
}

pub(crate) fn anew_shown(anew: &Anew) -> Value {
    json!({
        "name": anew.cluster.to_string(),
        "cluster": anew.cluster.to_string(),
        "node": anew.node.to_string(),
        "generation": anew.generation,
        "index": anew.index.0,
    })
}

pub(crate) fn not_begun(error: &AnewError) -> Fail {
    Fail::new(code::NOT_BEGUN, error.to_string())
}

/// What is to be done once a cluster was begun anew.
pub(crate) fn next_steps(data: &Path) -> String {
    format!(
        "next: start this node (quorate agent --data {}), then every other one with an empty data directory \
         and --join to it; those of the former cluster are refused. Every epoch of before is void.",
        data.display()
    )
}
