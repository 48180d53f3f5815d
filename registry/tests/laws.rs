//! What holds for every log: replicas agree, epochs rise, effects tell everything, rows and snapshots lose
//! nothing, and repetition changes nothing.

use crate::common;

use std::collections::{BTreeMap, BTreeSet};

use common::{any_command, body, cases, log};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index as Place;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use quorate_registry::{
    At, Bearer, Blocked, Candidate, Command, Effect, Ending, Evidence, Grant, Level, Machine, Once,
    Op, Phase, Property, Query, Session, Singleton, Standing, Verdict, snapshot,
};
use quorate_vocab::{Epoch, Index, Name, NodeId, SessionId};

fn apply(machine: &mut Machine, at: At, command: &Command) -> (Verdict, Vec<Effect>) {
    let mut effects = Vec::new();
    let verdict = machine.apply(at, command.clone(), &mut effects);
    machine.check();
    (verdict, effects)
}

/// What somebody knows who only hears the effects.
#[derive(Default)]
struct Listener {
    nodes: BTreeMap<NodeId, quorate_registry::Node>,
    sessions: BTreeMap<SessionId, Session>,
    names: BTreeMap<Name, quorate_registry::Registration>,
    properties: BTreeMap<(Name, Bearer), Property>,
    counters: BTreeMap<Name, i64>,
    level: Option<Level>,
    greatest: BTreeMap<Name, Epoch>,
    rules: (Index, quorate_registry::Rules),
    grants: BTreeMap<Name, Grant>,
    /// How each grant that is no more was closed, the last of each singleton only.
    closed: BTreeMap<Name, (Epoch, Evidence)>,
    greatest_granted: BTreeMap<Name, Epoch>,
    drained: BTreeSet<NodeId>,
    /// Of which singletons something was heard since the last comparison.
    spoken_of: BTreeSet<Name>,
    known: BTreeMap<Name, Known>,
}

/// What can be looked up of a singleton once one hears that it is another.
type Known = (Singleton, Vec<Candidate>);

impl Listener {
    fn hear(&mut self, effect: Effect) {
        match effect {
            Effect::NodeJoined(node) => {
                self.nodes.insert(node.id, node);
            }
            Effect::NodeLeft(node) => {
                assert!(self.nodes.remove(&node).is_some());
                self.drained.remove(&node);
            }
            Effect::SessionOpened { session, owner, ttl_ms } => {
                let new = Session { id: session, owner, ttl_ms };
                assert!(self.sessions.insert(session, new).is_none());
            }
            Effect::SessionEnded { session, .. } => {
                assert!(self.sessions.remove(&session).is_some());
            }
            Effect::Registered(held) => {
                let before = self.greatest.insert(held.name.clone(), held.epoch);
                assert!(before.is_none_or(|before| before < held.epoch), "I1");
                self.names.insert(held.name.clone(), (*held).clone());
            }
            Effect::Released { name, epoch, .. } => {
                assert_eq!(self.names.remove(&name).map(|held| held.epoch), Some(epoch), "I2");
            }
            Effect::RulesSet { version, rules } => {
                assert!(version > self.rules.0);
                self.rules = (version, rules);
            }
            Effect::Amended(held) => {
                let before = self.names.insert(held.name.clone(), (*held).clone());
                let before = before.expect("only what is held is amended");
                assert_eq!((before.epoch, before.index), (held.epoch, held.index), "I1");
                assert!(before.version < held.version && before.reserved >= held.reserved);
            }
            Effect::PropertySet(property) => {
                self.properties.insert((property.key.clone(), property.bearer), property);
            }
            Effect::PropertyDropped { key, bearer, .. } => {
                assert!(self.properties.remove(&(key, bearer)).is_some());
            }
            Effect::Counted { name, value } => drop(self.counters.insert(name, value)),
            Effect::CounterDropped { name } => assert!(self.counters.remove(&name).is_some()),
            Effect::Raised(level) => assert!(self.level.replace(level) < Some(level)),
            Effect::Granted { name, grant } => self.hear_grant(name, grant),
            Effect::GrantPhase { name, grant } => {
                let held = self.grants.get_mut(&name).expect("only what is held is given up");
                assert_eq!((held.epoch, held.session), (grant.epoch, grant.session), "I2");
                *held = grant;
                self.spoken_of.insert(name);
            }
            Effect::GrantClosed { name, epoch, session, evidence } => {
                let held = self.grants.remove(&name).expect("only what is held is closed");
                assert_eq!((held.epoch, held.session), (epoch, session), "I2");
                self.closed.insert(name.clone(), (epoch, evidence));
                self.spoken_of.insert(name);
            }
            Effect::SingletonChanged(name) => drop(self.spoken_of.insert(name)),
            Effect::Drained { node, draining: true } => drop(self.drained.insert(node)),
            Effect::Drained { node, draining: false } => drop(self.drained.remove(&node)),
        }
    }

