//! Who votes: how many, which, and who takes the place of one that is gone for good.
//!
//! All members follow a voter's feed, and the leader knows nothing of that; the log itself goes to the
//! voters, and to as many **heirs** as votes are to be filled. [`plan`] is pure: of what the leader knows it
//! makes one step at most, and the next look makes the next. Nobody loses a vote for not being seen: a voter
//! is gone when it was taken out of the registry, or when its session, which only the log ends, has been over
//! for longer than the grace. A founder that the registry does not know yet is waited for, for moments.
//!
//! Not here: whether a step comes to pass. It is a change of the group like any other, agreed by a majority.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use quorate_consensus::{GroupStatus, Role};
use quorate_registry::{Machine, NodeFacts, NodeRole};
use quorate_vocab::{NodeId, Time};

use crate::error::{Error, NotDone};
use crate::hall::Hall;
use crate::post::{Ask, Told};

/// The label by which voters are spread.
const ZONE: &str = "zone";
/// An heir votes once it is no further behind than this many entries.
const BEHIND_MAX: u64 = 1_000;
/// How often it is looked whether leadership has gone over.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Since when, on this leader's clock, members have had no session, or voters have been awaited that are
/// about to become members: a founder may vote before it has said who it is.
#[derive(Default)]
pub(crate) struct Silences {
    since: BTreeMap<NodeId, Time>,
    /// Who was a member: what is none any more was taken out.
    members: BTreeSet<NodeId>,
}

/// What a plan rests on.
#[derive(Clone, Debug, Default)]
struct Facts {
    /// How many shall vote.
    wanted: usize,
    /// Who leads, and so never loses its vote here.
    leader: NodeId,
    /// Who takes part, as the registry knows, and who votes and is awaited there.
    members: BTreeMap<NodeId, Member>,
    voters: BTreeSet<NodeId>,
    /// To whom else the log goes.
    heirs: BTreeSet<NodeId>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Member {
    standing: Standing,
    /// Nobody is to lean on it.
    edge: bool,
    zone: Option<String>,
    /// It has nearly all that this leader has.
    caught_up: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// It has a session.
    Alive,
    /// It has none, but may come back.
    Silent,
    /// It has had none for longer than the grace.
    Gone,
}

/// One change of the group.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    /// The log goes to this node from now on, for it is to vote.
    Prepare(NodeId),
    /// These vote from now on, and nobody else.
    Vote(BTreeSet<NodeId>),
    /// The log no longer goes to this node, which has no vote and is not needed for one.
    Drop(NodeId),
}

/// The next step towards the voters that are wanted.
fn plan(facts: &Facts) -> Option<Step> {
    let voting = facts.voting();
    if voting != facts.voters {
        // Fewer than a majority of those that are wanted must never decide, however many may be lost.
        let alive = |node: &&NodeId| facts.standing(**node) == Some(Standing::Alive);
        let majority = facts.wanted / 2 + 1;
        let grows = voting.is_superset(&facts.voters);
        if grows || voting.iter().filter(alive).count() >= majority {
            return Some(Step::Vote(voting));
        }
    }
    let wanted = facts.wanted_heirs();
    let missing = wanted.difference(&facts.heirs).next().copied().map(Step::Prepare);
    missing.or_else(|| facts.heirs.difference(&wanted).next().copied().map(Step::Drop))
}

impl Facts {
    fn standing(&self, node: NodeId) -> Option<Standing> {
        self.members.get(&node).map(|member| member.standing)
    }

    /// Who should vote, of those that do and those that could.
    fn voting(&self) -> BTreeSet<NodeId> {
        let is_gone = |node: &NodeId| {
            *node != self.leader && matches!(self.standing(*node), None | Some(Standing::Gone))
        };
        let (gone, mut voting): (BTreeSet<NodeId>, BTreeSet<NodeId>) =
            self.voters.iter().copied().partition(is_gone);
        let mut ready: BTreeSet<NodeId> = self.ready().collect();
        for lost in gone {
            match self.best(&ready, &voting) {
                _ if voting.len() >= self.wanted => {}
                Some(successor) => {
                    ready.remove(&successor);
                    voting.insert(successor);
                }
                // Nobody is there to take its place. One that was only silent keeps it; one that was taken
                // out must not hold it.
                None if self.standing(lost).is_some() => {
                    voting.insert(lost);
                }
                None => {}
            }
        }
        // By pairs: an even number of voters bears no more losses than one fewer. Where one is missing to an
        // odd number, one alone is welcome.
        while voting.len() < self.wanted {
            let mut more = voting.clone();
            for _ in 0..=voting.len() % 2 {
                if let Some(next) = self.best(&ready, &more) {
                    ready.remove(&next);
                    more.insert(next);
                }
            }
            if more.len() == voting.len() || more.len().is_multiple_of(2) {
                break;
            }
            voting = more;
        }
        while voting.len() > self.wanted {
            let Some(least) = self.least(&voting) else { break };
            voting.remove(&least);
        }
        voting
    }

