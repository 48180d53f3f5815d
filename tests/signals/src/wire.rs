//! A wire between two nodes: letters go one after the other, each in its turn, and the wire can be cut.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use quorate_actor::{Actors, ActorsConfig, Carrier, Loss, NotSent, Postage};
use quorate_env::spawn;
use quorate_vocab::{Boot, NodeId};
use tokio::sync::mpsc;

use crate::stage::waver;

/// How many letters may be under way; more than any scenario sends.
const UNDER_WAY_MAX: usize = 1024;

/// The wire.
#[derive(Default)]
pub(crate) struct Wire {
    /// How often it was cut. A letter of an earlier wire does not arrive.
    cuts: AtomicU64,
    is_broken: AtomicBool,
}

/// One end of it, which is what a node posts to.
struct End {
    wire: Arc<Wire>,
    letters: mpsc::Sender<(u64, Vec<u8>)>,
}

/// Two nodes, near and far. They last as long as the runtime that they were made in.
pub(crate) fn nodes(wire: &Arc<Wire>) -> [Actors; 2] {
    let [near, far] = [1, 2].map(|node| {
        let (letters, arriving) = mpsc::channel(UNDER_WAY_MAX);
        let end = End { wire: wire.clone(), letters };
        let config = ActorsConfig::default();
        (Actors::new(NodeId(node), Boot(1), Arc::new(end), config), arriving)
    });
    let ((near, to_far), (far, to_near)) = (near, far);
    for (from, to, letters) in [(&near, &far, to_far), (&far, &near, to_near)] {
        spawn(carry(wire.clone(), from.node(), to.clone(), letters));
    }
    [near, far]
}

/// Brings letters to a node, in order.
async fn carry(
    wire: Arc<Wire>,
    from: NodeId,
    to: Actors,
    mut letters: mpsc::Receiver<(u64, Vec<u8>)>,
) {
    while let Some((cuts, letter)) = letters.recv().await {
        waver().await;
        if cuts == wire.cuts.load(Ordering::SeqCst) {
            // What is refused is the receiver's to count.
            let _ = to.deliver(from, &letter);
        }
    }
}

impl Wire {
    /// Cuts it: what is under way is lost, and both sides learn it. There is another at once.
    pub(crate) fn cut(&self, [near, far]: [&Actors; 2], loss: Loss) {
        self.cuts.fetch_add(1, Ordering::SeqCst);
        near.lost(far.node(), loss);
        far.lost(near.node(), loss);
    }

    /// From now on there is no way between the two.
    pub(crate) fn break_for_good(&self) {
        self.is_broken.store(true, Ordering::SeqCst);
    }
}

impl Carrier for End {
    fn post(&self, _: NodeId, _: Postage, letter: &mut Vec<u8>) -> Result<(), NotSent> {
        if self.wire.is_broken.load(Ordering::SeqCst) {
            return Err(NotSent::Unreachable);
        }
        let cuts = self.wire.cuts.load(Ordering::SeqCst);
        let room = self.letters.try_reserve().map_err(|_| NotSent::Full)?;
        room.send((cuts, std::mem::take(letter)));
        Ok(())
    }
}
