//! What proven peers say, against whatever may arrive, however it is split.

use bytes::{BufMut, BytesMut};
use proptest::prelude::*;
use quorate_mesh::Reason;
use quorate_mesh::reader::{Came, Reader, Room};
use quorate_mesh::wire::{self, FRAGMENT_BYTES_MAX, Frame, Sample, Terms, What, WireError};
use quorate_vocab::{ClusterId, Lane};

const TERMS: Terms =
    Terms { windows: [64 * 1024; 3], body_bytes_max: 300_000, open_bytes_max: 400_000 };

/// What the sender of a turn may exceed its credit by; see the reader.
const OVERDRAFT_BYTES: usize = 3 * FRAGMENT_BYTES_MAX;

/// A frame that owns its body, so that it can be drawn.
#[derive(Clone, Debug)]
enum Drawn {
    Whole(Lane, What, Vec<u8>),
    Part(u64, Vec<u8>),
    Bare(Frame<'static>),
}

impl Drawn {
    fn frame(&self) -> Frame<'_> {
        match self {
            Self::Whole(lane, what, body) => Frame::Whole { lane: *lane, what: *what, body },
            Self::Part(stream, body) => Frame::Part { stream: *stream, body },
            Self::Bare(frame) => *frame,
        }
    }
}

fn lane() -> impl Strategy<Value = Lane> {
    (0_usize..3).prop_map(|lane| Lane::ALL[lane])
}

fn what() -> impl Strategy<Value = What> {
    let call = any::<u64>;
    prop_oneof![Just(What::Mail), call().prop_map(What::Call), call().prop_map(What::Answer)]
}

fn sample() -> impl Strategy<Value = Sample> {
    any::<[u64; 2]>().prop_map(|[elapsed, wall]| Sample { elapsed, wall })
}

/// Any frame, and often one that has to do with those before it.
fn drawn() -> impl Strategy<Value = Drawn> {
    let body = || {
        let long =
            (0_usize..=FRAGMENT_BYTES_MAX, any::<u8>()).prop_map(|(len, byte)| vec![byte; len]);
        prop_oneof![4 => prop::collection::vec(any::<u8>(), 0..64), 1 => long]
    };
    let stream = || prop_oneof![8 => 1_u64..6, 1 => any::<u64>()];
    let bytes = prop_oneof![8 => 65_537_u64..150_000, 1 => any::<u64>()];
    let number = any::<u64>;
    let words = prop_oneof![
        (lane(), stream(), what(), bytes).prop_map(|(lane, stream, what, bytes)| Frame::Open {
            lane,
            stream,
            what,
            bytes
        }),
        stream().prop_map(|stream| Frame::Abort { stream }),
        (lane(), number(), any::<bool>()).prop_map(|(lane, call, unbegun)| Frame::Lost {
            lane,
            call,
            unbegun
        }),
        (lane(), any::<u32>()).prop_map(|(lane, bytes)| Frame::Credit { lane, bytes }),
        (any::<[u32; 3]>(), number(), number()).prop_map(|(windows, body, open)| {
            Frame::Terms(Terms { windows, body_bytes_max: body, open_bytes_max: open })
        }),
        sample().prop_map(|at| Frame::Ping { at }),
        [sample(), sample(), sample()].prop_map(|[asked, came, sent]| Frame::Pong {
            asked,
            came,
            sent
        }),
        number().prop_map(|heard| Frame::Leave { heard }),
        Just(Frame::Bye),
        Just(Frame::Stay),
        Just(Frame::Beat),
        number().prop_map(|cluster| Frame::Adopted(ClusterId(cluster))),
        number().prop_map(Frame::Stamp),
    ];
    prop_oneof![
        2 => (lane(), what(), body()).prop_map(|(lane, what, body)| Drawn::Whole(lane, what, body)),
        2 => (stream(), body()).prop_map(|(stream, body)| Drawn::Part(stream, body)),
        3 => words.prop_map(Drawn::Bare),
    ]
}

fn encoded(frames: &[Drawn]) -> BytesMut {
    let mut wire = BytesMut::new();
    frames.iter().for_each(|drawn| drawn.frame().encode(&mut wire));
    wire
}

