//! What this node offers to run, and what it runs: one task for each singleton that it offers, and the fence
//! that ends all of them before the lease does.
//!
//! Each task follows the state, not the single changes: however far behind it fell, what the log says now is
//! what it acts on.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use quorate_actor::{Actors, Exit};
use quorate_registry::{Effect, Evidence, Grant, Op, Phase, Refusal, Spec, Verdict};
use quorate_vocab::{Epoch, Index, Name, Pid, SessionId};
use tokio::sync::{Notify, oneshot, watch};

use super::actor::{Lost, Part};
use super::bearer::{self, Piece, Taken};
use super::calls::Callers;
use super::legacy::{self, Holding, Inherited, Parts, TAKEN_BYTES_MAX, Whole};
use super::tally::{Tally, Turnover};
use super::{free, turn};
use crate::error::{Error, NotDone};
use crate::hall::Hall;
use crate::{marks, reads};

const TRY_AGAIN: Duration = Duration::from_millis(100);

/// What this node offers to run, and runs.
#[derive(Default)]
pub(crate) struct Troupe {
    stage: Mutex<Stage>,
    /// Told when a turn has ended.
    left: Notify,
    /// How many calls may wait for an owner.
    pub(super) callers: Callers,
    /// Set once somebody takes in what turns of other nodes leave.
    takes: OnceLock<()>,
    /// How often something long was left here.
    attempts: AtomicU64,
    tally: Mutex<Tally>,
}

#[derive(Default)]
struct Stage {
    offered: BTreeMap<Name, Offered>,
    /// The life under which turns may begin; none while the node has none, or is about to lose it.
    open: Option<SessionId>,
    running: BTreeMap<Name, Running>,
}

struct Offered {
    /// What is run at the next turn.
    play: watch::Sender<Play>,
    /// What the log says of it.
    seen: watch::Sender<Option<Grant>>,
    /// What a turn left that is too long for the log, while a turn here may begin with it.
    held: Option<Holding>,
    /// Dropped with this, it tells the task that nothing is offered any more.
    _until: watch::Sender<()>,
}

/// What is offered.
#[derive(Clone)]
pub(super) struct Play {
    pub(super) part: Arc<dyn Part>,
    spec: Spec,
}

struct Running {
    epoch: Epoch,
    pid: Pid,
    stopping: watch::Sender<bool>,
}

/// One that is offered, as its task sees it.
pub(super) struct Offer {
    pub(super) name: Name,
    pub(super) play: watch::Receiver<Play>,
    pub(super) seen: watch::Receiver<Option<Grant>>,
    until: watch::Receiver<()>,
}

/// Offers to run a singleton; what comes gets the cluster's word on the first offer.
pub(crate) fn define(
    hall: &Arc<Hall>,
    name: &Name,
    spec: Spec,
    part: Arc<dyn Part>,
) -> oneshot::Receiver<Result<(), Error>> {
    let (tell, told) = oneshot::channel();
    let play = Play { part, spec };
    if hall.troupe().takes.set(()).is_ok() {
        bearer::open_desk(hall);
    }
    let mut stage = hall.troupe().lock();
    if let Some(offered) = stage.offered.get(name) {
        offered.play.send_replace(play.clone());
        drop(stage);
        let (hall, name) = (hall.clone(), name.clone());
        hall.clone().run(async move {
            let _ = tell.send(volunteer(&hall, &name, &play.spec).await.map(drop));
        });
        return told;
    }
    let (play, plays) = watch::channel(play);
    let (seen, sees) = watch::channel(grant_of(hall, name));
    let (until, over) = watch::channel(());
    stage.offered.insert(name.clone(), Offered { play, seen, held: None, _until: until });
    drop(stage);
    let offer = Offer { name: name.clone(), play: plays, seen: sees, until: over };
    hall.run(perform(hall.clone(), offer, tell));
    told
}

