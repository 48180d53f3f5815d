//! What waits to be written to one link, and in which order it goes.
//!
//! Each lane has a queue, and in it each flow has a queue of its own. Lanes get shares of what is written,
//! the more urgent the larger, and none gets nothing; within a lane the flows take turns. A body that is
//! longer than a fragment goes in parts, one a turn. So a long body holds up nothing but its own flow, whose
//! order is kept: a flow stays in the lane that it is in until all of it was written, whatever lane is asked
//! for.
//!
//! Bounded in bytes, and never a reason to wait for whoever sends. What the peer granted no credit for stays
//! here, and what stays here goes to nobody else's cost.
//!
//! The outbox of a data road outlives its links: what is pushed before the road is open, or while both sides
//! agree to close it, waits for the next link. Only a link that breaks takes with it what waits.

use std::collections::{BTreeMap, VecDeque};
use std::pin::pin;
use std::sync::{Mutex, MutexGuard};

use bytes::Bytes;
use quorate_env::now;
use quorate_vocab::{ClusterId, Lane, Time};
use tokio::sync::Notify;

use crate::bucket::{Meter, Rate};
use crate::calls::Calls;
use crate::hlc::Stamp;
use crate::parcel::{Batch, Opening, Parcel, Waiting};
use crate::wire::{FRAGMENT_BYTES_MAX, Frame, Sample, Terms, What};
use crate::{Limits, SendError};

/// What may be under way in each lane before the peer has said what it takes.
pub(crate) const FIRST_WINDOW_BYTES: u32 = FRAGMENT_BYTES_MAX as u32;

/// How many bytes each lane may write in a round in which all want to: the last still gets one in twenty.
const SHARES: [i64; 3] = [1024 * 1024, 256 * 1024, 64 * 1024];

/// What a flow with something to send counts besides its frames, so that many short ones are bounded as well.
const FLOW_BYTES: usize = 256;

/// What a body weighs at least: the head of its frame.
const FRAME_HEAD_BYTES: usize = 13;

/// How many flows that have nothing to send keep their place, so that a flow of single messages costs no
/// memory management.
const RESTING_FLOWS_MAX: usize = 256;

#[derive(Debug)]
pub(crate) struct Outbox {
    state: Mutex<State>,
    /// Woken when the writer has something to do.
    ready: Notify,
    /// Woken when the writer has made room.
    room: Notify,
    bytes_max: usize,
}

#[derive(Debug, Default)]
struct State {
    phase: Phase,
    own: Own,
    lanes: [Queue; 3],
    /// What waits, in bytes.
    bytes: usize,
    /// How much of it are long bodies.
    long_bytes: usize,
    /// What the peer takes; unknown before it has said so.
    terms: Option<Terms>,
    last_stream: u64,
    /// How long the bodies are together that were opened and are not wholly written.
    open_bytes: u64,
    /// What was written to the present link, as the peer counts it against its credit.
    sent: u64,
    /// The writer has found nothing, and has to be told of what comes.
    writer_waits: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Open,
    /// What comes waits: both sides are about to agree that the link ends.
    Fenced,
    Closed,
}

/// Frames of the link itself. They go before all else, through a full queue; of each kind only the newest
/// counts, so they are bounded, too.
#[derive(Debug, Default)]
pub(crate) struct Own {
    pub(crate) terms: Option<Terms>,
    pub(crate) adopted: Option<ClusterId>,
    pub(crate) ping: bool,
    pub(crate) beat: bool,
    /// The clocks of who pinged, and ours when that came.
    pub(crate) pong: Option<(Sample, Sample)>,
    pub(crate) parting: Option<Parting>,
    credits: [u32; 3],
}

/// What is said of the end of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parting {
    Leave { heard: u64 },
    Bye,
    Stay,
}

#[derive(Debug, Default)]
struct Queue {
    flows: BTreeMap<u64, Waiting>,
    /// Flows with something to send, in the order of their turns.
    turns: VecDeque<u64>,
    /// How many more bytes the peer takes. Below zero by at most a turn.
    credit: i64,
    /// What is left of its share of the round.
    share: i64,
    /// How fast it may be, if that is limited.
    meter: Option<Meter>,
    /// It has been too fast, and waits until then.
    held: Option<Time>,
}

