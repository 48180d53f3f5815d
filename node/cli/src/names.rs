//! Names: take, look up, list, give back.

use std::time::Duration;

use quorate_env::{now, sleep};
use quorate_http::code;
use serde_json::{Value, json};
use ureq::http::Method;

use crate::args::{NameCommand, Register, View};
use crate::client::{Ask, Client, encoded, name_path};
use crate::fail::Done;
use crate::output::{self, Column, Format, column, shown, wide};
use crate::session::{Session, patience};
use crate::{agent, claims, watch};

/// How long a name that is held by this command outlives it, if it dies without a word.
const HOLD: Duration = Duration::from_secs(10);

/// How many names are asked for at a time.
const PAGE: usize = 1000;

pub(crate) const NAMES: &[Column] = &[
    column("NAME", |held| shown(&held["name"])),
    column("EPOCH", |held| shown(&held["epoch"])),
    column("VALUE", value),
    column("HELD BY", holder),
    wide("META", meta),
    wide("INDEX", |held| shown(&held["index"])),
    wide("VERSION", |held| shown(&held["version"])),
];

const TAKEN: &[Column] = &[
    column("NAME", |held| shown(&held["name"])),
    column("EPOCH", |held| shown(&held["epoch"])),
    column("INDEX", |held| shown(&held["index"])),
    wide("SESSION", |held| shown(&held["session"])),
];

pub(crate) fn run(view: &View, command: NameCommand) -> Done {
    let client = Client::new(&view.reach)?;
    let format = view.output.format;
    match command {
        NameCommand::Register(wish) => register(&client, format, &wish),
        NameCommand::Lookup { name, local, max_stale, .. } => {
            let how = match max_stale {
                Some(age) => format!("max_stale_ms={}", age.as_millis()),
                None => format!("consistency={}", consistency(local)),
            };
            let path = format!("{}?{how}", name_path(&name));
            let found = client.ask(&Ask::get(path))?.with_age();
            output::one(format, &found, NAMES)
        }
        NameCommand::List { prefix, labels, local } => {
            list(&client, format, &prefix, &labels, local)
        }
        NameCommand::Reserve(wish) => claims::reserve(&client, format, &wish),
        NameCommand::Confirm(wish) => claims::confirm(&client, format, &wish),
        NameCommand::Amend(wish) => claims::amend(&client, format, &wish),
        NameCommand::Watch { prefix, from } => watch::watch(&client, format, &prefix, from),
        NameCommand::Release { name, epoch, idempotency_key } => {
            let query = epoch.map(|epoch| format!("?epoch={epoch}")).unwrap_or_default();
            let path = format!("{}{query}", name_path(&name));
            client.ask(&Ask::write(Method::DELETE, path, None, idempotency_key.as_deref()))?;
            output::talk(&format!("{name} is free"));
            Ok(())
        }
    }
}

fn register(client: &Client, format: Format, wish: &Register) -> Done {
    let ttl = if wish.hold { Some(HOLD) } else { wish.ttl };
    let session = ttl.map(|ttl| Session::open(client, ttl)).transpose()?;
    let meta: serde_json::Map<String, Value> =
        wish.meta.iter().map(|(key, value)| (key.clone(), value.as_str().into())).collect();
    let mut body = json!({ "value": wish.value, "meta": meta });
    if let Some(session) = &session {
        body["session"] = session.id.into();
    }
    if let Some(epoch) = wish.replace_epoch {
        body["replace_epoch"] = epoch.into();
    }
    let key = wish.idempotency_key.as_deref();
    let ask = Ask::write(Method::PUT, name_path(&wish.name), Some(&body), key);
    let taken = client.ask(&ask).inspect_err(|fail| {
        // Of a session that holds nothing nobody has any use; if it holds something after all, unknown to
        // us, it must stay for its time.
        if let Some(session) = session.as_ref().filter(|_| !fail.is_unknown()) {
            let _ = session.end(client);
        }
    })?;
    let mut shown = taken.with_age();
    if let Some(session) = &session {
        shown["session"] = session.id.into();
        shown["ttl_ms"] = (session.ttl.as_millis() as u64).into();
    }
    output::one(format, &shown, TAKEN)?;
    match session.filter(|_| wish.hold) {
        Some(session) => hold(client, session, &wish.name),
        None => Ok(()),
    }
}

/// Renews until a signal comes or the session is lost.
fn hold(client: &Client, mut session: Session, name: &str) -> Done {
    let runtime = agent::small_runtime()?;
    runtime.block_on(async {
        // Before it is said, so that whoever reads it can end it in order.
        let mut signals = agent::Signals::new()?;
        output::talk(&format!("holding {name} under session {} until Ctrl-C", session.id));
        loop {
            tokio::select! {
                biased;
                _ = signals.next() => break,
                () = sleep(session.ttl / 4) => {}
            }
            // Blocking is right here: there is nothing else to do, and the call ends with the session.
            let left = session.deadline().since(now());
            match session.renew(&client.within(patience(session.ttl, left))) {
                Ok(()) => {}
                Err(fail) if fail.is(code::SESSION_ENDED) => return Err(fail),
                Err(fail) if now() >= session.deadline() => {
                    let why = format!(
                        "{name} is no longer held for certain: its session was not renewed in time"
                    );
                    output::talk(&why);
                    return Err(fail);
                }
                Err(_) => {}
            }
        }
        session.end(client)?;
        output::talk(&format!("{name} is free"));
        Ok(())
    })
}

fn list(client: &Client, format: Format, prefix: &str, labels: &str, local: bool) -> Done {
    let mut next: Option<String> = None;
    let mut all: Vec<Value> = Vec::new();
    let mut index = Value::Null;
    let mut node = Value::Null;
    loop {
        let (prefix, labels, how) = (encoded(prefix), encoded(labels), consistency(local));
        let mut path =
            format!("/v1/names?prefix={prefix}&labels={labels}&limit={PAGE}&consistency={how}");
        if let Some(next) = &next {
            path.push_str(&format!("&page={}", encoded(next)));
        }
        let mut page = client.ask(&Ask::get(path))?.with_age();
        if index.is_null() {
            // All pages show it.
            index = page["index"].take();
            node = page["node"].take();
        }
        let Value::Array(names) = page["names"].take() else { break };
        all.extend(names);
        next = page["next"].as_str().map(str::to_owned);
        if next.is_none() {
            break;
        }
    }
    let document = match format {
        Format::Json => json!({ "node": node, "index": index, "names": all }),
        _ => Value::Null,
    };
    output::many(format, &document, &all, NAMES)
}

pub(crate) fn consistency(local: bool) -> &'static str {
    if local { "local" } else { "linearizable" }
}

/// What is registered under a name, as a cell.
pub(crate) fn value(held: &Value) -> String {
    match (&held["value"], held["value_hex"].as_str()) {
        (_, Some(hex)) => format!("0x{hex}"),
        (value, None) => shown(value),
    }
}

/// Who holds a name, as a cell.
pub(crate) fn holder(held: &Value) -> String {
    if held["reserved"] == true {
        return "reserved".to_owned();
    }
    match (held["session"].as_u64(), held["holder"].as_str()) {
        (_, Some(process)) => process.to_owned(),
        (Some(session), None) => format!("session {session}"),
        (None, None) => "until released".to_owned(),
    }
}

fn meta(held: &Value) -> String {
    let labels = held["meta"].as_object().into_iter().flatten();
    let labels: Vec<String> =
        labels.map(|(key, value)| format!("{key}={}", shown(value))).collect();
    if labels.is_empty() { "-".to_owned() } else { labels.join(",") }
}
