//! What random logs say of singletons, over few names, nodes and wishes, such that commands meet.

use std::collections::BTreeMap;

use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use quorate_registry::{
    At, Checkpoint, Company, Deed, Ending, Exec, Legacy, Machine, Op, Phase, Pin, Restart,
    Restarts, SessionOwner, Singleton, Spec,
};
use quorate_vocab::{Epoch, Index, Name, NodeId, NodeName, SessionId};

use super::{claim, labels, name, pick};

/// What somebody wants of a singleton, before it is known which lives and epochs there are.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wish {
    Volunteer { session: usize, node: u64, spec: u8 },
    Withdraw { session: usize },
    EndGrant { epoch: u8, ending: u8 },
    Ready { epoch: u8 },
    Checkpoint { epoch: u8, is_large: bool },
    ActUnder { epoch: u8, deed: u8 },
    Move { to: u64, epoch: u8 },
    Halt,
    Resume,
    Force { epoch: u8 },
    Forget,
    Drain { node: u64, begins: bool },
}

pub(crate) fn wish() -> impl Strategy<Value = (u8, Wish)> {
    let session = 0..9_usize;
    let epoch = || 0..8_u8;
    let large = prop_oneof![8 => Just(false), 1 => Just(true)];
    let wish = prop_oneof![
        14 => (session.clone(), 1..12_u64, 0..24_u8)
            .prop_map(|(session, node, spec)| Wish::Volunteer { session, node, spec }),
        3 => session.prop_map(|session| Wish::Withdraw { session }),
        8 => (epoch(), 0..13_u8).prop_map(|(epoch, ending)| Wish::EndGrant { epoch, ending }),
        5 => epoch().prop_map(|epoch| Wish::Ready { epoch }),
        2 => (epoch(), large).prop_map(|(epoch, is_large)| Wish::Checkpoint { epoch, is_large }),
        2 => (epoch(), 0..4_u8).prop_map(|(epoch, deed)| Wish::ActUnder { epoch, deed }),
        6 => (0..5_u64, epoch()).prop_map(|(to, epoch)| Wish::Move { to, epoch }),
        2 => Just(Wish::Halt),
        3 => Just(Wish::Resume),
        1 => epoch().prop_map(|epoch| Wish::Force { epoch }),
        1 => Just(Wish::Forget),
        2 => (1..5_u64, any::<bool>()).prop_map(|(node, begins)| Wish::Drain { node, begins }),
    ];
    (0..5_u8, wish)
}

pub(crate) fn spell_out(machine: &Machine, at: At, (of, wish): (u8, Wish)) -> Op {
    let name = singleton(of);
    let held = machine.singleton(name.as_str()).and_then(Singleton::epoch);
    let epoch_of = |n: u8| match n {
        0 => Epoch::new(3, Index(at.index.0 / 2)).unwrap(),
        _ => held.or(Epoch::new(3, Index(1))).unwrap(),
    };
    let why = |is_large| match is_large {
        true => "w".repeat(Singleton::WHY_BYTES_MAX + 1),
        false => format!("because of {}", at.index),
    };
    match wish {
        Wish::Volunteer { session, node, spec } => {
            let (session, own) = runner(machine, session);
            // Mostly the life's own node; a client's may be any.
            let node = own.filter(|_| node != 1).unwrap_or(NodeId(node % 4));
            Op::Volunteer { name, session, node, spec: Box::new(spec_of(spec)) }
        }
        Wish::Withdraw { session } => Op::Withdraw { name, session: runner(machine, session).0 },
        Wish::EndGrant { epoch, ending } => {
            let state = |bytes| Some(vec![at.index.0 as u8; bytes]);
            let target = || match machine.singleton(name.as_str())?.grant?.phase {
                Phase::Yielding { to } => to,
                Phase::Active => None,
            };
            let legacy = |bytes| Legacy { bytes, digest: at.index.0 as u32 };
            let ending = match ending {
                0 => Ending::Stopped { state: state(Checkpoint::BYTES_MAX + 1) },
                1 | 2 => Ending::Stopped { state: state(9) },
                3 => Ending::Failed { why: why(true) },
                4..8 => Ending::Failed { why: why(false) },
                8 => Ending::Left { to: target(), legacy: legacy(Legacy::BYTES_MAX as u64 + 1) },
                9 | 10 => Ending::Left { to: target(), legacy: legacy(1 << 20) },
                11 => Ending::Left { to: Some(SessionId(u64::MAX)), legacy: legacy(1 << 20) },
                _ => Ending::Stopped { state: None },
            };
            Op::EndGrant { name, epoch: epoch_of(epoch), ending }
        }
        Wish::Ready { epoch } => Op::Ready { name, epoch: epoch_of(epoch) },
        Wish::Checkpoint { epoch, is_large } => {
            let bytes = if is_large { Checkpoint::BYTES_MAX + 1 } else { 20 };
            let state = vec![at.index.0 as u8; bytes];
            Op::Checkpoint { name, epoch: epoch_of(epoch), state }
        }
        Wish::ActUnder { epoch, deed } => {
            Op::ActUnder { name, epoch: epoch_of(epoch), deed: deed_of(machine, deed) }
        }
        Wish::Move { to, epoch } => {
            let expected = (epoch < 2).then(|| epoch_of(epoch));
            Op::Move { name, to: (to > 0).then_some(NodeId(to)), expected }
        }
        Wish::Halt => Op::Halt { name },
        Wish::Resume => Op::Resume { name },
        Wish::Force { epoch } => Op::Force { name, epoch: epoch_of(epoch), why: why(epoch == 7) },
        Wish::Forget => Op::Forget { name },
        Wish::Drain { node, begins } => {
            Op::Drain { node: NodeId(node), why: begins.then(|| why(node == 4)) }
        }
    }
}

