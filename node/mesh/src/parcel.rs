//! Parcels: what waits in one flow of an [outbox](crate::outbox), and the batches that are made of them.
//!
//! Short frames lie encoded, one after another, so that to send one is to append some bytes. A long body
//! stays where it lies, and is written from there, part by part.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Bytes, BytesMut};
use quorate_vocab::Lane;

use crate::SendError;
use crate::calls::Calls;
use crate::wire::{self, FRAGMENT_BYTES_MAX, Frame, Terms, What};

/// How much memory a flow that has nothing to send may keep.
const SPARE_BYTES_MAX: usize = 4 * 1024;

/// A piece of a long body that is shorter is copied.
const PIECE_BYTES_MIN: usize = 1024;

/// What waits of one flow.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    pub(crate) parcels: VecDeque<Parcel>,
    /// How many bytes that are, and how many of them are of long bodies.
    pub(crate) bytes: usize,
    pub(crate) long_bytes: usize,
    /// Memory for the next short frames.
    spare: Option<BytesMut>,
}

#[derive(Debug)]
pub(crate) enum Parcel {
    /// Whole frames, one after another, at most about a fragment of them.
    Short {
        frames: BytesMut,
        count: usize,
        has_calls: bool,
    },
    Long(Long),
}

#[derive(Debug)]
pub(crate) struct Long {
    what: What,
    /// What is not written yet.
    rest: VecDeque<Bytes>,
    /// How long the body is, and how much of it is not written yet.
    bytes: usize,
    left: usize,
    /// Its number, once it was opened.
    stream: Option<u64>,
}

/// A mail that the peer does not take, as it said after the mail was taken from its sender.
#[derive(Debug)]
pub(crate) struct Returned {
    pub(crate) pieces: Vec<Bytes>,
    pub(crate) error: SendError,
}

/// What is written at once: short frames, and between them parts of long bodies, where they lie.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) short: BytesMut,
    /// Each goes after so many bytes of the short ones.
    pub(crate) parts: Vec<(usize, Bytes)>,
    pub(crate) frames: usize,
    pub(crate) bytes: usize,
    /// What of it the peer has to grant: whole frames, and of parts their bodies.
    pub(crate) cost: usize,
    /// Whether it grants something, because much has come.
    pub(crate) grants: bool,
    /// What was found on the way, and does not go.
    pub(crate) returned: Vec<Returned>,
    /// How much of the cost each lane has.
    pub(crate) lanes: [u64; 3],
}

impl Waiting {
    /// How many bytes wait in short frames.
    pub(crate) fn short(&self) -> usize {
        self.bytes - self.long_bytes
    }

    /// Adds a whole frame; says by how many bytes it has grown.
    #[inline]
    pub(crate) fn append(&mut self, frame: Frame<'_>, is_call: bool) -> usize {
        if let Some(Parcel::Short { frames, count, has_calls }) = self.parcels.back_mut()
            && frames.len() + frame.body().len() <= FRAGMENT_BYTES_MAX
        {
            let before = frames.len();
            frame.encode(frames);
            *count += 1;
            *has_calls |= is_call;
            return frames.len() - before;
        }
        let mut frames = self.spare.take().unwrap_or_default();
        frame.encode(&mut frames);
        let grown = frames.len();
        self.parcels.push_back(Parcel::Short { frames, count: 1, has_calls: is_call });
        grown
    }

    /// Adds a long body, which may lie in pieces.
    pub(crate) fn append_long(&mut self, what: What, pieces: impl Into<VecDeque<Bytes>>) -> usize {
        let rest: VecDeque<Bytes> = pieces.into();
        let bytes = rest.iter().map(Bytes::len).sum();
        self.parcels.push_back(Parcel::Long(Long { what, rest, bytes, left: bytes, stream: None }));
        bytes
    }

    /// Moves the short frames at the front into a batch; says how many bytes wait no more.
    pub(crate) fn take_short(&mut self, calls: &Calls, batch: &mut Batch) -> usize {
        let Some(Parcel::Short { mut frames, count, has_calls }) = self.parcels.pop_front() else {
            return 0;
        };
        let freed = frames.len();
        if has_calls {
            batch.add_wanted(&frames, calls);
        } else {
            batch.add_all(&mut frames, count);
        }
        if frames.capacity() <= SPARE_BYTES_MAX {
            frames.clear();
            self.spare = Some(frames);
        }
        freed
    }
}

/// What the long bodies of a link have in common.
pub(crate) struct Opening<'a> {
    pub(crate) terms: Option<Terms>,
    pub(crate) last_stream: &'a mut u64,
    pub(crate) open_bytes: &'a mut u64,
}

/// What became of a long body's turn.
pub(crate) struct Step {
    /// How many bytes wait no more.
    pub(crate) freed: usize,
    /// Nothing of it is left.
    pub(crate) is_over: bool,
}

