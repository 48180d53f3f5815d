//! A node's links as users see them, and the topology rules that its links obey.
//!
//! The rules are the registry's, and so the same on every node; what they come to depends on who asks. Each
//! node keeps what it may send to each other one, and looks again whenever the rules, a node's entry or the
//! voters change, so that whoever sends only reads.
//!
//! Not here: links themselves. The mesh is told what [`apply`] came to, and obeys.
//!
//! Rules are about what processes send each other. What nodes ask of each other (leases, proposals, reads) is
//! not theirs to deny, whatever it travels on: otherwise `deny any -> any` could never be taken back.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use quorate_mesh::clocks::{Clocks, Reading};
use quorate_mesh::standing::Evidence;
use quorate_mesh::{LinkState, Road};
use quorate_registry::{
    Command, Effect, Explanation, Judgement, Machine, Node, NodeFacts, NodeRole, Once, Op, Rate,
    Rules, Verdict,
};
use quorate_vocab::{Index, NodeId, NodeName};

use crate::error::Error;
use crate::hall::Hall;
use crate::names::draw_key;
use crate::status::MemberState;

/// A wall clock that differs from the median by more is said to be off. NTP over the internet keeps to it.
const CLOCK_TOLERANCE: Duration = Duration::from_millis(100);

/// What this node may send to one peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkRule {
    /// Whether a data link may be at all. Never asked for a control session.
    pub allowed: bool,
    /// Which lanes are open, by [`Lane::index`](quorate_vocab::Lane::index).
    pub lanes: [bool; 3],
    /// How fast each lane may be; `None` has no limit of its own.
    pub rates: [Option<Rate>; 3],
}

/// A link of this node, as it is at the moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Link {
    /// Who is on the other side.
    pub peer: NodeId,
    /// What people call it.
    pub name: NodeName,
    /// What it is to the others; none while it does not take part.
    pub role: Option<NodeRole>,
    /// How it is, by the registry.
    pub state: MemberState,
    /// How it stands, seen from here, and why.
    pub standing: Option<Evidence>,
    /// Where it is dialled.
    pub address: String,
    /// The control link, while it is up.
    pub control: Option<LinkState>,
    /// The data road, while it is open.
    pub data: Option<LinkState>,
    /// What may be sent over it.
    pub rule: LinkRule,
}

/// The rules in force, as this node knows them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RulesInForce {
    /// The rules.
    pub rules: Rules,
    /// The entry that set them; 0 when none ever did.
    pub version: Index,
    /// The index of the state that was looked into.
    pub index: Index,
}

/// What rules say of two nodes, both ways.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained {
    /// The rules that were asked.
    pub rules: Rules,
    /// Their version; none for rules that are not in force.
    pub version: Option<Index>,
    /// The two nodes.
    pub parties: [Party; 2],
    /// What the first may send to the second, and what the second to the first.
    pub ways: [Explanation; 2],
    /// The index of the state that was looked into.
    pub index: Index,
}

/// What rules see of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Party {
    /// What people call it.
    pub name: NodeName,
    /// What it is to the others.
    pub role: NodeRole,
    /// The groups that it is in.
    pub groups: Vec<String>,
    /// All of its labels.
    pub labels: BTreeMap<String, String>,
}

/// No node of this name takes part. Nothing changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no node called {0} takes part")]
pub struct NoSuchNode(pub NodeName);

/// A node's links, and the rules of all. Cheap to clone.
#[derive(Clone)]
pub struct Links {
    hall: Arc<Hall>,
}

impl LinkRule {
    /// What is so where no rule says otherwise.
    pub const OPEN: Self = Self { allowed: true, lanes: [true; 3], rates: [None; 3] };
}

impl From<Judgement> for LinkRule {
    fn from(judgement: Judgement) -> Self {
        let Judgement { lanes, rates, .. } = judgement;
        Self { allowed: judgement.is_allowed(), lanes: lanes.flags(), rates }
    }
}

