//! The decoder of the handshake against whatever may arrive, however it is split.

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use quorate_mesh::frame::{Decoder, Frame};
use quorate_mesh::wire::WireError;

const LIMIT: usize = 64 * 1024;

fn body() -> impl Strategy<Value = Bytes> {
    let short = prop::collection::vec(any::<u8>(), 0..64);
    // Long enough to leave the decoder's buffer without a copy.
    let long = (4000_usize..20_000, any::<u8>()).prop_map(|(len, byte)| vec![byte; len]);
    prop_oneof![4 => short, 1 => long].prop_map(Bytes::from)
}

fn frame() -> impl Strategy<Value = Frame> {
    prop_oneof![
        body().prop_map(Frame::Hello),
        body().prop_map(Frame::Proof),
        any::<u8>().prop_map(Frame::Refused),
        (0_u8..48, body())
            .prop_map(|(kind, body)| Frame::Link { kind: kind / 16 * 64 + kind % 16 + 16, body }),
    ]
}

fn drain(decoder: &mut Decoder, into: &mut Vec<Frame>) -> Result<(), WireError> {
    while let Some(frame) = decoder.take()? {
        into.push(frame);
    }
    Ok(())
}

proptest! {
    #[test]
    fn what_was_encoded_reads_back_however_it_is_split(
        frames in prop::collection::vec(frame(), 0..12),
        splits in prop::collection::vec(1_usize..9000, 1..20),
    ) {
        let mut wire = BytesMut::new();
        for frame in &frames {
            let before = wire.len();
            frame.encode(&mut wire);
            prop_assert_eq!(wire.len() - before, frame.encoded_len());
        }
        let (mut decoder, mut read, mut rest) = (Decoder::new(LIMIT), Vec::new(), &wire[..]);
        for split in splits.iter().cycle() {
            let (now, later) = rest.split_at(rest.len().min(*split));
            decoder.feed(now);
            drain(&mut decoder, &mut read).unwrap();
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(read, frames);
    }

    #[test]
    fn arbitrary_bytes_never_panic_and_hold_no_more_than_arrived_and_a_step(
        bytes in prop::collection::vec(any::<u8>(), 0..6000),
        split in 1_usize..700,
    ) {
        let (mut decoder, mut read) = (Decoder::new(4096), Vec::new());
        let mut broken = None;
        for chunk in bytes.chunks(split) {
            let room = decoder.room();
            room.extend_from_slice(chunk);
            let taken = drain(&mut decoder, &mut read);
            prop_assert!(decoder.held() <= 2 * (4096 + 4 + split) + Decoder::STEP_BYTES);
            if let Err(error) = taken {
                prop_assert_eq!(*broken.get_or_insert(error), error, "the first error stays");
            } else {
                prop_assert!(broken.is_none(), "a broken stream has no next frame");
            }
        }
    }

    #[test]
    fn splits_do_not_change_what_is_read(
        // Small lengths, so that whole frames of every kind, good and bad, do occur.
        bytes in prop::collection::vec(prop_oneof![0_u8..24, Just(0)], 0..400),
        split in 1_usize..9,
    ) {
        let (mut whole, mut parts) = (Decoder::new(64), Decoder::new(64));
        let (mut of_whole, mut of_parts) = (Vec::new(), Vec::new());
        whole.feed(&bytes);
        let whole_end = drain(&mut whole, &mut of_whole);
        let mut parts_end = Ok(());
        for chunk in bytes.chunks(split) {
            parts.feed(chunk);
            parts_end = drain(&mut parts, &mut of_parts);
            if parts_end.is_err() {
                break;
            }
        }
        prop_assert_eq!((of_whole, whole_end), (of_parts, parts_end));
    }
}

#[test]
fn a_promise_of_two_gigabytes_is_refused_at_its_length_and_reserves_nothing() {
    let mut decoder = Decoder::new(1024 * 1024);
    decoder.feed(&(1_u32 << 31).to_le_bytes());
    let error = decoder.take().unwrap_err();
    assert_eq!(error, WireError::TooLong { bytes: 1 << 31, bytes_max: 1024 * 1024 });
    assert_eq!(decoder.held(), 0);
}

#[test]
fn a_promise_that_is_allowed_reserves_only_what_arrives() {
    let mut decoder = Decoder::new(1024 * 1024);
    decoder.feed(&(1024_u32 * 1024).to_le_bytes());
    for _ in 0..100 {
        decoder.room().extend_from_slice(&[16; 100]);
        assert_eq!(decoder.take(), Ok(None));
    }
    assert!(decoder.held() <= 2 * (4 + 10_000) + Decoder::STEP_BYTES, "{}", decoder.held());
}

#[test]
fn a_frame_of_the_wrong_size_or_of_no_kind_is_refused_and_one_of_a_link_is_known_as_such() {
    let take = |rest: &[u8]| {
        let mut decoder = Decoder::new(64);
        decoder.feed(&(rest.len() as u32).to_le_bytes());
        decoder.feed(rest);
        decoder.take()
    };
    for rest in [&[3][..], &[3, 1, 1]] {
        let malformed = WireError::Malformed { kind: 3, bytes: rest.len() - 1 };
        assert_eq!(take(rest), Err(malformed));
    }
    assert_eq!(take(&[]), Err(WireError::Empty));
    // A lane stands above a link's kind; there is no fourth.
    for kind in [0, 4, 15, 33, 63, 99, 0xC0 | 16, 255] {
        assert_eq!(take(&[kind]), Err(WireError::UnknownKind(kind)));
    }
    for kind in [16, 32, 0x40 | 16, 0x80 | 32] {
        let body = Bytes::from_static(b"hi");
        assert_eq!(take(&[kind, b'h', b'i']), Ok(Some(Frame::Link { kind, body })));
    }
}

#[test]
fn the_bytes_on_the_wire_are_kept_for_good() {
    let body = || Bytes::from_static(b"hi");
    let golden: [(Frame, &[u8]); 4] = [
        (Frame::Hello(body()), b"\x03\0\0\0\x01hi"),
        (Frame::Proof(body()), b"\x03\0\0\0\x02hi"),
        (Frame::Refused(8), b"\x02\0\0\0\x03\x08"),
        (Frame::Link { kind: 16, body: body() }, b"\x03\0\0\0\x10hi"),
    ];
    for (frame, bytes) in golden {
        let mut wire = BytesMut::new();
        frame.encode(&mut wire);
        assert_eq!(&wire[..], bytes, "{frame:?}");
    }
}
