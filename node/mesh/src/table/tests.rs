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
        address: format!("shown:{node}"),
        road: None,
        strand: 0,
        nonce: [0; 32],
    }
}

fn link(hello: &Hello, road: Road, dialled_by: NodeId) -> Arc<Link> {
    Arc::new(Link::new(hello, road, dialled_by, Some(ClusterId(1)), &Limits::test()))
}

/// Lets a link in and raises it, once those before it have ended.
fn enter(table: &mut Table, hello: &Hello, road: Road, by: u64) -> Result<Arc<Link>, Reason> {
    let link = link(hello, road, NodeId(by));
    for before in table.admit(&link, hello)?.before {
        end(table, &before);
    }
    table.raise(&link).expect("it holds its place");
    Ok(link)
}

/// What a link's task does at its end.
fn end(table: &mut Table, link: &Arc<Link>) -> Option<Arc<Outbox>> {
    let reason = link.close(Reason::Gone);
    table.leave(link, reason)
}

fn told(table: &mut Table) -> String {
    let mut told = Vec::new();
    while let Some((event, _)) = table.next_event() {
        told.push(match event {
            Event::Up(peer, road) => format!("{road} up {}", peer.boot.0),
            Event::Down(_, road, reason) => format!("{road} {reason}"),
        });
    }
    told.join(", ")
}

fn at(millis: u64) -> Time {
    Time::default() + std::time::Duration::from_millis(millis)
}

#[test]
fn of_two_links_the_one_that_the_smaller_node_dialled_stays_whichever_came_first() {
    let peer = hello(9, 1);
    let (ours, theirs) = (ME.0, 9);
    let mut first_ours = table();
    first_ours.learn(NodeId(9), "host:9");
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
    smaller.learn(NodeId(9), "host:9");
    let proving = smaller.prove(&peer, Road::Data).unwrap();
    assert_eq!(enter(&mut smaller, &peer, Road::Data, 9).unwrap_err(), Reason::Duplicate);
    drop(proving);
    enter(&mut smaller, &peer, Road::Data, 9).unwrap();
    // The other's is first: its own proof is not given.
    assert_eq!(smaller.prove(&peer, Road::Data).unwrap_err(), Reason::Duplicate);
    // The greater one leaves it to the smaller one.
    let (mut greater, peer) = (table(), hello(1, 1));
    greater.learn(NodeId(1), "host:1");
    let _proving = greater.prove(&peer, Road::Data).unwrap();
    enter(&mut greater, &peer, Road::Data, 1).unwrap();
}

/// The hello of a peer that opens a strand of the data road.
fn strand(node: u64, strand: u8) -> Hello {
    Hello { strand, ..hello(node, 1) }
}

#[test]
fn the_strands_of_a_road_are_one_road_which_is_up_from_the_first_to_the_last() {
    let mut table = table();
    let first = enter(&mut table, &strand(9, 0), Road::Data, 9).unwrap();
    let third = enter(&mut table, &strand(9, 2), Road::Data, 9).unwrap();
    assert!(!first.is_closing() && !third.is_closing(), "each has a place of its own");
    assert_eq!(told(&mut table), "data up 1");
    first.close(Reason::Unneeded);
    end(&mut table, &first);
    assert!(table.link(NodeId(9), Road::Data).is_some());
    enter(&mut table, &strand(9, 0), Road::Data, 9).unwrap();
    assert_eq!(told(&mut table), "", "it never was without a strand");
    for at in [0, 2] {
        let link = table.occupant(NodeId(9), Road::Data).unwrap();
        link.close(Reason::Unneeded);
        end(&mut table, &link);
        assert_eq!(told(&mut table), if at == 0 { "" } else { "data unneeded" });
    }
}

#[test]
fn when_one_strand_breaks_all_do_and_it_is_told_once_when_the_last_has_ended() {
    let mut table = table();
    let links = [0, 1, 3].map(|at| enter(&mut table, &strand(9, at), Road::Data, 9).unwrap());
    let waits = |table: &mut Table, flow| {
        let way = table.way_to(NodeId(9), Lane::Normal, flow, at(0)).unwrap();
        way.outbox.push(Lane::Normal, flow, crate::wire::What::Mail, b"x").unwrap();
        way.outbox
    };
    let waiting = waits(&mut table, 7);
    told(&mut table);
    end(&mut table, &links[1]);
    assert!(links.iter().all(|link| link.is_closing()));
    assert_eq!(table.waiting_for(NodeId(9)).len(), 0, "what waited goes over no other strand");
    // A new one waits for all that may still bring something.
    let new = link(&strand(9, 1), Road::Data, NodeId(9));
    let before = table.admit(&new, &strand(9, 1)).unwrap().before;
    assert_eq!(before.len(), 2);
    assert_eq!(told(&mut table), "", "the others have not ended yet");
    end(&mut table, &links[0]).unwrap().close();
    assert_eq!(told(&mut table), "");
    end(&mut table, &links[2]).unwrap();
    assert_eq!(told(&mut table), "data gone");
    assert!(waiting.push(Lane::Normal, 7, crate::wire::What::Mail, b"x").is_err());
    table.raise(&new).unwrap();
    assert_eq!(told(&mut table), "data up 1");
}

