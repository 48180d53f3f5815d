//! The outbox against a reader, without a net: what goes when, what never goes, and what both sides count.

use std::io::IoSlice;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bytes::BytesMut;
use proptest::prelude::*;

use super::*;
use crate::reader::{Came, Reader, Room};
use crate::{CallError, wire};

const NARROW: [u32; 3] = [FIRST_WINDOW_BYTES; 3];
const WIDE: [u32; 3] = [1 << 30; 3];

/// Both ends of a link, one way.
struct Ends {
    outbox: Outbox,
    calls: Calls,
    reader: Reader,
    batch: Batch,
    /// Each body that came, and the lane it came in.
    came: Vec<(Lane, What, Vec<u8>)>,
    lost: Vec<u64>,
}

impl Ends {
    fn new(queue_bytes_max: usize, windows: [u32; 3]) -> Self {
        Self::of(&Limits { queue_bytes_max, windows, ..Limits::test() })
    }

    /// A link whose other side has said its terms.
    fn of(limits: &Limits) -> Self {
        let outbox = Outbox::new(limits);
        outbox.attach(limits.terms());
        assert!(outbox.agree(limits.terms()));
        Self {
            outbox,
            calls: Calls::new(1000),
            reader: Reader::new(limits.terms(), BytesMut::new()),
            batch: Batch::default(),
            came: Vec::new(),
            lost: Vec::new(),
        }
    }

    fn mail(&self, lane: Lane, flow: u64, mut body: Vec<u8>) -> Result<(), SendError> {
        if body.len() > FRAGMENT_BYTES_MAX {
            return self.outbox.push_long(lane, flow, &mut body);
        }
        self.outbox.push(lane, flow, What::Mail, &body)
    }

    fn call(&self, flow: u64, bytes: usize) -> u64 {
        let (call, _) = self.calls.begin().unwrap();
        let body = Bytes::from(vec![call as u8; bytes]);
        self.outbox.push_bytes(Lane::Normal, flow, What::Call(call), body).unwrap();
        call
    }

    /// Writes one batch, and has it read in pieces; says how many bytes it was.
    fn carry(&mut self, bytes_max: usize, piece: usize) -> usize {
        self.batch.clear();
        self.outbox.take(bytes_max, &self.calls, || Stamp(1), &mut self.batch);
        let mut wire = Vec::new();
        while wire.len() < self.batch.bytes {
            let mut slices = [IoSlice::new(&[]); 2];
            let count = self.batch.slices_after(wire.len(), &mut slices);
            let more: Vec<u8> = slices[..count].iter().flat_map(|slice| slice.to_vec()).collect();
            wire.extend(more);
        }
        assert_eq!(wire.len(), self.batch.bytes, "what is counted is what is written");
        let mut rest = &wire[..];
        while !rest.is_empty() {
            let put = put(&mut self.reader, &rest[..piece.min(rest.len())]);
            rest = &rest[put..];
            self.read();
        }
        wire.len()
    }

    fn read(&mut self) {
        let (came, lost) = (&mut self.came, &mut self.lost);
        let read = self.reader.step(|what| {
            match what {
                Came::Body { lane, what, body } => came.push((lane, what, body.to_vec())),
                Came::Word(Frame::Lost { call, .. }) => lost.push(call),
                Came::Word(_) => {}
            }
            Ok(())
        });
        assert!(read.is_ok(), "{read:?}");
        self.reader.check();
    }

    /// The reader grants again what it read, and the writer hears of it.
    fn grant(&mut self) {
        for lane in Lane::ALL {
            if let Some(bytes) = self.reader.grant(lane) {
                assert!(self.outbox.granted(lane, bytes));
            }
        }
    }

    /// Until nothing more goes.
    fn carry_all(&mut self) {
        loop {
            self.grant();
            if self.carry(256 * 1024, usize::MAX) == 0 {
                return;
            }
        }
    }

    fn carry_all_without_grants(&mut self) {
        while self.carry(256 * 1024, usize::MAX) > 0 {}
    }

    fn bytes_waiting(&self) -> usize {
        self.outbox.lock().bytes
    }

