//! Watching names: what is, then what changes, across agents that come and go.

use std::io::BufRead;
use std::time::Duration;

use quorate_env::now;
use quorate_http::code;
use serde_json::Value;

use crate::client::{Client, encoded};
use crate::fail::{Done, Fail};
use crate::names::{holder, value};
use crate::output::{self, Format, shown};

/// How long to wait before another agent is looked for.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// Where a watch stands.
struct Place {
    path: String,
    /// The index up to which everything was shown.
    seen: Option<String>,
    format: Format,
}

/// `quorate name watch`
pub(crate) fn watch(client: &Client, format: Format, prefix: &str, from: Option<u64>) -> Done {
    let path = format!("/v1/watch?prefix={}", encoded(prefix));
    let seen = from.map(|from| from.to_string());
    let mut place = Place { path, seen, format };
    let mut until = client.deadline();
    loop {
        let fail = match client.stream(&place.path, place.seen.as_deref()) {
            Ok(events) => {
                place.follow(events)?;
                output::talk("the agent went away; looking for one that goes on");
                until = client.deadline();
                None
            }
            Err(fail) if fail.is(code::NO_AGENT) => Some(fail),
            Err(fail) => return Err(fail),
        };
        if let Some(fail) = fail.filter(|_| now() >= until) {
            let seen = place.seen.unwrap_or_default();
            return Err(fail.next(format!("start an agent, and watch on with --from {seen}")));
        }
        wait(LOOK_AGAIN);
    }
}

impl Place {
    /// Shows events until the stream breaks.
    fn follow(&mut self, events: impl BufRead) -> Done {
        let (mut event, mut id, mut data) = (String::new(), None, String::new());
        for line in events.lines() {
            let Ok(line) = line else { return Ok(()) };
            let (field, text) = match line.split_once(':') {
                Some((field, text)) => (field, text.strip_prefix(' ').unwrap_or(text)),
                None => (line.as_str(), ""),
            };
            match field {
                "event" => text.clone_into(&mut event),
                "id" => id = Some(text.to_owned()),
                "data" => data.push_str(text),
                "" if line.is_empty() => {
                    if !data.is_empty() {
                        self.show(&event, &data)?;
                    }
                    // Only what was shown counts as seen.
                    self.seen = id.take().or(self.seen.take());
                    (event, data) = (String::new(), String::new());
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn show(&self, event: &str, data: &str) -> Done {
        let foreign =
            || Fail::new(code::FOREIGN_ANSWER, format!("an event that is no JSON: {data}"));
        let mut data: Value = serde_json::from_str(data).map_err(|_| foreign())?;
        match (event, self.format) {
            ("too_old", _) => Err(Fail::from_problem(&data, "the agent")),
            ("synced", Format::Name) => Ok(()),
            (_, Format::Json | Format::Jsonl) => {
                data["event"] = event.into();
                output::line(&data.to_string())
            }
            (_, Format::Name) => output::line(&shown(&data["name"])),
            ("synced", _) => {
                output::talk(&format!(
                    "up to date at index {}; changes follow",
                    shown(&data["index"])
                ));
                Ok(())
            }
            (_, Format::Table | Format::Wide) => {
                let (name, epoch) = (shown(&data["name"]), shown(&data["epoch"]));
                let rest = match event {
                    "released" => shown(&data["cause"]).replace('_', " "),
                    _ => format!("{}  {}", value(&data), holder(&data)),
                };
                output::line(&format!("{event:10}  {name}  epoch {epoch}  {rest}"))
            }
        }
    }
}

fn wait(span: Duration) {
    std::thread::sleep(span);
}
