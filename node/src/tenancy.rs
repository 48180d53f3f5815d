//! This node's own session: taking part, staying alive in the eyes of the others, and knowing when it is not.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use quorate_registry::lease::{Holder, holder};
use quorate_registry::{Command, Evidence, Once, Op, Refusal, SessionOwner, Verdict};
use quorate_vocab::{SessionId, Time};
use tokio::sync::{Mutex as Turns, Notify, watch};

use crate::hall::Hall;
use crate::marks::Numbers;
use crate::post::{Ask, Renewal, Told};
use crate::sessions::Renewed;

const LOOK_AGAIN: Duration = Duration::from_millis(50);
const WATCH_EVERY: Duration = Duration::from_millis(20);
/// Between two rounds of asking all peers to be let in, at last: there may be no majority for long.
const ASK_SELDOM: Duration = Duration::from_millis(400);

/// The node's present session, if it has one.
pub(crate) struct Tenancy {
    /// How long a session may be silent.
    ttl: Duration,
    /// How long before the end of the lease everything that ran under it begins to end.
    budget: Duration,
    seat: Mutex<Option<Seat>>,
    /// When the last lease ends, or ended; it only grows.
    end: AtomicU64,
    /// The session, for who waits for one, or for its end.
    sitting: watch::Sender<Option<SessionId>>,
    /// Who waits for a number goes in order, and only the first looks whether there is room.
    turns: Turns<()>,
    /// Told when there may be room for another number, or none will come.
    room: Notify,
    /// Set once somebody watches that nothing goes on for longer than the lease.
    watched: OnceLock<()>,
}

struct Seat {
    session: SessionId,
    holder: Holder,
    /// The number of the newest renew.
    renew: u64,
    /// The numbers of the commands that carry this session's mark.
    numbers: Numbers,
}

impl Tenancy {
    pub(crate) fn new(ttl: Duration, budget: Duration) -> Self {
        let (seat, sitting) = (Mutex::new(None), watch::Sender::new(None));
        let end = AtomicU64::new(0);
        let (turns, room, watched) = (Turns::new(()), Notify::new(), OnceLock::new());
        Self { ttl, budget, seat, end, sitting, turns, room, watched }
    }

    /// Returns once this node has a session.
    pub(crate) async fn until_session(&self) -> SessionId {
        let mut sitting = self.sitting.subscribe();
        let session = sitting.wait_for(Option::is_some).await;
        session.expect("its sender is here").expect("it was waited for")
    }

    /// Returns once this node has another session, or none.
    pub(crate) async fn until_over(&self, session: SessionId) {
        let mut sitting = self.sitting.subscribe();
        let over = sitting.wait_for(|sitting| *sitting != Some(session)).await;
        over.expect("its sender is here");
    }

    /// Whether the last lease that this node had is over.
    pub(crate) fn is_past_its_end(&self) -> bool {
        let end = self.end.load(Ordering::Acquire);
        quorate_env::now() >= Time(end)
    }

    /// When a session's lease ends if it is not renewed, unless it has ended. What ran under it has begun to
    /// end by then.
    pub(crate) fn end_of(&self, session: SessionId) -> Option<Time> {
        let seat = self.lock();
        let seat = seat.as_ref().filter(|seat| seat.session == session)?;
        seat.holder.deadline().map(|deadline| deadline + self.budget)
    }

    /// The session, while its lease is valid by this node's own clock, and there is time left to end what
    /// runs under it.
    pub(crate) fn session(&self) -> Option<SessionId> {
        let seat = self.lock();
        seat.as_ref()
            .filter(|seat| seat.holder.is_valid(quorate_env::now()))
            .map(|seat| seat.session)
    }

    /// The session and the number for its next command, once there is room for it; none without a session.
    pub(crate) async fn next_number(&self) -> Option<(SessionId, u64)> {
        let _turn = self.turns.lock().await;
        loop {
            {
                let mut seat = self.lock();
                let seat = seat.as_mut().filter(|seat| seat.holder.is_valid(quorate_env::now()))?;
                if let Some(seq) = seat.numbers.next() {
                    return Some((seat.session, seq));
                }
            }
            self.room.notified().await;
        }
    }

    /// A command of a session is not under way any more.
    pub(crate) fn settled(&self, session: SessionId, seq: u64) {
        if let Some(seat) = self.lock().as_mut().filter(|seat| seat.session == session) {
            seat.numbers.settled(seq);
        }
        self.room.notify_one();
    }