    fn credit(&self, lane: Lane) -> i64 {
        self.outbox.lock().lanes[lane.index()].credit
    }
}

/// Puts bytes where a reader has room for them; says how many.
fn put(reader: &mut Reader, bytes: &[u8]) -> usize {
    let put = match reader.room() {
        Room::Buffer(buffer) => {
            buffer.extend_from_slice(bytes);
            bytes.len()
        }
        Room::Part(mut part) => {
            let fits = bytes.len().min(bytes::BufMut::remaining_mut(&part));
            bytes::BufMut::put_slice(&mut part, &bytes[..fits]);
            fits
        }
    };
    reader.filled(put);
    put
}

#[test]
fn lanes_share_what_is_written_and_even_bulk_gets_one_in_twenty_or_so() {
    let mut ends = Ends::new(1 << 30, WIDE);
    for (lane, size) in [(Lane::High, 300_000), (Lane::Normal, 100), (Lane::Bulk, 300_000)] {
        for number in 0..48_000_000 / size as u64 {
            ends.mail(lane, number % 8 + 8 * lane.index() as u64, vec![0; size]).unwrap();
        }
    }
    let mut carried = 0;
    while carried < 32 * 1024 * 1024 {
        carried += ends.carry(64 * 1024, usize::MAX);
    }
    let share = |lane: Lane| {
        let spent = i64::from(WIDE[lane.index()]) - ends.credit(lane);
        spent as f64 / carried as f64
    };
    let shares = Lane::ALL.map(share);
    assert!((0.72..0.80).contains(&shares[0]), "{shares:?}");
    assert!((0.15..0.23).contains(&shares[1]), "{shares:?}");
    assert!((0.04..0.06).contains(&shares[2]), "{shares:?}");
}

#[test]
fn flows_take_turns_so_a_long_body_or_a_busy_flow_holds_up_no_other() {
    let mut ends = Ends::new(1 << 30, WIDE);
    ends.mail(Lane::Normal, 1, vec![1; 5_000_000]).unwrap();
    for _ in 0..10_000 {
        ends.mail(Lane::Normal, 2, vec![2; 100]).unwrap();
    }
    for flow in 3..100 {
        ends.mail(Lane::Normal, flow, vec![3; 10]).unwrap();
    }
    // A turn of the first, one of the second, and all others.
    ends.carry(3 * FRAGMENT_BYTES_MAX, usize::MAX);
    let others = ends.came.iter().filter(|(_, _, body)| body.len() == 10).count();
    assert_eq!(others, 97);
    ends.carry_all();
    assert_eq!(ends.came.len(), 1 + 10_000 + 97);
}

#[test]
fn a_flow_keeps_its_order_whatever_lanes_are_asked_for() {
    let mut ends = Ends::new(1 << 30, WIDE);
    let sizes = [0, 200_000, 5, 65_536, 65_537, 1];
    for number in 0..60_u32 {
        let lane = Lane::ALL[number as usize * 7 % 3];
        let mut body = number.to_be_bytes().to_vec();
        body.resize(4 + sizes[number as usize % sizes.len()], 0);
        ends.mail(lane, 1, body).unwrap();
    }
    ends.carry_all();
    let numbers: Vec<u32> = ends
        .came
        .iter()
        .map(|(_, _, body)| u32::from_be_bytes(*body.first_chunk().unwrap()))
        .collect();
    assert_eq!(numbers, (0..60).collect::<Vec<_>>());
    // Once nothing of it waits, the flow may change its lane.
    ends.mail(Lane::Bulk, 1, vec![7]).unwrap();
    ends.carry_all();
    assert_eq!(ends.came.last().unwrap().0, Lane::Bulk);
}

