//! Strangers at a secured door, and false doors: each is closed with its reason, while a good link goes on.

use crate::ca;
use crate::common;

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use ca::Ca;
use common::{PATIENCE, Tap, eventually, keep, patient, start};
use quorate_env::{Listener, Net, Stream, Tcp, sleep, spawn, timeout};
use quorate_mesh::frame::Frame;
use quorate_mesh::hello::{self, Hello};
use quorate_mesh::{Channel, Cookies, Identity, Mesh, MeshConfig, Reason, Road, Tls, TlsFiles};
use quorate_vocab::{Boot, ClusterId, Lane, NodeId};
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, date_time_ymd};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

fn secured(id: u64) -> MeshConfig {
    MeshConfig { channel: Channel::Tls, cookies: Cookies::none(), ..patient(id, 1) }
}

/// A secured node, and a friend that it is linked to.
struct Town {
    ca: Ca,
    mesh: Mesh,
    friend: Mesh,
    friend_tap: Arc<Tap>,
}

impl Town {
    async fn new(config_of_one: MeshConfig) -> Self {
        let ca = Ca::new();
        let (mesh, tap) = start(config_of_one, ca.net("node-1")).await;
        let (friend, friend_tap) = start(secured(2), ca.net("node-2")).await;
        keep(&friend, &[&mesh]);
        tap.met(2, 1).await;
        friend_tap.met(1, 1).await;
        Self { ca, mesh, friend, friend_tap }
    }

    fn closed(&self, reason: Reason) -> u64 {
        self.mesh.counters().closed_for(reason)
    }

    /// Somebody does something that has to end for exactly one reason.
    async fn refuses(&self, reason: Reason, what: impl AsyncFnOnce()) {
        let before = self.closed(reason);
        what().await;
        eventually(reason.as_str(), || self.closed(reason) == before + 1).await;
        self.is_well().await;
    }

    async fn says(&self, bytes: &[u8], reason: Reason) {
        let talks = async || {
            let mut stranger = Tcp.connect(self.mesh.address()).await.unwrap();
            let _ = stranger.writer.write_all(bytes).await;
            ends(&mut stranger).await;
        };
        self.refuses(reason, talks).await;
    }

    /// A stranger who speaks TLS well, shows this, and says a hello.
    async fn shows(&self, files: Option<&TlsFiles>, claims: &Hello, reason: Reason) {
        let talks = async || {
            let stranger = Tcp.connect(self.mesh.address()).await.unwrap();
            let Ok(mut stranger) = careless_dialler(stranger, files).await else { return };
            let mut wire = BytesMut::new();
            Frame::Hello(hello::encode(claims)).encode(&mut wire);
            let _ = stranger.write_all(&wire).await;
            let _ = stranger.flush().await;
            let mut answer = Vec::new();
            let _ = timeout(PATIENCE, stranger.read_to_end(&mut answer)).await.unwrap();
        };
        self.refuses(reason, talks).await;
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

async fn ends(stranger: &mut Stream) {
    let mut answer = Vec::new();
    let read = timeout(PATIENCE, stranger.reader.read_to_end(&mut answer)).await;
    assert!(read.is_ok(), "it was let stay");
}

fn claims(name: &str) -> Hello {
    Hello {
        version_min: 1,
        version_max: 1,
        features: 0,
        cluster: Some(ClusterId(1)),
        node: NodeId(66),
        name: name.try_into().unwrap(),
        boot: Boot(1),
        address: "nowhere:1".into(),
        road: Some(Road::Data),
        strand: 0,
        nonce: [6; 32],
    }
}

fn shown(files: &TlsFiles) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let certificate = CertificateDer::from_pem_slice(&fs::read(&files.cert).unwrap()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(&fs::read(&files.key).unwrap()).unwrap();
    (vec![certificate], key)
}

type Open<S> = std::io::Result<S>;

/// Opens TLS as a client that believes whatever it is shown.
async fn careless_dialler(
    stream: Stream,
    files: Option<&TlsFiles>,
) -> Open<tokio_rustls::client::TlsStream<DuplexStream>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(careless::Believes));
    let config = match files.map(shown) {
        Some((chain, key)) => config.with_client_auth_cert(chain, key).unwrap(),
        None => config.with_no_client_auth(),
    };
    let name = ServerName::try_from("whoever").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, whole(stream)).await
}

/// One end of a pipe whose other end is a stream, since TLS wants both halves in one.
fn whole(stream: Stream) -> DuplexStream {
    let (near, far) = tokio::io::duplex(64 * 1024);
    let (mut far_reader, mut far_writer) = tokio::io::split(far);
    let Stream { mut reader, mut writer, .. } = stream;
    spawn(async move {
        let _ = tokio::io::copy(&mut far_reader, &mut writer).await;
        let _ = writer.shutdown().await;
    });
    spawn(async move {
        let _ = tokio::io::copy(&mut reader, &mut far_writer).await;
        let _ = far_writer.shutdown().await;
    });
    near
}

mod careless {
    //! A client that believes everything. Only the tests have one.

    use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
    use rustls::{DigitallySignedStruct, Error, SignatureScheme};

