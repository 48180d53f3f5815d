//! What a stranger may say before it has proved anything: to each side of a handshake, with every kind of
//! key.
//!
//! What must hold: nobody gets in but by the very bytes of somebody who knew the secret of this connection; a
//! stranger is told no more than a hello and a refusal; and it ends the same, whatever pieces the bytes came
//! in.

use bytes::BytesMut;
use quorate_env::Secured;
use quorate_mesh::handshake::{Handshake, Keys};
use quorate_mesh::hello::{self, Hello};
use quorate_mesh::{Cookie, Cookies, Reason, Road};
use quorate_vocab::{Boot, ClusterId, NodeId};

use crate::{Target, join, split};

/// Which side is spoken to, and by what it wants to be convinced. The first byte of an input.
#[derive(Clone, Copy)]
struct Door(u8);

/// Doors of all kinds.
const DOORS: u8 = 8;

const MAC_BYTES: usize = 32;

/// Handshakes with strangers.
pub struct Handshakes {
    corpus: Vec<Vec<u8>>,
}

impl Default for Handshakes {
    fn default() -> Self {
        Self::new()
    }
}

impl Handshakes {
    /// Has somebody who knows the secret come to each door, and keeps what was said.
    pub fn new() -> Self {
        Self { corpus: (0..DOORS).map(|door| Door(door).honest()).collect() }
    }
}

impl Target for Handshakes {
    fn name(&self) -> &'static str {
        "handshake"
    }

    fn corpus(&self) -> &[Vec<u8>] {
        &self.corpus
    }

    fn parts(&self, input: &[u8]) -> Vec<Vec<u8>> {
        let (door, said) = input.split_at(input.len().min(1));
        std::iter::once(door.to_vec()).chain(split(said)).collect()
    }

    fn assemble(&self, parts: &[Vec<u8>]) -> Vec<u8> {
        let Some((door, said)) = parts.split_first() else { return Vec::new() };
        [&door[..], &join(said)].concat()
    }

    fn run(&self, input: &[u8]) -> bool {
        let Some((&door, said)) = input.split_first() else { return false };
        let door = Door(door % DOORS);
        let step = said.first().map_or(1, |&byte| 1 + usize::from(byte) % 40);
        let (end, answer) = door.hear(said, said.len());
        assert_eq!(door.hear(said, step).0, end, "in other pieces it ends otherwise");
        assert!(answer <= 2 * hello::BYTES_MAX, "{answer} bytes for a stranger");
        if end == Ok(true) {
            let honest = &self.corpus[usize::from(door.0)][1..];
            assert!(door.is_honest(said, honest), "somebody was let in who knows no secret");
        }
        end.is_ok()
    }
}

impl Door {
    fn is_acceptor(self) -> bool {
        self.0 & 1 == 0
    }

    /// One cookie, two, a certificate, or both.
    fn keys(self, other: &str) -> Keys {
        let cookie = |text: &str| Cookie::new(text.repeat(16)).expect("it is long enough");
        let cookies = match self.0 / 2 {
            0 | 3 => cookie("a").into(),
            1 => Cookies::new(cookie("b"), Some(cookie("a"))),
            _ => Cookies::none(),
        };
        let node = other.try_into().expect("it is a name");
        let channel = (self.0 / 2 >= 2).then_some(Secured { node, exporter: [0xee; 32] });
        Keys::new(&cookies, channel)
    }

    /// Our side, and what it says first.
    fn ours(self) -> (Handshake, BytesMut) {
        let (mut first, keys) = (BytesMut::new(), self.keys("theirs"));
        let ours = match self.is_acceptor() {
            true => Handshake::accept(self.claims("ours", 2), keys),
            false => Handshake::dial(self.claims("ours", 2), keys, None, &mut first),
        };
        (ours, first)
    }

    /// Whether it was let in by the end, or why not, and how many bytes it was told.
    fn hear(self, said: &[u8], step: usize) -> (Result<bool, Reason>, usize) {
        let (mut ours, mut out) = self.ours();
        for piece in said.chunks(step.max(1)) {
            ours.feed(piece);
            match ours.step(&mut |_, _| Ok(()), &mut out) {
                Ok(None) => {}
                Ok(Some(_)) => return (Ok(true), out.len()),
                Err(failure) => return (Err(failure.reason), out.len()),
            }
        }
        (Ok(false), out.len())
    }

    /// Whether that is what somebody says who knows a secret. Of two macs one is enough: the other may be
    /// of a cookie that is not known here, and whoever altered it is found out by the dialler.
    fn is_honest(self, said: &[u8], honest: &[u8]) -> bool {
        let proofs = if self.is_acceptor() && self.0 / 2 == 1 { 2 } else { 1 };
        let Some((said, rest)) = said
            .split_at_checked(honest.len())
            .map(|(said, _)| said.split_at(honest.len() - proofs * MAC_BYTES))
        else {
            return false;
        };
        let (head, macs) = honest.split_at(said.len());
        let mut pairs = rest
            .chunks(MAC_BYTES)
            .flat_map(|one| macs.chunks(MAC_BYTES).map(move |other| one == other));
        said == head && pairs.any(|is_equal| is_equal)
    }

    /// What somebody says who gets in here, behind the number of the door.
    fn honest(self) -> Vec<u8> {
        let (mut ours, mut answer) = self.ours();
        let (mut said, keys) = (BytesMut::from(&[self.0][..]), self.keys("ours"));
        let mut saying = BytesMut::new();
        let mut theirs = match self.is_acceptor() {
            true => Handshake::dial(self.claims("theirs", 1), keys, None, &mut saying),
            false => Handshake::accept(self.claims("theirs", 1), keys),
        };
        let mut is_in = false;
        while !is_in {
            theirs.feed(&std::mem::take(&mut answer));
            theirs.step(&mut |_, _| Ok(()), &mut saying).expect("both know the secret");
            said.extend_from_slice(&saying);
            ours.feed(&std::mem::take(&mut saying));
            let stepped = ours.step(&mut |_, _| Ok(()), &mut answer);
            is_in = stepped.expect("both know the secret").is_some();
        }
        said.to_vec()
    }

    /// Every door draws other nonces, so that what is said at one fits no other.
    fn claims(self, name: &str, node: u8) -> Hello {
        Hello {
            version_min: 1,
            version_max: 1,
            features: 0,
            cluster: Some(ClusterId(1)),
            node: NodeId(node.into()),
            name: name.try_into().expect("it is a name"),
            boot: Boot(3),
            address: "host:7000".into(),
            road: Some(Road::Control),
            strand: 0,
            nonce: [self.0 << 4 | node; 32],
        }
    }
}
