//! Silence and suspicion.

use std::time::Duration;

use proptest::prelude::*;
use quorate_mesh::pulse::{Patience, Pulse, Verdict};
use quorate_vocab::Time;

const BEGIN: Time = Time(1_000_000_000_000);

fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn pulse() -> Pulse {
    Pulse::new(Patience::default(), BEGIN)
}

/// Bytes at each of these gaps, and a punctual look whenever one is due. Gives when the last byte came.
fn live(pulse: &mut Pulse, mut now: Time, gaps: impl IntoIterator<Item = Duration>) -> Time {
    for gap in gaps {
        let next = now + gap;
        while let Some(due) = pulse.deadline().filter(|due| *due < next) {
            pulse.verdict(due);
            pulse.check();
        }
        pulse.heard(next, 1);
        pulse.check();
        now = next;
    }
    now
}

/// Looks whenever a look is due, until it is silent. Gives when it became a suspect and when silent.
fn abandon(pulse: &mut Pulse) -> (Time, Time) {
    let mut suspected = None;
    for _ in 0..100 {
        let due = pulse.deadline().expect("it is not silent yet");
        let verdict = pulse.verdict(due);
        pulse.check();
        if verdict >= Verdict::Suspect {
            suspected.get_or_insert(due);
        }
        if verdict == Verdict::Silent {
            return (suspected.expect("it was a suspect before"), due);
        }
    }
    panic!("it was looked at a hundred times and is still not silent: {pulse:?}");
}

#[test]
fn a_peer_that_sends_one_byte_every_20_ms_is_up_for_ever() {
    let (mut pulse, mut now) = (pulse(), BEGIN);
    for _ in 0..100_000 {
        now = now + millis(20);
        // Just before the byte, when the silence is longest.
        assert_eq!(pulse.verdict(now), Verdict::Up);
        assert!(pulse.level(now) < 0.05, "{}", pulse.level(now));
        pulse.heard(now, 1);
    }
    pulse.check();
    assert_eq!((pulse.bytes(), pulse.last()), (100_000, now));
}

#[test]
fn a_peer_that_falls_silent_is_a_suspect_after_the_floor_and_silent_after_three() {
    let mut pulse = pulse();
    let last = live(&mut pulse, BEGIN, [millis(500); 100]);
    assert_eq!(abandon(&mut pulse), (last + millis(1000), last + millis(3000)));
    assert_eq!(pulse.deadline(), None);
    assert_eq!(pulse.verdict(last + Duration::from_secs(1_000_000)), Verdict::Silent);
    pulse.heard(last + Duration::from_secs(1_000_001), 1);
    assert_eq!(pulse.verdict(last + Duration::from_secs(1_000_001)), Verdict::Up);
}

#[test]
fn nothing_is_not_a_byte() {
    let mut pulse = pulse();
    pulse.heard(BEGIN + millis(900), 0);
    assert_eq!(pulse.verdict(BEGIN + millis(1000)), Verdict::Suspect);
}

#[test]
fn a_peer_with_long_gaps_is_given_more_time_until_it_has_lost_the_habit() {
    let mut pulse = pulse();
    let slow = (0..64).map(|n| millis(if n % 2 == 0 { 300 } else { 2200 }));
    let last = live(&mut pulse, BEGIN, slow);
    assert!(abandon(&mut pulse.clone()).0 >= last + millis(4400), "a gap may be missed");
    let last = live(&mut pulse, last, vec![millis(500); 200]);
    assert_eq!(abandon(&mut pulse).0, last + millis(1000));
}

#[test]
fn a_peer_with_gaps_that_differ_is_given_more_time_than_a_regular_one_with_the_same_mean() {
    let (mut regular, mut jittery) = (pulse(), pulse());
    live(&mut regular, BEGIN, [millis(1500); 64]);
    live(&mut jittery, BEGIN, (0..64).map(|n| millis(1000 + 1000 * (n % 2))));
    assert_eq!(regular.allowance(), millis(3000), "twice the mean");
    assert_eq!(jittery.allowance(), millis(3500), "the mean and four deviations");
}

#[test]
fn many_small_gaps_do_not_make_a_busy_peer_s_long_ones_forgotten() {
    let mut pulse = pulse();
    let mut last = BEGIN;
    for _ in 0..30 {
        last = live(&mut pulse, last, vec![millis(1); 2000]);
        last = live(&mut pulse, last, [millis(1500)]);
    }
    assert!(abandon(&mut pulse).0 > last + millis(1600));
}

