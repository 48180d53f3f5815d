//! Frames: what a stream of bytes is cut into.
//!
//! ```text
//! u32 length of the rest | u8 kind | u64 call, where the kind has one | body       (little endian)
//! ```
//!
//! The decoder is a function of the bytes that it was fed, however they were split. It reserves memory for
//! what has arrived and a small step more, never for what a length field promises, and it gives the
//! same error for ever after the first: a stream that was misread once has no next frame.
//!
//! Not here: what bodies mean, and who may send which kind when.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use quorate_vocab::ClusterId;

/// How long the length field is.
pub const LENGTH_BYTES: usize = 4;

/// The most that a frame has besides its length field and its body: the kind and a call's number.
pub const HEAD_BYTES_MAX: usize = 1 + CALL_BYTES;

const CALL_BYTES: usize = 8;

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
    /// A body that expects nothing.
    Mail(Bytes),
    /// A body that expects an answer.
    Call {
        /// The call's number on this link, chosen by the caller.
        call: u64,
        /// What is asked.
        body: Bytes,
    },
    /// The answer to a call.
    Answer {
        /// The number of the call that is answered.
        call: u64,
        /// What is answered.
        body: Bytes,
    },
    /// No answer will come to a call, though it may have been done.
    Lost {
        /// The number of the call.
        call: u64,
    },
    /// That the sender lives.
    Ping,
    /// The cluster that the sender belongs to from now on.
    Adopted(ClusterId),
}

/// Why bytes are not a frame. The stream cannot be read any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// A length field promises more than may come.
    #[error("a frame of {bytes} bytes is too long; {bytes_max} is the most")]
    TooLong {
        /// What it promises.
        bytes: usize,
        /// What it may have.
        bytes_max: usize,
    },
    /// A frame without even a kind.
    #[error("a frame is empty")]
    Empty,
    /// A kind that is not known.
    #[error("{0} is no kind of frame")]
    UnknownKind(u8),
    /// A frame that is longer or shorter than its kind.
    #[error("{bytes} bytes are no frame of kind {kind}")]
    Malformed {
        /// The kind.
        kind: u8,
        /// The length after the kind.
        bytes: usize,
    },
}

mod kind {
    pub(super) const HELLO: u8 = 1;
    pub(super) const PROOF: u8 = 2;
    pub(super) const REFUSED: u8 = 3;
    pub(super) const MAIL: u8 = 16;
    pub(super) const CALL: u8 = 17;
    pub(super) const ANSWER: u8 = 18;
    pub(super) const LOST: u8 = 19;
    pub(super) const PING: u8 = 20;
    pub(super) const ADOPTED: u8 = 21;
}

impl Frame {
    /// Writes everything but the body, which has to follow.
    pub fn encode_head(&self, out: &mut BytesMut) {
        out.put_u32_le((self.encoded_len() - LENGTH_BYTES) as u32);
        out.put_u8(self.kind());
        match self {
            Self::Call { call, .. } | Self::Answer { call, .. } | Self::Lost { call } => {
                out.put_u64_le(*call);
            }
            Self::Adopted(cluster) => out.put_u64_le(cluster.0),
            Self::Refused(code) => out.put_u8(*code),
            Self::Hello(_) | Self::Proof(_) | Self::Mail(_) | Self::Ping => {}
        }
    }

    /// Writes the frame.
    pub fn encode(&self, out: &mut BytesMut) {
        self.encode_head(out);
        out.put_slice(self.body());
    }

    /// What it carries.
    pub fn body(&self) -> &[u8] {
        match self {
            Self::Hello(body) | Self::Proof(body) | Self::Mail(body) => body,
            Self::Call { body, .. } | Self::Answer { body, .. } => body,
            Self::Refused(_) | Self::Lost { .. } | Self::Ping | Self::Adopted(_) => &[],
        }
    }

    /// How many bytes [`Frame::encode`] writes.
    pub fn encoded_len(&self) -> usize {
        let fixed = match self {
            Self::Hello(_) | Self::Proof(_) | Self::Mail(_) | Self::Ping => 0,
            Self::Refused(_) => 1,
            Self::Call { .. } | Self::Answer { .. } | Self::Lost { .. } | Self::Adopted(_) => 8,
        };
        LENGTH_BYTES + 1 + fixed + self.body().len()
    }

    fn kind(&self) -> u8 {
        match self {
            Self::Hello(_) => kind::HELLO,
            Self::Proof(_) => kind::PROOF,
            Self::Refused(_) => kind::REFUSED,
            Self::Mail(_) => kind::MAIL,
            Self::Call { .. } => kind::CALL,
            Self::Answer { .. } => kind::ANSWER,
            Self::Lost { .. } => kind::LOST,
            Self::Ping => kind::PING,
            Self::Adopted(_) => kind::ADOPTED,
        }
    }

    /// Reads what stands after the length field. There is at least one byte.
    fn parse(mut rest: BytesMut) -> Result<Self, FrameError> {
        let kind = rest.get_u8();
        let malformed = FrameError::Malformed { kind, bytes: rest.len() };
        Ok(match kind {
            kind::HELLO => Self::Hello(body(rest)),
            kind::PROOF => Self::Proof(body(rest)),
            kind::MAIL => Self::Mail(body(rest)),
            kind::CALL if rest.len() >= CALL_BYTES => {
                Self::Call { call: rest.get_u64_le(), body: body(rest) }
            }
            kind::ANSWER if rest.len() >= CALL_BYTES => {
                Self::Answer { call: rest.get_u64_le(), body: body(rest) }
            }
            kind::LOST if rest.len() == CALL_BYTES => Self::Lost { call: rest.get_u64_le() },
            kind::ADOPTED if rest.len() == 8 => Self::Adopted(ClusterId(rest.get_u64_le())),
            kind::REFUSED if rest.len() == 1 => Self::Refused(rest.get_u8()),
            kind::PING if rest.is_empty() => Self::Ping,
            kind::CALL | kind::ANSWER | kind::LOST | kind::ADOPTED => return Err(malformed),
            kind::REFUSED | kind::PING => return Err(malformed),
            unknown => return Err(FrameError::UnknownKind(unknown)),
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
    broken: Option<FrameError>,
}

impl Decoder {
    /// How much more than what has arrived may be reserved at once.
    pub const STEP_BYTES: usize = 16 * 1024;

    /// Begins with a stream whose frames, without their length fields, have at most `bytes_max` bytes.
    pub fn new(bytes_max: usize) -> Self {
        Self { buffer: BytesMut::new(), bytes_max, broken: None }
    }

    /// From now on frames may be this long. What was fed and not taken stays.
    pub fn raise(&mut self, bytes_max: usize) {
        self.bytes_max = bytes_max;
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
    pub fn take(&mut self) -> Result<Option<Frame>, FrameError> {
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

    fn cut(&mut self) -> Result<Option<Frame>, FrameError> {
        let Some(length) = self.buffer.first_chunk::<LENGTH_BYTES>() else {
            return Ok(None);
        };
        let bytes = u32::from_le_bytes(*length) as usize;
        match bytes {
            0 => return Err(FrameError::Empty),
            _ if bytes > self.bytes_max => {
                return Err(FrameError::TooLong { bytes, bytes_max: self.bytes_max });
            }
            _ if self.buffer.len() < LENGTH_BYTES + bytes => return Ok(None),
            _ => self.buffer.advance(LENGTH_BYTES),
        }
        Frame::parse(self.buffer.split_to(bytes)).map(Some)
    }
}
