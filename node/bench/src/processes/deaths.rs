//! One dies, and many are told or go with it.

use quorate_actor::{Actors, Addr, Exit, Incoming, Mailbox, yield_now};
use quorate_env::now;
use quorate_vocab::Pid;

use super::{left, opened, stage};
use crate::error::BenchError;
use crate::latch::Latch;
use crate::probe::{BATCH, Size, millis};

pub(crate) fn monitors(size: Size) -> Result<f64, BenchError> {
    stage(size, move |mut main| async move {
        let (waiting, told) = (Latch::new(size.n), Latch::new(size.n));
        let victim = mortal(main.actors());
        for i in 0..size.n {
            let (waiting, told) = (waiting.clone(), told.clone());
            let (victim, done) = (victim.pid(), main.addr());
            main.actors().spawn(move |mut own: Mailbox<u64>| async move {
                let monitor = own.monitor(victim);
                waiting.hit();
                // It lives on, as one that monitors does.
                loop {
                    let news = own.next().await;
                    let is_its = matches!(news, Incoming::Down(down) if down.monitor == monitor);
                    if is_its && told.hit() {
                        done.send(i).expect("it waits for this");
                    }
                }
            });
            if i % BATCH == BATCH - 1 {
                yield_now().await;
            }
        }
        opened(&waiting).await;
        let begun = now();
        victim.send(0).map_err(|_| BenchError::NoFigure)?;
        main.receive().await;
        Ok(millis(now().since(begun)))
    })
}

pub(crate) fn links(size: Size) -> Result<f64, BenchError> {
    stage(size, move |main| async move {
        let actors = main.actors();
        let before = actors.count();
        let waiting = Latch::new(size.n);
        let victim = mortal(actors);
        for i in 0..size.n {
            linked_idler(actors, victim.pid(), &waiting);
            if i % BATCH == BATCH - 1 {
                yield_now().await;
            }
        }
        opened(&waiting).await;
        let begun = now();
        victim.send(0).map_err(|_| BenchError::NoFigure)?;
        left(actors, before).await;
        Ok(millis(now().since(begun)))
    })
}

pub(crate) fn chain(size: Size) -> Result<f64, BenchError> {
    stage(size, move |main| async move {
        let actors = main.actors();
        let before = actors.count();
        let first = linked_idlers(actors, size.n).await;
        let begun = now();
        actors.kill(first);
        left(actors, before).await;
        Ok(millis(now().since(begun)))
    })
}

/// A process that ends badly at its first message.
fn mortal(actors: &Actors) -> Addr<u64> {
    actors.spawn(|mut own: Mailbox<u64>| async move {
        own.receive().await;
        Exit::Because("the workload wants it".to_owned())
    })
}

/// Idle processes, each linked to the one before it. Returns the first.
pub(super) async fn linked_idlers(actors: &Actors, n: u64) -> Pid {
    let waiting = Latch::new(n.saturating_sub(1));
    let first = actors.spawn(|mut own: Mailbox<u64>| async move { idle(&mut own, 0).await }).pid();
    let mut before = first;
    for i in 1..n {
        before = linked_idler(actors, before, &waiting);
        if i % BATCH == BATCH - 1 {
            yield_now().await;
        }
    }
    opened(&waiting).await;
    first
}

/// An idle process that is linked to another.
fn linked_idler(actors: &Actors, to: Pid, waiting: &Latch) -> Pid {
    let waiting = waiting.clone();
    let idler = actors.spawn(move |mut own: Mailbox<u64>| async move {
        own.link(to);
        waiting.hit();
        drop(waiting);
        idle(&mut own, 7).await
    });
    idler.pid()
}

/// Waits for ever, with 64 bytes of state.
async fn idle(own: &mut Mailbox<u64>, seed: u64) -> Exit {
    let mut state = std::hint::black_box([seed; 8]);
    loop {
        let number = own.receive().await;
        state[(number % 8) as usize] += number;
        std::hint::black_box(&state);
    }
}
