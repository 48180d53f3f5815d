//! A fencer with a command in its charge: does what `charge` decides, and tells of the end when nothing is
//! left.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, WaitIdStatus, WaitStatus, getpgid, getpid,
    set_child_subreaper, waitid,
};
use rustix::termios::{isatty, tcgetpgrp, tcsetpgrp};

use super::bell::Bell;
use super::post::{self, Post};
use super::{FAILED, Wish, become_program};
use crate::cgroup::{self, Cgroup};
use crate::charge::{Charge, Deed, Input, Status, Until, Why};
use crate::words::{Order, Report};
use crate::{CALL, MYSELF, tree};

pub(super) fn run(wish: &Wish) -> io::Result<u8> {
    let mut post = Post::open()?;
    let Some(parent) = post::parent(wish.parent) else { return Ok(FAILED) };
    let mut bell = Bell::new()?;
    match begin(wish, &mut post, &parent) {
        Ok((ward, until)) => {
            let why = watch(ward, until, &mut bell, &mut post, &parent)?;
            match wish.last_word.split_first() {
                Some((program, arguments)) if why == Why::ParentDied => {
                    let mut word = Command::new(program);
                    Err(become_program(word.arg0("quorate").args(arguments).stdin(Stdio::null())))
                }
                _ => Ok(0),
            }
        }
        Err(error) => {
            post.tell(&Report::GaveUp(error.to_string()));
            Ok(FAILED)
        }
    }
}

/// A command, and all that comes of it.
struct Ward {
    command: Pid,
    status: Option<Status>,
    /// Its number, and its group's, may be another's from then on.
    is_reaped: bool,
    is_empty: bool,
    /// Whether it was decided about how it ended.
    is_told: bool,
    /// Why it ended, once all is over.
    over: Option<Why>,
    terminal: Option<Terminal>,
    cgroup: Option<Cgroup>,
    /// Held until nothing is left.
    _held: Option<OwnedFd>,
}

/// A terminal that the command has, and whose it was.
struct Terminal {
    stdin: OwnedFd,
    owner: Pid,
}

/// Reads what is to be known first, and starts the command.
fn begin(wish: &Wish, post: &mut Post, parent: &OwnedFd) -> io::Result<(Ward, Until)> {
    let [stdin, stdout, stderr] = post.streams()?;
    let until = first_deadline(post)?;
    let held = wish.wards.as_deref().map(hold).transpose()?;
    // Whoever waits for the wards of a dead node waits from now on. It may have been there before.
    if post::has_ended(parent)? {
        return Err(io::Error::other("the parent has ended"));
    }
    // The parent may have been stopped between the thought and the word.
    if quorate_env::now() >= until.term_at.min(until.kill_at) {
        return Err(io::Error::other("its time was over before it began"));
    }
    set_child_subreaper(Some(getpid()))?;
    let terminal = Terminal::to_give(&stdin, wish.parent);
    let cgroup = Cgroup::make();
    let mut command = Command::new(MYSELF);
    command.arg0("quorate").args([CALL, "exec", "--parent", &std::process::id().to_string()]);
    if let Some(cgroup) = &cgroup {
        command.arg("--cgroup").arg(cgroup.path());
    }
    if let Some(wards) = &wish.wards {
        command.arg("--wards").arg(wards);
    }
    if terminal.is_some() {
        command.arg("--foreground");
    }
    command.arg("--").args(&wish.command).process_group(0);
    command.stdin(Stdio::from(stdin)).stdout(Stdio::from(stdout)).stderr(Stdio::from(stderr));
    let child = command.spawn()?;
    // The streams go with `command`: whoever reads from the command sees its end when it closes them.
    drop(command);
    let id = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let command = id.ok_or_else(|| io::Error::other("a process without a number"))?;
    let path = cgroup.as_ref().map(|cgroup| cgroup.path().to_string_lossy().into_owned());
    post.tell(&Report::Started {
        pid: command.as_raw_nonzero().get(),
        cgroup: path.unwrap_or_default(),
    });
    let ward = Ward {
        command,
        status: None,
        is_reaped: false,
        is_empty: false,
        is_told: false,
        over: None,
        terminal,
        cgroup,
        _held: held,
    };
    Ok((ward, until))
}

/// No command begins without one.
fn first_deadline(post: &mut Post) -> io::Result<Until> {
    loop {
        let mail = post.take_in();
        if let Some((seq, Order::Until(until))) = mail.orders.first() {
            post.tell(&Report::Answer { seq: *seq, taken: true });
            return Ok(*until);
        }
        if mail.hung_up || !mail.orders.is_empty() {
            return Err(io::Error::other("no deadline came"));
        }
    }
}

/// Whoever waits for all wards of a node waits for this one.
fn hold(wards: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::CREATE | OFlags::CLOEXEC;
    let held = open(wards, flags, Mode::RUSR | Mode::WUSR)?;
    flock(&held, FlockOperation::LockShared)?;
    Ok(held)
}

