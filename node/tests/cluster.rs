//! Whole nodes on real disks and real loopback TCP, in one process.

use std::path::Path;
use std::time::Duration;

use quorate::prelude::*;
use quorate::{Claiming, Cookie, NodeName, NotDone, Refusal};
use serde::{Deserialize, Serialize};

#[path = "cluster/crowds.rs"]
mod crowds;
#[path = "cluster/legacies.rs"]
mod legacies;
#[path = "cluster/levels.rs"]
mod levels;
#[path = "cluster/links.rs"]
mod links;
#[path = "cluster/names.rs"]
mod names;
#[path = "cluster/operating.rs"]
mod operating;
#[path = "cluster/sentinel.rs"]
mod sentinel;
#[path = "cluster/settled.rs"]
mod settled;
#[path = "cluster/singletons.rs"]
mod singletons;
#[path = "cluster/stuck.rs"]
mod stuck;

/// How long anything may take before a test gives up on it.
const SOON: Duration = Duration::from_secs(60);
/// Longer than a busy machine may let these nodes stand still: what a session holds stays held.
const LEASE: Duration = Duration::from_secs(10);

fn talk() {
    let filter = tracing_subscriber::EnvFilter::from_default_env();
    let to_test = tracing_subscriber::fmt().with_env_filter(filter).with_test_writer();
    // Another test of this process may have been first.
    let _ = to_test.try_init();
}

fn config(name: &str, dir: &Path, join: &[String], expect: usize) -> Config {
    let name = NodeName::try_from(name).unwrap();
    let cookie = Cookie::new("a secret for this test only").unwrap();
    let mut config = Config::new(name.clone(), cookie);
    config.listen = "127.0.0.1:0".to_owned();
    config.data = dir.join(name.as_str());
    config.join = join.to_vec();
    config.expect = expect;
    config.lease = LEASE;
    // A machine that stands still for a while must not look like a cut: mail of a lost link is lost.
    (config.limits.silence, config.limits.write_stall) = (SOON, SOON);
    config
}

async fn three(dir: &Path) -> Vec<Node> {
    three_with(dir, LEASE).await
}

async fn three_with(dir: &Path, lease: Duration) -> Vec<Node> {
    talk();
    let start =
        |name: &str, join: &[String]| Node::start(Config { lease, ..config(name, dir, join, 3) });
    let first = start("n1", &[]).await.unwrap();
    let join = [first.address().to_owned()];
    let mut nodes = vec![first];
    for name in ["n2", "n3"] {
        nodes.push(start(name, &join).await.unwrap());
    }
    for node in &nodes {
        assert!(node.quorate_within(SOON).await, "{} did not become quorate", node.name());
    }
    nodes
}

/// Starts a node as soon as the one before has let go of its data.
async fn started_again(config: &Config) -> Node {
    let until = quorate_env::now() + SOON;
    loop {
        match Node::start(config.clone()).await {
            Ok(node) => return node,
            Err(error) => assert!(quorate_env::now() < until, "{error}"),
        }
        quorate_env::sleep(Duration::from_millis(10)).await;
    }
}

