//! What a turn leaves that is too long for the log: it goes with the singleton from node to node, and where
//! it cannot, the next turn is told.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use quorate::{
    Grant, Index, Inherited, Legacy, NodeId, Rule, Rules, Singleton, SingletonState, Spec, Tenure,
    Wire,
};

use super::*;

const BYTES: usize = 8 * 1024 * 1024;

#[derive(Serialize, Deserialize)]
enum Ask {
    /// Adds one, everywhere in what it keeps.
    Add(ReplyTo<(u64, NodeId)>),
    /// Saves its count.
    Save(ReplyTo<bool>),
}

impl Message for Ask {
    const WIRE: Option<Wire<Self>> = Some(Wire::new("ledger", 1));
}

/// Keeps a long state, in which every number is the count.
#[derive(Clone, Default)]
struct Ledger {
    seen: Arc<Seen>,
}

/// What the turns saw, over all nodes.
#[derive(Default)]
struct Seen {
    begun: Mutex<Vec<(u64, Begins)>>,
    wrong: AtomicU64,
}

/// How a turn began: with how many bytes that were left or saved, and how many it missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Begins {
    Left(usize),
    Saved(usize, Option<u64>),
    Nothing(Option<u64>),
}

impl Singleton for Ledger {
    type Message = Ask;

    async fn run(&self, mut tenure: Tenure<Ask>) -> Exit {
        let node = tenure.mail.pid().node;
        let inherited = tenure.inherited();
        let begins = match &inherited {
            Inherited::Left(state) => Begins::Left(state.len()),
            Inherited::Saved(state) => Begins::Saved(state.len(), tenure.missed()),
            Inherited::Nothing => Begins::Nothing(tenure.missed()),
        };
        self.seen.begun.lock().unwrap().push((tenure.epoch().get(), begins));
        let numbers = inherited.state().unwrap_or_default().as_chunks::<8>().0;
        let mut count = numbers.first().map_or(0, |first| u64::from_le_bytes(*first));
        if numbers.iter().any(|number| u64::from_le_bytes(*number) != count) {
            self.seen.wrong.fetch_add(1, Ordering::SeqCst);
        }
        while let Some(ask) = tenure.next().await {
            match ask {
                Ask::Add(to) => {
                    count += 1;
                    to.send((count, node));
                }
                Ask::Save(to) => to.send(tenure.save(count.to_le_bytes()).await.is_ok()),
            }
        }
        tenure.leave(count.to_le_bytes().repeat(BYTES / 8)).unwrap();
        Exit::Normal
    }
}

impl Ledger {
    async fn defined(&self, nodes: &[Node], called: &Name) {
        for node in nodes {
            let singletons = node.singletons().within(SOON);
            singletons.define_with(called, Spec::default(), self.clone()).await.unwrap();
        }
    }

    fn last(&self) -> (u64, Begins) {
        *self.seen.begun.lock().unwrap().last().unwrap()
    }
}

async fn added(node: &Node, called: &Name) -> (u64, NodeId) {
    node.singletons().call(called, SOON, Ask::Add).await.unwrap()
}

