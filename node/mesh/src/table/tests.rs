//! The table without a net: who stays, who goes, and what is told.

use quorate_vocab::Boot;

use super::*;

const ME: NodeId = NodeId(5);

fn table() -> Table {
    let limits = Limits { peers_max: 2, ..Limits::test() };
    Table::new(ME, Some(ClusterId(1)), &limits)
}

fn hello(node: u64, boot: u64) -> Hello {
    Hello {
        version_min: 1,
        version_max: 1,
        features: 0,
        cluster: Some(ClusterId(1)),
        node: NodeId(node),
        name: "peer".try_into().unwrap(),
        boot: Boot(boot),
        address: "host:1".into(),
        road: None,
        nonce: [0; 32],
    }
}

fn link(hello: &Hello, road: Road, dialled_by: NodeId) -> Arc<Link> {
    Arc::new(Link::new(hello, road, dialled_by, Some(ClusterId(1)), &Limits::test()))
}

fn enter(table: &mut Table, hello: &Hello, road: Road, by: u64) -> Result<Arc<Link>, Reason> {
    let link = link(hello, road, NodeId(by));
    table.admit(&link, hello)?;
    assert!(table.raise(&link));
    Ok(link)
}

fn told(table: &mut Table) -> String {
    let mut told = Vec::new();
    while let Some(event) = table.next_event() {
        told.push(match event {
            Event::Met(peer) => format!("met {}", peer.boot.0),
            Event::Parted(_) => "parted".to_owned(),
        });
    }
    told.join(", ")
}

#[test]
fn of_two_links_the_one_that_the_smaller_node_dialled_stays_whichever_came_first() {
    let peer = hello(9, 1);
    let (ours, theirs) = (ME.0, 9);
    let mut first_ours = table();
    enter(&mut first_ours, &peer, Road::Data, ours).unwrap();
    assert_eq!(enter(&mut first_ours, &peer, Road::Data, theirs).unwrap_err(), Reason::Duplicate);
    let mut first_theirs = table();
    let held = enter(&mut first_theirs, &peer, Road::Data, theirs).unwrap();
    enter(&mut first_theirs, &peer, Road::Data, ours).unwrap();
    assert!(held.is_closing());
    // The roads do not know each other.
    enter(&mut first_ours, &peer, Road::Control, theirs).unwrap();
}

#[test]
fn of_two_dials_at_once_the_smaller_node_settles_which_becomes_a_link() {
    // Its own proof is first: the other's is refused, until its own has come to nothing.
    let (mut smaller, peer) = (table(), hello(9, 1));
    let _dial = smaller.learn(NodeId(9), "host:9", false);
    let proving = smaller.prove(&peer, Road::Data).unwrap();
    assert_eq!(enter(&mut smaller, &peer, Road::Data, 9).unwrap_err(), Reason::Duplicate);
    drop(proving);
    enter(&mut smaller, &peer, Road::Data, 9).unwrap();
    // The other's is first: its own proof is not given.
    assert_eq!(smaller.prove(&peer, Road::Data).unwrap_err(), Reason::Duplicate);
    // The greater one leaves it to the smaller one.
    let (mut greater, peer) = (table(), hello(1, 1));
    let _dial = greater.learn(NodeId(1), "host:1", false);
    let _proving = greater.prove(&peer, Road::Data).unwrap();
    enter(&mut greater, &peer, Road::Data, 1).unwrap();
}

#[test]
fn the_same_side_dials_again_only_when_it_has_lost_its_link() {
    let (mut table, peer) = (table(), hello(9, 1));
    let lost = enter(&mut table, &peer, Road::Data, 9).unwrap();
    assert_eq!(table.prove(&peer, Road::Data).unwrap_err(), Reason::Duplicate);
    let new = enter(&mut table, &peer, Road::Data, 9).unwrap();
    assert!(lost.is_closing() && !new.is_closing());
    table.leave(&lost);
    assert!(table.link(NodeId(9), Road::Data).is_some(), "the end of the lost one is late");
}

