//! Gossip: a peer that builds its packets by hand, and nodes that find each other.

use crate::common;

use std::net::UdpSocket as Plain;
use std::time::Duration;

use common::{PATIENCE, eventually, seen, texts, trouble, written};
use hmac::{Hmac, KeyInit, Mac};
use quorate_discovery::{Address, Asker, Discovery, Proposal, Rules, Sighting, Spec};
use quorate_env::{now, timeout};
use sha2::Sha256;
use tokio::net::UdpSocket;

const SECRET: &str = "a secret of the LAN, long enough";

/// The bytes of a packet, by the book: magic, kind, incarnation, seq, nonce, name, address, echoes, mac.
fn packet(
    secret: &str,
    who: u8,
    seq: u64,
    asks: Option<[u8; 16]>,
    address: &str,
    echo: &[u8],
) -> Vec<u8> {
    let mut bytes = b"QRGS\x01".to_vec();
    bytes.push(u8::from(asks.is_some()));
    bytes.extend([who; 16]);
    bytes.extend(seq.to_be_bytes());
    bytes.extend(asks.unwrap_or_default());
    bytes.extend([2, b'n', b'1']);
    bytes.extend((address.len() as u16).to_be_bytes());
    bytes.extend(address.bytes());
    bytes.push((echo.len() / 16) as u8);
    bytes.extend(echo);
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(&bytes);
    bytes.extend(mac.finalize().into_bytes());
    bytes
}

/// Waits for a packet that asks; gives its number, and where it came from.
async fn asked(peer: &UdpSocket) -> ([u8; 16], std::net::SocketAddr) {
    loop {
        let mut bytes = [0; 2048];
        let received = timeout(PATIENCE, peer.recv_from(&mut bytes)).await.expect("somebody asks");
        let (length, from) = received.unwrap();
        let (body, proof) = bytes[..length].split_at(length - 32);
        let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
        mac.update(body);
        mac.verify_slice(proof).expect("it knows the secret");
        assert!(body.starts_with(b"QRGS\x01"));
        if body[5] == 1 {
            return (body[30..46].try_into().unwrap(), from);
        }
    }
}

#[tokio::test]
async fn whoever_answers_the_number_is_found_and_recordings_and_forgeries_are_not() {
    let (_dir, file) = written("secret", SECRET);
    let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let at = peer.local_addr().unwrap();
    let spec = format!("gossip://127.0.0.1:0?peer={at}&secret-file={file}");
    let mut ear = common::source(&spec);
    let answer = async {
        let (nonce, from) = asked(&peer).await;
        for bytes in [
            // A recording: it answers a number that was never drawn here.
            packet(SECRET, 2, 9, None, "10.0.0.2:1", &[7; 16]),
            packet("another secret, long enough", 3, 1, None, "10.0.0.3:1", &nonce),
            packet(SECRET, 4, 1, None, "nowhere", &nonce),
            b"QRGS\x01".to_vec(),
            vec![0xff; 1500],
            packet(SECRET, 5, 1, None, "10.0.0.5:1", &nonce),
        ] {
            peer.send_to(&bytes, from).await.unwrap();
        }
        from
    };
    let (mut found, from) = tokio::join!(seen(ear.as_mut()), answer);
    let until = now() + PATIENCE;
    while found.is_empty() && now() < until {
        found = seen(ear.as_mut()).await;
    }
    assert_eq!(found, ["10.0.0.5:1"]);
    // A node that moves says so with a higher count; an older packet of it changes nothing.
    for (seq, address) in [(3, "10.0.0.6:1"), (2, "10.0.0.7:1")] {
        peer.send_to(&packet(SECRET, 5, seq, None, address, &[]), from).await.unwrap();
    }
    while found != ["10.0.0.6:1"] {
        assert!(now() < until, "{found:?}");
        found = seen(ear.as_mut()).await;
        assert_ne!(found, ["10.0.0.7:1"]);
    }
}

