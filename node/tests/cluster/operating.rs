//! Clusters that are lost and begun anew, and nodes that are not who they were, on whole nodes over real
//! loopback TCP.

use std::collections::BTreeSet;
use std::path::PathBuf;

use quorate::{AnewError, Contents, Epoch, NodeId, Reason, Survivor};

use super::*;

/// Further nodes, which join the cluster of one that runs.
async fn join(dir: &Path, to: &Node, names: &[&str]) -> Vec<Node> {
    let address = [to.address().to_owned()];
    let mut nodes = Vec::new();
    for name in names {
        nodes.push(Node::start(config(name, dir, &address, 0)).await.unwrap());
    }
    for node in &nodes {
        assert!(node.quorate_within(SOON).await, "{} did not become quorate", node.name());
    }
    nodes
}

fn ids(nodes: &[Node]) -> BTreeSet<NodeId> {
    nodes.iter().map(Node::id).collect()
}

async fn vote(on: &Node, voters: &BTreeSet<NodeId>) {
    eventually("they vote", async || on.status().group.voters == *voters).await;
}

async fn epoch_of(on: &Node, held: &str) -> Option<Epoch> {
    let found = on.names().find(&name(held)).await.unwrap();
    found.registration.map(|held| held.epoch)
}

/// How many connections a node has ended because the other side was of another cluster.
fn strangers(node: &Node) -> u64 {
    node.counters().closed_for(Reason::OtherCluster)
}