    /// At most one grant, and only after evidence that the one before it has ended (I2, I5), under an epoch
    /// above all that were ever heard of (I1).
    fn hear_grant(&mut self, name: Name, grant: Grant) {
        let before = self.greatest_granted.insert(name.clone(), grant.epoch);
        assert!(before.is_none_or(|before| before < grant.epoch), "I1");
        let closed = self.closed.get(&name).map(|(epoch, _)| *epoch);
        assert_eq!(before, closed, "I5: the one before was not closed");
        assert!(self.sessions.contains_key(&grant.session), "granted to a life that has ended");
        assert!(!self.drained.contains(&grant.node), "granted to a node that is being drained");
        assert_eq!((grant.phase, grant.ready), (Phase::Active, false));
        assert!(self.grants.insert(name.clone(), grant).is_none(), "I2");
        self.spoken_of.insert(name);
    }

    fn compare_singletons(&mut self, machine: &Machine) {
        let look = |name: &Name| {
            let singleton = machine.singleton(name.as_str())?.clone();
            Some((singleton, machine.candidates(name).cloned().collect()))
        };
        for name in std::mem::take(&mut self.spoken_of) {
            match look(&name) {
                Some(known) => drop(self.known.insert(name.clone(), known)),
                None => drop(self.known.remove(&name)),
            }
            // Whether it is ready is told without the grant.
            if let (Some(held), Some((present, _))) = (self.grants.get_mut(&name), look(&name)) {
                held.ready = present.grant.is_some_and(|grant| grant.ready);
            }
        }
        for singleton in machine.singletons("", None) {
            let name = &singleton.name;
            assert_eq!(self.known.get(name), look(name).as_ref(), "nobody was told");
            assert_eq!(self.grants.get(name), singleton.grant.as_ref());
            if let Some(past) = singleton.past.back() {
                assert_eq!(self.closed.get(name), Some(&(past.epoch, past.evidence)));
            }
        }
        assert_eq!(self.known.len(), machine.singletons("", None).count());
        let held = |(name, _): (&Name, &Grant)| machine.singleton(name.as_str()).is_some();
        assert!(self.grants.iter().all(held), "what is held was forgotten");
        for node in machine.nodes() {
            assert_eq!(machine.drained(node.id).is_some(), self.drained.contains(&node.id));
        }
    }

    /// What somebody still knows who listened to a cluster that began anew since.
    fn begin_anew(self, anew: &Machine) -> Self {
        let mut closed = self.closed;
        let mut known = BTreeMap::new();
        for singleton in anew.singletons("", None) {
            let last = singleton.past.back().map(|past| (past.epoch, past.evidence));
            let forced = last.filter(|_| self.grants.contains_key(&singleton.name));
            assert!(forced.is_none_or(|(_, evidence)| evidence == Evidence::Forced), "I5");
            closed.extend(last.map(|last| (singleton.name.clone(), last)));
            known.insert(singleton.name.clone(), (singleton.clone(), vec![]));
        }
        let (greatest, greatest_granted) = (self.greatest, self.greatest_granted);
        let rules = (anew.rules_version(), anew.rules().clone());
        let names = anew.list("", None).map(|held| (held.name.clone(), held.clone())).collect();
        let counters = anew.counters("", None).map(|(name, n)| (name.clone(), n)).collect();
        let level = Some(anew.level());
        let kept = Self { greatest, greatest_granted, closed, known, ..Self::default() };
        Self { rules, names, counters, level, ..kept }
    }

