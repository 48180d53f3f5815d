//! Stories of calls between two nodes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use quorate_actor::{
    Actors, ActorsConfig, Carrier, Exit, Incoming, Loss, Mailbox, Message, NotSent, Postage,
    ReplyTo, Wire,
};
use quorate_rpc::{Function, Functions, Nobody, Process, Roles, Rpc, RpcConfig, RpcError, Rules};
use quorate_vocab::{Boot, NodeId};
use serde::{Deserialize, Serialize};

const LONG: Duration = Duration::from_secs(3600);
const A: NodeId = NodeId(1);
const B: NodeId = NodeId(2);

const ADD: Function<(u64, u64), u64> = Function::new("add", 1);
const SLEEP: Function<u64, ()> = Function::new("sleep", 1);
const PANIC: Function<(), ()> = Function::new("panic", 1);
const COUNTER: Process<u64, Count> = Process::new("counter", 1);

#[derive(Debug, Serialize, Deserialize)]
enum Count {
    Up,
    Read(ReplyTo<u64>),
    End,
}

impl Message for Count {
    const WIRE: Option<Wire<Self>> = Some(Wire::new("test.count", 1));
}

/// Joins the nodes of a test.
#[derive(Default)]
struct Road {
    nodes: Mutex<BTreeMap<NodeId, Actors>>,
    cut: Mutex<bool>,
    /// Whether letters are taken and go nowhere.
    swallows: Mutex<bool>,
}

struct End(NodeId, Weak<Road>);

impl Carrier for End {
    fn post(&self, to: NodeId, _: Postage, letter: &mut Vec<u8>) -> Result<(), NotSent> {
        let road = self.1.upgrade().ok_or(NotSent::Unreachable)?;
        if *road.cut.lock().unwrap() {
            return Err(NotSent::Unreachable);
        }
        if *road.swallows.lock().unwrap() {
            return Ok(());
        }
        let node = road.nodes.lock().unwrap().get(&to).cloned().ok_or(NotSent::Unreachable)?;
        // A refusal is the far node's to count.
        let _ = node.deliver(self.0, letter);
        Ok(())
    }
}

impl Road {
    fn node(self: &Arc<Self>, node: NodeId) -> Actors {
        let end = Arc::new(End(node, Arc::downgrade(self)));
        let actors = Actors::new(node, Boot(1), end, ActorsConfig::default());
        self.nodes.lock().unwrap().insert(node, actors.clone());
        actors
    }
}

struct Stage {
    road: Arc<Road>,
    a: Actors,
    b: Actors,
    rpc: Rpc,
    there: Rpc,
}

fn table() -> Functions {
    Functions::new()
        .function(&ADD, async |(a, b)| a + b)
        .function(&SLEEP, async |ms| quorate_env::sleep(Duration::from_millis(ms)).await)
        .function(&PANIC, async |()| panic!("it burns"))
        .process(&COUNTER, async |from, mut mailbox: Mailbox<Count>| {
            let mut count = from;
            loop {
                match mailbox.receive().await {
                    Count::Up => count += 1,
                    Count::Read(to) => to.send(count),
                    Count::End => return Exit::because("told so"),
                }
            }
        })
}

impl Stage {
    fn new() -> Self {
        Self::with(table(), RpcConfig::default(), Arc::new(Nobody))
    }

    fn with(there: Functions, config: RpcConfig, roles: Arc<dyn Roles>) -> Self {
        let road = Arc::new(Road::default());
        let (a, b) = (road.node(A), road.node(B));
        let rpc = Rpc::start(&a, table(), RpcConfig::default(), Arc::new(Nobody)).unwrap();
        let there = Rpc::start(&b, there, config, roles).unwrap();
        Self { road, a, b, rpc, there }
    }

    /// How many processes run on the other node beside its desk.
    fn running(&self) -> usize {
        self.b.count() - 1
    }
}

