//! The handshake: two strangers become two nodes that know the same secret.
//!
//! ```text
//! dialler                                      acceptor
//!    | -- Hello(claims, nonce) --------------->  |
//!    | <-------------- Hello(claims, nonce) --   |
//!    | -- Proof(mac) ------------------------->  |  proven: the table lets it in, or not
//!    | <------------- Proof(verdict, mac) ----   |
//! ```
//!
//! A mac is HMAC-SHA-256 under a secret, over the role of who proves, the number of macs or the verdict,
//! and the hash of both hellos as they came, of the channel they came over, and, in the answer, of the
//! dialler's proof. So what was recorded fits no other handshake (both nonces are in it), what is sent back
//! proves nothing (the roles are in it), what is carried from one connection to another, or from a secured
//! one to a plain one, fits neither (the channel is in it), and whoever alters one byte of a hello, to take
//! a version or a feature away, breaks both proofs. The dialler proves first: who cannot is told nothing
//! but a hello, which is no secret (id, name, address, cluster).
//!
//! The secret is a cookie. While two are valid the dialler sends a mac under each, the newest first, and the
//! acceptor answers under the newest that they share: so a node that has only the old one, or only the new
//! one, agrees in both directions with a node that has both. Where there is no cookie the connection is TLS,
//! and its exporter is the secret: to know it is to be the end whose certificate was verified. Over TLS the
//! name of a hello has to be the one of the certificate, cookie or not.
//!
//! A pure core: bytes go in by [`Handshake::room`] or [`Handshake::feed`], bytes and a verdict come out of
//! [`Handshake::step`]. It does not know the time; whoever drives it holds the deadline. It does not know
//! other links either; it asks `judge`.

use bytes::{BufMut, Bytes, BytesMut};
use hmac::{Hmac, KeyInit, Mac};
use quorate_env::Secured;
use quorate_vocab::{ClusterId, NodeId, NodeName};
use sha2::{Digest, Sha256};

use crate::frame::{Decoder, Frame};
use crate::hello::{self, Hello, HelloError};
use crate::wire::WireError;
use crate::{Cookie, Cookies, Reason};

/// The bytes of a mac.
const MAC_BYTES: usize = 32;

/// The verdict that is no [`Reason`].
const WELCOME: u8 = 0;

/// Who has called whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Opened the connection.
    Dialler,
    /// Accepted it.
    Acceptor,
}

/// What both sides have agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accord {
    /// What the other side claims; proved, once the step that gives it succeeds.
    pub peer: Hello,
    /// The newest version that both speak.
    pub version: u16,
    /// What both can.
    pub features: u64,
}

/// Why a handshake failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The reason on this side.
    pub reason: Reason,
    /// When the other side refused: the code of its reason. A hint, not a fact, unless it was proven.
    pub told: Option<u8>,
}

/// When `judge` is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Before this side proves itself to a peer that has proved nothing. Only diallers are asked then.
    Claimed,
    /// After the peer has proved itself.
    Proven,
}

/// Says whether a peer is wanted.
pub type Judge<'a> = dyn FnMut(Moment, &Accord) -> Result<(), Reason> + Send + 'a;

/// What one side proves itself by.
#[derive(Clone, Debug)]
pub struct Keys {
    cookies: Vec<Cookie>,
    channel: Option<Secured>,
}

/// One side of one handshake.
pub struct Handshake {
    role: Role,
    keys: Keys,
    ours: Hello,
    ours_raw: Bytes,
    expected: Option<NodeId>,
    decoder: Decoder,
    state: State,
    /// Who was refused for being of another cluster, and of which.
    foreign: Option<(NodeName, ClusterId)>,
}

enum State {
    /// Waits for the other side's hello.
    Hello,
    /// Waits for the other side's proof.
    Proof { accord: Accord, transcript: [u8; 32] },
    /// Has succeeded or failed.
    Over,
}

impl Handshake {
    /// Begins as the dialler; `expected` is the node that shall answer, if that is known. Writes its hello.
    pub fn dial(
        ours: Hello,
        keys: impl Into<Keys>,
        expected: Option<NodeId>,
        out: &mut BytesMut,
    ) -> Self {
        let ours_raw = hello::encode(&ours);
        Frame::Hello(ours_raw.clone()).encode(out);
        Self { ours_raw, expected, ..Self::new(Role::Dialler, ours, keys.into()) }
    }

    /// Begins as the acceptor. The road of its hello will be the dialler's.
    pub fn accept(ours: Hello, keys: impl Into<Keys>) -> Self {
        Self::new(Role::Acceptor, ours, keys.into())
    }

    fn new(role: Role, ours: Hello, keys: Keys) -> Self {
        Self {
            role,
            keys,
            ours,
            ours_raw: Bytes::new(),
            expected: None,
            decoder: Decoder::new(hello::BYTES_MAX),
            state: State::Hello,
            foreign: None,
        }
    }