#[test]
fn one_peer_s_jitter_widens_only_what_it_is_allowed_itself() {
    let (mut jittery, mut steady) = (pulse(), pulse());
    let gaps: Vec<_> = (0..64).map(|n| millis(200 + 3000 * (n % 2))).collect();
    live(&mut jittery, BEGIN, gaps);
    live(&mut steady, BEGIN, [millis(500); 200]);
    assert!(jittery.allowance() > millis(3000), "{:?}", jittery.allowance());
    assert_eq!(steady.allowance(), millis(1000));
}

#[test]
fn an_observer_that_was_stopped_for_a_minute_suspects_nobody_and_reads_first() {
    let mut pulse = pulse();
    let last = live(&mut pulse, BEGIN, [millis(500); 100]);
    let woken = last + Duration::from_secs(60);
    assert_eq!(pulse.verdict(woken), Verdict::Up);
    assert_eq!(pulse.local_health(), 8, "and it knows that it was not well");
    let allowed = pulse.allowance();
    assert_eq!(allowed, millis(8000), "8 times the floor");
    // What had come meanwhile is read now. The minute was no gap of the peer's.
    pulse.heard(woken + millis(1), 1000);
    let last = live(&mut pulse, woken + millis(1), [millis(500); 100]);
    assert_eq!(pulse.local_health(), 1, "50 s of calm heal everything");
    // Three quarters of the floor were watched before the sleep, and are a gap like any other.
    assert!(pulse.allowance() < millis(1010), "{:?}", pulse.allowance());
    assert_eq!(abandon(&mut pulse).0, last + pulse.allowance());
}

#[test]
fn a_peer_that_died_while_the_observer_slept_is_noticed_after_it_woke() {
    let mut pulse = pulse();
    let woken = BEGIN + Duration::from_secs(60);
    assert_eq!(pulse.verdict(woken), Verdict::Up);
    let (suspected, silent) = abandon(&mut pulse);
    assert!(suspected > woken && suspected <= woken + millis(8000), "{suspected:?}");
    assert!(silent <= woken + Duration::from_secs(30), "{silent:?}");
}

#[test]
fn a_suspect_stays_one_until_it_is_heard_also_when_its_observer_sleeps() {
    let mut pulse = pulse();
    let suspected = pulse.deadline().unwrap();
    assert_eq!(pulse.verdict(suspected), Verdict::Suspect);
    let woken = suspected + Duration::from_secs(60);
    assert_eq!(pulse.verdict(woken), Verdict::Suspect, "neither cleared nor given up by a sleeper");
    pulse.heard(woken, 1);
    assert_eq!(pulse.verdict(woken), Verdict::Up);
}

#[test]
fn an_observer_that_is_always_late_notices_in_the_end() {
    let mut pulse = pulse();
    let mut now = BEGIN;
    for _ in 0..20 {
        let Some(due) = pulse.deadline() else { break };
        now = due.max(now) + millis(400);
        pulse.verdict(now);
        pulse.check();
    }
    assert_eq!(pulse.deadline(), None, "{pulse:?}");
}

#[test]
fn a_new_connection_is_heard_and_the_time_without_one_is_no_gap() {
    let mut pulse = pulse();
    let last = live(&mut pulse, BEGIN, [millis(500); 10]);
    abandon(&mut pulse);
    pulse.begin(last + Duration::from_secs(600));
    let last = live(&mut pulse, last + Duration::from_secs(600), [millis(500); 10]);
    assert_eq!(pulse.allowance(), millis(1000));
    assert_eq!(abandon(&mut pulse).0, last + millis(1000));
}

#[test]
fn a_patience_that_does_not_fit_is_refused_with_its_sums() {
    let refused = Patience::new(millis(1000), millis(2999)).unwrap_err().to_string();
    assert!(refused.contains("2.999s") && refused.contains("three times"), "{refused}");
    for (floor, ceiling) in [
        (Duration::ZERO, millis(1)),
        (Duration::ZERO, Duration::ZERO),
        (Duration::MAX, Duration::MAX),
        (millis(1), Duration::MAX),
    ] {
        assert!(Patience::new(floor, ceiling).is_err(), "{floor:?} {ceiling:?}");
    }
    assert!(Patience::new(millis(1), Patience::CEILING_MAX).is_ok());
}

