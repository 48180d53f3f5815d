//! Stories of operating a cluster, told in a simulated one: who leads and who votes, and what a leader does
//! that has too much to do. Clients ask all the while, and all checkers judge in the end.
//!
//! Times are the world's, so they may be asserted.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::Duration;

use quorate::{Error, Node, NotDone};
use quorate_sim::world::{Outcome, Plan, Settings, Stage, tell};

/// Nobody waits for longer than this when leadership goes over as planned.
const GAP_MAX: Duration = Duration::from_secs(1);
/// Any step of a story comes to pass within this time.
const SOON: Duration = Duration::from_secs(20);
/// How long a disk hangs.
const HUNG: Duration = Duration::from_secs(8);
/// A session that is not renewed is over by then: its lease and the guard, by the slowest clocks.
const SILENT: Duration = Duration::from_millis(2_200);
/// How long before the leader somebody else falls silent.
const BEFORE: Duration = Duration::from_secs(1);

fn settings(seed: u64, nodes: usize, voters: usize) -> Settings {
    let settings = Settings::new(seed, nodes, Plan::Everything);
    Settings { voters, replace_after: Duration::from_secs(5), ..settings }
}

/// Tells a story in a few worlds; each time all that is promised must hold in the end.
fn listen() {
    let asked_for = tracing_subscriber::EnvFilter::from_default_env();
    let to_test = tracing_subscriber::fmt().with_env_filter(asked_for).with_test_writer();
    // Another story of this process may have been first.
    let _ = to_test.without_time().try_init();
}

fn told(nodes: usize, voters: usize, story: impl AsyncFn(Stage)) {
    listen();
    for seed in 0..4 {
        let outcome: Outcome = tell(settings(seed, nodes, voters), async |stage: Stage| {
            stage.settled().await;
            story(stage).await;
        });
        assert!(outcome.violations.is_empty(), "seed {seed}: {:#?}", outcome.violations);
    }
}

/// Somebody who is none of these.
fn other_than(not: &[usize], nodes: usize) -> usize {
    (0..nodes).find(|nth| !not.contains(nth)).expect("there are more")
}

fn set(nodes: impl IntoIterator<Item = usize>) -> BTreeSet<usize> {
    nodes.into_iter().collect()
}

#[test]
fn a_leader_that_steps_down_hands_over_to_whom_it_is_told_and_nobody_waits_for_long() {
    told(3, 3, async |stage: Stage| {
        for round in 0..6 {
            let leader = stage.leader().await;
            let (to, third) = ((leader + 1) % 3, (leader + 2) % 3);
            let name = stage.name_of(to);
            // Anybody may ask for it who knows by now who leads.
            let steps = async || {
                let asked = stage.on(third, async |node| node.step_down(Some(&name)).await).await;
                asked == Some(Ok(name.clone()))
            };
            stage.until("it steps down", SOON, steps).await;
            let took = stage.claim(third, &format!("round/{round}")).await;
            assert!(took.is_some_and(|took| took < GAP_MAX), "{took:?}");
            assert_eq!(stage.leader().await, to);
        }
        let leader = stage.leader().await;
        let itself = stage.name_of(leader);
        let refused = stage.on(leader, async |node| node.step_down(Some(&itself)).await).await;
        assert_eq!(refused, Some(Err(Error::NotDone(NotDone::NoSuccessor))));
    });
}

#[test]
fn a_leader_that_is_shut_down_hands_over_first() {
    told(3, 3, async |stage: Stage| {
        let leader = stage.leader().await;
        stage.on(leader, async |node| node.shutdown().await).await;
        assert_ne!(stage.leader().await, leader, "somebody led before it was gone");
        stage.kill(leader);
        let took = stage.claim((leader + 1) % 3, "after").await;
        assert!(took.is_some_and(|took| took < GAP_MAX), "{took:?}");
        stage.start(leader);
    });
}

#[test]
fn whoever_fell_silent_before_its_leader_is_missed_a_wait_after_that_and_not_after_the_election() {
    let all = Mutex::new(Vec::new());
    told(5, 3, async |stage: Stage| {
        for _ in 0..3 {
            let leader = stage.leader().await;
            let voters = stage.voters(leader).await;
            let lost = (0..5).find(|nth| *nth != leader && !voters.contains(nth));
            let lost = lost.expect("two do not vote");
            let by = *voters.iter().find(|nth| **nth != leader).expect("three vote");
            let session = stage.on(lost, async |node| node.status().session).await.flatten();
            let session = session.expect("all are well");
            let begun = stage.now();
            stage.cut_off(lost);
            stage.pause(BEFORE).await;
            stage.cut_off(leader);
            let ended = async |node: &Node| node.inspect(|it, _| it.session(session).is_none());
            let is_over = async || stage.on(by, ended).await == Some(true);
            stage.until("its session is over", SOON, is_over).await;
            all.lock().unwrap().push(stage.now().duration_since(begun));
            stage.heal_cables();
            stage.settled().await;
        }
    });
    // Now and then an election takes longer, or there are two. A wait that began with one would be over
    // BEFORE later, at least.
    let mut all = all.into_inner().unwrap();
    all.sort_unstable();
    assert!(all[all.len() / 2] < SILENT + BEFORE / 2, "{all:?}");
}

