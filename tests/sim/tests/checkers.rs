//! Every checker passes what is right, and finds what is wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use quorate_registry::{
    At, Bond, Claim, Command, Effect, Evidence, Lanes, Machine, Once, Op, Registration,
    ReleaseCause, Rule, Selector, Stance, Verdict,
};
use quorate_sim::check::i01_rising_epochs::RisingEpochs;
use quorate_sim::check::i02_one_holder::OneHolder;
use quorate_sim::check::i03_one_at_a_time::OneAtATime;
use quorate_sim::check::i04_answered_renewals::AnsweredRenewals;
use quorate_sim::check::i08_silent_minority::SilentMinority;
use quorate_sim::check::i10_nothing_lost::NothingLost;
use quorate_sim::check::i11_same_everywhere::SameEverywhere;
use quorate_sim::check::i13_known_ages::KnownAges;
use quorate_sim::check::topology::{Topology, forbids};
use quorate_sim::check::{Applied, Violation};
use quorate_sim::history::{Answer, Ask, History, Mark, Moment, Outcome, Record};
use quorate_sim::trace::{Keep, Trace};
use quorate_vocab::{Epoch, Index, Name, SessionId};

fn at(millis: u64) -> Moment {
    Moment { at: Duration::from_millis(millis), nth: 0 }
}

fn epoch(index: u64) -> Epoch {
    Epoch::new(0, Index(index)).unwrap()
}

fn name() -> Name {
    Name::new("till").unwrap()
}

fn held(index: u64, session: Option<u64>) -> Registration {
    Registration {
        name: name(),
        epoch: epoch(index),
        session: session.map(SessionId),
        holder: None,
        value: index.to_be_bytes().to_vec(),
        meta: BTreeMap::new(),
        index: Index(index),
        version: Index(index),
        reserved: false,
    }
}

fn registers(index: u64, session: Option<u64>) -> Vec<Effect> {
    vec![Effect::Registered(held(index, session).into())]
}

fn releases(index: u64, cause: ReleaseCause) -> Vec<Effect> {
    vec![Effect::Released { name: name(), epoch: epoch(index), cause }]
}

fn ends(session: u64, of: u64) -> Vec<Effect> {
    let session = SessionId(session);
    let mut effects = releases(of, ReleaseCause::SessionEnded(session));
    effects.push(Effect::SessionEnded { session, evidence: Evidence::Stopped });
    effects
}

fn applied(index: u64, effects: &[Effect]) -> Applied<'_> {
    Applied { node: "n1", life: 1, index: Index(index), op: None, effects }
}

fn claim(replace: Option<Epoch>) -> Op {
    let claim = Claim { bond: Bond::Durable, holder: None, value: vec![], meta: BTreeMap::new() };
    Op::Register { name: name(), claim, replace }
}

fn record(from: u64, to: u64, ask: Ask, answer: Answer) -> Record {
    Record {
        client: "c1".to_owned(),
        asked: "n1".to_owned(),
        name: name(),
        ask,
        invoked: at(from),
        returned: at(to),
        outcome: Outcome::Done(answer),
    }
}

fn register(value: u64) -> Ask {
    Ask::Register { value: Mark(value), session: None, replace: None }
}

fn registered(index: u64) -> Answer {
    Answer::Registered { epoch: epoch(index) }
}

#[track_caller]
fn finds(violations: &[Violation], invariant: &str, words: &str) {
    assert_eq!(violations.len(), 1, "{violations:?}");
    let text = violations[0].to_string();
    assert!(text.starts_with(invariant) && text.contains(words), "{text}");
}

// I1

#[test]
fn rising_epochs_pass_in_any_order_of_sight() {
    let mut check = RisingEpochs::default();
    for index in [5, 9, 7, 5, 9, 6] {
        check.applied(&applied(index, &registers(index, None)));
    }
    let history = [
        record(0, 1, register(1), registered(5)),
        record(2, 9, register(1), registered(7)),
        record(3, 8, register(1), registered(6)),
    ];
    assert_eq!(check.finish(&history), []);
}

#[test]
fn an_epoch_that_does_not_rise_is_found() {
    for (index, given) in [(9, 4), (9, 5), (4, 6), (5, 6)] {
        let mut check = RisingEpochs::default();
        check.applied(&applied(5, &registers(5, None)));
        check.applied(&applied(index, &registers(given, None)));
        finds(&check.finish(&[]), "I1", "till");
    }
}

