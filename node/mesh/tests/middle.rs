//! Somebody in the middle, between two honest nodes: what is played back, sent back or altered is refused at
//! the door, counted under its reason, and leaves nothing behind there.

use crate::common;

use std::sync::{Arc, Mutex};

use bytes::{Bytes, BytesMut};
use common::{Tap, eventually, keep, patient, start};
use quorate_env::{Listener, Net, Stream, Tcp, spawn};
use quorate_mesh::frame::{Decoder, Frame};
use quorate_mesh::hello::{self, Hello};
use quorate_mesh::{Mesh, Reason};
use quorate_vocab::NodeId;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const FRAME_BYTES_MAX: usize = 64 * 1024;

/// What becomes of the first words of a dialler.
type Alter = fn(Hello) -> Hello;

/// Frames by the order in which they came.
type Record = Arc<Mutex<Vec<Frame>>>;

/// Stands in front of a node: hands on what comes, the hello altered, and records what diallers say.
async fn middle(mesh: &Mesh, alter: Alter) -> (String, Record) {
    let mut listener: Box<dyn Listener> = Tcp.listen("127.0.0.1:0").await.unwrap();
    let (address, to) = (listener.address(), mesh.address().to_owned());
    let record = Record::default();
    let kept = record.clone();
    spawn(async move {
        while let Ok((dialler, _)) = listener.accept().await {
            let door = Tcp.connect(&to).await.unwrap();
            let back = copy(door.reader, dialler.writer);
            let there = hand_on(dialler.reader, door.writer, alter, kept.clone());
            spawn(async move {
                // Who loses one side closes the other.
                tokio::select! {
                    () = back => {}
                    () = there => {}
                }
            });
        }
    });
    (address, record)
}

type Reader = Box<dyn tokio::io::AsyncRead + Send + Unpin>;
type Writer = Box<dyn tokio::io::AsyncWrite + Send + Unpin>;

async fn copy(mut from: Reader, mut to: Writer) {
    let _ = tokio::io::copy(&mut from, &mut to).await;
}

