//! The letters of a drill: a process on each node writes to those of all others, and what arrived is taken
//! down before its node can forget it.

use std::collections::BTreeSet;
use std::time::Duration;

use quorate_env::sleep;
use serde_json::{Value, json};

use super::door::Door;
use super::notes::Notes;

const EVERY: Duration = Duration::from_millis(250);
const WITHIN: Duration = Duration::from_millis(500);

/// What a node's process says of itself.
#[derive(Default)]
pub(super) struct Told {
    pub(super) process: String,
    /// Who is in the group, as its node knows it.
    pub(super) members: BTreeSet<String>,
    sent: u64,
    /// Who wrote, and under which number.
    letters: Vec<(String, u64)>,
    /// How many it got so far.
    next: u64,
}

impl Told {
    /// Asks for it, and has what was told before be forgotten.
    pub(super) async fn ask(door: &Door, before: &Self, within: Duration) -> Option<Self> {
        let body = match before.process.as_str() {
            "" => json!({}),
            process => json!({ "process": process, "after": before.next }),
        };
        match door.ask("POST", "/v1/drill/mail", &body.to_string(), within).await? {
            (200, told) => Self::of(&told),
            _ => None,
        }
    }

    fn of(told: &Value) -> Option<Self> {
        let members = told["members"].as_array()?.iter();
        let letters = told["letters"].as_array()?.iter();
        Some(Self {
            process: told["process"].as_str()?.to_owned(),
            members: members.filter_map(|member| Some(member.as_str()?.to_owned())).collect(),
            sent: told["sent"].as_u64()?,
            letters: letters
                .filter_map(|letter| Some((letter[0].as_str()?.to_owned(), letter[1].as_u64()?)))
                .collect(),
            next: told["next"].as_u64()?,
        })
    }
}

/// Takes down what one node's process sent and got, until the drill is over.
pub(super) async fn take_down(notes: Notes, door: Door) {
    let mut before = Told::default();
    while !notes.is_over() {
        sleep(EVERY).await;
        // Whoever does not answer keeps its letters.
        let Some(told) = Told::ask(&door, &before, WITHIN).await else { continue };
        let known = if told.process == before.process { before.sent } else { 0 };
        notes.mailed(&told.process, told.sent.saturating_sub(known), &told.letters);
        before = told;
    }
}

/// Whether the processes of all nodes know each other, and nobody else.
pub(super) async fn is_whole(doors: &[Door], within: Duration) -> bool {
    let mut all = Vec::new();
    for door in doors {
        match Told::ask(door, &Told::default(), within).await {
            Some(told) => all.push(told),
            None => return false,
        }
    }
    let processes: BTreeSet<_> = all.iter().map(|told| &told.process).collect();
    all.iter().all(|told| told.members.iter().eq(processes.iter().copied()))
}
