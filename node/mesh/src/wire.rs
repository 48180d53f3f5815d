//! What goes over a link once both sides are proven: frames, and how a stream of bytes is cut into them.
//!
//! ```text
//! u32 length of the rest | u8 kind, its upper two bits the lane | fields of the kind | body     (little
//! endian)
//! ```
//!
//! A body of at most a [fragment](FRAGMENT_BYTES_MAX) goes in one frame. A longer one is announced by `Open`
//! and follows in `Part`s, between which other frames go; so no frame is long, and nothing waits behind a
//! long body.
//!
//! Frames borrow from the bytes that they were read from: what is short is never copied on its way in.
//!
//! Not here: what bodies mean, who may send what when, and the frames of the handshake ([`crate::frame`]).

use bytes::{Buf, BufMut, BytesMut};
use quorate_vocab::{ClusterId, Lane};

/// How long the length field is.
pub const LENGTH_BYTES: usize = 4;

/// The longest body, or part of one, that a frame carries.
pub const FRAGMENT_BYTES_MAX: usize = 64 * 1024;

/// The most that a frame has after its length field.
pub const FRAME_BYTES_MAX: usize = 1 + 8 + FRAGMENT_BYTES_MAX;

/// A frame between proven peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// A body, whole.
    Whole {
        /// How urgent it is.
        lane: Lane,
        /// What it is.
        what: What,
        /// The body.
        body: &'a [u8],
    },
    /// A body follows in parts.
    Open {
        /// How urgent it is.
        lane: Lane,
        /// Its number on this link, chosen by the sender.
        stream: u64,
        /// What it is.
        what: What,
        /// How long it is.
        bytes: u64,
    },
    /// The next part of a body.
    Part {
        /// Which body's.
        stream: u64,
        /// The part.
        body: &'a [u8],
    },
    /// The rest of a body will not come.
    Abort {
        /// Which body's.
        stream: u64,
    },
    /// No answer will come to a call.
    Lost {
        /// How urgent the answer would be.
        lane: Lane,
        /// Which call's.
        call: u64,
        /// Whether it has certainly not been begun.
        unbegun: bool,
    },
    /// So many more bytes may be sent in a lane.
    Credit {
        /// Which lane.
        lane: Lane,
        /// How many bytes.
        bytes: u32,
    },
    /// What the sender takes in. The first frame of each side.
    Terms(Terms),
    /// That the sender lives; the answer tells how far away it is.
    Ping {
        /// The sender's clocks.
        at: Sample,
    },
    /// The answer to a ping.
    Pong {
        /// The clocks of who pinged, as they were sent.
        asked: Sample,
        /// When the ping came.
        came: Sample,
        /// When this was sent.
        sent: Sample,
    },
    /// The sender would like to end the link, and sends no bodies until it is answered.
    Leave {
        /// How much it has heard over the link, counted as credit is: the other side agrees only when it has
        /// sent no more, so that nothing is under way whatever becomes of its answer.
        heard: u64,
    },
    /// The sender agrees, and sends no bodies any more.
    Bye,
    /// The sender still needs the link.
    Stay,
    /// The cluster that the sender belongs to from now on.
    Adopted(ClusterId),
    /// The hybrid logical time at which what follows was sent.
    Stamp(u64),
    /// That the sender lives. Only to those who said that they [know it](crate::hello::BEAT).
    Beat,
}

/// What a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// It expects nothing.
    Mail,
    /// It expects an answer. The number is chosen by the caller.
    Call(u64),
    /// It is the answer to a call.
    Answer(u64),
}

/// What one side takes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// How many bytes may be under way in each lane before any are granted.
    pub windows: [u32; 3],
    /// The longest body.
    pub body_bytes_max: u64,
    /// How many bytes the bodies may have together that were opened and are not whole.
    pub open_bytes_max: u64,
}

/// A reading of a node's clocks, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// Elapsed time, from a start that only the node knows.
    pub elapsed: u64,
    /// Wall time since 1970.
    pub wall: u64,
}

impl Sample {
    /// This node's clocks, now.
    pub fn now() -> Self {
        Self { elapsed: quorate_env::now().0, wall: quorate_env::wall().0 }
    }
}

/// Why bytes are not a frame, of a link or of its handshake. The stream cannot be read any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// A length field promises more than a frame may have.
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
    pub(super) const MAIL: u8 = 16;
    pub(super) const CALL: u8 = 17;
    pub(super) const ANSWER: u8 = 18;
    pub(super) const LOST: u8 = 19;
    pub(super) const OPEN: u8 = 20;
    pub(super) const PART: u8 = 21;
    pub(super) const ABORT: u8 = 22;
    pub(super) const CREDIT: u8 = 23;
    pub(super) const TERMS: u8 = 24;
    pub(super) const PING: u8 = 25;
    pub(super) const PONG: u8 = 26;
    pub(super) const LEAVE: u8 = 27;
    pub(super) const BYE: u8 = 28;
    pub(super) const STAY: u8 = 29;
    pub(super) const ADOPTED: u8 = 30;
    pub(super) const STAMP: u8 = 31;
    pub(super) const BEAT: u8 = 32;
    /// The lane stands above the kind.
    pub(super) const LANE_SHIFT: u32 = 6;
    pub(super) const MASK: u8 = (1 << LANE_SHIFT) - 1;
}