impl Outbox {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            state: Mutex::default(),
            ready: Notify::new(),
            room: Notify::new(),
            bytes_max: limits.queue_bytes_max,
        }
    }

    /// Takes a body if there is room. It is copied.
    #[inline]
    pub(crate) fn push(
        &self,
        lane: Lane,
        flow: u64,
        what: What,
        body: &[u8],
    ) -> Result<(), SendError> {
        debug_assert!(body.len() <= FRAGMENT_BYTES_MAX);
        self.put(lane, flow, body.len(), 1, |waiting, lane| {
            waiting.append(Frame::Whole { lane, what, body }, matches!(what, What::Call(_)))
        })
    }

    /// Takes a body of any length if there is room. A long one is not copied.
    pub(crate) fn push_bytes(
        &self,
        lane: Lane,
        flow: u64,
        what: What,
        body: Bytes,
    ) -> Result<(), SendError> {
        if body.len() <= FRAGMENT_BYTES_MAX {
            return self.push(lane, flow, what, &body);
        }
        self.put(lane, flow, body.len(), 1, |waiting, _| waiting.append_long(what, [body]))
    }

    /// Takes a long mail, if there is room: then `body` is empty.
    pub(crate) fn push_long(
        &self,
        lane: Lane,
        flow: u64,
        body: &mut Vec<u8>,
    ) -> Result<(), SendError> {
        self.put(lane, flow, body.len(), 1, |waiting, _| {
            waiting.append_long(What::Mail, [std::mem::take(body).into()])
        })
    }

    /// Takes a mail that lies in pieces, if there is room. Long ones are not copied.
    pub(crate) fn push_pieces(
        &self,
        lane: Lane,
        flow: u64,
        pieces: Vec<Bytes>,
    ) -> Result<(), SendError> {
        let bytes = pieces.iter().map(Bytes::len).sum();
        if bytes <= FRAGMENT_BYTES_MAX {
            return self.push(lane, flow, What::Mail, &pieces.concat());
        }
        self.put(lane, flow, bytes, 1, |waiting, _| waiting.append_long(What::Mail, pieces))
    }

    /// Takes an answer, or that there is none, when there is room. False: the road is closed.
    pub(crate) async fn push_answer(
        &self,
        lane: Lane,
        call: u64,
        mut answer: Option<Bytes>,
    ) -> bool {
        loop {
            let mut room = pin!(self.room.notified());
            // Before the try, so that room which is made right after it is not missed.
            room.as_mut().enable();
            let bytes = answer.as_ref().map_or(0, Bytes::len);
            let put =
                self.put(lane, flow_of(call), bytes, 2, |waiting, lane| match answer.clone() {
                    None => waiting.append(Frame::Lost { lane, call, unbegun: false }, false),
                    Some(body) if body.len() <= FRAGMENT_BYTES_MAX => {
                        let what = What::Answer(call);
                        waiting.append(Frame::Whole { lane, what, body: &body }, false)
                    }
                    Some(body) => waiting.append_long(What::Answer(call), [body]),
                });
            match put {
                Ok(()) => return true,
                Err(SendError::NoLink) => return false,
                // No room will ever do, so the caller is told at once that nothing comes.
                Err(SendError::TooLong { .. }) => answer = None,
                Err(_) => room.await,
            }
        }
    }

    /// Says that a call was not begun, if there is room; else its caller has to wait its time out.
    pub(crate) fn push_unbegun(&self, lane: Lane, call: u64) {
        let lost = |waiting: &mut Waiting, lane| {
            waiting.append(Frame::Lost { lane, call, unbegun: true }, false)
        };
        let _ = self.put(lane, flow_of(call), 0, 2, lost);
    }

    /// Waits until less than half of the bound waits, or the road is closed.
    pub(crate) async fn room(&self) {
        loop {
            let mut room = pin!(self.room.notified());
            // Before the look, so that room which is made right after it is not missed.
            room.as_mut().enable();
            if self.has_room() {
                return;
            }
            room.await;
        }
    }

    /// Whether less than half of the bound waits, or the road is closed.
    pub(crate) fn has_room(&self) -> bool {
        let state = self.lock();
        let short_bytes = state.bytes - state.long_bytes;
        state.phase == Phase::Closed || short_bytes * 2 < self.bytes_max
    }

    /// Says something of the link itself, before all else that waits.
    pub(crate) fn say(&self, say: impl FnOnce(&mut Own)) {
        say(&mut self.lock().own);
        self.ready.notify_one();
    }

    /// The peer may send so much more in a lane.
    pub(crate) fn grant(&self, lane: Lane, bytes: u32) {
        self.say(|own| {
            let credit = &mut own.credits[lane.index()];
            *credit = credit.saturating_add(bytes);
        });
    }

    /// The peer takes so much more in a lane. False: more than it can ever mean.
    pub(crate) fn granted(&self, lane: Lane, bytes: u32) -> bool {
        let mut state = self.lock();
        let queue = &mut state.lanes[lane.index()];
        queue.credit += i64::from(bytes);
        let is_sane = queue.credit <= i64::from(u32::MAX);
        drop(state);
        self.ready.notify_one();
        is_sane
    }

    /// The peer says what it takes. False: it has said so before.
    pub(crate) fn agree(&self, terms: Terms) -> bool {
        let mut state = self.lock();
        let is_first = state.terms.replace(terms).is_none();
        for (queue, window) in state.lanes.iter_mut().zip(terms.windows) {
            queue.credit += i64::from(window) - i64::from(FIRST_WINDOW_BYTES);
        }
        drop(state);
        self.ready.notify_one();
        is_first
    }

    /// Begins to serve a new link.
    pub(crate) fn attach(&self, terms: Terms) {
        let mut state = self.lock();
        // How far away the peer is decides how much may be under way.
        state.own = Own { terms: Some(terms), ping: true, ..Own::default() };
        state.terms = None;
        state.sent = 0;
        for queue in &mut state.lanes {
            queue.credit = i64::from(FIRST_WINDOW_BYTES);
        }
        if state.phase == Phase::Fenced {
            state.phase = Phase::Open;
        }
        state.writer_waits = false;
    }

    /// Holds back what comes. False: something waits already, so the link is needed; or the peer has not
    /// `heard` yet all that was written.
    pub(crate) fn fence(&self, heard: Option<u64>) -> bool {
        let mut state = self.lock();
        let is_heard = heard.is_none_or(|heard| heard == state.sent);
        let can = state.phase == Phase::Open && state.bytes == 0 && is_heard;
        if can {
            state.phase = Phase::Fenced;
        }
        can
    }

    /// Goes on after all.
    pub(crate) fn unfence(&self) {
        let mut state = self.lock();
        if state.phase == Phase::Fenced {
            state.phase = Phase::Open;
        }
        drop(state);
        self.ready.notify_one();
    }

    /// How many bytes wait to be written.
    pub(crate) fn waiting(&self) -> usize {
        self.lock().bytes
    }

    /// Closes it, if nothing waits.
    pub(crate) fn close_if_empty(&self) -> bool {
        let mut state = self.lock();
        let is_empty = state.bytes == 0;
        if is_empty {
            state.phase = Phase::Closed;
        }
        is_empty
    }

    /// Gives back the memory of flows that have nothing to send.
    pub(crate) fn rest(&self) {
        for queue in &mut self.lock().lanes {
            queue.flows.retain(|_, waiting| !waiting.parcels.is_empty());
        }
    }

    /// Waits until there is something to do.
    pub(crate) async fn ready(&self) {
        self.ready.notified().await;
    }

    /// Fills a batch of about `bytes_max` bytes with what goes next; calls that nobody waits for are dropped
    /// here. When the batch stays empty the writer is told of what comes.
    ///
    /// What goes in it is stamped with the time of its going. Gives when a lane that was too fast may go on.
    pub(crate) fn take(
        &self,
        bytes_max: usize,
        calls: &Calls,
        stamp: impl FnOnce() -> Stamp,
        batch: &mut Batch,
    ) -> Option<Time> {
        let mut state = self.lock();
        let before = state.bytes;
        state.take_own(batch);
        let held = state.release();
        if state.phase == Phase::Open && state.lanes.iter().any(Queue::may_go) {
            let bare = batch.mark();
            batch.add(Frame::Stamp(stamp().0));
            let stamped = batch.mark();
            while batch.bytes < bytes_max && state.take_turn(bytes_max, calls, batch) {}
            if batch.mark() == stamped {
                batch.rewind(bare);
            }
        }
        state.writer_waits = batch.bytes == 0;
        let has_room = state.bytes < before;
        drop(state);
        if has_room {
            self.room.notify_waiters();
        }
        held
    }

    /// From now on lanes may be so fast.
    pub(crate) fn limit(&self, rates: [Option<Rate>; 3]) {
        let mut state = self.lock();
        for (queue, rate) in state.lanes.iter_mut().zip(rates) {
            queue.meter = rate.map(|rate| Meter::new(rate, now()));
            queue.held = None;
        }
        drop(state);
        self.ready.notify_one();
    }

    /// Takes nothing any more, and forgets what waits; says how many bodies that were.
    pub(crate) fn close(&self) -> usize {
        let mut state = self.lock();
        let lanes = std::mem::take(&mut state.lanes);
        *state = State { phase: Phase::Closed, ..State::default() };
        drop(state);
        self.ready.notify_one();
        self.room.notify_waiters();
        let waiting = lanes.iter().flat_map(|queue| queue.flows.values());
        let parcels = waiting.flat_map(|waiting| &waiting.parcels);
        parcels
            .map(|parcel| if let Parcel::Short { count, .. } = parcel { *count } else { 1 })
            .sum()
    }

    /// `share`: how many times the bound this may use.
    #[inline]
    fn put(
        &self,
        lane: Lane,
        flow: u64,
        bytes: usize,
        share: usize,
        append: impl FnOnce(&mut Waiting, Lane) -> usize,
    ) -> Result<(), SendError> {
        let mut state = self.lock();
        if state.phase == Phase::Closed {
            return Err(SendError::NoLink);
        }
        if let Some(terms) = state.terms
            && bytes as u64 > terms.body_bytes_max
        {
            let bytes_max = usize::try_from(terms.body_bytes_max).unwrap_or(usize::MAX);
            return Err(SendError::TooLong { bytes, bytes_max });
        }
        let (home, held) = state.home_of(flow).unwrap_or((lane, 0));
        if !state.has_room(held, bytes, self.bytes_max * share) {
            return Err(SendError::Full);
        }
        let queue = &mut state.lanes[home.index()];
        let waiting = queue.flows.entry(flow).or_default();
        let mut grown = 0;
        if waiting.parcels.is_empty() {
            queue.turns.push_back(flow);
            grown += FLOW_BYTES;
        }
        let added = append(waiting, home);
        waiting.bytes += added;
        let long = if bytes > FRAGMENT_BYTES_MAX { added } else { 0 };
        waiting.long_bytes += long;
        state.long_bytes += long;
        state.bytes += grown + added;
        let wake = std::mem::take(&mut state.writer_waits);
        drop(state);
        if wake {
            self.ready.notify_one();
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds the outbox")
    }
}

