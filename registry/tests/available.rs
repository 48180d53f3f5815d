//! Available names: whatever order word of them comes in, and however often, all who have heard all of it
//! say the same; and of those who lose there is always one who does not.

use std::collections::BTreeMap;

use proptest::prelude::*;
use quorate_registry::available::{Change, News, Order, Ordinal, Refused, Stake, Table, Update};
use quorate_vocab::{Boot, Name, NodeId, Pid};

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn pid(node: u64, serial: u64) -> Pid {
    Pid { node: NodeId(node), boot: Boot(1), serial }
}

/// Nodes that all are there, unless it is said otherwise.
struct World(Vec<Table>);

impl World {
    fn new(nodes: u64) -> Self {
        let mut world = Self((1..=nodes).map(|id| Table::new(NodeId(id), Boot(1))).collect());
        world.heal();
        world
    }

    fn there(nodes: impl IntoIterator<Item = u64>) -> BTreeMap<NodeId, Boot> {
        nodes.into_iter().map(|id| (NodeId(id), Boot(1))).collect()
    }

    /// Everybody sees everybody.
    fn heal(&mut self) -> Vec<News> {
        let nodes = 1..=self.0.len() as u64;
        self.0.iter_mut().flat_map(|table| table.attend(Self::there(nodes.clone()))).collect()
    }

    fn node(&mut self, id: u64) -> &mut Table {
        &mut self.0[id as usize - 1]
    }

    fn register(&mut self, node: u64, serial: u64, order: Order) -> Result<Ordinal, Refused> {
        let registered = self.node(node).register(&name("x"), pid(node, serial), order);
        registered.map(|(ordinal, _)| ordinal)
    }

    /// One node hears what another knows, in parts of so many bytes.
    fn hear(&mut self, from: u64, to: u64, bytes: usize) -> Vec<News> {
        let marks = self.node(to).marks();
        let updates = self.node(from).lacking(&marks, bytes);
        let news = self.node(to).take(updates);
        self.node(to).check();
        news
    }

    /// Word goes around until nobody has anything to say.
    fn settle(&mut self) -> Vec<News> {
        let nodes = self.0.len() as u64;
        let mut news = Vec::new();
        for _ in 0..1000 {
            let sum = self.0[0].sum();
            if self.0.iter().all(|table| table.sum() == sum) {
                return news;
            }
            for (from, to) in (1..=nodes).flat_map(|a| (1..=nodes).map(move |b| (a, b))) {
                news.extend(self.hear(from, to, 100));
            }
        }
        panic!("they do not agree: {:?}", self.0);
    }

    fn holders(&self) -> Vec<Option<Pid>> {
        self.0.iter().map(|table| table.holder(&name("x")).map(|stake| stake.pid)).collect()
    }
}

fn lost(news: &[News]) -> Vec<Pid> {
    let lost = |item: &News| match item {
        News::Lost { stake, .. } => Some(stake.pid),
        News::Changed(_) => None,
    };
    news.iter().filter_map(lost).collect()
}

#[test]
fn a_name_that_is_known_to_be_held_is_refused_and_free_when_it_was_given_back() {
    let mut world = World::new(2);
    let ordinal = world.register(1, 7, Order::Newest).unwrap();
    assert_eq!(world.register(1, 7, Order::Newest), Ok(ordinal), "said again, it changes nothing");
    world.settle();
    let taken = world.register(2, 8, Order::Newest);
    assert!(matches!(taken, Err(Refused::Taken(by)) if by.pid == pid(1, 7)));
    assert_eq!(world.node(1).release(&name("x"), pid(1, 8)), None, "it is another's");
    assert!(world.node(1).release(&name("x"), pid(1, 7)).is_some());
    world.settle();
    assert!(world.register(2, 8, Order::Newest).unwrap() > ordinal);
}

