//! The witness: what every life of every node applied, brought to the checkers.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use quorate_drill::history::hash_of;
use quorate_registry::{Effect, Machine, Registration, snapshot};
use quorate_vocab::{Epoch, Index, Name, Pid};

use super::World;
use super::rare::Rarities;
use super::seat::Alive;
use crate::check::bearers::Bearers;
use crate::check::calls::Calls;
use crate::check::counts::Counts;
use crate::check::grants::Grants;
use crate::check::i01_rising_epochs::RisingEpochs;
use crate::check::i02_one_holder::OneHolder;
use crate::check::i03_one_at_a_time::OneAtATime;
use crate::check::i04_answered_renewals::AnsweredRenewals;
use crate::check::i05_turns::Turns;
use crate::check::i06_stale_acts::StaleActs;
use crate::check::i07_handoffs::Handoffs;
use crate::check::i08_silent_minority::SilentMinority;
use crate::check::i10_nothing_lost::NothingLost;
use crate::check::i11_same_everywhere::SameEverywhere;
use crate::check::i12_mail_in_order::MailInOrder;
use crate::check::i13_known_ages::KnownAges;
use crate::check::l01_runs_again::RunsAgain;
use crate::check::linear::Hints;
use crate::check::linear::versions::Said;
use crate::check::topology::Topology;
use crate::check::{Applied, Violation};
use crate::clock;
use crate::history::{History, Mark};
use crate::trace::Trace;

/// The state is hashed at every so many indexes, where a node happens to stand there.
const HASH_EVERY: u64 = 16;
/// How often a node is asked how it is.
const PULSE: Duration = Duration::from_millis(500);

/// The checkers of one world, while it lasts.
pub(super) struct Witness {
    trace: Trace,
    history: History,
    hosts: BTreeSet<String>,
    seen: Mutex<Seen>,
}

pub(super) struct Seen {
    pub(super) epochs: RisingEpochs,
    pub(super) holders: OneHolder,
    pub(super) bodies: OneAtATime,
    pub(super) renewals: AnsweredRenewals,
    pub(super) minority: SilentMinority,
    pub(super) lost: NothingLost,
    pub(super) same: SameEverywhere,
    pub(super) mail: MailInOrder<u64, Pid>,
    pub(super) ages: KnownAges,
    pub(super) topology: Topology,
    pub(super) counts: Counts,
    pub(super) bearers: Bearers,
    pub(super) grants: Grants,
    pub(super) turns: Turns,
    pub(super) stale: StaleActs,
    pub(super) handoffs: Handoffs,
    pub(super) calls: Calls,
    pub(super) again: RunsAgain,
    pub(super) hints: Hints,
    pub(super) said: Said,
    pub(super) rare: Rarities,
    pub(super) violations: Vec<Violation>,
}

impl Seen {
    /// Takes in what the log says under a name.
    fn read(&mut self, held: &Registration) {
        let mark = Mark::of_registration(held);
        if held.version == held.index {
            self.hints.insert(held.epoch, mark);
        }
        self.said.insert((held.name.clone(), held.version), mark);
    }
}

impl Witness {
    pub(super) fn new(
        trace: Trace,
        history: History,
        hosts: BTreeSet<String>,
        voters: usize,
    ) -> Self {
        let seen = Seen {
            epochs: RisingEpochs::default(),
            holders: OneHolder::default(),
            bodies: OneAtATime::default(),
            renewals: AnsweredRenewals::default(),
            minority: SilentMinority::among(hosts.iter().cloned(), voters),
            lost: NothingLost::default(),
            same: SameEverywhere::default(),
            mail: MailInOrder::default(),
            ages: KnownAges::default(),
            topology: Topology::default(),
            counts: Counts::default(),
            bearers: Bearers::default(),
            grants: Grants::default(),
            turns: Turns::default(),
            stale: StaleActs::default(),
            handoffs: Handoffs::default(),
            calls: Calls::default(),
            again: RunsAgain::default(),
            hints: Hints::new(),
            said: Said::new(),
            rare: Rarities::default(),
            violations: Vec::new(),
        };
        Self { trace, history, hosts, seen: Mutex::new(seen) }
    }

