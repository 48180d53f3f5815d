//! The view: what all sources say, folded into one set of addresses that are worth a dial.
//!
//! A pure core. Its laws, each of which `tests/laws.rs` holds against random histories:
//!
//! 1. An error never shrinks the view.
//! 2. What an answer lacks stays until its absence is confirmed: by several answers in a row over a span of
//!    time, or by whoever dials, who says since then that there is no link to it. An answer without any
//!    address is no exception.
//! 3. What is linked stays, whatever the sources say. Draining is not loss.
//! 4. An address is not proposed again before a span has passed, and all proposals together keep to a bucket:
//!    a source that flaps makes no storm of dials.
//! 5. It holds a bounded number of addresses, and asked once more at rest it changes nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use quorate_vocab::Time;

use crate::explain::{CandidateReport, Explanation, SourceReport, Verdict};
use crate::source::{CANDIDATES_MAX, Candidates};
use crate::{Address, Sighting, Standing};

/// How much a view believes, and how fast it acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// In how many answers in a row an address must be missing.
    pub confirmations: u32,
    /// For how long it must be missing besides.
    pub linger: Duration,
    /// An address is not proposed again before this has passed.
    pub again: Duration,
    /// How many proposals may be made at once.
    pub burst: u32,
    /// Beyond them, one in this span.
    pub every: Duration,
    /// How many addresses it holds.
    pub candidates_max: usize,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            confirmations: 3,
            linger: Duration::from_secs(30),
            again: Duration::from_secs(30),
            burst: 64,
            every: Duration::from_millis(250),
            candidates_max: CANDIDATES_MAX,
        }
    }
}

/// A source of this view, by the place in which it was given.
pub type SourceId = usize;

/// What a view is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A source was looked at.
    Saw {
        /// Which one.
        source: SourceId,
        /// What it gave.
        sighting: Sighting,
    },
    /// Whoever dials has something to say.
    Heard {
        /// Of this address.
        address: Address,
        /// What.
        word: Word,
    },
    /// Time has passed.
    Tick,
}

/// What whoever dials says of an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    /// There is a link to it.
    Linked,
    /// The link has ended.
    Unlinked,
    /// Something accepts connections there; more was not asked.
    Answers,
    /// Nobody answers there.
    Unreachable(String),
    /// Who answers is not wanted, or does not want us.
    Refused(String),
    /// It is this node.
    Itself,
}

/// What a view asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proposal {
    /// Dial this address until it is withdrawn.
    Dial(Address),
    /// Dial it no more.
    Withdraw(Address),
}

/// What all sources say together.
#[derive(Debug)]
pub struct View {
    rules: Rules,
    witnesses: Vec<Witness>,
    known: BTreeMap<Address, Known>,
    /// When the bucket of proposals will be full again.
    paid_until: Time,
}

/// What one source has said so far.
#[derive(Debug)]
struct Witness {
    spec: String,
    mentions: BTreeMap<Address, Mention>,
    answers: u64,
    errors: u64,
    left_out: usize,
    answered: Option<Time>,
    last_error: Option<(Time, String)>,
    failing: bool,
}

/// That a source has named an address.
#[derive(Debug)]
struct Mention {
    standing: Standing,
    absence: Option<Absence>,
}

/// That it no longer does.
#[derive(Debug)]
struct Absence {
    since: Time,
    answers: u32,
}

/// An address that somebody names, or that was proposed a short while ago.
#[derive(Debug, Default)]
struct Known {
    word: Option<Word>,
    proposed: bool,
    /// Not to be proposed before.
    rests_until: Option<Time>,
}

impl View {
    /// A view of sources that have said nothing yet. A spec is only ever shown.
    pub fn new(rules: Rules, specs: impl IntoIterator<Item = String>) -> Self {
        let witnesses = specs.into_iter().map(Witness::new).collect();
        Self { rules, witnesses, known: BTreeMap::new(), paid_until: Time::default() }
    }

