//! What the command line says.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::output::Format;
use crate::span;
use crate::{
    agent, backup, bench, ca, claims, counters, dev, doctor, drill, elect, guard, last_word, lock,
    property, recover, singletons,
};

const EXAMPLES: &str = "\
Examples:
  quorate dev                                        three nodes on this machine, gone on Ctrl-C
  quorate name register web/primary http://10.0.0.4
  quorate name lookup web/primary -o json
  quorate name watch web/ -o jsonl";

/// One owner per name, across the whole cluster.
#[derive(Parser)]
#[command(name = "quorate", version, after_help = EXAMPLES, max_term_width = 110)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Run a throw-away cluster on this machine
    Dev(dev::Args),
    /// Run one node of a cluster (the daemon)
    Agent(Box<agent::Args>),
    /// Show in one screen how the cluster is, and what to do about it
    Status(View),
    /// List the nodes that take part
    Members(View),
    /// Show who leads
    Leader {
        #[command(flatten)]
        view: View,
        #[command(subcommand)]
        command: Option<LeaderCommand>,
    },
    /// Take a node out of the cluster
    Node {
        #[command(flatten)]
        view: View,
        #[command(subcommand)]
        command: NodeCommand,
    },
    /// Register, look up, list, watch and release names
    Name {
        #[command(flatten)]
        view: View,
        #[command(subcommand)]
        command: NameCommand,
    },
    /// Count durably: add, show, drop
    Counter {
        #[command(flatten)]
        view: View,
        #[command(subcommand)]
        command: counters::CounterCommand,
    },
    /// Say something under a key that others use, too: set, get, list, delete
    Property {
        #[command(flatten)]
        view: View,
        #[command(subcommand)]
        command: property::PropertyCommand,
    },
    /// Say who is the one of what, and why; move, stop and start it
    Singleton {
        #[command(flatten)]
        view: View,
        #[command(subcommand)]
        command: singletons::SingletonCommand,
    },
    /// Run a command while its name is held, here and nowhere else
    Lock(lock::Lock),
    /// Run a command wherever its name is held, one place at a time
    Elect(elect::Elect),
    /// Keep stale owners from what is outside of the cluster: compare epochs in front of it
    Guard {
        #[command(subcommand)]
        command: guard::GuardCommand,
    },
    /// List what this agent is linked to; explain and set who may send to whom
    Links {
        #[command(flatten)]
        view: View,
        #[command(subcommand)]
        command: Option<LinksCommand>,
    },
    /// Take backups, look at them, and begin a new cluster with one
    Backup {
        #[command(flatten)]
        view: View,
        #[command(subcommand)]
        command: backup::BackupCommand,
    },
    /// Go on with what one node has, when a majority of the voters is lost for good
    Recover(recover::Args),
    /// Say by exit code how the cluster is: 0 healthy, 1 degraded, 2 no quorum, 3 cannot tell
    Check(View),
    /// Test what this machine finds, and say what to mend
    Doctor {
        #[command(subcommand)]
        command: doctor::Command,
    },
    /// Rehearse crashes and partitions, and see whether all holds that must
    Drill {
        #[command(subcommand)]
        command: drill::DrillCommand,
    },
    /// Measure
    Bench {
        #[command(subcommand)]
        command: bench::Command,
    },
    /// Make certificates for the connections between nodes
    Ca {
        #[command(subcommand)]
        command: ca::Command,
        #[command(flatten)]
        output: Output,
    },
    /// Explain an error code, or list all of them
    Explain {
        /// Such as Q0107
        code: Option<String>,
        #[command(flatten)]
        output: Output,
    },
    /// Say that somebody has died
    #[command(hide = true)]
    LastWord(last_word::LastWord),
    /// Print the completions for a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

#[derive(Subcommand)]
pub(crate) enum LeaderCommand {
    /// Show who leads
    Show,
    /// Have another node lead, before its machine is stopped for instance
    StepDown {
        /// Which voter [default: whoever has most of the log]
        #[arg(long, value_name = "NODE")]
        to: Option<String>,
    },
}

#[derive(Subcommand)]
pub(crate) enum NodeCommand {
    /// List the nodes that take part
    List,
    /// Let a node have no singletons any more, and wait until those that it had are elsewhere
    Drain(singletons::Drain),
    /// Let a node have singletons again
    Undrain {
        /// Which node
        node: String,
    },
    /// Take a node out that has ended and will not come back; another votes in its place
    Remove {
        /// Which node
        node: String,
    },
}

/// How to reach a cluster, and how to show what it says.
#[derive(Args)]
pub(crate) struct View {
    #[command(flatten)]
    pub(crate) reach: Reach,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// How to reach a cluster.
#[derive(Args)]
pub(crate) struct Reach {
    /// The agent to talk to [default: the cluster of `quorate dev`, else http://127.0.0.1:4748]
    #[arg(long, value_name = "URL", env = "QUORATE_AGENT", global = true)]
    pub(crate) agent: Option<String>,
    /// A file with the token that writes need (mode 0600)
    #[arg(long, value_name = "FILE", env = "QUORATE_API_TOKEN_FILE", global = true)]
    pub(crate) api_token_file: Option<PathBuf>,
    /// No command waits longer for an answer
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = span::parse, global = true)]
    pub(crate) timeout: Duration,
}

