//! How a story is told: once on two real workers, and once for each of some seeds in the simulation, where
//! one worker runs everything, time is made, and a seed decides who is put off.
#![allow(dead_code, reason = "no story needs all of it")]

use std::fmt::Debug;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use quorate_actor::{Actors, Exit, Mailbox};
use quorate_env::{Life, LifeConfig, sleep, timeout};
use tokio::sync::oneshot;

/// Longer than anything here takes.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// Tells a story everywhere.
pub(crate) fn story<F, Fut>(tell: F)
where
    F: Fn(Actors) -> Fut,
    Fut: Future<Output = ()> + Send + 'static,
{
    let real = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    real.unwrap().block_on(to_its_end(&tell));
    for seed in 0..8 {
        let mut made = tokio::runtime::Builder::new_current_thread();
        made.enable_all().start_paused(true).build().unwrap().block_on(async {
            #[expect(clippy::disallowed_methods, reason = "a world is made here")]
            let origin = tokio::time::Instant::now();
            let config = LifeConfig {
                seed,
                clock_rate: 1.0,
                deferrals_per_mille: 200,
                origin,
                wall_skew_nanos: 0,
            };
            Life::begin(config).scope(to_its_end(&tell)).await;
        });
    }
}

async fn to_its_end<F, Fut>(tell: &F)
where
    F: Fn(Actors) -> Fut,
    Fut: Future<Output = ()> + Send + 'static,
{
    let actors = Actors::alone();
    // A task of its own, so that a story which blocks or never ends is told of.
    let told = quorate_env::spawn(tell(actors.clone()));
    timeout(LONG, told).await.expect("the story comes to an end").expect("the story goes well");
    timeout(LONG, actors.close()).await.expect("its processes end");
    assert_eq!(actors.count(), 0);
}

/// Runs a body in a process, and gives what it found and how the process ended.
pub(crate) async fn in_process<T, F, Fut>(actors: &Actors, body: F) -> (Option<T>, Exit)
where
    T: Send + 'static,
    F: FnOnce(Mailbox<()>) -> Fut + Send + 'static,
    Fut: Future<Output = T> + Send + 'static,
{
    let (tell, told) = oneshot::channel();
    let (go, gone) = oneshot::channel::<()>();
    let addr = actors.spawn(|mailbox: Mailbox<()>| async {
        gone.await.expect("it is let go");
        let found = body(mailbox).await;
        let _ = tell.send(found);
        Exit::Normal
    });
    let ended = actors.ended(addr.pid());
    go.send(()).expect("it waits");
    let exit = ended.await;
    (told.await.ok(), exit)
}

/// What happened, in its order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    pub(crate) fn add(&self, line: impl Into<String>) {
        self.0.lock().unwrap().push(line.into());
    }

    /// Waits until it says this last.
    pub(crate) async fn ends_with(&self, line: &str) {
        while self.0.lock().unwrap().last().is_none_or(|last| last != line) {
            sleep(Duration::from_millis(1)).await;
        }
    }

    #[track_caller]
    pub(crate) fn says(&self, lines: &[&str]) {
        assert_eq!(*self.0.lock().unwrap(), lines);
    }
}