#[test]
fn what_waits_is_bounded_also_when_it_is_many_tiny_flows_or_empty_bodies() {
    for (flows, body) in [(u64::MAX, 0), (u64::MAX, 1), (1, 0), (1, 1000), (7, 70_000)] {
        let mut ends = Ends::new(1 << 20, NARROW);
        let mut count = 0_usize;
        let full = loop {
            match ends.mail(Lane::Bulk, count as u64 % flows, vec![0; body]) {
                Ok(()) => count += 1,
                Err(error) => break error,
            }
        };
        assert_eq!(full, SendError::Full);
        assert!(ends.bytes_waiting() < (1 << 20) + 70_000 + FLOW_BYTES, "{}", ends.bytes_waiting());
        assert!(flows == 1 || count <= (1 << 20) / FLOW_BYTES + 1, "{count} flows");
        ends.carry_all();
        assert_eq!((ends.came.len(), ends.bytes_waiting()), (count, 0));
        let kept: usize = ends.outbox.lock().lanes.iter().map(|queue| queue.flows.len()).sum();
        assert!(kept <= RESTING_FLOWS_MAX + 1, "{kept} flows keep their place");
        ends.outbox.rest();
        let kept: usize = ends.outbox.lock().lanes.iter().map(|queue| queue.flows.len()).sum();
        assert_eq!(kept, 0);
    }
    // A body may be longer than the bound, alone.
    let mut ends = Ends::new(1 << 20, WIDE);
    ends.mail(Lane::Bulk, 1, vec![0; 5 << 20]).unwrap();
    assert_eq!(ends.mail(Lane::Bulk, 1, vec![0; 70_000]), Err(SendError::Full));
    // It takes no room from what is short.
    ends.mail(Lane::High, 2, vec![0]).unwrap();
    ends.carry_all();
    ends.mail(Lane::Bulk, 1, vec![0; 70_000]).unwrap();
}

#[test]
fn a_flow_that_sends_without_end_leaves_room_for_others() {
    let mut ends = Ends::new(1 << 20, NARROW);
    for flow in 0..4 {
        let mut count = 0;
        while ends.mail(Lane::Normal, flow, vec![0; 1000]).is_ok() {
            count += 1;
        }
        // Each takes half of what those before it left, and then no more.
        assert!((450 >> flow..530 >> flow).contains(&count), "flow {flow} took {count}");
    }
    ends.carry_all();
}

#[test]
fn a_withdrawn_call_is_never_written_be_it_short_or_long() {
    let mut ends = Ends::new(1 << 30, WIDE);
    let calls = [10, 10, 200_000, 200_000, 10].map(|bytes| ends.call(1, bytes));
    for call in [calls[1], calls[2], calls[4]] {
        assert_eq!(ends.calls.withdraw(call), Some(SendError::Full.into()));
    }
    ends.carry_all();
    let came: Vec<What> = ends.came.iter().map(|(_, what, _)| *what).collect();
    assert_eq!(came, [What::Call(calls[0]), What::Call(calls[3])]);
    assert_eq!(ends.bytes_waiting(), 0);
    assert_eq!(ends.calls.withdraw(calls[0]), Some(CallError::Unknown), "it was sent");
}

#[test]
fn a_long_call_that_is_given_up_on_its_way_is_aborted_and_its_place_is_free() {
    let mut limits = Limits { windows: WIDE, ..Limits::test() };
    (limits.body_bytes_max, limits.open_bytes_max) = (300_000, 300_000);
    let mut ends = Ends::of(&limits);
    let call = ends.call(1, 300_000);
    let behind = ends.call(2, 300_000);
    ends.carry(100_000, 777);
    assert!(ends.reader.held() >= 100_000 && ends.came.is_empty());
    assert_eq!(ends.calls.withdraw(call), Some(CallError::Unknown));
    ends.carry_all();
    let [(_, What::Call(came), body)] = &ends.came[..] else { panic!("one comes whole") };
    assert_eq!((*came, body.len()), (behind, 300_000));
    assert_eq!((ends.bytes_waiting(), ends.outbox.lock().open_bytes), (0, 0));
    // What came whole was dropped, and its memory is kept for a while; what was aborted is gone.
    assert!(ends.reader.held() < 400_000, "{}", ends.reader.held());
    (0..2).for_each(|_| ends.reader.rest());
    assert!(ends.reader.held() < 100_000, "{}", ends.reader.held());
}