/// How to show data.
#[derive(Args)]
pub(crate) struct Output {
    /// How to print data
    #[arg(short = 'o', long = "output", value_enum, default_value_t, global = true)]
    pub(crate) format: Format,
}

#[derive(Subcommand)]
pub(crate) enum NameCommand {
    /// Take a name; fails if somebody holds it
    Register(Register),
    /// Say who holds a name; exit 1 and no output if nobody does
    Lookup {
        /// Which name
        name: String,
        /// Be content with what the asked node knows
        #[arg(long)]
        local: bool,
        /// See everything that was acknowledged before (the default)
        #[arg(long, conflicts_with = "local")]
        linearizable: bool,
        /// Be content with what the asked node knows, if that is not older
        #[arg(long, value_name = "TIME", value_parser = span::parse)]
        #[arg(conflicts_with_all = ["local", "linearizable"])]
        max_stale: Option<Duration>,
    },
    /// List the names that are held
    List {
        /// Only names that begin so
        #[arg(default_value = "")]
        prefix: String,
        /// Only those whose labels answer this: K=V, K or !K, with commas between them
        #[arg(long, default_value = "")]
        labels: String,
        /// Be content with what the asked node knows
        #[arg(long)]
        local: bool,
    },
    /// Keep a name free for a while, before there is anything to say under it
    Reserve(claims::Reserve),
    /// Make a reservation a registration, under the same epoch
    Confirm(claims::Confirm),
    /// Say something else under a name; its epoch stays
    Amend(claims::Amend),
    /// Print the names that are held, then every change
    Watch {
        /// Only names that begin so
        #[arg(default_value = "")]
        prefix: String,
        /// Print only what changed after this index
        #[arg(long, value_name = "INDEX")]
        from: Option<u64>,
    },
    /// Give a name back
    Release {
        /// Which name
        name: String,
        /// Only if it is held under exactly this epoch
        #[arg(long, value_name = "E")]
        epoch: Option<u64>,
        /// Repeats under the same key are done once
        #[arg(long, value_name = "KEY")]
        idempotency_key: Option<String>,
    },
}

#[derive(Args)]
pub(crate) struct Register {
    /// Which name: parts of letters, digits and . _ ~ : @ - joined by slashes
    pub(crate) name: String,
    /// What to be known under it
    #[arg(default_value = "")]
    pub(crate) value: String,
    /// A label of the registration; repeatable
    #[arg(long, value_name = "K=V", value_parser = pair)]
    pub(crate) meta: Vec<(String, String)>,
    /// Hold it until this command ends
    #[arg(long, conflicts_with = "ttl")]
    pub(crate) hold: bool,
    /// Let it go after this long, unless its session is renewed over HTTP [default: it stays until released]
    #[arg(long, value_name = "TIME", value_parser = span::parse)]
    pub(crate) ttl: Option<Duration>,
    /// Take it over from whoever holds it under exactly this epoch
    #[arg(long, value_name = "E")]
    pub(crate) replace_epoch: Option<u64>,
    /// Repeats under the same key are done once
    #[arg(long, value_name = "KEY")]
    pub(crate) idempotency_key: Option<String>,
}

#[derive(Subcommand)]
pub(crate) enum LinksCommand {
    /// Say what one node may send to another and back, and which rule decides it
    Explain {
        /// The node that sends
        from: String,
        /// The node that receives
        to: String,
        /// Ask the rules of this file instead of those in force; nothing changes
        #[arg(long, value_name = "FILE", conflicts_with = "local")]
        rules: Option<PathBuf>,
        /// Be content with what the asked node knows
        #[arg(long)]
        local: bool,
    },
    /// Show and replace the topology rules of the cluster
    Rules {
        #[command(subcommand)]
        command: RulesCommand,
    },
}

#[derive(Subcommand)]
pub(crate) enum RulesCommand {
    /// List the rules in force; the first that fits two nodes decides, and what none fits is open
    Show {
        /// Be content with what the asked node knows
        #[arg(long)]
        local: bool,
    },
    /// Put the rules of a file in the place of those in force
    Set {
        /// TOML: for each rule [[rule]], from, to, verdict, and if need be lanes and rate
        file: PathBuf,
        #[command(flatten)]
        replace: ReplaceRules,
    },
    /// Open everything: put no rules in the place of those in force
    Reset {
        #[command(flatten)]
        replace: ReplaceRules,
    },
}

#[derive(Args)]
pub(crate) struct ReplaceRules {
    /// Only if the rules in force have exactly this version; 0 if none were ever set
    #[arg(long, value_name = "V")]
    pub(crate) replace_version: Option<u64>,
    /// Repeats under the same key are done once
    #[arg(long, value_name = "KEY")]
    pub(crate) idempotency_key: Option<String>,
}

/// Understands `key=value`.
pub(crate) fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("it must be KEY=VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        super::Cli::command().debug_assert();
    }
}
