//! Rounds: one piece of work serves everybody who asked for it before it began.
//!
//! A read that must see the present asks a majority first. A thousand that ask at the same time need one
//! round of questions, not a thousand; but none may be served by a round that had begun before it asked, as
//! that one may have seen the past. So whoever comes while a round is under way waits for the next.
//!
//! Not here: what the work is, and how long anybody is willing to wait for it.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::oneshot;

/// Work that is shared by all who wait for it. Cheap to clone; all clones share the same rounds.
#[derive(Debug)]
pub struct Rounds<T>(Arc<Mutex<Turn<T>>>);

#[derive(Debug)]
struct Turn<T> {
    /// A round is under way, and whoever runs it will run the next one, too.
    under_way: bool,
    /// Who is served by the next one.
    waiting: Vec<oneshot::Sender<T>>,
}

impl<T: Clone + Send + 'static> Rounds<T> {
    /// Takes part in the next round, which begins after this call. `None` if the life that ran it has ended.
    ///
    /// Whoever finds no round under way brings the work for this and all rounds that follow on its heels;
    /// they go on although the caller may have stopped waiting.
    pub async fn join<W, F>(&self, work: W) -> Option<T>
    where
        W: Fn() -> F + Send + 'static,
        F: Future<Output = T> + Send,
    {
        let (served, serves) = oneshot::channel();
        let begins = {
            let mut turn = self.lock();
            turn.waiting.push(served);
            !std::mem::replace(&mut turn.under_way, true)
        };
        if begins {
            let rounds = self.clone();
            quorate_env::spawn(async move { rounds.run(work).await });
        }
        serves.await.ok()
    }

    async fn run<W, F>(&self, work: W)
    where
        W: Fn() -> F,
        F: Future<Output = T>,
    {
        while let Some(waiting) = self.next() {
            let outcome = work().await;
            for served in waiting {
                // Whoever asked may have stopped waiting.
                let _ = served.send(outcome.clone());
            }
        }
    }

    /// Those whom the round serves that begins now; `None` when nobody waits, and then none is under way.
    fn next(&self) -> Option<Vec<oneshot::Sender<T>>> {
        let mut turn = self.lock();
        turn.under_way = !turn.waiting.is_empty();
        turn.under_way.then(|| std::mem::take(&mut turn.waiting))
    }
}

impl<T> Rounds<T> {
    fn lock(&self) -> MutexGuard<'_, Turn<T>> {
        self.0.lock().expect("nothing panics while it holds a turn")
    }
}

impl<T> Clone for Rounds<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Default for Rounds<T> {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Turn { under_way: false, waiting: Vec::new() })))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use futures_util::poll;
    use tokio::sync::Semaphore;

    use super::*;

    /// Work that is numbered, and ends when it is let.
    struct Desk {
        begun: AtomicU64,
        may_end: Semaphore,
    }

    impl Desk {
        fn new() -> Arc<Self> {
            Arc::new(Self { begun: AtomicU64::new(0), may_end: Semaphore::new(0) })
        }

        fn work(self: &Arc<Self>) -> impl Fn() -> quorate_env::BoxFuture<'static, u64> + use<> {
            let desk = self.clone();
            move || {
                let desk = desk.clone();
                Box::pin(async move {
                    let round = desk.begun.fetch_add(1, Ordering::Relaxed) + 1;
                    desk.may_end.acquire().await.expect("nobody closes it").forget();
                    round
                })
            }
        }
    }

    #[tokio::test]
    async fn whoever_comes_while_a_round_is_under_way_is_served_by_the_next() {
        let (rounds, desk) = (Rounds::default(), Desk::new());
        let mut first = Box::pin(rounds.join(desk.work()));
        assert!(poll!(&mut first).is_pending());
        while desk.begun.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
        let mut late: Vec<_> = (0..3).map(|_| Box::pin(rounds.join(desk.work()))).collect();
        for one in &mut late {
            assert!(poll!(one).is_pending());
        }
        desk.may_end.add_permits(2);
        assert_eq!(first.await, Some(1));
        for one in late {
            assert_eq!(one.await, Some(2));
        }
        assert_eq!(desk.begun.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn a_round_goes_on_for_others_when_the_one_who_began_it_leaves() {
        let (rounds, desk) = (Rounds::default(), Desk::new());
        let mut impatient = Box::pin(rounds.join(desk.work()));
        let mut patient = Box::pin(rounds.join(desk.work()));
        assert!(poll!(&mut impatient).is_pending());
        assert!(poll!(&mut patient).is_pending());
        drop(impatient);
        desk.may_end.add_permits(1);
        assert_eq!(patient.await, Some(1));
        // And when all is quiet, the next round begins anew.
        desk.may_end.add_permits(1);
        assert_eq!(rounds.join(desk.work()).await, Some(2));
    }
}