impl Links {
    pub(crate) fn new(hall: Arc<Hall>) -> Self {
        Self { hall }
    }

    /// This node's links, in the order of their peers' names.
    pub fn list(&self) -> Vec<Link> {
        let voters = self.hall.group().status().voters;
        let (peers, states) = (self.hall.mesh().peers(), self.hall.mesh().links());
        let state = |peer: NodeId, road| {
            let mut of_road = states.iter().filter(|link| link.node == peer && link.road == road);
            let first = of_road.next()?.clone();
            Some(of_road.fold(first, LinkState::with))
        };
        let mut links: Vec<Link> = self.hall.group().read(|machine, _| {
            let link = |peer: quorate_mesh::Peer| Link {
                role: machine.node(peer.id).map(|node| facts(node, &voters).role()),
                state: match machine.session_of(peer.id) {
                    Some(_) => MemberState::Up,
                    None => MemberState::Down,
                },
                standing: self.hall.health().of(peer.id),
                rule: self.judge(peer.id),
                peer: peer.id,
                name: peer.name,
                address: peer.address,
                control: state(peer.id, Road::Control),
                data: state(peer.id, Road::Data),
            };
            peers.into_iter().map(link).collect()
        });
        links.sort_by(|one, other| one.name.cmp(&other.name));
        links
    }

    /// What this node may send to a peer. Cheap: it reads what was decided when the rules, or what they see,
    /// last changed. A node that the registry does not know is not denied.
    pub fn judge(&self, peer: NodeId) -> LinkRule {
        self.hall.rulebook().judge(peer)
    }

    /// The rules in force, by what this node knows.
    pub fn rules(&self) -> RulesInForce {
        self.hall.group().read(|machine, index| RulesInForce {
            rules: machine.rules().clone(),
            version: machine.rules_version(),
            index,
        })
    }

    /// Puts other rules in the place of those in force, with `replace` only of exactly that version, and
    /// answers with the new one. A key marks repetitions of this request.
    pub async fn set_rules(
        &self,
        rules: Rules,
        replace: Option<Index>,
        key: Option<u128>,
    ) -> Result<Index, Error> {
        let op = Op::SetRules { rules: rules.into(), replace };
        let command = Command { once: Once::Key(key.unwrap_or_else(draw_key)), op };
        match self.hall.propose(command, self.hall.config().patience()).await? {
            (_, Verdict::RulesSet { version }) => Ok(version),
            (_, Verdict::Refused(refusal)) => Err(Error::Refused(refusal)),
            (_, _) => Err(Error::Unknown),
        }
    }

    /// What rules say of two nodes, rule by rule: those in force, or others instead of them, which changes
    /// nothing. By what this node knows.
    pub fn explain(
        &self,
        from: &NodeName,
        to: &NodeName,
        instead: Option<Rules>,
    ) -> Result<Explained, NoSuchNode> {
        let voters = self.hall.group().status().voters;
        self.hall.group().read(|machine, index| {
            let find = |name: &NodeName| {
                let found = machine.nodes().find(|node| node.name == *name);
                found.map(|node| facts(node, &voters)).ok_or_else(|| NoSuchNode(name.clone()))
            };
            let (from, to) = (find(from)?, find(to)?);
            let version = instead.is_none().then(|| machine.rules_version());
            let rules = instead.unwrap_or_else(|| machine.rules().clone());
            Ok(Explained {
                ways: [rules.explain(from, to), rules.explain(to, from)],
                parties: [from, to].map(Party::of),
                rules,
                version,
                index,
            })
        })
    }

    /// Returns when everything that was acknowledged before the call is applied here.
    pub async fn confirm(&self) -> Result<Index, Error> {
        self.hall.confirm(self.hall.config().patience()).await
    }

    /// The wall clocks of this node and of those that it has control links to, against their median. Nothing
    /// is decided by them.
    pub fn clocks(&self) -> Clocks {
        let links = self.hall.mesh().links();
        let control = links.iter().filter(|link| link.road == Road::Control);
        let reading = |link: &LinkState| Reading {
            node: link.node,
            offset: link.offset,
            round_trips: link.round_trips,
        };
        Clocks::compare(self.hall.id(), control.map(reading), CLOCK_TOLERANCE)
    }

