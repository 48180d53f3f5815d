//! A link: one open, proven connection, and the tasks that read and write it.
//!
//! One task reads and another writes, so that a flood one way does not starve the other way; the first that
//! ends takes the other with it. What a link holds is given back when its [`Seat`] is dropped, so neither a
//! panic nor a crash of the node leaves a link that looks up.
//!
//! A data link that nobody needs ends in two phases. Who opened it holds back what it would send and asks to
//! leave; the other side, if it does not need the link either, holds back as well and agrees. So nothing is
//! under way when it ends, and what was held back goes over the next link.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use quorate_env::{BoxFuture, Stream, Wall, now, spawn, timeout, wall};
use quorate_vocab::{Boot, ClusterId, Lane, NodeId, Time};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::OwnedSemaphorePermit;

use crate::bucket::{Meter, Rate};
use crate::calls::Calls;
use crate::counters::LinkTally;
use crate::hello::Hello;
use crate::hlc::Stamp;
use crate::latch::Latch;
use crate::mesh::{Running, Shared};
use crate::outbox::{Outbox, Parting};
use crate::pulse::{Pulse, Verdict};
use crate::reader::{Body, Came, Reader, Room};
use crate::table::{self, Place};
use crate::wire::{Frame, Sample, Terms, What};
use crate::{CallError, Limits, Reason, Road, hello, span, writer};

/// What others hold of a link.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) node: NodeId,
    pub(crate) boot: Boot,
    pub(crate) road: Road,
    /// Which strand of the road.
    pub(crate) strand: usize,
    /// Which of the two sides opened the connection.
    pub(crate) dialled_by: NodeId,
    /// The cluster that this node named in the handshake.
    pub(crate) said: Option<ClusterId>,
    pub(crate) calls: Calls,
    pub(crate) tally: LinkTally,
    /// What both sides can, as bits.
    pub(crate) features: u64,
    /// What this side takes in.
    terms: Terms,
    outbox: OnceLock<Arc<Outbox>>,
    /// How fast the peer may be in each lane.
    police: Mutex<[Option<Meter>; 3]>,
    /// Whether the peer may send mail at all.
    admits: AtomicBool,
    /// Calls of the peer that are worked on.
    under_way: AtomicU32,
    /// When a body last went either way.
    used: AtomicU64,
    /// Its place is wanted for another.
    asked_to_leave: AtomicBool,
    /// This side has agreed to its end, and holds back what it would send.
    agreed: AtomicBool,
    closing: Latch<Reason>,
    ended: Latch<()>,
}

impl Link {
    pub(crate) fn new(
        peer: &Hello,
        road: Road,
        dialled_by: NodeId,
        said: Option<ClusterId>,
        limits: &Limits,
    ) -> Self {
        Self {
            node: peer.node,
            boot: peer.boot,
            road,
            strand: peer.strand.into(),
            dialled_by,
            said,
            calls: Calls::new(limits.calls_waiting_max),
            tally: LinkTally::new(now()),
            features: peer.features & hello::FEATURES,
            terms: limits.terms(),
            outbox: OnceLock::new(),
            police: Mutex::default(),
            admits: AtomicBool::new(true),
            under_way: AtomicU32::new(0),
            used: AtomicU64::new(now().0),
            asked_to_leave: AtomicBool::new(false),
            agreed: AtomicBool::new(false),
            closing: Latch::new(),
            ended: Latch::new(),
        }
    }

    /// Which place it has among those of its node.
    pub(crate) fn place(&self) -> usize {
        table::place(self.road, self.strand)
    }

    /// What is to be sent over it, from now on.
    pub(crate) fn attach(&self, outbox: Arc<Outbox>) {
        outbox.attach(self.terms);
        assert!(self.outbox.set(outbox).is_ok(), "a link is raised once");
    }