/// Offers it no more; returns once nothing of it runs here.
pub(crate) async fn undefine(hall: &Arc<Hall>, name: &Name) -> Result<(), Error> {
    // Another one has it first, if another one can, with what it leaves.
    if let Some(epoch) = hall.troupe().epoch_of(name)
        && give_away(hall, name, epoch, hall.config().patience()).await
    {
        let over = reads::until(hall, |machine| {
            let row = machine.singleton(name.as_str());
            row.is_none_or(|row| row.epoch() != Some(epoch)).then_some(())
        });
        let _ = quorate_env::timeout(turn::STOP_WITHIN, over).await;
    }
    // Its task goes on until nothing runs any more, and finds that nothing may be begun.
    let offered = hall.troupe().lock().offered.remove(name);
    let offered = offered.ok_or(Error::Refused(Refusal::NoCandidate))?;
    hall.troupe().stop(hall.actors(), name, None);
    let rests = async {
        let none_runs = hall.troupe().until_none_runs(Some(name));
        if quorate_env::timeout(turn::STOP_WITHIN, none_runs).await.is_err() {
            hall.troupe().clear(hall.actors(), Some(name));
            hall.troupe().until_none_runs(Some(name)).await;
        }
    };
    // What the log says of it, its task hears only from here by now.
    let learns = reads::until(hall, |machine| {
        offered.see(machine.singleton(name.as_str()).and_then(|row| row.grant));
        None::<Infallible>
    });
    tokio::select! {
        () = rests => {}
        never = learns => match never {},
    }
    let Some(session) = hall.tenancy().session() else { return Ok(()) };
    let within = hall.config().patience();
    let op = Op::Withdraw { name: name.clone(), session };
    match hall.propose(free(op), within).await? {
        (_, Verdict::Done | Verdict::Refused(Refusal::NoCandidate | Refusal::NoSingleton)) => {
            Ok(())
        }
        (_, other) => Err(crate::names::no(other)),
    }
}

/// What the log says of singletons, change by change.
pub(crate) fn learn(hall: &Hall, effect: &Effect) {
    let name = match effect {
        Effect::Granted { name, .. }
        | Effect::GrantPhase { name, .. }
        | Effect::GrantClosed { name, .. } => name,
        Effect::SingletonChanged(name) => return hall.troupe().count(hall, name, None),
        _ => return,
    };
    hall.troupe().look(hall, name);
    if let Effect::GrantClosed { evidence, .. } = effect {
        hall.troupe().count(hall, name, Some(*evidence));
    }
}

/// Looks at all that is offered here, for what was missed.
pub(crate) fn recall(hall: &Hall) {
    let names: Vec<Name> = hall.troupe().lock().offered.keys().cloned().collect();
    names.iter().for_each(|name| hall.troupe().look(hall, name));
}

impl Troupe {
    /// Turns may begin under this life.
    pub(crate) fn open(&self, session: SessionId) {
        self.lock().open = Some(session);
    }

    /// Lets no turn begin any more, takes no more calls, and tells all that run to end.
    pub(crate) fn fence(&self, actors: &Actors) {
        let mut stage = self.lock();
        stage.open = None;
        for (name, running) in &stage.running {
            actors.unregister(&desk(name, running.epoch));
            running.stopping.send_replace(true);
        }
    }

    /// Ends all that still runs, at its next await.
    pub(crate) fn clear(&self, actors: &Actors, only: Option<&Name>) {
        let stage = self.lock();
        let these = stage.running.iter().filter(|(name, _)| only.is_none_or(|only| only == *name));
        for (name, running) in these {
            tracing::warn!(%name, epoch = %running.epoch, "a singleton did not end in time; ending it");
            actors.end(running.pid, Exit::because("it did not stop in time"));
        }
    }

    /// Whether something runs here.
    pub(crate) fn is_running(&self) -> bool {
        !self.lock().running.is_empty()
    }

    /// Returns once nothing runs here, or nothing of that name.
    pub(crate) async fn until_none_runs(&self, name: Option<&Name>) {
        loop {
            let left = self.left.notified();
            tokio::pin!(left);
            left.as_mut().enable();
            let runs = {
                let stage = self.lock();
                name.map_or(!stage.running.is_empty(), |name| stage.running.contains_key(name))
            };
            if !runs {
                return;
            }
            left.await;
        }
    }

