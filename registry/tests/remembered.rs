//! Leases over changes of leaders where voters remember: a holder, three voters that may lead, and clocks
//! that disagree. Whatever is lost, late or forgotten, the holder's deadline comes first.

use crate::common;

use std::collections::BTreeSet;
use std::time::Duration;

use common::cases;
use proptest::collection::vec;
use proptest::prelude::*;
use quorate_registry::lease::memory::{Footing, Office};
use quorate_registry::lease::{Grantor, Holder, Memory, Terms, grantor, holder};
use quorate_vocab::{Index, NodeId, SessionId, Time};

const S: SessionId = SessionId(7);
const TTL: Duration = Duration::from_millis(400);
const FOOTING: Footing = Footing { office: office(1), index: Index(1) };

const fn office(term: u64) -> Office {
    Office { term, leader: NodeId(0) }
}

fn ms(ms: u64) -> Time {
    Time(1_000_000_000_000) + Duration::from_millis(ms)
}

fn terms(drift_ppm: i64) -> Terms {
    Terms::new(Duration::from_millis(5), drift_ppm as f64 / 1e6).unwrap()
}

/// A leader at 0, in its third term, of whom voters say that the session has been silent for some time.
fn told(silent: Duration) -> Grantor {
    let (mut leader, sessions) = (Grantor::new(terms(10_000)), vec![(S, TTL)]);
    leader.step(ms(0), grantor::Input::Elected { term: 3, sessions }, &mut Vec::new());
    leader.step(ms(10), recalled(silent), &mut Vec::new());
    leader.check();
    leader
}

fn recalled(silent: Duration) -> grantor::Input {
    grantor::Input::Recalled { term: 3, ages: vec![(S, silent)] }
}

/// When it asks for the first expiry.
fn first_expiry(mut leader: Grantor) -> Time {
    let mut out = Vec::new();
    loop {
        let now = leader.deadline().expect("it watches");
        leader.step(now, grantor::Input::Tick, &mut out);
        if !out.is_empty() {
            return now;
        }
    }
}

#[test]
fn a_new_leader_counts_on_from_what_voters_remember() {
    let wait = terms(10_000).wait(TTL);
    let silent = Duration::from_millis(200);
    assert_eq!(first_expiry(told(silent)), ms(10) + (wait - silent));
    // It never waits for longer than without their word.
    assert_eq!(first_expiry(told(Duration::ZERO)), ms(0) + wait);
}

#[test]
fn whoever_had_no_leader_for_long_has_a_quarter_of_the_wait_to_find_the_new_one() {
    let quarter = terms(10_000).wait(TTL) / 4;
    assert_eq!(first_expiry(told(Duration::from_secs(60))), ms(0) + quarter);
}

#[test]
fn what_a_leader_heard_itself_is_not_taken_back_by_what_others_remember() {
    let wait = terms(10_000).wait(TTL);
    let elected = |term| grantor::Input::Elected { term, sessions: vec![(S, TTL)] };
    let begun = |term| {
        let mut leader = Grantor::new(terms(10_000));
        leader.step(ms(0), elected(term), &mut Vec::new());
        leader
    };
    let late = Duration::from_millis(350);

    let mut renewed = begun(3);
    renewed.step(ms(5), grantor::Input::Renewed { session: S }, &mut Vec::new());
    renewed.step(ms(10), recalled(late), &mut Vec::new());
    assert_eq!(first_expiry(renewed), ms(5) + wait);

    let mut of_another_term = begun(4);
    of_another_term.step(ms(10), recalled(late), &mut Vec::new());
    assert_eq!(first_expiry(of_another_term), ms(0) + wait);

    // In a term that began once more, renewals of the first time may have been answered.
    let mut again = begun(3);
    again.step(ms(5), elected(3), &mut Vec::new());
    again.step(ms(10), recalled(late), &mut Vec::new());
    assert_eq!(first_expiry(again), ms(5) + wait);

    let mut paused = begun(3);
    paused.step(ms(300), recalled(late), &mut Vec::new());
    assert_eq!(first_expiry(paused), ms(300) + wait);
}

struct Voter {
    clock: Time,
    memory: Memory,
    /// The latest term on its disk.
    seen: u64,
    grantor: Grantor,
}

impl Voter {
    fn stand(&mut self, term: u64) {
        self.seen = self.seen.max(term);
        self.memory.stand(self.clock, office(self.seen), Some(FOOTING));
    }

    fn restart(&mut self, drift_ppm: i64) {
        (self.memory, self.grantor) = (Memory::default(), Grantor::new(terms(drift_ppm)));
        self.memory.open(self.clock, S);
        self.stand(0);
    }
}

/// A renewal that a leader has heard.
struct Heard {
    leader: usize,
    term: u64,
    seq: u64,
    stored: BTreeSet<usize>,
    confirmed: bool,
}

