//! The machine: state and command in, state, verdict and effects out.
//!
//! It is the door to the nouns behind it. Each noun's module has its collection and the rules of its
//! commands; the machine knows the order in which they are asked, and what a repetition is.
//!
//! Not here: time, chance, waiting, errors. A refusal is a verdict, and everything that can be decoded can be
//! applied.
//!
//! I1, I2 and I11 hold here. [`Machine::check`] asserts them for what a command touched, and whoever applies
//! calls it after each, in release builds too: a node that disproved itself must not go on.

use std::sync::Arc;

use quorate_vocab::{Epoch, Index, Name, NodeId, SessionId};

use crate::changes::Changes;
use crate::counters::Counters;
use crate::names::Names;
use crate::nodes::Nodes;
use crate::once::{Memory, Recall};
use crate::placement::CachedRoster;
use crate::properties::{Properties, Property};
use crate::rows::Key;
use crate::sessions::Sessions;
use crate::singletons::Singletons;
use crate::topology::Topology;
use crate::{
    Broken, Command, Effect, Level, Node, Once, Op, Refusal, Registration, Session, SessionOwner,
    Verdict,
};

/// Where in the log a command stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At {
    /// Its position.
    pub index: Index,
    /// The term that it was appended in, which is the same on every replica. Not the term that commits it.
    pub term: u64,
}

/// All that the cluster agrees on, after one entry of the log.
///
/// Equality is equality of state, whatever rows were taken from either side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    pub(crate) generation: u16,
    pub(crate) applied: Index,
    pub(crate) level: Level,
    pub(crate) nodes: Nodes,
    pub(crate) sessions: Sessions,
    pub(crate) names: Names,
    pub(crate) properties: Properties,
    pub(crate) counters: Counters,
    pub(crate) memory: Memory,
    pub(crate) topology: Topology,
    pub(crate) singletons: Singletons,
    pub(crate) roster: CachedRoster,
    pub(crate) changes: Changes,
}

impl Machine {
    /// The state before the first entry of a cluster's log.
    pub fn new(generation: u16) -> Self {
        let mut changes = Changes::default();
        changes.born(Key::Header);
        Self {
            generation,
            applied: Index(0),
            level: Level::FIRST,
            nodes: Nodes::default(),
            sessions: Sessions::default(),
            names: Names::default(),
            properties: Properties::default(),
            counters: Counters::default(),
            memory: Memory::default(),
            topology: Topology::default(),
            singletons: Singletons::default(),
            roster: CachedRoster::default(),
            changes,
        }
    }

    /// Applies one entry of the log: changes the state, appends what changed to `out`, and answers.
    ///
    /// Indexes rise, and may skip those of entries that are no commands. An entry that is not above
    /// [`Machine::applied`] is a replay: it is answered with [`Refusal::Forgotten`] and changes nothing.
    pub fn apply(&mut self, at: At, command: Command, out: &mut Vec<Effect>) -> Verdict {
        if at.index <= self.applied {
            return Verdict::Refused(Refusal::Forgotten);
        }
        self.changes.begin();
        self.applied = at.index;
        self.changes.altered(Key::Header);

        match self.memory.recall(command.once, &self.sessions) {
            Recall::Answered(verdict) => verdict,
            Recall::New => {
                let once = command.once;
                let verdict = self.perform(at, command, out).unwrap_or_else(Verdict::Refused);
                self.remember(at, once, &verdict);
                verdict
            }
        }
    }

