//! What a fencer sleeps by: its line, its children, another process, and a timer that counts suspends.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use quorate_vocab::Time;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime,
};

pub(super) struct Bell {
    /// `poll` itself counts by a clock that stands still in a suspend.
    timer: OwnedFd,
    children: SignalFd,
}

/// What it rang for. A deadline rings for nothing of it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rung {
    pub(super) line: bool,
    pub(super) process: bool,
    pub(super) children: bool,
}

impl Bell {
    pub(super) fn new() -> io::Result<Self> {
        let timer = timerfd_create(TimerfdClockId::Boottime, TimerfdFlags::CLOEXEC)?;
        let mut mask = SigSet::empty();
        mask.add(Signal::SIGCHLD);
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        Ok(Self { timer, children: SignalFd::with_flags(&mask, flags)? })
    }

    /// Sleeps until something is to be looked at, or until a time. A process rings once it has ended.
    pub(super) fn wait(
        &self,
        until: Option<Time>,
        line: Option<BorrowedFd<'_>>,
        process: Option<BorrowedFd<'_>>,
    ) -> io::Result<Rung> {
        self.set(until)?;
        let timer = self.timer.as_fd();
        // What is not asked about is the timer once more, whose ringing says nothing.
        let listen = |fd| PollFd::from_borrowed_fd(fd, PollFlags::IN);
        let mut fds = [
            listen(line.unwrap_or(timer)),
            listen(process.unwrap_or(timer)),
            listen(self.children.as_fd()),
            listen(timer),
        ];
        let over = Timespec { tv_sec: 0, tv_nsec: 0 };
        let is_over = until.is_some_and(|until| until <= quorate_env::now());
        match poll(&mut fds, is_over.then_some(&over)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let rang = |at: usize| !fds[at].revents().is_empty();
        let rung = Rung {
            line: line.is_some() && rang(0),
            process: process.is_some() && rang(1),
            children: rang(2),
        };
        while rung.children && self.children.read_signal()?.is_some() {}
        Ok(rung)
    }

    fn set(&self, until: Option<Time>) -> io::Result<()> {
        // Zero would mean never.
        let nanos = until.map_or(0, |until| until.0.max(1));
        let at = Timespec {
            tv_sec: i64::try_from(nanos / 1_000_000_000).unwrap_or(i64::MAX),
            tv_nsec: i64::try_from(nanos % 1_000_000_000).unwrap_or(0),
        };
        let never = Timespec { tv_sec: 0, tv_nsec: 0 };
        let when = Itimerspec { it_interval: never, it_value: at };
        timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &when)?;
        Ok(())
    }
}