    /// To whom the log should go beside the voters: as many as votes are to be filled, of those that may
    /// vote.
    fn wanted_heirs(&self) -> BTreeSet<NodeId> {
        let is_gone = |node: &&NodeId| {
            **node != self.leader && matches!(self.standing(**node), None | Some(Standing::Gone))
        };
        let staying = self.voters.iter().filter(|node| !is_gone(node)).copied();
        let mut voting: BTreeSet<NodeId> = staying.collect();
        let fit = |node: &&NodeId| {
            self.members.get(node).is_some_and(|member| match member.standing {
                Standing::Alive => !member.edge,
                // What it has of the log is not thrown away for a moment's silence.
                Standing::Silent => !member.edge && self.heirs.contains(node),
                Standing::Gone => false,
            })
        };
        let others = self.members.keys().filter(|node| !self.voters.contains(node));
        let mut fit: BTreeSet<NodeId> = others.filter(fit).copied().collect();
        let mut heirs = BTreeSet::new();
        while voting.len() < self.wanted {
            let best = fit.iter().copied().min_by_key(|node| {
                let lives = self.standing(*node) == Some(Standing::Alive);
                (!lives, self.neighbours(*node, &voting), !self.heirs.contains(node))
            });
            let Some(best) = best else { break };
            fit.remove(&best);
            voting.insert(best);
            heirs.insert(best);
        }
        heirs
    }

    /// Heirs that may vote now.
    fn ready(&self) -> impl Iterator<Item = NodeId> {
        let fit = |node: &NodeId| {
            self.members.get(node).is_some_and(|member| {
                member.standing == Standing::Alive && member.caught_up && !member.edge
            })
        };
        self.heirs.iter().copied().filter(fit)
    }

    /// Whose vote spreads the voters most; of equals the first.
    fn best(&self, ready: &BTreeSet<NodeId>, voting: &BTreeSet<NodeId>) -> Option<NodeId> {
        ready.iter().copied().min_by_key(|node| self.neighbours(*node, voting))
    }

    /// Whose vote is missed least: of a silent one rather than of one alive, of one among many in its zone
    /// rather than of one that stands alone there.
    fn least(&self, voting: &BTreeSet<NodeId>) -> Option<NodeId> {
        voting.iter().copied().filter(|node| *node != self.leader).max_by_key(|node| {
            (self.standing(*node) != Some(Standing::Alive), self.neighbours(*node, voting), *node)
        })
    }

    /// How many other voters are in a node's zone.
    fn neighbours(&self, node: NodeId, voting: &BTreeSet<NodeId>) -> usize {
        let zone = |node: &NodeId| self.members.get(node).and_then(|member| member.zone.as_deref());
        let own = zone(&node);
        let others = voting.iter().filter(|other| **other != node);
        others.filter(|other| own.is_some() && zone(other) == own).count()
    }
}

/// Makes the next step, if there is one to make.
pub(crate) async fn tend(hall: &Hall, status: &GroupStatus, silences: &mut Silences) {
    let facts = hall.group().read(|machine, _| {
        silences.note(machine, &status.voters, quorate_env::now());
        gather(hall, machine, status, silences)
    });
    match plan(&facts) {
        None => {}
        Some(Step::Prepare(node)) => {
            if let Err(error) = hall.group().add_learner(node).await {
                tracing::debug!(%node, %error, "the log does not go to a node that is to vote yet");
            }
        }
        Some(Step::Drop(node)) => {
            if let Err(error) = hall.group().remove(&BTreeSet::from([node])).await {
                tracing::debug!(%node, %error, "the log still goes to a node that does not need it");
            }
        }
        Some(Step::Vote(voters)) => match hall.group().set_voters(&voters).await {
            Ok(()) => tracing::info!(?voters, before = ?status.voters, "other nodes vote"),
            Err(error) => tracing::debug!(%error, "the voters stay as they are for now"),
        },
    }
}

