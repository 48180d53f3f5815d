//! Stories of process groups on two nodes.

use crate::family;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use family::soon;
use quorate_actor::{
    Actors, ActorsConfig, Addr, Carrier, Exit, Loss, Mailbox, Message, NotSent, Postage,
};
use quorate_otp::{GroupNews, Groups, Membership};
use quorate_vocab::{Boot, NodeId, Pid};

/// Joins the nodes of a test.
#[derive(Default)]
struct Road {
    nodes: Mutex<BTreeMap<NodeId, Actors>>,
    cut: Mutex<bool>,
    /// Letters that are taken and lost.
    swallows: Mutex<usize>,
}

struct End(NodeId, Weak<Road>);

impl Carrier for End {
    fn post(&self, to: NodeId, _: Postage, letter: &mut Vec<u8>) -> Result<(), NotSent> {
        let road = self.1.upgrade().ok_or(NotSent::Unreachable)?;
        if *road.cut.lock().unwrap() {
            return Err(NotSent::Unreachable);
        }
        {
            let mut swallows = road.swallows.lock().unwrap();
            if *swallows > 0 {
                *swallows -= 1;
                return Ok(());
            }
        }
        let node = road.nodes.lock().unwrap().get(&to).cloned().ok_or(NotSent::Unreachable)?;
        // A refusal is the far node's to count.
        let _ = node.deliver(self.0, letter);
        Ok(())
    }
}

struct Node {
    actors: Actors,
    groups: Groups,
}

impl Node {
    async fn new(road: &Arc<Road>, node: u64) -> Self {
        let node = NodeId(node);
        let end = Arc::new(End(node, Arc::downgrade(road)));
        let actors = Actors::new(node, Boot(1), end, ActorsConfig::default());
        road.nodes.lock().unwrap().insert(node, actors.clone());
        let groups = Groups::new();
        soon(groups.start(&actors)).await.unwrap();
        Self { actors, groups }
    }

    async fn member(&self, group: &'static str) -> Addr<()> {
        let addr = self.actors.spawn(async |mut mailbox: Mailbox<()>| {
            mailbox.receive().await;
            Exit::Normal
        });
        soon(self.groups.join(group, addr.pid())).await.unwrap();
        addr
    }

    /// Waits until a group has these members.
    async fn sees(&self, group: &str, members: &[Pid]) {
        soon(async {
            while self.groups.members(group) != members {
                quorate_env::sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
    }
}

fn meet(a: &Node, b: &Node) {
    a.groups.met(b.actors.node());
    b.groups.met(a.actors.node());
}

fn part(a: &Node, b: &Node) {
    for (here, there) in [(a, b), (b, a)] {
        here.actors.lost(there.actors.node(), Loss::Link);
        here.groups.lost(there.actors.node());
    }
}

#[tokio::test(start_paused = true)]
async fn members_of_other_nodes_are_known_when_they_meet_and_with_each_change() {
    let road = Arc::new(Road::default());
    let (a, b) = (Node::new(&road, 1).await, Node::new(&road, 2).await);
    let (early, other) = (a.member("red").await, b.member("blue").await);
    meet(&a, &b);
    b.sees("red", &[early.pid()]).await;
    a.sees("blue", &[other.pid()]).await;
    let late = b.member("red").await;
    a.sees("red", &[early.pid(), late.pid()]).await;
    assert_eq!(a.groups.members_on(NodeId(2), "red"), [late.pid()]);
    soon(b.groups.join("red", late.pid())).await.unwrap();
    a.sees("red", &[early.pid(), late.pid(), late.pid()]).await;
    soon(b.groups.leave("red", late.pid())).await.unwrap();
    a.sees("red", &[early.pid(), late.pid()]).await;
    late.send(()).unwrap();
    a.sees("red", &[early.pid()]).await;
    early.send(()).unwrap();
    b.sees("red", &[]).await;
    assert_eq!(a.groups.which_groups(), ["blue".into()] as [Arc<str>; 1]);
}

struct Heard(GroupNews);

impl Message for Heard {}

#[tokio::test(start_paused = true)]
async fn the_members_of_a_lost_node_leave_and_come_back_with_it() {
    let road = Arc::new(Road::default());
    let (a, b) = (Node::new(&road, 1).await, Node::new(&road, 2).await);
    let (here, stays) = (a.member("red").await, b.member("red").await);
    let goes = b.member("red").await;
    meet(&a, &b);
    a.sees("red", &[here.pid(), stays.pid(), goes.pid()]).await;

    let news = Arc::new(Mutex::new(Vec::new()));
    let keeps = news.clone();
    let listener = a.actors.spawn(async move |mut mailbox: Mailbox<Heard>| {
        loop {
            let Heard(GroupNews { now, pids, .. }) = mailbox.receive().await;
            keeps.lock().unwrap().push((now, pids));
        }
    });
    soon(a.groups.subscribe("red", listener, Heard)).await.unwrap();

    *road.cut.lock().unwrap() = true;
    part(&a, &b);
    a.sees("red", &[here.pid()]).await;
    b.sees("red", &[stays.pid(), goes.pid()]).await;
    goes.send(()).unwrap();
    b.sees("red", &[stays.pid()]).await;
    *road.cut.lock().unwrap() = false;
    meet(&a, &b);
    a.sees("red", &[here.pid(), stays.pid()]).await;
    b.sees("red", &[here.pid(), stays.pid()]).await;
    quorate_env::sleep(Duration::from_millis(1)).await;
    let left = (Membership::Left, vec![stays.pid(), goes.pid()]);
    assert_eq!(*news.lock().unwrap(), [left, (Membership::Joined, vec![stays.pid()])]);
}

#[tokio::test(start_paused = true)]
async fn what_was_lost_on_the_way_is_asked_for_again() {
    let road = Arc::new(Road::default());
    let (a, b) = (Node::new(&road, 1).await, Node::new(&road, 2).await);
    meet(&a, &b);
    let seen = b.member("red").await;
    a.sees("red", &[seen.pid()]).await;
    *road.swallows.lock().unwrap() = 1;
    let missed = b.member("red").await;
    let next = b.member("red").await;
    a.sees("red", &[seen.pid(), missed.pid(), next.pid()]).await;
}

#[tokio::test(start_paused = true)]
async fn an_usher_that_ended_leaves_its_successor_what_it_knew() {
    let road = Arc::new(Road::default());
    let (a, b) = (Node::new(&road, 1).await, Node::new(&road, 2).await);
    meet(&a, &b);
    let (at_a, at_b) = (a.member("red").await, b.member("red").await);
    a.sees("red", &[at_a.pid(), at_b.pid()]).await;
    let usher = a.actors.whereis("quorate.groups").unwrap();
    let ended = a.actors.ended(usher);
    a.actors.kill(usher);
    soon(ended).await;
    let while_away = b.member("red").await;
    soon(a.groups.start(&a.actors)).await.unwrap();
    a.sees("red", &[at_a.pid(), at_b.pid(), while_away.pid()]).await;
    at_a.send(()).unwrap();
    b.sees("red", &[at_b.pid(), while_away.pid()]).await;
}
