//! The handshake core, without a socket and without a clock: two honest sides, and everyone in between.

use bytes::{Bytes, BytesMut};
use quorate_env::Secured;
use quorate_mesh::frame::Frame;
use quorate_mesh::handshake::{Accord, Failure, Handshake, Keys, Moment};
use quorate_mesh::hello::{self, Hello};
use quorate_mesh::{Cookie, Cookies, Reason, Road, wire};
use quorate_vocab::{Boot, ClusterId, NodeId};

fn cookie() -> Cookie {
    Cookie::new("the secret of these tests").unwrap()
}

fn hello(node: u64) -> Hello {
    Hello {
        version_min: 1,
        version_max: 1,
        features: 0b0111,
        cluster: Some(ClusterId(1)),
        node: NodeId(node),
        name: format!("node-{node}").try_into().unwrap(),
        boot: Boot(3),
        address: format!("host-{node}:7000"),
        road: Some(Road::Control),
        strand: 0,
        nonce: [node as u8; 32],
    }
}

type Stepped = Result<Option<Accord>, Failure>;

/// One side, everyone welcome.
struct Side(Handshake);

impl Side {
    fn hear(&mut self, bytes: &[u8]) -> (Stepped, BytesMut) {
        self.hear_and_judge(bytes, |_, _| Ok(()))
    }

    fn hear_and_judge(
        &mut self,
        bytes: &[u8],
        mut judge: impl FnMut(Moment, &Accord) -> Result<(), Reason> + Send,
    ) -> (Stepped, BytesMut) {
        let mut out = BytesMut::new();
        self.0.feed(bytes);
        let stepped = self.0.step(&mut judge, &mut out);
        (stepped, out)
    }
}

fn dial(ours: Hello, keys: impl Into<Keys>) -> (Side, BytesMut) {
    let mut out = BytesMut::new();
    (Side(Handshake::dial(ours, keys, None, &mut out)), out)
}

fn accept(ours: Hello) -> Side {
    Side(Handshake::accept(ours, cookie()))
}

/// The four messages of an honest handshake between node 1 and node 2.
fn recorded() -> [BytesMut; 4] {
    let (mut dialler, first) = dial(hello(1), cookie());
    let mut acceptor = accept(hello(2));
    let (_, second) = acceptor.hear(&first);
    let (_, third) = dialler.hear(&second);
    let (accepted, fourth) = acceptor.hear(&third);
    assert!(matches!(accepted, Ok(Some(_))));
    [first, second, third, fourth]
}

fn reason(stepped: Stepped) -> Reason {
    stepped.expect_err("this must be refused").reason
}

fn told(stepped: Stepped) -> (Reason, Option<Reason>) {
    let failure = stepped.expect_err("this must be refused");
    (failure.reason, failure.told.and_then(Reason::from_code))
}

#[test]
fn two_nodes_with_one_cookie_agree_and_each_learns_what_the_other_claims() {
    let (mut dialler, first) = dial(Hello { features: 0b1110, ..hello(1) }, cookie());
    let mut acceptor = accept(Hello { road: None, ..hello(2) });
    let (none, second) = acceptor.hear(&first);
    assert_eq!(none, Ok(None));
    let (none, third) = dialler.hear(&second);
    assert_eq!(none, Ok(None));
    let (accepted, fourth) = acceptor.hear(&third);
    let (dialled, nothing) = dialler.hear(&fourth);
    assert!(nothing.is_empty());
    let (accepted, dialled) = (accepted.unwrap().unwrap(), dialled.unwrap().unwrap());
    assert_eq!((accepted.version, accepted.features), (1, 0b0110));
    assert_eq!((dialled.version, dialled.features), (1, 0b0110));
    assert_eq!(accepted.peer, Hello { features: 0b1110, ..hello(1) });
    assert_eq!(dialled.peer, hello(2), "the acceptor repeats the road");
}

