//! Workers that tell a story: who started, who stopped and why, in one order.

#![allow(dead_code, reason = "no story needs all of it")]

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Poll;
use std::time::Duration;

use quorate_actor::{Actors, Addr, Exit, Message};
use quorate_env::timeout;
use quorate_otp::{Child, Context, Flow, Server, SupervisorAddr};
use quorate_vocab::Pid;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

/// No story takes so long unless something hangs.
pub(crate) const LONG: Duration = Duration::from_secs(60);

pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(LONG, what).await.expect("this should have happened long ago")
}

/// Has a call sent its request. The answer must not be there yet.
pub(crate) async fn begin<F: Future + Unpin>(call: &mut F) {
    let polled = poll_fn(|cx| Poll::Ready(Pin::new(&mut *call).poll(cx).is_pending())).await;
    assert!(polled, "who is to answer has to be busy");
}

/// Where workers write what happens to them.
#[derive(Clone)]
pub(crate) struct Pen(mpsc::Sender<String>);

/// What they have written.
pub(crate) struct Diary(mpsc::Receiver<String>);

pub(crate) fn diary() -> (Pen, Diary) {
    let (pen, diary) = mpsc::channel(100_000);
    (Pen(pen), Diary(diary))
}

impl Pen {
    pub(crate) fn note(&self, line: impl Into<String>) {
        // Nobody has to read it.
        let written = self.0.try_send(line.into());
        assert!(!matches!(written, Err(TrySendError::Full(_))), "a diary is long enough");
    }
}

impl Diary {
    /// The next lines, waited for.
    pub(crate) async fn lines(&mut self, count: usize) -> Vec<String> {
        let mut lines = Vec::new();
        while lines.len() < count {
            lines.push(soon(self.0.recv()).await.expect("a pen is left"));
        }
        lines
    }

    /// Reads as many lines as are expected, and compares.
    #[track_caller]
    pub(crate) fn reads<'a>(&'a mut self, expected: &'a [&str]) -> impl Future<Output = ()> + 'a {
        let caller = std::panic::Location::caller();
        async move {
            let lines = self.lines(expected.len()).await;
            assert_eq!(lines, expected, "at {caller}");
        }
    }

    /// What is written already and not yet read.
    pub(crate) fn rest(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.0.try_recv().ok()).collect()
    }
}

/// Makes a worker end so.
pub(crate) struct End(pub(crate) Exit);

impl Message for End {}

/// What a worker is made from.
#[derive(Clone)]
pub(crate) struct Plot {
    pub(crate) id: &'static str,
    pub(crate) pen: Pen,
    /// How many of its starts succeed before they fail, and then how many fail.
    pub(crate) starts: Arc<AtomicU32>,
    pub(crate) failures: Arc<AtomicU32>,
    /// How long its `terminate` takes.
    pub(crate) lingers: Duration,
}

pub(crate) struct Worker(Plot);

impl Server for Worker {
    type Message = End;
    type Args = Plot;

    async fn init(plot: Plot, cx: &mut Context<End>) -> Result<Self, Exit> {
        let take = |left: u32| left.checked_sub(1);
        let (order, count) = (Ordering::Relaxed, &plot.starts);
        if count.fetch_update(order, order, take).is_err()
            && plot.failures.fetch_update(order, order, take).is_ok()
        {
            plot.pen.note(format!("{} fails", plot.id));
            return Err(Exit::because("it has a bad day"));
        }
        cx.trap_exit(true);
        plot.pen.note(format!("{} starts", plot.id));
        Ok(Self(plot))
    }

    async fn handle(&mut self, End(exit): End, _: &mut Context<End>) -> Flow {
        if let Exit::Panic(words) = exit {
            panic!("{words}");
        }
        Flow::Stop(exit)
    }

    async fn terminate(&mut self, exit: &Exit, _: &mut Context<End>) {
        if !self.0.lingers.is_zero() {
            quorate_env::sleep(self.0.lingers).await;
        }
        self.0.pen.note(format!("{} stops: {exit}", self.0.id));
    }
}

pub(crate) fn plot(id: &'static str, pen: &Pen) -> Plot {
    let (starts, failures) = (Arc::default(), Arc::default());
    Plot { id, pen: pen.clone(), starts, failures, lingers: Duration::ZERO }
}

pub(crate) fn worker(id: &'static str, pen: &Pen) -> Child {
    Child::server::<Worker>(id, plot(id, pen))
}

/// The pid of a child that runs.
pub(crate) async fn pid(supervisor: &SupervisorAddr, id: &str) -> Pid {
    let children = soon(supervisor.which_children()).await.expect("the supervisor lives");
    let child = children.iter().find(|child| &*child.id == id).expect("there is such a child");
    child.pid().expect("it runs")
}

/// Makes a child end, and waits until its supervisor has the news.
pub(crate) async fn end(actors: &Actors, supervisor: &SupervisorAddr, id: &str, exit: Exit) {
    let pid = pid(supervisor, id).await;
    let ended = actors.ended(pid);
    let child: Addr<End> = actors.addr(pid);
    child.send(End(exit)).expect("it lives");
    soon(ended).await;
}
