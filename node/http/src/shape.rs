//! What registrations and holders look like in JSON, and the headers that say how old an answer is.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use quorate::{Epoch, Holding, Index, Property, Registration};
use serde_json::{Value, json};
use std::time::Duration;

pub(crate) const NODE: HeaderName = HeaderName::from_static("quorate-node");
pub(crate) const INDEX: HeaderName = HeaderName::from_static("quorate-index");
pub(crate) const STALE_MS: HeaderName = HeaderName::from_static("quorate-stale-ms");
pub(crate) const EPOCH: HeaderName = HeaderName::from_static("quorate-epoch");

/// A registration. A value that is no text, which only a Rust program can have put there, is shown in
/// hexadecimal under another member, so that nobody takes one for the other.
pub(crate) fn registration(held: &Registration) -> Value {
    let mut shown = json!({
        "name": held.name.as_str(),
        "epoch": held.epoch.get(),
        "index": held.index.0,
        "version": held.version.0,
        "reserved": held.reserved,
        "session": held.session.map(|session| session.0),
        "holder": held.holder.map(|pid| pid.to_string()),
        "meta": held.meta,
    });
    show_value(&mut shown, &held.value);
    shown
}

/// What is said under a key, with a value as in a registration.
pub(crate) fn property(said: &Property) -> Value {
    let mut shown = json!({
        "key": said.key.as_str(),
        "session": said.bearer.session.0,
        "process": said.bearer.process.map(|pid| pid.to_string()),
        "meta": said.meta,
        "version": said.version.0,
    });
    show_value(&mut shown, &said.value);
    shown
}

fn show_value(shown: &mut Value, value: &[u8]) {
    match std::str::from_utf8(value) {
        Ok(text) => shown["value"] = text.into(),
        Err(_) => shown["value_hex"] = hex(value).into(),
    }
}

/// Who holds a name, as a refusal says it.
pub(crate) fn holding(holding: &Holding) -> Value {
    json!({
        "epoch": holding.epoch.get(),
        "session": holding.session.map(|session| session.0),
        "holder": holding.holder.map(|pid| pid.to_string()),
    })
}

/// Says of a change under which epoch it is, and at which index it became true.
pub(crate) fn made(epoch: Epoch, index: Index) -> [(HeaderName, HeaderValue); 2] {
    [(EPOCH, HeaderValue::from(epoch.get())), (INDEX, HeaderValue::from(index.0))]
}

/// Says of an answer at which index the state was, and how old that may be, where this node can say.
pub(crate) fn age(index: Index, stale: Duration) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(INDEX, HeaderValue::from(index.0));
    if let Some(stale) = stale_ms(stale) {
        headers.insert(STALE_MS, HeaderValue::from(stale));
    }
    headers
}

/// An age in whole milliseconds, not younger than it is; none where nobody can say.
pub(crate) fn stale_ms(stale: Duration) -> Option<u64> {
    u64::try_from(stale.as_nanos().div_ceil(1_000_000)).ok().filter(|_| stale != Duration::MAX)
}

pub(crate) fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut hex, byte| {
        // Writing to a string does not fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
