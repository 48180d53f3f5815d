//! Who would not be ended in time asks for no more time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use quorate::{Ground, Sentinel, Time};
use quorate_env::BoxFuture;

use super::*;

/// One that takes what it is told, or does not.
#[derive(Default)]
struct Fake {
    takes: AtomicBool,
    released: AtomicBool,
    /// All that it was told.
    told: Mutex<Vec<Option<Time>>>,
}

impl Sentinel for Fake {
    fn guard(&self, until: Option<Time>) -> BoxFuture<'_, bool> {
        self.told.lock().unwrap().push(until);
        Box::pin(std::future::ready(self.takes.load(Ordering::SeqCst)))
    }

    fn release(&self) -> BoxFuture<'_, ()> {
        self.released.store(true, Ordering::SeqCst);
        Box::pin(std::future::ready(()))
    }
}

impl Fake {
    /// Waits until it was told so many more times to end the process at a time.
    async fn is_told(&self, more: usize) {
        let told = || self.told.lock().unwrap().iter().flatten().count();
        let before = told();
        eventually("it is told a deadline", async || told() >= before + more).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_is_held_only_while_somebody_would_end_the_process_with_it() {
    talk();
    let dir = tempfile::tempdir().unwrap();
    let config = Config { lease: Duration::from_secs(3), ..config("n1", dir.path(), &[], 1) };
    let fake = Arc::new(Fake::default());
    let ground = Ground { sentinel: Some(fake.clone()), ..Ground::real(&config).unwrap() };
    let node = Node::start_on(config, ground).await.unwrap();
    fake.is_told(3).await;
    assert_eq!(node.status().session, None, "nobody would end it");

    fake.takes.store(true, Ordering::SeqCst);
    assert!(node.quorate_within(SOON).await);
    // Each renewal moves the deadline, and the lease is never longer than that.
    fake.is_told(4).await;
    let last = *fake.told.lock().unwrap().iter().flatten().max().unwrap();
    assert!(last <= quorate_env::now() + Duration::from_secs(3));

    fake.takes.store(false, Ordering::SeqCst);
    eventually("the lease runs out", async || node.status().session.is_none()).await;
    let ended = async || fake.told.lock().unwrap().iter().rposition(Option::is_none).is_some();
    eventually("what ran has ended, and nobody is to be killed for it", ended).await;

    fake.takes.store(true, Ordering::SeqCst);
    assert!(node.quorate_within(SOON).await);
    node.shutdown().await;
    assert!(fake.released.load(Ordering::SeqCst));
}
