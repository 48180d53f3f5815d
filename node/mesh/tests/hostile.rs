//! Strangers at the door: each is closed with its reason, while a good link goes on.

use crate::common;

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use common::{PATIENCE, Tap, eventually, keep, patient, start};
use quorate_env::{Net, Stream, Tcp, sleep, timeout};
use quorate_mesh::frame::Frame;
use quorate_mesh::handshake::Handshake;
use quorate_mesh::hello::{self, Hello};
use quorate_mesh::wire::{self, What};
use quorate_mesh::{Cookie, Mesh, MeshConfig, Reason, Road};
use quorate_vocab::{Boot, ClusterId, Lane, NodeId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;

/// A node, and a friend that it is linked to.
struct Town {
    mesh: Mesh,
    _tap: Arc<Tap>,
    friend: Mesh,
    friend_tap: Arc<Tap>,
}

impl Town {
    async fn new(config_of_one: MeshConfig) -> Self {
        let (mesh, tap) = start(config_of_one, Arc::new(Tcp)).await;
        let (friend, friend_tap) = start(patient(2, 1), Arc::new(Tcp)).await;
        keep(&friend, &[&mesh]);
        tap.met(2, 1).await;
        friend_tap.met(1, 1).await;
        Self { mesh, _tap: tap, friend, friend_tap }
    }

    async fn stranger(&self) -> Stream {
        Tcp.connect(self.mesh.address()).await.unwrap()
    }

    fn closed(&self, reason: Reason) -> u64 {
        self.mesh.counters().closed_for(reason)
    }

    /// A stranger says something, and is closed for exactly one reason.
    async fn says(&self, bytes: &[u8], reason: Reason) {
        let before = self.closed(reason);
        let mut stranger = self.stranger().await;
        let _ = stranger.writer.write_all(bytes).await;
        assert!(is_closed(&mut stranger).await, "for {reason}");
        eventually(reason.as_str(), || self.closed(reason) == before + 1).await;
        self.is_well().await;
    }

    async fn is_well(&self) {
        for lane in Lane::ALL {
            let body = Bytes::from_static(b"x");
            let answer = self.friend.call(NodeId(1), lane, 1, body, PATIENCE).await;
            assert_eq!(answer.unwrap(), "echo x");
        }
        assert_eq!(self.friend_tap.seen().len(), 1, "met once, and never parted");
    }
}

/// Reads until the other side closes.
async fn is_closed(stranger: &mut Stream) -> bool {
    let mut answer = Vec::new();
    timeout(PATIENCE, stranger.reader.read_to_end(&mut answer)).await.is_ok()
}

fn wire(frame: &Frame) -> BytesMut {
    let mut bytes = BytesMut::new();
    frame.encode(&mut bytes);
    bytes
}

fn claims() -> Hello {
    Hello {
        version_min: 1,
        version_max: 1,
        features: 0,
        cluster: Some(ClusterId(1)),
        node: NodeId(66),
        name: "stranger".try_into().unwrap(),
        boot: Boot(1),
        address: "nowhere:1".into(),
        road: Some(Road::Data),
        strand: 0,
        nonce: [6; 32],
    }
}

#[tokio::test]
async fn whatever_a_stranger_says_first_ends_it_with_the_right_reason() {
    let town = Town::new(patient(1, 1)).await;
    town.says(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n", Reason::TooLong).await;
    town.says(&(1_u32 << 31).to_le_bytes(), Reason::TooLong).await;
    town.says(&u32::MAX.to_le_bytes(), Reason::TooLong).await;
    town.says(&(hello::BYTES_MAX as u32 + 1).to_le_bytes(), Reason::TooLong).await;
    town.says(&[0; 64], Reason::Malformed).await;
    town.says(&[22, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3], Reason::HalfSecured).await;
    town.says(&[1, 0, 0, 0, 200], Reason::UnknownKind).await;
    town.says(&wire(&Frame::Hello(Bytes::from_static(b"garbage"))), Reason::NotOurs).await;
    town.says(&wire(&Frame::Hello(Bytes::new())), Reason::NotOurs).await;
    let mut hello = hello::encode(&claims()).to_vec();
    hello.truncate(40);
    town.says(&wire(&Frame::Hello(hello.into())), Reason::Malformed).await;
    let other = Hello { cluster: Some(ClusterId(2)), ..claims() };
    town.says(&wire(&Frame::Hello(hello::encode(&other))), Reason::OtherCluster).await;
    let newer = Hello { version_min: 7, version_max: 9, ..claims() };
    town.says(&wire(&Frame::Hello(hello::encode(&newer))), Reason::NoCommonVersion).await;
}

#[tokio::test]
async fn every_kind_of_frame_before_the_proof_is_refused() {
    let town = Town::new(patient(1, 1)).await;
    let body = || Bytes::from_static(b"body");
    let early = (16..=31).map(|kind| Frame::Link { kind, body: body() });
    let hello = wire(&Frame::Hello(hello::encode(&claims())));
    for frame in early {
        town.says(&wire(&frame), Reason::Unauthenticated).await;
        let after_hello = [&hello[..], &wire(&frame)].concat();
        town.says(&after_hello, Reason::Unauthenticated).await;
    }
    town.says(&wire(&Frame::Proof(body())), Reason::Unexpected).await;
    town.says(&[&hello[..], &hello].concat(), Reason::Unexpected).await;
    town.says(&wire(&Frame::Refused(1)), Reason::Refused).await;
    let guess = wire(&Frame::Proof(vec![0; 32].into()));
    town.says(&[&hello[..], &guess].concat(), Reason::BadProof).await;
}

#[tokio::test]
async fn who_is_slow_or_silent_before_the_proof_is_closed_at_the_deadline() {
    let mut strict = patient(1, 1);
    strict.limits.handshake = Duration::from_secs(1);
    let town = Town::new(strict).await;
    // On a busy machine the friend may have been late as well, before it came in.
    let late = town.closed(Reason::Late);
    let hello = wire(&Frame::Hello(hello::encode(&claims())));
    let mut silent = town.stranger().await;
    let mut slow = town.stranger().await;
    let Stream { reader, writer, .. } = &mut slow;
    let dribbles = async {
        for byte in &hello {
            if writer.write_all(&[*byte]).await.is_err() {
                return;
            }
            sleep(Duration::from_millis(500)).await;
        }
        panic!("it was let to dribble to its end");
    };
    let mut answer = Vec::new();
    tokio::select! {
        biased;
        () = dribbles => {}
        read = reader.read_to_end(&mut answer) => drop(read),
    }
    assert!(is_closed(&mut silent).await);
    eventually("both", || town.closed(Reason::Late) == late + 2).await;
    town.is_well().await;
}

#[tokio::test]
async fn a_crowd_that_only_sits_there_is_turned_out_and_an_honest_node_comes_in() {
    let mut narrow = patient(1, 1);
    narrow.limits.handshakes_max = 4;
    narrow.limits.handshake = Duration::from_secs(600);
    let town = Town::new(narrow).await;
    let mut crowd = Vec::new();
    for _ in 0..50 {
        crowd.push(town.stranger().await);
    }
    eventually("the oldest to go", || town.closed(Reason::Crowded) >= 46).await;
    let (third, third_tap) = start(patient(3, 1), Arc::new(Tcp)).await;
    keep(&third, &[&town.mesh]);
    third_tap.met(1, 1).await;
    assert!(is_closed(&mut crowd[0]).await);
    town.is_well().await;
}

/// Connects from another address of loopback than all others do.
async fn connect_from(host: &str, to: &str) -> Stream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{host}:0").parse().unwrap()).unwrap();
    let (reader, writer) = socket.connect(to.parse().unwrap()).await.unwrap().into_split();
    Stream::plain(reader, writer)
}

#[tokio::test]
async fn a_flood_from_one_source_crowds_out_itself_and_is_shut_out_for_coming_too_fast() {
    let mut narrow = patient(1, 1);
    narrow.limits.handshakes_max = 1000;
    narrow.limits.handshakes_per_source_max = 8;
    narrow.limits.arrivals_per_source = 40;
    narrow.limits.arrival_every = Duration::from_secs(3600);
    narrow.limits.handshake = Duration::from_secs(600);
    let town = Town::new(narrow).await;
    let mut waits = connect_from("127.0.0.3", town.mesh.address()).await;
    let mut flood = Vec::new();
    for _ in 0..200 {
        flood.push(connect_from("127.0.0.2", town.mesh.address()).await);
    }
    // At most 8 of them still wait; 32 or more were turned out by their like, and 160 were not let in at all.
    eventually("the flood to ebb", || town.closed(Reason::CrowdedSource) >= 192).await;
    assert_eq!(town.closed(Reason::Crowded), 0);
    // Whoever came from elsewhere waits on undisturbed, and is heard.
    let hello = wire(&Frame::Hello(hello::encode(&claims())));
    waits.writer.write_all(&hello).await.unwrap();
    let mut answer = [0; 5];
    timeout(PATIENCE, waits.reader.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(answer[4], 1, "a hello");
    town.is_well().await;
}

#[tokio::test]
async fn a_flood_from_many_sources_is_bounded_for_all_of_them_together() {
    let mut narrow = patient(1, 1);
    narrow.limits.handshakes_max = 16;
    narrow.limits.handshakes_per_source_max = 4;
    narrow.limits.handshake = Duration::from_secs(600);
    let town = Town::new(narrow).await;
    let mut flood = Vec::new();
    for host in 2..102 {
        flood.push(connect_from(&format!("127.0.1.{host}"), town.mesh.address()).await);
    }
    eventually("the oldest to go", || town.closed(Reason::Crowded) >= 84).await;
    assert_eq!(town.closed(Reason::CrowdedSource), 0);
    let (third, third_tap) = start(patient(3, 1), Arc::new(Tcp)).await;
    keep(&third, &[&town.mesh]);
    third_tap.met(1, 1).await;
    town.is_well().await;
}

#[tokio::test]
async fn a_proven_peer_that_breaks_the_rules_loses_its_link() {
    let town = Town::new(patient(1, 1)).await;
    let link = |frame: wire::Frame<'_>| {
        let mut bytes = BytesMut::new();
        frame.encode(&mut bytes);
        bytes
    };
    let cases: [(BytesMut, Reason); 6] = [
        (wire(&Frame::Proof(Bytes::from_static(b"again"))), Reason::UnknownKind),
        (link(wire::Frame::Bye), Reason::Unexpected),
        (link(wire::Frame::Adopted(ClusterId(9))), Reason::OtherCluster),
        ((&[1, 0, 0, 0, 63][..]).into(), Reason::UnknownKind),
        ((&[2, 0, 0, 0, 17, 0][..]).into(), Reason::Malformed),
        ((&(1_u32 << 31).to_le_bytes()[..]).into(), Reason::TooLong),
    ];
    let lane = Lane::Normal;
    for (bytes, reason) in cases {
        let mut insider = town.stranger().await;
        prove(&mut insider).await;
        // An answer that nobody waits for, and a call that is lost, are no offence.
        for harmless in [
            wire::Frame::Whole { lane, what: What::Answer(7), body: b"body" },
            wire::Frame::Lost { lane, call: 8, unbegun: false },
        ] {
            insider.writer.write_all(&link(harmless)).await.unwrap();
        }
        insider.writer.write_all(&bytes).await.unwrap();
        assert!(is_closed(&mut insider).await);
        eventually(reason.as_str(), || town.closed(reason) >= 1).await;
        town.is_well().await;
    }
    assert_eq!(town.closed(Reason::UnknownKind), 2);
}

/// Runs the handshake by hand, to its good end.
async fn prove(insider: &mut Stream) {
    let cookie = Cookie::new("the secret of these tests").unwrap();
    let mut out = BytesMut::new();
    let mut handshake = Handshake::dial(claims(), cookie, None, &mut out);
    loop {
        insider.writer.write_all(&out).await.unwrap();
        out.clear();
        assert!(insider.reader.read_buf(handshake.room()).await.unwrap() > 0);
        if handshake.step(&mut |_, _| Ok(()), &mut out).unwrap().is_some() {
            return;
        }
    }
}
