//! What the stories of processes share: somebody who lives, somebody who ends as he is told, and a way to
//! look into a process from outside.
#![allow(dead_code, reason = "each story uses a part of it")]
#![expect(unreachable_pub, reason = "a module of tests")]

use std::future::Future;
use std::time::Duration;

use quorate_actor::{Actors, Addr, Brief, Exit, Mailbox, Message, Pid, State};
use quorate_env::{Life, LifeConfig};
use tokio::sync::oneshot;

/// Longer than anything here takes.
pub const LONG: Duration = Duration::from_secs(60);

/// Tells a process to end, and how.
pub struct End(pub Exit);

impl Message for End {}

/// A process that ends as it is told.
pub fn mortal(actors: &Actors) -> Addr<End> {
    actors.spawn(async |mut mailbox: Mailbox<End>| mailbox.receive().await.0)
}

/// A process that only lives.
pub fn idle(actors: &Actors) -> Addr<u64> {
    actors.spawn(async |mut mailbox: Mailbox<u64>| {
        loop {
            mailbox.receive().await;
        }
    })
}

/// Who has ended already.
pub async fn dead(actors: &Actors) -> Pid {
    let mortal = mortal(actors);
    let ended = actors.ended(mortal.pid());
    mortal.send(End(Exit::Normal)).unwrap();
    assert_eq!(soon(ended).await, Exit::Normal);
    mortal.pid()
}

/// Tells a story in a simulated life, where all clocks are made and follow each other.
pub fn in_life<Fut: Future>(story: impl FnOnce(Actors) -> Fut) -> Fut::Output {
    in_life_of(0, story)
}

/// The same with a seed that decides who is put off.
pub fn in_life_of<Fut: Future>(seed: u64, story: impl FnOnce(Actors) -> Fut) -> Fut::Output {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let deferrals_per_mille = if seed == 0 { 0 } else { 200 };
        #[expect(clippy::disallowed_methods, reason = "a world is made here")]
        let origin = tokio::time::Instant::now();
        let config =
            LifeConfig { seed, clock_rate: 1.0, deferrals_per_mille, origin, wall_skew_nanos: 0 };
        Life::begin(config).scope(async { story(Actors::alone()).await }).await
    })
}

/// A future that comes to its end, or the test fails.
pub async fn soon<T>(future: impl Future<Output = T>) -> T {
    quorate_env::timeout(LONG, future).await.expect("it comes to its end")
}

/// Waits until something is so.
pub async fn until(mut is_so: impl FnMut() -> bool) {
    soon(async {
        while !is_so() {
            quorate_env::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

/// Waits until a process has run, so that it waits for something, or ended.
pub async fn began(actors: &Actors, pid: Pid) {
    let waits = |brief: &Brief| brief.runs > 0 && brief.state == State::Waiting;
    until(|| actors.list().iter().filter(|brief| brief.pid == pid).all(waits)).await;
}

/// Runs a body in a process, and hands out what it found.
pub async fn act<M, T, F, Fut>(actors: &Actors, body: F) -> T
where
    M: Message,
    T: Send + 'static,
    F: FnOnce(Mailbox<M>) -> Fut + Send + 'static,
    Fut: Future<Output = T> + Send + 'static,
{
    let (tell, told) = oneshot::channel();
    let (go, gone) = oneshot::channel::<()>();
    let actor = actors.spawn(|mailbox| async {
        gone.await.expect("it is let go");
        let found = body(mailbox).await;
        let _ = tell.send(found);
        Exit::Normal
    });
    let ended = actors.ended(actor.pid());
    go.send(()).expect("it waits");
    let exit = soon(ended).await;
    told.await.unwrap_or_else(|_| panic!("it ended by {exit}"))
}

/// A process that does something and then ends as it is told; it has done it when this returns.
pub async fn having_done<F>(actors: &Actors, done: F) -> Addr<End>
where
    F: FnOnce(&mut Mailbox<End>) + Send + 'static,
{
    let (tell, told) = oneshot::channel();
    let addr = actors.spawn(|mut mailbox: Mailbox<End>| async move {
        done(&mut mailbox);
        let _ = tell.send(());
        mailbox.receive().await.0
    });
    soon(told).await.expect("it did it");
    addr
}
