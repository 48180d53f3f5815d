//! The laws of a view, held against random histories of what sources and the dialler say.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use quorate_discovery::{
    Address, Candidates, Input, Proposal, Rules, Sighting, Standing, Verdict, View, Word,
};
use quorate_vocab::Time;

const SOURCES: usize = 3;
const ADDRESSES: usize = 8;

fn address(number: usize) -> Address {
    Address::parse(&format!("n{number}:4747")).unwrap()
}

fn rules() -> Rules {
    Rules {
        confirmations: 3,
        linger: Duration::from_secs(10),
        again: Duration::from_secs(20),
        burst: 3,
        every: Duration::from_secs(1),
        candidates_max: 6,
    }
}

fn view(rules: Rules) -> View {
    View::new(rules, (0..SOURCES).map(|number| format!("source {number}")))
}

fn snapshot(source: usize, numbers: &[usize]) -> Input {
    let found = numbers.iter().map(|number| (address(*number), Standing::Present)).collect();
    Input::Saw { source, sighting: Sighting::Snapshot(found) }
}

fn heard(number: usize, word: Word) -> Input {
    Input::Heard { address: address(number), word }
}

fn any_input() -> impl Strategy<Value = Input> {
    let standing = prop_oneof![4 => Just(Standing::Present), 1 => Just(Standing::Draining)];
    let found = btree_map((0..ADDRESSES).prop_map(address), standing, 0..6);
    let sighting = prop_oneof![
        4 => found.prop_map(Sighting::Snapshot),
        1 => Just(Sighting::Snapshot(Candidates::new())),
        2 => Just(Sighting::Error("broken".to_owned())),
    ];
    let word = prop_oneof![
        3 => Just(Word::Linked),
        2 => Just(Word::Unlinked),
        2 => Just(Word::Unreachable("nobody".to_owned())),
        1 => Just(Word::Refused("a stranger".to_owned())),
        1 => Just(Word::Itself),
        1 => Just(Word::Answers),
    ];
    prop_oneof![
        6 => (0..SOURCES, sighting).prop_map(|(source, sighting)| Input::Saw { source, sighting }),
        3 => (0..ADDRESSES, word).prop_map(|(number, word)| heard(number, word)),
        1 => Just(Input::Tick),
    ]
}

/// What a history implies, kept apart from the view.
#[derive(Default)]
struct Model {
    newest: BTreeMap<usize, Candidates>,
    /// For each source and address that it named before: since when it does not, and in how many answers.
    missing: BTreeMap<(usize, Address), (Time, u32)>,
    linked: BTreeSet<Address>,
    dialled: BTreeSet<Address>,
    dials: Vec<(Time, Address)>,
}

impl Model {
    fn hear(&mut self, now: Time, input: &Input, before: &BTreeSet<Address>) {
        match input {
            Input::Saw { source, sighting: Sighting::Snapshot(found) } => {
                for number in 0..ADDRESSES {
                    let key = (*source, address(number));
                    if found.contains_key(&key.1) {
                        self.missing.remove(&key);
                    } else {
                        self.missing.entry(key).or_insert((now, 0)).1 += 1;
                    }
                }
                self.newest.insert(*source, found.clone());
            }
            // Of whom nobody has spoken, nothing is remembered.
            Input::Heard { address, word: Word::Linked } if before.contains(address) => {
                self.linked.insert(address.clone());
            }
            Input::Heard { address, .. } => {
                self.linked.remove(address);
            }
            _ => {}
        }
    }

    /// Whether some source's newest answer has it.
    fn is_named(&self, address: &Address) -> bool {
        self.newest.values().any(|found| found.contains_key(address))
    }

    /// Whether an answer of this source at this moment confirms that the address is missing.
    fn is_confirmed(&self, now: Time, source: usize, address: &Address) -> bool {
        let rules = rules();
        let missing = self.missing.get(&(source, address.clone()));
        missing.is_some_and(|(since, answers)| {
            *answers >= rules.confirmations && now >= *since + rules.linger
        })
    }

    fn take(&mut self, now: Time, proposals: &[Proposal]) {
        for proposal in proposals {
            match proposal {
                Proposal::Dial(address) => {
                    assert!(self.dialled.insert(address.clone()), "{address} was dialled already");
                    let is_present =
                        |found: &Candidates| found.get(address) == Some(&Standing::Present);
                    assert!(self.newest.values().any(is_present), "nobody stands for {address}");
                    let last = self.dials.iter().rev().find(|(_, dialled)| dialled == address);
                    let too_soon = last.is_some_and(|(at, _)| now < *at + rules().again);
                    assert!(!too_soon, "{address} was dialled a short while ago");
                    self.dials.push((now, address.clone()));
                }
                Proposal::Withdraw(address) => {
                    assert!(self.dialled.remove(address), "{address} was not dialled");
                    assert!(!self.linked.contains(address), "{address} is linked");
                }
            }
        }
    }

