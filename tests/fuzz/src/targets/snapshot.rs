//! What a snapshot or a shelf may hold: rows of the registry's state.
//!
//! What must hold: a state that is accepted satisfies the invariants, encodes back to itself, and goes on
//! doing so while further commands are applied; and rows say the same whether they come as a snapshot or one
//! by one.

use std::collections::BTreeMap;

use quorate_registry::{
    At, Bearer, Bond, Claim, Command, Company, Ending, Evidence, Lanes, Legacy, Level, Machine,
    NodeRole, Once, Op, Rate, Rule, Selector, SessionOwner, Spec, Stance, snapshot,
};
use quorate_vocab::{Boot, Epoch, Index, Name, NodeId, Pid, SessionId};

use crate::Target;

/// Magic, format and the number of rows.
const HEAD_BYTES: usize = 20;

/// Snapshots of small states.
pub struct Snapshots {
    corpus: Vec<Vec<u8>>,
}

impl Default for Snapshots {
    fn default() -> Self {
        Self::new()
    }
}

impl Snapshots {
    /// Lets a few states grow, and writes each down now and then.
    pub fn new() -> Self {
        let mut corpus = vec![snapshot::encode(&Machine::new(0))];
        for (generation, life) in [(0, life()), (4095, life()), (1, singletons())] {
            let mut machine = Machine::new(generation);
            for (index, command) in (1..).zip(life) {
                let at = At { index: Index(index), term: 1 };
                machine.apply(at, command, &mut Vec::new());
                if index % 5 == 0 {
                    corpus.push(snapshot::encode(&machine));
                }
            }
            corpus.push(snapshot::encode(&machine));
        }
        Self { corpus }
    }
}

impl Target for Snapshots {
    fn name(&self) -> &'static str {
        "snapshot"
    }

    fn corpus(&self) -> &[Vec<u8>] {
        &self.corpus
    }

    fn parts(&self, input: &[u8]) -> Vec<Vec<u8>> {
        rows(input).into_iter().map(|(key, value)| part(&key, &value)).collect()
    }

    /// Rows in the order of their keys, and counted.
    fn assemble(&self, parts: &[Vec<u8>]) -> Vec<u8> {
        let rows: BTreeMap<Vec<u8>, Vec<u8>> =
            parts.iter().map(|part| key_and_value(part)).collect();
        let mut bytes = b"quorsnap\x01\0\0\0".to_vec();
        bytes.extend_from_slice(&(rows.len() as u64).to_le_bytes());
        for (key, value) in rows {
            bytes.extend_from_slice(&(key.len() as u32).to_le_bytes());
            bytes.extend_from_slice(&(value.len() as u32).to_le_bytes());
            bytes.extend_from_slice(&key);
            bytes.extend_from_slice(&value);
        }
        bytes
    }

    fn run(&self, input: &[u8]) -> bool {
        let decoded = snapshot::decode(input);
        let rows = Machine::from_rows(rows(input));
        let Ok(mut machine) = decoded else {
            rows.iter().for_each(Machine::check_all);
            return false;
        };
        assert_eq!(rows.as_ref(), Ok(&machine), "a snapshot and its rows say different things");
        machine.check_all();
        same_again(&machine);
        go_on(&mut machine);
        machine.check_all();
        same_again(&machine);
        true
    }
}

/// What was written is what is read.
fn same_again(machine: &Machine) {
    let read = snapshot::decode(&snapshot::encode(machine));
    assert_eq!(read.as_ref(), Ok(machine), "a state changed on its way");
}

/// Applies commands that touch what is there and what is not.
fn go_on(machine: &mut Machine) {
    let session = machine.sessions().next().map(|session| session.id);
    let node = machine.nodes().next().map(|node| node.id);
    let held = machine.list("", None).next().map(|held| (held.name.clone(), held.epoch));
    let mut ops = [singletons(), life()].concat();
    if let Some((name, epoch)) = held {
        ops.push(Command { once: Once::Key(1), op: register(name.as_str(), session, Some(epoch)) });
        ops.push(free(Op::Release { name, epoch: None }));
    }
    if let Some(session) = session {
        let once = Once::Seq { session, seq: u64::MAX };
        ops.push(Command { once, op: register("last", Some(session), None) });
        ops.push(free(Op::End { session, evidence: Evidence::Stopped }));
    }
    ops.extend(node.map(|node| free(Op::Leave { node })));
    for command in ops {
        let Some(index) = machine.applied().0.checked_add(1) else {
            return;
        };
        let at = At { index: Index(index), term: 7 };
        machine.apply(at, command, &mut Vec::new());
        machine.check();
    }
}

/// A little of everything.
fn life() -> Vec<Command> {
    let open = |node, boot| {
        let owner = SessionOwner::Node { node: NodeId(node), boot: Boot(boot) };
        free(Op::Open { owner, ttl_ms: 2000 })
    };
    let numbered = |session, seq, name: &str| {
        let session = SessionId(session);
        Command { once: Once::Seq { session, seq }, op: register(name, Some(session), None) }
    };
    let keyed = |key, name: &str| Command { once: Once::Key(key), op: register(name, None, None) };
    vec![
        join(1, "n1"),
        join(2, "n2"),
        open(1, 1),
        free(Op::Open { owner: SessionOwner::Client, ttl_ms: 0 }),
        numbered(3, 1, "shop/till"),
        numbered(3, 2, "shop/door"),
        numbered(4, 9, "shop/till"),
        keyed(7, "durable"),
        keyed(u128::MAX, "durable"),
        free(Op::Release { name: name("nobody"), epoch: None }),
        open(2, 1),
        open(2, 2),
        numbered(3, 700, "z"),
        free(Op::End { session: SessionId(4), evidence: Evidence::Expired { term: 1 } }),
        join(3, "n2"),
        open(1, 2),
        free(Op::Leave { node: NodeId(2) }),
        free(Op::SetRules { rules: vec![deny_edges()], replace: None }),
        free(Op::Reserve { name: name("kept"), bond: Bond::Ttl { ms: 900 }, replace: None }),
        free(set("worker", None)),
        free(set("worker", Some(Pid { node: NodeId(1), boot: Boot(2), serial: 9 }))),
        free(Op::Count { name: name("sold"), add: -1, expected: None }),
    ]
}