impl Silences {
    fn note(&mut self, machine: &Machine, voters: &BTreeSet<NodeId>, now: Time) {
        self.members.retain(|node| machine.node(*node).is_some() || voters.contains(node));
        self.members.extend(machine.nodes().map(|node| node.id));
        let present = machine.nodes().map(|node| node.id);
        let silent = present.filter(|node| machine.session_of(*node).is_none());
        let silent: BTreeSet<NodeId> = silent.chain(self.awaited(voters)).collect();
        self.since.retain(|node, _| silent.contains(node));
        for node in silent {
            self.since.entry(node).or_insert(now);
        }
    }

    /// Voters that were no members yet, as far as this leader knows.
    fn awaited<'a>(&'a self, voters: &'a BTreeSet<NodeId>) -> impl Iterator<Item = NodeId> + 'a {
        voters.difference(&self.members).copied()
    }

    fn standing(&self, node: NodeId, now: Time, grace: Duration) -> Standing {
        match self.since.get(&node) {
            None => Standing::Alive,
            Some(since) if now.since(*since) > grace => Standing::Gone,
            Some(_) => Standing::Silent,
        }
    }
}

fn gather(hall: &Hall, machine: &Machine, status: &GroupStatus, silences: &Silences) -> Facts {
    let (now, grace) = (quorate_env::now(), hall.config().replace_after);
    let standing = |node: NodeId| silences.standing(node, now, grace);
    let caught_up = |node: &NodeId| {
        let matched = status.matched.get(node);
        matched.is_some_and(|matched| {
            status.last_index.0 - matched.0.min(status.last_index.0) <= BEHIND_MAX
        })
    };
    let member = |node: &quorate_registry::Node| {
        let edge = NodeFacts { node, votes: false }.role() == NodeRole::Edge;
        let zone = node.labels.get(ZONE).cloned();
        let (standing, caught_up) = (standing(node.id), caught_up(&node.id));
        (node.id, Member { standing, edge, zone, caught_up })
    };
    // A founder says who it is within moments; another was taken out just before this leader began.
    let awaited = silences.awaited(&status.voters).filter_map(|node| {
        let standing = silences.standing(node, now, hall.config().patience());
        let member = Member { standing, edge: false, zone: None, caught_up: caught_up(&node) };
        (standing != Standing::Gone).then_some((node, member))
    });
    Facts {
        wanted: hall.config().voters,
        leader: hall.id(),
        members: machine.nodes().map(member).chain(awaited).collect(),
        voters: status.voters.clone(),
        heirs: status.learners.clone(),
    }
}

/// Lets another voter lead, wherever the leader is; gives the one that leads then.
pub(crate) async fn step_down(hall: &Arc<Hall>, to: Option<NodeId>) -> Result<NodeId, Error> {
    let told = match hall.group().leader() {
        None => return Err(Error::NotDone(NotDone::NoLeader)),
        Some(leader) if leader == hall.id() => hand_over(hall, to).await,
        Some(leader) => {
            let asked = hall.ask(leader, &Ask::HandOver(to), hall.config().patience()).await;
            asked.map_err(|_| Error::Unknown)?
        }
    };
    match told {
        Told::HandedOver { to } => Ok(to),
        Told::NotLeader { .. } => Err(Error::NotDone(NotDone::NoLeader)),
        Told::Unknown => Err(Error::Unknown),
        _ => Err(Error::NotDone(NotDone::NoSuccessor)),
    }
}

/// Lets another voter lead, as the leader.
pub(crate) async fn hand_over(hall: &Arc<Hall>, to: Option<NodeId>) -> Told {
    let status = hall.group().status();
    if status.role != Role::Leader {
        return Told::NotLeader { leader: status.leader };
    }
    let alive = hall.group().read(|machine, _| {
        let alive = |node: &NodeId| machine.session_of(*node).is_some();
        status.voters.iter().copied().filter(alive).collect::<BTreeSet<_>>()
    });
    let fit = |node: &NodeId| *node != hall.id() && alive.contains(node);
    // Whoever has most of the log has least to wait for.
    let nearest = || {
        let voters = status.voters.iter().copied().filter(fit);
        voters.max_by_key(|node| status.matched.get(node).copied().unwrap_or_default())
    };
    let Some(to) = to.map_or_else(nearest, |to| Some(to).filter(fit)) else {
        return Told::Declined;
    };
    let until = quorate_env::now() + hall.config().lease;
    if hall.group().hand_over(to).await.is_err() {
        return Told::Unknown;
    }
    // It goes over when the other has caught up and stood for election, or not at all.
    while quorate_env::now() < until {
        match hall.group().leader() {
            Some(leader) if leader != hall.id() => return Told::HandedOver { to: leader },
            _ => quorate_env::sleep(LOOK_AGAIN).await,
        }
    }
    Told::Unknown
}

#[cfg(test)]
mod tests;
