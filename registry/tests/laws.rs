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
    At, Bearer, Command, Effect, Level, Machine, Once, Property, Query, Session, Verdict, snapshot,
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
}

impl Listener {
    fn hear(&mut self, effect: Effect) {
        match effect {
            Effect::NodeJoined(node) => {
                self.nodes.insert(node.id, node);
            }
            Effect::NodeLeft(node) => assert!(self.nodes.remove(&node).is_some()),
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
        }
    }

    fn compare(&self, machine: &Machine) {
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
                    _ => continue,
                });
            }
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
    #![proptest_config(cases(160))]

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
