//! A rolling upgrade: what the cluster agrees on rises when its last old member was brought to this build.

use quorate::Level;

use super::*;

fn agreed(node: &Node) -> Level {
    node.inspect(|machine, _| machine.level())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_level_rises_when_the_last_old_member_understands_it() {
    let dir = tempfile::tempdir().unwrap();
    talk();
    let old = |config| Config { level: Level::FIRST, ..config };
    let mut nodes = vec![Node::start(config("n1", dir.path(), &[], 3)).await.unwrap()];
    let join = [nodes[0].address().to_owned()];
    nodes.push(Node::start(config("n2", dir.path(), &join, 3)).await.unwrap());
    nodes.push(Node::start(old(config("n3", dir.path(), &join, 3))).await.unwrap());
    for node in &nodes {
        assert!(node.quorate_within(SOON).await, "{} did not become quorate", node.name());
    }
    // All three have taken part, and one of them is old.
    nodes[0].names().claim(&name("till"), value("x")).await.unwrap();
    assert!(nodes.iter().all(|node| agreed(node) == Level::FIRST));

    // Away it still holds the others back: it might come back as old as it went.
    nodes.pop().unwrap().shutdown().await;
    nodes[1].names().release(&name("till"), None, None).await.unwrap();
    assert!(nodes.iter().all(|node| agreed(node) == Level::FIRST));

    let join: Vec<String> = nodes.iter().map(|node| node.address().to_owned()).collect();
    nodes.push(started_again(&config("n3", dir.path(), &join, 3)).await);
    let is_raised = async || nodes.iter().all(|node| agreed(node) == Level::NEWEST);
    eventually("all know of the new level", is_raised).await;
    for node in &nodes {
        node.shutdown().await;
    }
}
