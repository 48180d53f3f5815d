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
    body: Bytes,
    written: usize,
    /// Its number, once it was opened.
    stream: Option<u64>,
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

    pub(crate) fn append_long(&mut self, what: What, body: Bytes) -> usize {
        let bytes = body.len();
        self.parcels.push_back(Parcel::Long(Long { what, body, written: 0, stream: None }));
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
        let bytes = self.body.len() as u64;
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
                if let What::Call(call) = self.what
                    && !self.is_taken(call, opening.terms, calls)
                {
                    return self.dropped();
                }
                *opening.last_stream += 1;
                *opening.open_bytes += bytes;
                let stream = *self.stream.insert(*opening.last_stream);
                batch.add(Frame::Open { lane, stream, what: self.what, bytes });
                stream
            }
        };
        let end = self.body.len().min(self.written + part_max);
        let part = self.body.slice(self.written..end);
        let freed = part.len();
        batch.add_part(stream, part);
        self.written = end;
        let is_over = end == self.body.len();
        if is_over {
            *opening.open_bytes -= bytes;
        }
        Step { freed, is_over }
    }

    /// Whether a call is still waited for, and is not longer than what the peer takes, which may not have
    /// been known before. A mail that is too long has to break the link, as the break is all that tells its
    /// sender.
    fn is_taken(&self, call: u64, terms: Option<Terms>, calls: &Calls) -> bool {
        let bytes_max = terms.map_or(u64::MAX, |terms| terms.body_bytes_max);
        let bytes_max = usize::try_from(bytes_max).unwrap_or(usize::MAX);
        let bytes = self.body.len();
        if bytes > bytes_max {
            calls.end(call, Err(SendError::TooLong { bytes, bytes_max }.into()));
        }
        calls.hand_over(call)
    }

    fn dropped(&self) -> Step {
        Step { freed: self.body.len() - self.written, is_over: true }
    }
}

impl Batch {
    pub(crate) fn clear(&mut self) {
        self.short.clear();
        self.parts.clear();
        (self.frames, self.bytes, self.cost, self.lanes) = (0, 0, 0, [0; 3]);
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

    /// A part of a long body, which stays where it lies.
    fn add_part(&mut self, stream: u64, part: Bytes) {
        let before = self.short.len();
        Frame::Part { stream, body: &part }.encode_head(&mut self.short);
        self.count(1, self.short.len() - before + part.len());
        self.cost += part.len();
        self.parts.push((self.short.len(), part));
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