#[test]
fn it_goes_on_byte_by_byte_and_keeps_what_comes_after_it() {
    let (mut dialler, first) = dial(hello(1), cookie());
    let mut acceptor = accept(hello(2));
    let hear_slowly = |side: &mut Side, bytes: &[u8]| {
        let mut sent = BytesMut::new();
        let mut last = Ok(None);
        for byte in bytes {
            let (stepped, out) = side.hear(&[*byte]);
            sent.extend_from_slice(&out);
            last = stepped;
        }
        (last, sent)
    };
    let (_, second) = hear_slowly(&mut acceptor, &first);
    let (_, third) = hear_slowly(&mut dialler, &second);
    let (accepted, mut fourth) = hear_slowly(&mut acceptor, &third);
    assert!(matches!(accepted, Ok(Some(_))));
    wire::Frame::Stay.encode(&mut fourth);
    let (dialled, _) = dialler.hear(&fourth);
    assert!(matches!(dialled, Ok(Some(_))));
    let rest = dialler.0.into_decoder().into_rest();
    assert_eq!(wire::read(&rest), Ok(wire::Frame::Stay));
}

#[test]
fn a_dialler_with_another_cookie_is_refused_before_the_acceptor_proves_anything() {
    let (mut dialler, first) = dial(hello(1), Cookie::new("another secret, as long").unwrap());
    let mut acceptor = accept(hello(2));
    let (_, second) = acceptor.hear(&first);
    let (_, third) = dialler.hear(&second);
    let (refused, answer) = acceptor.hear(&third);
    assert_eq!(reason(refused), Reason::BadProof);
    let mut refusal = BytesMut::new();
    Frame::Refused(Reason::BadProof.code()).encode(&mut refusal);
    assert_eq!(answer, refusal, "not one byte of a proof");
    assert_eq!(told(dialler.hear(&answer).0), (Reason::Refused, Some(Reason::BadProof)));
}

#[test]
fn an_acceptor_with_another_cookie_is_refused() {
    // It lets anybody in, and then has to prove what it does not know.
    let (mut dialler, first) = dial(hello(1), cookie());
    let mut false_acceptor = accept(hello(2));
    let (_, second) = false_acceptor.hear(&first);
    let (_, third) = dialler.hear(&second);
    assert!(!third.is_empty());
    for proof in [vec![0; 33], vec![0; 1], vec![], vec![0; 34]] {
        let (mut dialler, _) = dial(hello(1), cookie());
        let _ = dialler.hear(&second);
        let mut forged = BytesMut::new();
        Frame::Proof(proof.into()).encode(&mut forged);
        assert_eq!(reason(dialler.hear(&forged).0), Reason::BadProof);
    }
}

#[test]
fn what_is_sent_back_proves_nothing() {
    // To a dialler: its own hello is its own id, and its own proof has the wrong role.
    let (mut dialler, first) = dial(hello(1), cookie());
    assert_eq!(reason(dialler.hear(&first).0), Reason::OwnId);
    let (mut dialler, first) = dial(hello(1), cookie());
    let mut acceptor = accept(hello(2));
    let (_, second) = acceptor.hear(&first);
    let (_, third) = dialler.hear(&second);
    let mut echo = BytesMut::new();
    // With a verdict in front, as an acceptor's proof has one.
    Frame::Proof([&[0], &third[5..]].concat().into()).encode(&mut echo);
    assert_eq!(reason(dialler.hear(&echo).0), Reason::BadProof);
    // To an acceptor: a second connection is dialled to it with the hello that it sent on the first one, so
    // that it proves itself to the one who has to prove something to it.
    let mut victim = accept(hello(2));
    let (_, its_hello) = victim.hear(&first);
    let mut same_victim = accept(hello(2));
    assert_eq!(reason(same_victim.hear(&its_hello).0), Reason::OwnId);
}

#[test]
fn a_recorded_handshake_fits_no_other_connection() {
    let [first, second, third, fourth] = recorded();
    // Replayed to the same acceptor, which draws another nonce.
    let mut acceptor = accept(Hello { nonce: [99; 32], ..hello(2) });
    let _ = acceptor.hear(&first);
    assert_eq!(reason(acceptor.hear(&third).0), Reason::BadProof);
    // Replayed to the same dialler, which draws another nonce.
    let (mut dialler, _) = dial(Hello { nonce: [98; 32], ..hello(1) }, cookie());
    let (_, proof) = dialler.hear(&second);
    assert_ne!(proof, third);
    assert_eq!(reason(dialler.hear(&fourth).0), Reason::BadProof);
}