    /// Who runs here now, under which epochs.
    pub(crate) fn running(&self) -> Vec<(Name, Epoch)> {
        self.lock().running.iter().map(|(name, one)| (name.clone(), one.epoch)).collect()
    }

    /// Begins a turn, unless its life is over or about to be: `start` spawns its process.
    pub(super) fn begin(
        &self,
        actors: &Actors,
        name: &Name,
        grant: &Grant,
        stopping: watch::Sender<bool>,
        start: impl FnOnce() -> Pid,
    ) -> Option<Pid> {
        let mut stage = self.lock();
        if stage.open != Some(grant.session) || !stage.offered.contains_key(name) {
            return None;
        }
        let (epoch, pid) = (grant.epoch, start());
        // If it has ended already, there is nobody to call.
        let _ = actors.register(&desk(name, epoch), pid);
        stage.running.insert(name.clone(), Running { epoch, pid, stopping });
        Some(pid)
    }

    /// A turn's process has ended.
    pub(super) fn end(&self, name: &Name) {
        self.lock().running.remove(name);
        self.left.notify_waiters();
    }

    /// Takes no more calls for a turn, and tells it to end.
    pub(super) fn stop(&self, actors: &Actors, name: &Name, epoch: Option<Epoch>) {
        if let Some(running) = self.lock().running.get(name)
            && epoch.is_none_or(|epoch| epoch == running.epoch)
        {
            actors.unregister(&desk(name, running.epoch));
            running.stopping.send_replace(true);
        }
    }

    /// Whether a singleton is offered here.
    pub(super) fn offers(&self, name: &Name) -> bool {
        self.lock().offered.contains_key(name)
    }

    /// Keeps what a turn here left until another node has it; the number of this attempt to bring it there.
    pub(super) fn keep(&self, name: &Name, whole: Whole) -> u64 {
        if let Some(offered) = self.lock().offered.get_mut(name) {
            offered.held = Some(Holding::Whole(whole, 0));
        }
        1 + self.attempts.fetch_add(1, Ordering::Relaxed)
    }

    /// Takes in a piece of what another node's turn left, if this node is to have the singleton next.
    pub(super) fn take_in(&self, hall: &Hall, piece: &Piece) -> Taken {
        let Piece { name, epoch, attempt, legacy, .. } = piece;
        let mut stage = self.lock();
        let to = hall.tenancy().session().filter(|session| {
            grant_of(hall, name).is_some_and(|grant| {
                (grant.epoch, grant.phase) == (*epoch, Phase::Yielding { to: Some(*session) })
            })
        });
        let held = stage.offered.values().filter_map(|offered| offered.held.as_ref());
        let weight: u64 = held.map(Holding::weight).sum();
        let Some(offered) = stage.offered.get_mut(name).filter(|_| to.is_some()) else {
            return Taken::NotNow;
        };
        let before = offered.held.take_if(|held| held.epoch() == *epoch);
        let parts = match before {
            Some(later) if later.attempt() > *attempt => {
                offered.held = Some(later);
                return Taken::NotNow;
            }
            Some(whole @ Holding::Whole(_, of)) if of == *attempt => {
                offered.held = Some(whole);
                return Taken::Wholly;
            }
            Some(Holding::Parts(parts)) if parts.is_of(*attempt) => Some(parts),
            _ if weight.saturating_add(legacy.bytes) > TAKEN_BYTES_MAX => None,
            _ => Parts::new(*epoch, *attempt, *legacy),
        };
        let Some(mut parts) = parts else { return Taken::NotNow };
        let is_taken = parts.put(piece.nth, &piece.piece);
        if !parts.is_complete() {
            offered.held = Some(Holding::Parts(parts));
            return if is_taken { Taken::Partly } else { Taken::NotNow };
        }
        offered.held = parts.whole().map(|whole| Holding::Whole(whole, *attempt));
        if offered.held.is_some() { Taken::Wholly } else { Taken::NotNow }
    }