    pub(super) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().expect("nothing panics while it holds the witness")
    }

    /// Takes what was seen, to judge it.
    pub(super) fn take(&self) -> Seen {
        let empty = Self::new(self.trace.clone(), self.history.clone(), BTreeSet::new(), 0);
        let empty = empty.seen.into_inner().expect("it is new");
        std::mem::replace(&mut *self.seen(), empty)
    }

    /// Something was seen that must not be.
    pub(super) fn violate(&self, invariant: &'static str, what: fmt::Arguments<'_>) {
        let violation = Violation::new(invariant, what);
        self.trace.note(format_args!("VIOLATION {violation}"));
        self.seen().violations.push(violation);
    }

    /// From now on these hosts are down and these directions are cut.
    pub(super) fn connected(&self, down: &BTreeSet<String>, cuts: &BTreeSet<(String, String)>) {
        let now = self.history.moment();
        self.seen().minority.changed(now, &self.hosts, down, cuts);
    }

    /// A life of a node has ended, and all that ran in it.
    pub(super) fn died(&self, life: &(String, u64)) {
        let now = self.history.moment();
        let ended = self.seen().turns.died(life, now);
        if ended > 0 {
            self.trace.note(format_args!("{ended} turns end with {}", life.0));
        }
    }

    /// A node says how old what it knows is.
    pub(super) fn aged(&self, alive: &Alive, index: Index, age: Duration) {
        let now = self.history.moment();
        self.trace.note(format_args!("age {} {index} {age:?}", alive.host));
        self.seen().ages.shown(now.at, &alive.host, index, age);
    }

    /// A node shows all of its state.
    pub(super) fn shown(&self, alive: &Alive, machine: &Machine, index: Index) {
        let mut seen = self.seen();
        let held = machine.list("", None);
        seen.holders.restored(&alive.host, alive.number, index, held);
        for held in machine.list("", None) {
            seen.read(held);
        }
        for row in machine.singletons("", None) {
            seen.grants.shown(row);
        }
        let held: BTreeMap<Name, Epoch> =
            machine.list("", None).map(|held| (held.name.clone(), held.epoch)).collect();
        self.trace.note(format_args!("state {} {index} {} names", alive.host, held.len()));
        seen.lost.shown(&alive.host, index, held);
        let hash = hash_of(&snapshot::encode(machine));
        seen.same.state(&alive.host, index, hash);
    }

    /// A node has applied an entry.
    fn applied(&self, alive: &Alive, index: Index, effects: &[Effect]) {
        let applied = Applied { node: &alive.host, life: alive.number, index, op: None, effects };
        let now = self.history.moment();
        let mut seen = self.seen();
        seen.epochs.applied(&applied);
        seen.holders.applied(&applied);
        seen.lost.applied(&applied);
        seen.grants.applied(&applied);
        seen.rare.applied(index, effects, now.at);
        seen.ages.applied(now.at, index);
        let hash = seen.same.applied(&applied);
        self.trace.note(format_args!("apply {} {index} {hash:016x}", alive.host));
        for effect in effects {
            match effect {
                Effect::Registered(held) => {
                    seen.read(held);
                    seen.bodies.registered(&held.name, held.epoch, now);
                    if let Some((of, epoch)) = super::troupe::doer(held) {
                        seen.stale.done(&of, epoch, index, "an applied deed");
                    }
                }
                Effect::Amended(held) => seen.read(held),
                Effect::SessionEnded { session, evidence } => {
                    self.history.session_ended(*session);
                    seen.renewals.ended(*session, *evidence, now);
                }
                _ => {}
            }
        }
    }
}

/// Follows what one life of a node applies.
pub(super) async fn follow(world: Arc<World>, alive: Alive) {
    let witness = &world.witness;
    let mut is_first = true;
    loop {
        if !std::mem::take(&mut is_first) {
            // Its state was replaced.
            witness.seen().rare.snapshot(!world.net.cuts().is_empty());
        }
        let index = alive.node.inspect(|machine, index| {
            witness.shown(&alive, machine, index);
            index
        });
        let mut watch = alive.node.changes(index);
        // Ends when a snapshot replaces the node's state.
        while let Ok(change) = watch.next().await {
            witness.applied(&alive, change.index, &change.effects);
            alive.node.inspect(|machine, index| {
                if index.0.is_multiple_of(HASH_EVERY) {
                    let hash = hash_of(&snapshot::encode(machine));
                    witness.seen().same.state(&alive.host, index, hash);
                }
            });
        }
    }
}

/// Sees when a node stops by itself, which no fault of this world is a reason for; and when it goes back in
/// time.
pub(super) async fn feel_pulse(world: Arc<World>, alive: Alive) {
    let mut reached = Index(0);
    loop {
        clock::pause(PULSE).await;
        let status = alive.node.status();
        if let Some(fault) = status.group.fault {
            let what = format_args!("life {} of {}: {fault}", alive.number, alive.host);
            world.witness.violate("stopped", what);
            return;
        }
        world.witness.aged(&alive, status.index, status.stale);
        let (group, now) = (&status.group, world.history.moment().at);
        world.witness.seen().rare.pulse(group.term, &group.voters, now);
        let index = alive.node.inspect(|_, index| index);
        if index < reached {
            let what = format_args!("{} went back from {reached} to {index}", alive.host);
            world.witness.violate("I10", what);
        }
        reached = index;
    }
}