#[test]
fn a_later_life_ends_every_link_of_the_earlier_one_which_never_comes_back() {
    let mut table = table();
    let control = enter(&mut table, &hello(9, 1), Road::Control, 9).unwrap();
    let data = enter(&mut table, &hello(9, 1), Road::Data, 9).unwrap();
    assert_eq!(told(&mut table), "met 1");
    let new = link(&hello(9, 2), Road::Control, NodeId(9));
    let place = table.admit(&new, &hello(9, 2)).unwrap();
    assert!(control.is_closing() && data.is_closing());
    assert_eq!(place.before.len(), 2, "the new one waits for both");
    assert_eq!(told(&mut table), "parted");
    let old = hello(9, 1);
    assert_eq!(enter(&mut table, &old, Road::Data, 9).unwrap_err(), Reason::OldBoot);
    assert_eq!(table.prove(&old, Road::Data).unwrap_err(), Reason::OldBoot);
    assert!(table.raise(&new));
    enter(&mut table, &hello(9, 2), Road::Data, 9).unwrap();
    assert_eq!(told(&mut table), "met 2");
}

#[test]
fn met_and_parted_take_turns() {
    let (mut table, peer) = (table(), hello(9, 1));
    let control = enter(&mut table, &peer, Road::Control, 9).unwrap();
    table.leave(&control);
    assert_eq!(told(&mut table), "", "one road alone was never met");
    let control = enter(&mut table, &peer, Road::Control, 9).unwrap();
    let data = enter(&mut table, &peer, Road::Data, 9).unwrap();
    table.leave(&data);
    table.leave(&control);
    assert_eq!(told(&mut table), "met 1, parted");
    enter(&mut table, &peer, Road::Control, 9).unwrap();
    enter(&mut table, &peer, Road::Data, 9).unwrap();
    enter(&mut table, &peer, Road::Data, 9).unwrap();
    table.forget(NodeId(9));
    table.forget(NodeId(9));
    assert_eq!(told(&mut table), "met 1, parted, met 1, parted");
    assert!(table.peers().is_empty());
}

#[test]
fn adopting_a_cluster_parts_from_members_of_another() {
    let mut table = Table::new(ME, None, &Limits::test());
    let other = Hello { cluster: Some(ClusterId(2)), ..hello(8, 1) };
    let same = enter(&mut table, &hello(9, 1), Road::Control, 9).unwrap();
    let other_link = enter(&mut table, &other, Road::Control, 8).unwrap();
    let none = Hello { cluster: None, ..hello(7, 1) };
    let none_link = enter(&mut table, &none, Road::Control, 7).unwrap();
    table.adopt(ClusterId(1));
    assert!(other_link.is_closing() && !same.is_closing() && !none_link.is_closing());
    assert_eq!(enter(&mut table, &other, Road::Data, 8).unwrap_err(), Reason::OtherCluster);
    assert_eq!(table.adopted(&none_link, ClusterId(2)), Err(Reason::OtherCluster));
    assert_eq!(table.adopted(&none_link, ClusterId(1)), Ok(()));
    let clusters: Vec<_> = table.peers().into_iter().map(|p| (p.id.0, p.cluster)).collect();
    let (one, two) = (Some(ClusterId(1)), Some(ClusterId(2)));
    assert_eq!(clusters, [(7, one), (8, two), (9, one)]);
}

#[test]
fn strangers_make_room_for_each_other_and_who_is_dialled_stays() {
    let mut table = table();
    let _dial = table.learn(NodeId(9), "host:9", false).unwrap();
    let one = enter(&mut table, &hello(1, 1), Road::Control, 1).unwrap();
    let two = hello(2, 1);
    assert_eq!(enter(&mut table, &two, Road::Control, 2).unwrap_err(), Reason::TooManyPeers);
    table.leave(&one);
    enter(&mut table, &two, Road::Control, 2).unwrap();
    assert!(table.learn(NodeId(9), "host:9", false).is_none(), "it was not made room of");
}

#[test]
fn a_node_is_dialled_where_it_answered_last_and_else_where_the_hall_says() {
    let mut table = table();
    let _alive = table.greet("seed:1").unwrap();
    assert!(table.greet("seed:1").is_none(), "asking twice is asking once");
    let first = table.find("seed:1", NodeId(1)).unwrap();
    let second = table.find("seed:1", NodeId(2)).unwrap();
    assert!(first.has_changed().is_err(), "only the seed knew it, and it is not there any more");
    assert!(table.learn(NodeId(2), "host:2", false).is_none());
    assert_eq!(*second.borrow(), "host:2");
    assert!(table.find("seed:1", NodeId(2)).is_none());
    assert_eq!(*second.borrow(), "seed:1", "it has just answered there");
    let third = table.find("seed:1", NodeId(3)).unwrap();
    assert_eq!(*second.borrow(), "host:2", "another node answers there now");
    table.forget(NodeId(3));
    assert!(third.has_changed().is_err());
    assert!(table.greet("seed:1").is_some(), "a greeting that led to it has ended as well");
}