    /// From now on the peer may be so fast, and may send mail or not.
    pub(crate) fn police(&self, rates: [Option<Rate>; 3], admits: bool) {
        let now = now();
        self.admits.store(admits, Ordering::Relaxed);
        *self.meters() = rates.map(|rate| rate.map(|rate| Meter::new(rate, now)));
    }

    fn meters(&self) -> MutexGuard<'_, [Option<Meter>; 3]> {
        self.police.lock().expect("nothing panics while it measures")
    }

    /// What waits to be sent over it, once it is raised.
    pub(crate) fn outbox(&self) -> Option<&Arc<Outbox>> {
        self.outbox.get()
    }

    /// Asks it to end. The first reason counts, and is given back.
    pub(crate) fn close(&self, reason: Reason) -> Reason {
        let agreed = self.agreed.load(Ordering::Relaxed);
        // The other side is about to end it, and may be back before that has come through. However it ends,
        // nothing was under way.
        let is_end = matches!(
            reason,
            Reason::Replaced | Reason::Gone | Reason::Silent | Reason::WriteStalled
        );
        let reason = if agreed && is_end { Reason::Unneeded } else { reason };
        self.closing.set(reason);
        self.closing.value().unwrap_or(reason)
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.value().is_some()
    }

    pub(crate) async fn closing(&self) -> Reason {
        self.closing.wait().await
    }

    /// Waits until it has ended: nothing of it reaches the inside after that.
    pub(crate) async fn ended(&self) {
        self.ended.wait().await;
    }

    /// When a body last went either way.
    pub(crate) fn used(&self) -> Time {
        Time(self.used.load(Ordering::Relaxed))
    }

    pub(crate) fn use_now(&self) {
        self.used.store(now().0, Ordering::Relaxed);
    }

    /// Its place is wanted for another: it is not to wait until it has been idle for long.
    pub(crate) fn hurry(&self) {
        self.asked_to_leave.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_asked_to_leave(&self) -> bool {
        self.asked_to_leave.load(Ordering::Relaxed)
    }

    /// Whether nobody waits for an answer over it, on either side.
    fn is_quiet(&self) -> bool {
        self.calls.is_empty() && self.under_way.load(Ordering::Relaxed) == 0
    }

    /// Asks the other side to let it end, if this side does not need it.
    fn ask_to_leave(&self, heard: u64) -> bool {
        let Some(outbox) = self.outbox() else { return false };
        let may = self.is_quiet() && outbox.fence(None);
        if may {
            outbox.say(|own| own.parting = Some(Parting::Leave { heard }));
        }
        may
    }
}

/// A link's place in the table, which it gives back when this is dropped.
pub(crate) struct Seat {
    shared: Arc<Shared>,
    link: Arc<Link>,
    place: Place,
    raised: bool,
}

/// What the reader of a link keeps an eye on.
struct Watch {
    pulse: Pulse,
    /// What the inside was told of it.
    told: Verdict,
    leaving: Leaving,
    /// When to look again whether the link is needed.
    look: Time,
    /// When the peer may be granted more, if it was too fast.
    grant: Option<Time>,
}

impl Watch {
    fn new(limits: &Limits, now: Time) -> Self {
        Self {
            pulse: Pulse::new(limits.patience(), now),
            told: Verdict::Up,
            leaving: Leaving::No,
            look: now + look_every(limits),
            grant: None,
        }
    }

    /// How long to wait for bytes before something else is due.
    fn wait(&self, now: Time) -> Duration {
        let due = [self.pulse.deadline(), self.grant].into_iter().flatten();
        due.fold(self.look, Time::min).since(now)
    }
}

/// How often to look whether a link is needed.
fn look_every(limits: &Limits) -> Duration {
    (limits.idle_close / 4).min(Duration::from_secs(1))
}

/// How far the two sides are in ending a link that nobody needs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Leaving {
    No,
    /// This side has asked.
    Asked,
    /// This side has agreed, so nothing may come any more.
    Agreed,
}