#[test]
fn after_a_cut_the_newest_stays_or_the_oldest_and_only_the_other_one_hears_that_it_lost() {
    for (order, stays, goes) in [(Order::Newest, 2, 1), (Order::Oldest, 1, 2)] {
        let mut world = World::new(3);
        world.register(1, 0, order).unwrap();
        // What node 2 has seen is more, so its ordinal is greater.
        world.node(2).register(&name("else"), pid(2, 1), order).unwrap();
        world.register(2, 0, order).unwrap();
        let news = world.settle();
        assert_eq!(world.holders(), vec![Some(pid(stays, 0)); 3], "{order:?}");
        assert_eq!(lost(&news), [pid(goes, 0)], "{order:?}");
    }
}

#[test]
fn who_asks_for_the_oldest_goes_before_whoever_asks_for_the_newest() {
    let mut world = World::new(3);
    world.register(1, 0, Order::Oldest).unwrap();
    world.register(2, 0, Order::Newest).unwrap();
    world.register(3, 0, Order::Newest).unwrap();
    let news = world.settle();
    assert_eq!(world.holders(), vec![Some(pid(1, 0)); 3]);
    assert_eq!(lost(&news).len(), 2);
}

#[test]
fn names_of_a_node_that_is_not_there_are_free_and_come_back_with_it() {
    let mut world = World::new(2);
    world.register(1, 0, Order::Newest).unwrap();
    world.settle();
    let news = world.node(2).attend(BTreeMap::new());
    assert_eq!(news, [News::Changed(name("x"))]);
    assert_eq!(world.holders(), [Some(pid(1, 0)), None]);
    let news = world.heal();
    assert_eq!(news, [News::Changed(name("x"))]);
    assert_eq!(world.holders(), vec![Some(pid(1, 0)); 2]);

    // In another life it has nothing of what it had.
    world.node(2).attend(BTreeMap::from([(NodeId(1), Boot(2))]));
    assert_eq!(world.holders()[1], None);
    let reborn = Table::new(NodeId(1), Boot(2));
    *world.node(1) = reborn;
    let other = Pid { boot: Boot(2), ..pid(1, 0) };
    world.node(1).register(&name("y"), other, Order::Newest).unwrap();
    world.hear(2, 1, 1000);
    world.hear(1, 2, 1000);
    assert_eq!(world.node(2).holder(&name("y")).unwrap().pid, other);
    world.settle();
}

#[test]
fn what_was_removed_does_not_come_back_by_an_old_copy() {
    let mut world = World::new(3);
    world.register(1, 0, Order::Newest).unwrap();
    world.settle();
    world.node(1).release(&name("x"), pid(1, 0)).unwrap();
    world.hear(1, 2, 1000);
    // Node 3 has not heard of it, and says what it knows.
    world.hear(3, 2, 1000);
    world.hear(3, 1, 1000);
    assert_eq!(world.holders(), [None, None, Some(pid(1, 0))]);
    world.settle();
    assert_eq!(world.holders(), [None; 3]);
}

#[test]
fn nobody_gives_way_to_a_ghost() {
    // Node 1 has the better claim, is not seen for a while, and gives the name back meanwhile.
    let mut world = World::new(2);
    world.node(2).attend(BTreeMap::new());
    world.register(2, 0, Order::Newest).unwrap();
    world.register(1, 0, Order::Oldest).unwrap();
    world.hear(1, 2, 1000);
    world.hear(2, 1, 1000);
    // That node 1 has seen the claim of node 2, node 2 hears while it does not see node 1.
    world.hear(1, 2, 1000);
    world.node(1).release(&name("x"), pid(1, 0)).unwrap();
    assert_eq!(lost(&world.heal()), [], "what it says is of before");
    assert_eq!(lost(&world.settle()), []);
    assert_eq!(world.holders(), vec![Some(pid(2, 0)); 2]);
}

