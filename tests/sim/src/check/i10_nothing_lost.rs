//! I10: an acknowledged registration is never lost, except by release, exit, expiry.
//!
//! The checker keeps the log that all nodes together applied. Whatever a client was told must stand in it;
//! whatever ends a registration in it must have been asked for by a client, or be the end of the session that
//! it was bound to; and every state that a node shows must be what the log makes of it.

use std::collections::BTreeMap;

use quorate_registry::{Effect, ReleaseCause};
use quorate_vocab::{Epoch, Index, Name, SessionId};

use super::{Applied, Violation};
use crate::history::{Answer, Ask, Outcome, Record};

const I10: &str = "I10";

/// The registrations that the log tells of.
#[derive(Debug, Default)]
pub struct NothingLost {
    /// Which entries are known, so that a replay counts once.
    known: BTreeMap<Index, Vec<Effect>>,
    states: Vec<Shown>,
}

/// A state that a node showed.
#[derive(Debug)]
struct Shown {
    node: String,
    index: Index,
    held: BTreeMap<Name, Epoch>,
}

/// One registration, from its entry to the entry that ended it.
#[derive(Debug)]
struct Tenure {
    session: Option<SessionId>,
    from: Index,
    ended: Option<(Index, End)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Asked,
    SessionEnded(SessionId),
    Replaced,
}

type Tenures = BTreeMap<(Name, Epoch), Tenure>;

impl NothingLost {
    /// Takes in what a node applied. Of two nodes that disagree the first is believed; I11 tells.
    pub fn applied(&mut self, applied: &Applied<'_>) {
        self.known.entry(applied.index).or_insert_with(|| applied.effects.to_vec());
    }

    /// Takes in a state: all names that a node holds to be registered after an entry.
    pub fn shown(&mut self, node: &str, index: Index, held: BTreeMap<Name, Epoch>) {
        self.states.push(Shown { node: node.to_owned(), index, held });
    }

    /// Ends the check with what clients asked and were told.
    pub fn finish(self, history: &[Record]) -> Vec<Violation> {
        let tenures = self.tenures();
        let mut violations = Vec::new();
        let mut violate = |what: std::fmt::Arguments<'_>| {
            violations.push(Violation::new(I10, what));
        };
        for record in history {
            let Outcome::Done(answer) = &record.outcome else {
                continue;
            };
            let (client, name) = (&record.client, &record.name);
            let tenure = |epoch: Epoch| tenures.get(&(name.clone(), epoch));
            match answer {
                Answer::Registered { epoch } if tenure(*epoch).is_none() => violate(format_args!(
                    "{client} was told that {name} is registered under {epoch}, and no log has it"
                )),
                Answer::Released { epoch }
                    if tenure(*epoch).is_none_or(|tenure| tenure.ended.is_none()) =>
                {
                    violate(format_args!(
                        "{client} was told that {name} is released from {epoch}, and no log has it"
                    ));
                }
                _ => {}
            }
        }
        let asked = Asked::new(history);
        for ((name, epoch), tenure) in &tenures {
            if let Some((index, end)) = tenure.ended
                && !asked.explains(name, *epoch, tenure.session, end)
            {
                violate(format_args!(
                    "{name} lost epoch {epoch} at {index} by {end:?}, which nobody asked for"
                ));
            }
        }
        for shown in &self.states {
            compare(shown, &tenures, &mut violate);
        }
        violations
    }

    fn tenures(&self) -> Tenures {
        let mut tenures = Tenures::new();
        let mut held = BTreeMap::<Name, Epoch>::new();
        for (index, effects) in &self.known {
            for effect in effects {
                let (name, ended, end) = match effect {
                    Effect::Registered(new) => {
                        let tenure = Tenure { session: new.session, from: *index, ended: None };
                        tenures.insert((new.name.clone(), new.epoch), tenure);
                        let before = held.insert(new.name.clone(), new.epoch);
                        (&new.name, before, End::Replaced)
                    }
                    // A confirmation may bind a name to another life.
                    Effect::Amended(new) => {
                        let tenure = tenures.get_mut(&(new.name.clone(), new.epoch));
                        if let Some(tenure) = tenure {
                            tenure.session = new.session;
                        }
                        continue;
                    }
                    Effect::Released { name, epoch, cause } => {
                        held.remove(name);
                        let end = match cause {
                            ReleaseCause::Asked => End::Asked,
                            ReleaseCause::SessionEnded(session) => End::SessionEnded(*session),
                        };
                        (name, Some(*epoch), end)
                    }
                    _ => continue,
                };
                let tenure = ended.and_then(|ended| tenures.get_mut(&(name.clone(), ended)));
                if let Some(tenure) = tenure {
                    tenure.ended.get_or_insert((*index, end));
                }
            }
        }
        tenures
    }
}

/// Compares a state with what the log makes of it.
fn compare(shown: &Shown, tenures: &Tenures, violate: &mut impl FnMut(std::fmt::Arguments<'_>)) {
    let Shown { node, index, held } = shown;
    let mut expected = BTreeMap::new();
    for ((name, epoch), tenure) in tenures {
        let lasts = tenure.ended.is_none_or(|(ended, _)| ended > *index);
        if tenure.from <= *index && lasts {
            expected.insert(name, *epoch);
        }
    }
    for (name, epoch) in &expected {
        let found = held.get(*name);
        if found != Some(epoch) {
            violate(format_args!("{node} at {index} has {name} under {found:?}, not {epoch}"));
        }
    }
    for (name, epoch) in held {
        if !expected.contains_key(name) {
            violate(format_args!("{node} at {index} has {name} under {epoch}, and no log does"));
        }
    }
}

/// What clients asked for that could end a registration, whether they were answered or not.
struct Asked<'a> {
    releases: BTreeMap<&'a Name, Vec<Option<Epoch>>>,
    replaces: BTreeMap<&'a Name, Vec<Epoch>>,
}

impl<'a> Asked<'a> {
    fn new(history: &'a [Record]) -> Self {
        let mut asked = Self { releases: BTreeMap::new(), replaces: BTreeMap::new() };
        for Record { name, ask, outcome, .. } in history {
            match (ask, outcome) {
                (_, Outcome::NotDone) => {}
                // An answered operation explains what it was told, and nothing else.
                (Ask::Release { .. }, Outcome::Done(Answer::Released { epoch })) => {
                    asked.releases.entry(name).or_default().push(Some(*epoch));
                }
                (Ask::Release { epoch }, Outcome::Unknown) => {
                    asked.releases.entry(name).or_default().push(*epoch);
                }
                // Whoever gets a lock gives it back, and so does what was got by an answer that was lost.
                (Ask::Lock, _) => asked.releases.entry(name).or_default().push(None),
                (
                    Ask::Register { replace: Some(epoch), .. },
                    Outcome::Unknown | Outcome::Done(Answer::Registered { .. }),
                ) => asked.replaces.entry(name).or_default().push(*epoch),
                _ => {}
            }
        }
        asked
    }

    fn explains(&self, name: &Name, epoch: Epoch, session: Option<SessionId>, end: End) -> bool {
        match end {
            End::SessionEnded(ended) => session == Some(ended),
            End::Asked => self.releases.get(name).is_some_and(|releases| {
                releases.iter().any(|expected| expected.is_none_or(|expected| expected == epoch))
            }),
            End::Replaced => {
                self.replaces.get(name).is_some_and(|replaces| replaces.contains(&epoch))
            }
        }
    }
}