/// What a reader makes of a stream that comes in pieces: all that it told, and how it ended.
fn read(reader: &mut Reader, wire: &[u8], pieces: &[usize]) -> (Vec<String>, Result<(), Reason>) {
    let (mut told, mut rest, mut arrived) = (Vec::new(), wire, 0);
    for piece in pieces.iter().cycle() {
        let put = match reader.room() {
            Room::Buffer(buffer) => {
                let put = rest.len().min(*piece);
                buffer.extend_from_slice(&rest[..put]);
                put
            }
            Room::Part(mut part) => {
                let put = rest.len().min(*piece).min(part.remaining_mut());
                assert!(put > 0 || rest.is_empty(), "no room looks like the end of a stream");
                part.put_slice(&rest[..put]);
                put
            }
        };
        reader.filled(put);
        arrived += put;
        rest = &rest[put..];
        let step = reader.step(|came| {
            told.push(match came {
                Came::Body { lane, what, body } => {
                    let sum: u64 = body.iter().map(|byte| u64::from(*byte)).sum();
                    format!("{} {what:?} {} {sum}", lane.as_str(), body.len())
                }
                Came::Word(word) => format!("{word:?}"),
            });
            Ok(())
        });
        if let Err(reason) = step {
            return (told, Err(reason));
        }
        reader.check();
        // Twice what came, a fragment for each body that is open, and the read buffer.
        let held_max = 2 * arrived + 6 * FRAGMENT_BYTES_MAX + 512 * 1024;
        assert!(reader.held() <= held_max, "{} held of {arrived}", reader.held());
        if rest.is_empty() {
            break;
        }
    }
    (told, Ok(()))
}

fn pieces() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(prop_oneof![1_usize..40, 1_usize..100_000], 1..12)
}

