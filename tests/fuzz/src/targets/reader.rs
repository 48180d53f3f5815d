//! What a proven peer may send over a link: frames of every kind, bodies in parts, more than it was granted.
//!
//! What must hold: a stream reads the same however it was split, up to the same refusal; the reader keeps its
//! own accounts straight; and it holds no more memory than what lay in it explains.

use bytes::{BufMut, BytesMut};
use quorate_mesh::Reason;
use quorate_mesh::reader::{Came, Reader, Room};
use quorate_mesh::wire::{Frame, Sample, Terms, What};
use quorate_vocab::{ClusterId, Lane};

use crate::{Target, join, split};

/// Small, so that every bound is met.
const TERMS: Terms =
    Terms { windows: [1 << 20; 3], body_bytes_max: 100_000, open_bytes_max: 150_000 };

/// What a reader may hold besides twice what has arrived: its step, and the body that it reads.
const SLACK_BYTES: usize = 2 * 256 * 1024;

/// Links of a peer.
pub struct Readers {
    corpus: Vec<Vec<u8>>,
}

impl Default for Readers {
    fn default() -> Self {
        Self::new()
    }
}

impl Readers {
    /// Begins with what an honest peer sends.
    pub fn new() -> Self {
        Self { corpus: vec![words(), bodies(), [bodies(), words()].concat()] }
    }
}

impl Target for Readers {
    fn name(&self) -> &'static str {
        "reader"
    }

    fn corpus(&self) -> &[Vec<u8>] {
        &self.corpus
    }

    fn parts(&self, input: &[u8]) -> Vec<Vec<u8>> {
        split(input)
    }

    fn assemble(&self, parts: &[Vec<u8>]) -> Vec<u8> {
        join(parts)
    }

    fn run(&self, input: &[u8]) -> bool {
        let whole = read(input, input.len().max(1));
        for piece in [1, 7, 4096] {
            assert_eq!(read(input, piece), whole, "in pieces of {piece}");
        }
        whole.1.is_none() && !whole.0.is_empty()
    }
}

/// Everything that came, and how it ended.
fn read(input: &[u8], piece: usize) -> (Vec<String>, Option<Reason>) {
    let (mut reader, mut came) = (Reader::new(TERMS, BytesMut::new()), Vec::new());
    for mut rest in input.chunks(piece) {
        while !rest.is_empty() {
            let taken = match reader.room() {
                Room::Buffer(buffer) => {
                    buffer.extend_from_slice(rest);
                    rest.len()
                }
                Room::Part(mut part) => {
                    let taken = rest.len().min(part.remaining_mut());
                    part.put_slice(&rest[..taken]);
                    taken
                }
            };
            reader.filled(taken);
            rest = &rest[taken..];
            let stepped = reader.step(|what| {
                came.push(match what {
                    Came::Body { lane, what, body } => format!("{lane} {what:?} {:?}", &body[..]),
                    Came::Word(word) => format!("{word:?}"),
                });
                Ok(())
            });
            if let Err(reason) = stepped {
                return (came, Some(reason));
            }
            reader.check();
            assert!(reader.held() <= 2 * input.len() + SLACK_BYTES, "{} bytes held", reader.held());
        }
    }
    (came, None)
}

/// A frame of every kind that carries no body.
fn words() -> Vec<u8> {
    let at = Sample { elapsed: 1, wall: 2 };
    let frames = [
        Frame::Terms(TERMS),
        Frame::Credit { lane: Lane::Bulk, bytes: 9 },
        Frame::Ping { at },
        Frame::Pong { asked: at, came: at, sent: at },
        Frame::Lost { lane: Lane::High, call: 7, unbegun: true },
        Frame::Adopted(ClusterId(9)),
        Frame::Stamp(77),
        Frame::Beat,
        Frame::Bye,
        Frame::Stay,
    ];
    encoded(&frames)
}

/// Bodies whole and in parts, one of them given up.
fn bodies() -> Vec<u8> {
    let (lane, body, half) = (Lane::Normal, &[7; 3000][..], &[8; 35_000][..]);
    let frames = [
        Frame::Whole { lane, what: What::Mail, body: b"" },
        Frame::Whole { lane: Lane::High, what: What::Call(1), body },
        Frame::Open { lane, stream: 1, what: What::Mail, bytes: 70_000 },
        Frame::Part { stream: 1, body: half },
        Frame::Open { lane: Lane::Bulk, stream: 2, what: What::Answer(3), bytes: 80_000 },
        Frame::Part { stream: 2, body },
        Frame::Part { stream: 1, body: half },
        Frame::Abort { stream: 2 },
        Frame::Whole { lane, what: What::Answer(9), body },
    ];
    encoded(&frames)
}

fn encoded(frames: &[Frame<'_>]) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    frames.iter().for_each(|frame| frame.encode(&mut bytes));
    bytes.to_vec()
}