    /// Holds a session from the time on at which a renewal was sent that is now answered.
    fn sit(&self, session: SessionId, sent: Time) {
        let mut holder = Holder::new(self.ttl.saturating_sub(self.budget));
        let mut out = Vec::new();
        holder.step(sent, holder::Input::Sent { seq: 0 }, &mut out);
        holder.step(quorate_env::now(), holder::Input::Confirmed { seq: 0 }, &mut out);
        self.note_end(&holder);
        let numbers = Numbers::default();
        *self.lock() = Some(Seat { session, holder, renew: 0, numbers });
        self.sitting.send_replace(Some(session));
    }

    fn rise(&self) {
        *self.lock() = None;
        self.sitting.send_replace(None);
        self.room.notify_one();
    }

    /// Gives one input to the holder; `None` when it has lost its lease, or has none.
    fn step(&self, input: impl FnOnce(&mut Seat) -> holder::Input) -> Option<u64> {
        let mut seat = self.lock();
        let seat = seat.as_mut()?;
        let input = input(seat);
        let mut out = Vec::new();
        seat.holder.step(quorate_env::now(), input, &mut out);
        seat.holder.check();
        self.note_end(&seat.holder);
        out.is_empty().then_some(seat.renew)
    }

    fn note_end(&self, holder: &Holder) {
        if let Some(deadline) = holder.deadline() {
            self.end.fetch_max((deadline + self.budget).0, Ordering::AcqRel);
        }
    }