impl Seat {
    /// Lets a link in.
    pub(crate) fn take(shared: &Arc<Shared>, link: Link, hello: &Hello) -> Result<Self, Reason> {
        let link = Arc::new(link);
        let place = shared.table().admit(&link, hello)?;
        Ok(Self { shared: shared.clone(), link, place, raised: false })
    }

    /// Begins to carry, as soon as those whose place this link took have ended, and the inside knows it.
    pub(crate) async fn raise(mut self, stream: Stream, rest: BytesMut) -> Result<(), Reason> {
        for before in std::mem::take(&mut self.place.before) {
            before.ended().await;
        }
        let raised = self.shared.table().raise(&self.link);
        let Some(event) = raised else {
            return Err(self.link.closing.value().unwrap_or(Reason::Replaced));
        };
        self.raised = true;
        self.shared.tally.opened();
        let running = Running::begin(&self.shared);
        spawn(async move {
            let shared = self.shared.clone();
            shared.announce();
            // What came over the link before this one must not be taken for what comes over this.
            shared.announced(event).await;
            self.run(stream, rest).await;
            shared.announce();
            drop(running);
        });
        Ok(())
    }

    async fn run(self, stream: Stream, rest: BytesMut) {
        let Stream { reader, writer, .. } = stream;
        let mut writing = spawn(writer::write(self.shared.clone(), self.link.clone(), writer));
        let mut has_ended = false;
        let reason = tokio::select! {
            biased;
            reason = self.link.closing.wait() => reason,
            reason = self.read(reader, rest) => reason,
            // The writer has given its reason to the link; without one it has panicked.
            _ = &mut writing => {
                has_ended = true;
                Reason::Inside
            }
        };
        self.link.close(reason);
        if !has_ended {
            // It ends with the link, and an error would say that it has ended already.
            let _ = writing.await;
        }
    }

    async fn read(&self, mut source: Box<dyn AsyncRead + Send + Unpin>, rest: BytesMut) -> Reason {
        let Self { shared, link, .. } = self;
        let limits = &shared.config.limits;
        let mut reader = Reader::new(link.terms, rest).widening_to(limits.window_max);
        let mut watch = Watch::new(limits, now());
        loop {
            let mut bodies = 0;
            let step = reader.step(|came| match came {
                Came::Body { .. } if watch.leaving == Leaving::Agreed => Err(Reason::Unexpected),
                Came::Body { lane, what, body } => {
                    bodies += 1;
                    self.receive(lane, what, body)
                }
                Came::Word(word) => self.hear(&word, &mut watch.leaving),
            });
            match step {
                Ok(frames) => link.tally.frames_in(frames),
                Err(reason) => return reason,
            }
            if bodies > 0 {
                link.use_now();
            }
            match self.fill(&mut source, &mut reader, &mut watch).await {
                Ok(()) => {}
                Err(reason) => return reason,
            }
        }
    }

    /// Reads once. Looks meanwhile whether the peer is heard, and now and then whether the link is needed.
    async fn fill(
        &self,
        source: &mut Box<dyn AsyncRead + Send + Unpin>,
        reader: &mut Reader,
        watch: &mut Watch,
    ) -> Result<(), Reason> {
        loop {
            watch.grant = self.grant(reader);
            let read = async {
                match reader.room() {
                    Room::Buffer(buffer) => source.read_buf(buffer).await,
                    Room::Part(mut part) => source.read_buf(&mut part).await,
                }
            };
            let read = timeout(watch.wait(now()), read).await;
            let at = now();
            if watch.look <= at || self.link.is_asked_to_leave() {
                self.consider_leaving(reader, &mut watch.leaving);
                reader.rest();
                watch.look = at + look_every(&self.shared.config.limits);
            }
            let bytes = match read {
                Ok(Ok(0) | Err(_)) => return Err(Reason::Gone),
                Ok(Ok(bytes)) => bytes,
                Err(_) => 0,
            };
            if bytes > 0 {
                reader.filled(bytes);
                self.link.tally.bytes_in(bytes);
                watch.pulse.heard(at, bytes);
            }
            let verdict = watch.pulse.verdict(at);
            if verdict != watch.told {
                watch.told = verdict;
                self.link.tally.suspect(verdict != Verdict::Up);
                contained(|| self.shared.inbound.pulse(self.link.node, verdict))?;
            }
            match verdict {
                Verdict::Silent => return Err(Reason::Silent),
                _ if bytes > 0 => return Ok(()),
                _ => {}
            }
        }
    }