#[test]
fn a_client_that_is_told_an_older_epoch_later_is_found() {
    for later in [4, 5] {
        let history = [
            record(0, 1, register(1), registered(5)),
            record(2, 3, register(1), registered(later)),
        ];
        finds(&RisingEpochs::default().finish(&history), "I1", "c1 was told");
    }
}

// I2

#[test]
fn one_holder_after_the_other_passes() {
    let mut check = OneHolder::default();
    check.restored("n1", 1, Index(4), [&held(3, None)]);
    let replaces = claim(Some(epoch(3)));
    let effects = registers(5, Some(1));
    check.applied(&Applied { op: Some(&replaces), ..applied(5, &effects) });
    check.applied(&applied(6, &ends(1, 5)));
    check.applied(&applied(7, &registers(7, None)));
    check.applied(&applied(8, &releases(7, ReleaseCause::Asked)));
    // A later life begins from what its shelf had.
    check.restored("n1", 2, Index(5), [&held(5, Some(1))]);
    check.applied(&Applied { life: 2, ..applied(6, &ends(1, 5)) });
    assert_eq!(check.finish(), []);
}

#[test]
fn two_holders_are_found() {
    let with = |op: Option<Op>, second: u64| {
        let mut check = OneHolder::default();
        check.applied(&applied(5, &registers(5, None)));
        let effects = registers(second, None);
        check.applied(&Applied { op: op.as_ref(), ..applied(9, &effects) });
        check.finish()
    };
    assert_eq!(with(None, 9), [], "of an unknown entry only the order can be judged");
    assert_eq!(with(Some(claim(Some(epoch(5)))), 9), []);
    finds(&with(Some(claim(None)), 9), "I2", "held under");
    finds(&with(Some(claim(Some(epoch(4)))), 9), "I2", "held under");
    finds(&with(None, 5), "I2", "held under");
    let mut check = OneHolder::default();
    check.restored("n1", 1, Index(9), [&held(5, None), &held(6, None)]);
    finds(&check.finish(), "I2", "twice");
}

#[test]
fn a_release_of_what_is_not_held_is_found() {
    for released in [4, 5] {
        let mut check = OneHolder::default();
        if released == 4 {
            check.applied(&applied(5, &registers(5, None)));
        }
        check.applied(&applied(9, &releases(released, ReleaseCause::Asked)));
        finds(&check.finish(), "I2", "was released");
    }
}

#[test]
fn what_a_dead_session_holds_is_found() {
    let mut check = OneHolder::default();
    check.applied(&applied(5, &registers(5, Some(1))));
    let ended = [Effect::SessionEnded { session: SessionId(1), evidence: Evidence::Stopped }];
    check.applied(&applied(6, &ended));
    finds(&check.finish(), "I2", "life that has ended");
}

#[test]
fn an_entry_that_is_applied_twice_in_one_life_is_found() {
    let mut check = OneHolder::default();
    check.applied(&applied(5, &[]));
    check.applied(&applied(5, &[]));
    finds(&check.finish(), "I2", "before");
}

// I8

fn cut(pairs: &[(&str, &str)]) -> BTreeSet<(String, String)> {
    pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
}

/// The checker's verdict on one answer of n1 from 20 to 30, with these cuts from 10 to 40.
fn minority(cuts: &[(&str, &str)], down: &[&str], from: u64, to: u64) -> Vec<Violation> {
    let nodes: BTreeSet<String> = ["n1", "n2", "n3", "m4"].map(str::to_owned).into();
    let down: BTreeSet<String> = down.iter().map(|host| (*host).to_owned()).collect();
    let mut check = SilentMinority::new(["n1", "n2", "n3"]);
    check.changed(at(10), &nodes, &down, &cut(cuts));
    check.changed(at(40), &nodes, &BTreeSet::new(), &cut(&[]));
    check.finish(&[record(from, to, Ask::Find, Answer::Found(None))])
}

const ALONE: [(&str, &str); 4] = [("n1", "n2"), ("n1", "n3"), ("n1", "m4"), ("n2", "n1")];

