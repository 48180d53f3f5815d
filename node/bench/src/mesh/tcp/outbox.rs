//! What several senders write to one connection: gathered in a buffer, and written all at once.

use std::sync::{Arc, Mutex, MutexGuard};

use quorate_env::spawn;
use tokio::io::AsyncWriteExt;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::Notify;

use super::put;

/// How many bytes may wait.
const BYTES_MAX: usize = 256 * 1024;

/// Takes frames for a connection as long as there is room, and bounds what waits.
#[derive(Default)]
pub(crate) struct Outbox {
    waiting: Mutex<Vec<u8>>,
    ready: Notify,
    room: Notify,
}

impl Outbox {
    /// Begins to write what will be pushed.
    pub(crate) fn begin(writer: OwnedWriteHalf) -> Arc<Self> {
        let outbox = Arc::new(Self::default());
        spawn(outbox.clone().write(writer));
        outbox
    }

    /// Takes a frame as soon as there is room.
    pub(crate) async fn push(&self, kind: u8, payload: &[u8]) {
        loop {
            let mut room = std::pin::pin!(self.room.notified());
            {
                let mut waiting = self.waiting();
                if waiting.len() < BYTES_MAX {
                    let was_empty = waiting.is_empty();
                    put(kind, payload, &mut waiting);
                    if was_empty {
                        self.ready.notify_one();
                    }
                    return;
                }
                // Before the lock goes, so that room which is made right after it is not missed.
                room.as_mut().enable();
            }
            room.await;
        }
    }

    async fn write(self: Arc<Self>, mut writer: OwnedWriteHalf) {
        let mut batch = Vec::new();
        loop {
            std::mem::swap(&mut *self.waiting(), &mut batch);
            if batch.is_empty() {
                self.ready.notified().await;
                continue;
            }
            self.room.notify_waiters();
            if writer.write_all(&batch).await.is_err() {
                return;
            }
            batch.clear();
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<u8>> {
        self.waiting.lock().expect("nothing panics while it holds the frames")
    }
}
