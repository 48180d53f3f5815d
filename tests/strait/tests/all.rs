//! What a path does to packets, and that a load of real sockets comes across.

use std::process::Command;
use std::time::Duration;

use quorate_strait::load::Seen;
use quorate_strait::path::{Conditions, Fate, Path};
use quorate_vocab::Time;

const LINK: Conditions = Conditions {
    one_way: Duration::from_millis(20),
    loss: 0.0,
    bytes_per_second: 1_000_000,
    wait_max: Duration::from_millis(10),
};

fn arrives(millis: u64) -> Fate {
    Fate::Arrives(Time::default() + Duration::from_millis(millis))
}

#[test]
fn packets_leave_one_after_the_other_and_arrive_a_way_later() {
    let mut path = Path::new(LINK, 1);
    let start = Time::default();
    // A thousand bytes take a millisecond to leave.
    assert_eq!(path.take(start, 1_000), arrives(21));
    assert_eq!(path.take(start, 2_000), arrives(23));
    let later = start + Duration::from_millis(50);
    assert_eq!(path.take(later, 1_000), arrives(71), "it was at rest");
}

#[test]
fn what_would_wait_for_too_long_is_dropped_and_takes_nobody_s_turn() {
    let mut path = Path::new(LINK, 1);
    let fates: Vec<Fate> = (0..20).map(|_| path.take(Time::default(), 1_000)).collect();
    // The first leaves at once; ten more wait for up to ten milliseconds.
    assert_eq!(fates.iter().filter(|fate| **fate == Fate::Dropped).count(), 9);
    let later = Time::default() + Duration::from_millis(1);
    assert_eq!(path.take(later, 1_000), arrives(32), "one has left, so one has room");
}

#[test]
fn a_seed_decides_which_packets_are_lost_and_as_many_as_was_said() {
    let fates = |seed| -> Vec<Fate> {
        let mut path = Path::new(Conditions { loss: 0.01, ..LINK }, seed);
        let at = |nth| Time::default() + Duration::from_millis(nth);
        (0..100_000).map(|nth| path.take(at(nth), 1_000)).collect()
    };
    let lost = |fates: &[Fate]| fates.iter().filter(|fate| **fate == Fate::Lost).count();
    let first = fates(1);
    assert_eq!(first, fates(1));
    assert_ne!(first, fates(2));
    assert!((900..1_100).contains(&lost(&first)), "{}", lost(&first));
    assert!(!first.contains(&Fate::Dropped));
}

#[test]
fn what_was_seen_is_read_as_it_was_told() {
    let took = (1..=200).map(Duration::from_millis).rev().collect();
    let seen = Seen::of(4_000, Duration::from_secs(2), 201, took);
    assert_eq!((seen.bytes_per_second, seen.beats, seen.answered), (2_000.0, 201, 200));
    assert_eq!((seen.p50, seen.p99, seen.max), (100.0, 198.0, 200.0));
    assert_eq!(seen.to_string().parse::<Seen>().unwrap(), seen);
    assert!("1 2 3".parse::<Seen>().is_err());
}

/// Root can do this on most machines with Linux; elsewhere it says why it was skipped.
#[cfg(target_os = "linux")]
#[test]
fn two_nodes_talk_across_a_real_kernel_s_link_that_is_long_and_loses_packets() {
    use quorate_strait::shore::{Strait, obstacle};

    if let Some(obstacle) = obstacle() {
        println!("skipped: {obstacle}");
        return;
    }
    let process = |side: &str| {
        let mut process = Command::new(env!("CARGO_BIN_EXE_quorate-strait"));
        process.args(["--shore", side, "--load", "mesh", "--seconds", "1"]);
        process
    };
    let link = Conditions { loss: 0.01, bytes_per_second: 12_500_000, ..LINK };
    let opened = Strait::open([&process("near"), &process("far")], link, 1, None);
    let Strait { shores: [mut near, mut far], counts } = match opened {
        Ok(strait) => strait,
        Err(why) => {
            println!("skipped: {why:#}");
            return;
        }
    };
    far.tell("go").unwrap();
    assert_eq!(far.hear().unwrap(), "listening");
    near.tell("go").unwrap();
    let seen: Seen = near.hear().unwrap().parse().unwrap();
    near.end().unwrap();
    far.end().unwrap();
    assert!(seen.bytes_per_second > 0.0 && seen.answered > 0, "{seen}");
    // However fast a machine is, nothing gets there sooner than the link lets it.
    assert!(seen.p50 >= 40.0, "{seen}");
    for count in counts {
        assert!(count.arrived.load(std::sync::atomic::Ordering::Relaxed) > 0);
    }
}
