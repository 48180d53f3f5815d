//! I3 and I5 of singletons: authority is a turn, which is a process that runs under an epoch.
//!
//! A turn is seen from outside of its node, in true time: from the first instruction of its process to the
//! moment at which its future is dropped, or its node dies. No two turns of a name are at the same time,
//! whichever epochs they have; who begins later has no lower epoch (I1); and whoever begins has been granted
//! the epoch by the log that its own node has applied.

use std::collections::BTreeMap;

use quorate_vocab::{Epoch, Name, NodeId};

use super::Violation;
use super::grants::Grants;
use crate::history::Moment;

/// Which turn, of all that there were.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TurnId(u64);

/// One run of a singleton's process.
#[derive(Clone, Debug)]
pub struct Turn {
    /// Of which singleton.
    pub name: Name,
    /// Under which epoch.
    pub epoch: Epoch,
    /// On which node.
    pub node: NodeId,
    /// On which machine, and in which life of it.
    pub life: (String, u64),
    /// When it began.
    pub begun: Moment,
    /// When it ended, if it did.
    pub ended: Moment,
    /// Whether its node had applied the grant when it began.
    pub granted: bool,
}

/// All turns.
#[derive(Debug, Default)]
pub struct Turns {
    all: BTreeMap<TurnId, Turn>,
}

impl Turns {
    /// A process begins.
    pub fn begun(&mut self, turn: Turn) -> TurnId {
        let id = TurnId(self.all.len() as u64);
        self.all.insert(id, turn);
        id
    }

    /// It has ended. What ended before with its node stays as it was.
    pub fn ended(&mut self, id: TurnId, now: Moment) {
        if let Some(turn) = self.all.get_mut(&id).filter(|turn| turn.ended == Moment::NEVER) {
            turn.ended = now;
        }
    }

    /// A node has died, and all that ran on it. Tells how many turns that were.
    pub fn died(&mut self, life: &(String, u64), now: Moment) -> usize {
        let theirs = self.all.values_mut().filter(|turn| turn.life == *life);
        let mut ended = 0;
        for turn in theirs.filter(|turn| turn.ended == Moment::NEVER) {
            turn.ended = now;
            ended += 1;
        }
        ended
    }

    /// The turn of a singleton that runs now.
    pub fn running(&self, name: &Name) -> Option<(TurnId, &Turn)> {
        let runs = |(_, turn): &(&TurnId, &Turn)| turn.name == *name && turn.ended == Moment::NEVER;
        self.all.iter().rev().find(runs).map(|(id, turn)| (*id, turn))
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.all.len() as u64
    }

    /// Finds turns of one name at the same time, and such as were not granted.
    pub fn finish(self, grants: &Grants) -> Vec<Violation> {
        let mut violations = Vec::new();
        let mut latest = BTreeMap::<&Name, &Turn>::new();
        for turn in self.all.values() {
            let Turn { name, epoch, node, begun, .. } = turn;
            let mut wrong = |invariant, what: std::fmt::Arguments<'_>| {
                violations.push(Violation::new(invariant, what));
            };
            match latest.get(name) {
                Some(before) if before.ended > *begun => {
                    let (other, there) = (before.epoch, before.node);
                    let until = match before.ended {
                        Moment::NEVER => "to the end".to_owned(),
                        ended => format!("until {:?}", ended.at),
                    };
                    wrong(
                        "I3",
                        format_args!(
                            "{name} ran under {other} on {there} {until}, and began under {epoch} on {node} \
                             at {:?}",
                            begun.at
                        ),
                    );
                }
                Some(before) if before.epoch > *epoch => {
                    let other = before.epoch;
                    wrong("I1", format_args!("{name} began under {epoch} on {node} after {other}"));
                }
                _ => {}
            }
            let is_theirs = grants.find(name, *epoch).is_some_and(|granted| granted.node == *node);
            if !(turn.granted && is_theirs) {
                let known = grants.find(name, *epoch);
                wrong(
                    "I5",
                    format_args!(
                        "{name} began under {epoch} on {node}, and was granted: {known:?}"
                    ),
                );
            }
            // Of two that overlap the one that ends later is what the next one must wait for.
            if latest.get(name).is_none_or(|before| before.ended <= turn.ended) {
                latest.insert(name, turn);
            }
        }
        violations
    }
}