    /// Takes something in, and says what follows.
    pub fn step(&mut self, now: Time, input: Input, out: &mut Vec<Proposal>) {
        match input {
            Input::Saw { source, sighting: Sighting::Snapshot(found) } => {
                self.saw(now, source, found);
            }
            Input::Saw { source, sighting: Sighting::Error(why) } => {
                if let Some(witness) = self.witnesses.get_mut(source) {
                    witness.errors += 1;
                    witness.failing = true;
                    witness.last_error = Some((now, why));
                }
            }
            Input::Heard { address, word } => self.heard(&address, word),
            Input::Tick => {}
        }
        self.settle(now, out);
    }

    /// When something will be proposed without further input.
    pub fn deadline(&self, now: Time) -> Option<Time> {
        let waiting = self.known.iter().filter(|(address, known)| self.waits(address, known));
        waiting.map(|(_, known)| self.ready_at(now, known)).min()
    }

    /// What a source is called in reports; nothing for one that there is not.
    pub fn spec(&self, source: SourceId) -> String {
        self.witnesses.get(source).map(|witness| witness.spec.clone()).unwrap_or_default()
    }

    /// The addresses that are proposed at the moment.
    pub fn proposed(&self) -> impl Iterator<Item = &Address> {
        self.known.iter().filter(|(_, known)| known.proposed).map(|(address, _)| address)
    }

    /// The addresses that some source stands for.
    pub fn candidates(&self) -> impl Iterator<Item = &Address> {
        self.known.keys().filter(|address| self.is_mentioned(address))
    }

    fn saw(&mut self, now: Time, source: SourceId, found: Candidates) {
        let Some(witness) = self.witnesses.get_mut(source) else { return };
        witness.answers += 1;
        witness.failing = false;
        witness.answered = Some(now);
        witness.miss(now, &found, &self.rules, &self.known);
        let mut left_out = 0;
        for (address, standing) in found {
            if self.has_room(&address) {
                self.known.entry(address.clone()).or_default();
                let mention = Mention { standing, absence: None };
                self.witnesses[source].mentions.insert(address, mention);
            } else {
                left_out += 1;
            }
        }
        self.witnesses[source].left_out = left_out;
    }

    fn heard(&mut self, address: &Address, word: Word) {
        let Some(known) = self.known.get_mut(address) else { return };
        if matches!(word, Word::Unlinked | Word::Unreachable(_)) {
            // Its source does not name it, and nobody is there: that is enough.
            for witness in &mut self.witnesses {
                if witness.mentions.get(address).is_some_and(|mention| mention.absence.is_some()) {
                    witness.mentions.remove(address);
                }
            }
        }
        known.word = Some(word);
    }

    /// Whether there is a place for an address. What was proposed a short while ago keeps its own, or it
    /// could be proposed again too soon; the pace of proposals bounds how many those are.
    fn has_room(&self, address: &Address) -> bool {
        self.known.contains_key(address) || self.known.len() < self.rules.candidates_max
    }

    /// Proposes what may be, and withdraws what nobody stands for.
    fn settle(&mut self, now: Time, out: &mut Vec<Proposal>) {
        let mut waiting = Vec::new();
        let mut gone = Vec::new();
        for (address, known) in &self.known {
            let keep = self.is_mentioned(address) && known.word != Some(Word::Itself);
            if known.proposed && !keep && !known.is_linked() {
                gone.push(address.clone());
            } else if self.waits(address, known) {
                waiting.push((known.rests_until, address.clone()));
            }
        }
        for address in gone {
            if let Some(known) = self.known.get_mut(&address) {
                known.proposed = false;
            }
            out.push(Proposal::Withdraw(address));
        }
        // Who never had a turn goes first, so that what flaps does not starve what is new.
        waiting.sort_unstable();
        for (_, address) in waiting {
            let Rules { again, every, burst, .. } = self.rules;
            let paid = self.paid_until.max(now) + every;
            let Some(known) = self.known.get_mut(&address) else { continue };
            if known.rests_until.is_some_and(|until| now < until) || paid > now + every * burst {
                continue;
            }
            self.paid_until = paid;
            known.proposed = true;
            known.rests_until = Some(now + again);
            out.push(Proposal::Dial(address));
        }
        self.forget(now);
    }

    /// Drops what nobody names any more, once a proposal of it would be welcome again.
    fn forget(&mut self, now: Time) {
        let witnesses = &self.witnesses;
        self.known.retain(|address, known| {
            let rests = known.rests_until.is_some_and(|until| now < until);
            let mentioned = witnesses.iter().any(|witness| witness.mentions.contains_key(address));
            mentioned || known.proposed || known.is_linked() || rests
        });
    }