    /// Grants again what was read, but for what came too fast; says when to look at that again.
    fn grant(&self, reader: &mut Reader) -> Option<Time> {
        let outbox = self.link.outbox()?;
        let mut meters = self.link.meters();
        let mut again = None;
        for (lane, meter) in Lane::ALL.into_iter().zip(&mut *meters) {
            if let Some(meter) = meter.as_mut().filter(|_| reader.owes(lane)) {
                let at = now();
                if let Err(wait) = meter.ready(at) {
                    again = Some(again.map_or(at + wait, |other: Time| other.min(at + wait)));
                    continue;
                }
            }
            if let Some(bytes) = reader.grant(lane) {
                if let Some(meter) = meter {
                    meter.charge(bytes.into());
                }
                let round_trip = self.link.tally.span(|span| span.shortest());
                let more = reader.widen(lane, bytes, now(), round_trip);
                outbox.grant(lane, bytes.saturating_add(more));
            }
        }
        again
    }

    /// Who opened a link that is not needed any more asks to end it.
    fn consider_leaving(&self, reader: &Reader, leaving: &mut Leaving) {
        let Self { shared, link, .. } = self;
        if *leaving == Leaving::No
            && link.dialled_by == shared.config.me.id
            && contained(|| shared.is_spare(link)).unwrap_or(false)
            && link.ask_to_leave(reader.heard())
        {
            *leaving = Leaving::Asked;
        }
    }

    fn receive(&self, lane: Lane, what: What, body: Body<'_>) -> Result<(), Reason> {
        let Self { shared, link, .. } = self;
        link.tally.lane_in(lane, body.len());
        match what {
            // It knows the rules as well, so it is one that does not keep to them.
            What::Mail if !link.admits.load(Ordering::Relaxed) => Err(Reason::Denied),
            What::Mail => contained(|| match body {
                Body::Short(body) => shared.inbound.mail(link.node, body),
                Body::Long(body) => shared.inbound.long_mail(link.node, body),
            }),
            What::Answer(call) => {
                link.calls.end(call, Ok(body.into_bytes()));
                Ok(())
            }
            What::Call(call) => {
                let Ok(permit) = self.place.permits.clone().try_acquire_owned() else {
                    if let Some(outbox) = link.outbox() {
                        outbox.push_unbegun(lane, call);
                    }
                    return Ok(());
                };
                let peer = self.place.face.peer();
                let answer = contained(|| shared.inbound.call(&peer, body.into_bytes()))?;
                link.under_way.fetch_add(1, Ordering::Relaxed);
                let bytes_max = shared.config.limits.body_bytes_max;
                // Whoever still works on a call must not keep the mesh from being dropped.
                spawn(answering(link.clone(), lane, call, answer, permit, bytes_max));
                Ok(())
            }
        }
    }