    fn perform(
        &mut self,
        at: At,
        command: Command,
        out: &mut Vec<Effect>,
    ) -> Result<Verdict, Refusal> {
        self.admit(&command)?;
        match command.op {
            Op::Join { node, name, address, labels } => {
                self.join(Node { id: node, name, address, labels }, out)
            }
            Op::Leave { node } => self.leave(node, out),
            Op::Open { owner, ttl_ms } => self.open(at, owner, ttl_ms, out),
            Op::End { session, evidence } => self.end(at, session, evidence, out),
            Op::Register { name, claim, replace } => self.register(at, name, claim, replace, out),
            Op::Release { name, epoch } => self.release(&name, epoch, out),
            Op::SetRules { rules, replace } => self.set_rules(at, rules, replace, out),
            Op::Amend { name, epoch, expected, value, meta } => {
                self.amend(at, &name, epoch, expected, (value, meta), out)
            }
            Op::Reserve { name, bond, replace } => self.reserve(at, name, bond, replace, out),
            Op::Confirm { name, epoch, claim } => self.confirm(at, name, epoch, claim, out),
            Op::SetProperty { key, bearer, value, meta, expected } => {
                let property = Property { key, bearer, value, meta, version: at.index };
                self.set_property(at, property, expected, out)
            }
            Op::DropProperty { key, bearer } => self.drop_property(key, bearer, out),
            Op::Count { name, add, expected } => self.count(name, add, expected, out),
            Op::DropCounter { name, expected } => self.drop_counter(name, expected, out),
            Op::Raise { level } => Ok(self.raise(level, out)),
            Op::Volunteer { name, session, node, spec } => {
                self.volunteer(&name, (session, node), *spec, out)
            }
            Op::Withdraw { name, session } => self.withdraw(&name, session, out),
            Op::EndGrant { name, epoch, ending } => self.end_grant(&name, epoch, ending, out),
            Op::Ready { name, epoch } => self.set_ready(&name, epoch, out),
            Op::Checkpoint { name, epoch, state } => self.keep_checkpoint(&name, epoch, state),
            Op::ActUnder { name, epoch, deed } => self.act_under(at, &name, epoch, deed, out),
            Op::Move { name, to, expected } => self.move_grant(&name, to, expected, out),
            Op::Halt { name } => self.halt(&name, out),
            Op::Resume { name } => self.resume(&name, out),
            Op::Force { name, epoch, why } => self.force(&name, epoch, why, out),
            Op::Forget { name } => self.forget(&name, out),
            Op::Drain { node, why } => self.drain(node, why, out),
        }
    }

    /// Refusals are remembered like all else: a late copy of a refused command must not succeed.
    fn remember(&mut self, at: At, once: Once, verdict: &Verdict) {
        self.memory.keep(at.index, once, verdict.clone(), &self.sessions, &mut self.changes);
    }

    /// How many names are held.
    pub fn names_held(&self) -> usize {
        self.names.len()
    }

    /// Who holds a name.
    pub fn find(&self, name: &str) -> Option<&Registration> {
        self.names.find(name)
    }

    /// Who holds a name, to be kept beside the machine without a copy.
    pub fn shared(&self, name: &str) -> Option<&Arc<Registration>> {
        self.names.shared(name)
    }

    /// All registrations in the order of names, to be kept beside the machine without a copy.
    pub fn all_shared(&self) -> impl Iterator<Item = &Arc<Registration>> {
        self.names.all_shared()
    }

