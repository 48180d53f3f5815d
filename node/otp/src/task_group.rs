//! Many tasks at once, but not too many.
//!
//! Tasks that were added begin in their order, as soon as there is room; those that wait for room begin while
//! somebody waits in [`TaskGroup::next`]. A group that is dropped ends its tasks: none outlives it for longer
//! than it takes to its next await.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use quorate_actor::Actors;
use quorate_env::BoxFuture;

use crate::{Task, TaskError};

/// In which order a group gives its results.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// As they come.
    #[default]
    Completion,
    /// As the tasks were added; results that are there before their turn are held.
    Start,
}

/// What a task that ends without a value means for the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Failure {
    /// They are ended, and none of them gives a result any more.
    #[default]
    EndsOthers,
    /// Nothing; it is one result among them.
    IsItsOwn,
}

/// How a group runs.
#[derive(Clone, Copy, Debug)]
pub struct TaskGroupConfig {
    /// The most tasks that run at a time.
    pub at_once: NonZeroUsize,
    /// In which order results are given.
    pub order: Order,
    /// What the end of one without a value means for the others.
    pub failure: Failure,
}

/// Tasks of one kind, and their results.
pub struct TaskGroup<T> {
    actors: Actors,
    config: TaskGroupConfig,
    /// Added, and not begun.
    waiting: VecDeque<(usize, BoxFuture<'static, T>)>,
    running: FuturesUnordered<Numbered<T>>,
    /// There before their turn.
    held: BTreeMap<usize, Result<T, TaskError>>,
    added: usize,
    /// How many results were given.
    given: usize,
    failed: Option<TaskError>,
}

struct Numbered<T> {
    number: usize,
    task: Task<T>,
}

impl<T: Send + 'static> TaskGroup<T> {
    /// A group without tasks.
    pub fn new(actors: &Actors, config: TaskGroupConfig) -> Self {
        Self {
            actors: actors.clone(),
            config,
            waiting: VecDeque::new(),
            running: FuturesUnordered::new(),
            held: BTreeMap::new(),
            added: 0,
            given: 0,
            failed: None,
        }
    }

    /// Adds a task. It begins at once if there is room.
    pub fn add<F>(&mut self, future: F)
    where
        F: Future<Output = T> + Send + 'static,
    {
        self.waiting.push_back((self.added, Box::pin(future)));
        self.added += 1;
        self.begin();
    }

    /// The next result; `None` when there are no more tasks. After a failure that ends the others it returns
    /// once they have ended. Dropped before it returns, it loses nothing.
    pub async fn next(&mut self) -> Option<Result<T, TaskError>> {
        while self.failed.is_none() {
            if let Some(result) = self.held.remove(&self.given) {
                self.given += 1;
                return Some(result);
            }
            self.begin();
            let (number, result) = self.running.next().await?;
            match (result, self.config) {
                (Err(why), TaskGroupConfig { failure: Failure::EndsOthers, .. }) => self.fail(why),
                (result, TaskGroupConfig { order: Order::Completion, .. }) => return Some(result),
                (result, _) => drop(self.held.insert(number, result)),
            }
        }
        while self.running.next().await.is_some() {}
        self.failed.take().map(Err)
    }

    fn begin(&mut self) {
        while self.running.len() < self.config.at_once.get()
            && let Some((number, future)) = self.waiting.pop_front()
        {
            self.running.push(Numbered { number, task: Task::start(&self.actors, future) });
        }
    }

    fn fail(&mut self, why: TaskError) {
        self.failed = Some(why);
        self.end_all();
        self.held.clear();
        self.given = self.added;
    }
}

impl<T> TaskGroup<T> {
    fn end_all(&mut self) {
        self.waiting.clear();
        self.running.iter_mut().for_each(|running| running.task.tell_to_stop());
    }
}

impl<T> Drop for TaskGroup<T> {
    fn drop(&mut self) {
        self.end_all();
    }
}

impl<T> Future for Numbered<T> {
    type Output = (usize, Result<T, TaskError>);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let result = ready!(Pin::new(&mut self.task).poll(cx));
        Poll::Ready((self.number, result))
    }
}
