//! Properties: what many sessions say under one key. Say, show, take back.

use std::time::Duration;

use clap::Subcommand;
use serde_json::{Value, json};
use ureq::http::Method;

use crate::args::{View, pair};
use crate::client::{Ask, Client, encoded};
use crate::fail::Done;
use crate::names::{consistency, value};
use crate::output::{self, Column, Format, column, shown, wide};
use crate::session::Session;
use crate::span;

const SAID: &[Column] = &[
    column("KEY", |said| shown(&said["key"])),
    column("SESSION", |said| shown(&said["session"])),
    column("VALUE", value),
    wide("META", |said| shown(&said["meta"])),
    wide("VERSION", |said| shown(&said["version"])),
];

const SET: &[Column] = &[
    column("KEY", |said| shown(&said["key"])),
    column("SESSION", |said| shown(&said["session"])),
    column("VERSION", |said| shown(&said["version"])),
];

#[derive(Subcommand)]
pub(crate) enum PropertyCommand {
    /// Say something under a key, beside what others say there
    Set {
        /// Which key
        key: String,
        /// What to say
        #[arg(default_value = "")]
        value: String,
        /// A label, by which it is found; repeatable
        #[arg(long, value_name = "K=V", value_parser = pair)]
        meta: Vec<(String, String)>,
        /// The session that says it; it goes with the session
        #[arg(long, value_name = "S", required_unless_present = "ttl")]
        session: Option<u64>,
        /// Say it under a new session, which ends after this long unless it is renewed over HTTP
        #[arg(long, value_name = "TIME", value_parser = span::parse, conflicts_with = "session")]
        ttl: Option<Duration>,
        /// Only if what the session said before has this version; 0 if it said nothing
        #[arg(long, value_name = "V")]
        version: Option<u64>,
        /// Repeats under the same key are done once
        #[arg(long, value_name = "KEY")]
        idempotency_key: Option<String>,
    },
    /// Print all that is said under a key
    Get {
        /// Which key
        key: String,
        /// Be content with what the asked node knows
        #[arg(long)]
        local: bool,
    },
    /// List what is said under keys that begin so
    List {
        /// Only keys that begin so
        #[arg(default_value = "")]
        prefix: String,
        /// Only what has labels that answer this: K=V, K or !K, with commas between them
        #[arg(long, default_value = "")]
        labels: String,
        /// Be content with what the asked node knows
        #[arg(long)]
        local: bool,
    },
    /// Take back what a session says under a key
    Delete {
        /// Which key
        key: String,
        /// The session that says it
        #[arg(long, value_name = "S")]
        session: u64,
    },
}

pub(crate) fn run(view: &View, command: PropertyCommand) -> Done {
    let client = Client::new(&view.reach)?;
    let format = view.output.format;
    match command {
        PropertyCommand::Set { key, value, meta, session, ttl, version, idempotency_key } => {
            let session = match (session, ttl) {
                (None, Some(ttl)) => Session::open(&client, ttl)?.id,
                (session, _) => session.unwrap_or_default(),
            };
            let labels = meta.into_iter().map(|(key, value)| (key, value.into()));
            let meta: serde_json::Map<String, Value> = labels.collect();
            let mut body = json!({ "session": session, "value": value, "meta": meta });
            if let Some(version) = version {
                body["version"] = version.into();
            }
            let mark = idempotency_key.as_deref();
            let ask = Ask::write(Method::PUT, path(&key), Some(&body), mark);
            output::one(format, &client.ask(&ask)?.with_age(), SET)
        }
        PropertyCommand::Get { key, local } => {
            let how = consistency(local);
            let path = format!("/v1/properties?key={}&consistency={how}", encoded(&key));
            list(&client, format, path)
        }
        PropertyCommand::List { prefix, labels, local } => {
            let (prefix, labels, how) = (encoded(&prefix), encoded(&labels), consistency(local));
            let path = format!("/v1/properties?prefix={prefix}&labels={labels}&consistency={how}");
            list(&client, format, path)
        }
        PropertyCommand::Delete { key, session } => {
            let path = format!("{}?session={session}", path(&key));
            client.ask(&Ask::write(Method::DELETE, path, None, None))?;
            output::talk(&format!("session {session} says nothing under {key}"));
            Ok(())
        }
    }
}

fn list(client: &Client, format: Format, path: String) -> Done {
    let document = client.ask(&Ask::get(path))?.with_age();
    let said = document["properties"].as_array().cloned().unwrap_or_default();
    if document["more"] == true {
        output::talk("there is more; ask for a longer prefix or with labels");
    }
    output::many(format, &document, &said, SAID)
}

fn path(key: &str) -> String {
    format!("/v1/properties/{}", encoded(key))
}