#[test]
fn one_altered_byte_anywhere_and_the_two_do_not_agree() {
    let [a, b] = ["a", "b"].map(|text| Cookie::new(text.repeat(16)).unwrap());
    let one = Cookies::from(a.clone());
    let two = Cookies::new(b, Some(a));
    // Also where the acceptor cannot check all that the dialler proves.
    for (dialler, acceptor) in [(&one, &one), (&two, &two), (&two, &one)] {
        let honest = agree(dialler, acceptor, |_, bytes| bytes.clone());
        assert!(honest.1, "unaltered they agree");
        for (message, honest) in honest.0.iter().enumerate() {
            for at in 0..honest.len() {
                for flip in [1_u8, 0x80, 0xff] {
                    let alter = |now: usize, bytes: &BytesMut| {
                        let mut bytes = bytes.clone();
                        if now == message {
                            bytes[at] ^= flip;
                        }
                        bytes
                    };
                    let (_, agree) = agree(dialler, acceptor, alter);
                    assert!(!agree, "message {message}, byte {at}, {flip:#x}");
                }
            }
        }
    }
}

/// What is said with this on the wire, and whether the dialler, who has the last word, and the acceptor both
/// succeed.
fn agree(
    dialler: &Cookies,
    acceptor: &Cookies,
    alter: impl Fn(usize, &BytesMut) -> BytesMut,
) -> ([BytesMut; 4], bool) {
    let (mut dialler, first) = dial(hello(1), Keys::new(dialler, None));
    let mut acceptor = Side(Handshake::accept(hello(2), Keys::new(acceptor, None)));
    let (_, second) = acceptor.hear(&alter(0, &first));
    let (_, third) = dialler.hear(&alter(1, &second));
    let (accepted, fourth) = acceptor.hear(&alter(2, &third));
    let (dialled, _) = dialler.hear(&alter(3, &fourth));
    let agree = matches!((accepted, dialled), (Ok(Some(_)), Ok(Some(_))));
    ([first, second, third, fourth], agree)
}

#[test]
fn no_mac_can_be_added_to_a_proof_or_taken_from_it() {
    let [a, b] = ["a", "b"].map(|text| Cookie::new(text.repeat(16)).unwrap());
    let two = Cookies::new(b, Some(a));
    let (mut dialler, first) = dial(hello(1), Keys::new(&two, None));
    let accept = || Side(Handshake::accept(hello(2), Keys::new(&two, None)));
    let (_, second) = accept().hear(&first);
    let (_, third) = dialler.hear(&second);
    let macs = &third[5..];
    assert_eq!(macs.len(), 64);
    // Taken away, so that both fall back to the older cookie; or something put behind them.
    for forged in [&macs[32..], &macs[..32], &macs[..63], &[macs, &[0]].concat(), &[]] {
        let mut acceptor = accept();
        let _ = acceptor.hear(&first);
        let mut proof = BytesMut::new();
        Frame::Proof(Bytes::copy_from_slice(forged)).encode(&mut proof);
        assert_eq!(reason(acceptor.hear(&proof).0), Reason::BadProof);
    }
}

#[test]
fn features_and_versions_cannot_be_stripped_on_the_way() {
    // Not a flipped byte this time, but a well-formed hello that offers less.
    let (mut dialler, first) = dial(Hello { version_max: 2, ..hello(1) }, cookie());
    let mut acceptor = accept(hello(2));
    let mut stripped = BytesMut::new();
    Frame::Hello(hello::encode(&Hello { features: 0, ..hello(1) })).encode(&mut stripped);
    assert_ne!(stripped, first);
    let (_, second) = acceptor.hear(&stripped);
    let (_, third) = dialler.hear(&second);
    assert_eq!(reason(acceptor.hear(&third).0), Reason::BadProof);
}