impl Frame<'_> {
    /// Writes the frame.
    pub fn encode(&self, out: &mut BytesMut) {
        self.encode_head(out);
        out.put_slice(self.body());
    }

    /// Writes everything but the body, which has to follow.
    pub fn encode_head(&self, out: &mut BytesMut) {
        let at = out.len();
        out.put_u32_le(0);
        match *self {
            Self::Whole { lane, what, .. } => {
                out.put_u8(with_lane(what.kind(), lane));
                if let What::Call(call) | What::Answer(call) = what {
                    out.put_u64_le(call);
                }
            }
            Self::Open { lane, stream, what, bytes } => {
                out.put_u8(with_lane(kind::OPEN, lane));
                out.put_u64_le(stream);
                out.put_u64_le(bytes);
                out.put_u8(what.kind());
                if let What::Call(call) | What::Answer(call) = what {
                    out.put_u64_le(call);
                }
            }
            Self::Part { stream, .. } => put_numbers(out, kind::PART, &[stream]),
            Self::Abort { stream } => put_numbers(out, kind::ABORT, &[stream]),
            Self::Lost { lane, call, unbegun } => {
                put_numbers(out, with_lane(kind::LOST, lane), &[call]);
                out.put_u8(u8::from(unbegun));
            }
            Self::Credit { lane, bytes } => {
                out.put_u8(with_lane(kind::CREDIT, lane));
                out.put_u32_le(bytes);
            }
            Self::Terms(Terms { windows, body_bytes_max, open_bytes_max }) => {
                put_numbers(out, kind::TERMS, &[body_bytes_max, open_bytes_max]);
                windows.into_iter().for_each(|window| out.put_u32_le(window));
            }
            Self::Ping { at } => put_numbers(out, kind::PING, &[at.elapsed, at.wall]),
            Self::Pong { asked, came, sent } => {
                let clocks = [asked, came, sent].map(|at| [at.elapsed, at.wall]);
                put_numbers(out, kind::PONG, clocks.as_flattened());
            }
            Self::Leave { heard } => put_numbers(out, kind::LEAVE, &[heard]),
            Self::Bye => out.put_u8(kind::BYE),
            Self::Stay => out.put_u8(kind::STAY),
            Self::Adopted(cluster) => put_numbers(out, kind::ADOPTED, &[cluster.0]),
            Self::Stamp(stamp) => put_numbers(out, kind::STAMP, &[stamp]),
            Self::Beat => out.put_u8(kind::BEAT),
        }
        put_length(out, at, self.body().len());
    }

    /// What it carries.
    pub fn body(&self) -> &[u8] {
        match self {
            Self::Whole { body, .. } | Self::Part { body, .. } => body,
            _ => &[],
        }
    }
}

impl What {
    fn kind(self) -> u8 {
        match self {
            Self::Mail => kind::MAIL,
            Self::Call(_) => kind::CALL,
            Self::Answer(_) => kind::ANSWER,
        }
    }

    fn read(kind: u8, rest: &mut &[u8]) -> Option<Self> {
        match kind {
            kind::MAIL => Some(Self::Mail),
            kind::CALL => Some(Self::Call(rest.try_get_u64_le().ok()?)),
            kind::ANSWER => Some(Self::Answer(rest.try_get_u64_le().ok()?)),
            _ => None,
        }
    }
}

fn with_lane(kind: u8, lane: Lane) -> u8 {
    kind | (lane.index() as u8) << kind::LANE_SHIFT
}

fn put_numbers(out: &mut BytesMut, kind: u8, numbers: &[u64]) {
    out.put_u8(kind);
    numbers.iter().for_each(|number| out.put_u64_le(*number));
}

/// Writes everything of a [`Frame::Part`] but its bytes, of which so many have to follow.
pub(crate) fn put_part_head(out: &mut BytesMut, stream: u64, bytes: usize) {
    let at = out.len();
    out.put_u32_le(0);
    put_numbers(out, kind::PART, &[stream]);
    put_length(out, at, bytes);
}

/// Fills in how long the frame is that begins at `at`, when so many bytes are still to follow.
fn put_length(out: &mut BytesMut, at: usize, to_follow: usize) {
    let bytes = out.len() - at - LENGTH_BYTES + to_follow;
    out[at..at + LENGTH_BYTES].copy_from_slice(&(bytes as u32).to_le_bytes());
}

