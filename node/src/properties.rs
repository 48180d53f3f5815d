//! Properties, as users hold them: what many say under one key, each for as long as it lives.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use quorate_actor::{Addr, Message};
use quorate_registry::{Bearer, Command, Once, Op, Property, Query, Refusal, Verdict};
use quorate_vocab::{Index, Name};

use crate::error::{Error, NotDone};
use crate::hall::Hall;
use crate::names::{draw_key, no};

/// The cluster's properties. Cheap to clone.
#[derive(Clone)]
pub struct Properties {
    hall: Arc<Hall>,
    within: Duration,
}

/// What to say under a key.
#[derive(Clone, Debug, Default)]
pub struct Said {
    /// The value.
    pub value: Vec<u8>,
    /// Labels, by which it is found.
    pub meta: BTreeMap<String, String>,
    /// Only if what this bearer said before has this version; 0 when it said nothing.
    pub expected: Option<Index>,
    /// A key that marks repetitions of this request; drawn at random if none is given.
    pub key: Option<u128>,
}

impl Properties {
    pub(crate) fn new(hall: Arc<Hall>) -> Self {
        let within = hall.config().patience();
        Self { hall, within }
    }

    /// Says something under a key for a process of this node. It goes when the process ends, or its node.
    /// Returns its version.
    pub async fn set_for<M: Message>(
        &self,
        key: &Name,
        addr: &Addr<M>,
        said: Said,
    ) -> Result<Index, Error> {
        let session = self.hall.tenancy().session().ok_or(Error::NotDone(NotDone::NoSession))?;
        let bearer = Bearer { session, process: Some(addr.pid()) };
        let version = self.set(key, bearer, said).await?;
        let (properties, key, ended) = (self.clone(), key.clone(), addr.pid());
        let ended = self.hall.actors().ended(ended);
        self.hall.run(async move {
            ended.await;
            // A repetition is harmless: the bearer never says anything again.
            while let Err(Error::NotDone(_) | Error::Unknown) =
                properties.drop(&key, bearer, None).await
            {
                quorate_env::sleep(properties.within / 10).await;
            }
        });
        Ok(version)
    }

    /// Says something under a key for whoever a bearer is. Returns its version.
    pub async fn set(&self, key: &Name, bearer: Bearer, said: Said) -> Result<Index, Error> {
        let Said { value, meta, expected, key: mark } = said;
        let op = Op::SetProperty { key: key.clone(), bearer, value, meta, expected };
        match self.propose(op, mark).await? {
            (_, Verdict::Amended { version }) => Ok(version),
            (_, other) => Err(no(other)),
        }
    }

    /// Says nothing under a key any more; also when nothing was said.
    pub async fn drop(&self, key: &Name, bearer: Bearer, mark: Option<u128>) -> Result<(), Error> {
        let op = Op::DropProperty { key: key.clone(), bearer };
        match self.propose(op, mark).await? {
            (_, Verdict::Dropped | Verdict::Refused(Refusal::Absent)) => Ok(()),
            (_, other) => Err(no(other)),
        }
    }

    /// What a query looks for, at most `limit`, with the index of the state and its age; by what this node
    /// knows. The next ones come after the key and the bearer of the last.
    pub fn list(
        &self,
        query: &Query,
        after: Option<&(Name, Bearer)>,
        limit: usize,
    ) -> (Vec<Property>, Index, Duration) {
        let stale = self.hall.group().silence();
        let (state, index) = self.hall.group().read(|machine, index| (machine.freeze(), index));
        (state.properties(query, after).take(limit).cloned().collect(), index, stale)
    }

    /// The same, linearizably, so that it has no age.
    pub async fn find(
        &self,
        query: &Query,
        after: Option<&(Name, Bearer)>,
        limit: usize,
    ) -> Result<(Vec<Property>, Index), Error> {
        self.hall.confirm(self.within).await?;
        let (found, index, _) = self.list(query, after, limit);
        Ok((found, index))
    }

    /// What one bearer says, by what this node knows.
    pub fn of(&self, bearer: Bearer) -> Vec<Property> {
        self.hall.group().read(|machine, _| machine.borne_by(bearer).cloned().collect())
    }

    async fn propose(&self, op: Op, mark: Option<u128>) -> Result<(Index, Verdict), Error> {
        let once = Once::Key(mark.unwrap_or_else(draw_key));
        self.hall.propose(Command { once, op }, self.within).await
    }
}