    fn compare(&mut self, machine: &Machine) {
        self.compare_singletons(machine);
        assert!(self.nodes.values().eq(machine.nodes()));
        assert!(self.sessions.values().eq(machine.sessions()));
        assert!(self.names.values().eq(machine.list("", None)));
        let everything = Query::default();
        assert!(self.properties.values().eq(machine.properties(&everything, None)));
        assert!(self.counters.iter().map(|(n, v)| (n, *v)).eq(machine.counters("", None)));
        assert_eq!(self.level.unwrap_or(Level::FIRST), machine.level());
        assert_eq!((self.rules.0, &self.rules.1), (machine.rules_version(), machine.rules()));
    }
}

#[test]
fn the_random_logs_reach_every_verdict() {
    let mut runner = TestRunner::deterministic();
    let mut reached = BTreeSet::new();
    for _ in 0..200 {
        let log = log(100..120).new_tree(&mut runner).unwrap().current();
        let mut machine = Machine::new(3);
        for (at, command) in &log {
            let (verdict, effects) = apply(&mut machine, *at, command);
            let words = |what: String| what.replace(['(', '{', ' '], " ").trim().to_owned();
            let kind: Vec<_> =
                words(format!("{verdict:?}")).split(' ').take(2).map(str::to_owned).collect();
            reached.insert(if kind[0] == "Refused" { kind[1].clone() } else { kind[0].clone() });
            for effect in effects {
                reached.insert(match effect {
                    Effect::SessionEnded { evidence, .. } => format!("ended {evidence:?}"),
                    Effect::Released { cause, .. } => format!("released {cause:?}"),
                    Effect::GrantClosed { evidence, .. } => format!("closed {evidence:?}"),
                    Effect::Granted { .. } => "granted".to_owned(),
                    Effect::GrantPhase { grant, .. } => match grant.phase {
                        Phase::Active => "undone".to_owned(),
                        Phase::Yielding { to } => format!("yields to {to:?}"),
                    },
                    _ => continue,
                });
            }
            let free = machine.singletons("", None).filter(|one| one.grant.is_none());
            reached.extend(free.map(|one| format!("blocked {:?}", machine.blocked(one).unwrap())));
        }
    }
    let begins = |with: &str| reached.iter().any(|one| one.starts_with(with));
    for verdict in [
        "Joined",
        "Left",
        "Opened",
        "Ended",
        "Registered",
        "Released",
        "Taken",
        "Stale",
        "Free",
        "NoSession",
        "TermOver",
        "NodeNameTaken",
        "NoNode",
        "BootOver",
        "Forgotten",
        "TooLarge",
        "RulesSet",
        "RulesChanged",
        "BadRules",
        "Leased",
        "Amended",
        "Changed",
        "NotReserved",
        "Unbound",
        "Absent",
        "Counted",
        "Miscounted",
        "Overflow",
        "Dropped",
        "Raised",
        "TooNew",
        "NoSingleton",
        "NoCandidate",
        "NotGranted",
        "Unfit",
        "Cycle",
        "BadSpec",
        "Offered",
        "Done",
        "closed Stopped",
        "closed Expired",
        "closed Superseded",
        "closed NodeLeft",
        "closed ProvenDead",
        "closed Forced",
        "granted",
        "undone",
        "yields to Some",
        "yields to None",
        "blocked Halted",
        "blocked Nobody",
        "blocked AllFailed",
        "blocked After",
        "blocked Unfit",
        "blocked NoRoom",
        "ended ProvenDead",
        "ended Forced",
        "ended NameGone",
        "ended Stopped",
        "ended Expired",
        "ended Superseded",
        "ended NodeLeft",
        "released Asked",
        "released SessionEnded",
    ] {
        assert!(begins(verdict), "{verdict} was never reached: {reached:?}");
    }
}

