//! What a peer may send over a link: frames, hellos in them, and a whole handshake.
//!
//! What must hold: a stream reads the same however it was split; a frame encodes back to the bytes that it
//! was read from; the decoder holds no more memory than what lay in it explains; and nobody is let in but by
//! the very bytes of somebody who knew the cookie.

use bytes::{Bytes, BytesMut};
use quorate_mesh::frame::{Decoder, Frame, LENGTH_BYTES};
use quorate_mesh::handshake::Handshake;
use quorate_mesh::hello::{self, Hello};
use quorate_mesh::wire::WireError;
use quorate_mesh::{Cookie, Road};
use quorate_vocab::{Boot, ClusterId, NodeId};

use crate::{Target, join, split};

/// The longest frame that is taken after the handshake.
const FRAME_BYTES_MAX: usize = 32 * 1024;

/// Streams of a peer.
pub struct Frames {
    corpus: Vec<Vec<u8>>,
    /// What peers that know the cookie say to our acceptor, and to our dialler.
    to_acceptor: Vec<Vec<u8>>,
    to_dialler: Vec<Vec<u8>>,
}

impl Default for Frames {
    fn default() -> Self {
        Self::new()
    }
}

impl Frames {
    /// Has peers talk to our two sides, and keeps what they said.
    pub fn new() -> Self {
        let (mut to_acceptor, mut to_dialler) = (Vec::new(), Vec::new());
        for variant in 0..3 {
            let peer = peer(variant);
            let mut said = BytesMut::new();
            let dialler = Handshake::dial(peer.clone(), cookie(), None, &mut said);
            to_acceptor.push(converse(dialler, acceptor(), said));
            let mut said = BytesMut::new();
            let dialler = dialler_of_ours(&mut said);
            let road = Some(Road::Control);
            let peer = Handshake::accept(Hello { road, ..peer }, cookie());
            to_dialler.push(converse_with(peer, dialler, &said));
        }
        let handshakes = to_acceptor.iter().chain(&to_dialler);
        // A link goes on after its handshake, and is read on from where that ended.
        let mut corpus: Vec<Vec<u8>> =
            handshakes.flat_map(|said| [said.clone(), [said, &traffic()[..]].concat()]).collect();
        corpus.push(traffic());
        Self { corpus, to_acceptor, to_dialler }
    }
}

impl Target for Frames {
    fn name(&self) -> &'static str {
        "frame"
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
        let (frames, end) = read(input, input.len());
        let step = input.first().map_or(1, |&byte| 1 + usize::from(byte) * 7);
        assert_eq!(
            read(input, step),
            (frames.clone(), end),
            "split differently, it reads differently"
        );
        encode_back(input, &frames);
        for frame in &frames {
            if let Frame::Hello(raw) = frame {
                hear(raw);
            }
        }
        knock(acceptor(), input, &self.to_acceptor);
        knock(dialler_of_ours(&mut BytesMut::new()), input, &self.to_dialler);
        end.is_none() && frames.iter().map(Frame::encoded_len).sum::<usize>() == input.len()
    }
}

/// Cuts a stream that arrives in pieces of `step` bytes: its frames, and why it ended early.
fn read(input: &[u8], step: usize) -> (Vec<Frame>, Option<WireError>) {
    let mut decoder = Decoder::new(FRAME_BYTES_MAX);
    let (mut frames, mut taken) = (Vec::new(), 0);
    let (mut fed, mut waiting_max) = (0, 0);
    while fed < input.len() {
        // As a reader does it: into the room that there is.
        let room = decoder.room();
        let count = step.max(1).min(room.capacity() - room.len()).min(input.len() - fed);
        room.extend_from_slice(&input[fed..fed + count]);
        fed += count;
        // A buffer that a long frame stretched stays as long as that, so the most that ever lay there counts.
        waiting_max = waiting_max.max(fed - taken);
        let (held, held_max) = (decoder.held(), 2 * waiting_max + Decoder::STEP_BYTES);
        assert!(held <= held_max, "{held} bytes are held, {held_max} is the most");
        loop {
            match decoder.take() {
                Ok(Some(frame)) => {
                    taken += frame.encoded_len();
                    frames.push(frame);
                }
                Ok(None) => break,
                Err(error) => {
                    decoder.feed(&traffic_of_one());
                    assert_eq!(decoder.take(), Err(error), "a broken stream came back to life");
                    return (frames, Some(error));
                }
            }
        }
    }
    (frames, None)
}

/// What was read as frames is what stood there.
fn encode_back(input: &[u8], frames: &[Frame]) {
    let mut bytes = BytesMut::new();
    for frame in frames {
        let before = bytes.len();
        frame.encode(&mut bytes);
        assert_eq!(bytes.len() - before, frame.encoded_len(), "a frame is not as long as it says");
        assert!(frame.encoded_len() <= FRAME_BYTES_MAX + LENGTH_BYTES, "a frame is too long");
    }
    assert!(input.starts_with(&bytes), "the frames are not what was sent");
}

/// A hello that reads, reads again after it was written.
fn hear(raw: &[u8]) {
    if let Ok(hello) = hello::decode(raw) {
        assert_eq!(hello::decode(&hello::encode(&hello)), Ok(hello), "a hello changed on its way");
    }
}