#[test]
fn claims_that_do_not_fit_are_refused_with_their_reason() {
    let cases = [
        (Hello { cluster: Some(ClusterId(2)), ..hello(1) }, Reason::OtherCluster),
        (Hello { node: NodeId(2), ..hello(1) }, Reason::OwnId),
        (Hello { version_min: 2, version_max: 9, ..hello(1) }, Reason::NoCommonVersion),
        (Hello { version_min: 0, version_max: 0, ..hello(1) }, Reason::NoCommonVersion),
        (Hello { version_min: 1, version_max: 0, ..hello(1) }, Reason::NoCommonVersion),
        (Hello { address: "x".repeat(256), ..hello(1) }, Reason::Malformed),
    ];
    for (claims, expected) in cases {
        let (mut dialler, first) = dial(claims, cookie());
        let (refused, answer) = accept(hello(2)).hear(&first);
        assert_eq!(reason(refused), expected);
        assert_eq!(told(dialler.hear(&answer).0), (Reason::Refused, Some(expected)));
    }
}

#[test]
fn a_node_without_a_cluster_may_meet_any() {
    for cluster in [None, Some(ClusterId(7))] {
        let (_, first) = dial(Hello { cluster: None, ..hello(1) }, cookie());
        let (stepped, second) = accept(Hello { cluster, ..hello(2) }).hear(&first);
        assert_eq!(stepped, Ok(None));
        assert!(!second.is_empty());
    }
}

#[test]
fn versions_that_overlap_agree_on_the_newest() {
    let (mut dialler, first) = dial(Hello { version_max: 4, ..hello(1) }, cookie());
    let mut acceptor = accept(Hello { version_min: 2, version_max: 9, ..hello(2) });
    let (_, second) = acceptor.hear(&first);
    let (_, third) = dialler.hear(&second);
    let (accepted, _) = acceptor.hear(&third);
    assert_eq!(accepted.unwrap().unwrap().version, 4);
}

#[test]
fn another_node_than_the_expected_one_gets_no_proof() {
    let mut first = BytesMut::new();
    let expects = Some(NodeId(5));
    let mut dialler = Side(Handshake::dial(hello(1), cookie(), expects, &mut first));
    let (_, second) = accept(hello(2)).hear(&first);
    let (refused, answer) = dialler.hear(&second);
    assert_eq!(reason(refused), Reason::WrongNode);
    assert_eq!(answer.len(), 6, "a refusal, not a proof");
}

#[test]
fn another_road_than_the_dialled_one_is_refused() {
    let (mut dialler, _) = dial(hello(1), cookie());
    let mut other = BytesMut::new();
    Frame::Hello(hello::encode(&Hello { road: Some(Road::Data), ..hello(2) })).encode(&mut other);
    assert_eq!(reason(dialler.hear(&other).0), Reason::Malformed);
}

#[test]
fn who_is_proven_but_not_wanted_is_told_so_by_a_proof() {
    let (mut dialler, first) = dial(hello(1), cookie());
    let mut acceptor = accept(hello(2));
    let (_, second) = acceptor.hear(&first);
    let (_, third) = dialler.hear(&second);
    let old = |moment, accord: &Accord| {
        assert_eq!(moment, Moment::Proven, "an acceptor judges nobody before the proof");
        assert_eq!(accord.peer.boot, Boot(3));
        Err(Reason::OldBoot)
    };
    let (refused, verdict) = acceptor.hear_and_judge(&third, old);
    assert_eq!(reason(refused), Reason::OldBoot);
    // A welcome cannot be made of it.
    let mut forged = verdict.clone();
    forged[5] = 0;
    let (stepped, _) = dialler.hear(&verdict);
    assert_eq!(told(stepped), (Reason::Refused, Some(Reason::OldBoot)));
    let (mut dialler, _) = dial(hello(1), cookie());
    let _ = dialler.hear(&second);
    assert_eq!(reason(dialler.hear(&forged).0), Reason::BadProof);
}

#[test]
fn a_dialler_that_no_longer_wants_keeps_its_proof() {
    let (mut dialler, first) = dial(hello(1), cookie());
    let (_, second) = accept(hello(2)).hear(&first);
    let (refused, answer) = dialler.hear_and_judge(&second, |moment, _| {
        assert_eq!(moment, Moment::Claimed);
        Err(Reason::Duplicate)
    });
    assert_eq!(reason(refused), Reason::Duplicate);
    assert_eq!(answer.len(), 6, "a refusal, not a proof");
}

