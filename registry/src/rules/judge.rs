//! What a list of rules says of two nodes, and why.

use super::{Lanes, NodeFacts, NodeRole, Rate, Rule, Rules, Selector, Stance};

/// What one node may send to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// The lanes that are open.
    pub lanes: Lanes,
    /// How fast each lane may be, by [`Lane::index`](quorate_vocab::Lane::index); `None` for one that has no
    /// limit or is not open.
    pub rates: [Option<Rate>; 3],
    /// The number of the rule that decided, from 1; `None` when no rule fits.
    pub rule: Option<usize>,
}

/// A judgement, and how it was come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// What was decided.
    pub judgement: Judgement,
    /// The rules that were passed over before, in their order: all of them when none fits.
    pub passed: Vec<Passed>,
}

/// A rule that does not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passed {
    /// Its number, from 1.
    pub rule: usize,
    /// Why it does not fit, of the first side that does not.
    pub why: String,
}

impl Judgement {
    /// What is so when no rule fits.
    pub const OPEN: Self = Self { lanes: Lanes::ALL, rates: [None; 3], rule: None };

    /// Whether anything may be sent at all.
    pub fn is_allowed(&self) -> bool {
        !self.lanes.is_empty()
    }

    fn of(rule: &Rule, number: usize) -> Self {
        let lanes = match rule.stance {
            Stance::Allow => rule.lanes,
            Stance::Deny => rule.lanes.others(),
        };
        let mut rates = rule.rates;
        for lane in lanes.others().iter() {
            rates[lane.index()] = None;
        }
        Self { lanes, rates, rule: Some(number) }
    }
}

impl Rules {
    /// What the first rule that fits says of one node sending to another.
    pub fn judge(&self, from: NodeFacts<'_>, to: NodeFacts<'_>) -> Judgement {
        let mut rules = (1..).zip(self.list());
        let fits = rules.find(|(_, rule)| rule.from.fits(from) && rule.to.fits(to));
        fits.map_or(Judgement::OPEN, |(number, rule)| Judgement::of(rule, number))
    }

    /// The same, and of each rule before that one, why it does not fit.
    pub fn explain(&self, from: NodeFacts<'_>, to: NodeFacts<'_>) -> Explanation {
        let judgement = self.judge(from, to);
        let before = judgement.rule.map_or(self.list().len(), |number| number - 1);
        let passed = (1..).zip(&self.list()[..before]).map(|(number, rule)| {
            let why = match rule.from.fits(from) {
                false => format!("from: {}", rule.from.contrast(from)),
                true => format!("to: {}", rule.to.contrast(to)),
            };
            Passed { rule: number, why }
        });
        Explanation { passed: passed.collect(), judgement }
    }
}

impl Selector {
    /// Whether it means this node.
    pub fn fits(&self, facts: NodeFacts<'_>) -> bool {
        match self {
            Self::Any => true,
            Self::Role(role) => facts.role() == *role,
            Self::Label { key, value } => facts.node.labels.get(key) == Some(value),
            Self::Group(group) => facts.groups().any(|one| one == group),
            Self::Node(name) => facts.node.name == *name,
        }
    }

    /// What the node is, in the words of the selector that does not mean it.
    fn contrast(&self, facts: NodeFacts<'_>) -> String {
        let name = &facts.node.name;
        match self {
            Self::Any | Self::Node(_) => format!("the node is {name}"),
            Self::Role(_) => format!("{name} is {}", a(facts.role())),
            Self::Label { key, .. } => match facts.node.labels.get(key) {
                Some(other) => format!("{name} has {key}={other}"),
                None => format!("{name} has no label {key}"),
            },
            Self::Group(_) => match facts.groups().collect::<Vec<_>>() {
                none if none.is_empty() => format!("{name} is in no group"),
                some => format!("{name} is in {}", some.join(", ")),
            },
        }
    }
}

fn a(role: NodeRole) -> &'static str {
    match role {
        NodeRole::Voter => "a voter",
        NodeRole::Member => "a member",
        NodeRole::Edge => "an edge",
    }
}