#[test]
fn calls_that_were_given_up_hold_up_nothing_behind_them() {
    let mut ends = Ends::new(1 << 30, WIDE);
    for _ in 0..20 {
        let long = ends.call(1, 100_000);
        ends.calls.withdraw(long);
    }
    ends.mail(Lane::Normal, 1, vec![1]).unwrap();
    assert!(ends.carry(64 * 1024, usize::MAX) > 0, "the writer would go to sleep");
    assert_eq!(ends.came.len(), 1);
}

#[test]
fn room_that_given_up_calls_leave_is_told() {
    let ends = Ends::new(150_000, WIDE);
    let calls = [ends.call(1, 60_000), ends.call(2, 60_000)];
    let mut batch = Batch::default();
    // The terms are out of the way.
    ends.outbox.lock().own = Own::default();
    let mut cx = Context::from_waker(Waker::noop());
    let mut room = pin!(ends.outbox.room());
    assert!(room.as_mut().poll(&mut cx).is_pending());
    for call in calls {
        ends.calls.withdraw(call);
    }
    ends.outbox.take(64 * 1024, &ends.calls, || Stamp(1), &mut batch);
    assert_eq!(batch.bytes, 0);
    assert_eq!(room.as_mut().poll(&mut cx), Poll::Ready(()));
}

#[test]
fn a_call_that_the_peer_would_not_take_is_not_sent_and_does_not_break_the_link() {
    let ours = Limits { windows: WIDE, ..Limits::test() };
    let outbox = Outbox::new(&ours);
    outbox.attach(ours.terms());
    let calls = Calls::new(9);
    let (call, mut end) = calls.begin().unwrap();
    let body = Bytes::from(vec![0; 200_000]);
    outbox.push_bytes(Lane::High, 1, What::Call(call), body).unwrap();
    // What the peer takes is known only now.
    let theirs = Limits { body_bytes_max: 150_000, open_bytes_max: 150_000, ..ours.clone() };
    outbox.agree(theirs.terms());
    let mut batch = Batch::default();
    outbox.take(1 << 20, &calls, || Stamp(1), &mut batch);
    let too_long = SendError::TooLong { bytes: 200_000, bytes_max: 150_000 };
    assert_eq!(end.try_recv().unwrap(), Err(CallError::NotSent(too_long)));
    assert_eq!((batch.cost, outbox.lock().bytes), (0, 0));
    let body = Bytes::from(vec![0; 200_000]);
    assert_eq!(outbox.push_bytes(Lane::High, 1, What::Call(call), body), Err(too_long));
}

#[test]
fn an_answer_that_the_peer_would_not_take_is_lost_and_one_without_room_waits() {
    let mut limits = Limits { windows: WIDE, queue_bytes_max: 100_000, ..Limits::test() };
    (limits.body_bytes_max, limits.open_bytes_max) = (150_000, 150_000);
    let mut ends = Ends::of(&limits);
    let mut cx = Context::from_waker(Waker::noop());
    let mut push = |ends: &Ends, call, bytes| {
        let answer = Some(Bytes::from(vec![0; bytes]));
        let mut push = Box::pin(ends.outbox.push_answer(Lane::Normal, call, answer));
        push.as_mut().poll(&mut cx)
    };
    assert_eq!(push(&ends, 8, 200_000), Poll::Ready(true));
    assert_eq!(push(&ends, 9, 150_000), Poll::Ready(true));
    assert_eq!(push(&ends, 10, 100_000), Poll::Pending);
    ends.carry_all();
    assert_eq!(push(&ends, 11, 100_000), Poll::Ready(true));
    ends.carry_all();
    assert_eq!(ends.lost, [8]);
    let came: Vec<What> = ends.came.iter().map(|(_, what, _)| *what).collect();
    assert_eq!(came, [What::Answer(9), What::Answer(11)]);
    ends.outbox.close();
    assert_eq!(push(&ends, 12, 1), Poll::Ready(false));
}

#[test]
fn an_answer_does_not_wait_behind_a_flow_that_happens_to_have_its_number() {
    let mut ends = Ends::new(1 << 30, WIDE);
    ends.mail(Lane::Bulk, 7, vec![0; 1_000_000]).unwrap();
    let mut answer =
        Box::pin(ends.outbox.push_answer(Lane::High, 7, Some(Bytes::from_static(b"yes"))));
    assert!(answer.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready());
    drop(answer);
    ends.carry(64 * 1024, usize::MAX);
    assert_eq!(ends.came, [(Lane::High, What::Answer(7), b"yes".to_vec())]);
}

