//! What a leader does beside leading: it ends sessions that fell silent, sees to it that there are as many
//! voters as are wanted, and raises the feature level to what all understand.
//!
//! It decides nothing by being called a leader: an expiry goes through the log and is void in another term; a
//! renewal is answered after a majority confirmed the leader in a round that began after it came, and a
//! majority has stored that it came. So whoever leads next counts on from what they remember, and who dies
//! with the leader is missed no later than others.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use quorate_consensus::{GroupStatus, ReadError, Role, Watch};
use quorate_registry::lease::{Grantor, Terms, grantor};
use quorate_registry::{Command, Effect, Evidence, Once, Op, SessionOwner};
use quorate_vocab::{Index, SessionId};

use crate::hall::Hall;
use crate::memory;
use crate::post::{Renewal, Told};
use crate::singletons::mover;
use crate::voters;

/// What a holder needs to come to rest.
const GUARD: Duration = Duration::from_millis(100);
/// By how much the rate of a clock may differ from true.
const DRIFT: f64 = 0.01;
/// How often the members are looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

pub(crate) struct Keeper(Mutex<Grantor>);

impl Keeper {
    pub(crate) fn new() -> Self {
        let terms = Terms::new(GUARD, DRIFT).expect("our own terms fit");
        Self(Mutex::new(Grantor::new(terms)))
    }

    /// Answers a renew, as the leader.
    pub(crate) async fn renew(&self, hall: &Arc<Hall>, renewal: Renewal) -> Told {
        let session = renewal.session;
        // Before it is counted: if another term begins in between, it was perhaps counted in neither.
        let term = self.lock().term();
        self.step(hall, grantor::Input::Renewed { session });
        let stores = async {
            // Nobody has to remember what will not be answered.
            let is_stored = term.is_some() && memory::is_agreed(hall);
            Ok(is_stored && memory::spread(hall, session).await)
        };
        let is_stored = match tokio::try_join!(hall.group().confirm(), stores) {
            Ok((_, is_stored)) => is_stored,
            Err(ReadError::NotLeader { leader }) => return Told::NotLeader { leader },
            Err(_) => return Told::NoQuorum,
        };
        // Asked again, after the round: whoever had applied this level when the renewal came had it from a
        // leader, and what that one knew then is applied here now.
        let is_covered = is_stored || !memory::is_agreed(hall);
        let ttl_ms = hall.group().read(|machine, _| {
            let session = machine.session(session)?;
            let node = match session.owner {
                SessionOwner::Node { node, .. } => Some(node),
                SessionOwner::Client | SessionOwner::Name => None,
            };
            (node == renewal.node).then_some(session.ttl_ms)
        });

        match ttl_ms {
            None => Told::SessionEnded,
            // A session without a bound is never watched, and cannot expire.
            Some(0) => Told::Renewed { ttl_ms: 0 },
            Some(ttl_ms) if is_covered && self.admits(session, term) => Told::Renewed { ttl_ms },
            // Its expiry is on the way, or this leader did not watch over sessions yet when it came, or too
            // few remember it.
            Some(_) => Told::NoQuorum,
        }
    }

    fn admits(&self, session: SessionId, term: Option<u64>) -> bool {
        let grantor = self.lock();
        term.is_some() && grantor.term() == term && grantor.admits(session)
    }

    /// Whether this leader counts, and in this term.
    pub(crate) fn counts_in(&self, term: u64) -> bool {
        self.lock().term() == Some(term)
    }

    /// Takes what the voters remember, as the leader of a term.
    pub(crate) fn count_on(&self, hall: &Hall, term: u64, ages: Vec<(SessionId, Duration)>) {
        self.step(hall, grantor::Input::Recalled { term, ages });
    }

    fn step(&self, hall: &Hall, input: grantor::Input) {
        let mut out = Vec::new();
        {
            let mut grantor = self.lock();
            grantor.step(quorate_env::now(), input, &mut out);
        }
        for grantor::Output::Expire { session, term } in out {
            tracing::info!(%session, "a session fell silent; proposing its end");
            let group = hall.group().clone();
            let op = Op::End { session, evidence: Evidence::Expired { term } };
            quorate_env::spawn(async move {
                // If it is not agreed, the grantor asks again.
                let _ = group.propose(Command { once: Once::Free, op }).await;
            });
        }
    }

