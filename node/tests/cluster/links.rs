//! Topology rules and news of nodes, on whole nodes over real loopback TCP.

use quorate::{
    DownReason, Index, LinkRule, MemberState, NodeMonitor, NodeNews, NodeRole, Rule, Rules, Which,
};

use super::*;

/// Three voters, and a fourth node at the rim.
async fn three_and_an_edge(dir: &Path) -> Vec<Node> {
    let mut nodes = three(dir).await;
    let join = [nodes[0].address().to_owned()];
    let mut edge = config("n4", dir, &join, 0);
    edge.labels = [("role".to_owned(), "edge".to_owned())].into();
    nodes.push(Node::start(edge).await.unwrap());
    assert!(nodes[3].quorate_within(SOON).await, "the edge takes part");
    eventually("each knows all", async || nodes.iter().all(|node| known(node).len() == 3)).await;
    nodes
}

fn known(node: &Node) -> Vec<quorate::NodeInfo> {
    let nodes = node.nodes_of(Which::Known);
    nodes.into_iter().filter(|other| other.state == MemberState::Up).collect()
}

/// Does something that a change of leader may hinder, until it is decided.
async fn decided<T>(what: impl AsyncFn() -> Result<T, Error>) -> Result<T, Refusal> {
    let until = quorate_env::now() + SOON;
    loop {
        match what().await {
            Ok(done) => return Ok(done),
            Err(Error::Refused(refusal)) => return Err(refusal),
            Err(error) => assert!(quorate_env::now() < until, "{error}"),
        }
    }
}

fn deny(from: &str, to: &str) -> Rules {
    let [from, to] = [from, to].map(|text| text.parse().unwrap());
    let stance = "deny".parse().unwrap();
    let lanes = quorate::Lanes::ALL;
    Rules::new(vec![Rule { from, to, stance, lanes, rates: [None; 3] }]).unwrap()
}

async fn set(
    on: &Node,
    rules: &Rules,
    replace: Option<Index>,
    key: u128,
) -> Result<Index, Refusal> {
    decided(async || on.links().set_rules(rules.clone(), replace, Some(key)).await).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_reach_every_node_and_shut_nobody_out_who_could_take_them_back() {
    let dir = tempfile::tempdir().unwrap();
    let nodes = three_and_an_edge(dir.path()).await;
    let edge = &nodes[3];
    let judged = |on: &Node, peer: &Node| on.links().judge(peer.id()).allowed;

    let version = set(edge, &deny("role:edge", "node:n1"), Some(Index(0)), 1).await.unwrap();
    eventually("the edge knows", async || !judged(edge, &nodes[0])).await;
    assert!(judged(edge, &nodes[1]) && judged(&nodes[0], edge), "a rule has a direction");
    let late = set(&nodes[1], &Rules::NONE, Some(Index(0)), 2).await;
    assert_eq!(late, Err(Refusal::RulesChanged { present: version }));

    // Nobody may send to anybody; yet all of them write, and any of them can open everything again.
    let version = set(&nodes[1], &deny("any", "any"), Some(version), 3).await.unwrap();
    let shut =
        async || nodes.iter().all(|on| known(on).iter().all(|to| !on.links().judge(to.id).allowed));
    eventually("all are shut", shut).await;
    for node in &nodes {
        let name = Name::new(format!("of/{}", node.name())).unwrap();
        decided(async || node.names().claim(&name, Default::default()).await).await.unwrap();
    }
    set(edge, &Rules::NONE, Some(version), 4).await.unwrap();
    let open = async || {
        nodes.iter().all(|on| nodes.iter().all(|to| on.links().judge(to.id()) == LinkRule::OPEN))
    };
    eventually("all are open", open).await;
    for node in &nodes {
        assert!(node.quorate_within(SOON).await, "{} holds its lease", node.name());
        node.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_come_and_go_for_a_reason_and_an_edge_is_hidden() {
    let dir = tempfile::tempdir().unwrap();
    let mut nodes = three_and_an_edge(dir.path()).await;
    let first = nodes[0].clone();
    let names = |which| -> Vec<String> {
        first.nodes_of(which).iter().map(|node| node.name.to_string()).collect()
    };
    assert_eq!(names(Which::Visible), ["n2", "n3"]);
    assert_eq!((names(Which::Hidden), names(Which::Known).len()), (vec!["n4".to_owned()], 3));
    let of_edge = nodes[3].nodes();
    assert_eq!(of_edge.len(), 3, "whoever is hidden sees the others");
    assert!(of_edge.iter().all(|node| node.role == NodeRole::Voter));

    let mut visible = first.monitor_nodes(Which::Visible);
    let mut all = first.monitor_nodes(Which::Known);
    assert_eq!(visible.present().count(), 2);
    nodes.pop().expect("the edge").shutdown().await;
    assert!(is_gone(&next(&mut all).await, "n4"));
    nodes.pop().expect("the third").shutdown().await;
    for monitor in [&mut visible, &mut all] {
        assert!(is_gone(&next(monitor).await, "n3"));
    }

    let join: Vec<String> = nodes.iter().map(|node| node.address().to_owned()).collect();
    nodes.push(started_again(&config("n3", dir.path(), &join, 3)).await);
    for monitor in [&mut visible, &mut all] {
        assert_eq!(next(monitor).await, ("n3".to_owned(), None));
    }
    for node in &nodes {
        node.shutdown().await;
    }
}

/// Whether a node went as one does that is shut down. On a machine that stood still its farewell may come
/// too late; then it is silence that tells.
fn is_gone(news: &(String, Option<DownReason>), name: &str) -> bool {
    let reasons = [Some(DownReason::Stopped), Some(DownReason::Silent)];
    news.0 == name && reasons.contains(&news.1)
}

/// The next news: of whom, and why it is down if it is.
async fn next(monitor: &mut NodeMonitor) -> (String, Option<DownReason>) {
    match quorate_env::timeout(SOON, monitor.next()).await.expect("there is news") {
        NodeNews::Up { name, .. } => (name.to_string(), None),
        NodeNews::Down { name, reason, .. } => (name.to_string(), Some(reason)),
    }
}
