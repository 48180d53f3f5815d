//! Placement: which candidate a singleton falls to, and why not to the others.
//!
//! What must be decides first (labels, room, draining, distance), then what should be (its pin, preferred
//! labels, an even spread), and among all that are equal the consistent-hash ring: the first node in its
//! order that is not loaded by more than a quarter above its share.
//!
//! Everything here is a function of the committed state (I11). It is only ever asked where a singleton that
//! nobody holds shall go: what is placed stays, whoever joins.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt;

use quorate_vocab::{Name, NodeId, SessionId};

use crate::singletons::{Candidate, Singleton};
use crate::{Machine, Node, Ring};

mod roster;

pub(crate) use roster::CachedRoster;
use roster::{Host, Roster};

/// How one node stands towards a singleton.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It holds the singleton.
    Owner,
    /// Nobody there offers to run it.
    NoOffer,
    /// It gave up there, and why.
    Failed(String),
    /// The node is being drained, and why.
    Draining(String),
    /// The node lacks a label that it must have.
    Lacks {
        /// The label's key.
        key: String,
        /// The value that it must have.
        value: String,
    },
    /// The node has a label that it must not have.
    Excluded {
        /// The label's key.
        key: String,
        /// The value that it must not have.
        value: String,
    },
    /// Another one of its group is there, from which it keeps apart.
    Apart {
        /// The group.
        group: String,
    },
    /// The node has as many singletons as it takes.
    Full {
        /// How many it takes.
        most: u32,
    },
    /// It could have it.
    Fits(Score),
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Owner => f.write_str("it has it"),
            Self::NoOffer => f.write_str("nobody there offers to run it"),
            Self::Failed(why) => write!(f, "it failed there: {why}"),
            Self::Draining(why) if why.is_empty() => f.write_str("the node is being drained"),
            Self::Draining(why) => write!(f, "the node is being drained ({why})"),
            Self::Lacks { key, value } => write!(f, "the node lacks {key}={value}"),
            Self::Excluded { key, value } => write!(f, "the node has {key}={value}"),
            Self::Apart { group } => {
                write!(f, "another one of {group} is there, and they keep apart")
            }
            Self::Full { most } => write!(f, "the node has {most} singletons and takes no more"),
            Self::Fits(_) => f.write_str("it could be there"),
        }
    }
}

/// How well a node that can have a singleton suits it; the greatest is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Score {
    /// Whether it is pinned there.
    pub pinned: bool,
    /// How many of the preferred labels the node has.
    pub preferred: u32,
    /// How many of its group are already where the label that it is spread over has the node's value.
    pub crowd: Reverse<u32>,
    /// Whether the node has no more than its share of all singletons, and a quarter.
    pub has_room: bool,
    /// Its place in the order of the ring, from 0.
    pub place: Reverse<u32>,
}

/// Why nobody holds a singleton.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Blocked {
    /// Somebody asked for it to stop.
    #[error("it was stopped; `start` it again")]
    Halted,
    /// Nobody offers to run it.
    #[error("no node that lives offers to run it")]
    Nobody,
    /// Everybody who offers to run it failed to.
    #[error("it failed on every node that offers to run it")]
    AllFailed,
    /// Another one has to be ready before.
    #[error("it waits until {0} is ready")]
    After(Name),
    /// No candidate's node has what is asked for.
    #[error("no node that offers to run it may: see why for each")]
    Unfit,
    /// Those that could have it have no room, or one of its group.
    #[error("the nodes that may run it have no room")]
    NoRoom,
}

impl Node {
    /// The key of the label that says how much of the singletons a node takes beside the others.
    pub const WEIGHT: &str = "weight";
    /// The key of the label that says how many singletons a node takes at most.
    pub const CAPACITY: &str = "capacity";
    /// In what is asked of a node's labels, this key stands for its name.
    pub const NODE: &str = "node";

    /// How much of the singletons it takes beside the others: 1, unless its label says otherwise.
    pub fn weight(&self) -> u32 {
        let label = self.labels.get(Self::WEIGHT).and_then(|weight| weight.parse().ok());
        label.unwrap_or(1).min(Ring::WEIGHT_MAX)
    }

    /// How many singletons it takes at most.
    pub fn capacity(&self) -> u32 {
        let label = self.labels.get(Self::CAPACITY).and_then(|most| most.parse().ok());
        label.unwrap_or(u32::MAX)
    }

    fn has(&self, key: &str, value: &str) -> bool {
        let own = self.labels.get(key).map(String::as_str);
        own == Some(value) || key == Self::NODE && self.name.as_str() == value
    }
}

/// One node's offer to run a singleton, and how it is judged.
struct Offer<'a> {
    candidate: &'a Candidate,
    host: &'a Host,
    standing: Standing,
}