    fn lock(&self) -> MutexGuard<'_, Grantor> {
        self.0.lock().expect("nothing panics while it holds the grantor")
    }
}

/// Watches for this node becoming the leader, for as long as it lives.
pub(crate) async fn keep(hall: Arc<Hall>) {
    loop {
        let status = hall.group().status();
        if status.role == Role::Leader {
            lead(&hall, status.term).await;
            hall.keeper().step(&hall, grantor::Input::Deposed);
        }
        hall.group().status_changed(&status).await;
    }
}

/// Does a leader's work for one term.
async fn lead(hall: &Arc<Hall>, term: u64) {
    let leads = |status: &GroupStatus| status.role == Role::Leader && status.term == term;
    // Once this is confirmed, everything of earlier terms is applied here, the last expiries among it.
    while hall.group().confirm().await.is_err() {
        if !leads(&hall.group().status()) {
            return;
        }
        quorate_env::sleep(Duration::from_millis(10)).await;
    }
    let mut watch = begin(hall, term);
    if memory::is_agreed(hall) {
        let sessions = hall.group().read(|machine, _| machine.sessions().map(|s| s.id).collect());
        hall.run(memory::recollect(hall.clone(), term, sessions));
    }
    let mut silences = voters::Silences::default();
    loop {
        let status = hall.group().status();
        if !leads(&status) {
            return;
        }
        voters::tend(hall, &status, &mut silences).await;
        raise(hall, &status);
        mover::tend(hall);
        let until = quorate_env::now() + LOOK_AGAIN;
        while quorate_env::now() < until {
            let deadline = hall.keeper().lock().deadline().map_or(until, |at| at.min(until));
            tokio::select! {
                biased;
                change = watch.next() => match change {
                    Ok(change) => follow(hall, &change.effects),
                    Err(_) => watch = begin(hall, term),
                },
                () = quorate_env::sleep_until(deadline) => {
                    hall.keeper().step(hall, grantor::Input::Tick);
                }
            }
        }
    }
}

/// Proposes the newest feature level that all understand, if it is not agreed yet.
fn raise(hall: &Hall, status: &GroupStatus) {
    let level = hall.group().read(|machine, _| {
        // Of who follows the log and has not taken part yet nobody knows what it understands.
        let mut all = status.voters.union(&status.learners);
        all.all(|node| machine.node(*node).is_some()).then(|| machine.attainable()).flatten()
    });
    let Some(level) = level else { return };
    let group = hall.group().clone();
    quorate_env::spawn(async move {
        // If it is not agreed, it is asked for again. A repetition changes nothing.
        let _ = group.propose(Command { once: Once::Free, op: Op::Raise { level } }).await;
    });
}

/// Starts every wait anew.
fn begin(hall: &Hall, term: u64) -> Watch {
    let (sessions, index): (Vec<_>, Index) = hall.group().read(|machine, index| {
        (machine.sessions().map(|s| (s.id, patience(hall, s.ttl_ms))).collect(), index)
    });
    hall.keeper().step(hall, grantor::Input::Elected { term, sessions });
    hall.group().watch(index)
}

/// How long a session may be silent.
#[cfg(not(feature = "mutants"))]
fn patience(_hall: &Hall, ttl_ms: u64) -> Duration {
    Duration::from_millis(ttl_ms)
}

#[cfg(feature = "mutants")]
fn patience(hall: &Hall, ttl_ms: u64) -> Duration {
    let ttl = Duration::from_millis(ttl_ms);
    hall.config().bug.map_or(ttl, |bug| bug.patience(ttl))
}

fn follow(hall: &Hall, effects: &[Effect]) {
    for effect in effects {
        match *effect {
            Effect::SessionOpened { session, ttl_ms, .. } => {
                let ttl = patience(hall, ttl_ms);
                hall.keeper().step(hall, grantor::Input::Opened { session, ttl });
            }
            Effect::SessionEnded { session, .. } => {
                hall.keeper().step(hall, grantor::Input::Ended { session });
            }
            _ => {}
        }
    }
}
