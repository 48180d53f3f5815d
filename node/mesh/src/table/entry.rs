//! What the table holds of one peer: its links, what waits for its data road, and where it is dialled.

use std::sync::{Arc, Weak};

use quorate_vocab::Time;
use tokio::sync::watch;

use super::{Proving, Shown};
use crate::link::Link;
use crate::outbox::Outbox;
use crate::{Limits, Peer, Reason, Road, Rule, STRANDS_MAX};

/// The control road, then the strands of the data road.
const PLACES: usize = 1 + STRANDS_MAX;

#[derive(Debug, Default)]
pub(super) struct Entry {
    pub(super) shown: Option<Shown>,
    pub(super) slots: [Slot; PLACES],
    /// Alive while this node's own proof for a place is under way.
    pub(super) proofs: [Weak<Proving>; PLACES],
    /// Where the hall said that it is.
    pub(super) said: Option<String>,
    /// Whether the hall wants a control link to it.
    pub(super) kept: bool,
    pub(super) dial: Option<Dial>,
    pub(super) strands: [Strand; STRANDS_MAX],
    /// What may be sent to it, and come from it.
    pub(super) rule: Rule,
}

/// One connection of a data road, whether it is open or not.
#[derive(Debug, Default)]
pub(super) struct Strand {
    /// What is to be sent over it.
    pub(super) outbox: Option<Arc<Outbox>>,
    pub(super) reaching: Reaching,
    /// How often it could not be opened, in a row.
    failures: u32,
}

/// Whether a strand is being opened.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Reaching {
    #[default]
    No,
    /// A task is about it, and may be waiting for its turn.
    Now,
    /// It has its turn: the strand counts as one that this node opened.
    Opening,
    /// It could not be, and is not tried again before then.
    Resting(Time),
}

#[derive(Debug, Default)]
pub(super) struct Slot {
    pub(super) link: Option<Arc<Link>>,
    pub(super) up: bool,
}

/// Where a node is dialled, to keep a control link to it. Its task ends when this is dropped.
#[derive(Debug)]
pub(super) struct Dial {
    pub(super) address: watch::Sender<String>,
}

/// Which slot a strand of a road has.
pub(crate) fn place(road: Road, strand: usize) -> usize {
    match road {
        Road::Control => 0,
        Road::Data => 1 + strand,
    }
}

/// Which of so many strands a flow goes over: always the same one. Flows may be numbered in steps, so their
/// numbers are mixed first.
#[inline]
pub(super) fn strand_of(flow: u64, strands: usize) -> usize {
    let mixed = flow.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    (mixed as usize * strands) >> 32
}

impl Entry {
    pub(super) fn slots_of(&self, road: Road) -> &[Slot] {
        match road {
            Road::Control => &self.slots[..1],
            Road::Data => &self.slots[1..],
        }
    }

    /// Whether a road carries.
    pub(super) fn is_up(&self, road: Road) -> bool {
        self.slots_of(road).iter().any(|slot| slot.up)
    }

    pub(super) fn clear(&mut self, reason: Reason, ending: &mut Vec<Arc<Link>>) {
        for road in Road::ALL {
            self.vacate_road(road, reason, ending);
        }
    }

    /// Takes the places of all links of a road away.
    pub(super) fn vacate_road(&mut self, road: Road, reason: Reason, ending: &mut Vec<Arc<Link>>) {
        for strand in 0..self.slots_of(road).len() {
            self.vacate(place(road, strand), reason, ending);
        }
    }

    /// Takes a link's place away. The inside is told when it has ended. If it breaks, so do all other strands
    /// of its road, for the inside is told of a break of the road.
    pub(super) fn vacate(&mut self, at: usize, reason: Reason, ending: &mut Vec<Arc<Link>>) {
        let Slot { link, up } = std::mem::take(&mut self.slots[at]);
        self.show();
        let Some(link) = link else { return };
        // It may be about to end for another reason already.
        let reason = link.close(reason);
        let road = link.road;
        ending.push(link);
        if up && road == Road::Data && reason != Reason::Unneeded {
            // It goes down with its link, which closes it.
            self.strands[at - 1].outbox = None;
            self.vacate_road(Road::Data, reason, ending);
            self.drop_data();
        }
    }

    /// Nothing that waits is sent any more.
    pub(super) fn drop_data(&mut self) {
        for outbox in self.strands.iter_mut().filter_map(|strand| strand.outbox.take()) {
            outbox.close();
        }
    }

    /// How many strands have their turn to be opened, of those that are asked about.
    pub(super) fn openings(&self, is_asked: impl Fn(usize) -> bool) -> usize {
        let strands = self.strands.iter().zip(self.slots_of(Road::Data)).enumerate();
        let is_opening = |(at, (strand, slot)): &(usize, (&Strand, &Slot))| {
            matches!(strand.reaching, Reaching::Opening) && slot.link.is_none() && is_asked(*at)
        };
        strands.filter(is_opening).count()
    }

    /// Where the node can be dialled, as far as it is known.
    pub(super) fn address(&self) -> Option<String> {
        let dialled = self.dial.as_ref().map(|dial| dial.address.borrow().clone());
        let shown = || self.shown.as_ref().map(|shown| shown.face.peer().address.clone());
        dialled.or_else(|| self.said.clone()).or_else(shown)
    }

    pub(super) fn begin_dial(&mut self, address: &str) -> watch::Receiver<String> {
        let (address, seen) = watch::channel(address.to_owned());
        self.dial = Some(Dial { address });
        seen
    }

    /// Writes the roads' state into the face.
    pub(super) fn show(&self) -> Option<Arc<Peer>> {
        let (control, data) = (self.is_up(Road::Control), self.is_up(Road::Data));
        let face = &self.shown.as_ref()?.face;
        face.edit(|peer| (peer.control_up, peer.data_up) = (control, data));
        Some(face.peer())
    }
}

impl Strand {
    /// It has been opened.
    pub(super) fn opened(&mut self) {
        self.failures = 0;
        if !self.reaching.is_under_way() {
            // Else whoever is about it finds out: a second one would open a link beside the first's.
            self.reaching = Reaching::No;
        }
    }

    /// It could not be opened, and is not tried again for a while. Gives what is not sent.
    pub(super) fn rest(&mut self, now: Time, limits: &Limits) -> Option<Arc<Outbox>> {
        self.failures = self.failures.saturating_add(1);
        let rest = limits.redial_min.saturating_mul(1 << self.failures.min(16));
        self.reaching = Reaching::Resting(now + rest.min(limits.redial_max));
        self.outbox.take()
    }
}

impl Reaching {
    pub(super) fn is_under_way(self) -> bool {
        matches!(self, Self::Now | Self::Opening)
    }
}

impl Dial {
    /// Tells the tasks that dial of another address.
    pub(super) fn turn_to(&self, address: &str) {
        self.address.send_if_modified(|held| {
            let changes = held != address;
            if changes {
                address.clone_into(held);
            }
            changes
        });
    }
}

impl Slot {
    pub(super) fn holds(&self, link: &Arc<Link>) -> bool {
        self.link.as_ref().is_some_and(|held| Arc::ptr_eq(held, link))
    }
}
