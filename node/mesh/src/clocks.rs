//! Whose clock is off: the wall clocks of several nodes against their median. A core, and a table to show.
//!
//! Of two clocks that differ nobody can say which one is wrong. Of three or more, the median is within what
//! the right ones show as long as most are right, whatever the others claim. The own clock is one of them.
//! All is relative: when most clocks of a cluster are wrong by the same hour, they agree.
//!
//! Not here: what follows from a clock that is off. The table is to be shown, and to be measured.

use std::collections::BTreeMap;
use std::time::Duration;

use quorate_vocab::NodeId;

use crate::span::{Offset, RoundTrips};

/// What one link knows of its peer's clock, by [`Span`](crate::span::Span).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Which node.
    pub node: NodeId,
    /// By how much its wall clock is ahead of the own one; `None` while that is not known.
    pub offset: Option<Offset>,
    /// How far it is.
    pub round_trips: Option<RoundTrips>,
}

/// What the clocks say of one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opinion {
    /// It cannot be told: too few clocks, too large an error, or no majority that agrees.
    Unsure,
    /// It is certainly within the tolerance.
    Agrees,
    /// It is certainly off by more than the tolerance.
    Off,
}

/// One node's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// Which node.
    pub node: NodeId,
    /// By how much it is ahead of the median; `None` while that is not known.
    pub skew: Option<Offset>,
    /// How far the node is; `None` for this node itself, and while it is not known.
    pub round_trips: Option<RoundTrips>,
    /// What the clocks say of it.
    pub opinion: Opinion,
}

/// The clocks of several nodes, as one of them sees them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clocks {
    own: NodeId,
    table: BTreeMap<NodeId, Clock>,
}

impl Clocks {
    /// Compares the own clock and those of some peers: the voters', best. Of two readings of one node the
    /// later counts, and none of the own node does.
    pub fn compare(
        own: NodeId,
        peers: impl IntoIterator<Item = Reading>,
        tolerance: Duration,
    ) -> Self {
        let own_reading = Reading { node: own, offset: Some(Offset::default()), round_trips: None };
        let peers = peers.into_iter().filter(|peer| peer.node != own);
        let readings: BTreeMap<NodeId, Reading> =
            peers.chain([own_reading]).map(|reading| (reading.node, reading)).collect();
        let median = median(readings.values().filter_map(|reading| reading.offset).collect());
        let mut table: BTreeMap<NodeId, Clock> = BTreeMap::new();
        for Reading { node, offset, round_trips } in readings.into_values() {
            let skew = offset.map(|offset| apart(offset, median));
            let opinion = skew.map_or(Opinion::Unsure, |skew| opinion(skew, tolerance));
            table.insert(node, Clock { node, skew, round_trips, opinion });
        }
        let known = table.values().filter(|clock| clock.skew.is_some()).count();
        let agree = table.values().filter(|clock| clock.opinion == Opinion::Agrees).count();
        if known < 2 || agree * 2 <= known {
            table.values_mut().for_each(|clock| clock.opinion = Opinion::Unsure);
        }
        Self { own, table }
    }

    /// The own clock.
    pub fn own(&self) -> &Clock {
        self.table.get(&self.own).expect("the own clock is always in the table")
    }

    /// All clocks, the own one too, in the order of their nodes.
    pub fn iter(&self) -> impl Iterator<Item = &Clock> {
        self.table.values()
    }

    /// How many are certainly off.
    pub fn off(&self) -> usize {
        self.iter().filter(|clock| clock.opinion == Opinion::Off).count()
    }
}

/// The middle one, or what lies half-way between the two in the middle. There is at least the own one.
fn median(mut offsets: Vec<Offset>) -> Offset {
    offsets.sort_unstable_by_key(|offset| offset.nanos);
    let middle = offsets.len() / 2;
    let (low, high) = (offsets[(offsets.len() - 1) / 2], offsets[middle]);
    Offset { nanos: low.nanos.midpoint(high.nanos), error: low.error.max(high.error) }
}

/// By how much one is ahead of the other. Either may be wrong by its error.
fn apart(offset: Offset, median: Offset) -> Offset {
    Offset {
        nanos: offset.nanos.saturating_sub(median.nanos),
        error: offset.error.saturating_add(median.error),
    }
}

fn opinion(skew: Offset, tolerance: Duration) -> Opinion {
    let shown = Duration::from_nanos(skew.nanos.unsigned_abs());
    match tolerance {
        _ if shown.saturating_add(skew.error) <= tolerance => Opinion::Agrees,
        _ if shown.saturating_sub(skew.error) > tolerance => Opinion::Off,
        _ => Opinion::Unsure,
    }
}
