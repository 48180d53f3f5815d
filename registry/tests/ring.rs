//! Where names fall: for all time, evenly, and without needless moves.

use std::collections::{BTreeMap, BTreeSet};

use quorate_registry::Ring;
use quorate_vocab::{Name, NodeId};

const NAMES: usize = 100_000;

fn ring(nodes: impl IntoIterator<Item = u64>) -> Ring {
    Ring::build(nodes.into_iter().map(|node| (NodeId(node), 1)))
}

fn names(many: usize) -> impl Iterator<Item = Name> {
    (0..many).map(|number| Name::new(format!("shop/till:{number}")).unwrap())
}

/// Identities as they are drawn: far apart, in no order.
fn drawn(many: u64) -> Vec<u64> {
    (1..=many).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect()
}

fn loads(ring: &Ring) -> BTreeMap<NodeId, usize> {
    let mut loads = BTreeMap::new();
    for name in names(NAMES) {
        *loads.entry(ring.owner(&name).unwrap()).or_default() += 1;
    }
    loads
}

/// FNV-1a over the owners of many names.
fn digest(ring: &Ring) -> u64 {
    names(20_000)
        .flat_map(|name| ring.owner(&name).unwrap().0.to_le_bytes())
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
        })
}

#[test]
fn names_fall_where_they_always_fell() {
    let owner = |name: &str| ring(1..=5).owner(&Name::new(name).unwrap()).unwrap().0;
    let owners = ["billing", "shop/till:1", "shop/till:2", "a", "leader"].map(owner);
    assert_eq!(owners, [5, 4, 1, 1, 2]);
    let digests = [3, 5, 20, 21, 100].map(|many| digest(&ring(drawn(many))));
    assert_eq!(
        digests,
        [
            0xb6e5_9c40_5942_5fa0,
            0xf630_c743_9daa_5db1,
            0xdda7_2c16_76ee_aaff,
            0x49e7_0b37_5054_0ede,
            0x4e62_486a_6ac7_3a9a,
        ],
        "{digests:#018x?}"
    );
}

#[test]
fn every_node_owns_about_as_much_as_every_other() {
    for (many, most, least) in
        [(3, 1.10, 0.90), (5, 1.12, 0.88), (10, 1.15, 0.85), (100, 1.35, 0.70)]
    {
        let loads = loads(&ring(drawn(many)));
        assert_eq!(loads.len() as u64, many);
        let mean = NAMES as f64 / many as f64;
        let (max, min) = (*loads.values().max().unwrap(), *loads.values().min().unwrap());
        let (max, min) = (max as f64 / mean, min as f64 / mean);
        println!("{many} nodes: {max:.3} {min:.3}");
        assert!(max < most && min > least, "{many} nodes: {max:.3} {min:.3}");
    }
}

#[test]
fn a_node_of_twice_the_weight_owns_twice_as_much() {
    let ring = Ring::build([(NodeId(1), 1), (NodeId(2), 2), (NodeId(3), 1), (NodeId(4), 0)]);
    let loads = loads(&ring);
    let heavy = loads[&NodeId(2)] as f64 / NAMES as f64;
    assert!((0.46..0.54).contains(&heavy), "{heavy}");
    assert!(!loads.contains_key(&NodeId(4)));
}

#[test]
fn a_node_that_joins_takes_names_only_for_itself_and_not_many() {
    for many in [3, 10, 50] {
        let nodes = drawn(many + 1);
        let new = NodeId(nodes[many as usize]);
        let (before, after) = (ring(nodes[..many as usize].to_vec()), ring(nodes));
        let mut moved = 0;
        for name in names(NAMES) {
            let (old, owner) = (before.owner(&name), after.owner(&name));
            if old != owner {
                assert_eq!(owner, Some(new));
                moved += 1;
            }
        }
        let share = moved as f64 / NAMES as f64 * (many + 1) as f64;
        println!("{many} nodes and one: {share:.3} of the ideal share moved");
        assert!((0.7..1.3).contains(&share), "{many}: {share}");
    }
}

#[test]
fn a_node_that_leaves_gives_its_names_to_their_next_in_the_walk() {
    let nodes = drawn(10);
    let (before, gone) = (ring(nodes.clone()), NodeId(nodes[4]));
    let after = ring(nodes.into_iter().filter(|node| *node != gone.0));
    for name in names(NAMES) {
        let next = before.walk(&name).find(|node| *node != gone);
        assert_eq!(after.owner(&name), next);
    }
}

#[test]
fn a_node_that_is_drained_at_the_border_of_small_disturbs_nobody_else() {
    let nodes = drawn(21);
    let weigh = |drained: Option<u64>| {
        Ring::build(nodes.iter().map(|node| (NodeId(*node), u32::from(Some(*node) != drained))))
    };
    let (before, after) = (weigh(None), weigh(Some(nodes[7])));
    for name in names(20_000) {
        let owner = before.owner(&name).unwrap();
        if owner != NodeId(nodes[7]) {
            assert_eq!(after.owner(&name), Some(owner));
        }
    }
}

#[test]
fn the_order_in_which_nodes_come_does_not_matter() {
    let nodes = drawn(30);
    let one = ring(nodes.clone());
    let other = ring(nodes.iter().rev().chain(&nodes).copied());
    assert_eq!(one.nodes(), other.nodes());
    for name in names(20_000) {
        assert!(one.walk(&name).eq(other.walk(&name)));
    }
}

#[test]
fn a_walk_meets_every_node_once_and_begins_with_the_owner() {
    for many in [1, 2, 7, 40] {
        let ring = ring(drawn(many));
        for name in names(300) {
            let walk: Vec<_> = ring.walk(&name).collect();
            assert_eq!(Some(walk[0]), ring.owner(&name));
            assert_eq!(walk.len() as u64, many);
            assert_eq!(walk.iter().collect::<BTreeSet<_>>().len() as u64, many);
        }
    }
}

#[test]
fn the_next_in_a_walk_are_spread_too() {
    let ring = ring(drawn(5));
    let mut seconds = BTreeMap::<_, usize>::new();
    for name in names(NAMES) {
        *seconds.entry(ring.walk(&name).nth(1).unwrap()).or_default() += 1;
    }
    for second in seconds.values() {
        assert!((NAMES / 8..NAMES / 3).contains(second), "{seconds:?}");
    }
}

#[test]
fn a_ring_of_nobody_owns_nothing() {
    for ring in [Ring::build([]), Ring::build([(NodeId(1), 0)])] {
        let name = Name::new("till").unwrap();
        assert_eq!(ring.owner(&name), None);
        assert_eq!(ring.walk(&name).count(), 0);
    }
}

#[test]
fn a_weight_beyond_the_greatest_counts_as_the_greatest() {
    let one = Ring::build([(NodeId(1), u32::MAX), (NodeId(2), 1)]);
    let two = Ring::build([(NodeId(1), Ring::WEIGHT_MAX), (NodeId(2), 1)]);
    assert!(names(5_000).all(|name| one.owner(&name) == two.owner(&name)));
}
