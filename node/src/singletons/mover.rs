//! Moves that nobody asked for one by one: away from nodes that are being drained, back to where one is
//! pinned, and what a plan says.
//!
//! Drains and pins are the leader's work; a plan is carried out by the node that it was given to, and what is
//! left of it when that node ends is not done.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use quorate_registry::{Machine, Op, Phase, Singleton as Row, Standing};
use quorate_vocab::{Epoch, Name, NodeId};

use super::{Singletons, free};
use crate::error::Error;
use crate::hall::Hall;

/// How many the leader has on the move at once.
const UNDER_WAY_MAX: usize = 128;

/// One singleton that would better be elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relocation {
    /// Which.
    pub name: Name,
    /// The epoch that it is held under.
    pub epoch: Epoch,
    /// The node that has it.
    pub from: NodeId,
    /// The node that should.
    pub to: NodeId,
}

/// Asks for the moves that drains and pins owe, as the leader.
pub(crate) fn tend(hall: &Arc<Hall>) {
    let owed = hall.group().read(|machine, _| owed(machine));
    for (name, to, epoch) in owed {
        let group = hall.group().clone();
        let op = Op::Move { name, to, expected: Some(epoch) };
        quorate_env::spawn(async move {
            // If it is not agreed, it is asked for again.
            let _ = group.propose(free(op)).await;
        });
    }
}

fn owed(machine: &Machine) -> Vec<(Name, Option<NodeId>, Epoch)> {
    let is_drained = |node: &quorate_registry::Node| machine.drained(node.id).is_some();
    let drains = machine.nodes().any(is_drained);
    let mut under_way = 0;
    let mut owed = Vec::new();
    for row in machine.singletons("", None) {
        let Some(grant) = row.grant else { continue };
        if let Phase::Yielding { .. } = grant.phase {
            under_way += 1;
            continue;
        }
        // What is under way is still counted, but where it could go is not asked of more than may.
        if owed.len() == UNDER_WAY_MAX {
            continue;
        }
        let leaves = drains && machine.drained(grant.node).is_some();
        let to = match &row.spec.pin {
            _ if leaves => machine.could_move(row).map(|_| None),
            Some(pin) if pin.back => back(machine, row, pin.node.as_str()).map(Some),
            _ => None,
        };
        if let Some(to) = to {
            owed.push((row.name.clone(), to, grant.epoch));
        }
    }
    owed.truncate(UNDER_WAY_MAX.saturating_sub(under_way));
    owed
}

/// The node that one is pinned to, if it is elsewhere and could be there.
fn back(machine: &Machine, row: &Row, pinned: &str) -> Option<NodeId> {
    let node = machine.nodes().find(|node| node.name.as_str() == pinned)?.id;
    if row.grant?.node == node {
        return None;
    }
    let fits = |(one, standing): &(NodeId, Standing)| {
        *one == node && matches!(standing, Standing::Fits(_))
    };
    machine.outlook(row).iter().any(fits).then_some(node)
}

impl Singletons {
    /// Which moves would even out what nodes hold, at most so many. Nothing is moved.
    pub fn plan(&self, most: usize) -> Vec<Relocation> {
        self.hall.group().read(|machine, _| plan(machine, most))
    }

    /// Carries out a plan, so many moves a second. A singleton that has another owner by then is left alone.
    /// Returns how many moves were begun.
    pub async fn relocate(&self, plan: &[Relocation], per_second: u32) -> Result<usize, Error> {
        let pause = Duration::from_secs(1) / per_second.max(1);
        let mut begun = 0;
        for Relocation { name, epoch, to, .. } in plan {
            let op = Op::Move { name: name.clone(), to: Some(*to), expected: Some(*epoch) };
            match self.done(op, None).await {
                Ok(_) => begun += 1,
                Err(Error::Refused(_)) => {}
                Err(error) => return Err(error),
            }
            quorate_env::sleep(pause).await;
        }
        Ok(begun)
    }
}

fn plan(machine: &Machine, most: usize) -> Vec<Relocation> {
    let weight = |node: NodeId| machine.node(node).map_or(1, |node| node.weight().max(1));
    let mut loads: BTreeMap<NodeId, u32> =
        machine.nodes().map(|node| (node.id, machine.load_of(node.id))).collect();
    let mut plan = Vec::new();
    for row in machine.singletons("", None) {
        if plan.len() >= most {
            break;
        }
        let Some(grant) = row.grant.filter(|grant| grant.phase == Phase::Active) else { continue };
        let Some(to) = machine.could_move(row) else { continue };
        let load =
            |loads: &BTreeMap<NodeId, u32>, node| u64::from(loads.get(&node).copied().unwrap_or(0));
        let (from_weight, to_weight) = (u64::from(weight(grant.node)), u64::from(weight(to)));
        // Only if the other one would still have less than this one has now.
        let evens = (load(&loads, to) + 1) * from_weight < load(&loads, grant.node) * to_weight;
        if evens {
            *loads.entry(grant.node).or_default() -= 1;
            *loads.entry(to).or_default() += 1;
            let (name, epoch) = (row.name.clone(), grant.epoch);
            plan.push(Relocation { name, epoch, from: grant.node, to });
        }
    }
    plan
}
