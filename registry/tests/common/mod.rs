//! What the tests share: a small world to speak to, and random logs.

#![allow(dead_code, reason = "each test file uses its part")]

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use quorate_registry::{
    At, Bearer, Bond, Claim, Command, Effect, Evidence, Lanes, Level, Machine, Once, Op, Rate,
    Rule, Selector, SessionOwner, Stance, Verdict,
};
use quorate_vocab::{Boot, Epoch, Index, Lane, Name, NodeId, NodeName, Pid, SessionId};

pub(crate) mod singletons;
pub(crate) mod stage;

/// So many random cases; what fails is kept beside the test, and tried first from then on.
pub(crate) fn cases(cases: u32) -> ProptestConfig {
    let kept = FileFailurePersistence::WithSource("regressions");
    ProptestConfig {
        failure_persistence: Some(Box::new(kept)),
        ..ProptestConfig::with_cases(cases)
    }
}

/// A machine, and a log that only it has seen.
pub(crate) struct World {
    pub(crate) machine: Machine,
    pub(crate) index: u64,
    pub(crate) term: u64,
}

impl World {
    pub(crate) fn new() -> Self {
        Self { machine: Machine::new(0), index: 0, term: 1 }
    }

    /// A world with the node `n1` (identity 1, boot 1) and its session.
    pub(crate) fn with_node() -> (Self, SessionId) {
        let mut world = Self::new();
        world.say(join(1, "n1"));
        let session = world.open(node(1, 1));
        (world, session)
    }

    /// Applies as the next entry, and checks the whole state.
    pub(crate) fn hear(&mut self, once: Once, op: Op) -> (Verdict, Vec<Effect>) {
        self.index += 1;
        let mut effects = Vec::new();
        let at = At { index: Index(self.index), term: self.term };
        let verdict = self.machine.apply(at, Command { once, op }, &mut effects);
        self.machine.check();
        self.machine.check_all();
        (verdict, effects)
    }

    pub(crate) fn say(&mut self, op: Op) -> Verdict {
        self.hear(Once::Free, op).0
    }

    pub(crate) fn open(&mut self, owner: SessionOwner) -> SessionId {
        match self.say(Op::Open { owner, ttl_ms: 2000 }) {
            Verdict::Opened { session } => session,
            other => panic!("not opened: {other:?}"),
        }
    }

    pub(crate) fn register(&mut self, text: &str, session: Option<SessionId>) -> Epoch {
        match self.say(register(text, session)) {
            Verdict::Registered { epoch } => epoch,
            other => panic!("not registered: {other:?}"),
        }
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.machine.list("", None).map(|held| held.name.to_string()).collect()
    }
}

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub(crate) fn node(node: u64, boot: u64) -> SessionOwner {
    SessionOwner::Node { node: NodeId(node), boot: Boot(boot) }
}

pub(crate) fn join(node: u64, text: &str) -> Op {
    Op::Join {
        node: NodeId(node),
        name: NodeName::try_from(text).unwrap(),
        address: format!("10.0.0.{node}:4747"),
        labels: BTreeMap::from([("zone".to_owned(), "a".to_owned())]),
    }
}

pub(crate) fn claim(session: Option<SessionId>) -> Claim {
    let holder = Some(Pid { node: NodeId(1), boot: Boot(1), serial: 7 });
    Claim { bond: session.into(), holder, value: b"here".to_vec(), meta: BTreeMap::new() }
}

pub(crate) fn labels(of: &[(&str, &str)]) -> BTreeMap<String, String> {
    of.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
}

pub(crate) fn pid(serial: u64) -> Pid {
    Pid { node: NodeId(1), boot: Boot(1), serial }
}

/// A claim of a life of its own.
pub(crate) fn lease(text: &str, ms: u64) -> Op {
    Op::Register {
        name: name(text),
        claim: Claim { bond: Bond::Ttl { ms }, ..claim(None) },
        replace: None,
    }
}