    /// The registrations whose names begin with `prefix` and come after `after`, in the order of names.
    pub fn list<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&str>,
    ) -> impl Iterator<Item = &'a Registration> + use<'a> {
        self.names.list(prefix, after)
    }

    /// The names that a session holds, the one that it has held longest first.
    pub fn held_by(&self, session: SessionId) -> impl Iterator<Item = &Name> {
        self.names.held_by(session)
    }

    /// A life, if it has not ended.
    pub fn session(&self, session: SessionId) -> Option<&Session> {
        self.sessions.find(session)
    }

    /// All lives that have not ended, oldest first.
    pub fn sessions(&self) -> impl Iterator<Item = &Session> {
        self.sessions.iter()
    }

    /// A node's present life, if it has one.
    pub fn session_of(&self, node: NodeId) -> Option<&Session> {
        self.sessions.of_node(node).and_then(|(session, _)| self.sessions.find(session))
    }

    /// A node that takes part.
    pub fn node(&self, node: NodeId) -> Option<&Node> {
        self.nodes.find(node)
    }

    /// All nodes that take part, in the order of their identities.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter()
    }

    /// The last entry that was applied.
    pub fn applied(&self) -> Index {
        self.applied
    }

    /// How many times the cluster was restored from a backup.
    pub fn generation(&self) -> u16 {
        self.generation
    }

    /// Asserts the invariants for whatever the last command touched; it costs as much as that did.
    ///
    /// # Panics
    /// With the number of the invariant that does not hold.
    pub fn check(&self) {
        for key in self.changes.touched() {
            assert_whole(self.audit(key));
        }
    }

    /// Asserts the invariants for all of the state.
    ///
    /// # Panics
    /// With the number of the invariant that does not hold.
    pub fn check_all(&self) {
        assert_whole(self.audit_all());
    }

    /// The newest epoch that can have been handed out; `None` when none will be handed out any more.
    pub(crate) fn newest_epoch(&self) -> Option<Epoch> {
        Epoch::new(self.generation, self.applied)
    }

    /// Whether an index is that of an entry which was applied.
    pub(crate) fn has_applied(&self, index: Index) -> bool {
        (Index(1)..=self.applied).contains(&index)
    }

    fn audit(&self, key: &Key) -> Result<(), Broken> {
        match key {
            Key::Header => self.memory.audit_size(),
            Key::Node(node) => self.nodes.audit(*node),
            Key::Session(session) => self.audit_session(*session),
            Key::Name(name) => self.audit_name(name),
            Key::Answer(session, _) => self.audit_window(*session),
            Key::Kept(index) => self.audit_kept(*index),
            Key::Rules => self.audit_topology(),
            Key::Property(place) => self.audit_property(place),
            // Any number may stand there.
            Key::Counter(_) => Ok(()),
            Key::Singleton(name) => self.audit_singleton(name),
            Key::Candidate((name, session)) => self.audit_candidate(name, *session),
            Key::Checkpoint(name) => self.audit_checkpoint(name),
            Key::Drained(node) => self.audit_drained(*node),
        }
    }

    pub(crate) fn audit_all(&self) -> Result<(), Broken> {
        self.nodes.audit_all()?;
        self.sessions.audit_sizes()?;
        self.names.audit_sizes()?;
        self.memory.audit_size()?;
        self.audit_topology()?;
        self.audit_properties()?;
        self.audit_singletons()?;
        for session in self.sessions.iter() {
            self.audit_session(session.id)?;
        }
        for registration in self.names.list("", None) {
            self.audit_name(&registration.name)?;
        }
        for session in self.memory.windows() {
            self.audit_window(session)?;
        }
        for index in self.memory.kept() {
            self.audit_kept(index)?;
        }
        Ok(())
    }

    fn audit_session(&self, session: SessionId) -> Result<(), Broken> {
        let broken = |what| Err(Broken { invariant: "I2", what });
        let Some(found) = self.sessions.find(session) else {
            return match self.names.held_by(session).next() {
                Some(_) => broken("a session that has ended holds a name"),
                None if self.properties.has_any_of(session) => {
                    broken("a session that has ended bears a property")
                }
                None if self.singletons.has_any_of(session) => {
                    broken("a session that has ended offers to run a singleton")
                }
                None => Ok(()),
            };
        };
        if !self.has_applied(Index(session.0)) {
            return broken("a session was opened by no applied entry");
        }
        match found.owner {
            SessionOwner::Node { node, .. } if self.nodes.find(node).is_none() => {
                broken("a session's node takes no part")
            }
            SessionOwner::Node { node, boot }
                if self.sessions.of_node(node) != Some((session, boot)) =>
            {
                broken("a node has two sessions")
            }
            SessionOwner::Name if self.names.held_by(session).take(2).count() != 1 => {
                broken("the session of a name holds none, or another besides")
            }
            _ => Ok(()),
        }
    }
}

fn assert_whole(audit: Result<(), Broken>) {
    if let Err(broken) = audit {
        panic!("{broken}");
    }
}