#[test]
fn an_answer_of_a_minority_is_found() {
    let both = [("n2", "n1"), ("n3", "n1"), ("m4", "n1")];
    finds(&minority(&both, &[], 20, 30), "I8", "n1 was cut off");
    // Heard by all and hearing nobody is no better; a member that is no voter does not count.
    let mute = [("n1", "n2"), ("n1", "n3"), ("n1", "m4")];
    finds(&minority(&mute, &[], 20, 30), "I8", "n1 was cut off");
    finds(&minority(&both[..2], &["m4"], 20, 30), "I8", "n1 was cut off");
    finds(&minority(&[], &["n2", "n3"], 20, 30), "I8", "n1 was cut off");
}

#[test]
fn an_answer_that_the_majority_may_have_helped_with_passes() {
    // By way of others, one way there and another one back.
    assert_eq!(minority(&[("n1", "n2"), ("n1", "n3")], &[], 20, 30), []);
    assert_eq!(minority(&[("n1", "n2"), ("n3", "n1")], &[], 20, 30), []);
    // Asked before the cut, or answered after it.
    assert_eq!(minority(&ALONE, &[], 5, 30), []);
    assert_eq!(minority(&ALONE, &[], 20, 50), []);
    assert_eq!(minority(&[], &["n2"], 20, 30), []);
    finds(&minority(&ALONE, &[], 20, 30), "I8", "n1 was cut off");
}

// I10

fn log() -> NothingLost {
    let entries = [
        (5, registers(5, None)),
        (6, registers(6, None)),
        (7, releases(6, ReleaseCause::Asked)),
        (8, registers(8, Some(1))),
        (9, ends(1, 8)),
    ];
    let mut check = NothingLost::default();
    for (index, effects) in &entries {
        check.applied(&applied(*index, effects));
    }
    check
}

fn asked() -> Vec<Record> {
    let replace = Ask::Register { value: Mark(2), session: None, replace: Some(epoch(5)) };
    let mut release = record(4, 5, Ask::Release { epoch: None }, Answer::Free);
    release.outcome = Outcome::Unknown;
    vec![
        record(0, 1, register(1), registered(5)),
        record(2, 3, replace, registered(6)),
        release,
        record(6, 7, register(3), registered(8)),
    ]
}

fn state(index: Option<u64>) -> BTreeMap<Name, Epoch> {
    index.map(|index| (name(), epoch(index))).into_iter().collect()
}

#[test]
fn what_the_log_explains_is_not_lost() {
    let mut check = log();
    for (index, held) in [(5, Some(5)), (6, Some(6)), (7, None), (8, Some(8)), (9, None)] {
        check.shown("n2", Index(index), state(held));
    }
    assert_eq!(check.finish(&asked()), []);
}

#[test]
fn an_acknowledgement_that_no_log_has_is_found() {
    let mut history = asked();
    history.push(record(8, 9, register(4), registered(11)));
    finds(&log().finish(&history), "I10", "no log has it");
    let mut history = asked();
    let release = Ask::Release { epoch: Some(epoch(5)) };
    history.push(record(8, 9, release, Answer::Released { epoch: epoch(11) }));
    finds(&log().finish(&history), "I10", "no log has it");
}

#[test]
fn an_end_that_nobody_asked_for_is_found() {
    let without = |nth: usize| {
        let mut history = asked();
        history.remove(nth);
        log().finish(&history)
    };
    finds(&without(1), "I10", "by Replaced, which nobody asked for");
    finds(&without(2), "I10", "by Asked, which nobody asked for");
    let mut history = asked();
    history[2].outcome = Outcome::NotDone;
    finds(&log().finish(&history), "I10", "by Asked, which nobody asked for");
    let mut check = NothingLost::default();
    check.applied(&applied(5, &registers(5, None)));
    check.applied(&applied(6, &releases(5, ReleaseCause::SessionEnded(SessionId(4)))));
    finds(&check.finish(&[]), "I10", "nobody asked for");
}

#[test]
fn a_state_that_lost_or_invented_a_registration_is_found() {
    for (index, held) in [(5, None), (6, Some(5)), (9, Some(8))] {
        let mut check = log();
        check.shown("n2", Index(index), state(held));
        finds(&check.finish(&asked()), "I10", "n2 at");
    }
}

