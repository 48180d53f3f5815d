//! Frames of the handshake: what a stream of bytes is cut into until both sides are proven.
//!
//! ```text
//! u32 length of the rest | u8 kind | body       (little endian)
//! ```
//!
//! The decoder is a function of the bytes that it was fed, however they were split. It reserves memory for
//! what has arrived and a small step more, never for what a length field promises, and it gives the
//! same error for ever after the first: a stream that was misread once has no next frame.
//!
//! Not here: what bodies mean, who may send which kind when, and the frames of a link ([`crate::wire`]); of
//! those no more is known than that they are some.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::wire::{self, WireError};

/// How long the length field is.
pub const LENGTH_BYTES: usize = 4;

/// Bodies up to this long are copied out of the read buffer, so that one small message that is kept for
/// long does not keep the whole buffer.
const COPIED_BYTES_MAX: usize = 4 * 1024;

/// A frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// Who speaks; see [`crate::hello`].
    Hello(Bytes),
    /// That who speaks knows the cookie; see [`crate::handshake`].
    Proof(Bytes),
    /// That the other side is refused, and the code of the reason.
    Refused(u8),
    /// A frame of a link, which nobody may send before both sides are proven.
    Link {
        /// Which kind of [`wire::Frame`], and its lane.
        kind: u8,
        /// All that follows.
        body: Bytes,
    },
}

mod kind {
    pub(super) const HELLO: u8 = 1;
    pub(super) const PROOF: u8 = 2;
    pub(super) const REFUSED: u8 = 3;
}

impl Frame {
    /// Writes the frame.
    pub fn encode(&self, out: &mut BytesMut) {
        out.put_u32_le((self.encoded_len() - LENGTH_BYTES) as u32);
        match self {
            Self::Hello(_) => out.put_u8(kind::HELLO),
            Self::Proof(_) => out.put_u8(kind::PROOF),
            Self::Refused(code) => out.put_slice(&[kind::REFUSED, *code]),
            Self::Link { kind, .. } => out.put_u8(*kind),
        }
        out.put_slice(self.body());
    }

    /// What it carries.
    pub fn body(&self) -> &[u8] {
        match self {
            Self::Hello(body) | Self::Proof(body) | Self::Link { body, .. } => body,
            Self::Refused(_) => &[],
        }
    }

    /// How many bytes [`Frame::encode`] writes.
    pub fn encoded_len(&self) -> usize {
        LENGTH_BYTES + 1 + usize::from(matches!(self, Self::Refused(_))) + self.body().len()
    }

    /// Reads what stands after the length field. There is at least one byte.
    fn parse(mut rest: BytesMut) -> Result<Self, WireError> {
        Ok(match rest.get_u8() {
            kind::HELLO => Self::Hello(body(rest)),
            kind::PROOF => Self::Proof(body(rest)),
            kind::REFUSED if rest.len() == 1 => Self::Refused(rest.get_u8()),
            kind @ kind::REFUSED => {
                return Err(WireError::Malformed { kind, bytes: rest.len() });
            }
            kind if wire::is_kind(kind) => Self::Link { kind, body: body(rest) },
            unknown => return Err(WireError::UnknownKind(unknown)),
        })
    }
}

fn body(rest: BytesMut) -> Bytes {
    if rest.len() <= COPIED_BYTES_MAX { Bytes::copy_from_slice(&rest) } else { rest.freeze() }
}

/// Cuts a stream into frames.
#[derive(Debug)]
pub struct Decoder {
    buffer: BytesMut,
    bytes_max: usize,
    broken: Option<WireError>,
}

impl Decoder {
    /// How much more than what has arrived may be reserved at once.
    pub const STEP_BYTES: usize = 16 * 1024;

    /// Begins with a stream whose frames, without their length fields, have at most `bytes_max` bytes.
    pub fn new(bytes_max: usize) -> Self {
        Self { buffer: BytesMut::new(), bytes_max, broken: None }
    }

    /// Takes what arrived.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Where a reader may put what arrives. Take all frames first, or it grows.
    pub fn room(&mut self) -> &mut BytesMut {
        let step = self.bytes_max.min(Self::STEP_BYTES);
        if self.buffer.capacity() - self.buffer.len() < step / 4 {
            self.buffer.reserve(step);
        }
        &mut self.buffer
    }

    /// What was fed and not taken.
    pub fn into_rest(self) -> BytesMut {
        self.buffer
    }

    /// How much memory is held, in bytes: at most twice what arrived and was not taken, plus a step.
    pub fn held(&self) -> usize {
        self.buffer.capacity()
    }

    /// The next frame, once all of it has arrived.
    pub fn take(&mut self) -> Result<Option<Frame>, WireError> {
        if let Some(error) = self.broken {
            return Err(error);
        }
        let taken = self.cut();
        if let Err(error) = taken {
            self.broken = Some(error);
            self.buffer = BytesMut::new();
        }
        taken
    }

    fn cut(&mut self) -> Result<Option<Frame>, WireError> {
        let Some(length) = self.buffer.first_chunk::<LENGTH_BYTES>() else {
            return Ok(None);
        };
        let bytes = u32::from_le_bytes(*length) as usize;
        match bytes {
            0 => return Err(WireError::Empty),
            _ if bytes > self.bytes_max => {
                return Err(WireError::TooLong { bytes, bytes_max: self.bytes_max });
            }
            _ if self.buffer.len() < LENGTH_BYTES + bytes => return Ok(None),
            _ => self.buffer.advance(LENGTH_BYTES),
        }
        Frame::parse(self.buffer.split_to(bytes)).map(Some)
    }
}