/// Waits until something is so, and fails when it never is.
async fn eventually(what: &str, is_so: impl AsyncFn() -> bool) {
    let until = quorate_env::now() + SOON;
    while !is_so().await {
        assert!(quorate_env::now() < until, "not in {SOON:?}: {what}");
        quorate_env::sleep(Duration::from_millis(10)).await;
    }
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn value(text: &str) -> Claiming {
    Claiming { value: text.as_bytes().to_vec(), ..Claiming::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes_agree_on_a_name_and_remember_it() {
    let dir = tempfile::tempdir().unwrap();
    let nodes = three(dir.path()).await;
    let held = nodes[0].names().claim(&name("till"), value("first")).await.unwrap();
    for node in &nodes {
        let found = node.names().find(&name("till")).await.unwrap().registration.unwrap();
        assert_eq!((found.epoch, found.value.as_slice()), (held.epoch, &b"first"[..]));
    }
    let taken = nodes[1].names().claim(&name("till"), value("second")).await;
    assert!(matches!(taken, Err(Error::Refused(Refusal::Taken(by))) if by.epoch == held.epoch));
    for node in &nodes {
        node.shutdown().await;
    }
    drop(nodes);

    let again = three(dir.path()).await;
    let found = again[2].names().find(&name("till")).await.unwrap().registration.unwrap();
    assert_eq!(found.epoch, held.epoch);
    let (epoch, _) = again[2].names().release(&name("till"), None, None).await.unwrap();
    assert_eq!(epoch, held.epoch);
    let next = again[1].names().claim(&name("till"), value("third")).await.unwrap();
    assert!(next.epoch > held.epoch);
    for node in &again {
        node.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_comes_before_the_cluster_has_begun_waits_for_it_and_joins() {
    let dir = tempfile::tempdir().unwrap();
    talk();
    let first = Node::start(config("n1", dir.path(), &[], 3)).await.unwrap();
    let join = [first.address().to_owned()];
    let early = Node::start(config("n4", dir.path(), &join, 0)).await.unwrap();
    let met = async || early.links().list().iter().any(|link| link.peer == first.id());
    eventually("the newcomer has met a founder", met).await;
    let mut nodes = vec![first, early];
    for name in ["n2", "n3"] {
        nodes.push(Node::start(config(name, dir.path(), &join, 3)).await.unwrap());
    }
    for node in &nodes {
        assert!(node.quorate_within(SOON).await, "{} did not become quorate", node.name());
    }
}

#[derive(Serialize, Deserialize)]
enum Till {
    Add(u64, ReplyTo<u64>),
    Quiet(u64),
    Close,
}

impl Message for Till {
    const WIRE: Option<quorate::Wire<Self>> = Some(quorate::Wire::new("test.till", 1));
}

async fn till(mut mail: quorate::Mailbox<Till>) -> Exit {
    let mut sum = 0;
    loop {
        match mail.receive().await {
            Till::Add(n, to) => {
                sum += n;
                to.send(sum);
            }
            Till::Quiet(n) => sum += n,
            Till::Close => return Exit::Normal,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mail_to_a_global_name_reaches_its_process_on_another_node() {
    let dir = tempfile::tempdir().unwrap();
    let nodes = three(dir.path()).await;
    let addr = nodes[0].spawn(till);
    nodes[0].names().register(&name("till"), &addr).await.unwrap();

    let far = nodes[2].names().whereis::<Till>(&name("till")).await.unwrap().unwrap();
    assert_eq!(far.call(SOON, |to| Till::Add(5, to)).await, Ok(5));
    assert_eq!(far.call(SOON, |to| Till::Add(6, to)).await, Ok(11));

    // Watched from before the message on: of a process that has ended nobody knows how.
    let ended = nodes[0].actors().ended(addr.pid());
    nodes[2].names().send(&name("till"), Till::Close).unwrap();
    assert_eq!(quorate_env::timeout(SOON, ended).await.expect("it closes"), Exit::Normal);
    let mut watch = nodes[1].names().watch("till", quorate::Index(0));
    let released = async {
        while !matches!(watch.next().await.unwrap().effects[0], quorate::Effect::Released { .. }) {}
    };
    quorate_env::timeout(SOON, released).await.expect("its name is given back");
    for node in &nodes {
        node.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_its_majority_refuses_in_bounded_time() {
    let dir = tempfile::tempdir().unwrap();
    let lease = Duration::from_secs(2);
    let nodes = three_with(dir.path(), lease).await;
    nodes[1].shutdown().await;
    nodes[2].shutdown().await;
    let names = nodes[0].names();
    bounded(lease, async || {
        let write = names.claim(&name("alone"), value("x")).await;
        assert!(matches!(write, Err(Error::NotDone(_) | Error::Unknown)), "{write:?}");
    })
    .await;
    bounded(lease, async || {
        let read = names.find(&name("alone")).await;
        assert!(
            matches!(read, Err(Error::NotDone(NotDone::NoLeader | NotDone::NoQuorum))),
            "{read:?}"
        );
    })
    .await;
    nodes[0].shutdown().await;
}

/// Calls until an answer came within a lease and a second, and one more for what a machine adds. One that
/// stands still may add more to a call, but not to five in a row.
async fn bounded(lease: Duration, call: impl AsyncFn()) {
    let bound = lease + Duration::from_secs(2);
    for _ in 0..5 {
        let began = quorate_env::now();
        quorate_env::timeout(SOON, call()).await.expect("a call ends");
        if quorate_env::now().since(began) < bound {
            return;
        }
    }
    panic!("none of five calls was answered within {bound:?}");
}
