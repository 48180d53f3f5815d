//! Both sides of a lease: each by itself, and the two against each other with clocks that disagree.

use crate::common;

use std::collections::BTreeMap;
use std::time::Duration;

use common::cases;
use proptest::collection::vec;
use proptest::prelude::*;
use quorate_registry::lease::{Grantor, Holder, Terms, grantor, holder};
use quorate_vocab::{SessionId, Time};

const S: SessionId = SessionId(7);
const TTL: Duration = Duration::from_millis(2000);
const GUARD: Duration = Duration::from_millis(100);

fn ms(ms: u64) -> Time {
    Time(1_000_000_000_000) + Duration::from_millis(ms)
}

fn terms() -> Terms {
    Terms::new(GUARD, 0.01).unwrap()
}

struct Leader(Grantor);

impl Leader {
    /// Elected at time 0 in term 3.
    fn of(sessions: &[(SessionId, Duration)]) -> Self {
        let mut leader = Self(Grantor::new(terms()));
        let sessions = sessions.to_vec();
        leader.step(ms(0), grantor::Input::Elected { term: 3, sessions });
        leader
    }

    fn step(&mut self, now: Time, input: grantor::Input) -> Vec<SessionId> {
        let mut out = Vec::new();
        self.0.step(now, input, &mut out);
        self.0.check();
        let session = |grantor::Output::Expire { session, term }| {
            assert_eq!(term, 3);
            session
        };
        out.into_iter().map(session).collect()
    }

    /// Steps whenever it wants to be woken, until `end`; says when it asked for what.
    fn run(&mut self, end: Time) -> Vec<(Time, SessionId)> {
        let mut asked = Vec::new();
        while let Some(now) = self.0.deadline().filter(|at| *at <= end) {
            asked.extend(self.step(now, grantor::Input::Tick).into_iter().map(|s| (now, s)));
        }
        asked
    }
}

#[test]
fn a_silent_session_is_expired_after_the_wait_and_not_before() {
    let wait = terms().wait(TTL);
    let mut leader = Leader::of(&[(S, TTL)]);
    let asked = leader.run(ms(2200));
    assert_eq!(asked, [(ms(0) + wait, S)]);
    assert!(wait > Duration::from_millis(2142));
}

#[test]
fn every_renew_that_is_received_starts_the_count_anew() {
    let wait = terms().wait(TTL);
    let mut leader = Leader::of(&[(S, TTL)]);
    for at in (400..=4000).step_by(400) {
        assert_eq!(leader.run(ms(at)), []);
        leader.step(ms(at), grantor::Input::Renewed { session: S });
    }
    assert_eq!(leader.run(ms(6200)), [(ms(4000) + wait, S)]);
}

#[test]
fn a_session_is_counted_from_its_opening_and_no_longer_than_to_its_end() {
    let other = SessionId(9);
    let mut leader = Leader::of(&[(S, TTL)]);
    leader.run(ms(1000));
    leader.step(ms(1000), grantor::Input::Opened { session: other, ttl: TTL });
    leader.step(ms(1000), grantor::Input::Ended { session: S });
    assert!(!leader.0.admits(S) && leader.0.admits(other));
    assert_eq!(leader.run(ms(3200)), [(ms(1000) + terms().wait(TTL), other)]);
}

#[test]
fn a_session_without_a_time_to_live_is_never_expired() {
    let mut leader = Leader::of(&[(S, Duration::ZERO)]);
    assert_eq!(leader.0.deadline(), None);
    assert_eq!(leader.step(ms(1_000_000), grantor::Input::Tick), []);
}

#[test]
fn a_session_that_is_condemned_is_asked_for_again_and_not_renewed() {
    let mut leader = Leader::of(&[(S, TTL)]);
    let first = leader.run(ms(2200))[0].0;
    assert!(!leader.0.admits(S));
    leader.step(ms(2200), grantor::Input::Renewed { session: S });
    assert!(!leader.0.admits(S));

    let again = leader.run(ms(3500));
    let quarter = terms().wait(TTL) / 4;
    assert_eq!(again, [(first + quarter, S), (first + quarter * 2, S)]);
    leader.step(ms(3500), grantor::Input::Ended { session: S });
    assert_eq!(leader.run(ms(60_000)), []);
    assert_eq!(leader.0.deadline(), None);
}

