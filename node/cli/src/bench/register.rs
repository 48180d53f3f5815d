//! `bench register`: how many fresh names three nodes give out, and how long each takes.
//!
//! Every name is bound to a session (in etcd: a lease), so that all do the same work. Every number is the
//! median of three runs, with the least and the most beside it.

use tokio::runtime::Builder;

use super::rows::{self, LOAD_COLUMNS, Measuring, OURS, under_load};
use super::{Face, etcd, ours};
use crate::fail::Done;

const WHAT: &str = "register";

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many clients ask at the same time, one row each
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "1,64,256",
          value_parser = clap::value_parser!(u16).range(1..=2000))]
    clients: Vec<u16>,
    /// Measure only this face; repeatable
    #[arg(long = "face", value_name = "FACE")]
    faces: Vec<Face>,
    #[command(flatten)]
    measuring: Measuring,
}

pub(crate) fn run(args: &Args) -> Done {
    super::until_signalled(Builder::new_multi_thread(), measure(args))
}

async fn measure(args: &Args) -> Done {
    let (dir, mut machine) = rows::place(args.measuring.data_dir.as_deref())?;
    let clients: Vec<usize> = args.clients.iter().copied().map(usize::from).collect();
    let (span, mut rows) = (args.measuring.seconds, Vec::new());

    if Face::Rust.is_asked_for(&args.faces) {
        let nodes = ours::Nodes::start(&dir.path().join("rust")).await?;
        for count in &clients {
            let takers = || nodes.takers(*count);
            rows.push(under_load((WHAT, "rust", OURS), *count, span, takers).await?);
        }
        nodes.stop().await;
    }

    if Face::Http.is_asked_for(&args.faces) {
        let agents = ours::agents(dir.path()).await?;
        for count in &clients {
            let takers = || ours::http_takers(&agents, *count);
            rows.push(under_load((WHAT, "http", OURS), *count, span, takers).await?);
        }
        agents.end().await;

        if let Some(by) = rows::etcd_beside(&mut machine).await {
            let etcd = etcd::Etcd::start(&dir.path().join("etcd")).await?;
            for count in &clients {
                let takers = || etcd.takers(*count);
                rows.push(under_load((WHAT, "http", by), *count, span, takers).await?);
            }
            etcd.stop().await;
        }
    }
    rows::show(args.measuring.output.format, &machine, &rows, &LOAD_COLUMNS)
}
