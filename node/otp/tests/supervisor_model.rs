//! Random crashes against a model that says in plain words what each strategy promises.

use crate::family;

use std::collections::BTreeMap;
use std::time::Duration;

use family::{diary, end, soon, worker};
use proptest::prelude::*;
use quorate_actor::{Actors, Exit};
use quorate_otp::{ChildInfo, Restart, Strategy as Kind, Supervisor, SupervisorAddr};
use quorate_vocab::Pid;

const IDS: [&str; 5] = ["a", "b", "c", "d", "e"];

fn restart() -> impl Strategy<Value = Restart> {
    prop_oneof![Just(Restart::Permanent), Just(Restart::Transient), Just(Restart::Temporary)]
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![Just(Kind::OneForOne), Just(Kind::OneForAll), Just(Kind::RestForOne)]
}

fn exit() -> impl Strategy<Value = Exit> {
    prop_oneof![
        Just(Exit::Normal),
        Just(Exit::Shutdown),
        Just(Exit::because("boom")),
        Just(Exit::Panic("oh".to_owned())),
    ]
}

/// One child of the model: what it is, and in which of its lives it is, if it runs.
#[derive(Clone, Debug)]
struct Expected {
    id: &'static str,
    restart: Restart,
    runs: bool,
    life: u32,
}

/// The promise, child by child.
fn crash(kind: Kind, children: &mut Vec<Expected>, at: usize, exit: &Exit) {
    let is_bad = !matches!(exit, Exit::Normal | Exit::Shutdown);
    let comes_back = match children[at].restart {
        Restart::Permanent => true,
        Restart::Transient => is_bad,
        Restart::Temporary => false,
    };
    children[at].runs = false;
    if !comes_back {
        if children[at].restart == Restart::Temporary {
            children.remove(at);
        }
        return;
    }
    let dead = children[at].id;
    let falls = |id: &str| match kind {
        Kind::OneForOne | Kind::Dynamic => id == dead,
        Kind::OneForAll => true,
        Kind::RestForOne => id >= dead,
    };
    children.retain(|child| child.restart != Restart::Temporary || !falls(child.id));
    for child in children.iter_mut().filter(|child| falls(child.id)) {
        child.runs = true;
        child.life += 1;
    }
}

/// Which children there are and which process each one is.
async fn seen(supervisor: &SupervisorAddr) -> Vec<(String, Option<Pid>)> {
    let children = soon(supervisor.which_children()).await.expect("it lives");
    children.into_iter().map(|child| (child.id.to_string(), child.pid())).collect()
}

fn supervisor(kind: Kind) -> Supervisor {
    let tree = match kind {
        Kind::OneForAll => Supervisor::one_for_all(),
        Kind::RestForOne => Supervisor::rest_for_one(),
        Kind::OneForOne | Kind::Dynamic => Supervisor::one_for_one(),
    };
    tree.intensity(u32::MAX, Duration::from_secs(1))
}

async fn run(kind: Kind, restarts: Vec<Restart>, crashes: Vec<(usize, Exit)>) {
    let (actors, (pen, _diary)) = (Actors::alone(), diary());
    let mut tree = supervisor(kind);
    let mut model = Vec::new();
    for (id, restart) in IDS.into_iter().zip(restarts) {
        tree = tree.child(worker(id, &pen).restart(restart));
        model.push(Expected { id, restart, runs: true, life: 0 });
    }
    let supervisor = soon(tree.start(&actors)).await.unwrap();
    let mut lives = BTreeMap::<(&str, u32), Pid>::new();
    for (who, exit) in crashes.into_iter().map(Some).chain([None]).map(Option::unzip) {
        let now = seen(&supervisor).await;
        let listed: Vec<(&str, bool)> =
            now.iter().map(|(id, pid)| (&**id, pid.is_some())).collect();
        let expected: Vec<(&str, bool)> = model.iter().map(|one| (one.id, one.runs)).collect();
        assert_eq!(listed, expected);
        for (child, (_, pid)) in model.iter().zip(&now).filter(|(child, _)| child.runs) {
            // The same life is the same process, and another life another one.
            let pid = pid.expect("it runs");
            assert_eq!(*lives.entry((child.id, child.life)).or_insert(pid), pid, "{child:?}");
            let lives_of_it = lives.iter().filter(|(_, other)| **other == pid).count();
            assert_eq!(lives_of_it, 1, "{child:?}");
        }
        let running: Vec<usize> = (0..model.len()).filter(|&at| model[at].runs).collect();
        let (Some(who), Some(exit), false) = (who, exit, running.is_empty()) else { break };
        let at = running[who % running.len()];
        end(&actors, &supervisor, model[at].id, exit.clone()).await;
        crash(kind, &mut model, at, &exit);
    }
    let running = model.iter().filter(|child| child.runs).count();
    assert_eq!(soon(supervisor.count_children()).await.unwrap().active, running);
    assert_eq!(actors.count(), running + 1, "nobody is left behind");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn random_crashes_leave_exactly_the_children_that_the_strategy_promises(
        kind in kind(),
        restarts in prop::collection::vec(restart(), 1..=IDS.len()),
        crashes in prop::collection::vec((0usize..8, exit()), 0..12),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(run(kind, restarts, crashes));
    }
}

/// Kills a child that runs, whichever the number points at, and waits until that one is dead.
async fn kill_one(actors: &Actors, supervisor: &SupervisorAddr, number: usize) {
    let children = soon(supervisor.which_children()).await.expect("it lives");
    let running: Vec<Pid> = children.iter().filter_map(ChildInfo::pid).collect();
    if let Some(&pid) = running.get(number % running.len().max(1)) {
        let ended = actors.ended(pid);
        actors.kill(pid);
        soon(ended).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hail_of_kills_leaves_each_permanent_child_running_once_and_nobody_else() {
    for kind in [Kind::OneForOne, Kind::OneForAll, Kind::RestForOne] {
        let (actors, (pen, _diary)) = (Actors::alone(), diary());
        let tree = IDS.into_iter().fold(supervisor(kind), |tree, id| tree.child(worker(id, &pen)));
        let supervisor = soon(tree.start(&actors)).await.unwrap();
        // Three at once, each at a pace of its own, so that children die while others start and stop.
        let killers = [1, 3, 7].map(|stride| {
            let (actors, supervisor) = (actors.clone(), supervisor.clone());
            quorate_env::spawn(async move {
                for number in 0..300 {
                    kill_one(&actors, &supervisor, number * stride).await;
                }
            })
        });
        for killer in killers {
            soon(killer).await.expect("killers do not fail");
        }
        let now = seen(&supervisor).await;
        assert!(now.iter().all(|(_, pid)| pid.is_some_and(|pid| actors.is_alive(pid))), "{now:?}");
        assert!(now.iter().map(|(id, _)| &**id).eq(IDS), "{now:?}");
        assert_eq!(actors.count(), IDS.len() + 1, "nobody is left behind");
    }
}