#[test]
fn a_leader_that_paused_starts_its_counts_anew() {
    let mut leader = Leader::of(&[(S, TTL)]);
    leader.run(ms(1000));
    let woke = ms(60_000);
    assert_eq!(leader.step(woke, grantor::Input::Tick), []);
    assert_eq!(leader.run(woke + TTL), []);
    assert_eq!(leader.run(woke + TTL * 2)[0], (woke + terms().wait(TTL), S));
}

#[test]
fn one_short_session_does_not_keep_the_long_ones_alive() {
    let short = SessionId(9);
    let mut leader = Leader::of(&[(S, TTL), (short, Duration::from_millis(1))]);
    // Gaps of 100 ms are a pause for the short one, and nothing for the long one.
    let mut asked = Vec::new();
    for at in (100..=2300).step_by(100) {
        asked.extend(leader.step(ms(at), grantor::Input::Tick));
    }
    assert_eq!(asked, [S]);
}

#[test]
fn a_new_leader_starts_every_wait_at_its_election_and_a_deposed_one_expires_nothing() {
    let mut leader = Leader::of(&[(S, TTL)]);
    leader.run(ms(1500));
    leader.step(ms(1500), grantor::Input::Deposed);
    assert_eq!(leader.0.deadline(), None);
    assert!(!leader.0.admits(S));
    assert_eq!(leader.step(ms(9000), grantor::Input::Tick), []);

    let sessions = vec![(S, TTL)];
    leader.step(ms(9000), grantor::Input::Elected { term: 3, sessions });
    assert_eq!(leader.run(ms(11_200)), [(ms(9000) + terms().wait(TTL), S)]);
}

#[test]
fn a_term_that_begins_once_more_starts_the_waits_anew_and_forgets_no_condemned() {
    let other = SessionId(S.0 + 1);
    let mut leader = Leader::of(&[(S, TTL), (other, TTL)]);
    leader.run(ms(1500));
    leader.step(ms(1500), grantor::Input::Renewed { session: other });
    let asked = leader.run(ms(3000));
    assert!(asked.iter().all(|(_, session)| *session == S) && !asked.is_empty(), "{asked:?}");

    let sessions = vec![(S, TTL), (other, TTL)];
    leader.step(ms(3000), grantor::Input::Elected { term: 3, sessions });
    assert!(!leader.0.admits(S), "its expiry may yet be applied");
    leader.step(ms(3001), grantor::Input::Renewed { session: S });
    assert!(!leader.0.admits(S) && leader.0.admits(other));
    let asked = leader.run(ms(5500));
    let first = |which| asked.iter().find(|(_, session)| *session == which).map(|(at, _)| *at);
    assert!(first(S).is_some_and(|at| at < ms(4000)), "it is asked for again: {asked:?}");
    assert_eq!(first(other), Some(ms(3000) + terms().wait(TTL)));

    // Who has ended meanwhile is forgotten.
    leader.step(ms(5500), grantor::Input::Elected { term: 3, sessions: vec![(other, TTL)] });
    assert!(leader.run(ms(7000)).iter().all(|(_, session)| *session == other));
}

#[test]
fn many_sessions_are_renewed_and_expired_in_little_time() {
    let sessions: Vec<_> = (0..20_000).map(|id| (SessionId(id), TTL)).collect();
    let mut leader = Grantor::new(terms());
    let mut out = Vec::new();
    leader.step(ms(0), grantor::Input::Elected { term: 1, sessions }, &mut out);
    for step in 0..200_000_u64 {
        let session = SessionId(step % 10_000);
        leader.step(ms(step / 80), grantor::Input::Renewed { session }, &mut out);
    }
    leader.check();
    let expired: Vec<_> =
        out.iter().map(|grantor::Output::Expire { session, .. }| session.0).collect();
    assert_eq!(expired, (10_000..20_000).collect::<Vec<_>>());
}

fn step(holder: &mut Holder, now: Time, input: holder::Input) -> bool {
    let mut out = Vec::new();
    holder.step(now, input, &mut out);
    holder.check();
    !out.is_empty()
}