    /// Something newer was saved than what was left to a turn, or by it.
    pub(super) fn let_go(&self, name: &Name, epoch: Epoch) {
        if let Some(offered) = self.lock().offered.get_mut(name) {
            offered.held.take_if(|held| held.epoch() <= epoch);
        }
    }

    /// What a turn here begins with; and how many bytes were left to it that did not come here.
    pub(super) fn inherited(&self, hall: &Hall, name: &Name) -> (Inherited, Option<u64>) {
        let stage = self.lock();
        let held = stage.offered.get(name).and_then(|offered| offered.held.as_ref());
        let whole = held.and_then(|held| match held {
            Holding::Whole(whole, _) => Some(whole),
            Holding::Parts(_) => None,
        });
        hall.group().read(|machine, _| {
            let Some(row) = machine.singleton(name.as_str()) else { return Default::default() };
            let saved = machine.checkpoint(name.as_str());
            let version = saved.map_or(Index::default(), |saved| saved.version);
            let saved = saved.map(|saved| Bytes::copy_from_slice(&saved.state));
            legacy::inherited(row, (saved, version), whole)
        })
    }

    /// Under which epoch one runs here.
    fn epoch_of(&self, name: &Name) -> Option<Epoch> {
        self.lock().running.get(name).map(|running| running.epoch)
    }

    /// How often singletons changed hands, as far as this node heard.
    pub(super) fn turnover(&self) -> Turnover {
        self.tally().turnover()
    }

    /// Something became of a singleton: its holder ended, as is known in this way, or something else.
    fn count(&self, hall: &Hall, name: &Name, ended: Option<Evidence>) {
        let now = quorate_env::now();
        let mut tally = self.tally();
        if let Some(evidence) = ended {
            tally.ended(now, name, evidence);
        }
        if !tally.misses(name) {
            return;
        }
        let (runs, rests) = hall.group().read(|machine, _| {
            let row = machine.singleton(name.as_str());
            let runs = row.and_then(|row| row.grant).is_some_and(|grant| grant.ready);
            (runs, row.is_none_or(|row| row.halted))
        });
        if rests {
            tally.rests(name);
        } else if runs {
            tally.runs(now, name);
        }
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().expect("nothing panics while it holds the tally")
    }

    fn look(&self, hall: &Hall, name: &Name) {
        let mut stage = self.lock();
        let Some(offered) = stage.offered.get_mut(name) else { return };
        let grant = grant_of(hall, name);
        if let Some(held) = &offered.held {
            let is_of_use = hall.group().read(|machine, _| {
                let row = machine.singleton(name.as_str());
                row.is_some_and(|row| held.is_of_use(row, hall.id()))
            });
            offered.held.take_if(|_| !is_of_use);
        }
        offered.see(grant);
    }

    fn lock(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().expect("nothing panics while it holds the stage")
    }
}

impl Offered {
    fn see(&self, grant: Option<Grant>) {
        self.seen.send_if_modified(|seen| std::mem::replace(seen, grant) != grant);
    }
}

impl Offer {
    /// The grant that is this node's under a life of its own.
    pub(super) fn own(&mut self, session: SessionId) -> Option<Grant> {
        self.seen.borrow_and_update().filter(|grant| grant.session == session)
    }
}

/// Where calls for a turn arrive on its node: nobody answers there for another epoch.
pub(super) fn desk(name: &Name, epoch: Epoch) -> String {
    format!("singleton {name} {epoch}")
}

fn grant_of(hall: &Hall, name: &Name) -> Option<Grant> {
    hall.group().read(|machine, _| machine.singleton(name.as_str())?.grant)
}