#[test]
fn nothing_but_the_due_frame_is_heard_before_the_proof() {
    let body = || Bytes::from_static(b"body");
    let of_a_link =
        (16..=31).map(|kind| (Frame::Link { kind, body: body() }, Reason::Unauthenticated));
    let early = [
        (Frame::Proof(body()), Reason::Unexpected),
        (Frame::Hello(body()), Reason::NotOurs),
        (Frame::Refused(1), Reason::Refused),
    ];
    for (frame, expected) in of_a_link.chain(early) {
        let mut wire = BytesMut::new();
        frame.encode(&mut wire);
        assert_eq!(reason(accept(hello(2)).hear(&wire).0), expected, "{frame:?} first");
        let [first, ..] = recorded();
        let mut acceptor = accept(hello(2));
        let _ = acceptor.hear(&first);
        let then = if expected == Reason::Unexpected { Reason::BadProof } else { expected };
        let then = if then == Reason::NotOurs { Reason::Unexpected } else { then };
        assert_eq!(reason(acceptor.hear(&wire).0), then, "{frame:?} after a hello");
    }
}

#[test]
fn an_oversize_hello_is_refused_at_its_length() {
    let promise = (hello::BYTES_MAX as u32 + 1).to_le_bytes();
    assert_eq!(reason(accept(hello(2)).hear(&promise).0), Reason::TooLong);
    // And the largest that is allowed is looked at.
    let mut largest = BytesMut::new();
    Frame::Hello(vec![b'x'; hello::BYTES_MAX - 1].into()).encode(&mut largest);
    assert_eq!(reason(accept(hello(2)).hear(&largest).0), Reason::NotOurs);
}

#[test]
fn a_failed_handshake_stays_failed() {
    let [first, _, third, _] = recorded();
    let mut acceptor = accept(hello(2));
    assert_eq!(reason(acceptor.hear(&third).0), Reason::Unexpected);
    assert_eq!(reason(acceptor.hear(&first).0), Reason::Unexpected);
}

/// What a connection between node 1 and node 2 has shown of that node, with an exporter of its own.
fn channel(node: u64, exporter: u8) -> Option<Secured> {
    let node = format!("node-{node}").try_into().unwrap();
    Some(Secured { node, exporter: [exporter; 32] })
}

/// How it ends for the acceptor and for the dialler, when node 1 dials node 2.
fn meet(dialler: Keys, acceptor: Keys) -> (Result<(), Reason>, Result<(), Reason>) {
    let (mut dialler, first) = dial(hello(1), dialler);
    let mut acceptor = Side(Handshake::accept(hello(2), acceptor));
    let end = |stepped: Stepped| stepped.map(|accord| assert!(accord.is_some()));
    let (heard, second) = acceptor.hear(&first);
    let (proved, third) = dialler.hear(&second);
    if heard.and(proved.clone()).is_err() {
        let refused = end(acceptor.hear(&third).0).map_err(|failure| failure.reason);
        return (refused, end(proved).map_err(|failure| failure.reason));
    }
    let (accepted, fourth) = acceptor.hear(&third);
    let (dialled, _) = dialler.hear(&fourth);
    (
        end(accepted).map_err(|failure| failure.reason),
        end(dialled).map_err(|failure| failure.reason),
    )
}

#[test]
fn while_a_cookie_is_exchanged_neighbours_in_time_agree_in_both_directions() {
    let [a, b, c] = ["a", "b", "c"].map(|text| Cookie::new(text.repeat(16)).unwrap());
    let before = Cookies::from(a.clone());
    let between = Cookies::new(b.clone(), Some(a.clone()));
    let after = Cookies::from(b.clone());
    let meets = |one: &Cookies, other: &Cookies| {
        meet(Keys::new(one, None), Keys::new(other, None)) == (Ok(()), Ok(()))
    };
    for (one, other) in [(&before, &between), (&between, &between), (&between, &after)] {
        assert!(meets(one, other) && meets(other, one));
    }
    let next = Cookies::new(c, Some(b));
    assert!(meets(&between, &next) && meets(&next, &between), "the one that both have will do");
    let refused = (Err(Reason::BadProof), Err(Reason::Refused));
    for (one, other) in [(&before, &after), (&after, &before), (&before, &next)] {
        assert_eq!(meet(Keys::new(one, None), Keys::new(other, None)), refused);
    }
}