    fn deadline(&self) -> Option<Time> {
        self.lock().as_ref()?.holder.deadline()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Seat>> {
        self.seat.lock().expect("nothing panics while it holds the seat")
    }
}

/// Takes part for as long as the node lives.
pub(crate) async fn reside(hall: Arc<Hall>) {
    // The first opening ends what was granted to this node's last life, and what that began may be dying
    // still. When its lease is over the grants end anyway.
    if let Some(sentinel) = hall.sentinel() {
        sentinel.until_alone(hall.config().patience()).await;
    }
    loop {
        // A session that is not to be renewed is not worth an opening.
        hall.group().disk().unstuck().await;
        take_part(&hall).await;
        let session = open(&hall).await;
        tracing::info!(%session, "this node takes part");
        hall.troupe().open(session);
        let why = stay(&hall, session).await;
        tracing::warn!(%session, why, "this node lost its session; what ran under it ends");
        fence(&hall, session).await;
        // Nothing runs that would have to be ended.
        is_guarded(&hall, None, hall.config().renew_every()).await;
        // What was held is given up explicitly: nobody has to wait for the expiry.
        let op = Op::End { session, evidence: Evidence::Stopped };
        // Until it is certain: as long as the old session may live, `Open` answers with it, and its numbers
        // and names with it.
        while hall
            .propose(Command { once: Once::Free, op: op.clone() }, hall.config().lease)
            .await
            .is_err()
        {
            quorate_env::sleep(LOOK_AGAIN).await;
        }
    }
}

/// Ends all that ran under a session, and returns when it has ended: before the lease does, or whoever guards
/// this node ends it as a whole.
async fn fence(hall: &Arc<Hall>, session: SessionId) {
    #[cfg(feature = "mutants")]
    if crate::bugs::has(hall.config(), crate::Bug::NeverFences) {
        hall.tenancy().rise();
        return;
    }
    hall.troupe().fence(hall.actors());
    hall.tenancy().rise();
    let singletons_end = async {
        let none_runs = hall.troupe().until_none_runs(None);
        // Half of the time is for those who end by themselves.
        if quorate_env::timeout(hall.config().stop_budget() / 2, none_runs).await.is_err() {
            hall.troupe().clear(hall.actors(), None);
            hall.troupe().until_none_runs(None).await;
        }
    };
    tokio::join!(hall.steward().fence(hall.actors(), session), singletons_end);
}

/// Sees to it that nothing goes on for longer than the lease does: what holds something and has not ended by
/// then ends with the process. It has a thread of its own, since it is for when the workers are held by what
/// does not end.
///
/// A process that is stopped as a whole cannot do this; for that there is a [`Sentinel`](crate::Sentinel).
pub(crate) fn watch_over(hall: &Arc<Hall>) {
    if quorate_env::is_simulated() || hall.tenancy().watched.set(()).is_err() {
        return;
    }
    let watched = Arc::downgrade(hall);
    let watch = async move {
        while let Some(hall) = watched.upgrade() {
            let is_held = hall.troupe().is_running() || hall.steward().has_holders();
            if is_held && hall.tenancy().is_past_its_end() {
                tracing::error!("what a lease was for did not end with it; ending this process");
                std::process::abort();
            }
            drop(hall);
            quorate_env::sleep(WATCH_EVERY).await;
        }
    };
    if let Err(error) = quorate_env::aside("quorate-deadline", watch) {
        tracing::error!(%error, "nobody watches that all ends with the lease");
    }
}

/// Gets this node into the registry, with its present address.
async fn take_part(hall: &Arc<Hall>) {
    let (mut ask_at, mut pause) = (quorate_env::now(), LOOK_AGAIN);
    loop {
        if hall.identity().cluster().is_some() {
            // Who knows nobody that votes has to be told, or nobody will feed it, even where it remembers who
            // led.
            let knows_voters = !hall.group().status().voters.is_empty();
            if knows_voters && reaches_leader(hall) && join(hall).await {
                return;
            }
            if quorate_env::now() >= ask_at {
                if ask_to_be_let_in(hall).await {
                    return;
                }
                ask_at = quorate_env::now() + pause;
                pause = (pause * 2).min(ASK_SELDOM);
            }
        }
        quorate_env::sleep(LOOK_AGAIN).await;
    }
}

/// Whether there is a leader to ask. One that this node only remembers may listen elsewhere by now, and the
/// others know where; to wait for its link would cost a lease.
pub(crate) fn reaches_leader(hall: &Hall) -> bool {
    let is_linked =
        |leader| hall.mesh().peers().into_iter().any(|peer| peer.id == leader && peer.control_up);
    hall.group().leader().is_some_and(|leader| leader == hall.id() || is_linked(leader))
}

async fn join(hall: &Arc<Hall>) -> bool {
    let op = hall.newcomer().into_op();
    match hall.propose(Command { once: Once::Free, op }, hall.config().lease).await {
        Ok((_, Verdict::Joined)) => true,
        Ok((_, verdict)) => {
            tracing::error!(?verdict, "the cluster does not let this node take part; trying again");
            false
        }
        Err(_) => false,
    }
}

async fn ask_to_be_let_in(hall: &Arc<Hall>) -> bool {
    let ask = Ask::Admit(hall.newcomer());
    for peer in hall.mesh().peers().into_iter().filter(|peer| peer.control_up) {
        match hall.ask(peer.id, &ask, hall.config().lease).await {
            Ok(Told::Admitted { at, nodes, voters }) => {
                hall.group().follow(&voters);
                // Only what is newer than this node's own state, or it would go back to an address that
                // another has left; and nothing is applied between the look and the learning.
                hall.group().read(|_, applied| {
                    let others =
                        nodes.iter().filter(|(node, _)| *node != hall.id() && applied < at);
                    for (node, address) in others {
                        hall.mesh().learn(*node, address);
                    }
                    if applied < at {
                        hall.mesh().keep(&voters);
                    }
                });
                return true;
            }
            Ok(Told::Decided(_, verdict)) => {
                tracing::error!(
                    ?verdict,
                    "the cluster does not let this node take part; trying again"
                );
            }
            _ => {}
        }
    }
    false
}

async fn open(hall: &Arc<Hall>) -> SessionId {
    let owner = SessionOwner::Node { node: hall.id(), boot: hall.identity().boot() };
    let ttl_ms = u64::try_from(hall.config().lease.as_millis()).unwrap_or(u64::MAX);
    loop {
        let command = Command { once: Once::Free, op: Op::Open { owner, ttl_ms } };
        match hall.propose(command, hall.config().lease).await {
            Ok((_, Verdict::Opened { session })) => {
                if take_seat(hall, session).await {
                    return session;
                }
            }
            // Somebody took it out, who thought that it was gone for good, just when it had come back.
            Ok((_, Verdict::Refused(Refusal::NoNode))) => take_part(hall).await,
            Ok((_, verdict)) => {
                tracing::error!(?verdict, "this node gets no session; trying again");
            }
            Err(_) => {}
        }
        quorate_env::sleep(LOOK_AGAIN).await;
    }
}

/// Renews a session for the first time, and holds it from then on; false if it has ended meanwhile.
///
/// The opening itself promises nothing: its answer may be to a copy that came after the session had begun,
/// and whoever grants counts from the beginning.
async fn take_seat(hall: &Arc<Hall>, session: SessionId) -> bool {
    let renewal = Renewal { session, node: Some(hall.id()) };
    loop {
        let sent = quorate_env::now();
        match hall.renew(renewal, hall.config().lease).await {
            Ok(Renewed::For(_)) => {
                if is_guarded(hall, Some(sent + hall.config().lease), hall.config().renew_every())
                    .await
                {
                    hall.tenancy().sit(session, sent);
                    return true;
                }
                quorate_env::sleep(LOOK_AGAIN).await;
            }
            Ok(Renewed::Ended) => return false,
            Err(_) => quorate_env::sleep(LOOK_AGAIN).await,
        }
    }
}

/// Renews until the session is lost, and says why it was.
async fn stay(hall: &Arc<Hall>, session: SessionId) -> &'static str {
    let every = hall.config().renew_every();
    loop {
        let Some(deadline) = hall.tenancy().deadline() else {
            return "its lease ran out";
        };
        let left = deadline.since(quorate_env::now());
        quorate_env::sleep(every.min(left)).await;
        // Who can make nothing durable must not keep others waiting for it by a lease.
        if hall.group().disk().is_stuck() {
            if hall.tenancy().step(|_| holder::Input::Tick).is_none() {
                return "its disk takes nothing, and its lease ran out";
            }
            continue;
        }
        // Who would not be ended in time asks for no more time.
        let left = deadline.since(quorate_env::now());
        if !is_guarded(hall, hall.tenancy().end_of(session), every.min(left)).await {
            if hall.tenancy().step(|_| holder::Input::Tick).is_none() {
                return "nobody guards it, and its lease ran out";
            }
            continue;
        }
        let sent = quorate_env::now();
        let send = |seat: &mut Seat| {
            seat.renew += 1;
            holder::Input::Sent { seq: seat.renew }
        };
        let Some(seq) = hall.tenancy().step(send) else {
            return "its lease ran out";
        };
        let left = deadline.since(quorate_env::now());
        match hall.renew(Renewal { session, node: Some(hall.id()) }, left).await {
            Ok(Renewed::For(_)) => {
                let left = every.min(deadline.since(quorate_env::now()));
                if !is_guarded(hall, Some(sent + hall.config().lease), left).await {
                    continue;
                }
                #[cfg(feature = "mutants")]
                let seq = counted_anew(hall, seq);
                if hall.tenancy().step(|_| holder::Input::Confirmed { seq }).is_none() {
                    return "its lease ran out before the leader's answer came";
                }
            }
            Ok(Renewed::Ended) => return "the cluster had ended it",
            Err(_) => {}
        }
    }
}

