//! One dies, and many are told or go with it.
//!
//! tokio has no monitors and no links. What comes nearest: the one that dies holds a sender to each that
//! wants to know, or the handle by which each is aborted.

use std::future::pending;

use quorate_env::now;
use tokio::sync::oneshot;
use tokio::task::{AbortHandle, yield_now};

use super::{channel, opened, stage, task};
use crate::error::BenchError;
use crate::latch::Latch;
use crate::probe::{BATCH, Size, millis};

pub(crate) fn monitors(size: Size) -> Result<f64, BenchError> {
    stage(size, |size| async move {
        let (waiting, told) = (Latch::new(size.n), Latch::new(size.n));
        let (done, mut ended) = channel::<u64>();
        let mut watchers = Vec::new();
        for i in 0..size.n {
            let (waiting, told, done) = (waiting.clone(), told.clone(), done.clone());
            let (sender, mut mailbox) = channel::<u64>();
            watchers.push(sender);
            task(async move {
                waiting.hit();
                if mailbox.recv().await.is_some() && told.hit() {
                    done.send(i).expect("it is waited for");
                }
                // It lives on, as one that monitors does.
                mailbox.recv().await;
            });
            if i % BATCH == BATCH - 1 {
                yield_now().await;
            }
        }
        let (kill, killed) = oneshot::channel::<()>();
        task(async move {
            let _ = killed.await;
            for watcher in &watchers {
                let _ = watcher.send(0);
            }
            pending::<()>().await;
        });
        opened(&waiting).await;
        let begun = now();
        drop(kill);
        ended.recv().await.ok_or(BenchError::NoFigure)?;
        Ok(millis(now().since(begun)))
    })
}

/// Aborts another with itself.
struct Linked(AbortHandle);

impl Drop for Linked {
    fn drop(&mut self) {
        self.0.abort();
    }
}

pub(crate) fn links(size: Size) -> Result<f64, BenchError> {
    stage(size, |size| async move {
        let (waiting, gone) = (Latch::new(size.n), Latch::new(size.n));
        let mut linked = Vec::new();
        for i in 0..size.n {
            linked.push(Linked(idler(&waiting, &gone, None)));
            if i % BATCH == BATCH - 1 {
                yield_now().await;
            }
        }
        opened(&waiting).await;
        let victim = task(async move {
            let _linked = linked;
            pending::<()>().await;
        });
        yield_now().await;
        let begun = now();
        victim.abort();
        opened(&gone).await;
        Ok(millis(now().since(begun)))
    })
}

pub(crate) fn chain(size: Size) -> Result<f64, BenchError> {
    stage(size, |size| async move {
        let (waiting, gone) = (Latch::new(size.n), Latch::new(size.n));
        let mut first = None;
        for i in 0..size.n {
            first = Some(idler(&waiting, &gone, first.map(Linked)));
            if i % BATCH == BATCH - 1 {
                yield_now().await;
            }
        }
        opened(&waiting).await;
        let begun = now();
        drop(first.map(Linked));
        opened(&gone).await;
        Ok(millis(now().since(begun)))
    })
}

/// A task that waits for mail which never comes, and takes another with it.
fn idler(waiting: &Latch, gone: &Latch, next: Option<Linked>) -> AbortHandle {
    let (waiting, gone) = (waiting.clone(), gone.on_drop());
    let (sender, mut mailbox) = channel::<u64>();
    let idler = task(async move {
        let _held = (gone, next, sender);
        waiting.hit();
        drop(waiting);
        mailbox.recv().await;
    });
    idler.abort_handle()
}
