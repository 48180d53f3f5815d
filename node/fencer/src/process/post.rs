//! The line as the fencer sees it: its standard input, which is a socket whose other end only the parent has.

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, fcntl_dupfd_cloexec, read};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags, recvmsg, send};
use rustix::process::{Pid, PidfdFlags, getppid, pidfd_open};

use crate::words::{Inbox, Order, Report, write_report};

/// How many streams come with a ward's first byte.
const STREAMS: usize = 3;
/// No descriptor of a command is below this one, so that none is taken for a standard stream.
const ABOVE_STANDARD: i32 = 3;

pub(super) struct Post {
    /// None once the parent has hung up.
    socket: Option<OwnedFd>,
    inbox: Inbox,
}

/// Orders that came, and whether the parent has hung up after them.
pub(super) struct Mail {
    pub(super) orders: Vec<(u64, Order)>,
    pub(super) hung_up: bool,
}

impl Post {
    pub(super) fn open() -> io::Result<Self> {
        let socket = fcntl_dupfd_cloexec(rustix::stdio::stdin(), ABOVE_STANDARD)?;
        Ok(Self { socket: Some(socket), inbox: Inbox::default() })
    }

    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.socket.as_ref().map(AsFd::as_fd)
    }

    /// Waits for the streams of the command.
    pub(super) fn streams(&self) -> io::Result<[OwnedFd; STREAMS]> {
        let none = || io::Error::other("no streams came");
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(STREAMS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut byte = [0];
        let mut bytes = [IoSliceMut::new(&mut byte)];
        let socket = self.fd().ok_or_else(none)?;
        recvmsg(socket, &mut bytes, &mut control, RecvFlags::CMSG_CLOEXEC)?;
        let mut streams = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(came) = message {
                streams.extend(came);
            }
        }
        streams.try_into().map_err(|_| none())
    }

    /// Takes in what has come; waits if nothing has.
    pub(super) fn take_in(&mut self) -> Mail {
        let mut mail = Mail { orders: Vec::new(), hung_up: self.socket.is_none() };
        let Some(socket) = &self.socket else { return mail };
        let mut bytes = [0; 1024];
        match read(socket, &mut bytes) {
            Ok(count) if count > 0 => self.inbox.take_in(&bytes[..count]),
            Err(Errno::INTR | Errno::AGAIN) => {}
            _ => mail.hung_up = true,
        }
        loop {
            match self.inbox.next_order() {
                Ok(Some(order)) => mail.orders.push(order),
                Ok(None) => break,
                Err(_) => {
                    mail.hung_up = true;
                    break;
                }
            }
        }
        if mail.hung_up {
            self.socket = None;
        }
        mail
    }

    /// Tells the parent, if it listens. It may be stopped and its line full, and is not waited for.
    pub(super) fn tell(&self, report: &Report) {
        if let Some(socket) = &self.socket {
            let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
            let _ = send(socket, &write_report(report), flags);
        }
    }
}

/// A hold on the process that called, which cannot become another's; none if that is gone already.
pub(super) fn parent(called_by: i32) -> Option<OwnedFd> {
    let pid = Pid::from_raw(called_by)?;
    let held = pidfd_open(pid, PidfdFlags::empty()).ok()?;
    // While it is still the parent, its number was still its own when the hold was taken.
    (getppid() == Some(pid)).then_some(held)
}

/// Whether a process that is held has ended.
pub(super) fn has_ended(process: &OwnedFd) -> io::Result<bool> {
    let mut fds = [PollFd::new(process, PollFlags::IN)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    Ok(poll(&mut fds, Some(&now))? > 0)
}