// I11

#[test]
fn a_replica_that_differs_is_found() {
    let mut check = SameEverywhere::default();
    for (node, life) in [("n1", 1), ("n2", 1), ("n1", 2)] {
        let effects = registers(5, None);
        check.applied(&Applied { node, life, ..applied(5, &effects) });
        check.state(node, Index(5), 77);
    }
    check.state("n1", Index(6), 78);
    check.state("n2", Index(6), 79);
    finds(&check.finish(), "I11", "the state of n2 and of n1 differ");
    let mut check = SameEverywhere::default();
    check.applied(&applied(5, &registers(5, None)));
    check.applied(&applied(5, &registers(5, Some(1))));
    finds(&check.finish(), "I11", "the effects of");
}

// I13

#[test]
fn a_state_that_says_that_it_is_younger_than_it_is_is_found() {
    let (at, ms) = (|millis: u64| at(millis).at, Duration::from_millis);
    let mut check = KnownAges::default();
    check.shown(at(5), "n1", Index(0), ms(5));
    for (millis, index) in [(10, 1), (20, 2), (20, 3), (30, 4)] {
        check.applied(at(millis), Index(index));
    }
    check.applied(at(40), Index(2));
    check.shown(at(50), "n1", Index(4), Duration::ZERO);
    // As if the clocks by which it counted were as slow as may be.
    check.shown(at(120), "n2", Index(3), Duration::from_micros(89_100));
    check.shown(at(120), "n2", Index(0), Duration::MAX);
    check.shown(at(120), "n2", Index(0), ms(120));
    assert_eq!(check.counts(), (4, 1));
    assert_eq!(check.finish(), []);
    for (index, age) in [(3, 19), (2, 29), (0, 39)] {
        let mut check = KnownAges::default();
        for (millis, index) in [(10, 1), (20, 3), (30, 4)] {
            check.applied(at(millis), Index(index));
        }
        check.shown(at(50), "n2", Index(index), ms(age));
        finds(&check.finish(), "I13", "n2 showed");
    }
}

// All of them together, with the real machine.

#[tokio::test(start_paused = true)]
async fn the_real_machine_passes_all_of_them() {
    let history = History::new(Trace::new(Keep::Nothing));
    let mut machine = Machine::new(0);
    let (mut rising, mut one) = (RisingEpochs::default(), OneHolder::default());
    let (mut lost, mut same) = (NothingLost::default(), SameEverywhere::default());
    let mut present = None;
    for index in 1..500u64 {
        let ask = match index * index % 7 {
            0 | 1 => Ask::Register { value: Mark(index), session: None, replace: present },
            2 => Ask::Release { epoch: present },
            _ => register(index),
        };
        let op = match &ask {
            Ask::Register { replace, .. } => claim(*replace),
            _ => Op::Release { name: name(), epoch: present },
        };
        let ticket = history.invoke("c1", "n1", &name(), ask);
        let mut effects = Vec::new();
        let entry = At { index: Index(index), term: 1 };
        let command = Command { once: Once::Free, op: op.clone() };
        let verdict = machine.apply(entry, command, &mut effects);
        if let Verdict::Registered { epoch } = verdict {
            present = Some(epoch);
        }
        history.end(ticket, Outcome::Done(Answer::from_verdict(&verdict).unwrap()));
        let applied = Applied { op: Some(&op), ..applied(index, &effects) };
        rising.applied(&applied);
        one.applied(&applied);
        lost.applied(&applied);
        same.applied(&applied);
        let held = machine.list("", None).map(|held| (held.name.clone(), held.epoch)).collect();
        lost.shown("n1", Index(index), held);
    }
    let records = history.records();
    let hints = BTreeMap::new();
    let report = quorate_sim::check::linear::check(&records, &[], &hints, 1_000_000);
    assert_eq!((report.violations, report.undecided), (vec![], vec![]));
    let found = [rising.finish(&records), one.finish(), lost.finish(&records), same.finish()];
    assert_eq!(found.concat(), []);
}

// I3

