//! A monitor, and a link, against the death of its target, on two workers: told once, always. The example of
//! the same name runs as many races as one asks for.

#[path = "../examples/races.rs"]
#[allow(unreachable_pub, reason = "an example's parts")]
mod races;

use quorate_actor::Actors;
use races::{Tally, Tie, race};

const RACES: u64 = 200_000;

async fn told_once(tie: Tie) -> Tally {
    let actors = Actors::alone();
    let tally = race(&actors, tie, RACES).await;
    assert_eq!(tally.races, RACES);
    assert!(tally.is_clean(), "{tally:?}");
    actors.close().await;
    tally
}

/// Whether it was a race at all: some came in time, some too late.
fn was_a_race(tally: Tally) {
    assert!(tally.in_time > RACES / 1000 && tally.too_late > RACES / 1000, "no race: {tally:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_monitor_that_races_a_death_is_told_exactly_once() {
    was_a_race(told_once(Tie::Monitor).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_that_races_a_death_is_told_exactly_once() {
    was_a_race(told_once(Tie::Link).await);
}
