//! The clients of a drill: they register names, look them up and release them, at any node, and write down
//! what they were told.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use quorate::{Epoch, Name};
use quorate_drill::history::{Answer, Ask, Mark, Moment, Outcome, Record};
use quorate_drill::story::{Call, End};
use quorate_env::{sleep, timeout};
use quorate_http::{Code, code};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

use super::door::Door;
use super::notes::Notes;
use crate::wire::Wire;

/// How many there are, and how many names they quarrel about.
pub(super) const CLIENTS: u64 = 9;
const NAMES: u64 = 6;
/// How many write at once what fills a disk.
pub(super) const FILLERS: u64 = 6;
/// As much as a name may say, about.
const FILLER_BYTES: usize = 60_000;
/// A call that takes longer is given up.
const WITHIN: Duration = Duration::from_millis(2_500);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// One of them.
pub(super) struct Client {
    called: String,
    notes: Notes,
    /// The node that it asks mostly: who waits for one that is cut off must not keep all from asking.
    home: usize,
    /// Each node, and a connection to it if there is one.
    nodes: Vec<(Door, Option<Wire>)>,
    dice: SmallRng,
    /// What it registers next.
    next: u64,
    pace: Duration,
}

/// What a call is, in words and for the wire.
struct Request {
    ask: Ask,
    method: &'static str,
    path: String,
    body: String,
    told: String,
}