/// A process that is told at 10 and ends at 100, and the next epoch of its name.
fn bodies(next_begins: u64) -> Vec<Violation> {
    let mut check = OneAtATime::default();
    check.registered(&name(), epoch(5), at(8));
    let body = check.told(&name(), epoch(5), at(10));
    check.ended(&body, at(100));
    check.registered(&Name::new("other").unwrap(), epoch(6), at(50));
    check.registered(&name(), epoch(7), at(next_begins));
    // Seen on another node later; the first time counts.
    check.registered(&name(), epoch(7), at(next_begins + 1_000));
    check.finish()
}

#[test]
fn a_holder_that_ended_before_the_next_began_passes() {
    assert_eq!(bodies(100), vec![]);
    assert_eq!(bodies(200), vec![]);
}

#[test]
fn a_holder_that_outlived_its_epoch_is_found() {
    finds(&bodies(99), "I3", "lived until 100ms");
}

#[test]
fn a_holder_that_never_ended_is_found() {
    let mut check = OneAtATime::default();
    check.told(&name(), epoch(5), at(10));
    check.registered(&name(), epoch(7), at(50));
    finds(&check.finish(), "I3", "under 5");
}

#[test]
fn a_holder_that_was_told_late_and_ended_at_once_passes() {
    let mut check = OneAtATime::default();
    check.registered(&name(), epoch(7), at(50));
    let body = check.told(&name(), epoch(5), at(60));
    check.ended(&body, at(60));
    assert_eq!(check.finish(), vec![]);
}

// I4

/// A session that was promised half a second at 100 and at 300, and how it ended.
fn renewals(ended_at: u64, evidence: Evidence) -> Vec<Violation> {
    let mut check = AnsweredRenewals::default();
    let session = SessionId(3);
    check.promised(session, at(300), Duration::from_millis(500));
    check.promised(session, at(100), Duration::from_millis(500));
    check.ended(session, evidence, at(ended_at));
    check.ended(SessionId(4), evidence, at(1));
    check.finish()
}

#[test]
fn an_expiry_after_the_promise_passes_and_so_does_an_end_that_was_asked_for() {
    assert_eq!(renewals(800, Evidence::Expired { term: 2 }), vec![]);
    assert_eq!(renewals(400, Evidence::Stopped), vec![]);
}

#[test]
fn an_expiry_within_the_promise_is_found() {
    finds(&renewals(799, Evidence::Expired { term: 2 }), "I4", "session 3 was promised");
}

// The topology

fn rule(from: &str, to: &str, stance: Stance) -> Rule {
    let somebody = |name: &str| match name {
        "*" => Selector::Any,
        name => Selector::Node(name.try_into().unwrap()),
    };
    let (from, to) = (somebody(from), somebody(to));
    Rule { from, to, stance, lanes: Lanes::ALL, rates: [None; 3] }
}

#[test]
fn the_first_rule_that_fits_two_nodes_decides() {
    let rules = [
        rule("n1", "n2", Stance::Allow),
        rule("n1", "*", Stance::Deny),
        rule("n2", "n1", Stance::Deny),
    ];
    let ways = [("n1", "n2"), ("n1", "n3"), ("n2", "n1"), ("n2", "n3"), ("n3", "n1")];
    assert_eq!(ways.map(|(a, b)| forbids(&rules, a, b)), [false, true, true, false, false]);
}

/// A node whose rules shut it off from another at a second, and that has a road until then.
fn road_until(millis: u64) -> Vec<Violation> {
    let shut = [rule("n1", "n2", Stance::Deny), rule("n2", "n1", Stance::Deny)];
    let mut check = Topology::default();
    for now in (0..=10_000).step_by(250) {
        let rules: &[Rule] = if now < 1_000 { &[] } else { &shut };
        let (at, up) = (Duration::from_millis(now), now <= millis);
        check.saw(at, ("n1", 1), "n2", rules, up);
        // What goes one way only has a road; and another life has only begun.
        check.saw(at, ("n1", 1), "n3", &shut[..1], true);
        check.saw(at, ("n1", now), "n2", rules, true);
    }
    check.finish()
}

#[test]
fn a_road_that_is_closed_soon_after_it_was_forbidden_passes() {
    assert_eq!(road_until(3_000), vec![]);
}

#[test]
fn a_road_that_stays_though_it_is_forbidden_is_found() {
    finds(&road_until(3_250), "topology", "life 1 of n1 has a data road to n2");
}