    /// How old what this node knows may be, as in [`crate::Found::stale`].
    pub fn stale(&self) -> Duration {
        self.hall.group().age()
    }
}

impl Party {
    fn of(facts: NodeFacts<'_>) -> Self {
        Self {
            name: facts.node.name.clone(),
            role: facts.role(),
            groups: facts.groups().map(str::to_owned).collect(),
            labels: facts.node.labels.clone(),
        }
    }
}

/// What this node may send to each other one, and what it takes from it, by the last look.
#[derive(Default)]
pub(crate) struct Rulebook(RwLock<BTreeMap<NodeId, Ways>>);

/// What may go to a peer, and come from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ways {
    pub(crate) there: LinkRule,
    pub(crate) back: LinkRule,
}

impl From<Ways> for quorate_mesh::Rule {
    fn from(Ways { there, back }: Ways) -> Self {
        let rate = |rate: Rate| quorate_mesh::bucket::Rate {
            per_second: rate.bytes_per_second,
            burst: rate.burst_bytes,
        };
        Self {
            lanes: there.lanes,
            rates_out: there.rates.map(|limit| limit.map(rate)),
            admits: back.allowed,
            rates_in: back.rates.map(|limit| limit.map(rate)),
        }
    }
}

impl Rulebook {
    pub(crate) fn judge(&self, peer: NodeId) -> LinkRule {
        let known = self.0.read().expect("nothing panics while it holds the rulebook");
        known.get(&peer).map_or(LinkRule::OPEN, |ways| ways.there)
    }

    /// Gives what was there before.
    fn replace(&self, by: BTreeMap<NodeId, Ways>) -> BTreeMap<NodeId, Ways> {
        let mut known = self.0.write().expect("nothing panics while it holds the rulebook");
        std::mem::replace(&mut *known, by)
    }
}

/// Tells the mesh what may go to each other node of the registry, and come from it. Whoever is not in it is
/// not denied.
fn apply(hall: &Hall) {
    let voters = hall.group().status().voters;
    let now = hall.group().read(|machine, _| toward_all(machine, hall.id(), &voters));
    let before = hall.rulebook().replace(now.clone());
    for (node, ways) in now.iter().filter(|(node, ways)| before.get(node) != Some(ways)) {
        hall.mesh().rule(*node, (*ways).into());
    }
    for node in before.keys().filter(|node| !now.contains_key(node)) {
        hall.mesh().rule(*node, quorate_mesh::Rule::OPEN);
    }
}

/// Follows the rules, the nodes and the voters for as long as the node lives.
pub(crate) async fn follow(hall: Arc<Hall>) {
    loop {
        // Both before the look, so that what changes during it is looked at again.
        let status = hall.group().status();
        let mut watch = hall.group().watch(hall.group().read(|_, index| index));
        apply(&hall);
        // Begun once, and not with each change.
        let mut others_matter = pin!(hall.group().status_changed(&status));
        loop {
            tokio::select! {
                biased;
                () = &mut others_matter => break,
                change = watch.next() => match change {
                    Ok(change) if !change.effects.iter().any(concerns) => {}
                    _ => break,
                },
            }
        }
    }
}

/// Whether rules may say something else after this.
fn concerns(effect: &Effect) -> bool {
    matches!(effect, Effect::RulesSet { .. } | Effect::NodeJoined(_) | Effect::NodeLeft(_))
}

fn toward_all(machine: &Machine, me: NodeId, voters: &BTreeSet<NodeId>) -> BTreeMap<NodeId, Ways> {
    let rules = machine.rules();
    match machine.node(me) {
        // Nobody is asked where there is nothing to ask, or nobody to ask it of.
        Some(me) if !rules.is_empty() => {
            let others = machine.nodes().filter(|node| node.id != me.id);
            let judge = |from: &Node, to: &Node| {
                LinkRule::from(rules.judge(facts(from, voters), facts(to, voters)))
            };
            let ways = |node: &Node| Ways { there: judge(me, node), back: judge(node, me) };
            others.map(|node| (node.id, ways(node))).collect()
        }
        _ => BTreeMap::new(),
    }
}