proptest! {
    #![proptest_config(cases(240))]

    #[test]
    fn epochs_rise_names_are_unique_and_effects_tell_every_change(log in log(1..120)) {
        let mut machine = Machine::new(3);
        let mut listener = Listener::default();
        for (at, command) in &log {
            let (_, effects) = apply(&mut machine, *at, command);
            machine.check_all();
            effects.into_iter().for_each(|effect| listener.hear(effect));
            listener.compare(&machine);
        }
    }

    #[test]
    fn epochs_rise_also_where_a_cluster_begins_anew(
        log in log(1..80), again in log(1..80), above in 0..9_u16
    ) {
        let mut machine = Machine::new(3);
        let mut listener = Listener::default();
        for (round, entries) in [log, again].iter().enumerate() {
            if round == 1 {
                machine = machine.begin_anew(above).unwrap();
                machine.check_all();
                listener = listener.begin_anew(&machine);
                let read = snapshot::decode(&snapshot::encode(&machine)).unwrap();
                prop_assert_eq!(&read, &machine);
            }
            let first = machine.applied();
            for (at, command) in entries {
                let at = At { index: Index(first.0 + at.index.0), term: at.term };
                let (_, effects) = apply(&mut machine, at, command);
                machine.check_all();
                effects.into_iter().for_each(|effect| listener.hear(effect));
                listener.compare(&machine);
            }
        }
    }

    /// No wake-up is lost: whoever could be placed is placed by the entry that made it possible.
    #[test]
    fn after_every_entry_nobody_waits_whom_somebody_could_have(log in log(1..120)) {
        let mut machine = Machine::new(3);
        for (at, command) in &log {
            apply(&mut machine, *at, command);
            for singleton in machine.singletons("", None).filter(|one| one.grant.is_none()) {
                let blocked = machine.blocked(singleton);
                prop_assert!(blocked.is_some(), "{} waits after {command:?}", singleton.name);
            }
        }
    }

    /// Grants are made where there was none. A life or a node that comes takes nothing from another.
    #[test]
    fn what_is_placed_stays_whoever_comes(log in log(1..120)) {
        let mut machine = Machine::new(3);
        for (at, command) in &log {
            let before: Vec<_> = machine.singletons("", None).cloned().collect();
            apply(&mut machine, *at, command);
            let comes = matches!(
                command.op, Op::Volunteer { .. } | Op::Join { .. } | Op::Ready { .. } | Op::Drain { .. }
            );
            for before in before.iter().filter(|one| comes && one.grant.is_some()) {
                let after = machine.singleton(before.name.as_str()).unwrap();
                let place = |one: &Singleton| one.grant.map(|one| (one.epoch, one.session, one.phase));
                prop_assert_eq!(place(after), place(before), "moved by {:?}", command);
            }
        }
    }

    /// The choice is made without all that an outlook tells; both must say the same.
    #[test]
    fn who_is_chosen_is_whom_the_outlook_names_the_best(log in log(1..120)) {
        let mut machine = Machine::new(3);
        let mut at = At { index: Index(0), term: 1 };
        for (place, command) in &log {
            apply(&mut machine, *place, command);
            at = *place;
        }
        let held: Vec<_> = machine.singletons("", None).filter(|one| one.grant.is_some()).cloned().collect();
        for Singleton { name, grant, .. } in held {
            let mut other = machine.clone();
            let mut say = |op| {
                at.index = at.index.next();
                apply(&mut other, at, &Command { once: Once::Free, op });
                other.clone()
            };
            // What failed may try again; nothing moves.
            say(Op::Resume { name: name.clone() });
            say(Op::Halt { name: name.clone() });
            let ending = Ending::Stopped { state: None };
            let halted = say(Op::EndGrant { name: name.clone(), epoch: grant.unwrap().epoch, ending });
            let outlook = halted.outlook(halted.singleton(name.as_str()).unwrap());
            let fits = outlook.iter().filter_map(|(node, standing)| match standing {
                Standing::Fits(score) => Some((*score, *node)),
                _ => None,
            });
            let resumed_world = say(Op::Resume { name: name.clone() });
            let resumed = resumed_world.singleton(name.as_str()).unwrap();
            let waits = matches!(resumed_world.blocked(resumed), Some(Blocked::After(_)));
            if !waits {
                prop_assert_eq!(resumed.grant.map(|one| one.node), fits.max().map(|(_, node)| node));
            }
        }
    }

    #[test]
    fn two_replicas_give_the_same_answers_effects_and_states(log in log(1..120)) {
        let (mut one, mut two) = (Machine::new(3), Machine::new(3));
        for (at, command) in &log {
            prop_assert_eq!(apply(&mut one, *at, command), apply(&mut two, *at, command));
            // Rows are taken from one of them only.
            one.take_changes();
            prop_assert_eq!(&one, &two);
        }
        prop_assert_eq!(snapshot::encode(&one), snapshot::encode(&two));
    }

    #[test]
    fn a_snapshot_and_the_tail_make_what_the_log_makes(log in log(1..120), cut in any::<Place>()) {
        let (head, tail) = log.split_at(cut.index(log.len()));
        let mut machine = Machine::new(3);
        head.iter().for_each(|(at, command)| { apply(&mut machine, *at, command); });

        let mut other = snapshot::decode(&snapshot::encode(&machine)).unwrap();
        prop_assert_eq!(&other, &machine);
        // A log that begins before the snapshot does no harm.
        for (at, command) in head {
            prop_assert_eq!(apply(&mut other, *at, command).1, vec![]);
        }
        for (at, command) in tail {
            prop_assert_eq!(apply(&mut other, *at, command), apply(&mut machine, *at, command));
        }
        prop_assert_eq!(other, machine);
    }

    #[test]
    fn rows_that_were_taken_add_up_to_the_state(log in log(1..120), every in 1..9_usize) {
        let mut machine = Machine::new(3);
        let mut shelf = BTreeMap::new();
        for (step, (at, command)) in log.iter().enumerate() {
            apply(&mut machine, *at, command);
            if step % every != 0 {
                continue;
            }
            for (key, value) in machine.take_changes() {
                match value {
                    Some(value) => drop(shelf.insert(key, value)),
                    // A row that was never put is not removed either.
                    None => prop_assert!(shelf.remove(&key).is_some()),
                }
            }
            prop_assert!(machine.rows().eq(shelf.clone()));
            prop_assert_eq!(machine.rows_len(), shelf.len());
            prop_assert!(machine.take_changes().is_empty());
            let rebuilt = Machine::from_rows(&shelf).unwrap();
            prop_assert_eq!(&rebuilt, &machine);
        }
    }

    #[test]
    fn what_was_frozen_stays_as_it_was_while_the_machine_goes_on(
        log in log(1..120), cut in any::<Place>()
    ) {
        let (head, tail) = log.split_at(cut.index(log.len()));
        let mut machine = Machine::new(3);
        head.iter().for_each(|(at, command)| { apply(&mut machine, *at, command); });
        let (frozen, bytes) = (machine.freeze(), snapshot::encode(&machine));
        tail.iter().for_each(|(at, command)| { apply(&mut machine, *at, command); });
        prop_assert_eq!(snapshot::chunks(&frozen).collect::<Vec<_>>().concat(), bytes);
        frozen.check_all();
    }

    #[test]
    fn a_marked_command_that_comes_again_changes_nothing(log in log(1..80)) {
        let mut machine = Machine::new(3);
        for (at, command) in &log {
            let (verdict, _) = apply(&mut machine, *at, command);
            if command.once == Once::Free {
                continue;
            }
            let mut other = machine.clone();
            let later = At { index: at.index.next(), term: at.term + 1 };
            let again = apply(&mut other, later, command);
            prop_assert_eq!(again, (verdict, vec![]));
            prop_assert_eq!(body(&other), body(&machine));
        }
    }

    #[test]
    fn no_command_makes_a_machine_panic_or_forget_itself(
        commands in vec((any_command(), prop_oneof![20 => 1..3_u64, 1 => any::<u64>()]), 1..80)
    ) {
        let mut machine = Machine::new(4095);
        let mut index = 0_u64;
        for (command, skip) in commands {
            index = index.saturating_add(skip);
            apply(&mut machine, At { index: Index(index), term: skip }, &command);
            machine.check_all();
        }
        prop_assert_eq!(snapshot::decode(&snapshot::encode(&machine)).unwrap(), machine);
    }
}