fn singleton(of: u8) -> Name {
    name(["s", "s/a", "t", "t:1", "u"][usize::from(of) % 5])
}

/// A life that may offer something, and its node; rarely one that may not, or is none.
fn runner(machine: &Machine, n: usize) -> (SessionId, Option<NodeId>) {
    let lives = machine.sessions().filter(|life| life.owner != SessionOwner::Name);
    let lives: Vec<_> = lives.map(|life| (life.id, life.owner)).collect();
    match lives.get(n % lives.len().max(1)) {
        Some((session, SessionOwner::Node { node, .. })) if n < 8 => (*session, Some(*node)),
        Some((session, _)) if n < 8 => (*session, None),
        _ => (pick(machine, n), None),
    }
}

fn spec_of(n: u8) -> Spec {
    let zone_a = || labels(&[("zone", "a")]);
    let company = |apart, spread| {
        let spread = if spread { Some("zone".to_owned()) } else { None };
        Some(Company { group: "crew".to_owned(), apart, spread })
    };
    let pin = |back| Some(Pin { node: node_name("n2"), back });
    let after = |of: &[u8]| of.iter().map(|one| singleton(*one)).collect();
    let none = Spec::default();
    match n {
        0 | 1 => Spec { on: zone_a(), ..none },
        2 => Spec { not: zone_a(), ..none },
        3 => Spec { prefer: zone_a(), ..none },
        4 => Spec { on: labels(&[("node", "n1")]), ..none },
        5 => Spec { pin: pin(true), company: company(false, true), ..none },
        6..9 => Spec { company: company(true, false), ..none },
        9 => Spec { company: company(true, true), ..none },
        10 => Spec { after: after(&[0]), ..none },
        11 => Spec { after: after(&[1, 2]), ..none },
        12 => Spec { after: after(&[3]), ..none },
        13 => Spec { after: after(&[0, 1, 2, 3, 4]), ..none },
        14 => {
            let company = Some(Company { group: String::new(), apart: true, spread: None });
            Spec { company, ..none }
        }
        15 => Spec { on: labels(&[("long", &"x".repeat(Spec::BYTES_MAX))]), ..none },
        _ => none,
    }
}

fn deed_of(machine: &Machine, n: u8) -> Deed {
    let name = name("b");
    let held = machine.find("b").map(|held| held.epoch);
    match (n, held) {
        (0, _) => Deed::Register { name, claim: claim(None), replace: held },
        (1, _) => Deed::Release { name, epoch: held },
        (2, Some(epoch)) => {
            let value = Some(b"changed".to_vec());
            Deed::Amend { name, epoch, expected: None, value, meta: None }
        }
        _ => Deed::Count { name, add: 1, expected: None },
    }
}

pub(crate) fn node_name(text: &str) -> NodeName {
    NodeName::try_from(text).unwrap()
}

/// Labels with which a node may come: of a zone, perhaps with a weight and a capacity.
pub(crate) fn labels_of_node(n: u8) -> BTreeMap<String, String> {
    let mut of = labels(&[("zone", if n.is_multiple_of(3) { "b" } else { "a" })]);
    match n % 8 {
        0 => drop(of.insert("capacity".to_owned(), "1".to_owned())),
        1 => drop(of.insert("capacity".to_owned(), "0".to_owned())),
        2 => drop(of.insert("weight".to_owned(), "0".to_owned())),
        3 => drop(of.insert("weight".to_owned(), "3".to_owned())),
        _ => {}
    }
    of
}