struct World {
    drift_ppm: i64,
    clock: Time,
    holder: Holder,
    voters: Vec<Voter>,
    leader: usize,
    term: u64,
    /// How long its leader has been in office, by its clock.
    in_office: Option<Time>,
    lives: bool,
    sent: Vec<u64>,
    heard: Vec<Heard>,
    answered: Vec<u64>,
    seq: u64,
    expiries: usize,
    /// Of those, how many came before a whole wait was over.
    early: usize,
}

#[derive(Clone, Copy, Debug)]
enum Act {
    Send,
    Hear,
    /// A voter is told of a renewal.
    Store(usize, usize),
    /// A majority says who leads.
    Confirm(usize),
    Answer(usize),
    Deliver(usize),
    Lose(usize),
    Elect(usize),
    TakeOffice,
    /// Two voters answer a recall.
    Recall(usize),
    Restart(usize),
    LearnOfDefeat(usize),
    Rest,
}

impl World {
    fn new(drift_ppm: i64) -> Self {
        let voter = |nth: u64| {
            let (memory, grantor) = (Memory::default(), Grantor::new(terms(drift_ppm)));
            let mut voter = Voter { clock: ms(nth * 77_000), memory, seen: 1, grantor };
            voter.restart(drift_ppm);
            voter
        };
        let mut world = Self {
            drift_ppm,
            clock: ms(0),
            holder: Holder::new(TTL),
            voters: (0..3).map(voter).collect(),
            leader: 0,
            term: 0,
            in_office: None,
            lives: true,
            sent: vec![],
            heard: vec![],
            answered: vec![],
            seq: 0,
            expiries: 0,
            early: 0,
        };
        world.act(Act::Elect(0));
        world.act(Act::TakeOffice);
        world
    }

    fn pass(&mut self, real_ms: u64, rates: [i64; 4]) {
        let clocks = self.voters.iter_mut().map(|voter| &mut voter.clock);
        for (clock, rate) in std::iter::once(&mut self.clock).chain(clocks).zip(rates) {
            let ppm = 1_000_000 + rate.clamp(-self.drift_ppm, self.drift_ppm);
            *clock = *clock + Duration::from_nanos(real_ms * ppm as u64);
        }
    }

    fn hold(&mut self, input: holder::Input) {
        self.holder.step(self.clock, input, &mut Vec::new());
        self.holder.check();
    }

    fn lead(&mut self, who: usize, input: grantor::Input) {
        let (mut out, now) = (Vec::new(), self.voters[who].clock);
        self.voters[who].grantor.step(now, input, &mut out);
        self.voters[who].grantor.check();
        for grantor::Output::Expire { term, .. } in out {
            if self.lives && (who, term) == (self.leader, self.term) {
                assert!(!self.holder.is_valid(self.clock), "I3: {:?}", self.holder);
                self.expiries += 1;
                let whole = terms(self.drift_ppm).wait(TTL);
                self.early += usize::from(self.in_office.is_some_and(|at| now.since(at) < whole));
                self.lives = false;
            }
        }
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Send => {
                self.seq += 1;
                self.hold(holder::Input::Sent { seq: self.seq });
                self.sent.push(self.seq);
            }
            Act::Hear if !self.sent.is_empty() => {
                let (leader, term, seq) = (self.leader, self.term, self.sent.remove(0));
                let counts = self.voters[leader].grantor.term() == Some(term);
                self.lead(leader, grantor::Input::Renewed { session: S });
                if counts {
                    let (stored, confirmed) = (BTreeSet::new(), false);
                    self.heard.push(Heard { leader, term, seq, stored, confirmed });
                }
            }
            Act::Store(which, voter) => {
                let Some(heard) = self.heard.get_mut(which) else { return };
                let (voter, at) = (&mut self.voters[voter], voter);
                if voter.memory.store(voter.clock, office(heard.term), &[S]) {
                    heard.stored.insert(at);
                }
            }
            Act::Confirm(which) => {
                let present = (self.leader, self.term);
                if let Some(heard) = self.heard.get_mut(which) {
                    heard.confirmed |= self.lives && (heard.leader, heard.term) == present;
                }
            }
            Act::Answer(which) => {
                let Some(heard) = self.heard.get(which) else { return };
                let grantor = &self.voters[heard.leader].grantor;
                let counts = grantor.term() == Some(heard.term) && grantor.admits(S);
                if counts && heard.confirmed && heard.stored.len() >= 2 {
                    self.answered.push(heard.seq);
                    self.heard.remove(which);
                }
            }
            Act::Deliver(which) if which < self.answered.len() => {
                let seq = self.answered.remove(which);
                self.hold(holder::Input::Confirmed { seq });
            }
            Act::Lose(which) if which < self.sent.len() => drop(self.sent.remove(which)),
            Act::Elect(who) => {
                (self.leader, self.term, self.in_office) = (who, self.term + 1, None);
                self.lead(who, grantor::Input::Deposed);
            }
            Act::TakeOffice if self.in_office.is_none() => {
                self.in_office = Some(self.voters[self.leader].clock);
                let sessions = if self.lives { vec![(S, TTL)] } else { vec![] };
                self.lead(self.leader, grantor::Input::Elected { term: self.term, sessions });
            }
            Act::Recall(without) if self.in_office.is_some() => {
                let term = self.term;
                let answers = self.voters.iter_mut().enumerate().filter(|(at, _)| *at != without);
                let youngest = answers.map(|(_, voter)| {
                    voter.stand(term);
                    let ages = voter.memory.recall(voter.clock, office(term), FOOTING, &[S]);
                    ages.expect("it stands where the leader stands")[0]
                });
                let ages = vec![(S, youngest.min().unwrap())];
                self.lead(self.leader, grantor::Input::Recalled { term, ages });
            }
            Act::Restart(who) => {
                self.voters[who].restart(self.drift_ppm);
                // Whoever led begins anew as nobody's leader, and has forgotten who asked.
                self.heard.retain(|heard| heard.leader != who);
            }
            Act::LearnOfDefeat(who) if who != self.leader => {
                self.lead(who, grantor::Input::Deposed);
            }
            _ => {}
        }
    }
}

