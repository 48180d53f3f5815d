//! A command in a fencer's charge, as its parent sees it.

use std::ffi::OsString;
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use quorate_env::timeout;
use quorate_vocab::Time;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use rustix::process::{Signal, getpid, set_child_subreaper};
use tokio::sync::watch;

use crate::cgroup;
use crate::charge::{Status, Until, Why};
use crate::error::{Gone, SpawnError};
use crate::kin::{self, Kin};
use crate::line::{self, ANSWER_WITHIN, Carrier, Line};
use crate::words::{Order, Report};

/// How much later than the deadline a fencer is taken for stopped that did not keep it.
const LATE: Duration = Duration::from_millis(50);
/// How long after a killing it is looked again whether anything lives.
const KILL_AGAIN: Duration = Duration::from_millis(5);

/// What to run, how, and until when.
#[derive(Debug)]
pub struct Orders {
    /// A program that hands over to [`main`](crate::main); [`MYSELF`](crate::MYSELF), if this one does.
    pub fencer: PathBuf,
    /// The program and its arguments.
    pub command: Vec<OsString>,
    /// What its environment has beside this process's own.
    pub env: Vec<(OsString, OsString)>,
    /// Where it runs, if not where this process does.
    pub directory: Option<PathBuf>,
    /// Its standard streams.
    pub streams: Streams,
    /// Until when it may run at first.
    pub until: Until,
    /// The file that all wards of a node hold while anything of theirs lives; by its whole path.
    pub wards: Option<PathBuf>,
    /// What is executed when nothing is left of the command because this process has died: the last word.
    /// Nothing, if it is empty. Its secrets are in files, for anybody can read these words.
    pub last_word: Vec<OsString>,
    /// What of a ward survives its fencer becomes this process's, which then kills every child of its own
    /// that is neither a ward's fencer nor its guard; otherwise only the command itself dies for certain,
    /// and nobody knows what of it goes on.
    pub is_heir: bool,
}

/// Standard streams for a command; those that are not given are this process's own.
#[derive(Debug, Default)]
pub struct Streams {
    /// What it reads.
    pub stdin: Option<OwnedFd>,
    /// What it writes.
    pub stdout: Option<OwnedFd>,
    /// What it complains.
    pub stderr: Option<OwnedFd>,
}

/// How it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending {
    /// How the command itself ended.
    pub status: Status,
    /// Why it did.
    pub why: Why,
    /// Whether it is certain that nothing of its tree is left. False only if its fencer was killed.
    pub is_tree_empty: bool,
}

/// A command that runs, with all that comes of it. Dropped, it is killed.
#[derive(Debug)]
pub struct Ward {
    line: Line,
    pid: u32,
    until: watch::Sender<Until>,
    ended: watch::Receiver<Option<Ending>>,
}

impl Ward {
    /// Starts a command. One that cannot be found or executed ends at once with the codes 127 and 126, and
    /// has said so on its stderr.
    pub async fn spawn(orders: Orders) -> Result<Self, SpawnError> {
        let (ours, theirs) = UnixStream::pair()?;
        let mut command = line::fencer(&orders.fencer, "ward", theirs);
        if let Some(wards) = &orders.wards {
            command.arg("--wards").arg(wards);
        }
        for word in &orders.last_word {
            command.arg("--last-word").arg(word);
        }
        command.arg("--").args(&orders.command).envs(orders.env);
        if let Some(directory) = &orders.directory {
            command.current_dir(directory);
        }
        if orders.is_heir {
            set_child_subreaper(Some(getpid())).map_err(std::io::Error::from)?;
        }
        // In a group of its own, it is not hit by the keys of a terminal.
        let fencer = line::start(command.process_group(0), &orders.fencer)?;
        drop(command);
        orders.streams.send(&ours)?;
        let (line, mut carrier) = Carrier::new(ours)?;
        carrier.order(Order::Until(orders.until)).await?;
        let (pid, cgroup) = carrier.started().await?;
        let (until, known_until) = watch::channel(orders.until);
        let (tell, ended) = watch::channel(None);
        let rest = Rest { fencer, cgroup, is_heir: orders.is_heir };
        quorate_env::spawn(async move {
            let ending = follow(carrier, rest, known_until).await;
            tell.send_replace(Some(ending));
        });
        Ok(Self { line, pid: pid.cast_unsigned(), until, ended })
    }