    /// Any stretch of dials fits into the bucket.
    fn check_pace(&self) {
        for (at, (from, _)) in self.dials.iter().enumerate() {
            for (more, (to, _)) in self.dials[at..].iter().enumerate() {
                let earned = to.since(*from).as_nanos() / rules().every.as_nanos();
                let allowed = u128::from(rules().burst) + earned;
                assert!((more as u128) < allowed, "a storm of dials");
            }
        }
    }
}

fn set(view: &View) -> BTreeSet<Address> {
    view.candidates().cloned().collect()
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2048,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_laws_hold_in_every_history(
        history in vec((any_input(), 0_u64..6_000), 1..120),
    ) {
        let (mut view, mut model) = (view(rules()), Model::default());
        let mut now = Time(1_000_000_000_000);
        for (input, after_ms) in history {
            now = now + Duration::from_millis(after_ms);
            let before = set(&view);
            let mut out = Vec::new();
            model.hear(now, &input, &before);
            view.step(now, input.clone(), &mut out);
            model.take(now, &out);
            let after = set(&view);
            // What found no place was not taken in; who named it names it again.
            if let Input::Saw { source, sighting: Sighting::Snapshot(_) } = &input {
                model.newest.get_mut(source).unwrap().retain(|address, _| after.contains(address));
            }
            let gone: Vec<&Address> = before.difference(&after).collect();
            match &input {
                Input::Saw { source, sighting: Sighting::Snapshot(_) } => {
                    for address in gone {
                        prop_assert!(model.is_confirmed(now, *source, address), "{address} is lost");
                        prop_assert!(!model.linked.contains(address), "{address} is linked");
                    }
                }
                Input::Heard { address: told, word: Word::Unlinked | Word::Unreachable(_) } => {
                    for address in gone {
                        prop_assert!(address == told && !model.is_named(address), "{address} is lost");
                    }
                }
                _ => prop_assert!(gone.is_empty(), "{input:?} shrinks the view"),
            }
            if matches!(input, Input::Saw { sighting: Sighting::Error(_), .. }) {
                let withdraws = out.iter().any(|one| matches!(one, Proposal::Withdraw(_)));
                prop_assert!(!withdraws, "an error withdraws");
            }
            prop_assert!(after.len() <= rules().candidates_max);
            prop_assert_eq!(view.proposed().cloned().collect::<BTreeSet<_>>(), model.dialled.clone());
            let mut again = Vec::new();
            view.step(now, Input::Tick, &mut again);
            prop_assert_eq!(again, vec![], "asked once more, it changes its mind");
        }
        model.check_pace();
    }

    #[test]
    fn whoever_is_named_is_proposed_in_the_end(
        history in vec((any_input(), 0_u64..3_000), 0..40),
        numbers in vec(0..ADDRESSES, 1..5),
    ) {
        let roomy = Rules { candidates_max: 2 * ADDRESSES, ..rules() };
        let mut view = view(roomy);
        let mut now = Time(1_000_000_000_000);
        let mut themselves = BTreeSet::new();
        for (input, after_ms) in history {
            now = now + Duration::from_millis(after_ms);
            if let Input::Heard { address, word: Word::Itself } = &input {
                themselves.insert(address.clone());
            }
            view.step(now, input, &mut Vec::new());
        }
        view.step(now, snapshot(0, &numbers), &mut Vec::new());
        for _ in 0..10 * ADDRESSES {
            let Some(at) = view.deadline(now) else { break };
            prop_assert!(at >= now);
            now = at;
            view.step(now, Input::Tick, &mut Vec::new());
        }
        prop_assert_eq!(view.deadline(now), None, "it comes to rest");
        let proposed: BTreeSet<&Address> = view.proposed().collect();
        for address in numbers.into_iter().map(address) {
            prop_assert!(proposed.contains(&address) || themselves.contains(&address), "{}", address);
        }
    }
}

#[test]
fn an_empty_answer_shrinks_nothing_until_it_was_repeated_for_a_while() {
    let (mut view, mut out) = (view(rules()), Vec::new());
    let begin = Time(1_000_000_000_000);
    view.step(begin, snapshot(0, &[1, 2]), &mut out);
    assert_eq!(out, [Proposal::Dial(address(1)), Proposal::Dial(address(2))]);
    out.clear();
    for second in 1..=10 {
        view.step(begin + Duration::from_secs(second), snapshot(0, &[]), &mut out);
        assert_eq!(out, [], "{second} s");
    }
    view.step(begin + Duration::from_secs(11), snapshot(0, &[]), &mut out);
    assert_eq!(out, [Proposal::Withdraw(address(1)), Proposal::Withdraw(address(2))]);
    assert_eq!(view.candidates().count(), 0);
}

