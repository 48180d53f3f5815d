//! The letters of a drill: a process on each node writes to those of all others, and what arrived is taken
//! down before its node can forget it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use quorate_env::{now, sleep};
use serde_json::{Value, json};

use super::door::Door;
use super::notes::Notes;

const EVERY: Duration = Duration::from_millis(250);
const WITHIN: Duration = Duration::from_millis(500);

/// What a node's process says of itself.
struct Told {
    process: Arc<str>,
    /// Who is in the group, as its node knows it.
    members: BTreeSet<String>,
    /// Who wrote, and under which number.
    letters: Vec<(String, u64)>,
    /// How many it got so far.
    next: u64,
}

impl Told {
    /// Asks for it, and for what came since it was told before, which is forgotten.
    async fn ask(door: &Door, before: Option<&Self>, within: Duration) -> Option<Self> {
        let body = match before {
            None => json!({}),
            Some(before) => json!({ "process": &*before.process, "after": before.next }),
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
            process: told["process"].as_str()?.into(),
            members: members.filter_map(|member| Some(member.as_str()?.to_owned())).collect(),
            letters: letters
                .filter_map(|letter| Some((letter[0].as_str()?.to_owned(), letter[1].as_u64()?)))
                .collect(),
            next: told["next"].as_u64()?,
        })
    }
}

/// Takes down what one node's process got, until the drill is over.
pub(super) async fn take_down(notes: Notes, door: Door) {
    let mut before = None;
    while !notes.is_over() {
        sleep(EVERY).await;
        // Whoever does not answer keeps its letters.
        let Some(told) = Told::ask(&door, before.as_ref(), WITHIN).await else { continue };
        notes.mailed(&told.process, &told.letters);
        before = Some(told);
    }
}

/// Whether the processes of all nodes know each other, and nobody else.
pub(super) async fn is_whole(doors: &[Door], within: Duration) -> bool {
    let mut all = Vec::new();
    for door in doors {
        match Told::ask(door, None, within).await {
            Some(told) => all.push(told),
            None => return false,
        }
    }
    let processes: BTreeSet<&str> = all.iter().map(|told| &*told.process).collect();
    all.iter().all(|told| told.members.iter().map(String::as_str).eq(processes.iter().copied()))
}

/// Waits until each process has heard each other one once more; who has not heard whom.
pub(super) async fn silent(notes: &Notes, doors: &[Door], within: Duration) -> Vec<String> {
    let (since, until) = (notes.ms(), now() + within);
    loop {
        let (mut all, mut silent) = (Vec::new(), Vec::new());
        for door in doors {
            match Told::ask(door, None, WITHIN).await {
                Some(told) => all.push((&door.name, told.process)),
                None => silent.push(format!("{} says nothing", door.name)),
            }
        }
        for (name, process) in &all {
            let others = all.iter().filter(|(other, _)| other != name);
            let unheard = others
                .filter(|(_, from)| notes.heard(from, process).is_none_or(|last| last < since));
            silent.extend(unheard.map(|(other, _)| format!("{name} hears nothing from {other}")));
        }
        if silent.is_empty() || now() > until {
            return silent;
        }
        sleep(EVERY).await;
    }
}