/// Whether a byte is the kind of a frame, with a lane.
pub(crate) fn is_kind(byte: u8) -> bool {
    let lane = usize::from(byte >> kind::LANE_SHIFT);
    lane < Lane::ALL.len() && (kind::MAIL..=kind::BEAT).contains(&(byte & kind::MASK))
}

/// How many bytes the frame at the start of `bytes` has, its length field included; `None` when that has not
/// arrived yet.
#[inline]
pub fn length(bytes: &[u8]) -> Result<Option<usize>, WireError> {
    let Some(length) = bytes.first_chunk::<LENGTH_BYTES>() else {
        return Ok(None);
    };
    match u32::from_le_bytes(*length) as usize {
        0 => Err(WireError::Empty),
        bytes if bytes > FRAME_BYTES_MAX => {
            Err(WireError::TooLong { bytes, bytes_max: FRAME_BYTES_MAX })
        }
        bytes => Ok(Some(LENGTH_BYTES + bytes)),
    }
}

/// Of the beginning of a frame of `length` bytes that is a part: which body's, where its bytes begin, and how
/// many it has.
pub fn part_head(bytes: &[u8], length: usize) -> Option<(u64, usize, usize)> {
    const HEAD_BYTES: usize = LENGTH_BYTES + 1 + 8;
    let (stream, _) = bytes.get(LENGTH_BYTES + 1..)?.split_first_chunk()?;
    let is_part = bytes[LENGTH_BYTES] == kind::PART;
    is_part.then(|| (u64::from_le_bytes(*stream), HEAD_BYTES, length - HEAD_BYTES))
}

/// Reads a frame that is all there, its length field included.
#[inline]
pub fn read(frame: &[u8]) -> Result<Frame<'_>, WireError> {
    let Some((&first, mut rest)) = frame.get(LENGTH_BYTES..).and_then(<[u8]>::split_first) else {
        return Err(WireError::Empty);
    };
    let kind = first & kind::MASK;
    let malformed = WireError::Malformed { kind, bytes: rest.len() };
    let lane = Lane::ALL.get(usize::from(first >> kind::LANE_SHIFT)).copied().ok_or(malformed)?;
    if let Some(what) = What::read(kind, &mut rest) {
        return Ok(Frame::Whole { lane, what, body: rest });
    }
    if !(kind::MAIL..=kind::BEAT).contains(&kind) {
        return Err(WireError::UnknownKind(kind));
    }
    // One frame, one way to write it: where there is no lane, its bits are zero.
    if lane.index() != 0 && !matches!(kind, kind::LOST | kind::OPEN | kind::CREDIT) {
        return Err(malformed);
    }
    let frame = read_rest(kind, lane, &mut rest).ok_or(malformed)?;
    rest.is_empty().then_some(frame).ok_or(malformed)
}

/// Reads what is not a whole body. What is left of `rest` does not belong there.
fn read_rest<'a>(kind: u8, lane: Lane, rest: &mut &'a [u8]) -> Option<Frame<'a>> {
    let mut number = || rest.try_get_u64_le().ok();
    let mut sample = || Some(Sample { elapsed: number()?, wall: number()? });
    Some(match kind {
        kind::PING => Frame::Ping { at: sample()? },
        kind::PONG => Frame::Pong { asked: sample()?, came: sample()?, sent: sample()? },
        kind::OPEN => {
            let (stream, bytes) = (number()?, number()?);
            let what = What::read(rest.try_get_u8().ok()?, rest)?;
            Frame::Open { lane, stream, what, bytes }
        }
        kind::PART => Frame::Part { stream: number()?, body: std::mem::take(rest) },
        kind::ABORT => Frame::Abort { stream: number()? },
        kind::LOST => {
            let call = number()?;
            let unbegun = rest.try_get_u8().ok().filter(|flag| *flag <= 1)? == 1;
            Frame::Lost { lane, call, unbegun }
        }
        kind::CREDIT => Frame::Credit { lane, bytes: rest.try_get_u32_le().ok()? },
        kind::TERMS => {
            let (body_bytes_max, open_bytes_max) = (number()?, number()?);
            let mut windows = [0; 3];
            for window in &mut windows {
                *window = rest.try_get_u32_le().ok()?;
            }
            Frame::Terms(Terms { windows, body_bytes_max, open_bytes_max })
        }
        kind::LEAVE => Frame::Leave { heard: number()? },
        kind::BYE => Frame::Bye,
        kind::STAY => Frame::Stay,
        kind::ADOPTED => Frame::Adopted(ClusterId(number()?)),
        kind::STAMP => Frame::Stamp(number()?),
        kind::BEAT => Frame::Beat,
        _ => return None,
    })
}