/// Singletons in every state, on nodes that understand them.
fn singletons() -> Vec<Command> {
    let offer = |of: &str, session, node, spec| {
        let (name, session, node) = (name(of), SessionId(session), NodeId(node));
        free(Op::Volunteer { name, session, node, spec: Box::new(spec) })
    };
    let open = |node| {
        let owner = SessionOwner::Node { node: NodeId(node), boot: Boot(1) };
        free(Op::Open { owner, ttl_ms: 2000 })
    };
    let crew = Company { group: "crew".into(), apart: true, spread: Some("zone".into()) };
    let after = Spec { after: [name("till")].into(), ..Spec::default() };
    let alone = Spec { company: Some(crew), ..Spec::default() };
    let epoch = Epoch::new(1, Index(6)).expect("the sixth entry of the first generation");
    let legacy = Legacy { bytes: 1 << 20, digest: 7 };
    let left = Ending::Left { to: Some(SessionId(5)), legacy };
    vec![
        free(Op::Raise { level: Level::NEWEST }),
        newest(1, "n1"),
        newest(2, "n2"),
        open(1),
        open(2),
        offer("left", 4, 1, Spec::default()),
        offer("left", 5, 2, Spec::default()),
        free(Op::Checkpoint { name: name("left"), epoch, state: b"one".to_vec() }),
        free(Op::Move { name: name("left"), to: Some(NodeId(2)), expected: Some(epoch) }),
        free(Op::EndGrant { name: name("left"), epoch, ending: left }),
        offer("till", 4, 1, alone.clone()),
        offer("till", 5, 2, alone.clone()),
        offer("door", 4, 1, alone.clone()),
        offer("desk", 5, 2, alone),
        offer("shop", 5, 2, after),
        free(Op::Halt { name: name("till") }),
        free(Op::Resume { name: name("till") }),
        free(Op::Move { name: name("till"), to: None, expected: None }),
        free(Op::Drain { node: NodeId(2), why: Some("new disk".into()) }),
        free(Op::End { session: SessionId(4), evidence: Evidence::ProvenDead }),
        free(Op::Drain { node: NodeId(2), why: None }),
        free(Op::Halt { name: name("desk") }),
    ]
}

fn newest(node: u64, text: &str) -> Command {
    let mut command = join(node, text);
    if let Op::Join { labels, .. } = &mut command.op {
        Level::NEWEST.announce(labels);
    }
    command
}

/// Borne by the second life of the first node.
fn set(key: &str, process: Option<Pid>) -> Op {
    let bearer = Bearer { session: SessionId(16), process };
    let meta = BTreeMap::from([("zone".to_owned(), "a".to_owned())]);
    Op::SetProperty { key: name(key), bearer, value: b"says".to_vec(), meta, expected: None }
}

fn free(op: Op) -> Command {
    Command { once: Once::Free, op }
}

fn name(text: &str) -> Name {
    Name::new(text).expect("it is a name")
}

fn join(node: u64, text: &str) -> Command {
    free(Op::Join {
        node: NodeId(node),
        name: text.try_into().expect("it is a name"),
        address: format!("10.0.0.{node}:4747"),
        labels: BTreeMap::from([("zone".to_owned(), "a".to_owned())]),
    })
}

fn deny_edges() -> Rule {
    Rule {
        from: Selector::Role(NodeRole::Edge),
        to: Selector::Label { key: "zone".into(), value: "a".into() },
        stance: Stance::Deny,
        lanes: Lanes::ALL,
        rates: [None, None, Some(Rate::new(1 << 20))],
    }
}

fn register(text: &str, session: Option<SessionId>, replace: Option<quorate_vocab::Epoch>) -> Op {
    let holder = Some(Pid { node: NodeId(1), boot: Boot(1), serial: 7 });
    let meta = BTreeMap::from([("role".to_owned(), "main".to_owned())]);
    let claim = Claim { bond: session.into(), holder, value: b"here".to_vec(), meta };
    Op::Register { name: name(text), claim, replace }
}

/// Reads rows as far as they can be read.
fn rows(input: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut rest = input.get(HEAD_BYTES..).unwrap_or_default();
    let mut rows = Vec::new();
    while let Some((lengths, after)) = rest.split_first_chunk::<8>() {
        let length = |at: usize| {
            let bytes = lengths[at..at + 4].try_into().expect("four bytes");
            u32::from_le_bytes(bytes) as usize
        };
        let (key, after) = after.split_at(length(0).min(after.len()));
        let (value, after) = after.split_at(length(4).min(after.len()));
        rows.push((key.to_vec(), value.to_vec()));
        rest = after;
    }
    rows
}

/// A row as one part: the length of the key in one byte, the key, the value. Longer keys are cut.
fn part(key: &[u8], value: &[u8]) -> Vec<u8> {
    let key = &key[..key.len().min(255)];
    [&[key.len() as u8], key, value].concat()
}

fn key_and_value(part: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let (len, rest) = part.split_first().map_or((0, part), |(len, rest)| (usize::from(*len), rest));
    let (key, value) = rest.split_at(len.min(rest.len()));
    (key.to_vec(), value.to_vec())
}
