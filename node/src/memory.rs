//! Remembering: what this node, as a voter, heard of sessions by way of the leader, and what a leader does so
//! that a majority remembers, and recalls.
//!
//! Not here: what a memory is worth, and why ([`quorate_registry::lease::memory`]); what becomes of a renewal
//! (`keeper.rs`).

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use quorate_consensus::{Electorate, Rounds};
use quorate_registry::lease::memory::{Footing, Memory, Office};
use quorate_registry::{Effect, Level};
use quorate_vocab::{NodeId, SessionId, Time};

use crate::hall::Hall;
use crate::post::{Ask, SESSIONS_MAX, Served, Told};

/// From this level on all voters understand what they are asked here.
const SINCE: Level = Level::Four;
/// How long to wait before voters who do not answer yet are asked again.
const ASK_AGAIN: Duration = Duration::from_millis(20);

/// A node's part in it.
#[derive(Default)]
pub(crate) struct Recollection {
    own: Mutex<Memory>,
    /// What a leader hears of is stored together, one round for all that wait.
    rounds: Rounds<bool, SessionId>,
}

impl Recollection {
    fn lock(&self) -> MutexGuard<'_, Memory> {
        self.own.lock().expect("nothing panics while it holds a memory")
    }

    /// This node's memory, which has taken note of where it stands. Whoever holds it may look at the state,
    /// but nobody takes it up while looking at the state.
    ///
    /// Looking only now is soon enough: a footing that changed meanwhile and changed back is another one, as
    /// it is named by its entry; and a renewal that was answered before the level was agreed on, and so was
    /// not stored, came before anybody applied that.
    fn stand(&self, hall: &Hall) -> MutexGuard<'_, Memory> {
        let mut memory = self.lock();
        let electorate = hall.group().electorate();
        let footing = is_agreed(hall).then(|| footing(&electorate));
        memory.stand(quorate_env::now(), office(electorate.office), footing);
        memory
    }
}

/// Whether the cluster has agreed that renewals are stored, as far as this node has applied.
pub(crate) fn is_agreed(hall: &Hall) -> bool {
    hall.group().read(|machine, _| machine.level() >= SINCE)
}

/// Follows which sessions live, for as long as the node does.
pub(crate) async fn attend(hall: Arc<Hall>) {
    loop {
        let (living, index): (Vec<_>, _) = hall.group().read(|machine, index| {
            let bounded = machine.sessions().filter(|session| session.ttl_ms > 0);
            (bounded.map(|session| session.id).collect(), index)
        });
        hall.recollection().lock().survey(quorate_env::now(), living);
        let mut watch = hall.group().watch(index);
        // Ends when this node fell so far behind that it has to look at the whole again.
        while let Ok(change) = watch.next().await {
            for effect in &change.effects {
                match *effect {
                    Effect::SessionOpened { session, ttl_ms, .. } if ttl_ms > 0 => {
                        hall.recollection().lock().open(quorate_env::now(), session);
                    }
                    Effect::SessionEnded { session, .. } => {
                        hall.recollection().lock().end(session);
                    }
                    _ => {}
                }
            }
        }
    }
}

/// Stores, as a voter, that a leader has just heard of these sessions.
fn remember(hall: &Hall, by: Served, sessions: &[SessionId]) -> Told {
    #[cfg(feature = "mutants")]
    if crate::bugs::has(hall.config(), crate::Bug::ForgetsRenewals) {
        return Told::Remembered;
    }
    let mut memory = hall.recollection().stand(hall);
    match memory.store(quorate_env::now(), office(by), sessions) {
        true => Told::Remembered,
        false => Told::Declined,
    }
}

/// Tells a leader, as a voter, for how long nothing was heard of these sessions, in milliseconds: rather too
/// few than too many.
fn recall(
    hall: &Hall,
    by: Served,
    named: (Served, quorate_vocab::Index),
    sessions: &[SessionId],
) -> Told {
    let memory = hall.recollection().stand(hall);
    let footing = Footing { office: office(named.0), index: named.1 };
    let ages = memory.recall(quorate_env::now(), office(by), footing, sessions);
    let whole = |age: Duration| u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
    match ages {
        Some(ages) => Told::Recalled(ages.into_iter().map(whole).collect()),
        None => Told::Declined,
    }
}