/// Anything that could be wanted, or not.
fn any_spec() -> impl Strategy<Value = Spec> {
    let labels = || btree_map("[a-c]{0,2}", "[a-c]{0,2}", 0..3);
    let text = || "[a-z/]{1,3}".prop_filter_map("a name", |text| Name::new(text).ok());
    let company = ("[ab]{0,1}", any::<bool>(), option::of("[a-c]{1,2}"))
        .prop_map(|(group, apart, spread)| Company { group, apart, spread });
    let pin =
        ("[a-c]{1,2}", any::<bool>()).prop_map(|(node, back)| Pin { node: node_name(&node), back });
    let exec = (vec("[a-z]{0,3}", 0..3), labels(), option::of("[a-z]{1,3}"), any::<u64>())
        .prop_map(|(argv, env, dir, grace_ms)| Exec { argv, env, dir, grace_ms });
    let when = prop_oneof![Just(Restart::Always), Just(Restart::OnFailure), Just(Restart::Never)];
    let restarts = (when, any::<u32>(), any::<u64>())
        .prop_map(|(when, most, within_ms)| Restarts { when, most, within_ms });
    let asked = (labels(), labels(), labels(), option::of(pin), option::of(company));
    (asked, btree_set(text(), 0..3), restarts, option::of(exec)).prop_map(
        |((on, prefer, not, pin, company), after, restarts, exec)| Spec {
            on,
            prefer,
            not,
            pin,
            company,
            after,
            restarts,
            exec,
        },
    )
}

/// Any command about a singleton at all, whatever there is.
pub(crate) fn any_op() -> impl Strategy<Value = Op> {
    let number = || prop_oneof![6 => 0..12_u64, 1 => any::<u64>(), 1 => Just(u64::MAX)];
    let text = || "[a-c]{1}".prop_map(|text| name(&text));
    let epoch = move || number().prop_filter_map("shown", Epoch::from_shown);
    let bytes = || vec(any::<u8>(), 0..9);
    let ending = prop_oneof![
        option::of(bytes()).prop_map(|state| Ending::Stopped { state }),
        ".{0,4}".prop_map(|why| Ending::Failed { why }),
        (option::of(number()), any::<u64>(), any::<u32>()).prop_map(|(to, bytes, digest)| {
            Ending::Left { to: to.map(SessionId), legacy: Legacy { bytes, digest } }
        }),
    ];
    let deed = prop_oneof![
        (text(), any::<i64>()).prop_map(|(name, add)| Deed::Count { name, add, expected: None }),
        (text(), option::of(epoch())).prop_map(|(name, epoch)| Deed::Release { name, epoch }),
        (text(), option::of(epoch())).prop_map(|(name, replace)| Deed::Register {
            name,
            claim: claim(None),
            replace
        }),
    ];
    prop_oneof![
        4 => (text(), number(), number(), any_spec()).prop_map(|(name, session, node, spec)| {
            Op::Volunteer { name, session: SessionId(session), node: NodeId(node), spec: Box::new(spec) }
        }),
        1 => (text(), number())
            .prop_map(|(name, session)| Op::Withdraw { name, session: SessionId(session) }),
        1 => (text(), epoch(), ending)
            .prop_map(|(name, epoch, ending)| Op::EndGrant { name, epoch, ending }),
        1 => (text(), epoch()).prop_map(|(name, epoch)| Op::Ready { name, epoch }),
        1 => (text(), epoch(), bytes())
            .prop_map(|(name, epoch, state)| Op::Checkpoint { name, epoch, state }),
        1 => (text(), epoch(), deed)
            .prop_map(|(name, epoch, deed)| Op::ActUnder { name, epoch, deed }),
        1 => (text(), option::of(number()), option::of(epoch())).prop_map(|(name, to, expected)| {
            Op::Move { name, to: to.map(NodeId), expected }
        }),
        1 => text().prop_map(|name| Op::Halt { name }),
        1 => text().prop_map(|name| Op::Resume { name }),
        1 => (text(), epoch(), ".{0,4}")
            .prop_map(|(name, epoch, why)| Op::Force { name, epoch, why }),
        1 => text().prop_map(|name| Op::Forget { name }),
        1 => (number(), option::of(".{0,4}"))
            .prop_map(|(node, why)| Op::Drain { node: NodeId(node), why }),
    ]
}