type Moment = (Act, u64, [i64; 4], bool);

/// How often the session was condemned, and how often before a whole wait.
fn run(drift_ppm: i64, moments: &[Moment]) -> (usize, usize) {
    let mut world = World::new(drift_ppm);
    for (act, real_ms, rates, asleep) in moments {
        world.pass(*real_ms, *rates);
        world.act(*act);
        for who in 0..3 {
            if !asleep {
                world.lead(who, grantor::Input::Tick);
            }
        }
        assert!(world.lives || !world.holder.is_valid(world.clock), "I3: revived");
    }
    (world.expiries, world.early)
}

fn moments() -> impl Strategy<Value = Vec<Moment>> {
    let rate =
        || prop_oneof![3 => Just(-200_000_i64), 3 => Just(200_000), 1 => -200_000..200_000_i64];
    // What happens before the new leader knows of it, and whom it does not ask.
    let election = proptest::option::weighted(0.7, (0..3_usize, vec(lively(), 0..8), 0..3_usize));
    let phase = prop_oneof![
        3 => vec((lively(), 1..8_u64, Just(false)), 5..60),
        3 => vec((silent(), 5..20_u64, Just(false)), 5..40),
        2 => vec((wild(), 1..40_u64, any::<bool>()), 5..40),
    ];
    vec(([rate(), rate(), rate(), rate()], election, phase), 1..8).prop_map(|phases| {
        let mut moments = Vec::new();
        for (rates, election, phase) in phases {
            let mut acts = Vec::new();
            if let Some((who, before, without)) = election {
                acts.push(Act::Elect(who));
                acts.extend(before);
                acts.extend([Act::TakeOffice, Act::Recall(without)]);
            }
            let acts = acts.into_iter().map(|act| (act, 1, false)).chain(phase);
            moments.extend(acts.map(|(act, span, asleep)| (act, span, rates, asleep)));
        }
        moments
    })
}

fn lively() -> impl Strategy<Value = Act> {
    prop_oneof![
        2 => Just(Act::Send),
        2 => Just(Act::Hear),
        4 => (0..2_usize, 0..3_usize).prop_map(|(which, voter)| Act::Store(which, voter)),
        2 => (0..2_usize).prop_map(Act::Confirm),
        2 => (0..2_usize).prop_map(Act::Answer),
        2 => (0..2_usize).prop_map(Act::Deliver),
    ]
}

fn silent() -> impl Strategy<Value = Act> {
    prop_oneof![
        20 => Just(Act::Rest),
        2 => Just(Act::Deliver(0)),
        1 => Just(Act::Answer(0)),
        1 => (0..3_usize).prop_map(Act::Recall),
    ]
}

fn wild() -> impl Strategy<Value = Act> {
    prop_oneof![
        8 => lively(),
        1 => (0..4_usize).prop_map(Act::Lose),
        1 => (0..3_usize).prop_map(Act::Elect),
        2 => Just(Act::TakeOffice),
        1 => (0..3_usize).prop_map(Act::Recall),
        1 => (0..3_usize).prop_map(Act::Restart),
        1 => (0..3_usize).prop_map(Act::LearnOfDefeat),
    ]
}

#[test]
fn the_random_schedules_do_expire_sessions_before_a_whole_wait() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (mut expired, mut early) = (0, 0);
    for _ in 0..200 {
        let moments = moments().new_tree(&mut runner).unwrap().current();
        let (all, before) = run(10_000, &moments);
        expired += all;
        early += before;
    }
    assert!(expired > 40 && early > 20, "{expired} {early}");
}

proptest! {
    #![proptest_config(cases(1024))]

    #[test]
    fn the_holder_s_deadline_comes_before_the_expiry_of_any_leader_that_counts_on(
        drift_ppm in prop_oneof![Just(200_000_i64), 0..200_000_i64],
        moments in moments(),
    ) {
        run(drift_ppm, &moments);
    }
}