    /// A frame of the link itself, or about a call.
    fn hear(&self, word: &Frame<'_>, leaving: &mut Leaving) -> Result<(), Reason> {
        let Self { shared, link, .. } = self;
        let Some(outbox) = link.outbox() else { return Err(Reason::Closing) };
        match *word {
            Frame::Lost { call, unbegun, .. } => {
                let error = if unbegun { CallError::Busy } else { CallError::Unknown };
                link.calls.end(call, Err(error));
            }
            Frame::Credit { lane, bytes } => {
                return outbox.granted(lane, bytes).then_some(()).ok_or(Reason::OverCredit);
            }
            Frame::Terms(terms) => {
                return outbox.agree(terms).then_some(()).ok_or(Reason::Unexpected);
            }
            Frame::Ping { at } => {
                let came = Sample::now();
                outbox.say(|own| own.pong = Some((at, came)));
            }
            Frame::Pong { asked, came, sent } => {
                // A peer that answers what was never asked is only wrong about itself.
                let _ = link.tally.span(|span| {
                    span.sample(span::Sample {
                        asked: Time(asked.elapsed),
                        heard: Wall(came.wall),
                        answered: Wall(sent.wall),
                        returned: now(),
                    })
                });
            }
            // Only who opened a link asks, and once.
            Frame::Leave { heard } if link.dialled_by == link.node && *leaving == Leaving::No => {
                let may = !contained(|| shared.inbound.needs(link.node))?
                    && link.is_quiet()
                    && outbox.fence(Some(heard));
                let answer = if may { Parting::Bye } else { Parting::Stay };
                if may {
                    *leaving = Leaving::Agreed;
                    link.agreed.store(true, Ordering::Relaxed);
                }
                outbox.say(|own| own.parting = Some(answer));
            }
            Frame::Bye if *leaving == Leaving::Asked => return Err(Reason::Unneeded),
            Frame::Stay if *leaving == Leaving::Asked => {
                *leaving = Leaving::No;
                link.use_now();
                outbox.unfence();
            }
            Frame::Adopted(cluster) => shared.table().adopted(link, cluster)?,
            // It was heard, and that is all.
            Frame::Beat => {}
            // One that runs ahead too far is counted, and draws nobody with it.
            Frame::Stamp(stamp) => drop(shared.hlc.merge(Stamp(stamp), wall())),
            _ => return Err(Reason::Unexpected),
        }
        Ok(())
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let Self { shared, link, raised, .. } = self;
        // Without a reason the task was dropped: the runtime, or a simulated life, has ended.
        let reason = link.close(Reason::Closing);
        let left = shared.table().leave(link, reason);
        link.calls.close();
        if *raised {
            shared.tally.closed(reason.into(), &format!("{}/{}", link.node, link.road));
            shared.tally.add(link.road, &link.tally);
        }
        if let Some(outbox) = left {
            shared.tally.unsent(outbox.close());
        }
        link.ended.set(());
        if link.road == Road::Data {
            shared.reach_if_wanted(link.node, link.strand);
        }
    }
}

/// Works on a call to its end and sends the answer, or that there is none.
async fn answering(
    link: Arc<Link>,
    lane: Lane,
    call: u64,
    answer: BoxFuture<'static, Bytes>,
    permit: OwnedSemaphorePermit,
    bytes_max: usize,
) {
    let answer = match unless_it_panics(answer).await {
        Some(body) if body.len() <= bytes_max => Some(body),
        Some(body) => {
            tracing::error!(bytes = body.len(), bytes_max, "an answer is too long to be sent");
            None
        }
        None => {
            tracing::error!(from = %link.node, "what works on a call has panicked");
            None
        }
    };
    if let Some(outbox) = link.outbox() {
        outbox.push_answer(lane, call, answer).await;
    }
    link.under_way.fetch_sub(1, Ordering::Relaxed);
    drop(permit);
}

async fn unless_it_panics(mut future: BoxFuture<'static, Bytes>) -> Option<Bytes> {
    std::future::poll_fn(move |cx| {
        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
            Ok(poll) => poll.map(Some),
            Err(_) => Poll::Ready(None),
        }
    })
    .await
}

/// Runs a piece of the inside. If it panics, the link ends, and the peer and this node go on.
pub(crate) fn contained<T>(inside: impl FnOnce() -> T) -> Result<T, Reason> {
    catch_unwind(AssertUnwindSafe(inside)).map_err(|_| Reason::Inside)
}