    #[derive(Debug)]
    pub(crate) struct Believes;

    impl ServerCertVerifier for Believes {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, Error> {
            Ok(ServerCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn verify_tls13_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            vec![SignatureScheme::ECDSA_NISTP256_SHA256, SignatureScheme::ED25519]
        }
    }
}

/// What a client of TLS 1.2, and of nothing newer, begins with.
fn hello_of_tls_1_2() -> Vec<u8> {
    let suites = [0xc0, 0x2b, 0xc0, 0x2f]; // ECDHE with AES-128-GCM
    let groups = [0, 10, 0, 4, 0, 2, 0, 23];
    let points = [0, 11, 0, 2, 1, 0];
    let signatures = [0, 13, 0, 6, 0, 4, 4, 3, 4, 1];
    let extensions = [&groups[..], &points, &signatures].concat();
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend([0, 0, suites.len() as u8]);
    body.extend(suites);
    body.extend([1, 0, 0, extensions.len() as u8]);
    body.extend(extensions);
    let handshake = [&[1, 0, 0, body.len() as u8][..], &body].concat();
    [&[22, 3, 1, 0, handshake.len() as u8][..], &handshake].concat()
}

#[tokio::test]
async fn what_is_not_this_tls_is_refused_with_its_reason() {
    let town = Town::new(secured(1)).await;
    let mut plain = BytesMut::new();
    Frame::Hello(hello::encode(&claims("node-2"))).encode(&mut plain);
    town.says(&plain, Reason::HalfSecured).await;
    town.says(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n", Reason::HalfSecured).await;
    town.says(&[0; 64], Reason::HalfSecured).await;
    town.says(&[22, 3, 1, 0xff, 0xff, 1], Reason::TooLong).await;
    town.says(&hello_of_tls_1_2(), Reason::NoCommonVersion).await;
    // The first message may promise much, and is believed little of it.
    town.says(&[22, 3, 1, 0, 5, 1, 0xff, 0xff, 0xff, 0], Reason::TooLong).await;
}

#[tokio::test]
async fn who_has_no_right_certificate_is_refused_whatever_it_says() {
    let town = Town::new(secured(1)).await;
    let stranger = claims("stranger");
    let usual = Ca::usual("stranger");
    let issued = |params: &CertificateParams| town.ca.issue("stranger", params);
    town.shows(None, &stranger, Reason::Untrusted).await;
    let elsewhere = Ca::new();
    let foreign = elsewhere.issue("stranger", &usual);
    town.shows(Some(&foreign), &stranger, Reason::Untrusted).await;
    let ended = Ca::but("stranger", |it| it.not_after = date_time_ymd(2020, 1, 1));
    town.shows(Some(&issued(&ended)), &stranger, Reason::Expired).await;
    let early = Ca::but("stranger", |it| it.not_before = date_time_ymd(4000, 1, 1));
    town.shows(Some(&issued(&early)), &stranger, Reason::Expired).await;
    let nobody = Ca::naming(&["https://example.org/"]);
    town.shows(Some(&issued(&nobody)), &stranger, Reason::Untrusted).await;
    let both = Ca::naming(&["quorate://tests/stranger", "quorate://tests/node-2"]);
    town.shows(Some(&issued(&both)), &stranger, Reason::Untrusted).await;
    let staging = Ca::naming(&["quorate://staging/stranger"]);
    town.shows(Some(&issued(&staging)), &stranger, Reason::Untrusted).await;
    town.shows(Some(&issued(&usual)), &claims("node-2"), Reason::WrongName).await;
    let server_only = Ca::but("stranger", |it| {
        it.extended_key_usages.retain(|usage| *usage == ExtendedKeyUsagePurpose::ServerAuth);
    });
    town.shows(Some(&issued(&server_only)), &stranger, Reason::Untrusted).await;
}

#[tokio::test]
async fn frames_and_guesses_before_the_proof_are_refused_over_tls_too() {
    let town = Town::new(secured(1)).await;
    let files = town.ca.issue("stranger", &Ca::usual("stranger"));
    let hello = Frame::Hello(hello::encode(&claims("stranger")));
    let body = Bytes::from_static(b"body");
    for (frames, reason) in [
        (vec![Frame::Link { kind: 16, body: body.clone() }], Reason::Unauthenticated),
        (vec![hello.clone(), Frame::Link { kind: 16, body }], Reason::Unauthenticated),
        (vec![hello.clone(), hello.clone()], Reason::Unexpected),
        (vec![hello, Frame::Proof(vec![0; 32].into())], Reason::BadProof),
    ] {
        let talks = async || {
            let stranger = Tcp.connect(town.mesh.address()).await.unwrap();
            let mut stranger = careless_dialler(stranger, Some(&files)).await.unwrap();
            let mut wire = BytesMut::new();
            frames.iter().for_each(|frame| frame.encode(&mut wire));
            let _ = stranger.write_all(&wire).await;
            let _ = stranger.flush().await;
            let mut answer = Vec::new();
            let _ = timeout(PATIENCE, stranger.read_to_end(&mut answer)).await.unwrap();
        };
        town.refuses(reason, talks).await;
    }
}

#[tokio::test]
async fn who_dawdles_at_any_step_of_tls_is_closed_at_the_deadline() {
    let mut strict = secured(1);
    strict.limits.handshake = Duration::from_secs(1);
    let town = Town::new(strict).await;
    let late = town.closed(Reason::Late);
    let mut silent = Tcp.connect(town.mesh.address()).await.unwrap();
    let mut slow = Tcp.connect(town.mesh.address()).await.unwrap();
    let mut half = Tcp.connect(town.mesh.address()).await.unwrap();
    let client_hello = hello_of_tls_1_2();
    let _ = half.writer.write_all(&client_hello[..20]).await;
    let files = town.ca.issue("stranger", &Ca::usual("stranger"));
    let mute = Tcp.connect(town.mesh.address()).await.unwrap();
    // On a busy machine this one may be late before it is through; it is closed all the same.
    let mute = careless_dialler(mute, Some(&files)).await;
    let dribbles = spawn(async move {
        for byte in client_hello.into_iter().cycle() {
            if slow.writer.write_all(&[byte]).await.is_err() {
                return;
            }
            sleep(Duration::from_millis(300)).await;
        }
    });
    ends(&mut silent).await;
    ends(&mut half).await;
    if let Ok(mut mute) = mute {
        let _ = timeout(PATIENCE, mute.read_to_end(&mut Vec::new())).await.unwrap();
    }
    timeout(PATIENCE, dribbles).await.expect("it was let dribble on").unwrap();
    eventually("all four", || town.closed(Reason::Late) == late + 4).await;
    town.is_well().await;
}

/// A door that opens TLS with a certificate, and goes on as a node with that certificate would.
async fn false_door(files: TlsFiles) -> String {
    let (chain, key) = shown(&files);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let mut listener: Box<dyn Listener> = Tcp.listen("127.0.0.1:0").await.unwrap();
    let address = listener.address();
    spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = acceptor.accept(whole(stream)).await;
        }
    });
    address
}