    /// Who was refused for being of another cluster, and of which: what the reason alone does not say.
    pub fn foreign(&self) -> Option<&(NodeName, ClusterId)> {
        self.foreign.as_ref()
    }

    /// What this side claims.
    pub fn ours(&self) -> &Hello {
        &self.ours
    }

    /// Takes what arrived.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.decoder.feed(bytes);
    }

    /// Where a reader may put what arrives.
    pub fn room(&mut self) -> &mut BytesMut {
        self.decoder.room()
    }

    /// What came after the handshake, to be read on with.
    pub fn into_decoder(self) -> Decoder {
        self.decoder
    }

    /// Goes as far as what arrived allows. `None`: more has to arrive. What stands in `out` is to be sent in
    /// every case: a failure tells the other side why.
    pub fn step(
        &mut self,
        judge: &mut Judge<'_>,
        out: &mut BytesMut,
    ) -> Result<Option<Accord>, Failure> {
        let stepped = self.steps(judge, out);
        if let Err(failure) = &stepped {
            self.state = State::Over;
            if failure.told.is_none() && out.is_empty() {
                Frame::Refused(failure.reason.code()).encode(out);
            }
        }
        stepped
    }

    fn steps(
        &mut self,
        judge: &mut Judge<'_>,
        out: &mut BytesMut,
    ) -> Result<Option<Accord>, Failure> {
        let is_first = matches!(self.state, State::Hello);
        if is_first && is_tls(self.decoder.room()) {
            return Err(Reason::HalfSecured.into());
        }
        while let Some(frame) = self.decoder.take()? {
            match (frame, std::mem::replace(&mut self.state, State::Over)) {
                (Frame::Hello(raw), State::Hello) => self.hear(&raw, judge, out)?,
                (Frame::Proof(proof), State::Proof { accord, transcript }) => {
                    self.conclude(&proof, &accord, &transcript, judge, out)?;
                    return Ok(Some(accord));
                }
                (Frame::Refused(code), _) => {
                    return Err(Failure { reason: Reason::Refused, told: Some(code) });
                }
                (Frame::Hello(_) | Frame::Proof(_), _) => return Err(Reason::Unexpected.into()),
                _ => return Err(Reason::Unauthenticated.into()),
            }
        }
        Ok(None)
    }

    /// The other side's hello. The acceptor answers with its own, the dialler with its proof.
    fn hear(
        &mut self,
        raw: &[u8],
        judge: &mut Judge<'_>,
        out: &mut BytesMut,
    ) -> Result<(), Failure> {
        let peer = hello::decode(raw).map_err(|error| match error {
            HelloError::NotOurs => Reason::NotOurs,
            HelloError::Layout(_) => Reason::NoCommonVersion,
            HelloError::Malformed => Reason::Malformed,
        })?;
        let claimed = peer.cluster.map(|cluster| (peer.name.clone(), cluster));
        let compared = self.compare(peer);
        if matches!(compared, Err(Reason::OtherCluster)) {
            self.foreign = claimed;
        }
        let accord = compared?;
        let transcript = match self.role {
            Role::Acceptor => {
                (self.ours.road, self.ours.strand) = (accord.peer.road, accord.peer.strand);
                self.ours_raw = hello::encode(&self.ours);
                Frame::Hello(self.ours_raw.clone()).encode(out);
                transcript(raw, &self.ours_raw, self.keys.channel.as_ref())
            }
            Role::Dialler => {
                judge(Moment::Claimed, &accord)?;
                let transcript = transcript(&self.ours_raw, raw, self.keys.channel.as_ref());
                let mut macs = BytesMut::with_capacity(Cookies::VALID_MAX * MAC_BYTES);
                let count = self.keys.secrets().count() as u8;
                for secret in self.keys.secrets() {
                    let mac = mac(secret, Role::Dialler, count, &transcript);
                    macs.put_slice(&mac.finalize().into_bytes());
                }
                let transcript = with_proof(&transcript, &macs);
                Frame::Proof(macs.freeze()).encode(out);
                transcript
            }
        };
        self.state = State::Proof { accord, transcript };
        Ok(())
    }

    /// What can be refused by the claims alone.
    fn compare(&self, peer: Hello) -> Result<Accord, Reason> {
        let ours = &self.ours;
        let version = ours.version_max.min(peer.version_max);
        if version < ours.version_min.max(peer.version_min) {
            return Err(Reason::NoCommonVersion);
        }
        if peer.node == ours.node {
            return Err(Reason::OwnId);
        }
        if self.keys.channel.as_ref().is_some_and(|channel| channel.node != peer.name) {
            return Err(Reason::WrongName);
        }
        if self.expected.is_some_and(|expected| expected != peer.node) {
            return Err(Reason::WrongNode);
        }
        // A node without a cluster is about to join one, or about to be joined by the other.
        if ours.cluster.zip(peer.cluster).is_some_and(|(ours, theirs)| ours != theirs) {
            return Err(Reason::OtherCluster);
        }
        if self.role == Role::Dialler && (peer.road, peer.strand) != (ours.road, ours.strand) {
            return Err(Reason::Malformed);
        }
        let features = ours.features & peer.features;
        Ok(Accord { peer, version, features })
    }

    /// The other side's proof. The acceptor asks whether the peer is wanted, and answers with its own.
    fn conclude(
        &self,
        proof: &[u8],
        accord: &Accord,
        transcript: &[u8; 32],
        judge: &mut Judge<'_>,
        out: &mut BytesMut,
    ) -> Result<(), Failure> {
        match self.role {
            Role::Acceptor => {
                let shared = self.keys.shared(proof, transcript).ok_or(Reason::BadProof)?;
                let verdict = judge(Moment::Proven, accord);
                let code = verdict.map_or_else(Reason::code, |()| WELCOME);
                let mac = mac(shared, Role::Acceptor, code, &with_proof(transcript, proof));
                let mut answer = BytesMut::with_capacity(1 + MAC_BYTES);
                answer.put_u8(code);
                answer.put_slice(&mac.finalize().into_bytes());
                Frame::Proof(answer.freeze()).encode(out);
                verdict.map_err(Failure::from)
            }
            Role::Dialler => {
                let (&code, proof) = proof.split_first().ok_or(Reason::BadProof)?;
                let is_mac =
                    |secret| mac(secret, Role::Acceptor, code, transcript).verify_slice(proof);
                if !self.keys.secrets().any(|secret| is_mac(secret).is_ok()) {
                    return Err(Reason::BadProof.into());
                }
                if code != WELCOME {
                    return Err(Failure { reason: Reason::Refused, told: Some(code) });
                }
                Ok(judge(Moment::Proven, accord)?)
            }
        }
    }
}