/// Whether somebody will end this process at a time if it does not move that before; always where nobody is
/// asked to.
async fn is_guarded(hall: &Hall, until: Option<Time>, within: Duration) -> bool {
    let Some(sentinel) = hall.sentinel() else { return true };
    quorate_env::timeout(within, sentinel.guard(until)).await.unwrap_or(false)
}

/// A deliberate bug: as if the renewal had been sent when its answer came.
#[cfg(feature = "mutants")]
fn counted_anew(hall: &Hall, seq: u64) -> u64 {
    if !crate::bugs::has(hall.config(), crate::Bug::CountsFromReceipt) {
        return seq;
    }
    let send = |seat: &mut Seat| {
        seat.renew += 1;
        holder::Input::Sent { seq: seat.renew }
    };
    hall.tenancy().step(send).unwrap_or(seq)
}

/// Ends what runs under the present session, at a planned stop. The session itself stays, for what is still
/// to be said under it.
pub(crate) async fn rest(hall: &Arc<Hall>) {
    hall.troupe().fence(hall.actors());
    let none_runs = hall.troupe().until_none_runs(None);
    if quorate_env::timeout(hall.config().patience(), none_runs).await.is_err() {
        hall.troupe().clear(hall.actors(), None);
        hall.troupe().until_none_runs(None).await;
    }
}

/// Ends the session at a planned stop, so that nobody has to wait for its expiry.
pub(crate) async fn leave(hall: &Arc<Hall>, session: SessionId) {
    hall.tenancy().rise();
    let op = Op::End { session, evidence: Evidence::Stopped };
    let within = hall.config().renew_every();
    // Without a quorum it expires instead.
    let _ = hall.propose(Command { once: Once::Free, op }, within).await;
}