#[test]
fn a_lease_is_counted_from_the_sending_of_the_newest_confirmed_renew() {
    use holder::Input::{Confirmed, Sent, Tick};
    let mut holder = Holder::new(TTL);
    assert!(!holder.is_valid(ms(0)));
    step(&mut holder, ms(0), Sent { seq: 1 });
    assert_eq!(holder.deadline(), None);
    step(&mut holder, ms(900), Confirmed { seq: 1 });
    assert_eq!(holder.deadline(), Some(ms(2000)));

    step(&mut holder, ms(1000), Sent { seq: 2 });
    step(&mut holder, ms(1100), Sent { seq: 3 });
    step(&mut holder, ms(1200), Confirmed { seq: 3 });
    assert_eq!(holder.deadline(), Some(ms(3100)));
    // The older one comes late, and an answer to something never sent changes nothing.
    step(&mut holder, ms(1300), Confirmed { seq: 2 });
    step(&mut holder, ms(1300), Confirmed { seq: 99 });
    assert_eq!(holder.deadline(), Some(ms(3100)));

    assert!(holder.is_valid(ms(3099)) && !holder.is_valid(ms(3100)));
    assert!(!step(&mut holder, ms(3099), Tick));
    assert!(step(&mut holder, ms(3100), Tick));
    assert!(!step(&mut holder, ms(3101), Tick), "it is lost once");
}

#[test]
fn a_lost_lease_is_not_revived_by_an_answer_that_comes_late() {
    use holder::Input::{Confirmed, Sent};
    let mut holder = Holder::new(TTL);
    step(&mut holder, ms(0), Sent { seq: 1 });
    step(&mut holder, ms(10), Confirmed { seq: 1 });
    step(&mut holder, ms(1900), Sent { seq: 2 });
    assert!(step(&mut holder, ms(2000), Confirmed { seq: 2 }), "the time is looked at first");
    step(&mut holder, ms(2100), Sent { seq: 3 });
    step(&mut holder, ms(2101), Confirmed { seq: 3 });
    assert!(holder.is_lost() && !holder.is_valid(ms(2102)));
}

#[test]
fn a_first_answer_that_comes_after_its_lease_gives_none() {
    let mut holder = Holder::new(TTL);
    step(&mut holder, ms(0), holder::Input::Sent { seq: 1 });
    assert!(step(&mut holder, ms(2000), holder::Input::Confirmed { seq: 1 }));
    assert!(holder.is_lost());
}

#[test]
fn a_number_that_is_sent_again_counts_from_its_first_sending() {
    use holder::Input::{Confirmed, Sent};
    let mut holder = Holder::new(TTL);
    step(&mut holder, ms(0), Sent { seq: 1 });
    step(&mut holder, ms(500), Sent { seq: 1 });
    step(&mut holder, ms(600), Confirmed { seq: 1 });
    assert_eq!(holder.deadline(), Some(ms(2000)));
    step(&mut holder, ms(700), Sent { seq: 1 });
    step(&mut holder, ms(800), Confirmed { seq: 1 });
    assert_eq!(holder.deadline(), Some(ms(2000)));
}

#[test]
fn renews_that_nobody_answers_do_not_pile_up() {
    let mut holder = Holder::new(TTL);
    for seq in 0..10_000 {
        step(&mut holder, ms(seq), holder::Input::Sent { seq });
    }
    step(&mut holder, ms(10_000), holder::Input::Confirmed { seq: 0 });
    assert_eq!(holder.deadline(), None, "its sending is forgotten");
    step(&mut holder, ms(10_000), holder::Input::Confirmed { seq: 9_999 });
    assert_eq!(holder.deadline(), Some(ms(11_999)));
}

/// The worst that the terms allow: no delay at all, the holder's clock slow and the leader's fast.
#[test]
fn the_holder_stops_a_guard_before_the_leader_expires_even_with_the_worst_of_clocks() {
    let drift = 0.01;
    let holder = TTL.as_secs_f64() / (1.0 - drift);
    let leader = terms().wait(TTL).as_secs_f64() / (1.0 + drift);
    let between = leader - holder;
    assert!(between >= GUARD.as_secs_f64(), "{between}");
    // Without the correction the two would overlap.
    assert!((TTL + GUARD / 10).as_secs_f64() / (1.0 + drift) < holder);
}