#[tokio::test]
async fn a_false_door_is_seen_through_by_who_dials() {
    let town = Town::new(secured(1)).await;
    let usual = Ca::usual("stranger");
    let elsewhere = Ca::new();
    let ended = Ca::but("stranger", |it| it.not_after = date_time_ymd(2020, 1, 1));
    let staging = Ca::naming(&["quorate://staging/stranger"]);
    for (files, reason) in [
        (elsewhere.issue("stranger", &usual), Reason::Untrusted),
        (town.ca.issue("ended", &ended), Reason::Expired),
        (town.ca.issue("staging", &staging), Reason::Untrusted),
    ] {
        let address = false_door(files).await;
        let (mesh, tap) = start(secured(9), town.ca.net("node-9")).await;
        mesh.greet(&address);
        eventually(reason.as_str(), || mesh.counters().closed_for(reason) >= 1).await;
        assert_eq!((mesh.counters().opened, tap.seen()), (0, vec![]));
        mesh.close().await;
    }
    town.is_well().await;
}

#[tokio::test]
async fn a_node_that_speaks_under_the_certificate_of_another_is_refused_by_who_dials_it() {
    let town = Town::new(secured(1)).await;
    // It is node-3 by its certificate and says that it is node-4, to whoever asks.
    let files = town.ca.issue("node-3", &Ca::usual("node-3"));
    let identity = Identity::load(files, &"node-3".try_into().unwrap()).unwrap();
    let net = Arc::new(Tls::over(Arc::new(Tcp), identity));
    let (false_four, _) = start(secured(4), net).await;
    let (asks, _) = start(secured(9), town.ca.net("node-9")).await;
    asks.greet(false_four.address());
    eventually("the dialler's refusal", || asks.counters().closed_for(Reason::WrongName) >= 1)
        .await;
    keep(&false_four, &[&town.mesh]);
    eventually("the acceptor's refusal", || town.closed(Reason::WrongName) >= 1).await;
    town.is_well().await;
}

#[tokio::test]
async fn a_plain_node_and_a_secured_one_do_not_meet_whoever_dials() {
    let ca = Ca::new();
    let plain_config = |id| patient(id, 1);
    let (secure, secure_tap) = start(secured(1), ca.net("node-1")).await;
    let (plain, plain_tap) = start(plain_config(2), Arc::new(Tcp)).await;
    plain.greet(secure.address());
    eventually("plain text at a secured door", || {
        secure.counters().closed_for(Reason::HalfSecured) >= 1
    })
    .await;
    secure.greet(plain.address());
    eventually("TLS at a plain door", || plain.counters().closed_for(Reason::HalfSecured) >= 1)
        .await;
    // One that is told to be secure, and whose net is not, says nothing to anybody.
    let (naive, naive_tap) = start(secured(3), Arc::new(Tcp)).await;
    naive.greet(plain.address());
    eventually("no hello", || naive.counters().closed_for(Reason::HalfSecured) >= 1).await;
    for tap in [secure_tap, plain_tap, naive_tap] {
        assert_eq!(tap.seen(), []);
    }
}