    fn is_mentioned(&self, address: &Address) -> bool {
        self.witnesses.iter().any(|witness| witness.mentions.contains_key(address))
    }

    /// Whether it should be proposed as soon as the pace allows.
    fn waits(&self, address: &Address, known: &Known) -> bool {
        let mentions = self.witnesses.iter().filter_map(|witness| witness.mentions.get(address));
        let stands =
            |mention: &Mention| mention.standing == Standing::Present && mention.absence.is_none();
        !known.proposed && known.word != Some(Word::Itself) && mentions.into_iter().any(stands)
    }

    fn ready_at(&self, now: Time, known: &Known) -> Time {
        let Rules { every, burst, .. } = self.rules;
        // One place in the bucket is free when what was paid ends less than the others before its rim.
        let room = self.paid_until - every * burst.saturating_sub(1);
        known.rests_until.unwrap_or_default().max(room).max(now)
    }

    /// Why things are as they are.
    pub fn explain(&self, now: Time) -> Explanation {
        let candidates = self.known.iter().filter(|(address, _)| self.is_mentioned(address));
        Explanation {
            sources: self.witnesses.iter().map(|witness| witness.report(now)).collect(),
            candidates: candidates
                .map(|(address, known)| self.report(now, address, known))
                .collect(),
        }
    }

    fn report(&self, now: Time, address: &Address, known: &Known) -> CandidateReport {
        let named =
            || self.witnesses.iter().filter(|witness| witness.mentions.contains_key(address));
        let mentions = || named().filter_map(|witness| witness.mentions.get(address));
        let verdict = match &known.word {
            Some(Word::Linked) => Verdict::Linked,
            Some(Word::Itself) => Verdict::Itself,
            _ if mentions().all(|mention| mention.standing == Standing::Draining) => {
                Verdict::Draining
            }
            Some(Word::Answers) => Verdict::Answers,
            Some(Word::Unlinked) => Verdict::Unlinked,
            Some(Word::Unreachable(why)) => Verdict::Unreachable(why.clone()),
            Some(Word::Refused(why)) => Verdict::Refused(why.clone()),
            None if known.proposed => Verdict::Proposed,
            None => Verdict::Waiting(self.ready_at(now, known).since(now)),
        };
        CandidateReport {
            address: address.clone(),
            sources: named().map(|witness| witness.spec.clone()).collect(),
            missing: mentions().all(|mention| mention.absence.is_some()),
            verdict,
        }
    }
}

impl Known {
    fn is_linked(&self) -> bool {
        self.word == Some(Word::Linked)
    }
}

impl Witness {
    fn new(spec: String) -> Self {
        Self {
            spec,
            mentions: BTreeMap::new(),
            answers: 0,
            errors: 0,
            left_out: 0,
            answered: None,
            last_error: None,
            failing: false,
        }
    }

    /// Marks the mentions that an answer lacks, and gives up those whose absence it confirms.
    fn miss(
        &mut self,
        now: Time,
        found: &Candidates,
        rules: &Rules,
        known: &BTreeMap<Address, Known>,
    ) {
        self.mentions.retain(|address, mention| {
            if found.contains_key(address) {
                return true;
            }
            let absence = mention.absence.get_or_insert(Absence { since: now, answers: 0 });
            absence.answers = absence.answers.saturating_add(1);
            let is_repeated = absence.answers >= rules.confirmations;
            let is_confirmed = is_repeated && now >= absence.since + rules.linger;
            known.get(address).is_some_and(Known::is_linked) || !is_confirmed
        });
    }

    fn report(&self, now: Time) -> SourceReport {
        SourceReport {
            spec: self.spec.clone(),
            answers: self.answers,
            errors: self.errors,
            answered_ago: self.answered.map(|at| now.since(at)),
            found: self.mentions.len(),
            missing: self.mentions.values().filter(|mention| mention.absence.is_some()).count(),
            left_out: self.left_out,
            last_error: self.last_error.as_ref().map(|(at, why)| (now.since(*at), why.clone())),
            failing: self.failing,
        }
    }
}