#[test]
fn a_strand_that_cannot_be_opened_breaks_its_road_for_what_waited_is_lost() {
    let limits = Limits { data_connections: 4, ..Limits::test() };
    let mut table = Table::new(ME, Some(ClusterId(1)), &limits);
    let first = enter(&mut table, &strand(9, 0), Road::Data, 9).unwrap();
    let mut flows = 0..;
    let way = flows.find_map(|flow| {
        let way = table.way_to(NodeId(9), Lane::Normal, flow, at(0)).unwrap();
        (way.strand == 2).then_some(way)
    });
    assert!(way.unwrap().closed && table.begin_reaching(NodeId(9), 2));
    told(&mut table);
    table.unreached(NodeId(9), 2, Reason::Unreachable, at(0)).unwrap();
    assert!(first.is_closing());
    end(&mut table, &first);
    assert_eq!(told(&mut table), "data unreachable");
    let flow = flows.start - 1;
    let rests = table.way_to(NodeId(9), Lane::Normal, flow, at(0)).unwrap_err();
    assert_eq!(rests, SendError::NoLink);
    enter(&mut table, &strand(9, 0), Road::Data, 9).unwrap();
    let way = table.way_to(NodeId(9), Lane::Normal, flow, at(0));
    assert!(way.is_ok(), "the road is up, so what is dropped silently would be missed by nobody");
}

#[test]
fn flows_that_are_numbered_in_any_way_are_spread_over_all_strands() {
    for step in [1, 2, 4, 1 << 20, 1 << 40] {
        let mut counts = [0; 4];
        for flow in (0..400).map(|number: u64| number.wrapping_mul(step)) {
            counts[entry::strand_of(flow, 4)] += 1;
        }
        assert!(counts.iter().all(|count| (40..200).contains(count)), "{step}: {counts:?}");
    }
    assert!((0..99).all(|flow| entry::strand_of(flow, 1) == 0));
}

#[test]
fn the_same_side_dials_again_only_when_it_has_lost_its_link() {
    let (mut table, peer) = (table(), hello(9, 1));
    let lost = enter(&mut table, &peer, Road::Data, 9).unwrap();
    assert_eq!(table.prove(&peer, Road::Data).unwrap_err(), Reason::Duplicate);
    let new = link(&peer, Road::Data, NodeId(9));
    let place = table.admit(&new, &peer).unwrap();
    assert!(lost.is_closing() && !new.is_closing());
    assert_eq!(place.before.len(), 1);
    assert!(Arc::ptr_eq(&place.before[0], &lost));
    end(&mut table, &lost);
    table.raise(&new).unwrap();
    end(&mut table, &lost);
    assert!(table.link(NodeId(9), Road::Data).is_some(), "the end of the lost one is late");
}

#[test]
fn a_later_life_ends_every_link_of_the_earlier_one_which_never_comes_back() {
    let mut table = table();
    let control = enter(&mut table, &hello(9, 1), Road::Control, 9).unwrap();
    let data = enter(&mut table, &hello(9, 1), Road::Data, 9).unwrap();
    assert_eq!(told(&mut table), "control up 1, data up 1");
    let new = link(&hello(9, 2), Road::Control, NodeId(9));
    let place = table.admit(&new, &hello(9, 2)).unwrap();
    assert!(control.is_closing() && data.is_closing());
    assert_eq!(place.before.len(), 2, "the new one waits for both");
    assert_eq!(told(&mut table), "", "they may still hand something to the inside");
    end(&mut table, &control);
    end(&mut table, &data);
    assert_eq!(told(&mut table), "control superseded, data superseded");
    let old = hello(9, 1);
    assert_eq!(enter(&mut table, &old, Road::Data, 9).unwrap_err(), Reason::OldBoot);
    assert_eq!(table.prove(&old, Road::Data).unwrap_err(), Reason::OldBoot);
    table.raise(&new).unwrap();
    enter(&mut table, &hello(9, 2), Road::Data, 9).unwrap();
    assert_eq!(told(&mut table), "control up 2, data up 2");
}