#[test]
fn a_voter_that_is_dead_for_longer_than_the_grace_is_replaced_and_one_that_comes_back_sooner_is_not()
 {
    told(4, 3, async |stage: Stage| {
        let leader = stage.leader().await;
        let before = stage.voters(leader).await;
        let spare = other_than(&before.iter().copied().collect::<Vec<_>>(), 4);
        let lost = *before.iter().find(|nth| **nth != leader).expect("three vote");
        // Without a session, but not for as long as the grace.
        stage.cut_off(lost);
        stage.pause(SILENT + Duration::from_secs(3)).await;
        assert_eq!(stage.voters(leader).await, before);
        stage.heal_cables();
        stage.pause(SOON).await;
        assert_eq!(stage.voters(leader).await, before);

        stage.kill(lost);
        let leader = stage.leader().await;
        stage.pause(Duration::from_secs(6)).await;
        assert_eq!(stage.voters(leader).await, before, "its session alone takes two of these");
        let mut after = before.clone();
        after.remove(&lost);
        after.insert(spare);
        let replaced = async || stage.voters(leader).await == after;
        stage.until("the spare votes", SOON, replaced).await;

        // Another may be lost now, and whoever comes back late follows without a vote.
        let second = *after.iter().find(|nth| ![leader, spare].contains(nth)).expect("three vote");
        stage.kill(second);
        assert!(stage.claim(spare, "two-of-three").await.is_some());
        stage.start(lost);
        stage.start(second);
        stage
            .until("it serves again", SOON, async || stage.claim(lost, "back").await.is_some())
            .await;
        assert_eq!(stage.voters(stage.leader().await).await, after);
    });
}

#[test]
fn a_dead_voter_without_a_successor_keeps_its_vote_however_long_it_is_dead() {
    told(3, 3, async |stage: Stage| {
        let leader = stage.leader().await;
        let lost = (leader + 1) % 3;
        stage.kill(lost);
        stage.pause(Duration::from_secs(30)).await;
        assert_eq!(stage.voters(stage.leader().await).await, set(0..3));
        stage.start(lost);
    });
}

#[test]
fn a_node_is_taken_out_when_it_is_dead_and_not_while_it_lives() {
    told(4, 3, async |stage: Stage| {
        let leader = stage.leader().await;
        let before = stage.voters(leader).await;
        let out = *before.iter().find(|nth| **nth != leader).expect("three vote");
        let name = stage.name_of(out);
        let remove = async || stage.on(leader, async |node| node.remove(&name).await).await;
        assert_eq!(remove().await, Some(Err(Error::NotDone(NotDone::NodeLives))));
        stage.kill(out);
        stage.until("it is taken out", SOON, async || matches!(remove().await, Some(Ok(_)))).await;
        let spared = async || {
            let voters = stage.voters(stage.leader().await).await;
            voters.len() == 3 && !voters.contains(&out)
        };
        stage.until("another votes in its place", SOON, spared).await;
        let known = stage.on(leader, async |node| node.status().members.len()).await;
        assert_eq!(known, Some(3));
        // Started after all, it follows as a newcomer does.
        stage.start(out);
        stage
            .until("it serves", SOON, async || stage.claim(out, "after-all").await.is_some())
            .await;
        assert!(spared().await);
    });
}

#[test]
fn a_leader_with_too_much_to_do_says_so_at_once_and_keeps_what_it_acknowledged() {
    listen();
    let mut calm = settings(0, 3, 3);
    calm.clients = 0;
    let outcome = tell(calm, async |stage: Stage| {
        stage.settled().await;
        let leader = stage.leader().await;
        let mut flood = Vec::new();
        // More than it takes on at a time, for a few names: all but the first ones are to be told whose they
        // are.
        for nth in 0_u32..100 {
            let mut heavy = vec![7; 60 * 1024];
            heavy[..4].copy_from_slice(&nth.to_be_bytes());
            let wanted = format!("heavy/{}", nth % 8);
            flood.push((wanted.clone(), stage.claim_later(leader, &wanted, &heavy)));
        }
        let (mut acknowledged, mut overloaded) = (Vec::new(), 0);
        for (wanted, claim) in flood {
            match claim.await.expect("a claim does not panic") {
                (Ok(()), _) => acknowledged.push(wanted),
                (Err(Error::NotDone(NotDone::Overloaded)), took) => {
                    overloaded += 1;
                    assert!(took < Duration::from_secs(1), "refused after {took:?}");
                }
                _ => {}
            }
        }
        assert!(overloaded > 0 && !acknowledged.is_empty(), "{overloaded} {acknowledged:?}");
        for wanted in acknowledged {
            assert_eq!(stage.is_held(leader, &wanted).await, Some(true), "{wanted}");
        }
    });
    assert!(outcome.violations.is_empty(), "{:#?}", outcome.violations);
}

#[test]
fn a_leader_whose_disk_hangs_or_is_full_keeps_nobody_from_going_on() {
    told(3, 3, async |stage: Stage| {
        for full in [true, false] {
            let leader = stage.leader().await;
            let other = (leader + 1) % 3;
            match full {
                true => stage.fill_disk(leader, Some(0)),
                false => stage.hang_disk(leader, HUNG),
            }
            for round in 0..20 {
                let wanted = format!("full-{full}/{round}");
                let claimed = async || stage.claim(other, &wanted).await.is_some();
                stage.until("others go on", SOON, claimed).await;
            }
            stage.fill_disk(leader, None);
            stage.pause(HUNG).await;
            let wanted = format!("full-{full}/again");
            let claimed = async || stage.claim(leader, &wanted).await.is_some();
            stage.until("it serves again", 2 * SOON, claimed).await;
        }
    });
}