/// The world of the random test: one holder, two nodes that may lead, a log, and messages that take as long
/// as they like. Every clock runs at its own rate, and changes it within the drift.
struct World {
    /// Real time is in milliseconds; a clock's nanoseconds are whole for every rate in parts per million.
    clocks: [Time; 3],
    drift_ppm: i64,
    holder: Holder,
    leaders: [Grantor; 2],
    leader: usize,
    term: u64,
    lives: bool,
    /// Renews under way to a leader, at a leader that heard them, and answers under way to the holder.
    sent: Vec<u64>,
    heard: Vec<(usize, u64, u64)>,
    answered: Vec<u64>,
    proposed: Vec<(usize, u64)>,
    seq: u64,
    expiries: usize,
}

#[derive(Clone, Copy, Debug)]
enum Act {
    Send,
    Hear(usize),
    Answer(usize),
    Deliver(usize),
    Lose(usize),
    /// Who is elected, and whether what the leader before had proposed is in the new one's log.
    Elect(usize, bool),
    LearnOfDefeat,
    Commit(usize),
    Rest,
}

impl World {
    fn new(guard: u64, drift_ppm: i64) -> Self {
        let terms = Terms::new(Duration::from_millis(guard), drift_ppm as f64 / 1e6).unwrap();
        let mut world = Self {
            clocks: [ms(0), ms(77_000), ms(5)],
            drift_ppm,
            holder: Holder::new(Self::TTL),
            leaders: [Grantor::new(terms), Grantor::new(terms)],
            leader: 0,
            term: 0,
            lives: true,
            sent: vec![],
            heard: vec![],
            answered: vec![],
            proposed: vec![],
            seq: 0,
            expiries: 0,
        };
        world.act(Act::Elect(0, false));
        world
    }

    const TTL: Duration = Duration::from_millis(400);

    /// Lets real time pass; each clock sees it at its own rate.
    fn pass(&mut self, real_ms: u64, rates: [i64; 3]) {
        for (clock, rate) in self.clocks.iter_mut().zip(rates) {
            let ppm = 1_000_000 + rate.clamp(-self.drift_ppm, self.drift_ppm);
            *clock = *clock + Duration::from_nanos(real_ms * ppm as u64);
        }
    }

    fn hold(&mut self, input: holder::Input) {
        self.holder.step(self.clocks[0], input, &mut Vec::new());
        self.holder.check();
    }

    fn lead(&mut self, who: usize, input: grantor::Input) {
        let mut out = Vec::new();
        self.leaders[who].step(self.clocks[1 + who], input, &mut out);
        self.leaders[who].check();
        for grantor::Output::Expire { term, .. } in out {
            self.proposed.push((who, term));
            // A leader of the past may ask; its proposal reaches no log.
            if who == self.leader && term == self.term {
                self.expiries += 1;
                let now = self.clocks[0];
                assert!(!self.holder.is_valid(now), "I3: {:?} at {now:?}", self.holder);
            }
        }
    }

    fn act(&mut self, act: Act) {
        fn take<T>(from: &mut Vec<T>, at: usize) -> Option<T> {
            (at < from.len()).then(|| from.remove(at))
        }
        match act {
            Act::Send => {
                self.seq += 1;
                self.hold(holder::Input::Sent { seq: self.seq });
                self.sent.push(self.seq);
            }
            Act::Hear(which) => {
                if let Some(seq) = take(&mut self.sent, which) {
                    self.heard.push((self.leader, self.term, seq));
                    self.lead(self.leader, grantor::Input::Renewed { session: S });
                }
            }
            Act::Answer(which) => {
                // The quorum round succeeds only for whoever still leads, in the term that it began in.
                let Some((who, term, seq)) = take(&mut self.heard, which) else {
                    return;
                };
                let leads = (who, term) == (self.leader, self.term);
                if leads && self.lives && self.leaders[who].admits(S) {
                    self.answered.push(seq);
                }
            }
            Act::Deliver(which) => {
                if let Some(seq) = take(&mut self.answered, which) {
                    self.hold(holder::Input::Confirmed { seq });
                }
            }
            Act::Lose(which) => {
                take(&mut self.sent, which);
            }
            Act::Elect(who, kept) => {
                let of_this_term = |proposal: &(usize, u64)| *proposal == (self.leader, self.term);
                self.lives &= !(kept && self.proposed.iter().any(of_this_term));
                self.leader = who;
                self.term += 1;
                let sessions = if self.lives { vec![(S, Self::TTL)] } else { vec![] };
                self.lead(who, grantor::Input::Elected { term: self.term, sessions });
            }
            Act::LearnOfDefeat => self.lead(1 - self.leader, grantor::Input::Deposed),
            Act::Commit(which) => {
                let Some((who, term)) = take(&mut self.proposed, which) else {
                    return;
                };
                if (who, term) == (self.leader, self.term) && self.lives {
                    self.lives = false;
                    self.lead(who, grantor::Input::Ended { session: S });
                }
            }
            Act::Rest => {}
        }
    }
}

