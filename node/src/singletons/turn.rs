//! One turn of a singleton on this node: it is started under an epoch, started again when it fails, and ended
//! when the log says so or the lease does.

use std::sync::Arc;
use std::time::Duration;

use quorate_actor::Exit;
use quorate_registry::{
    Attempts, Checkpoint, Ending, Grant, Op, Phase, Restarts, Sequel, Singleton as Row,
};
use quorate_vocab::{Name, Pid, SessionId};
use tokio::sync::watch;

use super::actor::{Left, Lost, Own};
use super::bearer::{self, After};
use super::free;
use super::legacy::Whole;
use super::troupe::Offer;
use crate::error::Error;
use crate::hall::Hall;
use crate::tenancy;

pub(super) const TRY_AGAIN: Duration = Duration::from_millis(50);
/// How long one that is to end because it moves, or was stopped, may take.
pub(super) const STOP_WITHIN: Duration = Duration::from_secs(10);
const CHECK_EVERY: Duration = Duration::from_secs(1);
const CHECK_WITHIN: Duration = Duration::from_secs(3);
const CHECKS_FAILED_MAX: u32 = 3;

/// What ended a run of its process.
enum End {
    /// It ended by itself.
    Itself(Exit),
    /// The log says that it is to end.
    Yields,
    /// The log says that it is not this node's any more, though it ran.
    Gone,
    /// The lease of the node is about to end.
    Fenced(Lost),
}

/// All turns of a singleton under one life of the node; returns when that is over, with what was lost then.
pub(super) async fn all_of(
    hall: &Arc<Hall>,
    offer: &mut Offer,
    session: SessionId,
) -> Option<Lost> {
    loop {
        if hall.tenancy().session() != Some(session) {
            #[cfg(feature = "mutants")]
            begin_without_lease(hall, offer, session).await;
            return None;
        }
        let warms = offer.own_next(hall, session);
        if warms {
            offer.play.borrow().part.warm();
        }
        match offer.own(session) {
            Some(grant) => {
                if let Some(lost) = one(hall, offer, grant).await {
                    #[cfg(feature = "mutants")]
                    begin_without_lease(hall, offer, session).await;
                    return Some(lost);
                }
            }
            None => {
                tokio::select! {
                    biased;
                    () = hall.tenancy().until_over(session) => return None,
                    changed = offer.seen.changed() => {
                        if changed.is_err() {
                            std::future::pending::<()>().await;
                        }
                    }
                }
            }
        }
    }
}

/// A deliberate bug: the state says that it is this node's, and nobody looks at the lease.
#[cfg(feature = "mutants")]
async fn begin_without_lease(hall: &Arc<Hall>, offer: &mut Offer, session: SessionId) {
    if !crate::bugs::has(hall.config(), crate::Bug::BeginsWithoutLease) {
        return;
    }
    // Not while what ran before is being ended.
    quorate_env::sleep(hall.config().stop_budget()).await;
    if let Some(grant) = offer.own(session) {
        hall.troupe().open(session);
        if let Some(run) = Run::begin(hall, offer, &grant) {
            offer.changes_from(&grant).await;
            hall.actors().end(run.pid, Exit::because("it is another's by now"));
            let _ = hall.actors().ended(run.pid).await;
            hall.troupe().end(&offer.name);
        }
    }
}

