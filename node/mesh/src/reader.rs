//! The reader: a pure core that turns what arrives over a link into bodies and words of the link.
//!
//! It keeps to its own terms: it holds no more of a body than has arrived, no more bodies than it said, and
//! it refuses a peer that sends more than it was granted. What was read is granted again, in large steps; a
//! lane whose rate is limited is granted later, so that who sends too much waits there, and nobody else does.
//!
//! Not here: sockets, and what becomes of bodies.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use quorate_vocab::{Lane, Time};

use crate::Reason;
use crate::outbox::FIRST_WINDOW_BYTES;
use crate::spare::Spare;
use crate::window::Window;
use crate::wire::{self, FRAGMENT_BYTES_MAX, Frame, Terms, What, WireError};

/// How much is asked of the socket at once while much arrives.
const STEP_BYTES_MAX: usize = 256 * 1024;

/// How much is asked of it while little does.
const STEP_BYTES_MIN: usize = 8 * 1024;

/// By how much a peer may exceed its credit: it sends a turn while it has any, and a turn is a fragment or
/// short frames of about as many bytes.
const OVERDRAFT_BYTES: i64 = 3 * FRAGMENT_BYTES_MAX as i64;

/// One side's reading of one link.
#[derive(Debug)]
pub struct Reader {
    terms: Terms,
    buffer: BytesMut,
    /// Whether the last step filled what there was.
    much: bool,
    /// The body whose part is being read, and how much of the part is missing.
    part: Option<(u64, usize)>,
    open: BTreeMap<u64, Assembly>,
    open_bytes: u64,
    spare: Arc<Spare>,
    /// Whether a long body has begun since the last [rest](Reader::rest).
    is_warm: bool,
    last_stream: u64,
    lanes: [Account; 3],
    /// All that was charged to any lane.
    heard: u64,
}

/// What a lane may still send, and what of it can be granted again.
#[derive(Clone, Copy, Debug)]
struct Account {
    granted: i64,
    read: u32,
    window: Window,
}

/// A body that arrives in parts.
#[derive(Debug)]
struct Assembly {
    lane: Lane,
    what: What,
    bytes: usize,
    body: Vec<u8>,
}

impl Assembly {
    /// Makes room for so many bytes more, which are some of the body. Doubling: never for more than twice
    /// what has arrived and a fragment, and in the end for the body and nothing else.
    fn reserve(&mut self, bytes: usize) {
        let missing = self.bytes - self.body.len();
        let body = &mut self.body;
        if body.capacity() - body.len() < bytes {
            let more = body.len().max(FRAGMENT_BYTES_MAX).max(bytes);
            body.reserve_exact(more.min(missing));
        }
    }
}

/// What has arrived.
#[derive(Debug)]
pub enum Came<'a> {
    /// A body.
    Body {
        /// How urgent it was.
        lane: Lane,
        /// What it is.
        what: What,
        /// All of it.
        body: Body<'a>,
    },
    /// A frame of the link itself, or about a call.
    Word(Frame<'a>),
}

/// A body that has arrived.
#[derive(Debug)]
pub enum Body<'a> {
    /// It lies in the read buffer.
    Short(&'a [u8]),
    /// It came in parts.
    Long(Bytes),
}

impl Body<'_> {
    /// How many bytes it has.
    #[expect(clippy::len_without_is_empty, reason = "one may be empty, and nobody asks")]
    pub fn len(&self) -> usize {
        match self {
            Self::Short(bytes) => bytes.len(),
            Self::Long(bytes) => bytes.len(),
        }
    }

    /// Its bytes, to be kept.
    pub fn into_bytes(self) -> Bytes {
        match self {
            Self::Short(bytes) => Bytes::copy_from_slice(bytes),
            Self::Long(bytes) => bytes,
        }
    }
}

impl std::ops::Deref for Body<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Short(bytes) => bytes,
            Self::Long(bytes) => bytes,
        }
    }
}

impl Reader {
    /// Begins with what came after the handshake, under the terms that this side has said.
    pub fn new(terms: Terms, rest: BytesMut) -> Self {
        let account = |window: u32| {
            let granted = i64::from(window.max(FIRST_WINDOW_BYTES));
            Account { granted, read: 0, window: Window::new(window, window) }
        };
        Self {
            lanes: terms.windows.map(account),
            // One of the longest: while the inside reads it, the next may come.
            spare: Spare::new(usize::try_from(terms.body_bytes_max).unwrap_or(usize::MAX)),
            is_warm: false,
            terms,
            buffer: rest,
            much: false,
            part: None,
            open: BTreeMap::new(),
            open_bytes: 0,
            last_stream: 0,
            heard: 0,
        }
    }

    /// The same, with windows that may grow to so many bytes each.
    pub fn widening_to(mut self, most: u32) -> Self {
        for account in &mut self.lanes {
            account.window = Window::new(account.window.bytes(), most);
        }
        self
    }