/// Whether somebody who says this is let in. Whoever is, said exactly what one who knows the cookie said.
fn knock(mut door: Handshake, input: &[u8], honest: &[Vec<u8>]) -> bool {
    let (head, tail) = input.split_at(input.len() / 2);
    for piece in [head, tail] {
        door.feed(piece);
        let mut out = BytesMut::new();
        let stepped = door.step(&mut |_, _| Ok(()), &mut out);
        assert!(out.len() <= 2 * hello::BYTES_MAX, "{} bytes for a stranger", out.len());
        match stepped {
            Ok(None) => {}
            Ok(Some(_)) => {
                let is_honest = honest.iter().any(|said| input.starts_with(said));
                assert!(is_honest, "somebody was let in who does not know the cookie");
                return true;
            }
            Err(_) => return false,
        }
    }
    false
}

fn cookie() -> Cookie {
    Cookie::new("the cookie of the fuzzer").expect("it is long enough")
}

fn ours() -> Hello {
    Hello {
        version_min: 1,
        version_max: 1,
        features: 0,
        cluster: Some(ClusterId(1)),
        node: NodeId(2),
        name: "ours".try_into().expect("it is a name"),
        boot: Boot(3),
        address: "host:7000".into(),
        road: Some(Road::Control),
        strand: 0,
        nonce: [2; 32],
    }
}

/// Peers that differ in what may be left out, and in lengths.
fn peer(variant: u8) -> Hello {
    Hello {
        version_max: 1 + u16::from(variant),
        cluster: (variant != 1).then_some(ClusterId(1)),
        node: NodeId(u64::MAX - u64::from(variant)),
        name: "n".repeat(1 + 31 * usize::from(variant)).try_into().expect("it is a name"),
        address: "a".repeat(127 * usize::from(variant)),
        road: [Some(Road::Control), Some(Road::Data), None][usize::from(variant)],
        strand: 0,
        nonce: [variant; 32],
        ..ours()
    }
}

fn acceptor() -> Handshake {
    Handshake::accept(ours(), cookie())
}

fn dialler_of_ours(out: &mut BytesMut) -> Handshake {
    Handshake::dial(ours(), cookie(), None, out)
}

/// What a dialler says to an acceptor until both agree; `said` is its hello.
fn converse(mut dialler: Handshake, mut acceptor: Handshake, mut said: BytesMut) -> Vec<u8> {
    let answer = step(&mut acceptor, &said, false);
    said.extend_from_slice(&step(&mut dialler, &answer, false));
    step(&mut acceptor, &said[said.len() - (LENGTH_BYTES + 1 + 32)..], true);
    said.to_vec()
}

/// What an acceptor says to a dialler until both agree; `hello` is the dialler's.
fn converse_with(mut acceptor: Handshake, mut dialler: Handshake, hello: &[u8]) -> Vec<u8> {
    let mut said = step(&mut acceptor, hello, false);
    let proof = step(&mut dialler, &said, false);
    let verdict = step(&mut acceptor, &proof, true);
    step(&mut dialler, &verdict, true);
    said.extend_from_slice(&verdict);
    said.to_vec()
}

fn step(side: &mut Handshake, heard: &[u8], ends: bool) -> BytesMut {
    let mut out = BytesMut::new();
    side.feed(heard);
    let stepped = side.step(&mut |_, _| Ok(()), &mut out).expect("both know the cookie");
    assert_eq!(stepped.is_some(), ends, "the handshake has another number of steps");
    out
}

/// A frame of every kind, short and long.
fn traffic() -> Vec<u8> {
    let body = |len: usize| Bytes::from(vec![7; len]);
    let frames = [
        Frame::Link { kind: 28, body: body(0) },
        Frame::Link { kind: 16, body: body(5000) },
        Frame::Link { kind: 17, body: body(40) },
        Frame::Refused(4),
        Frame::Proof(body(32)),
        Frame::Hello(hello::encode(&peer(0))),
    ];
    let mut bytes = BytesMut::new();
    frames.iter().for_each(|frame| frame.encode(&mut bytes));
    bytes.to_vec()
}

fn traffic_of_one() -> BytesMut {
    let mut bytes = BytesMut::new();
    Frame::Link { kind: 28, body: Bytes::new() }.encode(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_knows_the_cookie_is_let_in_and_nobody_else() {
        let frames = Frames::new();
        for said in &frames.to_acceptor {
            assert!(knock(acceptor(), said, &frames.to_acceptor));
            assert!(knock(acceptor(), &[&said[..], b"more"].concat(), &frames.to_acceptor));
            assert!(!knock(dialler_of_ours(&mut BytesMut::new()), said, &frames.to_dialler));
            let mut altered = said.clone();
            altered[40] ^= 1;
            assert!(!knock(acceptor(), &altered, &[]));
        }
        for said in &frames.to_dialler {
            assert!(knock(dialler_of_ours(&mut BytesMut::new()), said, &frames.to_dialler));
            assert!(!knock(acceptor(), said, &frames.to_acceptor));
        }
    }
}
