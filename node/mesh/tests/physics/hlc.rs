//! Stamps that rise, and clocks that cannot be dragged.

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;
use quorate_env::Wall;
use quorate_mesh::hlc::{Hlc, Stamp};

const MILLI: u64 = 1_000_000;
const WALL: Wall = Wall(1_767_225_600_000 * MILLI);

fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn stamp(millis: u64, count: u16) -> Stamp {
    Stamp(millis << 16 | u64::from(count))
}

#[test]
fn a_stamp_reads_as_milliseconds_and_a_count() {
    let clock = Hlc::default();
    let stamps = [0, 0, 1, 0].map(|later| clock.now(WALL + millis(later)));
    let begin = 1_767_225_600_000;
    assert_eq!(stamps, [(0, 0), (0, 1), (1, 0), (1, 1)].map(|(ms, n)| stamp(begin + ms, n)));
    assert_eq!(stamps[3].to_string(), "1767225600001.1");
    assert_eq!((stamps[3].millis(), stamps[3].count()), (begin + 1, 1));
    assert_eq!(clock.lead(WALL), millis(1));
}

#[test]
fn stamps_rise_also_while_the_wall_steps_back_by_a_year() {
    let clock = Hlc::default();
    let before = clock.now(WALL);
    let back = WALL - Duration::from_secs(365 * 86_400);
    let after = clock.now(back);
    assert_eq!(after, Stamp(before.0 + 1));
    assert_eq!(clock.lead(back), Duration::from_secs(365 * 86_400));
    let honest = clock.merge(Stamp::of(back), back).unwrap();
    assert!(honest > after, "what is behind is always taken");
}

#[test]
fn a_full_millisecond_carries_into_the_next() {
    let clock = Hlc::default();
    let first = clock.now(WALL);
    let mut last = first;
    for _ in 0..65_536 {
        last = clock.now(WALL);
    }
    assert_eq!(last, stamp(first.millis() + 1, 0));
}

#[test]
fn a_stamp_below_the_bound_is_taken_and_one_at_it_refused_and_counted() {
    let clock = Hlc::default();
    let near = stamp(Stamp::of(WALL).millis() + 499, u16::MAX);
    let far = Stamp(near.0 + 1);
    let refused = clock.merge(far, WALL).unwrap_err();
    assert_eq!((refused.ahead, refused.bound), (millis(500), millis(500)));
    assert_eq!((clock.refused(), clock.last()), (1, Stamp(0)), "it stays where it was");
    assert_eq!(clock.merge(near, WALL).unwrap(), far);
    assert_eq!(clock.lead(WALL), millis(500));
    assert!(clock.now(WALL) > far);
    assert_eq!(clock.refused(), 1);
}

#[test]
fn a_clock_without_a_bound_takes_what_is_even_and_nothing_that_is_ahead() {
    let clock = Hlc::new(Duration::ZERO);
    let even = stamp(Stamp::of(WALL).millis(), 7);
    assert_eq!(clock.merge(even, WALL).unwrap(), Stamp(even.0 + 1));
    assert!(clock.merge(stamp(even.millis() + 1, 0), WALL).is_err());
}

#[test]
fn the_ends_of_time_are_survived() {
    for bound in [Duration::ZERO, Hlc::BOUND, Duration::MAX] {
        let clock = Hlc::new(bound);
        assert!(clock.bound() <= Hlc::BOUND_MAX);
        let mut last = Stamp(0);
        for wall in [Wall(0), Wall(u64::MAX), Wall(0), Wall(u64::MAX)] {
            for remote in [0, 1, u64::MAX, u64::MAX - 1, Stamp::of(wall).0] {
                let given = clock.merge(Stamp(remote), wall).unwrap_or_else(|_| clock.now(wall));
                assert!(given > last);
                last = given;
            }
        }
        assert!(clock.lead(Wall(0)) > Duration::from_secs(500 * 365 * 86_400));
    }
}