type Moment = (Act, u64, [i64; 3], bool);

/// Runs a schedule and says how often the session was condemned.
fn run(guard: u64, drift_ppm: i64, moments: &[Moment]) -> usize {
    let mut world = World::new(guard, drift_ppm);
    for (act, real_ms, rates, asleep) in moments {
        world.pass(*real_ms, *rates);
        world.act(*act);
        if !asleep {
            world.lead(0, grantor::Input::Tick);
            world.lead(1, grantor::Input::Tick);
        }
        // The holder's own timer may be late; only what its clock says counts.
        if !world.lives || !world.leaders[world.leader].admits(S) {
            assert!(!world.holder.is_valid(world.clocks[0]), "I3: revived");
        }
    }
    world.expiries
}

/// A schedule of phases, some of which begin with an election. In a lively one renews come and go, in a
/// silent one nothing new is sent and the waits run, in a wild one everything happens. Clocks keep their
/// rates for a phase, mostly the extreme ones.
fn moments() -> impl Strategy<Value = Vec<Moment>> {
    let rate =
        || prop_oneof![3 => Just(-200_000_i64), 3 => Just(200_000), 1 => -200_000..200_000_i64];
    let election = proptest::option::weighted(0.4, (0..2_usize, any::<bool>()));
    let wild_span = prop_oneof![9 => 1..60_u64, 1 => 60..900_u64];
    let phase = prop_oneof![
        3 => vec((lively(), 1..30_u64, Just(false)), 5..30),
        4 => vec((silent(), 5..20_u64, Just(false)), 10..80),
        2 => vec((wild(), wild_span, any::<bool>()), 5..40),
    ];
    vec(([rate(), rate(), rate()], election, phase), 1..7).prop_map(|phases| {
        let mut moments = Vec::new();
        for (rates, election, phase) in phases {
            let election = election.map(|(who, kept)| (Act::Elect(who, kept), 1, false));
            let acts = election.into_iter().chain(phase);
            moments.extend(acts.map(|(act, span, asleep)| (act, span, rates, asleep)));
        }
        moments
    })
}

fn lively() -> impl Strategy<Value = Act> {
    prop_oneof![
        Just(Act::Send),
        Just(Act::Hear(0)),
        Just(Act::Answer(0)),
        (0..2_usize).prop_map(Act::Deliver),
    ]
}

fn silent() -> impl Strategy<Value = Act> {
    prop_oneof![20 => Just(Act::Rest), 2 => Just(Act::Deliver(0)), 1 => Just(Act::Answer(0))]
}

fn wild() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => lively(),
        2 => (0..4_usize).prop_map(Act::Hear),
        2 => (0..4_usize).prop_map(Act::Answer),
        2 => (0..4_usize).prop_map(Act::Lose),
        2 => (0..2_usize).prop_map(Act::Commit),
        1 => (0..2_usize, any::<bool>()).prop_map(|(who, kept)| Act::Elect(who, kept)),
        1 => Just(Act::LearnOfDefeat),
        2 => Just(Act::Rest),
    ]
}

#[test]
fn the_random_schedules_do_expire_sessions() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut tally = BTreeMap::<bool, usize>::new();
    for _ in 0..200 {
        let moments = moments().new_tree(&mut runner).unwrap().current();
        *tally.entry(run(5, 10_000, &moments) > 0).or_default() += 1;
    }
    assert!(tally.values().all(|many| *many > 20) && tally.len() == 2, "{tally:?}");
}

proptest! {
    #![proptest_config(cases(1024))]

    #[test]
    fn the_holder_s_deadline_always_comes_before_the_leader_s_expiry(
        guard in prop_oneof![Just(0_u64), 0..50_u64],
        drift_ppm in prop_oneof![Just(200_000_i64), 0..200_000_i64],
        moments in moments(),
    ) {
        run(guard, drift_ppm, &moments);
    }
}
