//! Singletons over whole nodes: one runs, it moves with its state, its callers notice nothing, and it ends
//! with the lease.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use quorate::{
    Evidence, NodeId, Restart, Restarts, Singleton, SingletonState, Spec, Standing, Tenure, Wire,
};

use super::*;

#[derive(Serialize, Deserialize)]
enum Count {
    One(ReplyTo<(u64, NodeId)>),
    Fail,
}

impl Message for Count {
    const WIRE: Option<Wire<Self>> = Some(Wire::new("count", 1));
}

/// Counts what it is asked to, and knows it after it moved.
#[derive(Clone, Default)]
struct Counter {
    /// How many of it run now, over all nodes.
    alive: Arc<AtomicU64>,
    most: Arc<AtomicU64>,
}

impl Singleton for Counter {
    type Message = Count;

    async fn run(&self, mut tenure: Tenure<Count>) -> Exit {
        let alive = self.alive.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(alive, Ordering::SeqCst);
        let here = Alive(self.alive.clone());
        let node = tenure.mail.pid().node;
        let last = tenure.inherited();
        let last = last.state().map(|last| u64::from_le_bytes(last.try_into().unwrap()));
        let mut count = last.unwrap_or(0);
        while let Some(message) = tenure.next().await {
            match message {
                Count::One(to) => {
                    count += 1;
                    to.send((count, node));
                }
                Count::Fail => return Exit::because("it was asked to"),
            }
        }
        tenure.leave(count.to_le_bytes()).unwrap();
        drop(here);
        Exit::Normal
    }
}