/// Offers one singleton, and runs it whenever the log says so, until it is offered no more.
async fn perform(hall: Arc<Hall>, mut offer: Offer, first: oneshot::Sender<Result<(), Error>>) {
    let mut until = offer.until.clone();
    let play = async {
        let mut first = Some(first);
        let mut over: Vec<Lost> = Vec::new();
        loop {
            let session = hall.tenancy().until_session().await;
            let spec = offer.play.borrow_and_update().spec.clone();
            match volunteer(&hall, &offer.name, &spec).await {
                Ok(()) => drop(first.take().map(|first| first.send(Ok(())))),
                // Nobody will ever want this; but what another node says may be in order.
                Err(error @ Error::Refused(_)) if first.is_some() => {
                    let _ = first.take().map(|first| first.send(Err(error)));
                    return;
                }
                Err(_) => {
                    quorate_env::sleep(TRY_AGAIN).await;
                    continue;
                }
            }
            for mut lost in over.drain(..) {
                lost.now = grant_of(&hall, &offer.name);
                offer.play.borrow().part.lost(lost);
            }
            over.extend(turn::all_of(&hall, &mut offer, session).await);
        }
    };
    tokio::select! {
        biased;
        _ = until.changed() => {}
        () = play => {}
    }
}

/// Offers to run it, under the node's present life.
async fn volunteer(hall: &Arc<Hall>, name: &Name, spec: &Spec) -> Result<(), Error> {
    loop {
        let Some(session) = hall.tenancy().session() else {
            return Err(Error::NotDone(NotDone::NoSession));
        };
        let (name, node, spec) = (name.clone(), hall.id(), Box::new(spec.clone()));
        let op = Op::Volunteer { name, session, node, spec };
        match marks::decide(hall, op, None, hall.config().patience()).await? {
            (_, Verdict::Done) => return Ok(()),
            // Whoever leads raises the level as soon as all understand it.
            (_, Verdict::Refused(Refusal::TooNew { .. })) => quorate_env::sleep(TRY_AGAIN).await,
            (_, other) => return Err(crate::names::no(other)),
        }
    }
}

/// Gives all that runs here to other nodes, as far as there are some, before this one stops.
pub(crate) async fn hand_all_over(hall: &Arc<Hall>, within: Duration) {
    let moves = hall.troupe().running().into_iter().map(|(name, epoch)| {
        let hall = hall.clone();
        quorate_env::spawn(async move { give_away(&hall, &name, epoch, within).await })
    });
    for moved in moves.collect::<Vec<_>>() {
        let _ = moved.await;
    }
    let until = quorate_env::now() + within;
    // What is being brought over has a bound of its own.
    while let Some(is_brought) = leaving(hall)
        && (is_brought || quorate_env::now() < until)
    {
        quorate_env::sleep(Duration::from_millis(2)).await;
    }
}

/// Asks that another node has it, and waits until this node has heard that it is to; false where none can
/// have it, and it ends with the session, or with the offer.
async fn give_away(hall: &Arc<Hall>, name: &Name, epoch: Epoch, within: Duration) -> bool {
    let op = Op::Move { name: name.clone(), to: None, expected: Some(epoch) };
    let given = async {
        loop {
            match hall.propose(free(op.clone()), hall.config().lease).await {
                Ok((index, Verdict::Done)) => {
                    hall.group().reached(index).await;
                    return true;
                }
                Ok(_) | Err(Error::Refused(_)) => return false,
                // Who leads may have stopped as well.
                Err(_) => quorate_env::sleep(TRY_AGAIN).await,
            }
        }
    };
    quorate_env::timeout(within, given).await.unwrap_or(false)
}

/// Whether something of this node's is on its way to another one, and whether what it left is.
fn leaving(hall: &Hall) -> Option<bool> {
    let own = hall.tenancy().session()?;
    let stage = hall.troupe().lock();
    hall.group().read(|machine, _| {
        let mut leaves = None;
        for (name, offered) in &stage.offered {
            let grant = machine.singleton(name.as_str()).and_then(|one| one.grant);
            let Some(grant) = grant.filter(|grant| grant.session == own) else { continue };
            if let Phase::Yielding { to: Some(_) } = grant.phase {
                let held = offered.held.as_ref();
                let is_brought = held.is_some_and(|held| held.epoch() == grant.epoch);
                leaves = Some(is_brought || leaves == Some(true));
            }
        }
        leaves
    })
}