#[test]
fn credit_holds_back_one_lane_exactly_and_no_other() {
    let mut ends = Ends::new(1 << 30, NARROW);
    for _ in 0..1000 {
        ends.mail(Lane::Bulk, 1, vec![0; 1000]).unwrap();
    }
    ends.carry_all_without_grants();
    let first = ends.came.len();
    // A turn begins while there is any credit, and a turn is a fragment.
    let cost = |count: usize| (count * (1000 + wire::LENGTH_BYTES + 1)) as i64;
    assert!(ends.credit(Lane::Bulk) <= 0);
    assert_eq!(ends.credit(Lane::Bulk), i64::from(FIRST_WINDOW_BYTES) - cost(first));
    assert!(cost(first) < 2 * i64::from(FIRST_WINDOW_BYTES) + 1005, "{first}");
    ends.mail(Lane::High, 1 << 40, vec![1]).unwrap();
    ends.carry_all_without_grants();
    assert_eq!(ends.came.len(), first + 1, "another lane goes on");
    let debt = -ends.credit(Lane::Bulk);
    assert!(ends.outbox.granted(Lane::Bulk, debt as u32));
    ends.carry_all_without_grants();
    assert_eq!(ends.came.len(), first + 1, "no credit is no credit");
    assert!(ends.outbox.granted(Lane::Bulk, 1));
    ends.carry_all_without_grants();
    assert!(ends.came.len() > first + 1);
    assert!(
        !ends.outbox.granted(Lane::Bulk, u32::MAX) || !ends.outbox.granted(Lane::Bulk, u32::MAX)
    );
}

#[test]
fn a_fence_holds_back_what_comes_and_needs_an_empty_queue_that_was_heard() {
    let mut ends = Ends::new(1 << 20, WIDE);
    ends.mail(Lane::Normal, 1, vec![1]).unwrap();
    assert!(!ends.outbox.fence(None), "something waits");
    ends.carry_all();
    let heard = ends.reader.heard();
    assert!(!ends.outbox.fence(Some(heard - 1)), "something is under way");
    assert!(ends.outbox.fence(Some(heard)));
    assert!(!ends.outbox.fence(None), "it is fenced");
    ends.mail(Lane::Normal, 1, vec![2]).unwrap();
    assert_eq!(ends.carry(1000, usize::MAX), 0);
    assert!(!ends.outbox.close_if_empty());
    ends.outbox.unfence();
    ends.carry_all();
    assert_eq!(ends.came.len(), 2);
    assert!(ends.outbox.close_if_empty());
    assert_eq!(ends.mail(Lane::Normal, 1, vec![3]), Err(SendError::NoLink));
    // One that is fenced carries on over its next link, whose counts begin anew.
    let ends = Ends::new(1 << 20, WIDE);
    assert!(ends.outbox.fence(None));
    ends.mail(Lane::Normal, 1, vec![1]).unwrap();
    let terms = Limits::test().terms();
    ends.outbox.attach(terms);
    ends.outbox.agree(terms);
    let mut next = Ends { outbox: ends.outbox, ..Ends::of(&Limits::test()) };
    next.carry_all();
    assert_eq!(next.came.len(), 1);
    assert!(next.outbox.fence(Some(next.reader.heard())));
}

#[test]
fn what_is_forgotten_at_the_end_is_counted_body_by_body() {
    let ends = Ends::new(1 << 20, WIDE);
    for size in [0, 1, 70_000, 5, 65_536, 200_000] {
        ends.mail(Lane::Normal, 1, vec![0; size]).unwrap();
        ends.mail(Lane::High, 2, vec![0; size]).unwrap();
    }
    assert_eq!(ends.outbox.close(), 12);
    assert_eq!((ends.outbox.close(), ends.bytes_waiting()), (0, 0));
}