#[test]
fn up_and_down_of_a_road_take_turns_whatever_ends_a_link() {
    let (mut table, peer) = (table(), hello(9, 1));
    let control = enter(&mut table, &peer, Road::Control, 9).unwrap();
    end(&mut table, &control);
    let unraised = link(&peer, Road::Control, NodeId(9));
    table.admit(&unraised, &peer).unwrap();
    end(&mut table, &unraised);
    assert_eq!(told(&mut table), "control up 1, control gone", "who was not up is not down");
    assert_eq!(table.raise(&unraised), None);
    enter(&mut table, &peer, Road::Data, 9).unwrap();
    let second = enter(&mut table, &peer, Road::Data, 9).unwrap();
    assert_eq!(told(&mut table), "data up 1, data replaced, data up 1");
    table.forget(NodeId(9));
    table.forget(NodeId(9));
    assert!(table.peers().is_empty());
    let ours = enter(&mut table, &peer, Road::Data, ME.0);
    assert_eq!(ours.unwrap_err(), Reason::Forgotten, "nobody is to be dialled there");
    // It is back before its old link has ended.
    let third = link(&peer, Road::Data, NodeId(9));
    let place = table.admit(&third, &peer).unwrap();
    assert!(place.before.iter().any(|before| Arc::ptr_eq(before, &second)));
    end(&mut table, &second);
    table.raise(&third).unwrap();
    assert_eq!(told(&mut table), "data forgotten, data up 1");
    table.close();
    assert_eq!(enter(&mut table, &peer, Road::Control, 9).unwrap_err(), Reason::Closing);
    end(&mut table, &third);
    assert_eq!(told(&mut table), "data closing");
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
fn strangers_make_room_for_each_other_and_who_is_known_or_waited_for_stays() {
    let mut table = table();
    table.learn(NodeId(9), "host:9");
    let one = enter(&mut table, &hello(1, 1), Road::Control, 1).unwrap();
    let two = hello(2, 1);
    assert_eq!(enter(&mut table, &two, Road::Control, 2).unwrap_err(), Reason::TooManyPeers);
    end(&mut table, &one);
    let two_link = enter(&mut table, &two, Road::Control, 2).unwrap();
    assert_eq!(table.address_of(NodeId(9)).unwrap(), "host:9", "no room was made of it");
    end(&mut table, &two_link);
    // Something waits for the second, so it is no mere stranger.
    table.way_to(NodeId(2), Lane::Normal, 0, at(0)).unwrap();
    let one = enter(&mut table, &hello(1, 1), Road::Control, 1);
    assert_eq!(one.unwrap_err(), Reason::TooManyPeers);
}

#[test]
fn control_links_are_kept_to_those_that_were_named_and_whose_address_is_known() {
    let mut table = table();
    assert!(table.learn(NodeId(1), "host:1").is_none(), "to know is not to keep");
    assert!(table.learn(ME, "host:5").is_none());
    let begun = table.keep(&[NodeId(1), NodeId(2), ME].into());
    let [(NodeId(1), first)] = &begun[..] else { panic!("{begun:?}") };
    assert_eq!(*first.borrow(), "host:1");
    let second = table.learn(NodeId(2), "host:2").expect("it was to be kept, once it was known");
    assert!(table.keep(&[NodeId(1), NodeId(2)].into()).is_empty(), "both are dialled");
    assert!(table.learn(NodeId(2), "host:22").is_none());
    assert_eq!(*second.borrow(), "host:22");
    assert!(table.keep(&[NodeId(2)].into()).is_empty());
    assert!(first.has_changed().is_err() && second.has_changed().is_ok());
    let link = enter(&mut table, &hello(1, 1), Road::Control, ME.0).unwrap();
    assert!(table.is_spare(&link), "it is not to be kept any more");
    table.keep(&[NodeId(1)].into());
    assert!(!table.is_spare(&link) && second.has_changed().is_err());
}

#[test]
fn who_was_asked_the_way_is_let_go_once_a_link_that_is_to_be_kept_is_up_again() {
    let mut table = table();
    table.learn(NodeId(1), "host:1");
    assert_eq!(table.keep(&BTreeSet::from([NodeId(1)])).len(), 1);
    let kept = enter(&mut table, &hello(1, 1), Road::Control, ME.0).unwrap();
    end(&mut table, &kept);
    // Nobody that is to be kept is there, so others are asked where those may be.
    let _alive = table.greet("seed:9").unwrap();
    assert!(!table.is_settled());
    let dial = table.find("seed:9", NodeId(9)).unwrap();
    let asked = enter(&mut table, &hello(9, 1), Road::Control, ME.0).unwrap();
    assert!(!table.is_spare(&asked) && dial.has_changed().is_ok());
    let kept = enter(&mut table, &hello(1, 1), Road::Control, ME.0).unwrap();
    assert!(table.is_spare(&asked) && !table.is_spare(&kept));
    assert!(dial.has_changed().is_err(), "and is not dialled any more");
}

#[test]
fn a_node_asks_around_until_a_link_that_is_to_be_kept_is_up() {
    let mut table = table();
    assert!(!table.is_settled(), "nobody has said to whom links are kept");
    table.learn(NodeId(1), "host:1");
    let _dials = table.keep(&[NodeId(1)].into());
    assert!(!table.is_settled());
    enter(&mut table, &hello(2, 1), Road::Control, 2).unwrap();
    assert!(!table.is_settled(), "another will not do");
    let link = enter(&mut table, &hello(1, 1), Road::Control, 1).unwrap();
    assert!(table.is_settled());
    end(&mut table, &link);
    assert!(!table.is_settled());
    table.keep(&BTreeSet::new());
    assert!(table.is_settled(), "there is nobody to look for");
}

#[test]
fn one_of_five_linked_is_not_enough_to_ask_nobody_any_more() {
    let mut table = table();
    let others = [1, 2, 3, 4].map(NodeId);
    for node in others {
        table.learn(node, "where it was");
    }
    let _dials = table.keep(&others.into_iter().chain([ME]).collect());
    enter(&mut table, &hello(1, 1), Road::Control, 1).unwrap();
    assert!(!table.is_settled(), "these two elect nobody");
    let third = enter(&mut table, &hello(2, 1), Road::Control, 2).unwrap();
    assert!(table.is_settled(), "three of five are a majority");
    end(&mut table, &third);
    table.keep(&others.into());
    enter(&mut table, &hello(3, 1), Road::Control, 3).unwrap();
    assert!(!table.is_settled(), "this one does not vote any more");
}

#[test]
fn a_node_is_dialled_where_it_answered_last_and_else_where_the_hall_says() {
    let mut table = table();
    let _alive = table.greet("seed:1").unwrap();
    assert!(table.greet("seed:1").is_none(), "asking twice is asking once");
    let first = table.find("seed:1", NodeId(1)).unwrap();
    let second = table.find("seed:1", NodeId(2)).unwrap();
    assert!(first.has_changed().is_err(), "only the seed knew it, and it is not there any more");
    assert!(table.learn(NodeId(2), "host:2").is_none());
    assert_eq!(*second.borrow(), "host:2");
    assert!(table.find("seed:1", NodeId(2)).is_none());
    assert_eq!(*second.borrow(), "seed:1", "it has just answered there");
    let third = table.find("seed:1", NodeId(3)).unwrap();
    assert_eq!(*second.borrow(), "host:2", "another node answers there now");
    table.forget(NodeId(3));
    assert!(third.has_changed().is_err());
    assert!(table.greet("seed:1").is_some(), "a greeting that led to it has ended as well");
}

#[test]
fn a_data_road_is_opened_by_one_task_and_where_the_node_says_that_it_is() {
    let (mut table, peer) = (table(), hello(9, 1));
    assert_eq!(table.way_to(NodeId(9), Lane::Normal, 0, at(0)).unwrap_err(), SendError::NoLink);
    enter(&mut table, &peer, Road::Control, 9).unwrap();
    assert!(!table.begin_reaching(NodeId(9), 0), "nothing waits");
    let way = table.way_to(NodeId(9), Lane::Normal, 0, at(0)).unwrap();
    assert!(way.closed);
    assert_eq!(table.address_of(NodeId(9)).unwrap(), "shown:9");
    assert!(table.begin_reaching(NodeId(9), 0));
    assert!(!table.begin_reaching(NodeId(9), 0), "one is about it");
    let again = table.way_to(NodeId(9), Lane::Normal, 0, at(0)).unwrap();
    assert!(!again.closed && Arc::ptr_eq(&again.outbox, &way.outbox));
    let link = enter(&mut table, &peer, Road::Data, ME.0).unwrap();
    assert!(Arc::ptr_eq(link.outbox().unwrap(), &way.outbox), "what waited goes over it");
    assert!(table.is_reached(NodeId(9), 0));
    assert!(
        !table.way_to(NodeId(9), Lane::Normal, 0, at(0)).unwrap().closed
            && !table.is_wanted(NodeId(9), 0)
    );
    // It broke, something is sent, and only then the task looks: it has to begin anew.
    let broken = end(&mut table, &link).expect("nothing of it will be sent");
    assert!(Arc::ptr_eq(&broken, &way.outbox));
    assert!(!Arc::ptr_eq(
        &table.way_to(NodeId(9), Lane::Normal, 0, at(0)).unwrap().outbox,
        &way.outbox
    ));
    assert!(!table.is_reached(NodeId(9), 0));
}

#[test]
fn a_link_of_the_others_that_comes_and_goes_does_not_bring_a_second_task_about_the_road() {
    let (mut table, peer) = (table(), hello(9, 1));
    table.learn(NodeId(9), "host:9");
    table.way_to(NodeId(9), Lane::Normal, 0, at(0)).unwrap();
    assert!(table.begin_reaching(NodeId(9), 0));
    // Two dials of one side would each displace the other's link, with what is under way over it.
    let theirs = enter(&mut table, &peer, Road::Data, 9).unwrap();
    let outbox = theirs.outbox().unwrap();
    assert!(outbox.fence(None));
    outbox.push(quorate_vocab::Lane::Normal, 1, crate::wire::What::Mail, b"x").unwrap();
    theirs.close(Reason::Unneeded);
    end(&mut table, &theirs);
    assert!(table.is_wanted(NodeId(9), 0) && !table.begin_reaching(NodeId(9), 0));
    assert!(!table.way_to(NodeId(9), Lane::Normal, 0, at(0)).unwrap().closed);
    assert!(!table.is_reached(NodeId(9), 0), "the one that is about it has to go on");
}

#[test]
fn a_node_that_cannot_be_reached_rests_longer_each_time() {
    let mut table = table();
    table.learn(NodeId(9), "host:9");
    let rest = |table: &mut Table, now: u64| {
        let way = table.way_to(NodeId(9), Lane::Normal, 0, at(now)).unwrap();
        assert!(table.begin_reaching(NodeId(9), 0));
        let unsent = table.unreached(NodeId(9), 0, Reason::Unreachable, at(now)).unwrap();
        assert!(Arc::ptr_eq(&unsent, &way.outbox), "what waited is not sent");
        assert_eq!(told(table), "data unreachable");
        let opens = |later: &u64| table.way_to(NodeId(9), Lane::Normal, 0, at(now + later)).is_ok();
        (0..1000).find(opens).expect("it is tried again within a second")
    };
    let rests: Vec<u64> = (0..8).map(|time| rest(&mut table, time * 10_000)).collect();
    assert_eq!(rests, [20, 40, 80, 160, 200, 200, 200, 200], "redial_min twice, to redial_max");
    // The other side has opened it meanwhile: nothing is lost, and the rests begin anew.
    let way = table.way_to(NodeId(9), Lane::Normal, 0, at(100_000)).unwrap();
    assert!(table.begin_reaching(NodeId(9), 0));
    let link = enter(&mut table, &hello(9, 1), Road::Data, 9).unwrap();
    assert!(table.unreached(NodeId(9), 0, Reason::Late, at(100_000)).is_none());
    assert!(Arc::ptr_eq(link.outbox().unwrap(), &way.outbox));
    end(&mut table, &link);
    assert_eq!(told(&mut table), "data up 1, data gone");
    assert_eq!(rest(&mut table, 200_000), 20);
}

#[test]
fn what_was_held_back_while_a_road_closed_goes_over_the_next_and_an_empty_one_is_let_go() {
    let (mut table, peer) = (table(), hello(9, 1));
    table.learn(NodeId(9), "host:9");
    for holds_back in [false, true] {
        let link = enter(&mut table, &peer, Road::Data, ME.0).unwrap();
        let outbox = table.way_to(NodeId(9), Lane::Normal, 0, at(0)).unwrap().outbox;
        assert!(outbox.fence(None));
        if holds_back {
            outbox.push(quorate_vocab::Lane::Normal, 1, crate::wire::What::Mail, b"x").unwrap();
        }
        link.close(Reason::Unneeded);
        assert!(end(&mut table, &link).is_none(), "nothing of it is lost");
        assert_eq!(table.is_wanted(NodeId(9), 0), holds_back);
        assert_eq!(told(&mut table), "data up 1, data unneeded");
        let next = table.way_to(NodeId(9), Lane::Normal, 0, at(0)).unwrap();
        assert!(next.closed);
        assert_eq!(Arc::ptr_eq(&next.outbox, &outbox), holds_back);
    }
}