#[test]
fn the_ends_of_time_are_survived() {
    let widest = Patience::new(millis(1), Patience::CEILING_MAX).unwrap();
    for patience in [widest, Patience::default()] {
        let mut pulse = Pulse::new(patience, Time(0));
        for now in [0, u64::MAX, 5, u64::MAX - 1, u64::MAX, 0] {
            pulse.heard(Time(now), usize::MAX);
            pulse.late(Time(now), Duration::MAX);
            pulse.verdict(Time(now));
            assert!(pulse.level(Time(now)).is_finite());
            pulse.check();
        }
        assert_eq!((pulse.bytes(), pulse.last()), (u64::MAX, Time(u64::MAX)));
    }
}

/// What happens to a pulse.
#[derive(Clone, Copy, Debug)]
enum Step {
    Heard,
    Look,
    Late(u64),
}

fn step() -> impl Strategy<Value = (u64, Step)> {
    let what = prop_oneof![
        3 => Just(Step::Heard),
        3 => Just(Step::Look),
        1 => (0_u64..5000).prop_map(Step::Late),
    ];
    (prop_oneof![0_u64..300, 0_u64..20_000], what)
}

proptest! {
    #[test]
    fn whatever_came_before_nobody_is_suspected_before_the_floor(
        steps in prop::collection::vec(step(), 0..80),
    ) {
        let (mut pulse, mut now, mut last) = (pulse(), BEGIN, BEGIN);
        for (wait, step) in steps {
            now = now + millis(wait);
            match step {
                Step::Heard => {
                    pulse.heard(now, 1);
                    last = now;
                }
                Step::Late(by) => pulse.late(now, millis(by)),
                Step::Look => {
                    let verdict = pulse.verdict(now);
                    prop_assert!(verdict == Verdict::Up || now.since(last) >= millis(1000));
                }
            }
            pulse.check();
        }
    }

    #[test]
    fn whatever_came_before_a_punctual_observer_calls_the_silent_silent_by_the_ceiling(
        gaps in prop::collection::vec(0_u64..40_000, 0..80),
        late in prop::collection::vec(0_u64..10_000, 0..3),
    ) {
        let mut pulse = pulse();
        let last = live(&mut pulse, BEGIN, gaps.into_iter().map(millis));
        for by in late {
            pulse.late(last, millis(by));
        }
        let (suspected, silent) = abandon(&mut pulse);
        prop_assert!(suspected >= last + millis(1000));
        prop_assert!(silent <= last + Duration::from_secs(30));
    }

    #[test]
    fn in_one_silence_the_verdict_and_the_level_only_grow(
        gaps in prop::collection::vec(0_u64..5000, 0..40),
        looks in prop::collection::vec(0_u64..3000, 1..60),
    ) {
        let mut pulse = pulse();
        let mut now = live(&mut pulse, BEGIN, gaps.into_iter().map(millis));
        let (mut verdict, mut level) = (Verdict::Up, 0.0);
        for wait in looks {
            // A punctual observer: it looks when it wants to, and whenever it must.
            now = now + millis(wait);
            let due = std::iter::from_fn(|| {
                let due = pulse.deadline().filter(|due| *due <= now)?;
                Some((due, pulse.verdict(due), pulse.level(due)))
            });
            for (at, seen, shown) in due.collect::<Vec<_>>() {
                prop_assert!(seen >= verdict && shown >= level, "{at:?}: {seen:?} {shown}");
                (verdict, level) = (seen, shown);
            }
            let (seen, shown) = (pulse.verdict(now), pulse.level(now));
            prop_assert!(seen >= verdict && shown >= level, "{now:?}: {seen:?} {shown}");
            (verdict, level) = (seen, shown);
        }
    }

    #[test]
    fn an_observer_that_slept_through_a_deadline_suspects_nobody_when_it_wakes(
        gaps in prop::collection::vec(0_u64..900, 0..40),
        slept in 100_u64..1_000_000_000,
        was_well in any::<bool>(),
    ) {
        let mut pulse = pulse();
        let last = live(&mut pulse, BEGIN, gaps.into_iter().map(millis));
        if !was_well {
            // No health is left to lose, so only the pardon itself can help.
            pulse.late(last, millis(100_000));
        }
        let woken = pulse.deadline().unwrap() + millis(slept);
        prop_assert_eq!(pulse.verdict(woken), Verdict::Up);
        pulse.check();
        prop_assert!(pulse.deadline().unwrap() > woken, "and there is time to read first");
    }
}