#[test]
fn a_book_that_is_written_anew_takes_no_name_away_while_it_is_copied() {
    let mut world = World::new(2);
    let many: Vec<Name> = (0..50).map(|n| name(&format!("kept/{n}"))).collect();
    for kept in &many {
        world.node(1).register(kept, pid(1, 1), Order::Newest).unwrap();
    }
    world.settle();
    let first = world.node(1).marks()[0].edition;
    let mut churned = 0;
    while world.node(1).marks()[0].edition == first {
        let brief = name(&format!("brief/{churned}"));
        world.node(1).register(&brief, pid(1, 2), Order::Newest).unwrap();
        world.node(1).release(&brief, pid(1, 2)).unwrap();
        churned += 1;
        assert!(churned < 10_000, "removals pile up");
    }
    while world.node(1).sum() != world.node(2).sum() {
        let news = world.hear(1, 2, 100);
        assert_eq!(news, []);
        assert_eq!(world.node(2).list("kept/").count(), many.len());
    }
}

#[test]
fn what_no_writer_could_have_written_is_taken_from_nobody() {
    let mut world = World::new(2);
    world.register(1, 0, Order::Newest).unwrap();
    let good = world.node(1).lacking(&[], 1000).remove(0);
    let stake = good.changes[0].stake.unwrap();
    let with = |stake: Stake| {
        let changes = vec![Change { stake: Some(stake), ..good.changes[0].clone() }];
        Update { changes, ..good.clone() }
    };
    let twice = vec![good.changes[0].clone(), good.changes[0].clone()];
    for bad in [
        with(Stake { pid: pid(2, 0), ..stake }),
        with(Stake { pid: Pid { boot: Boot(9), ..stake.pid }, ..stake }),
        with(Stake { ordinal: Ordinal(u64::MAX), ..stake }),
        Update { changes: twice, ..good.clone() },
        Update { upto: 0, ..good.clone() },
        Update { after: 5, upto: 6, changes: Vec::new(), ..good.clone() },
        Update { node: NodeId(2), changes: Vec::new(), ..good.clone() },
    ] {
        assert_eq!(world.node(2).take(vec![bad]), []);
        assert_eq!(world.holders()[1], None);
    }
    assert_eq!(world.node(2).take(vec![good]).len(), 1);
    world.node(2).check();
}

#[test]
fn books_that_nobody_will_write_in_again_are_put_away() {
    let mut world = World::new(2);
    world.register(1, 0, Order::Newest).unwrap();
    world.settle();
    let news = world.node(2).retain(|node, _| node != NodeId(1));
    assert_eq!(news, [News::Changed(name("x"))]);
    assert!(world.node(2).is_empty());
    world.node(2).check();
}