fn watch(
    mut ward: Ward,
    until: Until,
    bell: &mut Bell,
    post: &mut Post,
    parent: &OwnedFd,
) -> io::Result<Why> {
    let mut charge = Charge::new(until);
    let (mut is_orphan, mut deeds) = (false, Vec::new());
    loop {
        let parent = (!is_orphan).then_some(parent.as_fd());
        let rung = bell.wait(Some(charge.deadline()), post.fd(), parent)?;
        let mut inputs = vec![(0, Input::Tick)];
        let mut is_gone = rung.process;
        if rung.line {
            let mail = post.take_in();
            inputs.extend(mail.orders.into_iter().map(|(seq, order)| (seq, Input::Ordered(order))));
            is_gone |= mail.hung_up;
        }
        if is_gone && !is_orphan {
            is_orphan = true;
            inputs.push((0, Input::ParentGone));
        }
        ward.look();
        for (seq, input) in inputs {
            charge.step(quorate_env::now(), input, &mut deeds);
            deeds.drain(..).for_each(|deed| ward.obey(deed, seq, post));
        }
        // What ended may be seen only while something else is done about it.
        while let Some(news) = ward.news() {
            charge.step(quorate_env::now(), news, &mut deeds);
            deeds.drain(..).for_each(|deed| ward.obey(deed, 0, post));
            if let Some(why) = ward.over {
                return Ok(why);
            }
        }
    }
}

impl Ward {
    /// Looks what has ended, and reaps it.
    fn look(&mut self) {
        let was_known = self.status.is_some();
        if !self.is_reaped {
            self.undo_suspension();
            // Not reaped by the look: while it is a zombie, its group can be killed by its number.
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
            if let Ok(Some(ended)) = waitid(WaitId::Pid(self.command), options) {
                self.status = status_of(&ended);
            }
        }
        if self.status.is_none() || was_known {
            self.reap();
        }
    }

    /// What is to be decided about next, if anything is: first how the command ended, then that all did.
    fn news(&mut self) -> Option<Input> {
        if !self.is_told {
            self.is_told = self.status.is_some();
            return self.status.map(Input::Exited);
        }
        self.is_empty.then_some(Input::Empty)
    }

    fn reap(&mut self) {
        let (command, status, is_reaped) = (self.command, &mut self.status, &mut self.is_reaped);
        self.is_empty = tree::reap(|pid, ended| {
            if pid == command {
                *is_reaped = true;
                *status = status.or_else(|| status_when_reaped(ended));
            }
        });
        if self.is_empty {
            // Somebody else reaped it: how it ended is lost, that it did is not.
            self.status.get_or_insert(Status::Exited(FAILED));
        }
    }

    fn obey(&mut self, deed: Deed, seq: u64, post: &Post) {
        match deed {
            Deed::Answer(taken) => post.tell(&Report::Answer { seq, taken }),
            Deed::Tell(status, why) => {
                self.close();
                post.tell(&Report::Ended(status, why));
                self.over = Some(why);
            }
            Deed::Pass(number) => {
                if let Some(signal) = Signal::from_named_raw(number)
                    && !self.is_reaped
                {
                    tree::signal_group(self.command, signal);
                }
            }
            Deed::Ask(signal) => {
                tree::signal_all(signal);
                // What is stopped hears nothing.
                tree::signal_all(Signal::CONT);
            }
            Deed::Kill => self.kill(),
        }
    }

    fn kill(&mut self) {
        if !self.is_reaped {
            tree::signal_group(self.command, Signal::KILL);
        }
        if let Some(cgroup) = &self.cgroup {
            cgroup::kill(cgroup.path());
        }
        self.reap();
        if !self.is_empty {
            tree::kill_all();
            self.reap();
        }
    }

    /// Ctrl-Z would stop the command alone, and leave a terminal that nobody reads.
    fn undo_suspension(&self) {
        let options = WaitIdOptions::STOPPED | WaitIdOptions::NOHANG;
        if self.terminal.is_some()
            && let Ok(Some(stopped)) = waitid(WaitId::Pid(self.command), options)
            && stopped.stopping_signal() == Some(Signal::TSTP.as_raw())
        {
            tree::signal_group(self.command, Signal::CONT);
        }
    }

    /// Gives back what it had.
    fn close(&mut self) {
        if let Some(terminal) = self.terminal.take() {
            // It may be gone, with all who had it.
            let _ = tcsetpgrp(&terminal.stdin, terminal.owner);
        }
        self.cgroup = None;
    }
}

impl Terminal {
    /// The terminal, if the command's input is one and the parent is who has it now.
    fn to_give(stdin: &OwnedFd, parent: i32) -> Option<Self> {
        let owner = getpgid(Some(Pid::from_raw(parent)?)).ok()?;
        let is_given = isatty(stdin) && tcgetpgrp(stdin).ok()? == owner;
        is_given.then(|| stdin.try_clone().ok())?.map(|stdin| Self { stdin, owner })
    }
}

fn status_of(ended: &WaitIdStatus) -> Option<Status> {
    status(ended.exit_status(), ended.terminating_signal())
}

fn status_when_reaped(ended: WaitStatus) -> Option<Status> {
    status(ended.exit_status(), ended.terminating_signal())
}

fn status(code: Option<i32>, signal: Option<i32>) -> Option<Status> {
    let exited = code.map(|code| Status::Exited(u8::try_from(code).unwrap_or(FAILED)));
    exited.or(signal.map(Status::Signaled))
}
