//! `quorate ca`: a certificate authority in a directory, for clusters that have no other. It makes a CA,
//! issues a certificate to each node, and issues it anew before it ends.
//!
//! Private keys are written with mode 0600 and are never shown. What was issued is written down beside the
//! CA, so that a renewal needs to be told nothing but the node's name.
//!
//! Not here: lists of withdrawn certificates. A certificate lives for 90 days; a key that was lost before
//! that is shut out by a new CA; `--help` says how the two are valid at once for a while.

mod authority;

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::fail::Done;
use crate::output::{self, Format, column, shown, wide};
use authority::{Authority, Issued};

const EXAMPLES: &str = "\
Examples:
  quorate ca init --dir ca --name prod
  quorate ca issue --dir ca --node n1 --out n1-tls
  quorate agent --name n1 --tls-cert n1-tls/node.crt --tls-key n1-tls/node.key --tls-ca n1-tls/ca.crt

A running agent takes new files up by itself. To exchange the CA: put both certificates into every node's
ca.crt, issue every node a certificate of the new one, then take the old one out.";

/// What can be done with certificates.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Make a CA; refuses where one is
    #[command(after_help = EXAMPLES)]
    Init {
        /// Where it is kept; made with mode 0700. Keep it off the nodes
        #[arg(long)]
        dir: PathBuf,
        /// The mesh: nodes let in only certificates of the same name
        #[arg(long, default_value = "quorate")]
        name: String,
        /// How long it lasts
        #[arg(long, default_value_t = 3650, value_parser = days())]
        days: u32,
    },
    /// Issue a node its first certificate
    #[command(after_help = EXAMPLES)]
    Issue {
        /// Where the CA is kept
        #[arg(long)]
        dir: PathBuf,
        /// Which node; the same as the --name of its agent
        #[arg(long)]
        node: String,
        /// Where to put the certificate [default: DIR/issued/NODE]
        #[arg(long)]
        out: Option<PathBuf>,
        /// How long it lasts, but no longer than the CA
        #[arg(long, default_value_t = 90, value_parser = days())]
        days: u32,
        /// A host's name or address to note in it; repeatable. For other programs: nodes do not look at it
        #[arg(long)]
        address: Vec<String>,
    },
    /// Issue it anew: the same node and addresses, another key
    #[command(after_help = EXAMPLES)]
    Renew {
        /// Where the CA is kept
        #[arg(long)]
        dir: PathBuf,
        /// Which node
        #[arg(long)]
        node: String,
        /// Where to put the certificate [default: DIR/issued/NODE]
        #[arg(long)]
        out: Option<PathBuf>,
        /// How long it lasts, but no longer than the CA
        #[arg(long, default_value_t = 90, value_parser = days())]
        days: u32,
    },
}

fn days() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=36_500)
}

/// `quorate ca …`
pub(crate) fn run(command: &Command, format: Format) -> Done {
    match command {
        Command::Init { dir, name, days } => {
            let authority = Authority::make(dir, name, *days)?;
            let cert = dir.join("ca.crt");
            let object = json!({
                "name": authority.mesh(),
                "ends": authority.ends(),
                "cert": cert.display().to_string(),
                "key": dir.join("ca.key").display().to_string(),
            });
            show(format, &object)?;
            output::talk(&format!(
                "{} is secret: whoever has it makes nodes. Next: quorate ca issue --dir {} --node NAME",
                dir.join("ca.key").display(),
                dir.display()
            ));
            Ok(())
        }
        Command::Issue { dir, node, out, days, address } => {
            let issued = Authority::open(dir)?.issue(node, address, *days, out.as_deref())?;
            tell(format, dir, &issued)
        }
        Command::Renew { dir, node, out, days } => {
            let issued = Authority::open(dir)?.renew(node, *days, out.as_deref())?;
            tell(format, dir, &issued)
        }
    }
}

/// Says what was issued, and what to do with it.
fn tell(format: Format, dir: &Path, issued: &Issued) -> Done {
    let Issued { node, ends, out, was_cut } = issued;
    let file = |name: &str| out.join(name).display().to_string();
    let (cert, key, ca) = (file("node.crt"), file("node.key"), file("ca.crt"));
    let object =
        json!({ "name": node, "ends": ends, "cert": cert, "key": key, "ca": ca, "cut": was_cut });
    show(format, &object)?;
    if *was_cut {
        output::talk("it ends with the CA, which is sooner than was asked");
    }
    output::talk(&format!(
        "Copy the three files to {node}, node.key readable by its agent alone (mode 0600), and start \
         that with\n\
         \x20 --name {node} --tls-cert node.crt --tls-key node.key --tls-ca ca.crt\n\
         An agent that runs already takes them up by itself. It ends on {ends}; before that:\n\
         \x20 quorate ca renew --dir {} --node {node}",
        dir.display()
    ));
    Ok(())
}

fn show(format: Format, object: &serde_json::Value) -> Done {
    let columns = [
        column("NAME", |it| shown(&it["name"])),
        column("ENDS", |it| shown(&it["ends"])),
        column("CERT", |it| shown(&it["cert"])),
        column("KEY", |it| shown(&it["key"])),
        wide("CA", |it| shown(&it["ca"])),
    ];
    output::one(format, object, &columns)
}