#[test]
fn a_proof_of_too_many_macs_is_none() {
    let ours = Cookies::from(cookie());
    let (mut dialler, first) = dial(hello(1), cookie());
    let mut acceptor = Side(Handshake::accept(hello(2), Keys::new(&ours, None)));
    let (_, second) = acceptor.hear(&first);
    let (_, third) = dialler.hear(&second);
    // The right one among many wrong ones: whoever may guess often, guesses right one day.
    let right = &third[third.len() - 32..];
    let mut many = BytesMut::new();
    Frame::Proof([&[0; 64], right].concat().into()).encode(&mut many);
    assert_eq!(reason(acceptor.hear(&many).0), Reason::BadProof);
}

#[test]
fn over_tls_the_certificate_is_enough_and_is_still_bound_to_its_connection() {
    let (none, ours) = (Cookies::none(), Cookies::from(cookie()));
    let over = |cookies: &Cookies, node, exporter| Keys::new(cookies, channel(node, exporter));
    for cookies in [&none, &ours] {
        let met = meet(over(cookies, 2, 7), over(cookies, 1, 7));
        assert_eq!(met, (Ok(()), Ok(())));
        // Carried over by a node in the middle, which has a connection of its own to each of the two.
        let relayed = meet(over(cookies, 2, 7), over(cookies, 1, 8));
        assert_eq!(relayed, (Err(Reason::BadProof), Err(Reason::Refused)));
    }
    let refused = (Err(Reason::BadProof), Err(Reason::Refused));
    assert_eq!(meet(over(&none, 2, 7), over(&ours, 1, 7)), refused, "one side wants a cookie");
    assert_eq!(meet(over(&ours, 2, 7), over(&none, 1, 7)), refused);
    let plain = || Keys::new(&ours, None);
    assert_eq!(meet(over(&ours, 2, 7), plain()), refused, "stripped of its security on the way");
    assert_eq!(meet(plain(), over(&ours, 1, 7)), refused);
    let nothing = || Keys::new(&none, None);
    assert_eq!(meet(nothing(), nothing()), refused, "no secret at all is not a secret in common");
}

#[test]
fn over_tls_a_hello_has_the_name_of_its_certificate() {
    let ours = Cookies::from(cookie());
    let over = |node| Keys::new(&ours, channel(node, 7));
    let (mut dialler, first) = dial(hello(1), over(2));
    let mut acceptor = Side(Handshake::accept(hello(2), over(3)));
    let (refused, answer) = acceptor.hear(&first);
    assert_eq!(reason(refused), Reason::WrongName);
    assert_eq!(told(dialler.hear(&answer).0), (Reason::Refused, Some(Reason::WrongName)));
    let (mut dialler, _) = dial(hello(1), over(3));
    let (_, second) = Side(Handshake::accept(hello(2), over(1))).hear(&first);
    let (refused, answer) = dialler.hear(&second);
    assert_eq!(reason(refused), Reason::WrongName);
    assert_eq!(answer.len(), 6, "a refusal, not a proof");
}

#[test]
fn tls_at_a_plain_door_is_called_what_it_is() {
    for record in [&[22, 3, 1, 2, 0, 1][..], &[22, 3, 3, 0, 1], &[21, 3, 3, 0, 2, 2, 10]] {
        assert_eq!(reason(accept(hello(2)).hear(record).0), Reason::HalfSecured);
        let (mut dialler, _) = dial(hello(1), cookie());
        assert_eq!(reason(dialler.hear(record).0), Reason::HalfSecured);
    }
    // However it is split.
    let mut acceptor = accept(hello(2));
    assert_eq!(acceptor.hear(&[22, 3]).0, Ok(None));
    assert_eq!(reason(acceptor.hear(&[1]).0), Reason::HalfSecured);
}