pub(crate) fn reserve(text: &str, bond: impl Into<Bond>) -> Op {
    Op::Reserve { name: name(text), bond: bond.into(), replace: None }
}

pub(crate) fn set(key: &str, bearer: Bearer, meta: &[(&str, &str)]) -> Op {
    let (value, meta) = (b"says".to_vec(), labels(meta));
    Op::SetProperty { key: name(key), bearer, value, meta, expected: None }
}

pub(crate) fn count(text: &str, add: i64, expected: Option<i64>) -> Op {
    Op::Count { name: name(text), add, expected }
}

pub(crate) fn register(text: &str, session: Option<SessionId>) -> Op {
    Op::Register { name: name(text), claim: claim(session), replace: None }
}

pub(crate) fn replace(text: &str, session: Option<SessionId>, epoch: Epoch) -> Op {
    Op::Register { name: name(text), claim: claim(session), replace: Some(epoch) }
}

pub(crate) fn release(text: &str, epoch: Option<Epoch>) -> Op {
    Op::Release { name: name(text), epoch }
}

pub(crate) fn end(session: SessionId, evidence: Evidence) -> Op {
    Op::End { session, evidence }
}

/// A rule of all lanes without a rate.
pub(crate) fn rule(stance: &str, from: &str, to: &str) -> Rule {
    let [from, to] = [from, to].map(|text| text.parse::<Selector>().unwrap());
    Rule { from, to, stance: stance.parse().unwrap(), lanes: Lanes::ALL, rates: [None; 3] }
}