proptest! {
    #[test]
    fn every_frame_reads_back_and_no_prefix_of_it_is_one(drawn in drawn()) {
        let wire = encoded(std::slice::from_ref(&drawn));
        prop_assert_eq!(wire::length(&wire), Ok(Some(wire.len())));
        prop_assert_eq!(wire::read(&wire), Ok(drawn.frame()));
        prop_assert_eq!(wire::length(&wire[..wire::LENGTH_BYTES - 1]), Ok(None));
        let mut head = BytesMut::new();
        drawn.frame().encode_head(&mut head);
        prop_assert_eq!(&head[..], &wire[..wire.len() - drawn.frame().body().len()]);
    }

    #[test]
    fn what_reads_is_written_in_one_way_only(
        kind in prop_oneof![any::<u8>(), 16_u8..32],
        rest in prop::collection::vec(prop_oneof![Just(0_u8), Just(1), Just(16), any::<u8>()], 0..60),
    ) {
        let mut wire = BytesMut::new();
        wire.put_u32_le(1 + rest.len() as u32);
        wire.put_u8(kind);
        wire.put_slice(&rest);
        if let Ok(frame) = wire::read(&wire) {
            let mut again = BytesMut::new();
            frame.encode(&mut again);
            prop_assert_eq!(wire, again);
        }
    }

    #[test]
    fn bodies_and_words_come_as_they_were_sent_however_they_are_split(
        bodies in prop::collection::vec((lane(), what(), 0_usize..130_000, 0_usize..70_000), 1..12),
        pieces in pieces(),
    ) {
        let terms = Terms { windows: [1 << 30; 3], body_bytes_max: 1 << 20, open_bytes_max: 1 << 30 };
        let (mut wire, mut expected, mut open) = (BytesMut::new(), Vec::new(), Vec::new());
        let whole = |lane: Lane, what, size: usize, number: usize| {
            format!("{} {what:?} {size} {}", lane.as_str(), size * number)
        };
        for (number, (lane, what, size, part)) in bodies.into_iter().enumerate() {
            let body = vec![number as u8; size];
            if size <= FRAGMENT_BYTES_MAX {
                Frame::Whole { lane, what, body: &body }.encode(&mut wire);
                expected.push(whole(lane, what, size, number));
            } else {
                let stream = number as u64 + 1;
                Frame::Open { lane, stream, what, bytes: size as u64 }.encode(&mut wire);
                let first = part.min(FRAGMENT_BYTES_MAX);
                Frame::Part { stream, body: &body[..first] }.encode(&mut wire);
                open.push((lane, what, stream, body, first));
            }
            Frame::Stamp(number as u64).encode(&mut wire);
            expected.push(format!("{:?}", Frame::Stamp(number as u64)));
        }
        for (lane, what, stream, body, first) in open {
            for rest in body[first..].chunks(FRAGMENT_BYTES_MAX) {
                Frame::Part { stream, body: rest }.encode(&mut wire);
            }
            expected.push(whole(lane, what, body.len(), stream as usize - 1));
        }
        let mut reader = Reader::new(terms, BytesMut::new());
        let (told, end) = read(&mut reader, &wire, &pieces);
        prop_assert_eq!((told, end), (expected, Ok(())));
    }

    #[test]
    fn splits_do_not_change_what_is_read_nor_what_is_refused(
        frames in prop::collection::vec(drawn(), 1..20),
        pieces in pieces(),
    ) {
        let wire = encoded(&frames);
        let mut whole = Reader::new(TERMS, wire.clone());
        let mut parts = Reader::new(TERMS, BytesMut::new());
        let of_whole = read(&mut whole, &[], &[1]);
        prop_assert_eq!(read(&mut parts, &wire, &pieces), of_whole);
        if wire.len() < 4000 {
            let mut bytes = Reader::new(TERMS, BytesMut::new());
            let mut whole = Reader::new(TERMS, wire.clone());
            prop_assert_eq!(read(&mut bytes, &wire, &[1]), read(&mut whole, &[], &[1]));
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic_and_hold_no_more_than_what_arrived_explains(
        frames in prop::collection::vec(drawn(), 0..6),
        noise in prop::collection::vec(prop_oneof![Just(0_u8), 0_u8..32, any::<u8>()], 0..600),
        at in any::<prop::sample::Index>(),
        pieces in pieces(),
    ) {
        let mut wire = encoded(&frames).to_vec();
        let at = at.index(wire.len() + 1);
        wire.splice(at..at, noise);
        // What is held is checked as it is read.
        let mut reader = Reader::new(TERMS, BytesMut::new());
        let _ = read(&mut reader, &wire, &pieces);
    }
}

fn reader() -> Reader {
    Reader::new(TERMS, BytesMut::new())
}

/// What becomes of some frames, of which all but the last are fine.
fn end_of(reader: &mut Reader, frames: &[Frame<'_>]) -> Result<(), Reason> {
    let (last, fine) = frames.split_last().unwrap();
    let mut wire = BytesMut::new();
    fine.iter().for_each(|frame| frame.encode(&mut wire));
    if !wire.is_empty() {
        assert_eq!(read(reader, &wire, &[usize::MAX]).1, Ok(()), "{fine:?}");
    }
    let mut wire = BytesMut::new();
    last.encode(&mut wire);
    read(reader, &wire, &[usize::MAX]).1
}

fn open(stream: u64, bytes: u64) -> Frame<'static> {
    Frame::Open { lane: Lane::Bulk, stream, what: What::Mail, bytes }
}

#[test]
fn streams_that_are_not_as_they_were_announced_are_refused() {
    let part = |stream, body| Frame::Part { stream, body };
    let fragment = &[0; FRAGMENT_BYTES_MAX][..];
    let whole = Frame::Whole { lane: Lane::High, what: What::Mail, body: b"x" };
    let wrong: [(&[Frame<'_>], Reason); 11] = [
        (&[part(1, b"x")], Reason::Malformed),
        (&[part(1, b"")], Reason::Malformed),
        (&[Frame::Abort { stream: 1 }], Reason::Malformed),
        // What is short goes whole: many tiny bodies would cost more than their bytes.
        (&[open(1, FRAGMENT_BYTES_MAX as u64)], Reason::Malformed),
        (&[open(0, 70_000)], Reason::Malformed),
        (&[open(2, 70_000), open(2, 70_000)], Reason::Malformed),
        (&[open(2, 70_000), open(1, 70_000)], Reason::Malformed),
        (&[open(1, 65_540), part(1, fragment), part(1, b"12345")], Reason::Malformed),
        (&[open(1, 70_000), Frame::Abort { stream: 1 }, part(1, b"x")], Reason::Malformed),
        (&[open(1, 300_001)], Reason::TooLong),
        (&[open(1, 300_000), whole, open(2, 100_001)], Reason::TooLong),
    ];
    for (frames, reason) in wrong {
        assert_eq!(end_of(&mut reader(), frames), Err(reason), "{:?}", frames.last());
    }
    // What was aborted or came whole makes room for the next.
    let mut reader = reader();
    let abort = Frame::Abort { stream: 1 };
    assert_eq!(end_of(&mut reader, &[open(1, 300_000), abort, open(7, 300_000)]), Ok(()));
    assert_eq!(end_of(&mut reader, &[open(8, u64::MAX)]), Err(Reason::TooLong));
}

#[test]
fn who_sends_more_than_was_granted_is_refused_and_what_was_read_is_granted_again() {
    let body = [0; 1000];
    let frame = Frame::Whole { lane: Lane::Normal, what: What::Mail, body: &body };
    let cost = wire::LENGTH_BYTES + 1 + body.len();
    let window = TERMS.windows[1] as usize;
    let mut greedy = reader();
    let mut sent = 0;
    while end_of(&mut greedy, &[frame]).is_ok() {
        sent += cost;
        assert!(sent <= window + OVERDRAFT_BYTES);
    }
    assert!(sent + cost > window + OVERDRAFT_BYTES, "a turn too much is forgiven: {sent}");
    // Other lanes have windows of their own, and parts are counted like whole bodies.
    let mut split = reader();
    let fragment = [0; FRAGMENT_BYTES_MAX];
    let part = |stream| Frame::Part { stream, body: &fragment };
    assert_eq!(end_of(&mut split, &[open(1, 300_000), part(1), part(1), part(1), part(1)]), Ok(()));
    assert_eq!(end_of(&mut split, &[frame]), Ok(()));
    assert_eq!(end_of(&mut split, &[part(1)]), Err(Reason::Malformed), "more than the body");
    let mut split = reader();
    let opens = [open(1, 200_000), open(2, 200_000)];
    assert_eq!(end_of(&mut split, &opens), Ok(()));
    assert_eq!(end_of(&mut split, &[part(1), part(2), part(1), part(2)]), Ok(()));
    assert_eq!(end_of(&mut split, &[part(1)]), Err(Reason::OverCredit));
    // Who waits for its grants never is.
    let (mut honest, mut credit) = (reader(), window);
    for _ in 0..10_000 {
        if credit == 0 {
            let granted = honest.grant(Lane::Normal).expect("all of a window was read");
            assert!(granted as usize >= window / 4);
            credit += granted as usize;
        }
        assert_eq!(end_of(&mut honest, &[frame]), Ok(()));
        credit = credit.saturating_sub(cost);
    }
    assert_eq!(honest.grant(Lane::High), None, "nothing came there");
}

#[test]
fn a_promise_reserves_only_what_arrives() {
    let mut reader = reader();
    assert_eq!(end_of(&mut reader, &[open(1, 300_000)]), Ok(()));
    assert!(reader.held() <= 16 * 1024, "{}", reader.held());
    // The head of a part, and then a byte now and then.
    let mut head = BytesMut::new();
    Frame::Part { stream: 1, body: &[0; FRAGMENT_BYTES_MAX] }.encode_head(&mut head);
    let (_, end) = read(&mut reader, &head, &[1]);
    assert_eq!(end, Ok(()));
    for _ in 0..100 {
        assert_eq!(read(&mut reader, &[0], &[1]).1, Ok(()));
    }
    assert!(reader.held() <= 2 * FRAGMENT_BYTES_MAX, "{}", reader.held());
}

#[test]
fn the_memory_of_a_long_body_is_used_for_the_next_one_and_given_back_after_a_rest() {
    let mut reader = Reader::new(Terms { windows: [1 << 30; 3], ..TERMS }, BytesMut::new());
    let mut body_of = |stream, bytes: usize| {
        let (mut wire, mut came) = (BytesMut::new(), None);
        open(stream, bytes as u64).encode(&mut wire);
        for part in vec![stream as u8; bytes].chunks(FRAGMENT_BYTES_MAX) {
            Frame::Part { stream, body: part }.encode(&mut wire);
        }
        let mut rest = &wire[..];
        while !rest.is_empty() {
            let piece = rest.len().min(10_000);
            let put = match reader.room() {
                Room::Buffer(buffer) => {
                    buffer.put_slice(&rest[..piece]);
                    piece
                }
                Room::Part(mut part) => {
                    let fits = piece.min(part.remaining_mut());
                    part.put_slice(&rest[..fits]);
                    fits
                }
            };
            reader.filled(put);
            rest = &rest[put..];
            let told = reader.step(|told| {
                if let Came::Body { body, .. } = told {
                    came = Some(body.into_bytes());
                }
                Ok(())
            });
            assert!(told.is_ok());
        }
        came.unwrap()
    };
    let first = body_of(1, 300_000);
    assert!(first.len() == 300_000 && first.iter().all(|byte| *byte == 1));
    let place = first.as_ptr();
    let second = body_of(2, 300_000);
    assert_ne!(second.as_ptr(), place, "the first is still kept");
    drop(first);
    let third = body_of(3, 200_000);
    assert_eq!((third.as_ptr(), third.len()), (place, 200_000));
    assert!(third.iter().all(|byte| *byte == 3) && second.iter().all(|byte| *byte == 2));
    drop((second, third));
    assert!(reader.held() >= 300_000);
    // Bodies have begun since the last time.
    reader.rest();
    assert!(reader.held() >= 300_000);
    reader.rest();
    assert!(reader.held() < 300_000, "{}", reader.held());
}

#[test]
fn lengths_and_kinds_that_cannot_be_are_refused_before_anything_is_waited_for() {
    let length = |bytes: u32| wire::length(&bytes.to_le_bytes());
    assert_eq!(length(0), Err(WireError::Empty));
    let most = wire::FRAME_BYTES_MAX;
    assert_eq!(length(most as u32), Ok(Some(most + wire::LENGTH_BYTES)));
    let too_long = |bytes| Err(WireError::TooLong { bytes, bytes_max: most });
    assert_eq!(length(most as u32 + 1), too_long(most + 1));
    assert_eq!(length(1 << 31), too_long(1 << 31));
    let read = |rest: &[u8]| {
        let bytes = [&(rest.len() as u32).to_le_bytes(), rest].concat();
        wire::read(&bytes).map(|frame| format!("{frame:?}"))
    };
    for kind in [0, 1, 15, 33, 63] {
        assert_eq!(read(&[kind]), Err(WireError::UnknownKind(kind)));
    }
    // A fourth lane; a lane where there is none; a flag that is neither; short; long.
    let lost_flag = [19, 0, 0, 0, 0, 0, 0, 0, 0, 2];
    let wrong: [&[u8]; 6] =
        [&[0xC0 | 16], &[0x40 | 28], &lost_flag, &[17, 1, 2], &[28, 0], &[21, 0, 0]];
    for rest in wrong {
        let malformed = WireError::Malformed { kind: rest[0] & 63, bytes: rest.len() - 1 };
        assert_eq!(read(rest), Err(malformed));
    }
}

#[test]
fn the_bytes_on_the_wire_are_kept_for_good() {
    let (lane, call) = (Lane::Bulk, 0x0102);
    let clocks = |elapsed, wall| Sample { elapsed, wall };
    let terms = Terms { windows: [1, 2, 3], body_bytes_max: 4, open_bytes_max: 5 };
    let (asked, came, sent) = (clocks(1, 2), clocks(3, 4), clocks(5, 6));
    let golden: [(Frame<'_>, &str); 19] = [
        (Frame::Whole { lane, what: What::Mail, body: b"hi" }, "03000000 90 6869"),
        (
            Frame::Whole { lane: Lane::High, what: What::Call(call), body: b"hi" },
            "0b000000 11 0201000000000000 6869",
        ),
        (
            Frame::Whole { lane: Lane::Normal, what: What::Answer(call), body: b"" },
            "09000000 52 0201000000000000",
        ),
        (Frame::Lost { lane, call, unbegun: true }, "0a000000 93 0201000000000000 01"),
        (
            Frame::Open { lane, stream: 7, what: What::Mail, bytes: 9 },
            "12000000 94 0700000000000000 0900000000000000 10",
        ),
        (
            Frame::Open { lane, stream: 7, what: What::Call(call), bytes: 9 },
            "1a000000 94 0700000000000000 0900000000000000 11 0201000000000000",
        ),
        (
            Frame::Open { lane, stream: 7, what: What::Answer(call), bytes: 9 },
            "1a000000 94 0700000000000000 0900000000000000 12 0201000000000000",
        ),
        (Frame::Part { stream: 7, body: b"hi" }, "0b000000 15 0700000000000000 6869"),
        (Frame::Abort { stream: 7 }, "09000000 16 0700000000000000"),
        (Frame::Credit { lane, bytes: 8 }, "05000000 97 08000000"),
        (
            Frame::Terms(terms),
            "1d000000 18 0400000000000000 0500000000000000 01000000 02000000 03000000",
        ),
        (Frame::Ping { at: asked }, "11000000 19 0100000000000000 0200000000000000"),
        (
            Frame::Pong { asked, came, sent },
            "31000000 1a 0100000000000000 0200000000000000 0300000000000000 \
             0400000000000000 0500000000000000 0600000000000000",
        ),
        (Frame::Leave { heard: 9 }, "09000000 1b 0900000000000000"),
        (Frame::Bye, "01000000 1c"),
        (Frame::Stay, "01000000 1d"),
        (Frame::Adopted(ClusterId(6)), "09000000 1e 0600000000000000"),
        (Frame::Stamp(5), "09000000 1f 0500000000000000"),
        (Frame::Beat, "01000000 20"),
    ];
    for (frame, hex) in golden {
        let mut wire = BytesMut::new();
        frame.encode(&mut wire);
        let written: String = wire.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(written, hex.replace(' ', ""), "{frame:?}");
    }
}
