//! Which children of this process are fencers, so that those which are not can be told from them: what a
//! fencer leaves when it is killed becomes a child of whoever said to be its heir.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::process::{Child, Command};

use crate::tree;

static FENCERS: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

/// A fencer that is a child of this process. Dropped, it is not ended.
pub(crate) struct Kin {
    child: Child,
    pid: i32,
}

impl Kin {
    /// Starts one. Nobody looks for strangers meanwhile, or it would be taken for one.
    pub(crate) fn start(command: &mut Command) -> std::io::Result<Self> {
        let mut fencers = lock();
        let child = command.spawn()?;
        let pid = child.id().map_or(0, u32::cast_signed);
        fencers.insert(pid);
        Ok(Self { child, pid })
    }

    /// Waits until it has ended, and reaps it.
    pub(crate) async fn wait(&mut self) {
        // That it cannot be waited for means that somebody else did.
        let _ = self.child.wait().await;
        lock().remove(&self.pid);
    }

    pub(crate) fn kill(&mut self) {
        // It may have ended just now.
        let _ = self.child.start_kill();
    }
}

/// Kills and reaps every child that is no fencer, with all below it; whether there was none.
pub(crate) fn end_strangers() -> bool {
    let fencers = lock();
    tree::end_children(|pid| !fencers.contains(&pid))
}

fn lock() -> MutexGuard<'static, BTreeSet<i32>> {
    FENCERS.lock().unwrap_or_else(PoisonError::into_inner)
}