#[tokio::test]
async fn who_asks_is_answered_where_it_asked_and_who_only_looks_says_nothing_of_itself() {
    let (_dir, file) = written("secret", SECRET);
    let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let at = peer.local_addr().unwrap();
    let spec = format!("gossip://127.0.0.1:0?peer={at}&secret-file={file}&every=100ms");
    let address = Some(Address::parse("10.0.0.1:4747").unwrap());
    let node = Spec::parse(&spec).unwrap().open(&Asker { name: "n1".into(), address });
    let running = Discovery::start(vec![(spec.clone(), node)], Rules::default());
    let (_, from) = asked(&peer).await;
    let doctor = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    doctor.send_to(&packet(SECRET, 9, 1, Some([8; 16]), "", &[]), from).await.unwrap();
    let mut bytes = [0; 2048];
    let answer = async {
        loop {
            let (length, _) = doctor.recv_from(&mut bytes).await.unwrap();
            let text = bytes[..length].to_vec();
            if text.windows(16).any(|part| part == [8; 16]) {
                return text;
            }
        }
    };
    let text = timeout(PATIENCE, answer).await.expect("it is answered");
    assert!(text.windows(13).any(|part| part == b"10.0.0.1:4747"));
    drop(running);

    let quiet = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let at = quiet.local_addr().unwrap();
    let mut ear = common::source(&format!("gossip://127.0.0.1:0?peer={at}&secret-file={file}"));
    let (_, (nonce, _)) = tokio::join!(seen(ear.as_mut()), asked(&quiet));
    assert_ne!(nonce, [0; 16]);
}

#[tokio::test]
async fn a_secret_that_lies_open_is_missing_or_is_short_is_an_error() {
    use std::os::unix::fs::PermissionsExt;
    let (_dir, file) = written("secret", SECRET);
    let spec = format!("gossip://127.0.0.1:0?secret-file={file}");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
    assert!(trouble(common::source(&spec).as_mut()).await.contains("chmod 600"));
    let (_dir, short) = written("short", "123\n");
    let why =
        trouble(common::source(&format!("gossip://127.0.0.1:0?secret-file={short}")).as_mut())
            .await;
    assert!(why.contains("can be guessed"), "{why}");
    std::fs::remove_file(&file).unwrap();
    trouble(common::source(&spec).as_mut()).await;
}

/// Whether this machine carries multicast on loopback, and a port that nobody uses.
fn multicast() -> Option<u16> {
    let group = std::net::Ipv4Addr::new(239, 192, 47, 47);
    let plain = Plain::bind("0.0.0.0:0").ok()?;
    let port = plain.local_addr().ok()?.port();
    plain.join_multicast_v4(&group, &std::net::Ipv4Addr::LOCALHOST).ok()?;
    socket2::SockRef::from(&plain).set_multicast_if_v4(&std::net::Ipv4Addr::LOCALHOST).ok()?;
    plain.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    plain.send_to(b"x", (group, port)).ok()?;
    plain.recv_from(&mut [0; 8]).ok()?;
    Some(port)
}

#[tokio::test]
async fn nodes_of_a_multicast_group_find_each_other_and_a_doctor_finds_them_all() {
    let Some(port) = multicast() else {
        eprintln!(
            "this machine carries no multicast on loopback; peers by unicast are tested above"
        );
        return;
    };
    let (_dir, file) = written("secret", SECRET);
    let spec =
        format!("gossip://239.192.47.47:{port}?secret-file={file}&interface=127.0.0.1&every=300ms");
    let spec = Spec::parse(&spec).unwrap();
    let node = |number: u8| {
        let address = Address::parse(&format!("10.0.0.{number}:4747")).ok();
        let source = spec.open(&Asker { name: format!("n{number}"), address });
        Discovery::start(vec![(spec.to_string(), source)], Rules::default())
    };
    let nodes: Vec<Discovery> = (1..=3).map(node).collect();
    for (at, node) in nodes.iter().enumerate() {
        let mut found = Vec::new();
        while found.len() < 2 {
            match timeout(PATIENCE, node.next()).await.expect("they find each other") {
                Proposal::Dial(address) => found.push(address.to_string()),
                Proposal::Withdraw(address) => panic!("{address} is there"),
            }
        }
        found.sort();
        let expected = (1..=3).filter(|number| *number != at + 1);
        assert_eq!(found, expected.map(|n| format!("10.0.0.{n}:4747")).collect::<Vec<_>>());
    }
    let mut doctor = spec.open(&Asker::default());
    let mut found = Vec::new();
    let until = now() + PATIENCE;
    while found.len() < 3 {
        assert!(now() < until, "{found:?}");
        if let Sighting::Snapshot(seen) = common::look(doctor.as_mut()).await {
            found = texts(&seen);
        }
    }
    // Nobody took the doctor for a node.
    let known = |node: &Discovery| node.explain().candidates.len();
    eventually("all know two", || nodes.iter().all(|node| known(node) == 2)).await;
}