pub(crate) fn facts<'a>(node: &'a Node, voters: &BTreeSet<NodeId>) -> NodeFacts<'a> {
    NodeFacts { node, votes: voters.contains(&node.id) }
}

#[cfg(test)]
mod tests {
    use quorate_registry::{At, Lanes, Rule};
    use quorate_vocab::Lane;

    use super::*;

    fn machine(rules: Vec<Rule>) -> Machine {
        let join = |id: u64, role: &str| Op::Join {
            node: NodeId(id),
            name: format!("n{id}").try_into().unwrap(),
            address: "10.0.0.1:1".to_owned(),
            labels: BTreeMap::from([("role".to_owned(), role.to_owned())]),
        };
        let ops = [join(1, "member"), join(2, "edge"), join(3, "edge")];
        let mut machine = Machine::new(0);
        for (op, index) in ops.into_iter().chain([Op::SetRules { rules, replace: None }]).zip(1..) {
            let at = At { index: Index(index), term: 1 };
            machine.apply(at, Command { once: Once::Free, op }, &mut Vec::new());
        }
        machine
    }

    fn rule(text: [&str; 3], lanes: Lanes) -> Rule {
        let [stance, from, to] = text;
        let [from, to] = [from, to].map(|text| text.parse().unwrap());
        Rule { from, to, stance: stance.parse().unwrap(), lanes, rates: [None; 3] }
    }

    #[test]
    fn each_node_keeps_what_it_may_send_to_the_others() {
        let bulk = Lanes::NONE.with(Lane::Bulk);
        let machine = machine(vec![
            rule(["deny", "role:edge", "role:edge"], Lanes::ALL),
            rule(["deny", "role:member", "node:n2"], bulk),
        ]);
        let shut = LinkRule { allowed: false, lanes: [false; 3], rates: [None; 3] };
        let slim = LinkRule { lanes: [true, true, false], ..LinkRule::OPEN };
        let nobody = BTreeSet::new();
        let there = |me: u64, voters: &BTreeSet<NodeId>| -> BTreeMap<NodeId, LinkRule> {
            let ways = toward_all(&machine, NodeId(me), voters);
            ways.into_iter().map(|(node, ways)| (node, ways.there)).collect()
        };
        let of_one = there(1, &nobody);
        assert_eq!(of_one, BTreeMap::from([(NodeId(2), slim), (NodeId(3), LinkRule::OPEN)]));
        let of_two = there(2, &nobody);
        assert_eq!(of_two, BTreeMap::from([(NodeId(1), LinkRule::OPEN), (NodeId(3), shut)]));
        assert_eq!(toward_all(&machine, NodeId(2), &nobody)[&NodeId(1)].back, slim);
        // A vote makes another node of it, whatever its label says.
        let of_two = there(2, &BTreeSet::from([NodeId(3)]));
        assert_eq!(of_two[&NodeId(3)], LinkRule::OPEN);
    }

    #[test]
    fn without_rules_or_before_it_takes_part_a_node_denies_nobody() {
        assert_eq!(toward_all(&machine(Vec::new()), NodeId(1), &BTreeSet::new()).len(), 0);
        let strict = machine(vec![rule(["deny", "any", "any"], Lanes::ALL)]);
        assert_eq!(toward_all(&strict, NodeId(9), &BTreeSet::new()).len(), 0);
        let rulebook = Rulebook::default();
        assert_eq!(rulebook.judge(NodeId(2)), LinkRule::OPEN);
        rulebook.replace(toward_all(&strict, NodeId(1), &BTreeSet::new()));
        assert!(!rulebook.judge(NodeId(2)).allowed && rulebook.judge(NodeId(9)).allowed);
    }
}