impl Client {
    /// The client of this number. It asks about once in a pace.
    pub(super) fn new(
        number: u64,
        seed: u64,
        notes: Notes,
        nodes: &[Door],
        pace: Duration,
    ) -> Self {
        let nodes: Vec<_> = nodes.iter().map(|door| (door.clone(), None)).collect();
        let home = number as usize % nodes.len();
        let dice = SmallRng::seed_from_u64(seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        Self { called: format!("c{number}"), notes, home, nodes, dice, next: 0, pace }
    }

    /// Asks until the drill is over.
    pub(super) async fn live(mut self) {
        let mut held = Vec::new();
        while !self.notes.is_over() {
            let least = self.pace / 4;
            sleep(self.dice.random_range(least..self.pace * 2)).await;
            if self.notes.is_still() {
                continue;
            }
            let number = self.dice.random_range(1..=NAMES);
            let at = match self.dice.random_range(0..8) {
                0 => self.dice.random_range(0..self.nodes.len()),
                _ => self.home,
            };
            let known: Option<u64> =
                held.iter().find(|(name, _)| *name == number).map(|(_, epoch): &(u64, u64)| *epoch);
            let request = match (self.dice.random_range(0..10), known) {
                (0..=3, _) => find(number),
                (4..=6, _) | (_, None) => self.register(number),
                (_, Some(epoch)) => release(number, epoch),
            };
            let (name, outcome) = (number, self.call(at, number, request).await);
            held.retain(|(other, _)| *other != name);
            let epoch = match outcome {
                Outcome::Done(
                    Answer::Registered { epoch }
                    | Answer::Taken { epoch }
                    | Answer::Found(Some((epoch, _)))
                    | Answer::Stale { present: Some(epoch) },
                ) => Some(epoch),
                _ => None,
            };
            held.extend(epoch.map(|epoch| (name, epoch.get())));
        }
    }

    /// Reads every name once, at nodes in turn, until that is answered; who holds which.
    pub(super) async fn read_all(mut self, within: Duration) -> Held {
        let until = quorate_env::now() + within;
        let mut held = Held::new();
        for number in 1..=NAMES {
            for at in (0..self.nodes.len()).cycle() {
                if let Outcome::Done(answer) = self.call(at, number, find(number)).await {
                    if let Answer::Found(Some(found)) = answer {
                        held.insert(number, found);
                    }
                    break;
                }
                if quorate_env::now() > until {
                    return held;
                }
                sleep(LOOK_AGAIN).await;
            }
        }
        held
    }

    fn register(&mut self, number: u64) -> Request {
        self.next += 1;
        let value = format!("{}-{}", self.called, self.next);
        Request {
            ask: Ask::Register { value: Mark::of(value.as_bytes()), session: None, replace: None },
            method: "PUT",
            path: path(number),
            body: json!({ "value": value }).to_string(),
            told: format!("register {} {value}", called(number)),
        }
    }

    async fn call(&mut self, at: usize, number: u64, request: Request) -> Outcome {
        let (from, invoked) = (self.notes.ms(), self.notes.moment());
        let (outcome, answer) = match self.ask(at, &request).await {
            Ok(answered) => understood(&request, answered),
            Err(Lost::NotSent) => (Outcome::NotDone, "no connection".to_owned()),
            Err(Lost::NotAnswered) => (Outcome::Unknown, "no answer".to_owned()),
        };
        let node = &self.nodes[at].0.name;
        let (returned, until) = (self.notes.moment(), self.notes.ms());
        let end = match &outcome {
            Outcome::Done(_) => End::Done,
            Outcome::NotDone => End::NotDone,
            Outcome::Unknown => End::Unknown,
        };
        let (client, node) = (self.called.clone(), node.clone());
        let record = Record {
            client: client.clone(),
            asked: node.clone(),
            name: called(number),
            ask: request.ask,
            invoked,
            returned: if end == End::Unknown { Moment::NEVER } else { returned },
            outcome: outcome.clone(),
        };
        let call = Call { client, node, what: request.told, answer, end, from, until };
        self.notes.called(record, call);
        outcome
    }

    async fn ask(&mut self, at: usize, request: &Request) -> Result<(u16, Value), Lost> {
        let (door, wire) = &mut self.nodes[at];
        let until = quorate_env::now() + WITHIN;
        let mut open = match wire.take() {
            Some(open) => open,
            None => match timeout(WITHIN, door.wire()).await {
                Ok(Ok(open)) => open,
                _ => return Err(Lost::NotSent),
            },
        };
        let left = until.since(quorate_env::now());
        let asking = open.ask(request.method, &request.path, &request.body);
        let Ok(Ok((status, body))) = timeout(left, asking).await else {
            return Err(Lost::NotAnswered);
        };
        *wire = Some(open);
        Ok((status, serde_json::from_slice(&body).unwrap_or_default()))
    }
}

/// Writes much and keeps nothing of it, at one node and then the next, until it is told to end: that a disk
/// is full is not seen before something needs room.
pub(super) async fn fill(number: u64, nodes: Vec<Door>, is_over: Arc<AtomicBool>) {
    let path = format!("/v1/names/{}", filler(number));
    let body = json!({ "value": "full".repeat(FILLER_BYTES / 4) }).to_string();
    for door in nodes.iter().cycle() {
        for (method, body) in [("PUT", body.as_str()), ("DELETE", "")] {
            let _ = door.ask(method, &path, body, WITHIN).await;
        }
        if is_over.load(Ordering::Relaxed) {
            return;
        }
    }
}

/// Under which epoch each name is held, and what is said.
pub(super) type Held = BTreeMap<u64, (Epoch, Mark)>;

/// What a cluster that begins anew does to a name that it was given: who held it holds it under an epoch of
/// the new generation. It is written down as if somebody had asked for that, where the same is said before
/// and after; a judge finds whatever else there is.
pub(super) fn restored(
    notes: &Notes,
    before: &Held,
    after: &Held,
    invoked: Moment,
    returned: Moment,
) {
    let record = |number: u64, ask, answer| Record {
        client: "restore".to_owned(),
        asked: "all".to_owned(),
        name: called(number),
        ask,
        invoked,
        returned,
        outcome: Outcome::Done(answer),
    };
    for (number, (old, value)) in before {
        let Some((new, _)) = after.get(number).filter(|(_, found)| found == value) else {
            continue;
        };
        let (release, released) =
            (Ask::Release { epoch: Some(*old) }, Answer::Released { epoch: *old });
        notes.recorded(record(*number, release, released));
        let register = Ask::Register { value: *value, session: None, replace: None };
        notes.recorded(record(*number, register, Answer::Registered { epoch: *new }));
    }
}

/// Why there is no answer.
enum Lost {
    NotSent,
    NotAnswered,
}

/// The names that clients quarrel about, and those that fill disks.
pub(super) fn names() -> impl Iterator<Item = Name> {
    (1..=NAMES).map(called).chain((1..=FILLERS).map(filler))
}

fn filler(number: u64) -> Name {
    Name::new(format!("drill-filler-{number}")).expect("letters, digits and dashes")
}

fn called(number: u64) -> Name {
    Name::new(format!("drill-{number}")).expect("letters, digits and a dash")
}

fn path(number: u64) -> String {
    format!("/v1/names/{}", called(number))
}

fn find(number: u64) -> Request {
    Request {
        ask: Ask::Find,
        method: "GET",
        path: format!("{}?consistency=linearizable", path(number)),
        body: String::new(),
        told: format!("look up {}", called(number)),
    }
}

fn release(number: u64, shown: u64) -> Request {
    Request {
        ask: Ask::Release { epoch: Epoch::from_shown(shown) },
        method: "DELETE",
        path: format!("{}?epoch={shown}", path(number)),
        body: String::new(),
        told: format!("release {} of epoch {shown}", called(number)),
    }
}

/// What an answer says of what was asked.
fn understood(request: &Request, (status, body): (u16, Value)) -> (Outcome, String) {
    let epoch = |value: &Value| value.as_u64().and_then(Epoch::from_shown);
    let present = epoch(&body["holder"]["epoch"]);
    let code = body["code"].as_str().unwrap_or_default().to_owned();
    let is = |known: &Code| known.name() == code;
    let answer = match (&request.ask, status) {
        (Ask::Register { .. }, 201) => {
            epoch(&body["epoch"]).map(|epoch| Answer::Registered { epoch })
        }
        (Ask::Find, 200) => epoch(&body["epoch"]).map(|epoch| {
            let value = body["value"].as_str().unwrap_or_default();
            Answer::Found(Some((epoch, Mark::of(value.as_bytes()))))
        }),
        (Ask::Find, 404) => Some(Answer::Found(None)),
        (Ask::Release { epoch: Some(epoch) }, 204) => Some(Answer::Released { epoch: *epoch }),
        _ if is(code::TAKEN) => present.map(|epoch| Answer::Taken { epoch }),
        _ if is(code::FREE) => Some(Answer::Free),
        _ if is(code::STALE_EPOCH) => Some(Answer::Stale { present }),
        _ => None,
    };
    let told = match &answer {
        Some(Answer::Registered { epoch }) => format!("registered under epoch {}", epoch.get()),
        Some(Answer::Taken { epoch }) => format!("taken under epoch {}", epoch.get()),
        Some(Answer::Found(Some((epoch, _)))) => {
            format!("{} under epoch {}", body["value"], epoch.get())
        }
        Some(Answer::Found(None) | Answer::Free) => "free".to_owned(),
        Some(Answer::Released { .. }) => "released".to_owned(),
        Some(Answer::Stale { .. }) => "held under another epoch".to_owned(),
        _ => format!("{status} {code} {}", body["title"].as_str().unwrap_or_default()),
    };
    let outcome = match (answer, body["outcome"].as_str()) {
        (Some(answer), _) => Outcome::Done(answer),
        (None, Some("not_done" | "refused")) => Outcome::NotDone,
        (None, _) => Outcome::Unknown,
    };
    (outcome, told)
}
