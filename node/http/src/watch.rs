//! Watching names: server-sent events. First the names as they are, then `synced`, then every change.
//!
//! A snapshot is read page by page while changes go on, so that a large registry costs a watcher no more
//! memory than a small one. What has changed meanwhile is put right before `synced` is sent: a change that a
//! page has shown already is not sent again, and one that it has not is. At `synced` a watcher has the state
//! of exactly the index that it names.
//!
//! Only the last event of an index carries an id. A client that lost its connection between two changes of
//! one index asks for the whole index again, and misses nothing.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::{FutureExt, stream};
use quorate::{Change, Effect, Index, Name, NameWatch, Node, ReleaseCause, TooOld};
use quorate_env::{sleep, spawn};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::codes::named;
use crate::door::End;
use crate::face::Shared;
use crate::parse::{self, Asked};
use crate::problem::Problem;
use crate::shape;

/// How many events may wait for a client that reads slowly.
const EVENTS_MAX: usize = 16;

/// How many names are read at a time.
const PAGE: usize = 64;

/// How often a client hears that there is nothing new.
const HEARTBEAT: Duration = Duration::from_secs(5);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wish {
    #[serde(default)]
    prefix: String,
    from: Option<u64>,
}

/// `GET /v1/watch`
pub(crate) async fn watch(
    State(inside): State<Shared>,
    wish: Asked<Wish>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Wish { prefix, from } = parse::asked(wish)?;
    let from = match headers.get("last-event-id") {
        Some(id) => Some(last_event(id.as_bytes())?),
        None => from.map(Index),
    };
    let names = inside.node.names();
    let status = inside.node.status();
    let (events, mut waiting) = mpsc::channel(EVENTS_MAX);
    let teller = Teller { events, node: inside.node.clone(), closing: inside.closing.clone() };
    match from {
        None => drop(spawn(teller.tell_all(prefix))),
        Some(from) => {
            let mut watch = names.watch(&prefix, from);
            // Whether the index is too old is known at once, while a status can still say so.
            let first = match watch.next().now_or_never() {
                Some(Err(too_old)) => return Err(too_old_problem(too_old)),
                Some(Ok(change)) => Some(change),
                None => None,
            };
            drop(spawn(teller.tell_on(watch, first)));
        }
    }
    let events = stream::poll_fn(move |cx| {
        waiting.poll_recv(cx).map(|event| event.map(Ok::<_, Infallible>))
    });
    Ok((shape::age(status.index, status.stale), Sse::new(events)).into_response())
}

/// Tells one client.
struct Teller {
    events: mpsc::Sender<Event>,
    node: Node,
    closing: End,
}

/// There is nobody to tell any more, or nothing.
struct Over;

/// Up to which index each stretch of names was shown by its page.
#[derive(Default)]
struct Shown {
    pages: Vec<(Name, Index)>,
    /// At which index everything behind the last of them was shown.
    rest: Index,
}

impl Teller {
    async fn tell_all(mut self, prefix: String) {
        if let Ok((watch, first)) = self.tell_present(&prefix).await {
            self.tell_on(watch, first).await;
        }
    }

    /// Sends the snapshot and `synced`; gives the watch that goes on from there, and the change after
    /// `synced` that has been taken from it already.
    async fn tell_present(
        &mut self,
        prefix: &str,
    ) -> Result<(NameWatch, Option<Arc<Change>>), Over> {
        let names = self.node.names();
        let mut shown = Shown::default();
        let mut page = names.list(prefix, None, PAGE);
        let mut watch = names.watch(prefix, page.index);
        loop {
            for held in &page.registrations {
                self.send(Event::default().event("name"), &shape::registration(held)).await?;
            }
            match page.registrations.last() {
                Some(last) if page.more => {
                    let after = last.name.clone();
                    shown.pages.push((after.clone(), page.index));
                    page = names.list(prefix, Some(after.as_str()), PAGE);
                }
                _ => break,
            }
        }
        let synced = page.index;
        shown.rest = synced;
        let mut first = None;
        while first.is_none() {
            // A change shows in the state a moment before it shows in the feed.
            let fed = self.node.status().index >= synced;
            match watch.next().now_or_never() {
                None if fed => break,
                None => tokio::task::yield_now().await,
                Some(next) => {
                    let change = self.kept(next).await?;
                    if change.index > synced {
                        first = Some(change);
                    } else {
                        self.put_right(&shown, &change).await?;
                    }
                }
            }
        }
        let event = Event::default().event("synced").id(synced.to_string());
        self.send(event, &json!({ "index": synced.0 })).await?;
        Ok((watch, first))
    }

    /// Sends of a change what the pages do not show.
    async fn put_right(&mut self, shown: &Shown, change: &Change) -> Result<(), Over> {
        for effect in change.effects.iter().filter(|effect| shown.lacks(effect, change.index)) {
            let (event, data) = told(effect, change.index);
            self.send(event, &data).await?;
        }
        Ok(())
    }