/// Moves it, and waits until it is there.
async fn moved(nodes: &[Node], called: &Name, to: usize) -> Grant {
    let singletons = nodes[0].singletons().within(SOON);
    let before = singletons.find(called).await.unwrap().unwrap().row.epoch();
    singletons.move_to(called, Some(nodes[to].name()), None).await.unwrap();
    let now = singletons.until_moved(called, before, SOON).await.unwrap();
    assert_eq!(now.node, nodes[to].id());
    now
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_state_goes_back_and_forth_while_callers_wait() {
    let dir = tempfile::tempdir().unwrap();
    let nodes = three(dir.path()).await;
    let (ledger, called) = (Ledger::default(), name("ledger"));
    ledger.defined(&nodes, &called).await;
    let (_, first) = added(&nodes[0], &called).await;
    let callers: Vec<_> = nodes
        .iter()
        .map(|node| {
            let (node, called) = (node.clone(), called.clone());
            quorate_env::spawn(async move {
                let (mut answers, mut longest) = (Vec::new(), Duration::ZERO);
                for _ in 0..300 {
                    let asked = quorate_env::now();
                    answers.push(added(&node, &called).await.0);
                    longest = longest.max(quorate_env::now().since(asked));
                    quorate_env::sleep(Duration::from_millis(2)).await;
                }
                (answers, longest)
            })
        })
        .collect();
    let owner = nodes.iter().position(|node| node.id() == first).unwrap();
    for step in [1, 0, 2, 0] {
        let grant = moved(&nodes, &called, (owner + step) % 3).await;
        // Callers count on meanwhile.
        added(&nodes[0], &called).await;
        assert_eq!(ledger.last(), (grant.epoch.get(), Begins::Left(BYTES)));
    }
    let mut answers = Vec::new();
    for caller in callers {
        let (counted, longest) = caller.await.unwrap();
        tracing::info!(?longest, BYTES, "the longest a call waited");
        answers.extend(counted);
    }
    // No call was lost, and none was counted twice; the four between are ours.
    let last = added(&nodes[1], &called).await.0;
    assert_eq!(last, 1 + 4 + 900 + 1);
    answers.sort_unstable();
    assert!(answers.len() == 900 && answers.is_sorted_by(|a, b| a < b), "{answers:?}");
    assert_eq!(ledger.seen.wrong.load(Ordering::SeqCst), 0, "a state was not whole");
    let row = nodes[0].singletons().peek(&called).unwrap();
    assert_eq!(row.checkpoint, None, "it went past the log");
    assert!(row.row.past.iter().all(|past| past.left.is_some()), "{:?}", row.row.past);
    for node in &nodes {
        node.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_stops_takes_no_long_state_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let nodes = three(dir.path()).await;
    let (ledger, called) = (Ledger::default(), name("ledger"));
    ledger.defined(&nodes, &called).await;
    let (_, first) = added(&nodes[0], &called).await;
    let (owner, others): (Vec<&Node>, Vec<&Node>) =
        nodes.iter().partition(|node| node.id() == first);
    owner[0].shutdown().await;
    let (count, second) = added(others[0], &called).await;
    assert_eq!((count, ledger.last().1), (2, Begins::Left(BYTES)));
    // Who takes its offer back gives it away, too.
    let owner = others.iter().find(|node| node.id() == second).unwrap();
    owner.singletons().within(SOON).undefine(&called).await.unwrap();
    let (count, third) = added(others[0], &called).await;
    assert_eq!((count, ledger.last().1), (3, Begins::Left(BYTES)));
    assert!(third != second && third != first);
    for node in others {
        node.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_was_stopped_has_its_state_where_it_was_and_is_told_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    let nodes = three(dir.path()).await;
    let (ledger, called) = (Ledger::default(), name("ledger"));
    ledger.defined(&nodes[..1], &called).await;
    assert_eq!(added(&nodes[0], &called).await.0, 1);
    assert!(nodes[0].singletons().call(&called, SOON, Ask::Save).await.unwrap());
    assert_eq!(added(&nodes[0], &called).await.0, 2);
    let singletons = nodes[1].singletons().within(SOON);
    let stopped = async || {
        singletons.stop(&called).await.unwrap();
        let is_so = async || singletons.peek(&called).unwrap().state == SingletonState::Stopped;
        eventually("it stops", is_so).await;
    };
    stopped().await;
    singletons.start(&called).await.unwrap();
    assert_eq!(added(&nodes[1], &called).await.0, 3);
    assert_eq!(ledger.last().1, Begins::Left(BYTES));

    stopped().await;
    ledger.defined(&nodes[1..2], &called).await;
    nodes[0].singletons().within(SOON).undefine(&called).await.unwrap();
    singletons.start(&called).await.unwrap();
    assert_eq!(added(&nodes[2], &called).await, (2, nodes[1].id()));
    assert_eq!(ledger.last().1, Begins::Saved(8, Some(BYTES as u64)));
    for node in &nodes {
        node.shutdown().await;
    }
}

fn deny(from: &Node, to: &Node) -> Rules {
    let [from, to] = [from, to].map(|node| format!("node:{}", node.name()).parse().unwrap());
    let stance = "deny".parse().unwrap();
    let lanes = quorate::Lanes::ALL;
    Rules::new(vec![Rule { from, to, stance, lanes, rates: [None; 3] }]).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_the_state_cannot_go_the_move_is_undone_unless_somebody_insists() {
    let dir = tempfile::tempdir().unwrap();
    let nodes = three(dir.path()).await;
    let (ledger, called) = (Ledger::default(), name("ledger"));
    ledger.defined(&nodes, &called).await;
    let (_, first) = added(&nodes[0], &called).await;
    let owner = nodes.iter().position(|node| node.id() == first).unwrap();
    let (from, to) = (&nodes[owner], &nodes[(owner + 1) % 3]);
    from.links().set_rules(deny(from, to), Some(Index(0)), Some(7)).await.unwrap();
    eventually("it is denied", async || !from.links().judge(to.id()).allowed).await;
    let epoch = ledger.last().0;

    let singletons = nodes[0].singletons().within(SOON);
    singletons.move_to(&called, Some(to.name()), None).await.unwrap();
    let again = async || ledger.seen.begun.lock().unwrap().len() == 2;
    eventually("it goes on where it was", again).await;
    assert_eq!(ledger.last(), (epoch, Begins::Left(BYTES)));
    // The road from there to here may be one of those that are denied.
    assert_eq!(added(from, &called).await, (2, first));

    let grant = moved(&nodes, &called, (owner + 1) % 3).await;
    assert_eq!(added(to, &called).await, (1, to.id()));
    assert_eq!(ledger.last(), (grant.epoch.get(), Begins::Nothing(Some(BYTES as u64))));
    for node in &nodes {
        node.shutdown().await;
    }
}

/// Says what became of leaving too much.
#[derive(Clone, Default)]
struct Glutton(Arc<Mutex<Option<Error>>>);

impl Singleton for Glutton {
    type Message = ();

    async fn run(&self, tenure: Tenure<()>) -> Exit {
        *self.0.lock().unwrap() = tenure.leave(vec![0; Legacy::BYTES_MAX + 1]).err();
        tenure.stopping().await;
        Exit::Normal
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_than_may_be_left_is_refused_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let nodes = three(dir.path()).await;
    let glutton = Glutton::default();
    nodes[0].singletons().within(SOON).define(&name("glutton"), glutton.clone()).await.unwrap();
    eventually("it was refused", async || glutton.0.lock().unwrap().is_some()).await;
    let refused = glutton.0.lock().unwrap().take();
    assert!(matches!(refused, Some(Error::Refused(Refusal::TooLarge { .. }))), "{refused:?}");
    for node in &nodes {
        node.shutdown().await;
    }
}
