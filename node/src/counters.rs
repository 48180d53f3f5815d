//! Durable counters, as users hold them.
//!
//! A tally is not what the mesh counts of itself: it is part of the replicated state.

use std::sync::Arc;
use std::time::Duration;

use quorate_registry::{Op, Verdict};
use quorate_vocab::{Index, Name};

use crate::error::Error;
use crate::hall::Hall;
use crate::marks;
use crate::names::no;

/// The cluster's counters. Cheap to clone.
#[derive(Clone)]
pub struct Tallies {
    hall: Arc<Hall>,
    within: Duration,
}

/// What is in a counter, at which index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
    /// The number; none when there is no such counter.
    pub value: Option<i64>,
    /// The index of the state that was looked into.
    pub index: Index,
    /// How old it may be, as in [`crate::Found::stale`].
    pub stale: Duration,
}

impl Tallies {
    pub(crate) fn new(hall: Arc<Hall>) -> Self {
        let within = hall.config().patience();
        Self { hall, within }
    }

    /// The same counters with another bound on every call.
    pub fn within(&self, within: Duration) -> Self {
        Self { hall: self.hall.clone(), within }
    }

    /// Adds to a counter, which begins with 0, and says what is in it then. With an expectation only if
    /// exactly that is in it. What does not fit into 64 bits is refused.
    pub async fn add(
        &self,
        name: &Name,
        add: i64,
        expected: Option<i64>,
        key: Option<u128>,
    ) -> Result<(i64, Index), Error> {
        let op = Op::Count { name: name.clone(), add, expected };
        match self.propose(op, key).await? {
            (index, Verdict::Counted { value }) => Ok((value, index)),
            (_, other) => Err(no(other)),
        }
    }

    /// Takes a counter away; with an expectation only if exactly that is in it.
    pub async fn drop(
        &self,
        name: &Name,
        expected: Option<i64>,
        key: Option<u128>,
    ) -> Result<Index, Error> {
        match self.propose(Op::DropCounter { name: name.clone(), expected }, key).await? {
            (index, Verdict::Dropped) => Ok(index),
            (_, other) => Err(no(other)),
        }
    }

    /// What is in a counter, by what this node knows.
    pub fn peek(&self, name: &Name) -> Tally {
        let stale = self.hall.group().age();
        let (value, index) =
            self.hall.group().read(|machine, index| (machine.counter(name.as_str()), index));
        Tally { value, index, stale }
    }

    /// What is in a counter, linearizably.
    pub async fn find(&self, name: &Name) -> Result<Tally, Error> {
        self.hall.confirm(self.within).await?;
        Ok(Tally { stale: Duration::ZERO, ..self.peek(name) })
    }

    async fn propose(&self, op: Op, key: Option<u128>) -> Result<(Index, Verdict), Error> {
        marks::decide(&self.hall, op, key, self.within).await
    }
}