/// Waits until nothing moves: where time is paused it goes on only then.
async fn settle() {
    quorate_env::sleep(Duration::from_millis(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_call_is_answered_near_and_far() {
    let stage = Stage::new();
    for node in [A, B] {
        assert_eq!(stage.rpc.call(node, &ADD, &(2, 3), LONG).await, Ok(5));
    }
    settle().await;
    assert_eq!(stage.running(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_table_that_differs_says_how() {
    let wider = Function::<(u64, u64, u64), u64>::new("add", 1);
    let newer = Function::<u64, ()>::new("sleep", 2);
    let there = Functions::new()
        .function(&wider, async |(a, b, c)| a + b + c)
        .function(&newer, async |_| ());
    assert_ne!(there.digest(), table().digest());
    let stage = Stage::with(there, RpcConfig::default(), Arc::new(Nobody));
    let rpc = &stage.rpc;
    assert_eq!(rpc.call(B, &ADD, &(2, 3), LONG).await, Err(RpcError::Digest));
    assert_eq!(rpc.call(B, &SLEEP, &1, LONG).await, Err(RpcError::Version { there: 2 }));
    assert_eq!(rpc.call(B, &PANIC, &(), LONG).await, Err(RpcError::UnknownFunction));
    assert_eq!(rpc.spawn(B, &COUNTER, &1, LONG).await.unwrap_err(), RpcError::UnknownFunction);
}

#[tokio::test(start_paused = true)]
async fn what_nodes_know_of_each_other_s_tables_is_refused_without_being_sent() {
    let wider = Function::<(u64, u64, u64), u64>::new("add", 1);
    let newer = Function::<u64, ()>::new("sleep", 2);
    let there = Functions::new()
        .function(&wider, async |(a, b, c)| a + b + c)
        .function(&newer, async |_| ())
        .function(&PANIC, async |()| panic!("it burns"));
    let rules = Rules::new().deny("panic", "*");
    let stage = Stage::with(there, RpcConfig { rules, ..RpcConfig::default() }, Arc::new(Nobody));
    // It is enough that one side has noticed the road.
    stage.rpc.met(B);
    settle().await;
    *stage.road.cut.lock().unwrap() = true;
    let rpc = &stage.rpc;
    assert_eq!(rpc.call(B, &ADD, &(2, 3), LONG).await, Err(RpcError::Digest));
    assert_eq!(rpc.call(B, &SLEEP, &1, LONG).await, Err(RpcError::Version { there: 2 }));
    assert_eq!(rpc.cast(B, &SLEEP, &1), Err(RpcError::Version { there: 2 }));
    // What is not said may be there, for this node is not told what it may not call.
    let unsure = RpcError::NotSent(NotSent::Unreachable);
    assert_eq!(rpc.spawn(B, &COUNTER, &1, LONG).await.unwrap_err(), unsure);
    assert_eq!(rpc.call(B, &PANIC, &(), LONG).await, Err(unsure.clone()));
    // The other side is not told less.
    assert_eq!(stage.there.call(A, &wider, &(1, 2, 3), LONG).await, Err(RpcError::Digest));
    let absent = Function::<(), ()>::new("absent", 1);
    assert_eq!(stage.there.cast(A, &absent, &()), Err(RpcError::UnknownFunction));
    // The node may come back with another table.
    rpc.parted(B);
    settle().await;
    assert_eq!(rpc.call(B, &ADD, &(2, 3), LONG).await, Err(unsure));
}

#[tokio::test(start_paused = true)]
async fn what_runs_when_the_time_is_over_or_the_caller_gives_up_is_killed() {
    let stage = Stage::new();
    let short = Duration::from_millis(100);
    let late = stage.rpc.call(B, &SLEEP, &1_000_000, short).await;
    assert_eq!(late, Err(RpcError::Timeout));
    settle().await;
    assert_eq!(stage.running(), 0);

    let given_up = stage.rpc.call_async(B, &SLEEP, &1_000_000, LONG);
    settle().await;
    assert_eq!(stage.running(), 1);
    drop(given_up);
    settle().await;
    assert_eq!(stage.running(), 0);

    let cut_off = stage.rpc.call_async(B, &SLEEP, &1_000_000, short);
    settle().await;
    *stage.road.cut.lock().unwrap() = true;
    assert_eq!(stage.running(), 1);
    quorate_env::sleep(short).await;
    settle().await;
    assert_eq!(stage.running(), 0, "its deadline went with it");
    drop(cut_off);
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_told_to_its_caller() {
    let stage = Stage::new();
    let burnt = stage.rpc.call(B, &PANIC, &(), LONG).await;
    assert_eq!(burnt, Err(RpcError::Panic("it burns".into())));
    assert_eq!(stage.rpc.call(B, &ADD, &(2, 3), LONG).await, Ok(5));
}

#[tokio::test(start_paused = true)]
async fn a_break_says_whether_it_may_have_run() {
    let stage = Stage::new();
    let waiting = stage.rpc.call_async(B, &SLEEP, &1_000_000, LONG);
    settle().await;
    *stage.road.cut.lock().unwrap() = true;
    stage.a.lost(B, Loss::Link);
    assert_eq!(waiting.await, Err(RpcError::MaybeDelivered));
    let refused = stage.rpc.call(B, &ADD, &(2, 3), LONG).await;
    assert_eq!(refused, Err(RpcError::NotSent(NotSent::Unreachable)));
    assert!(RpcError::MaybeDelivered.maybe_done() && !refused.unwrap_err().maybe_done());
}

#[tokio::test(start_paused = true)]
async fn an_answer_can_be_fetched_later() {
    let stage = Stage::new();
    let sum = stage.rpc.call_async(B, &ADD, &(2, 3), LONG);
    let slow = stage.rpc.call_async(B, &SLEEP, &1000, LONG);
    let slow = slow.within(Duration::from_millis(10)).await.expect_err("it is not there yet");
    assert_eq!(sum.await, Ok(5));
    assert_eq!(slow.await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn many_are_called_at_once_and_each_answers_for_itself() {
    let stage = Stage::new();
    let nowhere = NodeId(9);
    let answers = stage.rpc.multicall([A, B, nowhere], &ADD, &(2, 3), LONG).await;
    assert_eq!(answers[&A], Ok(5));
    assert_eq!(answers[&B], Ok(5));
    assert_eq!(answers[&nowhere], Err(RpcError::NotSent(NotSent::Unreachable)));
    let unsent = stage.rpc.broadcast([A, B, nowhere], &SLEEP, &1_000_000);
    assert_eq!(unsent.into_keys().collect::<Vec<_>>(), [nowhere]);
    settle().await;
    assert_eq!(stage.running(), 1);
}

#[tokio::test(start_paused = true)]
async fn rules_decide_by_function_and_role() {
    struct Edge;
    impl Roles for Edge {
        fn role_of(&self, node: NodeId) -> Option<String> {
            (node == A).then(|| "edge".into())
        }
    }
    let rules = Rules::new().deny("s*", "edge").deny("counter", "*");
    let config = RpcConfig { rules, ..RpcConfig::default() };
    let stage = Stage::with(table(), config, Arc::new(Edge));
    let rpc = &stage.rpc;
    assert_eq!(rpc.call(B, &ADD, &(2, 3), LONG).await, Ok(5));
    assert_eq!(rpc.call(B, &SLEEP, &1, LONG).await, Err(RpcError::Denied));
    assert_eq!(rpc.spawn(B, &COUNTER, &1, LONG).await.unwrap_err(), RpcError::Denied);
    assert_eq!(rpc.call(A, &SLEEP, &1, LONG).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn what_may_run_for_a_node_is_bounded() {
    let config = RpcConfig { callees_max: 2, ..RpcConfig::default() };
    let stage = Stage::with(table(), config, Arc::new(Nobody));
    let running = [1000, 5000].map(|ms| stage.rpc.call_async(B, &SLEEP, &ms, LONG));
    settle().await;
    assert_eq!(stage.rpc.call(B, &ADD, &(2, 3), LONG).await, Err(RpcError::Overloaded));
    quorate_env::sleep(Duration::from_millis(2000)).await;
    assert_eq!(stage.rpc.call(B, &ADD, &(2, 3), LONG).await, Ok(5), "there is room again");
    drop(running);
}

#[tokio::test(start_paused = true)]
async fn a_process_is_started_there_and_spoken_to() {
    let stage = Stage::new();
    let counter = stage.rpc.spawn(B, &COUNTER, &7, LONG).await.unwrap();
    assert_eq!(counter.pid().node, B);
    counter.send(Count::Up).unwrap();
    assert_eq!(counter.call(LONG, Count::Read).await, Ok(8));
}

/// Runs a body in a process of the first node; what it found.
async fn act<T, Fut>(
    stage: &Stage,
    body: impl FnOnce(Rpc, Mailbox<()>) -> Fut + Send + 'static,
) -> T
where
    T: Send + 'static,
    Fut: Future<Output = T> + Send + 'static,
{
    let (tell, told) = tokio::sync::oneshot::channel();
    let rpc = stage.rpc.clone();
    stage.a.spawn(|mailbox: Mailbox<()>| async move {
        let _ = tell.send(body(rpc, mailbox).await);
        Exit::Normal
    });
    told.await.expect("it comes to its end")
}

#[tokio::test(start_paused = true)]
async fn a_process_that_is_started_with_a_tie_is_tied_from_its_first_step() {
    for node in [A, B] {
        let stage = Stage::new();
        let (monitor, down) = act(&stage, move |rpc, mut mailbox| async move {
            let started = rpc.spawn_monitor(&mut mailbox, node, &COUNTER, &1, LONG).await;
            let (counter, monitor) = started.unwrap();
            counter.send(Count::End).unwrap();
            (monitor, mailbox.next().await)
        })
        .await;
        let Incoming::Down(down) = down else { panic!("it has ended") };
        assert_eq!((down.monitor, down.exit), (monitor, Exit::because("told so")));

        let exited = act(&stage, move |rpc, mut mailbox| async move {
            mailbox.trap_exit(true);
            let counter = rpc.spawn_link(&mut mailbox, node, &COUNTER, &1, LONG).await.unwrap();
            counter.send(Count::End).unwrap();
            mailbox.next().await
        })
        .await;
        let Incoming::Exited(trapped) = exited else { panic!("it has ended") };
        assert_eq!(trapped.exit, Exit::because("told so"));
        settle().await;
        assert_eq!(stage.running(), 0);
        assert!(!stage.a.is_tied_to(B) && !stage.b.is_tied_to(A));
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_linked_with_a_process_there_takes_it_along() {
    let stage = Stage::new();
    let parent = stage.a.spawn({
        let rpc = stage.rpc.clone();
        move |mut mailbox: Mailbox<()>| async move {
            rpc.spawn_link(&mut mailbox, B, &COUNTER, &1, LONG).await.unwrap();
            mailbox.receive().await;
            Exit::Normal
        }
    });
    settle().await;
    assert_eq!(stage.running(), 1);
    stage.a.kill(parent.pid());
    settle().await;
    assert_eq!(stage.running(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_monitor_of_a_process_that_did_not_start_is_gone() {
    let stage = Stage::new();
    *stage.road.swallows.lock().unwrap() = true;
    let heard = act(&stage, |rpc, mut mailbox| async move {
        let within = Duration::from_millis(10);
        let error = rpc.spawn_monitor(&mut mailbox, B, &COUNTER, &1, within).await.unwrap_err();
        assert!(error.maybe_done());
        mailbox.try_next().is_some()
    });
    assert!(!heard.await);
    settle().await;
    assert!(!stage.a.is_tied_to(B));
}