/// Returns whether a majority has stored that a session was heard of: after this call, and for the leader
/// that this node is.
pub(crate) async fn spread(hall: &Arc<Hall>, session: SessionId) -> bool {
    let round = {
        let hall = hall.clone();
        move |sessions| {
            let hall = hall.clone();
            async move { spread_all(&hall, sessions).await }
        }
    };
    hall.recollection().rounds.bring(session, round).await.unwrap_or(false)
}

async fn spread_all(hall: &Hall, mut sessions: Vec<SessionId>) -> bool {
    sessions.sort_unstable();
    sessions.dedup();
    // Those who vote now, or did before the last change. If there is yet another one, it was written after
    // all these renewals came, and voters say no more than since they saw it.
    let electorate = hall.group().electorate();
    for piece in sessions.chunks(SESSIONS_MAX) {
        let ask = Ask::Remember { by: electorate.office, sessions: piece.to_vec() };
        if !ask_voters(hall, &electorate, &ask, |told| matches!(told, Told::Remembered)).await {
            return false;
        }
    }
    true
}

/// Asks the voters for how long each of these sessions has been silent, and tells the grantor, a part at a
/// time. Where no majority answers it leaves things as they are: a new leader's waits begin with its time.
pub(crate) async fn recollect(hall: Arc<Hall>, term: u64, sessions: Vec<SessionId>) {
    for piece in sessions.chunks(SESSIONS_MAX) {
        let until = quorate_env::now() + hall.config().renew_every();
        let ages = loop {
            if !hall.keeper().counts_in(term) {
                return;
            }
            match recall_from_voters(&hall, term, piece).await {
                Some(ages) => break ages,
                None if quorate_env::now() < until => quorate_env::sleep(ASK_AGAIN).await,
                None => {
                    tracing::debug!("no majority says how long sessions were silent");
                    return;
                }
            }
        };
        hall.keeper().count_on(&hall, term, ages);
    }
}

/// How long ago each session was last heard of, by the youngest answer of a majority.
async fn recall_from_voters(
    hall: &Hall,
    term: u64,
    sessions: &[SessionId],
) -> Option<Vec<(SessionId, Duration)>> {
    let electorate = hall.group().electorate();
    let Electorate { office, named, .. } = electorate;
    if office != (term, hall.id()) {
        return None;
    }
    let ask = Ask::Recall { by: office, named, sessions: sessions.to_vec() };
    let mut heard = vec![Time(0); sessions.len()];
    let is_majority = ask_voters(hall, &electorate, &ask, |told| {
        let Told::Recalled(ages) = told else { return false };
        let now = quorate_env::now();
        let youngest = heard.iter_mut().zip(ages);
        youngest.for_each(|(at, age)| *at = (now - Duration::from_millis(*age)).max(*at));
        ages.len() == sessions.len()
    });
    if !is_majority.await {
        return None;
    }
    let now = quorate_env::now();
    let ages = heard.into_iter().map(|at| now.since(at));
    Some(sessions.iter().copied().zip(ages).collect())
}

/// Asks all voters, this node among them, until a majority has given an answer that counts.
async fn ask_voters(
    hall: &Hall,
    electorate: &Electorate,
    ask: &Ask,
    mut counts: impl FnMut(&Told) -> bool,
) -> bool {
    let within = hall.config().renew_every();
    let mut agree = BTreeSet::new();
    let mut voters = electorate.voters();
    if voters.remove(&hall.id()) && counts(&answer(hall, hall.id(), ask)) {
        agree.insert(hall.id());
    }
    let mut asked: FuturesUnordered<_> = voters
        .into_iter()
        .map(|node| async move { (node, hall.ask(node, ask, within).await) })
        .collect();
    while !electorate.is_majority(&agree) {
        match asked.next().await {
            Some((node, Ok(told))) if counts(&told) => drop(agree.insert(node)),
            Some(_) => {}
            None => return false,
        }
    }
    true
}

/// What this node answers as a voter.
pub(crate) fn answer(hall: &Hall, from: NodeId, ask: &Ask) -> Told {
    match ask {
        Ask::Remember { by, sessions } if by.1 == from && sessions.len() <= SESSIONS_MAX => {
            remember(hall, *by, sessions)
        }
        Ask::Recall { by, named, sessions } if by.1 == from && sessions.len() <= SESSIONS_MAX => {
            recall(hall, *by, *named, sessions)
        }
        _ => Told::Declined,
    }
}

fn office((term, leader): Served) -> Office {
    Office { term, leader }
}

fn footing(electorate: &Electorate) -> Footing {
    let (by, index) = electorate.named;
    Footing { office: office(by), index }
}