    /// The command's process, which leads a group of the same number.
    pub fn id(&self) -> u32 {
        self.pid
    }

    /// Moves the deadlines. Counts once this has returned well; otherwise those before stand.
    pub async fn until(&self, term_at: Time, kill_at: Time) -> Result<(), Gone> {
        let until = Until { term_at, kill_at };
        self.line.tell(Order::Until(until)).await?;
        self.until.send_replace(until);
        Ok(())
    }

    /// Passes a signal on to the command's group.
    pub async fn signal(&self, number: i32) -> Result<(), Gone> {
        self.line.tell(Order::Signal(number)).await
    }

    /// Asks the whole tree to end, and kills it after a grace, or at its deadline if that is earlier.
    pub async fn stop(&self, grace: Duration) -> Result<(), Gone> {
        self.line.tell(Order::Stop { grace }).await
    }

    /// Waits until nothing of it is left.
    pub async fn ended(&self) -> Ending {
        let mut ended = self.ended.clone();
        let told = ended.wait_for(Option::is_some).await.ok().and_then(|ending| *ending);
        // Only a runtime that is being torn down ends the task before.
        told.unwrap_or(LOST)
    }
}

/// What is known when the fencer was killed: the kernel has killed the command with it.
const LOST: Ending = Ending {
    status: Status::Signaled(Signal::KILL.as_raw()),
    why: Why::FencerDied,
    is_tree_empty: false,
};

impl Streams {
    fn send(&self, line: &UnixStream) -> Result<(), SpawnError> {
        let own = [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()];
        let given = [&self.stdin, &self.stdout, &self.stderr];
        let mut streams = own;
        for (stream, given) in streams.iter_mut().zip(given) {
            *stream =
                given.as_ref().map_or(*stream, |fd: &OwnedFd| -> BorrowedFd<'_> { fd.as_fd() });
        }
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&streams));
        let byte = [IoSlice::new(&[0])];
        sendmsg(line, &byte, &mut control, SendFlags::NOSIGNAL).map_err(std::io::Error::from)?;
        Ok(())
    }
}

/// What is left to the parent when the fencer is gone.
struct Rest {
    fencer: Kin,
    cgroup: String,
    is_heir: bool,
}

/// Carries until the end is told. A fencer that does not keep the deadline is none: it is stopped, and so
/// killed here, which kills the command.
async fn follow(mut carrier: Carrier, mut rest: Rest, mut until: watch::Receiver<Until>) -> Ending {
    let mut is_held = true;
    let mut probe_at = Time(0);
    loop {
        let late = until.borrow_and_update().kill_at + LATE;
        let report = tokio::select! {
            biased;
            moved = until.changed(), if is_held => {
                is_held = moved.is_ok();
                continue;
            }
            report = carrier.carry() => report,
            () = quorate_env::sleep_until(late.max(probe_at)) => {
                probe_at = quorate_env::now() + ANSWER_WITHIN;
                carrier.probe(ANSWER_WITHIN / 10).await
            }
        };
        match report {
            Some(Report::Ended(status, why)) => {
                rest.fencer.wait().await;
                return Ending { status, why, is_tree_empty: true };
            }
            Some(_) => {}
            None => break,
        }
    }
    // If the fencer lives, it sees that nobody orders any more, and ends when nothing is left.
    drop(carrier);
    rest.clear().await
}

impl Rest {
    async fn clear(mut self) -> Ending {
        if timeout(ANSWER_WITHIN, self.fencer.wait()).await.is_err() {
            self.fencer.kill();
            self.fencer.wait().await;
        }
        if !self.cgroup.is_empty() {
            let dir = PathBuf::from(&self.cgroup);
            cgroup::kill(&dir);
        }
        if !self.is_heir {
            return LOST;
        }
        while !kin::end_strangers() {
            quorate_env::sleep(KILL_AGAIN).await;
        }
        Ending { is_tree_empty: true, ..LOST }
    }
}