#[test]
fn an_absence_is_confirmed_by_the_dialler_and_only_after_the_answer_that_lacks_it() {
    let (mut view, mut out) = (view(rules()), Vec::new());
    let now = Time(1_000_000_000_000);
    let unreachable = || Word::Unreachable("refused".to_owned());
    view.step(now, snapshot(0, &[1, 2]), &mut out);
    view.step(now, heard(1, unreachable()), &mut out);
    assert_eq!(view.candidates().count(), 2, "a node that is not up yet is not lost");
    view.step(now, snapshot(0, &[2]), &mut out);
    assert_eq!(view.candidates().count(), 2);
    out.clear();
    view.step(now, heard(1, unreachable()), &mut out);
    assert_eq!(out, [Proposal::Withdraw(address(1))]);
}

#[test]
fn what_is_linked_outlives_its_source_s_word_and_goes_with_its_link() {
    let (mut view, mut out) = (view(rules()), Vec::new());
    let begin = Time(1_000_000_000_000);
    view.step(begin, snapshot(0, &[1]), &mut out);
    view.step(begin, heard(1, Word::Linked), &mut out);
    out.clear();
    for second in 0..100 {
        view.step(begin + Duration::from_secs(second), snapshot(0, &[]), &mut out);
    }
    assert_eq!(out, []);
    let report = &view.explain(begin).candidates[0];
    assert_eq!((report.missing, &report.verdict), (true, &Verdict::Linked));
    view.step(begin + Duration::from_secs(100), heard(1, Word::Unlinked), &mut out);
    assert_eq!(out, [Proposal::Withdraw(address(1))]);
}

#[test]
fn a_draining_node_is_kept_and_not_newly_proposed() {
    let (mut view, mut out) = (view(rules()), Vec::new());
    let now = Time(1_000_000_000_000);
    view.step(now, snapshot(0, &[1]), &mut out);
    out.clear();
    let draining = [1, 2].map(|number| (address(number), Standing::Draining));
    let sighting = Sighting::Snapshot(draining.into());
    view.step(now, Input::Saw { source: 0, sighting }, &mut out);
    assert_eq!(out, []);
    assert_eq!(view.proposed().collect::<Vec<_>>(), [&address(1)]);
    assert_eq!(view.explain(now).candidates[1].verdict, Verdict::Draining);
}

#[test]
fn a_view_explains_its_sources_and_why_each_candidate_is_used_or_not() {
    let (mut view, mut out) = (view(rules()), Vec::new());
    let begin = Time(1_000_000_000_000);
    view.step(begin, snapshot(0, &[0, 1, 2, 3, 4]), &mut out);
    view.step(begin, heard(0, Word::Itself), &mut out);
    view.step(begin, heard(1, Word::Refused("another cluster".to_owned())), &mut out);
    let broken = Sighting::Error("SERVFAIL".to_owned());
    view.step(begin, Input::Saw { source: 1, sighting: broken }, &mut out);
    let told = view.explain(begin + Duration::from_secs(1));
    let verdicts: Vec<&str> = told.candidates.iter().map(|one| one.verdict.word()).collect();
    // The bucket holds three, and one of the candidates needs none.
    assert_eq!(verdicts, ["self", "refused", "proposed", "waiting", "waiting"]);
    assert_eq!(told.candidates[1].verdict.to_string(), "refused: another cluster");
    assert_eq!(told.candidates[1].sources, ["source 0"]);
    let [good, bad, silent] = &told.sources[..] else { panic!("{told:?}") };
    assert_eq!((good.answers, good.found, good.failing), (1, 5, false));
    assert_eq!(good.answered_ago, Some(Duration::from_secs(1)));
    assert_eq!((bad.errors, bad.failing, bad.answered_ago), (1, true, None));
    assert_eq!(bad.last_error, Some((Duration::from_secs(1), "SERVFAIL".to_owned())));
    assert_eq!((silent.answers, silent.errors), (0, 0));
}

#[test]
fn an_address_that_others_crowd_out_is_not_proposed_again_too_soon() {
    let (mut view, mut out) = (view(rules()), Vec::new());
    let begin = Time(1_000_000_000_000);
    view.step(begin, snapshot(0, &[4]), &mut out);
    view.step(begin, snapshot(0, &[]), &mut out);
    view.step(begin, heard(4, Word::Unlinked), &mut out);
    assert_eq!(out, [Proposal::Dial(address(4)), Proposal::Withdraw(address(4))]);
    view.step(begin, snapshot(1, &[0, 1, 2, 3, 5, 6]), &mut Vec::new());
    out.clear();
    view.step(begin + Duration::from_secs(19), snapshot(0, &[4]), &mut out);
    assert!(!out.contains(&Proposal::Dial(address(4))));
    view.step(begin + Duration::from_secs(20), Input::Tick, &mut out);
    assert!(out.contains(&Proposal::Dial(address(4))));
}

#[test]
fn more_than_a_view_holds_is_left_out_and_said() {
    let (mut view, mut out) = (view(rules()), Vec::new());
    let now = Time(1_000_000_000_000);
    view.step(now, snapshot(0, &[0, 1, 2, 3, 4, 5, 6, 7]), &mut out);
    let told = view.explain(now);
    assert_eq!((told.candidates.len(), told.sources[0].left_out), (6, 2));
}
