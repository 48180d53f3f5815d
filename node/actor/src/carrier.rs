//! The door outward: who carries letters to other nodes, and what a letter says on its cover.

use bytes::Bytes;
use quorate_env::BoxFuture;
use quorate_vocab::{Lane, NodeId, Pid, Ref};

use crate::NotSent;
use crate::codec::protocol_id;

/// Carries letters. The hall implements it over the mesh.
pub trait Carrier: Send + Sync + 'static {
    /// Takes a letter for a node, or refuses it; never waits. A short letter is best copied: the memory that
    /// is left in place is written to again. A long one may be taken out of its place.
    ///
    /// Letters of one flow that were taken for one node arrive in that order, whatever their lanes, and each
    /// at most once. A letter that is refused is left as it was. When some may have been lost,
    /// [`Actors::lost`](crate::Actors::lost) must be told.
    ///
    /// It is called from wherever a message is sent or an answer is dropped, so it must not hold a lock that
    /// its own callers hold.
    fn post(&self, to: NodeId, postage: Postage, letter: &mut Vec<u8>) -> Result<(), NotSent>;

    /// The same for a letter with long blobs in it, which comes in parts, so that nobody has to copy them. It
    /// is over when it is refused.
    fn post_parts(&self, to: NodeId, postage: Postage, parts: Vec<Bytes>) -> Result<(), NotSent> {
        self.post(to, postage, &mut parts.concat())
    }

    /// Waits until there may be room for more letters to a node whose queue was full, or no way leads there.
    fn room(&self, _to: NodeId) -> BoxFuture<'static, ()> {
        Box::pin(std::future::ready(()))
    }

    /// Breaks the link to a node that has gone past all bounds: it does not take what it must be told, or
    /// tells more than anybody can take in. `Actors::lost` is to be told as of any other break; not within
    /// this call.
    fn sever(&self, _node: NodeId) {}
}

/// What a carrier knows of a letter without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Postage {
    /// How urgent it is.
    pub lane: Lane,
    /// Letters of the same flow to the same node keep their order. Two flows may have one number; then they
    /// keep an order that nobody asked for.
    pub flow: u64,
}

impl Postage {
    /// From one process of this node (0: from none) to another: their mail and their signals are one flow.
    #[inline]
    pub(crate) fn between(lane: Lane, from: u64, to: Pid) -> Self {
        Self { lane, flow: mix(mix(from) ^ to.serial) }
    }

    /// From one process of this node to whoever has a name on another.
    pub(crate) fn to_name(lane: Lane, from: u64, name: &str) -> Self {
        Self { lane, flow: mix(mix(from) ^ protocol_id(name)) }
    }

    /// For an answer of so many bytes. It goes straight to its caller, so nobody asks for an order; but a
    /// flow for each would cost more than the answer. Short ones of a lane share a few, as a flow is in one
    /// lane at a time; and long ones hold up no others.
    #[inline]
    pub(crate) fn of_answer(lane: Lane, call: Ref, bytes: usize) -> Self {
        let number = match bytes {
            0..LONG_ANSWER_BYTES => call.0 % ANSWER_FLOWS * 3 + lane.index() as u64,
            _ => call.0,
        };
        Self { lane, flow: mix(!number) }
    }
}

/// What has become of the link to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// It broke; the node is believed alive.
    Link,
    /// The node is down.
    Node,
}

/// Over how many flows the short answers to one node are spread in each lane.
const ANSWER_FLOWS: u64 = 16;

/// From this length on an answer has a flow of its own.
const LONG_ANSWER_BYTES: usize = 4096;

/// Spreads numbers that lie close together (the finisher of splitmix64).
#[inline]
fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_vocab::Boot;

    #[test]
    fn a_pair_has_one_flow_in_each_direction_and_pairs_differ() {
        let to = |serial| Pid { node: NodeId(1), boot: Boot(1), serial };
        let flow = |from, serial| Postage::between(Lane::Normal, from, to(serial)).flow;
        assert_eq!(flow(1, 2), Postage::between(Lane::Bulk, 1, to(2)).flow);
        let flows: std::collections::BTreeSet<_> = (0..32)
            .flat_map(|from| (0..32).map(move |to| (from, to)))
            .map(|(f, t)| flow(f, t))
            .collect();
        assert_eq!(flows.len(), 32 * 32);
    }

    #[test]
    fn short_answers_share_a_few_flows_and_each_long_one_has_its_own() {
        let flows = |bytes| {
            let flow = |call| Postage::of_answer(Lane::High, Ref(call), bytes).flow;
            (1000..2000).map(flow).collect::<std::collections::BTreeSet<_>>().len()
        };
        assert_eq!((flows(100), flows(100_000)), (ANSWER_FLOWS as usize, 1000));
        // What waits in the lane of bulk holds up nothing that is urgent.
        let lanes = Lane::ALL.map(|lane| Postage::of_answer(lane, Ref(1), 100).flow);
        assert!(lanes[0] != lanes[1] && lanes[1] != lanes[2] && lanes[0] != lanes[2]);
    }
}