struct Alive(Arc<AtomicU64>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn defined(nodes: &[Node], called: &Name, counter: &Counter, spec: &Spec) {
    for node in nodes {
        let singletons = node.singletons().within(SOON);
        singletons.define_with(called, spec.clone(), counter.clone()).await.unwrap();
    }
}

async fn counted(node: &Node, called: &Name) -> (u64, NodeId) {
    node.singletons().call(called, SOON, Count::One).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_runs_and_moves_with_its_count_while_all_nodes_ask_it() {
    let dir = tempfile::tempdir().unwrap();
    let nodes = three(dir.path()).await;
    let (counter, called) = (Counter::default(), name("counter"));
    defined(&nodes, &called, &counter, &Spec::default()).await;
    for (at, node) in (1..).zip(&nodes) {
        assert_eq!(counted(node, &called).await.0, at);
    }
    let callers: Vec<_> = nodes
        .iter()
        .map(|node| {
            let (node, called) = (node.clone(), called.clone());
            quorate_env::spawn(async move {
                let mut answers = Vec::new();
                for _ in 0..200 {
                    answers.push(counted(&node, &called).await.0);
                }
                answers
            })
        })
        .collect();
    let mut epochs = Vec::new();
    for node in [0, 1, 2, 0] {
        let singletons = nodes[1].singletons();
        let before = singletons.peek(&called).unwrap().row;
        let to = nodes[node].name();
        singletons.move_to(&called, Some(to), None).await.unwrap();
        if before.grant.unwrap().node != nodes[node].id() {
            let now = singletons.until_moved(&called, before.epoch(), SOON).await.unwrap();
            assert_eq!(now.node, nodes[node].id());
            epochs.push(now.epoch);
        }
    }
    assert!(epochs.len() >= 3 && epochs.is_sorted_by(|a, b| a < b), "{epochs:?}");
    let mut answers = Vec::new();
    for caller in callers {
        answers.extend(caller.await.unwrap());
    }
    // No call was lost, and none was counted twice: the state went along, and callers waited meanwhile.
    answers.sort_unstable();
    assert_eq!(answers, (4..604).collect::<Vec<u64>>());
    assert_eq!(counter.most.load(Ordering::SeqCst), 1, "two ran at once");
    let past = nodes[0].singletons().peek(&called).unwrap().row.past;
    assert!(past.iter().all(|past| past.evidence == Evidence::Stopped), "{past:?}");
    for node in &nodes {
        node.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_stops_gives_its_singletons_away_before() {
    let dir = tempfile::tempdir().unwrap();
    let nodes = three(dir.path()).await;
    let (counter, called) = (Counter::default(), name("counter"));
    defined(&nodes, &called, &counter, &Spec::default()).await;
    let mut left: Vec<&Node> = nodes.iter().collect();
    for at in 1..=3 {
        let (count, node) = counted(left[0], &called).await;
        assert_eq!(count, at, "the count was lost with its node");
        let owner = left.iter().position(|one| one.id() == node).unwrap();
        left.remove(owner).shutdown().await;
        if at == 2 {
            break;
        }
    }
    assert_eq!(counter.most.load(Ordering::SeqCst), 1);
    left[0].shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_fails_too_often_goes_to_the_next_node_and_in_the_end_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let nodes = three(dir.path()).await;
    let (counter, called) = (Counter::default(), name("counter"));
    let restarts = Restarts { when: Restart::OnFailure, most: 1, within_ms: 600_000 };
    defined(&nodes, &called, &counter, &Spec { restarts, ..Spec::default() }).await;
    let singletons = nodes[0].singletons();
    // It is told to fail wherever it is; a message to one that has just ended goes nowhere.
    let is_failed = async || {
        let info = singletons.peek(&called).unwrap();
        if let Some(grant) = info.row.grant {
            let desk = format!("singleton {called} {}", grant.epoch);
            let _ = nodes[0].actors().named::<Count>(grant.node, &desk).send(Count::Fail);
        }
        info.state == SingletonState::Failed
    };
    eventually("it is given up", is_failed).await;
    let why = singletons.why(&called).unwrap();
    assert!(why.iter().all(|(_, _, standing)| matches!(standing, Standing::Failed(_))), "{why:?}");

    singletons.start(&called).await.unwrap();
    assert_eq!(counted(&nodes[1], &called).await.0, 1);
    singletons.stop(&called).await.unwrap();
    let is_stopped = async || singletons.peek(&called).unwrap().state == SingletonState::Stopped;
    eventually("it stops", is_stopped).await;
    assert_eq!(counter.alive.load(Ordering::SeqCst), 0);
    for node in &nodes {
        node.shutdown().await;
    }
}

/// A counter that does not end before it may.
#[derive(Clone)]
struct Reluctant(Counter, Arc<tokio::sync::Semaphore>);

impl Singleton for Reluctant {
    type Message = Count;

    async fn run(&self, tenure: Tenure<Count>) -> Exit {
        // It has left its count when it comes to that.
        let exit = self.0.run(tenure).await;
        self.1.acquire().await.unwrap().forget();
        exit
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_that_is_taken_back_while_it_ends_lets_it_go_on_with_what_it_left() {
    let dir = tempfile::tempdir().unwrap();
    let nodes = three(dir.path()).await;
    let (counter, called) = (Counter::default(), name("counter"));
    let may_end = Arc::new(tokio::sync::Semaphore::new(0));
    for node in &nodes {
        let reluctant = Reluctant(counter.clone(), may_end.clone());
        node.singletons().within(SOON).define(&called, reluctant).await.unwrap();
    }
    let (count, owner) = counted(&nodes[0], &called).await;
    let owner = nodes.iter().find(|node| node.id() == owner).unwrap();
    let other = nodes.iter().find(|node| node.id() != owner.id()).unwrap();
    let singletons = owner.singletons().within(SOON);
    let before = singletons.find(&called).await.unwrap().unwrap().row.epoch();
    singletons.move_to(&called, Some(other.name()), None).await.unwrap();
    let has_left = async || counter.alive.load(Ordering::SeqCst) == 0;
    eventually("it has heard of that", has_left).await;
    singletons.move_to(&called, Some(owner.name()), None).await.unwrap();
    // When something else runs there that was granted later, the owner has heard of this, too.
    let later = name("later");
    singletons.define(&later, Counter::default()).await.unwrap();
    assert_eq!(counted(other, &later).await, (1, owner.id()));
    may_end.add_permits(1);
    assert_eq!(counted(other, &called).await, (count + 1, owner.id()));
    assert_eq!(singletons.find(&called).await.unwrap().unwrap().row.epoch(), before);
    may_end.add_permits(8);
    for node in &nodes {
        node.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_takes_its_offer_back_does_not_stop_the_singleton_for_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let nodes = three(dir.path()).await;
    let (counter, called) = (Counter::default(), name("counter"));
    defined(&nodes, &called, &counter, &Spec::default()).await;
    let (count, owner) = counted(&nodes[0], &called).await;
    assert_eq!(count, 1);
    let owner = nodes.iter().find(|node| node.id() == owner).unwrap();
    owner.singletons().within(SOON).undefine(&called).await.unwrap();
    let other = nodes.iter().find(|node| node.id() != owner.id()).unwrap();
    let (count, now) = counted(other, &called).await;
    assert_ne!(now, owner.id());
    assert_eq!(count, 2, "what it left was not handed on");
    assert_eq!(counter.most.load(Ordering::SeqCst), 1, "two ran at once");
    for node in &nodes {
        node.shutdown().await;
    }
}
