//! Who ends this node's process when its lease is over and the node itself cannot: it may be stopped, or so
//! busy that it does not come to it.
//!
//! An extension of the lease counts only once the sentinel has taken it, so there is no moment at which this
//! node acts and nobody would end it in time. Without a sentinel a node renews nothing.
//!
//! Not here: what is done in time by the node itself (`tenancy`), and what another process does (the fencer).

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use quorate_env::BoxFuture;
use quorate_fencer::{Guard, GuardOrders};
use quorate_vocab::Time;
use tokio::sync::Mutex;

/// The file in the data directory that all commands of a node hold while anything of theirs lives.
const WARDS: &str = "wards";
/// How often it is looked whether they have ended.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Ends this process at a time that it was told last.
pub trait Sentinel: Send + Sync + 'static {
    /// Takes another time, or none; whether it did. One that fails keeps to what it took before.
    fn guard(&self, until: Option<Time>) -> BoxFuture<'_, bool>;

    /// Returns once nothing runs any more that a former life of this node began, or so much time has passed.
    fn until_alone(&self, _within: Duration) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }

    /// This process is about to end in order, and needs it no more.
    fn release(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}

/// A second process beside this one, which ends it.
#[derive(Clone, Debug)]
pub struct FencerConfig {
    /// A program that hands over to `quorate_fencer::main` at its very beginning: this one, if it does that
    /// (`/proc/self/exe`), or the program `quorate-fencer`.
    pub program: PathBuf,
    /// What it executes once this process has died and nothing is left of what it started. Nothing, if it is
    /// empty. It runs where this process did, and no secret stands in it, for anybody can read it.
    pub last_word: Vec<OsString>,
    /// Whether it ends this process with its lease. Where nothing runs in it by leave of the lease, one that
    /// was stopped may as well go on.
    pub kills: bool,
}

/// The real one. It starts its fencer when there is something to guard, and another when that was killed.
pub(crate) struct Fencer(Arc<Post>);

struct Post {
    orders: GuardOrders,
    kills: bool,
    guard: Mutex<Option<Guard>>,
}

impl Fencer {
    pub(crate) fn new(config: &FencerConfig, data: &Path, patience: Duration) -> Self {
        let data = std::path::absolute(data).unwrap_or_else(|_| data.to_owned());
        let orders = GuardOrders {
            fencer: config.program.clone(),
            wards: Some(data.join(WARDS)),
            patience,
            last_word: config.last_word.clone(),
        };
        Self(Arc::new(Post { orders, kills: config.kills, guard: Mutex::new(None) }))
    }
}

impl Post {
    async fn tell(&self, until: Option<Time>) -> bool {
        let until = until.filter(|_| self.kills);
        let mut guard = self.guard.lock().await;
        if let Some(guard) = &*guard
            && guard.until(until).await.is_ok()
        {
            return true;
        }
        // What was told to the one before stands with it, if it lives after all: it errs on the safe side.
        match Guard::spawn(self.orders.clone()).await {
            Ok(new) => {
                let is_told = new.until(until).await.is_ok();
                *guard = Some(new);
                is_told
            }
            Err(error) => {
                tracing::error!(%error, "nobody guards this node, so it renews nothing; trying again");
                *guard = None;
                false
            }
        }
    }
}

impl Sentinel for Fencer {
    fn guard(&self, until: Option<Time>) -> BoxFuture<'_, bool> {
        let post = self.0.clone();
        // Goes on when it is not waited for, so that no fencer is started in vain; the next one waits for it.
        let told = quorate_env::spawn(async move { post.tell(until).await });
        Box::pin(async { told.await.unwrap_or(false) })
    }

    fn until_alone(&self, within: Duration) -> BoxFuture<'_, ()> {
        let wards = self.0.orders.wards.clone().unwrap_or_default();
        Box::pin(async move {
            let alone = async {
                loop {
                    match quorate_fencer::none_is_left(&wards) {
                        Ok(true) => return,
                        Ok(false) => {}
                        Err(error) => tracing::warn!(%error, "{} tells nothing", wards.display()),
                    }
                    quorate_env::sleep(LOOK_AGAIN).await;
                }
            };
            if quorate_env::timeout(within, alone).await.is_err() {
                tracing::warn!("a command that this node's last life ran may run on");
            }
        })
    }

    fn release(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            if let Some(guard) = self.0.guard.lock().await.take() {
                // One that is gone needs no release.
                let _ = guard.release().await;
            }
        })
    }
}
