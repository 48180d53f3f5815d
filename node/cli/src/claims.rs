//! Names that are kept before they are held, and what is said under those that are held: reserve, confirm,
//! amend.

use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};
use ureq::http::Method;

use crate::args::pair;
use crate::client::{Ask, Client, name_path};
use crate::fail::Done;
use crate::output::{self, Column, Format, column, shown, wide};
use crate::span;

const RESERVED: &[Column] = &[
    column("NAME", |held| shown(&held["name"])),
    column("EPOCH", |held| shown(&held["epoch"])),
    column("SESSION", |held| shown(&held["session"])),
    wide("INDEX", |held| shown(&held["index"])),
];

const AMENDED: &[Column] = &[
    column("NAME", |held| shown(&held["name"])),
    column("EPOCH", |held| shown(&held["epoch"])),
    column("VERSION", |held| shown(&held["version"])),
];

#[derive(Args)]
pub(crate) struct Reserve {
    /// Which name
    name: String,
    /// Let it go after this long if it is not confirmed
    #[arg(long, value_name = "TIME", value_parser = span::parse)]
    ttl: Duration,
    /// Repeats under the same key are done once
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
}

#[derive(Args)]
pub(crate) struct Confirm {
    /// Which name
    name: String,
    /// The epoch that it was reserved under
    #[arg(long, value_name = "E")]
    epoch: u64,
    /// What to be known under it
    #[arg(default_value = "")]
    value: String,
    /// A label of the registration; repeatable
    #[arg(long, value_name = "K=V", value_parser = pair)]
    meta: Vec<(String, String)>,
    /// The session to bind it to, which may be that of the reservation [default: it stays until released]
    #[arg(long, value_name = "S")]
    session: Option<u64>,
    /// Repeats under the same key are done once
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
}

#[derive(Args)]
pub(crate) struct Amend {
    /// Which name
    name: String,
    /// The epoch that it is held under
    #[arg(long, value_name = "E")]
    epoch: u64,
    /// What to be known under it from now on [default: what is known now]
    value: Option<String>,
    /// The labels from now on, all of them; repeatable [default: those that it has]
    #[arg(long, value_name = "K=V", value_parser = pair)]
    meta: Vec<(String, String)>,
    /// Only if what is known has this version, as `name lookup -o wide` shows it
    #[arg(long, value_name = "V")]
    version: Option<u64>,
    /// Repeats under the same key are done once
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
}

pub(crate) fn reserve(client: &Client, format: Format, wish: &Reserve) -> Done {
    let body = json!({ "reserve": true, "ttl_ms": wish.ttl.as_millis() as u64 });
    let key = wish.idempotency_key.as_deref();
    let ask = Ask::write(Method::PUT, name_path(&wish.name), Some(&body), key);
    output::one(format, &client.ask(&ask)?.with_age(), RESERVED)
}

pub(crate) fn confirm(client: &Client, format: Format, wish: &Confirm) -> Done {
    let mut body = json!({
        "confirm_epoch": wish.epoch,
        "value": wish.value,
        "meta": labels(&wish.meta),
    });
    if let Some(session) = wish.session {
        body["session"] = session.into();
    }
    let key = wish.idempotency_key.as_deref();
    let ask = Ask::write(Method::PUT, name_path(&wish.name), Some(&body), key);
    output::one(format, &client.ask(&ask)?.with_age(), RESERVED)
}

pub(crate) fn amend(client: &Client, format: Format, wish: &Amend) -> Done {
    let mut body = json!({ "epoch": wish.epoch });
    if let Some(value) = &wish.value {
        body["value"] = value.as_str().into();
    }
    if !wish.meta.is_empty() {
        body["meta"] = labels(&wish.meta);
    }
    if let Some(version) = wish.version {
        body["version"] = version.into();
    }
    let key = wish.idempotency_key.as_deref();
    let ask = Ask::write(Method::PATCH, name_path(&wish.name), Some(&body), key);
    output::one(format, &client.ask(&ask)?.with_age(), AMENDED)
}

fn labels(pairs: &[(String, String)]) -> Value {
    let labels = pairs.iter().map(|(key, value)| (key.clone(), value.as_str().into()));
    Value::Object(labels.collect())
}