#[test]
fn threads_that_share_a_clock_get_rising_stamps_and_no_stamp_twice() {
    const EACH: usize = 20_000;
    let clock = Hlc::default();
    let stamps = std::thread::scope(|scope| {
        let threads = [0_u64; 4].map(|_| {
            scope.spawn(|| {
                let given: Vec<Stamp> = (0..EACH).map(|_| clock.now(WALL)).collect();
                assert!(given.is_sorted_by(|one, next| one < next));
                given
            })
        });
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(stamps.into_iter().collect::<BTreeSet<_>>().len(), 4 * EACH);
}

/// What happens on one of several nodes, each with a wall of its own.
#[derive(Clone, Copy, Debug)]
enum Step {
    Local { node: usize },
    Send { from: usize, to: usize },
    Wall { node: usize, to_millis: u64 },
    Hostile { node: usize, stamp: u64 },
}

const NODES: usize = 3;

fn step() -> impl Strategy<Value = Step> {
    let node = || 0..NODES;
    // Around the bound is where it is interesting; the rest of the numbers are absurd anyway.
    let near = (0_u64..3000, any::<u16>()).prop_map(|(ahead, count)| {
        let millis = Stamp::of(WALL).millis() + ahead;
        stamp(millis, count).0
    });
    prop_oneof![
        node().prop_map(|node| Step::Local { node }),
        (node(), node()).prop_map(|(from, to)| Step::Send { from, to }),
        (node(), 0_u64..1500).prop_map(|(node, to_millis)| Step::Wall { node, to_millis }),
        (node(), prop_oneof![3 => near, 1 => any::<u64>()])
            .prop_map(|(node, stamp)| Step::Hostile { node, stamp }),
    ]
}

proptest! {
    #[test]
    fn cause_is_before_effect_and_no_hostile_stamp_drags_a_clock_beyond_the_bound(
        steps in prop::collection::vec(step(), 0..200),
    ) {
        let clocks: [Hlc; NODES] = std::array::from_fn(|_| Hlc::default());
        let (mut walls, mut highest) = ([WALL; NODES], [WALL; NODES]);
        let mut last = [Stamp(0); NODES];
        let mut refused = [0; NODES];
        for step in steps {
            let given = match step {
                Step::Wall { node, to_millis } => {
                    walls[node] = WALL + millis(to_millis);
                    highest[node] = highest[node].max(walls[node]);
                    None
                }
                Step::Local { node } => Some((node, clocks[node].now(walls[node]))),
                Step::Hostile { node, stamp } => {
                    let merged = clocks[node].merge(Stamp(stamp), walls[node]);
                    let ahead = Stamp(stamp).millis() >= Stamp::of(walls[node] + Hlc::BOUND).millis();
                    prop_assert_eq!(merged.is_err(), ahead);
                    refused[node] += u64::from(ahead);
                    merged.ok().map(|given| (node, given)).inspect(|(_, given)| {
                        assert!(*given > Stamp(stamp), "what came is before its arrival");
                    })
                }
                Step::Send { from, to } => {
                    let sent = clocks[from].now(walls[from]);
                    prop_assert!(sent > last[from]);
                    last[from] = sent;
                    let merged = clocks[to].merge(sent, walls[to]);
                    refused[to] += u64::from(merged.is_err());
                    merged.ok().map(|given| (to, given)).inspect(|(_, given)| {
                        assert!(*given > sent, "a message is before its arrival");
                    })
                }
            };
            if let Some((node, given)) = given {
                prop_assert!(given > last[node], "a clock went back");
                prop_assert_eq!(clocks[node].last(), given);
                last[node] = given;
            }
            for node in 0..NODES {
                let bound = Stamp::of(highest[node] + Hlc::BOUND).millis();
                prop_assert!(clocks[node].last().millis() <= bound, "dragged beyond the bound");
                prop_assert_eq!(clocks[node].refused(), refused[node]);
            }
        }
    }
}