/// Rules that can be in force, over few nodes, labels and groups, such that they fit.
pub(crate) fn rules(len: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Rule>> {
    let selector = || {
        let text = prop_oneof![
            Just("any"),
            Just("role:voter"),
            Just("role:member"),
            Just("role:edge"),
            Just("label:zone=a"),
            Just("label:zone=b"),
            Just("group:a"),
            Just("group:b"),
            Just("node:n1"),
            Just("node:n2"),
        ];
        text.prop_map(|text| text.parse::<Selector>().unwrap())
    };
    let lanes = (1..8_u8).prop_map(|bits| {
        let named = Lane::ALL.into_iter().filter(|lane| bits & 1 << lane.index() != 0);
        named.fold(Lanes::NONE, Lanes::with)
    });
    let rate = || {
        let rate = (1..=Rate::BYTES_MAX, proptest::option::of(Rate::BURST_MIN..=Rate::BYTES_MAX))
            .prop_map(|(rate, burst)| Rate {
                burst_bytes: burst.unwrap_or(Rate::new(rate).burst_bytes),
                bytes_per_second: rate,
            });
        proptest::option::of(rate)
    };
    let stance = prop_oneof![Just(Stance::Allow), Just(Stance::Deny)];
    let rule = (selector(), selector(), stance, lanes, [rate(), rate(), rate()])
        .prop_map(|(from, to, stance, lanes, rates)| Rule { from, to, stance, lanes, rates });
    vec(rule, len)
}

/// All rows but the header, which counts the entries.
pub(crate) fn body(machine: &Machine) -> Vec<(Vec<u8>, Vec<u8>)> {
    machine.rows().skip(1).collect()
}

/// A log over few nodes, names, sessions and marks, such that commands meet.
pub(crate) fn log(len: std::ops::Range<usize>) -> impl Strategy<Value = Vec<(At, Command)>> {
    let intents = vec((intent(), once(), 1..3_u64, 0..12_u8), len);
    (0..4_u8, intents).prop_map(|(rises, mut intents)| {
        // Mostly the founder raises the level before anybody comes, and often three nodes come at once.
        let join = |node| Intent::Join { node, name: 4, labels: 4 };
        let open = |node| Intent::OpenNode { node, boot: 1 };
        let come = (1..4).flat_map(|node| [join(node), open(node)]);
        let begin = std::iter::once(Intent::Raise).chain(come.take(usize::from(rises / 2) * 6));
        let begin = begin.take(if rises == 0 { 0 } else { intents.len() / 2 });
        for (first, intent) in intents.iter_mut().zip(begin) {
            *first = (intent, Mark::Free, 1, 1);
        }
        let mut machine = Machine::new(3);
        let mut at = At { index: Index(0), term: 1 };
        let mut write = |(intent, once, skip, election)| {
            at.index.0 += skip;
            at.term += u64::from(election == 0);
            let command = spell_out(&machine, at, intent, once);
            machine.apply(at, command.clone(), &mut Vec::new());
            (at, command)
        };
        intents.into_iter().map(&mut write).collect()
    })
}

/// What somebody wants, before it is known which sessions and epochs there are.
#[derive(Clone, Copy, Debug)]
enum Intent {
    Join { node: u64, name: u8, labels: u8 },
    Leave { node: u64 },
    OpenNode { node: u64, boot: u64 },
    OpenClient,
    End { session: usize, evidence: u8 },
    Register { name: u8, bond: u8, session: usize, epoch: u8, weight: usize },
    Reserve { name: u8, bond: u8, session: usize, epoch: u8 },
    Confirm { name: u8, bond: u8, session: usize, epoch: u8 },
    Amend { name: u8, epoch: u8, version: u8, what: u8 },
    SetProperty { key: u8, session: usize, process: u8, version: u8 },
    DropProperty { key: u8, session: usize, process: u8 },
    Count { name: u8, add: i64, expected: u8 },
    DropCounter { name: u8, expected: u8 },
    Raise,
    Release { name: u8, epoch: u8 },
    SetRules { rules: u8, version: u8 },
    Wish(u8, singletons::Wish),
}

#[derive(Clone, Copy, Debug)]
enum Mark {
    Free,
    Key(u128),
    Seq { session: usize, seq: u64 },
}

fn intent() -> impl Strategy<Value = Intent> {
    let session = 0..8_usize;
    let weight = prop_oneof![8 => 0..40_usize, 1 => Just(Claim::BYTES_MAX + 1)];
    prop_oneof![
        5 => (1..4_u64, 0..5_u8, 0..64_u8)
            .prop_map(|(node, name, labels)| Intent::Join { node, name, labels }),
        1 => (1..4_u64).prop_map(|node| Intent::Leave { node }),
        6 => (1..4_u64, 1..4_u64).prop_map(|(node, boot)| Intent::OpenNode { node, boot }),
        2 => Just(Intent::OpenClient),
        2 => (session.clone(), 0..7_u8)
            .prop_map(|(session, evidence)| Intent::End { session, evidence }),
        8 => (0..6_u8, 0..8_u8, session.clone(), 0..8_u8, weight).prop_map(
            |(name, bond, session, epoch, weight)| {
                Intent::Register { name, bond, session, epoch, weight }
            }
        ),
        3 => (0..6_u8, 0..8_u8, session.clone(), 0..8_u8).prop_map(
            |(name, bond, session, epoch)| Intent::Reserve { name, bond, session, epoch }
        ),
        3 => (0..6_u8, 0..8_u8, session.clone(), 0..3_u8).prop_map(
            |(name, bond, session, epoch)| Intent::Confirm { name, bond, session, epoch }
        ),
        3 => (0..6_u8, 0..3_u8, 0..4_u8, 0..4_u8).prop_map(
            |(name, epoch, version, what)| Intent::Amend { name, epoch, version, what }
        ),
        4 => (0..3_u8, session.clone(), 0..3_u8, 0..5_u8).prop_map(
            |(key, session, process, version)| {
                Intent::SetProperty { key, session, process, version }
            }
        ),
        2 => (0..3_u8, session, 0..3_u8).prop_map(
            |(key, session, process)| Intent::DropProperty { key, session, process }
        ),
        2 => (0..3_u8, prop_oneof![8 => -3..9_i64, 1 => Just(i64::MAX)], 0..4_u8)
            .prop_map(|(name, add, expected)| Intent::Count { name, add, expected }),
        1 => (0..3_u8, 0..4_u8)
            .prop_map(|(name, expected)| Intent::DropCounter { name, expected }),
        1 => Just(Intent::Raise),
        3 => (0..6_u8, 0..4_u8).prop_map(|(name, epoch)| Intent::Release { name, epoch }),
        1 => (0..5_u8, 0..4_u8)
            .prop_map(|(rules, version)| Intent::SetRules { rules, version }),
        36 => singletons::wish().prop_map(|(of, wish)| Intent::Wish(of, wish)),
    ]
}

fn once() -> impl Strategy<Value = Mark> {
    prop_oneof![
        3 => Just(Mark::Free),
        2 => (0..40_u128).prop_map(Mark::Key),
        3 => (0..8_usize, prop_oneof![9 => 0..40_u64, 1 => 0..600_u64])
            .prop_map(|(session, seq)| Mark::Seq { session, seq }),
    ]
}

fn spell_out(machine: &Machine, at: At, intent: Intent, mark: Mark) -> Command {
    let name_of = |n: u8| name(["a", "a/b", "a/c", "b", "b:1", "z"][usize::from(n) % 6]);
    let epoch_of = |n: u8, of: &Name| match n {
        0 | 1 => machine.find(of.as_str()).map(|held| held.epoch),
        2 => Epoch::new(3, Index(at.index.0 / 2)),
        _ => None,
    };
    let bond_of = |n: u8, session| match n {
        0 => Bond::Durable,
        1 | 2 => Bond::Ttl { ms: 500 },
        _ => Bond::Session(pick(machine, session)),
    };
    let bearer_of = |session, process: u8| Bearer {
        session: pick(machine, session),
        process: (process != 0).then(|| pid(process.into())),
    };
    let version_of = |n: u8, present: Option<Index>| match n {
        0 => Some(Index(at.index.0 / 2)),
        1 => Some(present.unwrap_or(Index(0))),
        _ => None,
    };
    let expected_of = |n: u8, present: Option<i64>| match n {
        0 => Some(7),
        1 => Some(present.unwrap_or(0)),
        _ => None,
    };
    let op = match intent {
        Intent::Join { node, name, labels } => {
            let called = match name {
                0..3 => usize::from(name),
                _ => node as usize - 1,
            };
            let mut op = join(node, ["n1", "n2", "n3"][called]);
            if let Op::Join { labels: of, .. } = &mut op {
                *of = singletons::labels_of_node(labels);
                if labels < 60 {
                    Level::NEWEST.announce(of);
                }
            }
            op
        }
        Intent::Leave { node } => Op::Leave { node: NodeId(node) },
        Intent::OpenNode { node: id, boot } => Op::Open { owner: node(id, boot), ttl_ms: 2000 },
        Intent::OpenClient => Op::Open { owner: SessionOwner::Client, ttl_ms: 0 },
        Intent::End { session, evidence } => {
            let evidence = match evidence {
                0 => Evidence::Stopped,
                1 => Evidence::NodeLeft,
                2 => Evidence::Expired { term: at.term - 1 },
                3 => Evidence::ProvenDead,
                4 => Evidence::Forced,
                _ => Evidence::Expired { term: at.term },
            };
            end(pick(machine, session), evidence)
        }
        Intent::Register { name, bond, session, epoch, weight } => {
            let name = name_of(name);
            let value = vec![at.index.0 as u8; weight];
            let claim = Claim { bond: bond_of(bond, session), value, ..claim(None) };
            let replace = epoch_of(epoch, &name);
            Op::Register { name, claim, replace }
        }
        Intent::Reserve { name, bond, session, epoch } => {
            let name = name_of(name);
            let replace = epoch_of(epoch, &name);
            Op::Reserve { name, bond: bond_of(bond, session), replace }
        }
        Intent::Confirm { name, bond, session, epoch } => {
            let name = name_of(name);
            let epoch = epoch_of(epoch, &name).or(Epoch::new(3, Index(1))).unwrap();
            // Often the life that it is bound to already.
            let own = machine.find(name.as_str()).and_then(|held| held.session);
            let bond = match bond {
                0..3 => own.into(),
                _ => bond_of(bond, session),
            };
            Op::Confirm { name, epoch, claim: Claim { bond, ..claim(None) } }
        }
        Intent::Amend { name, epoch, version, what } => {
            let name = name_of(name);
            let held = machine.find(name.as_str()).map(|held| held.version);
            let expected = version_of(version, held);
            let epoch = epoch_of(epoch, &name).or(Epoch::new(3, Index(1))).unwrap();
            let value = (what & 1 != 0).then(|| vec![at.index.0 as u8; 30]);
            let meta = (what & 2 != 0).then(|| labels(&[("zone", "b")]));
            Op::Amend { name, epoch, expected, value, meta }
        }
        Intent::SetProperty { key, session, process, version } => {
            let (key, bearer) = (name_of(key), bearer_of(session, process));
            let present = machine.property(&key, bearer).map(|property| property.version);
            let expected = version_of(version, present);
            let (value, meta) = (vec![at.index.0 as u8; 9], labels(&[("zone", "a")]));
            Op::SetProperty { key, bearer, value, meta, expected }
        }
        Intent::DropProperty { key, session, process } => {
            Op::DropProperty { key: name_of(key), bearer: bearer_of(session, process) }
        }
        Intent::Count { name, add, expected } => {
            let name = name_of(name);
            let expected = expected_of(expected, machine.counter(name.as_str()));
            Op::Count { name, add, expected }
        }
        Intent::DropCounter { name, expected } => {
            let name = name_of(name);
            let expected = expected_of(expected, machine.counter(name.as_str()));
            Op::DropCounter { name, expected }
        }
        Intent::Raise => Op::Raise { level: Level::NEWEST },
        Intent::Release { name, epoch } => {
            let name = name_of(name);
            let epoch = epoch_of(epoch, &name);
            Op::Release { name, epoch }
        }
        Intent::SetRules { rules, version } => {
            let replace = match version {
                0 => None,
                1 | 2 => Some(machine.rules_version()),
                _ => Some(Index(at.index.0 / 2)),
            };
            let mut of = vec![rule("deny", "role:edge", "node:n1"); usize::from(rules % 4)];
            if rules == 4 {
                of.push(Rule { lanes: Lanes::NONE, ..rule("allow", "any", "any") });
            }
            Op::SetRules { rules: of, replace }
        }
        Intent::Wish(of, wish) => singletons::spell_out(machine, at, (of, wish)),
    };
    let once = match mark {
        Mark::Free => Once::Free,
        Mark::Key(key) => Once::Key(key),
        Mark::Seq { session, seq } => Once::Seq { session: pick(machine, session), seq },
    };
    Command { once, op }
}

/// A session: mostly one that lives, else one that ended, is yet to come, or never can be.
fn pick(machine: &Machine, n: usize) -> SessionId {
    let living = machine.sessions().map(|session| session.id).nth(n);
    living.unwrap_or(SessionId([1, 3, 30, 0, u64::MAX][n % 5]))
}

/// Any command at all, whatever there is.
pub(crate) fn any_command() -> impl Strategy<Value = Command> {
    let number = || prop_oneof![4 => 0..12_u64, 1 => any::<u64>(), 1 => Just(u64::MAX)];
    let session = move || number().prop_map(SessionId);
    let text = || "[a-z/]{1,3}".prop_filter_map("a name", |text| Name::new(text).ok());
    let labels = || proptest::collection::btree_map(".{0,4}", ".{0,4}", 0..4);
    let owner = prop_oneof![
        Just(SessionOwner::Client),
        Just(SessionOwner::Name),
        (number(), number()).prop_map(|(id, boot)| node(id, boot)),
    ];
    let evidence = prop_oneof![
        Just(Evidence::Stopped),
        Just(Evidence::NodeLeft),
        Just(Evidence::NameGone),
        Just(Evidence::ProvenDead),
        Just(Evidence::Forced),
        number().prop_map(|term| Evidence::Expired { term }),
        number().prop_map(|boot| Evidence::Superseded { by: Boot(boot) }),
    ];
    let shown = move || number().prop_filter_map("shown", Epoch::from_shown);
    let epoch = move || proptest::option::of(shown());
    let version = move || proptest::option::of(number().prop_map(Index));
    let value = || vec(any::<u8>(), 0..9);
    let bond = move || {
        prop_oneof![
            Just(Bond::Durable),
            session().prop_map(Bond::Session),
            number().prop_map(|ms| Bond::Ttl { ms }),
        ]
    };
    let claim = move || {
        (bond(), value(), labels()).prop_map(|(bond, value, meta)| Claim {
            bond,
            holder: None,
            value,
            meta,
        })
    };
    let bearer = move || {
        (session(), proptest::option::of(number().prop_map(pid)))
            .prop_map(|(session, process)| Bearer { session, process })
    };
    let node_name = "[a-c]{1,2}".prop_map(|text| NodeName::try_from(text).unwrap());
    let address = prop_oneof![9 => ".{0,8}", 1 => Just("x".repeat(513))];
    let op = prop_oneof![
        (number(), node_name, address, labels()).prop_map(|(node, name, address, labels)| {
            Op::Join { node: NodeId(node), name, address, labels }
        }),
        number().prop_map(|node| Op::Leave { node: NodeId(node) }),
        (owner, number()).prop_map(|(owner, ttl_ms)| Op::Open { owner, ttl_ms }),
        (session(), evidence).prop_map(|(session, evidence)| end(session, evidence)),
        (text(), claim(), epoch()).prop_map(|(name, claim, replace)| Op::Register {
            name,
            claim,
            replace
        }),
        (text(), bond(), epoch()).prop_map(|(name, bond, replace)| Op::Reserve {
            name,
            bond,
            replace
        }),
        (text(), claim(), shown()).prop_map(|(name, claim, epoch)| Op::Confirm {
            name,
            epoch,
            claim
        }),
        (text(), shown(), version(), proptest::option::of(value()), proptest::option::of(labels()))
            .prop_map(|(name, epoch, expected, value, meta)| Op::Amend {
                name,
                epoch,
                expected,
                value,
                meta,
            }),
        (text(), bearer(), value(), labels(), version()).prop_map(
            |(key, bearer, value, meta, expected)| Op::SetProperty {
                key,
                bearer,
                value,
                meta,
                expected,
            }
        ),
        (text(), bearer()).prop_map(|(key, bearer)| Op::DropProperty { key, bearer }),
        (text(), any::<i64>(), proptest::option::of(any::<i64>()))
            .prop_map(|(name, add, expected)| Op::Count { name, add, expected }),
        text().prop_map(|name| Op::DropCounter { name, expected: None }),
        Just(Op::Raise { level: Level::NEWEST }),
        (text(), epoch()).prop_map(|(name, epoch)| Op::Release { name, epoch }),
        (rules(0..4), proptest::option::of(number()))
            .prop_map(|(rules, replace)| Op::SetRules { rules, replace: replace.map(Index) }),
    ];
    let op = prop_oneof![1 => op, 1 => singletons::any_op()];
    let once = prop_oneof![
        Just(Once::Free),
        any::<u128>().prop_map(Once::Key),
        (session(), number()).prop_map(|(session, seq)| Once::Seq { session, seq }),
    ];
    (once, op).prop_map(|(once, op)| Command { once, op })
}
