//! Meshes that are secured: certificates instead of cookies or beside them, and both exchanged while links
//! are up.

use crate::ca;
use crate::common;

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use ca::{Ca, write};
use common::{PATIENCE, Seen, Tap, eventually, patient, start};
use quorate_env::{BoxFuture, Listener, Net, Stream, Tcp};
use quorate_mesh::{
    Channel, Cookie, Cookies, Identity, Mesh, MeshConfig, Reason, Tls, TlsError, TlsFiles,
};
use quorate_vocab::{Lane, NodeId, NodeName};
use tokio::io::AsyncWrite;

/// A node that has a certificate and no cookie.
fn secured(id: u64) -> MeshConfig {
    MeshConfig { channel: Channel::Tls, cookies: Cookies::none(), ..patient(id, 1) }
}

fn name(id: u64) -> String {
    format!("node-{id}")
}

fn cookie(letter: &str) -> Cookie {
    Cookie::new(letter.repeat(32)).unwrap()
}

type Node = (Mesh, Arc<Tap>);

/// A node of a CA.
async fn node(ca: &Ca, id: u64) -> Node {
    start(secured(id), ca.net(&name(id))).await
}

/// Has one node keep a link to another.
async fn link(one: &Node, id: u64, two: &Node, other: u64) {
    one.0.greet(two.0.address());
    one.1.met(other, 1).await;
    two.1.met(id, 1).await;
}

async fn every_lane_carries(from: &Mesh, to: u64) {
    for lane in Lane::ALL {
        let answer = from.call(NodeId(to), lane, 1, Bytes::from_static(b"x"), PATIENCE).await;
        assert_eq!(answer.unwrap(), "echo x");
    }
}

/// TCP, and everything that was written to it.
#[derive(Clone, Default)]
struct Glass(Arc<Mutex<Vec<u8>>>);

struct Pane(Box<dyn AsyncWrite + Send + Unpin>, Glass);

impl Glass {
    fn behind(&self, stream: Stream) -> Stream {
        Stream::plain(stream.reader, Pane(stream.writer, self.clone()))
    }

    fn shows(&self, what: &[u8]) -> bool {
        self.0.lock().unwrap().windows(what.len()).any(|seen| seen == what)
    }
}

impl Net for Glass {
    fn listen<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        Tcp.listen(address)
    }

    fn connect<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Stream>> {
        Box::pin(async move { Ok(self.behind(Tcp.connect(address).await?)) })
    }
}