/// What nodes that are equal by all that was asked for share among them.
struct Share {
    load: u64,
    weight: u64,
}

impl Machine {
    /// How every node stands towards a singleton, in the order of nodes. Nodes that take no part, and
    /// candidates of theirs, are not told of.
    pub fn outlook(&self, singleton: &Singleton) -> Vec<(NodeId, Standing)> {
        let mut offers = self.offers(singleton, None);
        self.settle_by_ring(singleton, &mut offers);
        let owner = singleton.grant.as_ref().map(|grant| grant.node);
        let standing = |node: &Node| match find(&offers, node.id) {
            _ if owner == Some(node.id) => Standing::Owner,
            None => Standing::NoOffer,
            Some(offer) => offer.standing.clone(),
        };
        self.nodes.iter().map(|node| (node.id, standing(node))).collect()
    }

    /// Why a singleton that nobody holds is not held; none when somebody could have it.
    pub fn blocked(&self, singleton: &Singleton) -> Option<Blocked> {
        self.choose(singleton, None).err()
    }

    /// The node that a singleton would fall to if its owner gave it up.
    pub fn could_move(&self, singleton: &Singleton) -> Option<NodeId> {
        let grant = singleton.grant?;
        self.choose(singleton, Some(grant.session)).ok().map(|candidate| candidate.node)
    }

    /// Who shall have a singleton that nobody holds, or that is to leave its owner (`except`): the one whose
    /// [`Score`] is the greatest, found without a look at every node's place on the ring.
    pub(crate) fn choose(
        &self,
        singleton: &Singleton,
        except: Option<SessionId>,
    ) -> Result<&Candidate, Blocked> {
        if singleton.halted {
            return Err(Blocked::Halted);
        }
        if let Some(first) = self.waits_for(singleton) {
            return Err(Blocked::After(first.clone()));
        }
        let offers = self.offers(singleton, except);
        let Some((best, share)) = self.best(&offers) else {
            return Err(why_nobody(&offers));
        };
        let is_best = |offer: &&Offer<'_>| tier(&offer.standing) == Some(best);
        let on_ring = self.roster().ring.walk(&singleton.name);
        let mut on_ring = on_ring.filter_map(|node| find(&offers, node)).filter(is_best);
        // Somebody who has weight has room; if nobody has any, any will do.
        let with_room = on_ring.find(|offer| share.has_room(self.load_of(offer.node()), offer));
        let chosen = with_room.or_else(|| offers.iter().rfind(is_best));
        chosen.map(|offer| offer.candidate).ok_or(Blocked::Nobody)
    }

    /// How one node alone stands towards a singleton; none when nobody there offers to run it.
    pub(crate) fn standing_on(&self, singleton: &Singleton, node: NodeId) -> Option<Standing> {
        let offers = self.singletons.candidates(&singleton.name).filter(|one| one.node == node);
        let offer = offers.min_by_key(|one| one.failed.is_some())?;
        let host = self.roster().host(node)?;
        Some(self.judge_offer(singleton, offer, host))
    }

