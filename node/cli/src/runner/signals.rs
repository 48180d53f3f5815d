//! The signals that a runner passes on, and those that ask it to end.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::fail::Fail;

/// The signals that are passed on.
pub(super) struct Signals {
    fatal: [Signal; 4],
    other: [Signal; 4],
    /// Whether one came that asks to end.
    pub(super) came: bool,
}

impl Signals {
    pub(super) fn new() -> Result<Self, Fail> {
        let listen = |kind| signal(kind).map_err(Fail::io("listening for signals"));
        Ok(Self {
            fatal: [
                listen(SignalKind::interrupt())?,
                listen(SignalKind::terminate())?,
                listen(SignalKind::hangup())?,
                listen(SignalKind::quit())?,
            ],
            other: [
                listen(SignalKind::user_defined1())?,
                listen(SignalKind::user_defined2())?,
                listen(SignalKind::alarm())?,
                listen(SignalKind::window_change())?,
            ],
            came: false,
        })
    }

    /// The next one that asks to end.
    pub(super) async fn fatal(&mut self) -> i32 {
        let kind = next_fatal(&mut self.fatal).await;
        self.came = true;
        kind.as_raw_value()
    }

    /// The next one.
    pub(super) async fn any(&mut self) -> i32 {
        let (kind, is_fatal) = tokio::select! {
            biased;
            kind = next_fatal(&mut self.fatal) => (kind, true),
            kind = next_other(&mut self.other) => (kind, false),
        };
        self.came |= is_fatal;
        kind.as_raw_value()
    }

    /// One that has come already and asks to end, if any. Others that came while there was no command were
    /// meant for nobody: a command that has just begun might die of them.
    pub(super) async fn at_hand(&mut self) -> Option<i32> {
        // What the kernel has told is known once the runtime has looked.
        tokio::task::yield_now().await;
        loop {
            tokio::select! {
                biased;
                kind = next_fatal(&mut self.fatal) => {
                    self.came = true;
                    return Some(kind.as_raw_value());
                }
                _ = next_other(&mut self.other) => {}
                () = std::future::ready(()) => return None,
            }
        }
    }
}

async fn next_fatal(fatal: &mut [Signal; 4]) -> SignalKind {
    let [interrupt, terminate, hangup, quit] = fatal;
    tokio::select! {
        biased;
        _ = interrupt.recv() => SignalKind::interrupt(),
        _ = terminate.recv() => SignalKind::terminate(),
        _ = hangup.recv() => SignalKind::hangup(),
        _ = quit.recv() => SignalKind::quit(),
    }
}

async fn next_other(other: &mut [Signal; 4]) -> SignalKind {
    let [one, two, alarm, window] = other;
    tokio::select! {
        biased;
        _ = one.recv() => SignalKind::user_defined1(),
        _ = two.recv() => SignalKind::user_defined2(),
        _ = alarm.recv() => SignalKind::alarm(),
        _ = window.recv() => SignalKind::window_change(),
    }
}