/// The flow of the answer to a call. Callers number their flows as they like, and calls are numbered from
/// one, so that the two would meet; an answer would wait behind what it has nothing to do with.
fn flow_of(call: u64) -> u64 {
    !call
}

impl State {
    /// The lane that a flow has to stay in: the one in which something of it waits; and how much of that is
    /// short.
    #[inline]
    fn home_of(&self, flow: u64) -> Option<(Lane, usize)> {
        Lane::ALL.into_iter().find_map(|lane| {
            let queue = &self.lanes[lane.index()];
            // Most lanes are empty at most times, and a flow that rests has its turn no more.
            let waiting = (!queue.turns.is_empty()).then(|| queue.flows.get(&flow)).flatten()?;
            (!waiting.parcels.is_empty()).then(|| (lane, waiting.short()))
        })
    }

    /// Whether a flow of which so much waits in short frames may wait with so much more.
    ///
    /// Long bodies have a bound of their own, so that one of them takes no room from what is short; one may
    /// be longer than the bound, where less than half of it waits. Of the short ones no flow may hold more
    /// than what is left free, so however much one sends, others find room.
    #[inline]
    fn has_room(&self, held: usize, bytes: usize, bytes_max: usize) -> bool {
        if bytes > FRAGMENT_BYTES_MAX {
            return self.long_bytes * 2 < bytes_max || self.long_bytes + bytes <= bytes_max;
        }
        let short_bytes = self.bytes - self.long_bytes;
        let place = if held == 0 { FLOW_BYTES } else { 0 };
        let cost = place + FRAME_HEAD_BYTES + bytes;
        short_bytes == 0 || held + cost <= bytes_max.saturating_sub(short_bytes)
    }