async fn hand_on(mut from: Reader, mut to: Writer, alter: Alter, record: Record) {
    let mut decoder = Decoder::new(FRAME_BYTES_MAX);
    loop {
        while let Ok(Some(frame)) = decoder.take() {
            let frame = match frame {
                Frame::Hello(said) => {
                    Frame::Hello(hello::encode(&alter(hello::decode(&said).unwrap())))
                }
                other => other,
            };
            let mut bytes = BytesMut::new();
            frame.encode(&mut bytes);
            record.lock().unwrap().push(frame);
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
        if !matches!(from.read_buf(decoder.room()).await, Ok(1..)) {
            return;
        }
    }
}

/// A node at whose door this happens, and one that means to reach it.
struct Victims {
    mesh: Mesh,
    tap: Arc<Tap>,
    dialler: Mesh,
}

impl Victims {
    async fn new() -> Self {
        let (mesh, tap) = start(patient(1, 1), Arc::new(Tcp)).await;
        let (dialler, _) = start(patient(2, 1), Arc::new(Tcp)).await;
        Self { mesh, tap, dialler }
    }

    fn dial_by(&self, address: &str) {
        self.dialler.learn(NodeId(1), address);
        self.dialler.keep(&[NodeId(1)].into());
    }

    fn closed(&self, reason: Reason) -> u64 {
        self.mesh.counters().closed_for(reason)
    }

    /// Says something at the door, and is closed for this.
    async fn hears(&self, frames: &[Frame], reason: Reason) {
        let before = self.closed(reason);
        let mut bytes = BytesMut::new();
        frames.iter().for_each(|frame| frame.encode(&mut bytes));
        let mut stranger: Stream = Tcp.connect(self.mesh.address()).await.unwrap();
        let _ = stranger.writer.write_all(&bytes).await;
        eventually(reason.as_str(), || self.closed(reason) == before + 1).await;
    }
}

#[tokio::test]
async fn a_handshake_that_was_recorded_opens_no_door_again() {
    let victims = Victims::new().await;
    let (address, record) = middle(&victims.mesh, |hello| hello).await;
    victims.dial_by(&address);
    victims.tap.met(2, 1).await;
    // A hello and a proof, and then what the link is for.
    let recorded: Vec<Frame> = record.lock().unwrap()[..2].to_vec();
    let opened = victims.mesh.counters().opened;
    for _ in 0..20 {
        victims.hears(&recorded, Reason::BadProof).await;
    }
    assert_eq!(victims.mesh.counters().opened, opened);
    assert_eq!(victims.mesh.peers().len(), 1, "nothing is kept of those that failed");
    assert_eq!(victims.tap.times_parted(), 0, "and the link that it was taken from stands");
}

#[tokio::test]
async fn what_a_door_says_opens_it_to_nobody() {
    let victims = Victims::new().await;
    let (address, record) = middle(&victims.mesh, |hello| hello).await;
    victims.dial_by(&address);
    victims.tap.met(2, 1).await;
    let honest = record.lock().unwrap()[0].clone();
    let mut bytes = BytesMut::new();
    honest.encode(&mut bytes);
    let mut stranger = Tcp.connect(victims.mesh.address()).await.unwrap();
    stranger.writer.write_all(&bytes).await.unwrap();
    let mut decoder = Decoder::new(FRAME_BYTES_MAX);
    let said = loop {
        if let Some(frame) = decoder.take().unwrap() {
            break frame;
        }
        assert!(stranger.reader.read_buf(decoder.room()).await.unwrap() > 0);
    };
    victims.hears(std::slice::from_ref(&said), Reason::OwnId).await;
    // As a proof it is none, whoever's it is.
    let guess = Frame::Proof(Bytes::copy_from_slice(&said.body()[..32]));
    victims.hears(&[honest, guess], Reason::BadProof).await;
    assert_eq!(victims.mesh.peers().len(), 1);
}

#[tokio::test]
async fn who_alters_a_hello_on_the_way_gets_nobody_in() {
    let alterations: [(Alter, Reason); 6] = [
        (|hello| Hello { features: hello.features ^ 1, ..hello }, Reason::BadProof),
        (|hello| Hello { version_max: 9, ..hello }, Reason::BadProof),
        (|hello| Hello { version_min: 0, version_max: 0, ..hello }, Reason::NoCommonVersion),
        (|hello| Hello { address: "127.0.0.1:1".into(), ..hello }, Reason::BadProof),
        (|hello| Hello { node: NodeId(3), ..hello }, Reason::BadProof),
        (|hello| Hello { name: "node-1".try_into().unwrap(), ..hello }, Reason::BadProof),
    ];
    for (alter, reason) in alterations {
        let victims = Victims::new().await;
        let (address, _) = middle(&victims.mesh, alter).await;
        victims.dial_by(&address);
        // The dialler tries again and again.
        eventually(reason.as_str(), || victims.closed(reason) >= 3).await;
        assert_eq!((victims.mesh.counters().opened, victims.mesh.peers().len()), (0, 0));
        assert_eq!(victims.tap.seen(), []);
        victims.dialler.close().await;
    }
}

#[tokio::test]
async fn a_node_with_another_cookie_is_refused_by_its_proof_and_leaves_nothing_behind() {
    let (mesh, tap) = start(patient(1, 1), Arc::new(Tcp)).await;
    let other = quorate_mesh::Cookie::new("the secret of another cluster").unwrap();
    let config = quorate_mesh::MeshConfig { cookies: other.into(), ..patient(2, 1) };
    let (stranger, its_tap) = start(config, Arc::new(Tcp)).await;
    keep(&stranger, &[&mesh]);
    eventually("refusals", || mesh.counters().closed_for(Reason::BadProof) >= 3).await;
    assert_eq!((mesh.counters().opened, mesh.peers().len()), (0, 0));
    assert_eq!((tap.seen(), its_tap.seen()), (vec![], vec![]));
}