impl Long {
    /// Writes the next part, unless the peer has no room for another body, or nobody wants it any more.
    pub(crate) fn step(
        &mut self,
        lane: Lane,
        part_max: usize,
        calls: &Calls,
        opening: &mut Opening<'_>,
        batch: &mut Batch,
    ) -> Step {
        let bytes = self.bytes as u64;
        let stream = match self.stream {
            Some(stream) => {
                if matches!(self.what, What::Call(call) if !calls.is_waited_for(call)) {
                    batch.add(Frame::Abort { stream });
                    *opening.open_bytes -= bytes;
                    return self.dropped();
                }
                stream
            }
            None => {
                // Another body has to be through first. The peer's terms may be unknown for a moment.
                let room = opening.terms.map_or(0, |terms| terms.open_bytes_max);
                if *opening.open_bytes + bytes > room && (*opening.open_bytes > 0 || room == 0) {
                    return Step { freed: 0, is_over: false };
                }
                if !self.is_taken(opening.terms, calls, batch) {
                    return self.dropped();
                }
                *opening.last_stream += 1;
                *opening.open_bytes += bytes;
                let stream = *self.stream.insert(*opening.last_stream);
                batch.add(Frame::Open { lane, stream, what: self.what, bytes });
                stream
            }
        };
        let freed = self.left.min(part_max);
        batch.add_part(stream, freed, &mut self.rest);
        self.left -= freed;
        let is_over = self.left == 0;
        if is_over {
            *opening.open_bytes -= bytes;
        }
        Step { freed, is_over }
    }

    /// Whether the peer takes it, which may not have been known before, and a call is still waited for. Who
    /// sent what the peer does not take is told.
    fn is_taken(&mut self, terms: Option<Terms>, calls: &Calls, batch: &mut Batch) -> bool {
        let bytes_max = terms.map_or(u64::MAX, |terms| terms.body_bytes_max);
        let bytes_max = usize::try_from(bytes_max).unwrap_or(usize::MAX);
        let bytes = self.bytes;
        let error = SendError::TooLong { bytes, bytes_max };
        match self.what {
            What::Call(call) if bytes > bytes_max => calls.end(call, Err(error.into())),
            What::Mail if bytes > bytes_max => {
                let pieces = std::mem::take(&mut self.rest);
                batch.returned.push(Returned { pieces: pieces.into(), error });
            }
            What::Call(call) => return calls.hand_over(call),
            // The peer's terms come before its calls, so answers were measured when they were put in.
            What::Mail | What::Answer(_) => return true,
        }
        false
    }

    fn dropped(&self) -> Step {
        Step { freed: self.left, is_over: true }
    }
}

impl Batch {
    pub(crate) fn clear(&mut self) {
        self.short.clear();
        self.parts.clear();
        (self.frames, self.bytes, self.cost, self.lanes) = (0, 0, 0, [0; 3]);
        self.grants = false;
    }

    /// How far it is filled.
    pub(crate) fn mark(&self) -> (usize, usize) {
        (self.frames, self.bytes)
    }

    /// Goes back to where only short frames were added since.
    pub(crate) fn rewind(&mut self, (frames, bytes): (usize, usize)) {
        self.short.truncate(self.short.len() - (self.bytes - bytes));
        (self.frames, self.bytes) = (frames, bytes);
    }

    pub(crate) fn add(&mut self, frame: Frame<'_>) {
        let before = self.short.len();
        frame.encode(&mut self.short);
        self.count(1, self.short.len() - before);
    }

    /// A part of a long body: so many of the bytes that are left of it, which stay where they lie.
    fn add_part(&mut self, stream: u64, bytes: usize, rest: &mut VecDeque<Bytes>) {
        let before = self.short.len();
        wire::put_part_head(&mut self.short, stream, bytes);
        self.count(1, self.short.len() - before + bytes);
        self.cost += bytes;
        let mut missing = bytes;
        while missing > 0
            && let Some(piece) = rest.front_mut()
        {
            let taken = piece.split_to(missing.min(piece.len()));
            missing -= taken.len();
            if piece.is_empty() {
                rest.pop_front();
            }
            match taken.len() {
                // To name a piece to the system costs more than to copy it, if it is short.
                0..PIECE_BYTES_MIN => self.short.extend_from_slice(&taken),
                _ => self.parts.push((self.short.len(), taken)),
            }
        }
    }

    fn add_all(&mut self, frames: &mut BytesMut, count: usize) {
        self.count(count, frames.len());
        self.cost += frames.len();
        if self.short.is_empty() && frames.len() > SPARE_BYTES_MAX {
            std::mem::swap(&mut self.short, frames);
        } else {
            self.short.extend_from_slice(frames);
        }
    }

    /// Of frames that were put in by [`Waiting::append`], those that are no calls which nobody waits for.
    fn add_wanted(&mut self, frames: &[u8], calls: &Calls) {
        let mut rest = frames;
        while let Ok(Some(length)) = wire::length(rest) {
            let (frame, after) = rest.split_at(length);
            rest = after;
            let is_wanted = match wire::read(frame) {
                Ok(Frame::Whole { what: What::Call(call), .. }) => calls.hand_over(call),
                _ => true,
            };
            if is_wanted {
                self.count(1, frame.len());
                self.cost += frame.len();
                self.short.extend_from_slice(frame);
            }
        }
    }

    /// The pieces that come after so many bytes of it, in order; says how many there are.
    pub(crate) fn slices_after<'a>(&'a self, done: usize, slices: &mut [IoSlice<'a>]) -> usize {
        let (mut skip, mut from, mut count) = (done, 0, 0);
        let pieces = self.parts.iter().flat_map(|(to, part)| {
            let short = &self.short[std::mem::replace(&mut from, *to)..*to];
            [short, part]
        });
        let last = self.parts.last().map_or(0, |(to, _)| *to);
        for piece in pieces.chain([&self.short[last..]]) {
            let skipped = skip.min(piece.len());
            skip -= skipped;
            if skipped < piece.len() && count < slices.len() {
                slices[count] = IoSlice::new(&piece[skipped..]);
                count += 1;
            }
        }
        count
    }

    fn count(&mut self, frames: usize, bytes: usize) {
        self.frames += frames;
        self.bytes += bytes;
    }
}