async fn close(nodes: &[Node]) {
    for node in nodes {
        node.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_restored_from_a_backup_gives_higher_epochs_and_lets_no_old_node_in() {
    let dir = tempfile::tempdir().unwrap();
    let old = three(dir.path()).await;
    let first = old[0].names().claim(&name("till"), value("first")).await.unwrap();
    let process = old[1].spawn(till);
    old[1].names().register(&name("process"), &process).await.unwrap();
    // Of a follower as well as of the leader.
    let backup = old[2].backup().await.unwrap();
    let bytes: Vec<u8> = backup.pieces().flatten().collect();
    // The old cluster goes on, and gives the name to another.
    old[0].names().release(&name("till"), None, None).await.unwrap();
    let later = old[0].names().claim(&name("till"), value("later")).await.unwrap();
    assert!(later.epoch > first.epoch);

    let contents = Contents::read(&bytes[..], |_| ()).unwrap();
    assert_eq!(contents.head().cluster, old[0].status().cluster.unwrap());
    assert_eq!(contents.state().names_held(), 2);
    let anew = contents.clone().restore(&dir.path().join("r1"), None).await.unwrap();
    let again = contents.restore(&dir.path().join("r1"), None).await;
    assert!(matches!(again, Err(AnewError::Storage(_))), "{again:?}");
    assert_ne!(Some(anew.cluster), old[0].status().cluster);

    // Both clusters run at the same time, on one network.
    let mut new = vec![Node::start(config("r1", dir.path(), &[], 0)).await.unwrap()];
    assert!(new[0].quorate_within(SOON).await, "one node is all of the new cluster");
    assert_eq!((new[0].id(), new[0].status().cluster), (anew.node, Some(anew.cluster)));
    let restored = epoch_of(&new[0], "till").await.unwrap();
    assert!(restored > later.epoch && restored.generation() == 1);
    assert_eq!(epoch_of(&new[0], "process").await, None, "its process is not of this cluster");
    new.extend(join(dir.path(), &new[0], &["r2", "r3"]).await);
    vote(&new[0], &ids(&new)).await;
    new[1].names().release(&name("till"), None, None).await.unwrap();
    let next = new[2].names().claim(&name("till"), value("next")).await.unwrap();
    assert!(next.epoch > restored);

    assert_eq!(epoch_of(&old[1], "till").await, Some(later.epoch), "the old one lives on");

    // A node of the old one that meets nobody but the new one stays where it was.
    let cluster = old[0].status().cluster;
    close(&old).await;
    drop(old);
    let sent = started(config("n3", dir.path(), &[new[0].address().to_owned()], 0)).await;
    eventually("it was refused", async || strangers(&new[0]) + strangers(&sent) > 0).await;
    assert!(!sent.status().quorate && sent.status().cluster == cluster);
    assert_eq!(new[0].status().members.len(), 3);
    close(&new).await;
    sent.shutdown().await;
}

/// Starts a node in a directory that another has just closed: whatever of that one ends last has the lock.
async fn started(config: Config) -> Node {
    let until = quorate_env::now() + SOON;
    loop {
        match Node::start(config.clone()).await {
            Ok(node) => return node,
            Err(error) => assert!(quorate_env::now() < until, "{error}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_three_that_is_left_goes_on_with_all_that_it_had() {
    let dir = tempfile::tempdir().unwrap();
    let nodes = three(dir.path()).await;
    let (cluster, id) = (nodes[0].status().cluster, nodes[2].id());
    let mut held = Vec::new();
    for n in 0..20 {
        let claimed = nodes[n % 3].names().claim(&name(&format!("load/{n}")), value("v")).await;
        held.push(claimed.unwrap().epoch);
    }
    let newest = held.last().unwrap().index();
    let has_all = async || nodes[2].inspect(|machine, _| machine.applied()) >= newest;
    eventually("the third has all", has_all).await;
    let (data, lost) = (dir.path().join("n3"), nodes[0].id());
    let refused = Survivor::find(&data).await;
    assert!(matches!(refused, Err(AnewError::Storage(_))), "the node still runs");
    close(&nodes).await;
    drop(nodes);
    for name in ["n1", "n2"] {
        std::fs::rename(dir.path().join(name), dir.path().join(format!("lost-{name}"))).unwrap();
    }

    let survivor = found(&data).await;
    assert_eq!((Some(survivor.cluster()), survivor.node()), (cluster, id));
    assert_eq!(survivor.state().names_held(), 20);
    assert!(survivor.last() >= survivor.committed() && survivor.committed() >= newest);
    let others = survivor.other_voters();
    assert!(others.iter().any(|other| other.id == lost) && others.len() == 2, "{others:?}");
    drop(survivor);
    // The shelf of the node that was closed may still be putting its files in order.
    let is_untouched = async || {
        let before = files(&data);
        drop(found(&data).await);
        files(&data) == before
    };
    eventually("to look changes nothing", is_untouched).await;

    let (anew, former) = found(&data).await.begin_anew(None).await.unwrap();
    assert!(former.join("node.id").exists() && former.join("raft").exists());
    assert!(Some(anew.cluster) != cluster && anew.node != id);
    let mut new = vec![started(config("n3", dir.path(), &[], 0)).await];
    assert!(new[0].quorate_within(SOON).await, "one node is all of the new cluster");
    for (n, epoch) in held.iter().enumerate() {
        assert!(epoch_of(&new[0], &format!("load/{n}")).await > Some(*epoch), "load/{n}");
    }
    new.extend(join(dir.path(), &new[0], &["n1", "n2"]).await);
    vote(&new[0], &ids(&new)).await;
    new[1].names().claim(&name("after"), value("v")).await.unwrap();

    // The disk of one that was lost turns up: whoever starts it meets nobody.
    let mut back = config("n9", dir.path(), &[new[0].address().to_owned()], 0);
    back.data = dir.path().join("lost-n1");
    let back = started(back).await;
    eventually("it was refused", async || strangers(&new[0]) + strangers(&back) > 0).await;
    assert!(!back.status().quorate && back.status().cluster == cluster);
    assert_eq!(new[0].status().members.len(), 3);
    back.shutdown().await;
    close(&new).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_is_enough_when_all_voters_are_lost() {
    let dir = tempfile::tempdir().unwrap();
    let nodes = three(dir.path()).await;
    let follower = join(dir.path(), &nodes[0], &["n4"]).await;
    let held = nodes[0].names().claim(&name("till"), value("v")).await.unwrap();
    let has_it = async || follower[0].names().peek(&name("till")).registration.is_some();
    eventually("the follower has it", has_it).await;
    assert!(!follower[0].status().group.voters.contains(&follower[0].id()));
    close(&nodes).await;
    close(&follower).await;
    drop((nodes, follower));

    let survivor = found(&dir.path().join("n4")).await;
    assert_eq!(survivor.other_voters().len(), 3);
    survivor.begin_anew(None).await.unwrap();
    let anew = started(config("n4", dir.path(), &[], 0)).await;
    assert!(anew.quorate_within(SOON).await, "one node is all of the new cluster");
    assert!(epoch_of(&anew, "till").await > Some(held.epoch));
    anew.shutdown().await;
}

/// What a directory has that was closed a moment ago.
async fn found(data: &Path) -> Survivor {
    let until = quorate_env::now() + SOON;
    loop {
        match Survivor::find(data).await {
            Ok(survivor) => return survivor,
            // Whatever of a node ends last still has the lock.
            Err(error) => assert!(quorate_env::now() < until, "{error}"),
        }
    }
}

/// Every file with its bytes.
fn files(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let (mut dirs, mut files) = (vec![dir.to_owned()], Vec::new());
    while let Some(dir) = dirs.pop() {
        for found in std::fs::read_dir(dir).unwrap() {
            let path = found.unwrap().path();
            match path.is_dir() {
                true => dirs.push(path),
                false => files.push((path.clone(), std::fs::read(path).unwrap())),
            }
        }
    }
    files.sort();
    files
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_voter_that_lost_its_disk_comes_back_as_another_and_its_former_self_never_votes_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut nodes = three(dir.path()).await;
    let lost = nodes.pop().unwrap();
    let former = lost.id();
    lost.shutdown().await;
    drop(lost);
    let (data, aside) = (dir.path().join("n3"), dir.path().join("n3-aside"));
    std::fs::rename(&data, &aside).unwrap();

    nodes.extend(join(dir.path(), &nodes[0], &["n3"]).await);
    assert_ne!(nodes[2].id(), former);
    vote(&nodes[0], &ids(&nodes)).await;
    let called = |on: &Node| {
        let members = on.status().members.into_iter();
        members.filter(|member| member.name.as_str() == "n3").map(|member| member.id).collect()
    };
    let called: Vec<NodeId> = called(&nodes[0]);
    assert_eq!(called, [nodes[2].id()], "it took its own name back");

    // Its disk turns up after all.
    let mut back = config("n3", dir.path(), &[nodes[0].address().to_owned()], 0);
    back.data = aside;
    let back = started(back).await;
    assert_eq!(back.id(), former);
    let met = async || back.links().list().iter().any(|link| link.peer == nodes[0].id());
    eventually("it has met the others", met).await;
    nodes[0].names().claim(&name("till"), value("v")).await.unwrap();
    let dropped = async || !nodes[0].status().group.learners.contains(&former);
    eventually("it is out of the group", dropped).await;
    assert_eq!(nodes[0].status().group.voters, ids(&nodes));
    assert!(!back.status().quorate, "and holds no lease");
    back.shutdown().await;
    close(&nodes).await;
}
