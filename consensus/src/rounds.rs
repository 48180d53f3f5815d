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

/// Work that is shared by all who wait for it, and done on what each of them brings. Cheap to clone; all
/// clones share the same rounds.
#[derive(Debug)]
pub struct Rounds<T, I = ()>(Arc<Mutex<Turn<T, I>>>);

#[derive(Debug)]
struct Turn<T, I> {
    /// A round is under way, and whoever runs it will run the next one, too.
    under_way: bool,
    /// Who is served by the next one, and what they bring.
    waiting: Vec<oneshot::Sender<T>>,
    brought: Vec<I>,
}

impl<T: Clone + Send + 'static> Rounds<T> {
    /// Takes part in the next round, which begins after this call. `None` if the life that ran it has ended.
    pub async fn join<W, F>(&self, work: W) -> Option<T>
    where
        W: Fn() -> F + Send + 'static,
        F: Future<Output = T> + Send,
    {
        self.bring((), move |_| work()).await
    }
}

impl<T: Clone + Send + 'static, I: Send + 'static> Rounds<T, I> {
    /// Takes part in the next round, which begins after this call and is about what all bring who take part
    /// in it. `None` if the life that ran it has ended.
    ///
    /// Whoever finds no round under way brings the work for this and all rounds that follow on its heels;
    /// they go on although the caller may have stopped waiting.
    pub async fn bring<W, F>(&self, item: I, work: W) -> Option<T>
    where
        W: Fn(Vec<I>) -> F + Send + 'static,
        F: Future<Output = T> + Send,
    {
        let (served, serves) = oneshot::channel();
        let begins = {
            let mut turn = self.lock();
            turn.waiting.push(served);
            turn.brought.push(item);
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
        W: Fn(Vec<I>) -> F,
        F: Future<Output = T>,
    {
        while let Some((waiting, brought)) = self.next() {
            let outcome = work(brought).await;
            for served in waiting {
                // Whoever asked may have stopped waiting.
                let _ = served.send(outcome.clone());
            }
        }
    }

    /// Those whom the round serves that begins now, and what they brought; `None` when nobody waits, and then
    /// none is under way.
    fn next(&self) -> Option<(Vec<oneshot::Sender<T>>, Vec<I>)> {
        let mut turn = self.lock();
        turn.under_way = !turn.waiting.is_empty();
        let turn = &mut *turn;
        let take = || (std::mem::take(&mut turn.waiting), std::mem::take(&mut turn.brought));
        turn.under_way.then(take)
    }
}

impl<T, I> Rounds<T, I> {
    fn lock(&self) -> MutexGuard<'_, Turn<T, I>> {
        self.0.lock().expect("nothing panics while it holds a turn")
    }
}

impl<T, I> Clone for Rounds<T, I> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T, I> Default for Rounds<T, I> {
    fn default() -> Self {
        let turn = Turn { under_way: false, waiting: Vec::new(), brought: Vec::new() };
        Self(Arc::new(Mutex::new(turn)))
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

    #[tokio::test]
    async fn each_round_is_about_what_those_brought_whom_it_serves() {
        let (rounds, may_end) = (Rounds::default(), Arc::new(Semaphore::new(0)));
        let work = || {
            let may_end = may_end.clone();
            move |brought: Vec<u64>| {
                let may_end = may_end.clone();
                Box::pin(async move {
                    may_end.acquire().await.expect("nobody closes it").forget();
                    brought
                }) as quorate_env::BoxFuture<'static, Vec<u64>>
            }
        };
        let mut first = Box::pin(rounds.bring(1, work()));
        assert!(poll!(&mut first).is_pending());
        tokio::task::yield_now().await;
        let mut late: Vec<_> = (2..5).map(|item| Box::pin(rounds.bring(item, work()))).collect();
        for one in &mut late {
            assert!(poll!(one).is_pending());
        }
        may_end.add_permits(2);
        assert_eq!(first.await, Some(vec![1]));
        for one in late {
            assert_eq!(one.await, Some(vec![2, 3, 4]));
        }
    }
}