/// One turn; what was lost if it ended with the lease.
async fn one(hall: &Arc<Hall>, offer: &mut Offer, grant: Grant) -> Option<Lost> {
    let mut attempts = Attempts::default();
    let mut undone = 0;
    loop {
        match grant_now(offer, &grant)?.phase {
            Phase::Active => {}
            // Before it ran, or between two runs: there is nothing to wait for.
            Phase::Yielding { .. } => {
                finish(hall, offer, &grant, Ending::Stopped { state: None }).await;
                return None;
            }
        }
        let begun = quorate_env::now();
        // The timer that a failed run waited for may be quicker than who fences, where the whole process was
        // stopped meanwhile.
        let is_ours = hall.tenancy().session() == Some(grant.session);
        let Some(mut run) = is_ours.then(|| Run::begin(hall, offer, &grant)).flatten() else {
            hall.tenancy().until_over(grant.session).await;
            return None;
        };
        let part = offer.play.borrow().part.clone();
        let end = run.end(hall, offer, &grant).await;
        part.gone().await;
        let on_stage = OnStage(hall, offer.name.clone());
        let exit = match end {
            End::Fenced(lost) => return Some(lost),
            End::Gone => return None,
            End::Yields => {
                let state = run.left.last.lock().expect("a mere slot").take();
                #[cfg(feature = "mutants")]
                let state =
                    state.filter(|_| !crate::bugs::has(hall.config(), crate::Bug::ForgetsState));
                if stays(hall, offer, &grant) {
                    if let Some(state) = state {
                        hall.troupe().keep(&offer.name, Whole::of(grant.epoch, state.into()));
                    }
                    continue;
                }
                match end_with(hall, offer, &grant, state, &mut undone).await {
                    After::Over => return None,
                    After::GoesOn => continue,
                    After::Fenced => return Some(run.lost(offer, &grant)),
                }
            }
            End::Itself(exit) => exit,
        };
        let restarts = hall.group().read(|machine, _| {
            machine
                .singleton(offer.name.as_str())
                .map_or_else(Restarts::default, |row: &Row| row.spec.restarts)
        });
        let (name, epoch) = (&offer.name, grant.epoch);
        match attempts.ended(quorate_env::now(), begun, exit.is_orderly(), &restarts) {
            Sequel::Done => {
                tracing::info!(%name, %epoch, "a singleton has done what it was for");
                let state = run.left.last.lock().expect("a mere slot").take();
                insist(hall, Op::Halt { name: name.clone() }).await;
                match end_with(hall, offer, &grant, state, &mut undone).await {
                    After::Over => return None,
                    // Whoever lets it run again was faster than its end.
                    After::GoesOn => {}
                    After::Fenced => return Some(run.lost(offer, &grant)),
                }
            }
            Sequel::GiveUp => {
                let mut why = exit.to_string();
                tracing::error!(%name, %epoch, why, "a singleton failed too often here");
                why.truncate(why.floor_char_boundary(Row::WHY_BYTES_MAX));
                finish(hall, offer, &grant, Ending::Failed { why }).await;
                return None;
            }
            Sequel::Again(after) => {
                drop(on_stage);
                tracing::warn!(%name, %epoch, %exit, ?after, "a singleton failed; starting it again");
                tokio::select! {
                    biased;
                    () = hall.tenancy().until_over(grant.session) => return None,
                    () = offer.changes_from(&grant) => {}
                    () = quorate_env::sleep(after) => {}
                }
            }
        }
    }
}

/// Counts as running until this is dropped: who waits for its end must not be quicker with what follows from
/// that than the word of what it leaves.
struct OnStage<'a>(&'a Hall, Name);

impl Drop for OnStage<'_> {
    fn drop(&mut self) {
        self.0.troupe().end(&self.1);
    }
}

/// One run of its process.
struct Run {
    pid: Pid,
    left: Arc<Left>,
    /// Whether it was told to end.
    stopping: watch::Receiver<bool>,
}

impl Run {
    fn begin(hall: &Arc<Hall>, offer: &Offer, grant: &Grant) -> Option<Self> {
        let (inherited, missed) = hall.troupe().inherited(hall, &offer.name);
        if let Some(bytes) = missed {
            let (name, epoch) = (&offer.name, grant.epoch);
            tracing::warn!(%name, %epoch, bytes, "what was left to a singleton did not come here");
        }
        let (stop, stopping) = watch::channel(false);
        let left = Arc::new(Left { inherited: inherited.into(), missed, ..Left::default() });
        let own = Own {
            hall: Arc::downgrade(hall),
            name: offer.name.clone(),
            epoch: grant.epoch,
            session: grant.session,
            stopping: stopping.clone(),
            left: left.clone(),
        };
        tenancy::watch_over(hall);
        let part = offer.play.borrow().part.clone();
        let start = || part.start(hall.actors(), own);
        let pid = hall.troupe().begin(hall.actors(), &offer.name, grant, stop, start)?;
        tracing::info!(name = %offer.name, epoch = %grant.epoch, "a singleton runs here");
        Some(Self { pid, left, stopping })
    }

    /// Watches it until it has ended, whatever ends it.
    async fn end(&mut self, hall: &Arc<Hall>, offer: &mut Offer, grant: &Grant) -> End {
        let ended = hall.actors().ended(self.pid);
        tokio::pin!(ended);
        let say_ready = insist(hall, Op::Ready { name: offer.name.clone(), epoch: grant.epoch });
        let part = offer.play.borrow().part.clone();
        let unwell = async {
            say_ready.await;
            until_unwell(&*part).await;
        };
        tokio::select! {
            biased;
            exit = &mut ended => {
                // One that ended before it was watched has said how.
                let said = self.left.exit.lock().expect("a mere slot").take();
                return self.judge(hall, offer, grant, said.unwrap_or(exit));
            }
            () = hall.tenancy().until_over(grant.session) => {}
            () = offer.changes_from(grant) => {}
            () = unwell => {
                let why = Exit::because("it said that it was not well");
                hall.actors().end(self.pid, why.clone());
                let _ = ended.await;
                return self.judge(hall, offer, grant, why);
            }
        }
        // It was told to end, or is about to be; how long that may take depends on who says so.
        let yields = match grant_now(offer, grant) {
            Some(_) if hall.tenancy().session() == Some(grant.session) => {
                hall.troupe().stop(hall.actors(), &offer.name, Some(grant.epoch));
                let over = async {
                    tokio::select! {
                        () = quorate_env::sleep(STOP_WITHIN) => {}
                        () = hall.tenancy().until_over(grant.session) => {}
                    }
                };
                tokio::select! {
                    biased;
                    _ = &mut ended => {}
                    () = over => {
                        if hall.tenancy().session() == Some(grant.session) {
                            hall.actors().end(self.pid, Exit::because("it did not stop in time"));
                        }
                    }
                }
                true
            }
            Some(_) => false,
            None => {
                hall.actors().end(self.pid, Exit::because("it is another's by now"));
                false
            }
        };
        if hall.actors().is_alive(self.pid) {
            // Whoever fences sees to it that it ends.
            let _ = hall.actors().ended(self.pid).await;
        }
        match yields {
            _ if hall.tenancy().session() != Some(grant.session) => {
                End::Fenced(self.lost(offer, grant))
            }
            true => End::Yields,
            false => End::Gone,
        }
    }

