//! The drills that everybody has.

use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::{Deed, Script, Step, Who};
use crate::nemesis::HOUR_MS;

/// Longer than a lease, and than what others need to take over.
const LASTS: Duration = Duration::from_secs(5);
/// As long as it takes to need room.
const FILLS: Duration = Duration::from_secs(10);
const REST: Duration = Duration::from_secs(2);
/// Well within what the protocol bears with, which is 1 %.
const FAST_PPM: i32 = 9_000;

/// All of them, the mixed one last.
pub fn built_in() -> Vec<Script> {
    let slow = |ms| Deed::Slow { by: Duration::from_millis(ms) };
    let slow_disk = Deed::SlowDisk { takes: Duration::from_millis(200) };
    let (fast, back) = (Deed::Clock { ppm: FAST_PPM }, Deed::Clock { ppm: -FAST_PPM });
    vec![
        one("kill-owner", 3, "the host of a singleton dies", Deed::Kill, Who::Owner),
        one("kill-leader", 3, "the host of the leader dies", Deed::Kill, Who::Leader),
        one(
            "partition-owner",
            3,
            "nobody hears the owner, and it hears nobody",
            Deed::Cut,
            Who::Owner,
        ),
        one("partition-leader", 3, "the leader is cut off", Deed::Cut, Who::Leader),
        one("halves", 5, "two groups that do not hear each other", Deed::Halves, Who::Leader),
        one(
            "minority-majority",
            5,
            "a minority, with the owner, is cut off",
            Deed::Cut,
            Who::Minority,
        ),
        one("bridge", 5, "two groups, and one node that hears both", Deed::Bridge, Who::Any),
        several(
            "one-way",
            3,
            "one is deaf, then one is mute, then one does not hear one other",
            [(Deed::Deafen, Who::Owner), (Deed::Mute, Who::Leader), (Deed::OneWay, Who::Leader)],
        ),
        one("flapping", 3, "the leader's links come and go", Deed::Flap, Who::Leader),
        several(
            "slow-link",
            3,
            "the leader's links are slow, as far as an election bears with; then another one's are slower",
            [(slow(15), Who::Leader), (slow(300), Who::Other)],
        ),
        one(
            "lossy-link",
            3,
            "a tenth of what the leader sends is lost",
            Deed::Lossy { percent: 10 },
            Who::Leader,
        ),
        several(
            "wan",
            3,
            "all are as far apart as the settings for a LAN bear with, then one is cut off",
            [(slow(15), Who::All), (Deed::Cut, Who::Owner)],
        ),
        one(
            "pause-owner",
            3,
            "the owner's host stands still beyond its lease",
            Deed::Pause,
            Who::Owner,
        ),
        one("pause-leader", 3, "the leader's host stands still", Deed::Pause, Who::Leader),
        several(
            "clock-rate",
            3,
            "clocks go as wrong as is allowed, and the owner is cut off",
            [(fast, Who::Leader), (back, Who::Owner), (Deed::Cut, Who::Owner)],
        ),
        several(
            "clock-jump",
            3,
            "the time of day jumps an hour ahead, and back",
            [(Deed::Jump { ms: HOUR_MS }, Who::Leader), (Deed::Jump { ms: -HOUR_MS }, Who::Owner)],
        ),
        Script {
            steps: vec![Step { deed: Deed::FillDisk, who: Who::Leader, lasts: FILLS, rest: REST }],
            ..one(
                "fill-disk",
                3,
                "the leader's disk is full, and much is written",
                Deed::FillDisk,
                Who::Leader,
            )
        },
        several(
            "slow-disk",
            3,
            "each sync of the leader's disk takes 200 ms, then none is answered",
            [(slow_disk, Who::Leader), (Deed::StallDisk, Who::Leader)],
        ),
        Script {
            forgetful: true,
            ..one(
                "lose-unflushed",
                3,
                "all lose their power, and what was not synced",
                Deed::Kill,
                Who::All,
            )
        },
        one("rolling-restart", 3, "one after the other is restarted", Deed::Restart, Who::All),
        one("drain", 3, "the owner's node is drained, and comes back", Deed::Drain, Who::Owner),
        one("lost-quorum", 3, "a majority dies, and comes back", Deed::Kill, Who::Majority),
        one(
            "restore",
            3,
            "all is lost, and a new cluster begins from a backup",
            Deed::Restore,
            Who::All,
        ),
        churn(1, 12),
    ]
}

fn one(name: &str, nodes: usize, about: &str, deed: Deed, who: Who) -> Script {
    several(name, nodes, about, [(deed, who)])
}

fn several<const N: usize>(
    name: &str,
    nodes: usize,
    about: &str,
    deeds: [(Deed, Who); N],
) -> Script {
    let step = |(deed, who)| Step { deed, who, lasts: LASTS, rest: REST };
    let steps = deeds.into_iter().map(step).collect();
    Script { name: name.to_owned(), about: about.to_owned(), nodes, forgetful: false, steps }
}

/// Everything, mixed by a seed.
pub fn churn(seed: u64, steps: usize) -> Script {
    let mut dice = SmallRng::seed_from_u64(seed);
    let whom = [Who::Owner, Who::Leader, Who::Other, Who::Any];
    let steps = (0..steps).map(|_| {
        let lasts = Duration::from_millis(dice.random_range(500..6_000));
        let rest = Duration::from_millis(dice.random_range(200..2_000));
        let who = whom[dice.random_range(0..whom.len())].clone();
        let (deed, who) = match dice.random_range(0..20) {
            0 | 1 => (Deed::Kill, who),
            2 => (Deed::Kill, Who::Minority),
            3 | 4 => (Deed::Pause, who),
            5 | 6 => (Deed::Cut, who),
            7 => (Deed::Deafen, who),
            8 => (Deed::Mute, who),
            9 => (Deed::OneWay, who),
            10 => (Deed::Halves, who),
            11 => (Deed::Bridge, who),
            12 => (Deed::Flap, who),
            13 => (Deed::Slow { by: Duration::from_millis(dice.random_range(20..400)) }, who),
            14 => (Deed::Lossy { percent: dice.random_range(1..20) }, who),
            15 => {
                (Deed::SlowDisk { takes: Duration::from_millis(dice.random_range(20..250)) }, who)
            }
            16 => (Deed::StallDisk, who),
            17 => (Deed::Clock { ppm: dice.random_range(-FAST_PPM..=FAST_PPM) }, who),
            18 => (Deed::Move, Who::Owner),
            _ => (Deed::StepDown, Who::Leader),
        };
        Step { deed, who, lasts, rest }
    });
    Script { steps: steps.collect(), ..several("churn", 5, "everything, mixed by the seed", []) }
}
