//! Carries packets from one TUN device to another, as a [`Path`] says.
//!
//! Each direction has two threads: one takes packets and asks the path, the other holds each until it is due.
//! Threads, since a packet that is due in 120 µs must not wait for a runtime's next millisecond. They end
//! when a device does, which it does with its network namespace.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;

use quorate_env::now;
use quorate_vocab::Time;
use tun_rs::SyncDevice;

use crate::path::{Fate, Path};

/// The longest packet, and a bit.
const PACKET_BYTES_MAX: usize = 2048;
/// How many packets may be under way in one direction; far more than a path's rate and delay come to.
const UNDER_WAY_MAX: usize = 65_536;

/// What became of the packets of one direction.
#[derive(Debug, Default)]
pub struct Counts {
    /// So many arrived.
    pub arrived: AtomicU64,
    /// So many were lost by chance.
    pub lost: AtomicU64,
    /// So many found a full queue.
    pub dropped: AtomicU64,
}

type Packet = (Time, Vec<u8>);

/// Begins to carry one direction.
pub fn carry(
    from: Arc<SyncDevice>,
    to: Arc<SyncDevice>,
    mut path: Path,
) -> io::Result<Arc<Counts>> {
    let counts = Arc::new(Counts::default());
    let (into, out) = sync_channel(UNDER_WAY_MAX);
    let told = counts.clone();
    thread::Builder::new()
        .name("strait-take".into())
        .spawn(move || take(&from, &mut path, &into, &told))?;
    thread::Builder::new().name("strait-give".into()).spawn(move || give(&to, &out))?;
    Ok(counts)
}

fn take(from: &SyncDevice, path: &mut Path, into: &SyncSender<Packet>, counts: &Counts) {
    let mut bytes = [0; PACKET_BYTES_MAX];
    while let Ok(length) = from.recv(&mut bytes) {
        let count = match path.take(now(), length) {
            Fate::Lost => &counts.lost,
            Fate::Dropped => &counts.dropped,
            Fate::Arrives(due) => match into.try_send((due, bytes[..length].to_vec())) {
                Ok(()) => &counts.arrived,
                Err(TrySendError::Full(_)) => &counts.dropped,
                Err(TrySendError::Disconnected(_)) => return,
            },
        };
        count.fetch_add(1, Ordering::Relaxed);
    }
}

fn give(to: &SyncDevice, out: &Receiver<Packet>) {
    for (due, packet) in out {
        let wait = due.since(now());
        if !wait.is_zero() {
            thread::sleep(wait);
        }
        if to.send(&packet).is_err() {
            return;
        }
    }
}