impl Keys {
    /// Cookies that are valid now, and what the connection has shown, if it is secured.
    pub fn new(cookies: &Cookies, channel: Option<Secured>) -> Self {
        Self { cookies: cookies.valid(), channel }
    }

    /// What to prove by, the best first.
    fn secrets(&self) -> impl Iterator<Item = &[u8]> {
        let channel = self.channel.as_ref().filter(|_| self.cookies.is_empty());
        let exporter = channel.map(|channel| &channel.exporter[..]);
        self.cookies.iter().map(Cookie::secret).chain(exporter)
    }

    /// The best secret that a dialler's macs show to be shared.
    fn shared(&self, macs: &[u8], transcript: &[u8; 32]) -> Option<&[u8]> {
        let (macs, rest) = macs.as_chunks::<MAC_BYTES>();
        if macs.len() > Cookies::VALID_MAX || !rest.is_empty() {
            return None;
        }
        let count = macs.len() as u8;
        self.secrets().find(|secret| {
            let is_mac =
                |theirs| mac(secret, Role::Dialler, count, transcript).verify_slice(theirs);
            macs.iter().any(|theirs| is_mac(theirs).is_ok())
        })
    }
}

impl From<Cookie> for Keys {
    fn from(cookie: Cookie) -> Self {
        Self { cookies: vec![cookie], channel: None }
    }
}

fn mac(secret: &[u8], prover: Role, says: u8, transcript: &[u8; 32]) -> Hmac<Sha256> {
    let label: &[u8] = match prover {
        Role::Dialler => b"quorate mesh 1: the dialler knows",
        Role::Acceptor => b"quorate mesh 1: the acceptor knows",
    };
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes a key of any length");
    mac.update(label);
    mac.update(&[says]);
    mac.update(transcript);
    mac
}

/// The hash of both hellos and of the channel. The lengths are in it, so that no byte can be moved from one
/// to the other.
fn transcript(dialler: &[u8], acceptor: &[u8], channel: Option<&Secured>) -> [u8; 32] {
    let mut hash = Sha256::new();
    let exporter = channel.map_or(&[][..], |channel| &channel.exporter);
    for part in [dialler, acceptor, exporter] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

/// What the acceptor proves: the transcript, and the dialler's proof as it came. A mac under a cookie that
/// the acceptor does not have may have been altered on the way; then the dialler sees it here.
fn with_proof(transcript: &[u8; 32], proof: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(transcript);
    hash.update(proof);
    hash.finalize().into()
}

/// Whether the first bytes are a record of TLS: a handshake, or an alert about one. As a frame they would be
/// longer than any hello, so no hello is taken for it.
fn is_tls(first: &[u8]) -> bool {
    matches!(first, [21 | 22, 3, 1..=4, ..])
}

impl From<Reason> for Failure {
    fn from(reason: Reason) -> Self {
        Self { reason, told: None }
    }
}

impl From<WireError> for Failure {
    fn from(error: WireError) -> Self {
        Reason::from(error).into()
    }
}