    /// The first of those that it comes after which is not ready.
    pub(crate) fn waits_for<'a>(&self, singleton: &'a Singleton) -> Option<&'a Name> {
        singleton.spec.after.iter().find(|first| !self.singletons.is_ready(first.as_str()))
    }

    /// The offer that speaks for each node: of the oldest life that did not fail, or of one that did. In the
    /// order of nodes, and judged but for the ring.
    fn offers(&self, singleton: &Singleton, except: Option<SessionId>) -> Vec<Offer<'_>> {
        let roster = self.roster();
        let candidates = self.singletons.candidates(&singleton.name);
        let mut hosted: Vec<_> = candidates
            .filter(|candidate| Some(candidate.session) != except)
            .filter_map(|candidate| Some((roster.host(candidate.node)?, candidate)))
            .collect();
        // They come in the order of lives, and those of one node stay in it.
        hosted.sort_by_key(|(host, candidate)| (host.node.id, candidate.failed.is_some()));
        hosted.dedup_by_key(|(host, _)| host.node.id);
        let judge = |(host, candidate)| {
            let standing = self.judge_offer(singleton, candidate, host);
            Offer { candidate, host, standing }
        };
        hosted.into_iter().map(judge).collect()
    }

    /// How a node stands, its share and its place on the ring left out.
    fn judge_offer(&self, singleton: &Singleton, offer: &Candidate, host: &Host) -> Standing {
        let node = &host.node;
        if let Some(why) = &offer.failed {
            return Standing::Failed(why.clone());
        }
        if let Some(why) = self.singletons.drained(node.id) {
            return Standing::Draining(why.to_owned());
        }
        let spec = &singleton.spec;
        if let Some((key, value)) = spec.on.iter().find(|(key, value)| !node.has(key, value)) {
            return Standing::Lacks { key: key.clone(), value: value.clone() };
        }
        if let Some((key, value)) = spec.not.iter().find(|(key, value)| node.has(key, value)) {
            return Standing::Excluded { key: key.clone(), value: value.clone() };
        }
        let is_here = singleton.grant.as_ref().is_some_and(|grant| grant.node == node.id);
        let own = u32::from(is_here);
        if let Some(company) = spec.company.as_ref().filter(|company| company.apart)
            && self.singletons.of_group_on(&company.group, node.id) > own
        {
            return Standing::Apart { group: company.group.clone() };
        }
        if host.capacity < u32::MAX && self.load_of(node.id) - own >= host.capacity {
            return Standing::Full { most: host.capacity };
        }
        let preferred = spec.prefer.iter().filter(|(key, value)| node.has(key, value)).count();
        Standing::Fits(Score {
            pinned: spec.pin.as_ref().is_some_and(|pin| pin.node == node.name),
            preferred: u32::try_from(preferred).unwrap_or(u32::MAX),
            crowd: Reverse(self.crowd_around(singleton, node)),
            has_room: false,
            place: Reverse(0),
        })
    }

    /// How many of its group are where the label that it is spread over has the node's value.
    fn crowd_around(&self, singleton: &Singleton, node: &Node) -> u32 {
        let company = singleton.spec.company.as_ref();
        let Some((company, label)) = company.and_then(|one| Some((one, one.spread.as_ref()?)))
        else {
            return 0;
        };
        let value = node.labels.get(label);
        let is_there = |other: &NodeId| {
            self.nodes.find(*other).is_some_and(|other| other.labels.get(label) == value)
        };
        let own = singleton.grant.as_ref().is_some_and(|grant| is_there(&grant.node));
        let group = self.singletons.nodes_of_group(&company.group);
        let crowd: u32 = group.filter(|(node, _)| is_there(node)).map(|(_, many)| many).sum();
        crowd - u32::from(own)
    }

    /// What the best have in common, and what they share.
    fn best(&self, offers: &[Offer<'_>]) -> Option<(Tier, Share)> {
        let best = offers.iter().filter_map(|offer| tier(&offer.standing)).max()?;
        // The one that is to be placed counts.
        let mut share = Share { load: 1, weight: 0 };
        for offer in offers.iter().filter(|offer| tier(&offer.standing) == Some(best)) {
            share.load += u64::from(self.load_of(offer.node()));
            share.weight += u64::from(offer.host.weight);
        }
        Some((best, share))
    }

    fn settle_by_ring(&self, singleton: &Singleton, offers: &mut [Offer<'_>]) {
        let Some((_, share)) = self.best(offers) else {
            return;
        };
        let walk = self.roster().ring.walk(&singleton.name);
        let places: BTreeMap<NodeId, u32> = walk.zip(0..).collect();
        for offer in offers {
            let has_room = share.has_room(self.load_of(offer.node()), offer);
            if let Standing::Fits(score) = &mut offer.standing {
                score.has_room = has_room;
                // A node of weight 0 has no place on the ring and comes after all that do.
                score.place =
                    Reverse(places.get(&offer.candidate.node).copied().unwrap_or(u32::MAX));
            }
        }
    }

    fn roster(&self) -> &Roster {
        self.roster.of(&self.nodes)
    }
}

impl Offer<'_> {
    fn node(&self) -> NodeId {
        self.candidate.node
    }
}

/// What decides before the ring does.
type Tier = (bool, u32, Reverse<u32>);

fn tier(standing: &Standing) -> Option<Tier> {
    match standing {
        Standing::Fits(score) => Some((score.pinned, score.preferred, score.crowd)),
        _ => None,
    }
}

fn find<'o, 'a>(offers: &'o [Offer<'a>], node: NodeId) -> Option<&'o Offer<'a>> {
    let place = offers.binary_search_by_key(&node, |offer| offer.node()).ok()?;
    offers.get(place)
}

fn why_nobody(offers: &[Offer<'_>]) -> Blocked {
    let is = |of: fn(&Standing) -> bool| offers.iter().any(|offer| of(&offer.standing));
    match () {
        () if offers.is_empty() => Blocked::Nobody,
        () if is(|one| matches!(one, Standing::Full { .. } | Standing::Apart { .. })) => {
            Blocked::NoRoom
        }
        () if is(|one| !matches!(one, Standing::Failed(_))) => Blocked::Unfit,
        () => Blocked::AllFailed,
    }
}

impl Share {
    /// Whether a node that has so many has no more than its part of them all, and a quarter:
    /// load < 5/4 · load of all · its weight / weight of all, without a fraction.
    fn has_room(&self, load: u32, offer: &Offer<'_>) -> bool {
        u64::from(load) * 4 * self.weight < 5 * self.load * u64::from(offer.host.weight)
    }
}