    /// Takes one turn of one flow; false when nothing may go now.
    fn take_turn(&mut self, bytes_max: usize, calls: &Calls, batch: &mut Batch) -> bool {
        for _ in 0..2 {
            for lane in Lane::ALL {
                let queue = &self.lanes[lane.index()];
                if queue.may_go() && queue.share > 0 && self.serve(lane, bytes_max, calls, batch) {
                    return true;
                }
            }
            // Those that wait have had their share, so a new round begins.
            for (queue, share) in self.lanes.iter_mut().zip(SHARES) {
                queue.share = share;
            }
        }
        false
    }

    /// Takes a turn in a lane; false when each of its flows has to wait.
    fn serve(&mut self, lane: Lane, bytes_max: usize, calls: &Calls, batch: &mut Batch) -> bool {
        // Only limited lanes ask for the time.
        let now = if self.lanes[lane.index()].meter.is_some() { now() } else { Time::default() };
        let Self { lanes, terms, last_stream, open_bytes, bytes, long_bytes, sent, .. } = self;
        let queue = &mut lanes[lane.index()];
        let (before, cost_before) = (batch.bytes, batch.cost);
        let mut stuck = 0;
        while stuck < queue.turns.len() {
            let Some(flow) = queue.turns.pop_front() else { break };
            let Some(waiting) = queue.flows.get_mut(&flow) else { continue };
            let freed = match waiting.parcels.front_mut() {
                Some(Parcel::Long(long)) => {
                    let mut opening = Opening { terms: *terms, last_stream, open_bytes };
                    let part_max = bytes_max.clamp(FRAGMENT_BYTES_MAX / 4, FRAGMENT_BYTES_MAX);
                    let step = long.step(lane, part_max, calls, &mut opening, batch);
                    if step.is_over {
                        waiting.parcels.pop_front();
                    }
                    *long_bytes -= step.freed;
                    waiting.long_bytes -= step.freed;
                    step.freed
                }
                _ => waiting.take_short(calls, batch),
            };
            *bytes -= freed;
            waiting.bytes -= freed;
            // Where calls that were given up are dropped, what is behind them has its turn.
            stuck = if freed > 0 { 0 } else { stuck + 1 };
            if waiting.parcels.is_empty() {
                *bytes -= FLOW_BYTES;
                if queue.flows.len() > RESTING_FLOWS_MAX {
                    queue.flows.remove(&flow);
                }
            } else {
                queue.turns.push_back(flow);
            }
            if batch.bytes > before {
                *sent += (batch.cost - cost_before) as u64;
                batch.lanes[lane.index()] += (batch.cost - cost_before) as u64;
                let cost = (batch.cost - cost_before) as i64;
                queue.credit -= cost;
                queue.share -= cost.max(1);
                if let Some(meter) = &mut queue.meter {
                    meter.charge(cost.unsigned_abs());
                    queue.held = meter.ready(now).err().map(|wait| now + wait);
                }
                return true;
            }
        }
        false
    }