    /// How much more may come in a lane; below zero by at most a turn.
    pub fn granted(&self, lane: Lane) -> i64 {
        self.lanes[lane.index()].granted
    }

    /// How much has come over this link, counted as credit is.
    pub fn heard(&self) -> u64 {
        self.heard
    }

    /// Reads all that has arrived. After an error the stream cannot be read any further.
    pub fn step(
        &mut self,
        mut tell: impl FnMut(Came<'_>) -> Result<(), Reason>,
    ) -> Result<usize, Reason> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let mut rest = &buffer[..];
        let mut frames = 0;
        while self.advance(&mut rest, &mut frames, &mut tell)? {}
        let used = buffer.len() - rest.len();
        buffer.advance(used);
        if buffer.is_empty() && !self.much && buffer.capacity() > STEP_BYTES_MIN {
            // A link over which little goes keeps little memory.
            buffer = BytesMut::new();
        }
        self.buffer = buffer;
        Ok(frames)
    }

    /// Where a reader may put what arrives: the body whose part is due, when nothing else is in the way.
    pub fn room(&mut self) -> Room<'_> {
        if let Some((stream, left)) = self.part
            && self.buffer.is_empty()
            && let Some(assembly) = self.open.get_mut(&stream)
        {
            assembly.reserve(1);
            return Room::Part(bytes::BufMut::limit(&mut assembly.body, left));
        }
        let step = if self.much { STEP_BYTES_MAX } else { STEP_BYTES_MIN };
        if self.buffer.capacity() - self.buffer.len() < step / 2 {
            self.buffer.reserve(step);
        }
        Room::Buffer(&mut self.buffer)
    }

    /// So many bytes were put where there was room.
    pub fn filled(&mut self, bytes: usize) {
        let step = if self.much { STEP_BYTES_MAX } else { STEP_BYTES_MIN };
        self.much = bytes >= step / 4;
        if let Some((stream, left)) = &mut self.part
            && self.buffer.is_empty()
        {
            *left -= bytes;
            let lane = self.open.get(stream).map_or(Lane::Normal, |assembly| assembly.lane);
            self.charge(lane, bytes);
        }
    }

    /// Whether something can be granted again in a lane.
    pub fn owes(&self, lane: Lane) -> bool {
        self.lanes[lane.index()].read > 0
    }

    /// What can be granted again in a lane, once it is worth a word.
    pub fn grant(&mut self, lane: Lane) -> Option<u32> {
        let account = &mut self.lanes[lane.index()];
        let is_due = account.read >= account.window.bytes() / 4;
        is_due.then(|| {
            let read = std::mem::take(&mut account.read);
            account.granted += i64::from(read);
            read
        })
    }

    /// What can be granted in a lane besides, after so much was granted [again](Reader::grant): it is more
    /// than nothing where the lane's window is too narrow for how far away the peer is.
    pub fn widen(
        &mut self,
        lane: Lane,
        granted: u32,
        now: Time,
        round_trip: Option<Duration>,
    ) -> u32 {
        let account = &mut self.lanes[lane.index()];
        let more = account.window.read(granted, now, round_trip);
        account.granted += i64::from(more);
        more
    }

    /// How much memory is held, in bytes.
    pub fn held(&self) -> usize {
        let open = self.open.values().map(|assembly| assembly.body.capacity());
        self.buffer.capacity() + open.sum::<usize>() + self.spare.bytes()
    }

    /// Gives back the memory that is kept for long bodies, if none has begun since this was last called.
    pub fn rest(&mut self) {
        if !std::mem::take(&mut self.is_warm) {
            self.spare.clear();
        }
    }

    /// Checks what must always hold.
    pub fn check(&self) {
        let open: u64 = self.open.values().map(|assembly| assembly.bytes as u64).sum();
        assert_eq!(open, self.open_bytes, "what is open is counted");
        assert!(open <= self.terms.open_bytes_max, "no more is open than was said");
    }

    /// One frame, or a piece of a part. False: more has to arrive.
    fn advance(
        &mut self,
        rest: &mut &[u8],
        frames: &mut usize,
        tell: &mut impl FnMut(Came<'_>) -> Result<(), Reason>,
    ) -> Result<bool, Reason> {
        if let Some((stream, left)) = self.part {
            let (piece, after) = rest.split_at(left.min(rest.len()));
            *rest = after;
            if !piece.is_empty() {
                self.extend(stream, piece);
            }
            if left > piece.len() {
                self.part = Some((stream, left - piece.len()));
                return Ok(false);
            }
            self.part = None;
            self.conclude(stream, tell)?;
            return Ok(true);
        }
        let Some(length) = wire::length(rest)? else { return Ok(false) };
        if rest.len() < length {
            // A part is taken as it comes; any other frame is waited for.
            let Some((stream, head, bytes)) = wire::part_head(rest, length) else {
                return Ok(false);
            };
            self.expect(stream, bytes)?;
            self.part = Some((stream, bytes));
            *rest = &rest[head..];
            *frames += 1;
            return Ok(true);
        }
        let (frame, after) = rest.split_at(length);
        *rest = after;
        *frames += 1;
        match wire::read(frame)? {
            Frame::Whole { lane, what, body } => {
                self.charge_whole(lane, length)?;
                tell(Came::Body { lane, what, body: Body::Short(body) })?;
            }
            Frame::Open { lane, stream, what, bytes } => self.open(lane, stream, what, bytes)?,
            Frame::Part { stream, body } => {
                self.expect(stream, body.len())?;
                self.extend(stream, body);
                self.conclude(stream, tell)?;
            }
            Frame::Abort { stream } => {
                let aborted = self.open.remove(&stream).ok_or(Reason::Malformed)?;
                self.open_bytes -= aborted.bytes as u64;
            }
            word => {
                if let Frame::Lost { lane, .. } = word {
                    self.charge_whole(lane, length)?;
                }
                tell(Came::Word(word))?;
            }
        }
        Ok(true)
    }

    fn open(&mut self, lane: Lane, stream: u64, what: What, bytes: u64) -> Result<(), Reason> {
        // What is short goes whole. Each body that is open costs memory besides its bytes, so that very short
        // ones would be many.
        if bytes <= FRAGMENT_BYTES_MAX as u64 || stream <= self.last_stream {
            return Err(Reason::Malformed);
        }
        let open_bytes = self.open_bytes.saturating_add(bytes);
        if bytes > self.terms.body_bytes_max || open_bytes > self.terms.open_bytes_max {
            return Err(Reason::TooLong);
        }
        let bytes = usize::try_from(bytes).map_err(|_| Reason::TooLong)?;
        (self.last_stream, self.open_bytes) = (stream, open_bytes);
        self.is_warm = true;
        let body = self.spare.take(bytes);
        self.open.insert(stream, Assembly { lane, what, bytes, body });
        Ok(())
    }

    /// A part begins. It must belong to a body and not exceed it, nor what was granted.
    fn expect(&mut self, stream: u64, bytes: usize) -> Result<(), Reason> {
        let assembly = self.open.get(&stream).ok_or(Reason::Malformed)?;
        if bytes > assembly.bytes - assembly.body.len() {
            return Err(Reason::Malformed);
        }
        match self.lanes[assembly.lane.index()].granted - bytes as i64 >= -OVERDRAFT_BYTES {
            true => Ok(()),
            false => Err(Reason::OverCredit),
        }
    }

    fn extend(&mut self, stream: u64, piece: &[u8]) {
        if let Some(assembly) = self.open.get_mut(&stream) {
            assembly.reserve(piece.len());
            assembly.body.extend_from_slice(piece);
            let lane = assembly.lane;
            self.charge(lane, piece.len());
        }
    }

    /// Gives a body out, if this was its last part.
    fn conclude(
        &mut self,
        stream: u64,
        tell: &mut impl FnMut(Came<'_>) -> Result<(), Reason>,
    ) -> Result<(), Reason> {
        let is_whole =
            self.open.get(&stream).is_some_and(|assembly| assembly.body.len() == assembly.bytes);
        if is_whole && let Some(Assembly { lane, what, bytes, body }) = self.open.remove(&stream) {
            self.open_bytes -= bytes as u64;
            tell(Came::Body { lane, what, body: Body::Long(self.spare.lend(body)) })?;
        }
        Ok(())
    }

    fn charge_whole(&mut self, lane: Lane, bytes: usize) -> Result<(), Reason> {
        self.charge(lane, bytes);
        let granted = self.lanes[lane.index()].granted;
        if granted < -OVERDRAFT_BYTES { Err(Reason::OverCredit) } else { Ok(()) }
    }

    fn charge(&mut self, lane: Lane, bytes: usize) {
        let account = &mut self.lanes[lane.index()];
        account.granted -= bytes as i64;
        account.read = account.read.saturating_add(bytes as u32);
        self.heard += bytes as u64;
    }
}

/// Where what arrives goes.
#[derive(Debug)]
pub enum Room<'a> {
    /// The read buffer.
    Buffer(&'a mut BytesMut),
    /// The rest of a part, into its body.
    Part(bytes::buf::Limit<&'a mut Vec<u8>>),
}

impl From<WireError> for Reason {
    fn from(error: WireError) -> Self {
        match error {
            WireError::TooLong { .. } => Self::TooLong,
            WireError::UnknownKind(_) => Self::UnknownKind,
            WireError::Empty | WireError::Malformed { .. } => Self::Malformed,
        }
    }
}
