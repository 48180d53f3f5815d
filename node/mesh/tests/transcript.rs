//! The handshake of version 1 to the byte, for good. With fixed nonces both sides say the same each time; who
//! changes what stands here changes the wire, and needs another version that the old one is still spoken
//! beside.

use bytes::BytesMut;
use quorate_env::Secured;
use quorate_mesh::handshake::{Handshake, Keys};
use quorate_mesh::hello::Hello;
use quorate_mesh::{Cookie, Cookies, Road};
use quorate_vocab::{Boot, ClusterId, NodeId};

fn hello(node: u64) -> Hello {
    Hello {
        version_min: 1,
        version_max: 1,
        features: 0,
        cluster: (node == 1).then_some(ClusterId(0x0102_0304)),
        node: NodeId(node),
        name: format!("node-{node}").try_into().unwrap(),
        boot: Boot(300),
        address: format!("host-{node}:4747"),
        road: Some(Road::Data),
        strand: 0,
        nonce: [0xa0 | node as u8; 32],
    }
}

fn cookie(letter: &str) -> Cookie {
    Cookie::new(letter.repeat(16)).unwrap()
}

fn channel(node: u64) -> Option<Secured> {
    let node = format!("node-{node}").try_into().unwrap();
    Some(Secured { node, exporter: [0xee; 32] })
}

/// What is said, a line for each message: first the dialler, then in turns.
fn transcript(cookies: &Cookies, is_secured: bool) -> String {
    let keys = |other| Keys::new(cookies, channel(other).filter(|_| is_secured));
    let mut said = BytesMut::new();
    let mut lines = String::new();
    let mut dialler = Handshake::dial(hello(1), keys(2), None, &mut said);
    let mut acceptor = Handshake::accept(hello(2), keys(1));
    for turn in 0..4 {
        lines.extend(said.iter().map(|byte| format!("{byte:02x}")));
        lines.push('\n');
        let heard = std::mem::take(&mut said);
        let listener = if turn % 2 == 0 { &mut acceptor } else { &mut dialler };
        listener.feed(&heard);
        let stepped = listener.step(&mut |_, _| Ok(()), &mut said).unwrap();
        assert_eq!(stepped.is_some(), turn >= 2);
    }
    assert!(said.is_empty());
    lines
}

fn is(found: &str, golden: &str) {
    assert_eq!(found, golden, "the wire has changed; it is now\n{found}");
}

#[test]
fn with_a_cookie() {
    is(&transcript(&cookie("a").into(), false), include_str!("golden/cookie-1.hex"));
}

#[test]
fn with_two_cookies() {
    let both = Cookies::new(cookie("b"), Some(cookie("a")));
    is(&transcript(&both, false), include_str!("golden/cookies-1.hex"));
}

#[test]
fn with_a_certificate() {
    is(&transcript(&Cookies::none(), true), include_str!("golden/certificate-1.hex"));
}

#[test]
fn with_a_certificate_and_a_cookie() {
    is(&transcript(&cookie("a").into(), true), include_str!("golden/certificate-and-cookie-1.hex"));
}
