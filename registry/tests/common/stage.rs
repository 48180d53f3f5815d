//! A small cluster on whose nodes singletons are offered, for stories about them.

use quorate_registry::{
    Blocked, Command, Effect, Ending, Evidence, Grant, Level, Machine, Once, Op, Refusal, Spec,
    Standing, Verdict,
};
use quorate_vocab::{Epoch, NodeId, NodeName, SessionId};

use super::{World, end, labels, name, node};

/// A world at the newest level, with a few nodes and their lives.
pub(crate) struct Stage {
    pub(crate) world: World,
}

impl Stage {
    /// Nodes `n1`, `n2` … with these labels.
    pub(crate) fn of(nodes: &[&[(&str, &str)]]) -> Self {
        let mut world = World::new();
        world.say(Op::Raise { level: Level::NEWEST });
        let mut stage = Self { world };
        for (number, of) in (1..).zip(nodes) {
            stage.comes(number, of);
        }
        stage
    }

    /// Three nodes that are alike.
    pub(crate) fn three() -> Self {
        Self::of(&[&[], &[], &[]])
    }

    /// A node joins, or comes back, and its life begins.
    pub(crate) fn comes(&mut self, number: u64, of: &[(&str, &str)]) -> SessionId {
        self.labelled(number, of);
        self.world.open(node(number, 1))
    }

    pub(crate) fn labelled(&mut self, number: u64, of: &[(&str, &str)]) {
        let mut labels = labels(of);
        Level::NEWEST.announce(&mut labels);
        let joined = self.world.say(Op::Join {
            node: NodeId(number),
            name: NodeName::try_from(format!("n{number}")).unwrap(),
            address: "10.0.0.1:4747".to_owned(),
            labels,
        });
        assert_eq!(joined, Verdict::Joined);
    }

    pub(crate) fn machine(&self) -> &Machine {
        &self.world.machine
    }

    pub(crate) fn life(&self, number: u64) -> SessionId {
        self.machine().session_of(NodeId(number)).expect("its life has not ended").id
    }

    /// The node offers to run it.
    pub(crate) fn offer(&mut self, number: u64, of: &str, spec: &Spec) -> Verdict {
        let (name, session, spec) = (name(of), self.life(number), spec.clone());
        self.world.say(Op::Volunteer { name, session, node: NodeId(number), spec: Box::new(spec) })
    }

    /// Nodes 1 to `last` offer to run it.
    pub(crate) fn offer_all(&mut self, last: u64, of: &str, spec: &Spec) {
        for number in 1..=last {
            assert_eq!(self.offer(number, of, spec), Verdict::Done);
        }
    }

    pub(crate) fn grant(&self, of: &str) -> Option<Grant> {
        self.machine().singleton(of).and_then(|singleton| singleton.grant)
    }

    /// The number of the node that has it.
    pub(crate) fn owner(&self, of: &str) -> Option<u64> {
        self.grant(of).map(|grant| grant.node.0)
    }

    pub(crate) fn epoch(&self, of: &str) -> Epoch {
        self.grant(of).expect("somebody has it").epoch
    }

    pub(crate) fn blocked(&self, of: &str) -> Option<Blocked> {
        self.machine().blocked(self.machine().singleton(of).expect("it is there"))
    }

    pub(crate) fn standing(&self, of: &str, number: u64) -> Standing {
        let singleton = self.machine().singleton(of).expect("it is there");
        let outlook = self.machine().outlook(singleton);
        outlook.into_iter().find(|(node, _)| node.0 == number).expect("it is named").1
    }

    pub(crate) fn say(&mut self, op: Op) -> (Verdict, Vec<Effect>) {
        self.world.hear(Once::Free, op)
    }

    pub(crate) fn done(&mut self, op: Op) -> Vec<Effect> {
        let (verdict, effects) = self.say(op);
        assert_eq!(verdict, Verdict::Done);
        effects
    }

    pub(crate) fn refused(&mut self, op: Op) -> Refusal {
        match self.say(op) {
            (Verdict::Refused(refusal), effects) if effects.is_empty() => refusal,
            other => panic!("not refused: {other:?}"),
        }
    }

    /// Its owner says that it ended.
    pub(crate) fn ends(&mut self, of: &str, ending: Ending) -> Vec<Effect> {
        let (name, epoch) = (name(of), self.epoch(of));
        self.done(Op::EndGrant { name, epoch, ending })
    }

    pub(crate) fn stops(&mut self, of: &str) -> Vec<Effect> {
        self.ends(of, Ending::Stopped { state: None })
    }

    pub(crate) fn fails(&mut self, of: &str) -> Vec<Effect> {
        self.ends(of, Ending::Failed { why: "exit 1".to_owned() })
    }

    pub(crate) fn ready(&mut self, of: &str) -> Vec<Effect> {
        let (name, epoch) = (name(of), self.epoch(of));
        self.done(Op::Ready { name, epoch })
    }

    pub(crate) fn moves(&mut self, of: &str, to: Option<u64>) -> Op {
        Op::Move { name: name(of), to: to.map(NodeId), expected: None }
    }

    /// The life of a node was silent for too long.
    pub(crate) fn expires(&mut self, number: u64) -> Vec<Effect> {
        let term = self.world.term;
        let (verdict, effects) = self.say(end(self.life(number), Evidence::Expired { term }));
        assert_eq!(verdict, Verdict::Ended);
        effects
    }

    /// A node whose number is not this one.
    pub(crate) fn another(number: u64) -> u64 {
        number % 3 + 1
    }

    /// Goes on as a cluster that began anew.
    pub(crate) fn begin_anew(self) -> Self {
        let machine = self.world.machine.begin_anew(0).unwrap();
        let (index, term) = (machine.applied().0, self.world.term);
        Self { world: World { machine, index, term } }
    }

    /// Applies without a look at all of the state after it, where there is much.
    pub(crate) fn quickly(&mut self, op: Op) -> Verdict {
        self.world.index += 1;
        let index = quorate_vocab::Index(self.world.index);
        let at = quorate_registry::At { index, term: self.world.term };
        self.world.machine.apply(at, Command { once: Once::Free, op }, &mut Vec::new())
    }
}

/// Who was given a singleton in these effects: names and numbers of nodes.
pub(crate) fn granted(effects: &[Effect]) -> Vec<(String, u64)> {
    let grant = |effect: &Effect| match effect {
        Effect::Granted { name, grant } => Some((name.to_string(), grant.node.0)),
        _ => None,
    };
    effects.iter().filter_map(grant).collect()
}
