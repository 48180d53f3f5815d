//! Durable counters: count, show, take away.

use clap::Subcommand;
use serde_json::json;
use ureq::http::Method;

use crate::args::View;
use crate::client::{Ask, Client, encoded};
use crate::fail::Done;
use crate::names::consistency;
use crate::output::{self, Column, column, shown, wide};

const COUNTERS: &[Column] = &[
    column("NAME", |counter| shown(&counter["name"])),
    column("VALUE", |counter| shown(&counter["value"])),
    wide("INDEX", |counter| shown(&counter["index"])),
];

#[derive(Subcommand)]
pub(crate) enum CounterCommand {
    /// Add to a counter, which begins with 0, and print what is in it then
    Add {
        /// Which counter
        name: String,
        /// How much
        #[arg(default_value_t = 1, allow_hyphen_values = true)]
        add: i64,
        /// Only if exactly this is in it
        #[arg(long, value_name = "N", allow_hyphen_values = true)]
        expected: Option<i64>,
        /// Repeats under the same key are done once
        #[arg(long, value_name = "KEY")]
        idempotency_key: Option<String>,
    },
    /// Print what is in a counter
    Show {
        /// Which counter
        name: String,
        /// Be content with what the asked node knows
        #[arg(long)]
        local: bool,
    },
    /// Take a counter away
    Drop {
        /// Which counter
        name: String,
        /// Only if exactly this is in it
        #[arg(long, value_name = "N", allow_hyphen_values = true)]
        expected: Option<i64>,
    },
}

pub(crate) fn run(view: &View, command: CounterCommand) -> Done {
    let client = Client::new(&view.reach)?;
    let format = view.output.format;
    match command {
        CounterCommand::Add { name, add, expected, idempotency_key } => {
            let mut body = json!({ "add": add });
            if let Some(expected) = expected {
                body["expected"] = expected.into();
            }
            let key = idempotency_key.as_deref();
            let ask = Ask::write(Method::POST, path(&name), Some(&body), key);
            output::one(format, &client.ask(&ask)?.with_age(), COUNTERS)
        }
        CounterCommand::Show { name, local } => {
            let path = format!("{}?consistency={}", path(&name), consistency(local));
            output::one(format, &client.ask(&Ask::get(path))?.with_age(), COUNTERS)
        }
        CounterCommand::Drop { name, expected } => {
            let query = expected.map(|n| format!("?expected={n}")).unwrap_or_default();
            let path = format!("{}{query}", path(&name));
            client.ask(&Ask::write(Method::DELETE, path, None, None))?;
            output::talk(&format!("{name} is gone"));
            Ok(())
        }
    }
}

fn path(name: &str) -> String {
    format!("/v1/counters/{}", encoded(name))
}
