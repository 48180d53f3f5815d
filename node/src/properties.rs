//! Properties, as users hold them: what many say under one key, each for as long as it lives.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use quorate_actor::{Addr, Message};
use quorate_registry::{Bearer, Op, Property, Query, Refusal, Verdict};
use quorate_vocab::{Index, Name, Pid};
use tokio::sync::oneshot;

use crate::error::Error;
use crate::hall::Hall;
use crate::marks::{self, Mark, Number};
use crate::names::no;
use crate::steward;

/// The cluster's properties. Cheap to clone.
#[derive(Clone)]
pub struct Properties {
    pub(crate) hall: Arc<Hall>,
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
    /// A key that marks repetitions of this request, if somebody else than this call may repeat it.
    pub key: Option<u128>,
}

impl Properties {
    pub(crate) fn new(hall: Arc<Hall>) -> Self {
        let within = hall.config().patience();
        Self { hall, within }
    }

    /// Says something under a key for a process of this node. It goes when the process ends, or its node.
    /// Returns its version.
    ///
    /// Once begun it is settled, whether or not somebody waits: what turns out to have been said goes with
    /// the process, too.
    pub async fn set_for<M: Message>(
        &self,
        key: &Name,
        addr: &Addr<M>,
        said: Said,
    ) -> Result<Index, Error> {
        let number = Number::next(&self.hall, self.within).await?;
        let bearer = Bearer { session: number.session(), process: Some(addr.pid()) };
        let mark = said.key.map_or(Mark::Number(number), Mark::Key);
        let (tell, told) = oneshot::channel();
        let saying = self.clone().say(key.clone(), bearer, addr.pid(), said, mark, tell);
        self.hall.run(saying);
        // A node that is closed says nothing any more. What was said by then ends with its session.
        told.await.unwrap_or(Err(Error::Unknown))
    }

    async fn say(
        self,
        key: Name,
        bearer: Bearer,
        pid: Pid,
        said: Said,
        mark: Mark,
        tell: oneshot::Sender<Result<Index, Error>>,
    ) {
        let mut tell = Some(tell);
        let doubt = || drop(tell.take().map(|tell| tell.send(Err(Error::Unknown))));
        let decided = mark.settle(&self.hall, set(&key, bearer, said), self.within, doubt).await;
        let version = decided.and_then(amended);
        if version.is_ok() {
            steward::keep_said(&self.hall, &key, bearer, pid);
        }
        let _ = tell.map(|tell| tell.send(version));
    }

    /// Says something under a key for whoever a bearer is. Returns its version.
    pub async fn set(&self, key: &Name, bearer: Bearer, said: Said) -> Result<Index, Error> {
        let mark = said.key;
        amended(self.propose(set(key, bearer, said), mark).await?)
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
        let stale = self.hall.group().age();
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
        marks::decide(&self.hall, op, mark, self.within).await
    }
}

fn set(key: &Name, bearer: Bearer, said: Said) -> Op {
    let Said { value, meta, expected, .. } = said;
    Op::SetProperty { key: key.clone(), bearer, value, meta, expected }
}

fn amended(answer: (Index, Verdict)) -> Result<Index, Error> {
    match answer {
        (_, Verdict::Amended { version }) => Ok(version),
        (_, other) => Err(no(other)),
    }
}