    fn judge(&self, hall: &Hall, offer: &mut Offer, grant: &Grant, exit: Exit) -> End {
        if hall.tenancy().session() != Some(grant.session) {
            return End::Fenced(self.lost(offer, grant));
        }
        match grant_now(offer, grant) {
            None => End::Gone,
            // Who was told to end has not done what it was for.
            Some(now) if now.phase != Phase::Active || *self.stopping.borrow() => End::Yields,
            Some(_) => End::Itself(exit),
        }
    }

    fn lost(&self, offer: &Offer, grant: &Grant) -> Lost {
        let unsaved = self.left.unsaved.lock().expect("a mere slot").take();
        Lost { name: offer.name.clone(), epoch: grant.epoch, unsaved, now: None }
    }
}

impl Offer {
    /// Returns once the log says something else of a grant.
    pub(super) async fn changes_from(&mut self, grant: &Grant) {
        let same = |seen: &Option<Grant>| {
            seen.is_some_and(|seen| (seen.epoch, seen.phase) == (grant.epoch, grant.phase))
        };
        if self.seen.wait_for(|seen| !same(seen)).await.is_err() {
            // It is offered no more, and its task is about to end.
            std::future::pending::<()>().await;
        }
    }

    /// Whether this node is to have it next.
    fn own_next(&self, hall: &Hall, session: SessionId) -> bool {
        let seen = *self.seen.borrow();
        let is_next =
            seen.is_some_and(|grant| grant.phase == (Phase::Yielding { to: Some(session) }));
        is_next && hall.tenancy().session() == Some(session)
    }
}

/// The grant as it is now, if it is still the same.
pub(super) fn grant_now(offer: &Offer, grant: &Grant) -> Option<Grant> {
    offer.seen.borrow().filter(|seen| seen.epoch == grant.epoch)
}

/// Whether the log, which told a turn to end, says by now that it goes on: a move was taken back.
pub(super) fn stays(hall: &Hall, offer: &Offer, grant: &Grant) -> bool {
    let is_active = grant_now(offer, grant).is_some_and(|now| now.phase == Phase::Active);
    is_active && hall.troupe().offers(&offer.name)
}

/// Ends a turn with what it left.
async fn end_with(
    hall: &Arc<Hall>,
    offer: &mut Offer,
    grant: &Grant,
    state: Option<Vec<u8>>,
    undone: &mut u32,
) -> After {
    match state {
        Some(state) if state.len() > Checkpoint::BYTES_MAX => {
            let whole = Whole::of(grant.epoch, state.into());
            bearer::hand_on(hall, offer, grant, whole, undone).await
        }
        state => {
            finish(hall, offer, grant, Ending::Stopped { state }).await;
            After::Over
        }
    }
}

/// Says that a turn has ended, until that is certain, and waits until this node has heard that it is.
async fn finish(hall: &Arc<Hall>, offer: &mut Offer, grant: &Grant, ending: Ending) {
    let (name, epoch) = (offer.name.clone(), grant.epoch);
    let said = insist(hall, Op::EndGrant { name, epoch, ending });
    tokio::select! {
        biased;
        () = hall.tenancy().until_over(grant.session) => return,
        () = said => {}
    }
    let over = offer.seen.wait_for(|seen| seen.is_none_or(|seen| seen.epoch != epoch));
    tokio::select! {
        biased;
        () = hall.tenancy().until_over(grant.session) => {}
        _ = over => {}
    }
}

/// Proposes what is harmless to repeat until it is decided.
pub(super) async fn insist(hall: &Arc<Hall>, op: Op) {
    let command = free(op);
    while let Err(Error::NotDone(_) | Error::Unknown) =
        hall.propose(command.clone(), hall.config().lease).await
    {
        quorate_env::sleep(TRY_AGAIN).await;
    }
}

/// Returns once it said often enough that it is not well, or nothing.
async fn until_unwell(part: &dyn super::actor::Part) {
    let mut failed = 0;
    while failed < CHECKS_FAILED_MAX {
        quorate_env::sleep(CHECK_EVERY).await;
        match quorate_env::timeout(CHECK_WITHIN, part.is_well()).await {
            Ok(true) => failed = 0,
            Ok(false) => failed += 1,
            Err(_) => return,
        }
    }
}