    /// Lets go on what has waited long enough for having been too fast; when the next may.
    fn release(&mut self) -> Option<Time> {
        if self.lanes.iter().all(|queue| queue.meter.is_none()) {
            return None;
        }
        let now = now();
        for queue in &mut self.lanes {
            let wait = queue.meter.as_mut().map(|meter| meter.ready(now));
            queue.held = wait.and_then(Result::err).map(|wait| now + wait);
        }
        let waiting = self.lanes.iter().filter(|queue| !queue.turns.is_empty());
        waiting.filter_map(|queue| queue.held).min()
    }

    /// Frames of the link itself.
    fn take_own(&mut self, batch: &mut Batch) {
        let Own { terms, adopted, ping, beat, pong, parting, credits } =
            std::mem::take(&mut self.own);
        if let Some(terms) = terms {
            batch.add(Frame::Terms(terms));
        }
        if let Some(cluster) = adopted {
            batch.add(Frame::Adopted(cluster));
        }
        for (lane, bytes) in Lane::ALL.into_iter().zip(credits) {
            if bytes > 0 {
                batch.add(Frame::Credit { lane, bytes });
                batch.grants = true;
            }
        }
        if let Some((asked, came)) = pong {
            batch.add(Frame::Pong { asked, came, sent: Sample::now() });
        }
        if ping {
            batch.add(Frame::Ping { at: Sample::now() });
        }
        // Whatever else goes is life as well.
        if beat && batch.bytes == 0 {
            batch.add(Frame::Beat);
        }
        match parting {
            Some(Parting::Leave { heard }) => batch.add(Frame::Leave { heard }),
            Some(Parting::Bye) => batch.add(Frame::Bye),
            Some(Parting::Stay) => batch.add(Frame::Stay),
            None => {}
        }
    }
}

impl Queue {
    #[inline]
    fn may_go(&self) -> bool {
        self.credit > 0 && self.held.is_none() && !self.turns.is_empty()
    }
}

#[cfg(test)]
mod tests;