impl AsyncWrite for Pane {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.0).poll_write(cx, bytes);
        if let Poll::Ready(Ok(count)) = written {
            self.1.0.lock().unwrap().extend_from_slice(&bytes[..count]);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[tokio::test]
async fn two_nodes_with_certificates_link_without_a_cookie_and_nothing_can_be_read_on_the_way() {
    let ca = Ca::new();
    let glass = Glass::default();
    let one_net = Tls::over(Arc::new(glass.clone()), ca.identity(&name(1)));
    let one = start(secured(1), Arc::new(one_net)).await;
    let two = node(&ca, 2).await;
    link(&one, 1, &two, 2).await;
    let secret = vec![b'c'; 300_000];
    one.0.send(NodeId(2), Lane::Normal, 1, &mut secret.clone()).unwrap();
    two.0.send(NodeId(1), Lane::Normal, 1, &mut secret.clone()).unwrap();
    for tap in [&one.1, &two.1] {
        tap.until("the mail", |_| tap.mail() == [Bytes::from(secret.clone())]).await;
    }
    every_lane_carries(&one.0, 2).await;
    every_lane_carries(&two.0, 1).await;
    assert!(glass.0.lock().unwrap().len() > secret.len());
    assert!(!glass.shows(b"ccccccccc") && !glass.shows(b"quorate mesh") && !glass.shows(b"node-1"));
    // The glass is clear: without TLS it shows everything.
    let plain = start(patient(3, 1), Arc::new(glass.clone())).await;
    let other = start(patient(4, 1), Arc::new(Tcp)).await;
    link(&plain, 3, &other, 4).await;
    assert!(glass.shows(b"quorate mesh") && glass.shows(b"node-3"));
}

#[tokio::test]
async fn a_certificate_does_not_stand_in_for_a_cookie_that_is_asked_for() {
    let ca = Ca::new();
    let with = |id, letter| MeshConfig { cookies: cookie(letter).into(), ..secured(id) };
    let one = start(with(1, "a"), ca.net(&name(1))).await;
    let same = start(with(2, "a"), ca.net(&name(2))).await;
    link(&same, 2, &one, 1).await;
    let other = start(with(3, "b"), ca.net(&name(3))).await;
    let none = node(&ca, 4).await;
    for (stranger, times) in [(&other, 1), (&none, 2)] {
        stranger.0.greet(one.0.address());
        eventually("a refusal", || one.0.counters().closed_for(Reason::BadProof) >= times).await;
        stranger.0.close().await;
    }
    every_lane_carries(&same.0, 1).await;
}

#[tokio::test]
async fn a_ca_is_exchanged_while_every_link_stays_up() {
    let (old, new) = (Ca::new(), Ca::new());
    let one = node(&old, 1).await;
    let two = node(&old, 2).await;
    link(&one, 1, &two, 2).await;
    let both = old.pem() + &new.pem();
    for id in [1, 2] {
        write(&old.files(&name(id)).ca, &both);
    }
    // Between the steps both old and new certificates are welcome.
    let three = node(&old, 3).await;
    write(&old.files(&name(3)).ca, &both);
    link(&three, 3, &one, 1).await;
    for id in [1, 2, 3] {
        let (files, fresh) = (old.files(&name(id)), new.issue(&name(id), &Ca::usual(&name(id))));
        // As an operator copies them, one after the other.
        write(&files.cert, &fs::read_to_string(&fresh.cert).unwrap());
        write(&files.key, &fs::read_to_string(&fresh.key).unwrap());
    }
    let four = node(&new, 4).await;
    link(&four, 4, &one, 1).await;
    link(&two, 2, &four, 4).await;
    for id in [1, 2, 3] {
        write(&old.files(&name(id)).ca, &new.pem());
    }
    let late = node(&old, 5).await;
    write(&old.files(&name(5)).ca, &both);
    late.0.greet(one.0.address());
    eventually("the old CA to be refused", || one.0.counters().closed_for(Reason::Untrusted) >= 1)
        .await;
    every_lane_carries(&one.0, 2).await;
    every_lane_carries(&one.0, 3).await;
    for tap in [&one.1, &two.1, &three.1, &four.1] {
        assert_eq!(tap.times_parted(), 0);
    }
}

#[tokio::test]
async fn a_certificate_that_came_before_its_key_cuts_off_nobody() {
    let ca = Ca::new();
    let identity = ca.identity(&name(1));
    let files = ca.files(&name(1));
    let one = start(secured(1), Arc::new(Tls::over(Arc::new(Tcp), identity.clone()))).await;
    assert!(!identity.reload().unwrap(), "nothing changed");
    let elsewhere = Ca::new();
    let fresh = elsewhere.issue("fresh", &Ca::usual(&name(1)));
    write(&files.cert, &fs::read_to_string(&fresh.cert).unwrap());
    assert!(matches!(identity.reload(), Err(TlsError::Content { path, .. }) if path == files.cert));
    assert!(!identity.reload().unwrap(), "it is not read again before it changes again");
    let two = node(&ca, 2).await;
    link(&two, 2, &one, 1).await;
    write(&files.key, &fs::read_to_string(&fresh.key).unwrap());
    write(&files.ca, &elsewhere.pem());
    assert!(identity.reload().unwrap());
    let three = node(&elsewhere, 3).await;
    link(&three, 3, &one, 1).await;
    // And it stays who it was, whatever lies there.
    let _ = elsewhere.issue("other", &Ca::usual("other"));
    for (from, to) in [("other.crt", &files.cert), ("other.key", &files.key)] {
        let from = elsewhere.files("other").cert.with_file_name(from);
        write(to, &fs::read_to_string(from).unwrap());
    }
    let refused = identity.reload().unwrap_err();
    assert!(matches!(refused, TlsError::OtherNode { .. }), "{refused}");
}

#[test]
fn files_that_make_no_identity_say_what_is_wrong_with_them() {
    let ca = Ca::new();
    let load = |files: &TlsFiles| Identity::load(files.clone(), &"n1".try_into().unwrap());
    let says = |files: &TlsFiles, what: &str| {
        let error = load(files).err().unwrap_or_else(|| panic!("it was taken, not: {what}"));
        assert!(error.to_string().contains(what), "`{error}` does not say `{what}`");
    };
    let good = ca.issue("n1", &Ca::usual("n1"));
    assert!(load(&good).is_ok());
    for (uris, what) in [
        (&["quorate://tests/n2"][..], "the certificate is for n2, and this node is n1"),
        (&["https://tests/n1"], "names no node"),
        (&["quorate://tests/n1", "quorate://tests/n2"], "names no node"),
        (&["quorate://n1"], "names no node"),
        (&["quorate:///n1"], "names no node"),
        (&["quorate://tests/n1/x"], "names no node"),
    ] {
        says(&ca.issue("n1", &Ca::naming(uris)), what);
    }
    let expired = Ca::but("n1", |it| it.not_after = rcgen::date_time_ymd(2001, 1, 1));
    says(&ca.issue("n1", &expired), "expired");
    let good = ca.issue("n1", &Ca::usual("n1"));
    let other = ca.issue("n2", &Ca::usual("n2"));
    says(&TlsFiles { key: other.key.clone(), ..good.clone() }, "KeyMismatch");
    says(&TlsFiles { key: other.cert.clone(), ..good.clone() }, "no private key");
    says(&TlsFiles { cert: other.key, ..good.clone() }, "no certificate");
    says(&TlsFiles { ca: "/nowhere/ca.crt".into(), ..good.clone() }, "cannot read /nowhere/ca.crt");
    says(&TlsFiles { cert: "/dev/zero".into(), ..good.clone() }, "no file of at most");
    write(&good.ca, &Ca::new().pem());
    says(&good, "BadSignature");
    write(&good.ca, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    says(&good, &good.ca.display().to_string());
    let open = ca.issue("n1", &Ca::usual("n1"));
    fs::set_permissions(&open.key, fs::Permissions::from_mode(0o640)).unwrap();
    says(&open, "mode 0640");
}

#[tokio::test]
async fn a_cookie_is_exchanged_node_by_node_while_every_link_stays_up() {
    let sets: Vec<Cookies> = (0..3).map(|_| cookie("a").into()).collect();
    let mut nodes = Vec::new();
    for (id, cookies) in (1..).zip(&sets) {
        let config = MeshConfig { cookies: cookies.clone(), ..patient(id, 1) };
        nodes.push(start(config, Arc::new(Tcp)).await);
    }
    for (one, other) in [(1, 2), (2, 3), (3, 1)] {
        link(&nodes[one - 1], one as u64, &nodes[other - 1], other as u64).await;
    }
    let steps = [(Some("a"), 0), (Some("a"), 1), (Some("a"), 2), (None, 0), (None, 1), (None, 2)];
    for (step, (older, at)) in steps.into_iter().enumerate() {
        sets[at].rotate(cookie("b"), older.map(cookie));
        // Whoever comes anew with what that node has, dials all others and is dialled by them.
        let (dials, dialled) = (10 + 2 * step as u64, 11 + 2 * step as u64);
        for id in [dials, dialled] {
            let config = MeshConfig { cookies: sets[at].clone(), ..patient(id, 1) };
            let newcomer = start(config, Arc::new(Tcp)).await;
            for (member, other) in nodes.iter().zip(1..) {
                match id == dials {
                    true => link(&newcomer, id, member, other).await,
                    false => link(member, other, &newcomer, id).await,
                }
            }
            for member in &nodes {
                member.0.forget(NodeId(id));
            }
            newcomer.0.close().await;
        }
    }
    let members: Vec<_> = (1..=3).map(NodeId).collect();
    for (mesh, tap) in &nodes {
        let parted = tap
            .seen()
            .into_iter()
            .any(|seen| matches!(seen, Seen::Down(node, ..) if members.contains(&node)));
        assert!(!parted, "no member has parted from another");
        assert_eq!(mesh.counters().closed_for(Reason::BadProof), 0);
    }
    let old = MeshConfig { cookies: cookie("a").into(), ..patient(99, 1) };
    let (old, _) = start(old, Arc::new(Tcp)).await;
    old.greet(nodes[0].0.address());
    eventually("the old cookie to be refused", || {
        nodes[0].0.counters().closed_for(Reason::BadProof) >= 1
    })
    .await;
}

#[test]
fn the_names_that_nodes_may_have_fit_into_a_certificate() {
    let ca = Ca::new();
    for name in ["n", "A.b_c-9", &"x".repeat(64)] {
        let files = ca.issue("n", &Ca::usual(name));
        Identity::load(files, &NodeName::try_from(name).unwrap()).unwrap();
    }
}