/// What may happen to three nodes.
#[derive(Clone, Debug)]
enum Step {
    Register {
        node: u64,
        name: u8,
        oldest: bool,
    },
    Release {
        node: u64,
        name: u8,
    },
    Hear {
        from: u64,
        to: u64,
        bytes: usize,
    },
    /// Word that is late, and comes again, or for the first time.
    HearOld {
        at: usize,
        to: u64,
    },
    See {
        node: u64,
        seen: u8,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let node = || 1..=3_u64;
    prop_oneof![
        (node(), 0..3_u8, any::<bool>()).prop_map(|(node, name, oldest)| Step::Register {
            node,
            name,
            oldest
        }),
        (node(), 0..3_u8).prop_map(|(node, name)| Step::Release { node, name }),
        (node(), node(), 1..300_usize).prop_map(|(from, to, bytes)| Step::Hear { from, to, bytes }),
        (any::<usize>(), node()).prop_map(|(at, to)| Step::HearOld { at, to }),
        (node(), 0..8_u8).prop_map(|(node, seen)| Step::See { node, seen }),
    ]
}

fn of(text: u8) -> Name {
    name(&format!("n/{text}"))
}

/// Lives a story. Gives the world and all word that was under way in it.
fn live(steps: &[Step]) -> (World, Vec<Update>) {
    let mut world = World::new(3);
    let mut word: Vec<Update> = Vec::new();
    for step in steps {
        match *step {
            Step::Register { node, name, oldest } => {
                let order = if oldest { Order::Oldest } else { Order::Newest };
                let _ = world.node(node).register(&of(name), pid(node, 0), order);
            }
            Step::Release { node, name } => {
                world.node(node).release(&of(name), pid(node, 0));
            }
            Step::Hear { from, to, bytes } => {
                let marks = world.node(to).marks();
                let updates = world.node(from).lacking(&marks, bytes);
                word.extend(updates.clone());
                world.node(to).take(updates);
            }
            Step::HearOld { at, to } if !word.is_empty() => {
                let old = word[at % word.len()].clone();
                world.node(to).take(vec![old]);
            }
            Step::HearOld { .. } => {}
            Step::See { node, seen } => {
                let seen = (1..=3).filter(|other| seen & (1 << (other - 1)) != 0);
                world.node(node).attend(World::there(seen));
            }
        }
        world.0.iter().for_each(Table::check);
    }
    (world, word)
}

proptest! {
    #[test]
    fn after_a_heal_all_say_the_same_and_a_name_that_somebody_held_is_held(
        steps in proptest::collection::vec(step(), 0..60),
    ) {
        let (mut world, _) = live(&steps);
        // Whoever gives a name back may be the one that another was about to give way to.
        let is_kept = |n: u8| {
            let is_given = |step: &Step| matches!(step, Step::Release { name, .. } if *name == n);
            let is_taken = |step: &Step| matches!(step, Step::Register { name, .. } if *name == n);
            steps.iter().any(is_taken) && !steps.iter().any(is_given)
        };
        world.heal();
        let mut news = world.settle();
        // Whoever sees a better claim gives way, and that is word, too.
        for _ in 0..4 {
            news.extend(world.settle());
        }
        world.0.iter().for_each(Table::check);
        for n in 0..3 {
            let holders: Vec<_> =
                world.0.iter().map(|table| table.holder(&of(n)).map(|stake| stake.pid)).collect();
            prop_assert!(holders.iter().all(|pid| *pid == holders[0]), "{n}: {holders:?}");
            if is_kept(n) {
                prop_assert!(holders[0].is_some(), "all who claimed {n} gave way: {news:?}");
            }
        }
    }

    #[test]
    fn word_may_come_in_any_order_and_any_number_of_times(
        steps in proptest::collection::vec(step(), 0..60),
        order in proptest::collection::vec(any::<prop::sample::Index>(), 0..120),
    ) {
        let (mut world, word) = live(&steps);
        prop_assume!(!word.is_empty());
        // Two that listen: one hears the word in this order, the other backwards; and then all there is.
        let mut one = Table::new(NodeId(8), Boot(1));
        let mut other = Table::new(NodeId(9), Boot(1));
        for table in [&mut one, &mut other] {
            table.attend(World::there(1..=3));
        }
        for at in &order {
            one.take(vec![at.get(&word).clone()]);
        }
        for at in order.iter().rev() {
            other.take(vec![at.get(&word).clone()]);
            other.take(vec![at.get(&word).clone()]);
        }
        world.settle();
        for table in [&mut one, &mut other] {
            while table.sum() != world.0[0].sum() {
                let updates = world.0[0].lacking(&table.marks(), 64);
                prop_assert!(!updates.is_empty(), "there is nothing to say, and they differ");
                table.take(updates);
            }
            table.check();
        }
        for n in 0..3 {
            prop_assert_eq!(one.holder(&of(n)), other.holder(&of(n)));
        }
        // What is known already changes nothing.
        let known = (one.marks(), (0..3).map(|n| one.holder(&of(n)).copied()).collect::<Vec<_>>());
        prop_assert_eq!(one.take(word), []);
        prop_assert_eq!(one.take(other.lacking(&[], usize::MAX)), []);
        one.check();
        let after = (one.marks(), (0..3).map(|n| one.holder(&of(n)).copied()).collect::<Vec<_>>());
        prop_assert_eq!(after, known);
    }
}