    async fn tell_on(mut self, mut watch: NameWatch, mut first: Option<Arc<Change>>) {
        loop {
            let next = match first.take() {
                Some(change) => Some(Ok(change)),
                None => tokio::select! {
                    biased;
                    () = self.events.closed() => return,
                    () = over(&mut self.closing) => return,
                    next = watch.next() => Some(next),
                    () = sleep(HEARTBEAT) => None,
                },
            };
            let Some(next) = next else {
                match self.beat(&mut watch).await {
                    Ok(change) => first = change,
                    Err(Over) => return,
                }
                continue;
            };
            let Ok(change) = self.kept(next).await else {
                return;
            };
            if self.tell(&change).await.is_err() {
                return;
            }
        }
    }

    /// Says that nothing has changed, and up to which index: a client that watches something quiet can then
    /// resume although much else has changed.
    /// Gives the change that came just now, if one did.
    async fn beat(&mut self, watch: &mut NameWatch) -> Result<Option<Arc<Change>>, Over> {
        let fed = self.node.status().index;
        if let Some(next) = watch.next().now_or_never() {
            return self.kept(next).await.map(Some);
        }
        // Without data an event moves the client's last event id, and shows nothing to it.
        self.pass(Event::default().comment("quiet").id(fed.to_string())).await?;
        Ok(None)
    }

    async fn tell(&mut self, change: &Change) -> Result<(), Over> {
        for (at, effect) in change.effects.iter().enumerate() {
            let (event, data) = told(effect, change.index);
            let last = at + 1 == change.effects.len();
            let event = if last { event.id(change.index.to_string()) } else { event };
            self.send(event, &data).await?;
        }
        Ok(())
    }

    /// Tells a client that fell behind, and ends.
    async fn kept(&mut self, change: Result<Arc<Change>, TooOld>) -> Result<Arc<Change>, Over> {
        match change {
            Ok(change) => Ok(change),
            Err(too_old) => {
                let event = Event::default().event("too_old");
                self.send(event, &too_old_problem(too_old).body()).await?;
                Err(Over)
            }
        }
    }

    async fn send(&mut self, event: Event, data: &Value) -> Result<(), Over> {
        self.pass(event.data(data.to_string())).await
    }

    async fn pass(&mut self, event: Event) -> Result<(), Over> {
        tokio::select! {
            biased;
            () = over(&mut self.closing) => Err(Over),
            sent = self.events.send(event) => sent.map_err(|_| Over),
        }
    }
}

impl Shown {
    /// Whether a page that shows the name of this effect was read before the effect.
    fn lacks(&self, effect: &Effect, at: Index) -> bool {
        let name = match effect {
            Effect::Registered(held) | Effect::Amended(held) => &held.name,
            Effect::Released { name, .. } => name,
            _ => return false,
        };
        let page = self.pages.partition_point(|(last, _)| last < name);
        at > self.pages.get(page).map_or(self.rest, |(_, read)| *read)
    }
}

/// Returns when watchers are to be sent away.
async fn over(closing: &mut End) {
    // An error means that the face is gone, and then they are too.
    let _ = closing.wait_for(|closing| *closing).await;
}

fn told(effect: &Effect, at: Index) -> (Event, Value) {
    match effect {
        Effect::Registered(held) => {
            (Event::default().event("registered"), shape::registration(held))
        }
        Effect::Amended(held) => (Event::default().event("amended"), shape::registration(held)),
        Effect::Released { name, epoch, cause } => {
            let (cause, session) = match cause {
                ReleaseCause::Asked => ("asked", None),
                ReleaseCause::SessionEnded(session) => ("session_ended", Some(session.0)),
            };
            let data = json!({
                "name": name.as_str(),
                "epoch": epoch.get(),
                "index": at.0,
                "cause": cause,
                "session": session,
            });
            (Event::default().event("released"), data)
        }
        // A watch of names gives no others; a client knows to pass over what it does not know.
        _ => (Event::default().event("other"), json!({ "index": at.0 })),
    }
}

fn too_old_problem(too_old: TooOld) -> Problem {
    Problem::new(named::INDEX_TOO_OLD, too_old.to_string()).with("floor", json!(too_old.floor.0))
}

fn last_event(id: &[u8]) -> Result<Index, Problem> {
    let text = std::str::from_utf8(id).unwrap_or_default().trim();
    let wrong =
        |_| Problem::new(named::BAD_PARAMETER, format!("Last-Event-ID is no index: {text:?}"));
    text.parse().map(Index).map_err(wrong)
}

#[cfg(test)]
mod tests {
    use quorate::Epoch;

    use super::*;

    #[test]
    fn a_change_is_told_again_only_if_the_page_of_its_name_was_read_before_it() {
        let name = |text: &str| Name::new(text).unwrap();
        let pages = vec![(name("c"), Index(10)), (name("f"), Index(20))];
        let shown = Shown { pages, rest: Index(30) };
        let lacks = |text: &str, at: u64| {
            let (name, epoch) = (name(text), Epoch::from_shown(1).unwrap());
            let effect = Effect::Released { name, epoch, cause: ReleaseCause::Asked };
            shown.lacks(&effect, Index(at))
        };
        assert!(!lacks("a", 10) && lacks("a", 11));
        assert!(!lacks("c", 10) && lacks("c", 11));
        assert!(!lacks("d", 20) && lacks("d", 21));
        assert!(!lacks("f", 20) && lacks("f", 21));
        assert!(!lacks("g", 30) && lacks("g", 31));
    }
}