/// Something that one of the two ends does.
#[derive(Clone, Debug)]
enum Act {
    Mail {
        lane: usize,
        flow: u64,
        bytes: usize,
    },
    Call {
        flow: u64,
        bytes: usize,
    },
    /// Of the calls so far, one is given up.
    GiveUp(usize),
    Carry {
        bytes_max: usize,
        piece: usize,
    },
    Grant,
}

fn act() -> impl Strategy<Value = Act> {
    let bytes = || prop_oneof![6 => 8_usize..300, 2 => 60_000_usize..70_000, 1 => 8_usize..400_000];
    prop_oneof![
        6 => (0_usize..3, 0_u64..4, bytes())
            .prop_map(|(lane, flow, bytes)| Act::Mail { lane, flow, bytes }),
        2 => (4_u64..6, bytes()).prop_map(|(flow, bytes)| Act::Call { flow, bytes }),
        1 => any::<usize>().prop_map(Act::GiveUp),
        4 => (1_usize..300_000, 1_usize..50_000)
            .prop_map(|(bytes_max, piece)| Act::Carry { bytes_max, piece }),
        2 => Just(Act::Grant),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn whatever_both_sides_do_each_flow_is_in_order_and_they_count_the_same(
        acts in prop::collection::vec(act(), 1..120),
    ) {
        let mut limits = Limits { windows: NARROW, queue_bytes_max: 1 << 20, ..Limits::test() };
        (limits.body_bytes_max, limits.open_bytes_max) = (400_000, 500_000);
        let mut ends = Ends::of(&limits);
        let (mut sent, mut calls, mut given_up) = (vec![Vec::new(); 6], Vec::new(), Vec::new());
        for (number, act) in (0_u32..).zip(acts) {
            match act {
                Act::Mail { lane, flow, bytes } => {
                    if ends.mail(Lane::ALL[lane], flow, marked(flow, number, bytes)).is_ok() {
                        sent[flow as usize].push((number, bytes));
                    }
                }
                Act::Call { flow, bytes } => {
                    let (call, _) = ends.calls.begin().unwrap();
                    let body = marked(flow, number, bytes).into();
                    if ends.outbox.push_bytes(Lane::High, flow, What::Call(call), body).is_ok() {
                        sent[flow as usize].push((number, bytes));
                        calls.push((call, flow, number));
                    }
                }
                Act::GiveUp(which) if !calls.is_empty() => {
                    let (call, flow, number) = calls.swap_remove(which % calls.len());
                    // Aborted on its way, or never sent: then it must not come.
                    let not_sent = matches!(ends.calls.withdraw(call), Some(CallError::NotSent(_)));
                    given_up.push((flow, number, not_sent));
                }
                Act::GiveUp(_) => {}
                Act::Carry { bytes_max, piece } => {
                    ends.carry(bytes_max, piece);
                }
                Act::Grant => ends.grant(),
            }
        }
        ends.carry_all();
        prop_assert_eq!(ends.bytes_waiting(), 0, "nothing is held back for ever");
        let mut came = vec![Vec::new(); 6];
        for (_, _, body) in &ends.came {
            let (flow, number) = (body[0], u32::from_be_bytes(body[1..5].try_into().unwrap()));
            prop_assert!(body == &marked(u64::from(flow), number, body.len()));
            prop_assert!(!given_up.contains(&(u64::from(flow), number, true)), "it was not sent");
            came[usize::from(flow)].push((number, body.len()));
        }
        for (flow, (mut sent, came)) in (0..).zip(sent.into_iter().zip(came)) {
            let aborted = |number| given_up.iter().any(|up| (up.0, up.1) == (flow, number));
            sent.retain(|one| came.contains(one) || !aborted(one.0));
            prop_assert_eq!(sent, came, "flow {}", flow);
        }
        for lane in Lane::ALL {
            prop_assert_eq!(ends.credit(lane), ends.reader.granted(lane), "{}", lane.as_str());
        }
        let state = ends.outbox.lock();
        prop_assert_eq!((state.open_bytes, state.sent), (0, ends.reader.heard()));
    }
}

/// A body that says which it is.
fn marked(flow: u64, number: u32, bytes: usize) -> Vec<u8> {
    let mut body = vec![flow as u8];
    body.extend(number.to_be_bytes());
    body.resize(bytes, number as u8);
    body
}
