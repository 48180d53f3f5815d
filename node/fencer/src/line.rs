//! The line as the parent sees it: a task that carries orders down and reports up until the fencer is gone.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::net::UnixStream as StdStream;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use quorate_env::{machine, timeout};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::process::Command;
use tokio::sync::{mpsc, oneshot};

use crate::charge::Until;
use crate::error::{Gone, SpawnError};
use crate::kin::Kin;
use crate::words::{Inbox, Order, Report, write_order};
use crate::{CALL, MYSELF};

/// How long an acknowledgement may take. A fencer that is slower is none.
pub(crate) const ANSWER_WITHIN: Duration = Duration::from_secs(1);
/// How long a fencer may take to begin.
const BEGIN_WITHIN: Duration = Duration::from_secs(10);
/// More orders than this do not wait at once.
const ORDERS_MAX: usize = 16;

/// The end of the line that gives orders. When all of them are dropped, the fencer sees its parent gone.
#[derive(Clone, Debug)]
pub(crate) struct Line(mpsc::Sender<(Order, oneshot::Sender<bool>)>);

/// The other end of that: carries what the line is given.
pub(crate) struct Carrier {
    stream: UnixStream,
    orders: mpsc::Receiver<(Order, oneshot::Sender<bool>)>,
    waiting: BTreeMap<u64, oneshot::Sender<bool>>,
    seq: u64,
    inbox: Inbox,
}

impl Line {
    /// Tells the fencer something; it took it when this returns well.
    pub(crate) async fn tell(&self, order: Order) -> Result<(), Gone> {
        let (answer, answered) = oneshot::channel();
        let told = async {
            self.0.send((order, answer)).await.map_err(|_| Gone)?;
            answered.await.map_err(|_| Gone)
        };
        match timeout(ANSWER_WITHIN, told).await {
            Ok(Ok(true)) => Ok(()),
            _ => Err(Gone),
        }
    }
}

impl Carrier {
    pub(crate) fn new(stream: StdStream) -> Result<(Line, Self), SpawnError> {
        stream.set_nonblocking(true)?;
        let stream = UnixStream::from_std(stream)?;
        let (give, orders) = mpsc::channel(ORDERS_MAX);
        let (waiting, inbox) = (BTreeMap::new(), Inbox::default());
        Ok((Line(give), Self { stream, orders, waiting, seq: 0, inbox }))
    }

    /// Gives an order that nobody waits for.
    pub(crate) async fn order(&mut self, order: Order) -> std::io::Result<()> {
        self.seq += 1;
        self.stream.write_all(&write_order(self.seq, by_the_machine(order))).await
    }

    /// What the fencer says first: where it runs.
    pub(crate) async fn started(&mut self) -> Result<(i32, String), SpawnError> {
        let begins = async {
            loop {
                match self.report().await {
                    Some(Report::Started { pid, cgroup }) => return Ok((pid, cgroup)),
                    Some(Report::GaveUp(why)) => return Err(SpawnError::GaveUp(why)),
                    Some(_) => {}
                    None => return Err(SpawnError::Ended),
                }
            }
        };
        timeout(BEGIN_WITHIN, begins).await.unwrap_or(Err(SpawnError::Ended))
    }

    /// Carries until there is a report that is no answer; none when the fencer or all who order are gone.
    pub(crate) async fn carry(&mut self) -> Option<Report> {
        loop {
            // One that ended at once has told it together with its beginning.
            while let Some(report) = self.inbox.next_report().ok()? {
                match report {
                    Report::Answer { seq, taken } => {
                        if let Some(answer) = self.waiting.remove(&seq) {
                            // Whoever asked may have given up.
                            let _ = answer.send(taken);
                        }
                    }
                    report => return Some(report),
                }
            }
            tokio::select! {
                order = self.orders.recv() => {
                    let (order, answer) = order?;
                    // If it fails, the fencer is gone, and that is seen by reading.
                    if self.order(order).await.is_ok() {
                        self.waiting.insert(self.seq, answer);
                    }
                }
                read = read_some(&mut self.stream) => self.inbox.take_in(&read?),
            }
        }
    }

    /// Asks for the end, which is due, and gives what is said about it; none if nothing is, in time.
    pub(crate) async fn probe(&mut self, within: Duration) -> Option<Report> {
        let asked = async {
            // If it fails, the fencer is gone, and may have told the end before.
            let _ = self.order(Order::Stop { grace: Duration::ZERO }).await;
            self.report().await
        };
        timeout(within, asked).await.ok().flatten()
    }

    /// The next report of any kind; none when the fencer is gone.
    pub(crate) async fn report(&mut self) -> Option<Report> {
        loop {
            if let Some(report) = self.inbox.next_report().ok()? {
                return Some(report);
            }
            let read = read_some(&mut self.stream).await?;
            self.inbox.take_in(&read);
        }
    }
}

/// The fencer has the machine's clock, also where this process's own was put wrong.
fn by_the_machine(order: Order) -> Order {
    match order {
        Order::Until(Until { term_at, kill_at }) => {
            Order::Until(Until { term_at: machine::at(term_at), kill_at: machine::at(kill_at) })
        }
        order => order,
    }
}

/// Nothing is lost when it is not waited for to the end.
async fn read_some(stream: &mut UnixStream) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(1024);
    stream.read_buf(&mut bytes).await.ok().filter(|count| *count > 0).map(|_| bytes)
}

/// A command that is a fencer with a line to this process.
pub(crate) fn fencer(program: &Path, duty: &str, line: StdStream) -> Command {
    let mut command = Command::new(program);
    if program == Path::new(MYSELF) {
        command.arg0("quorate");
    }
    let parent = OsString::from(std::process::id().to_string());
    command.arg(CALL).arg(duty).arg("--parent").arg(parent);
    let line = Stdio::from(std::os::fd::OwnedFd::from(line));
    command.stdin(line).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

pub(crate) fn start(command: &mut Command, program: &Path) -> Result<Kin, SpawnError> {
    let failed = |source| SpawnError::Program { program: program.to_owned(), source };
    Kin::start(command).map_err(failed)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::charge::{Status, Why};
    use crate::words::write_report;

    #[tokio::test]
    async fn an_end_that_was_told_before_the_fencer_went_is_heard_by_one_who_asks_late() {
        let (ours, mut theirs) = StdStream::pair().unwrap();
        let (_line, mut carrier) = Carrier::new(ours).unwrap();
        let told = Report::Ended(Status::Signaled(9), Why::Deadline);
        theirs.write_all(&write_report(&told)).unwrap();
        drop(theirs);
        assert_eq!(carrier.probe(ANSWER_WITHIN).await, Some(told));
        assert_eq!(carrier.probe(ANSWER_WITHIN).await, None);
    }

    #[tokio::test]
    async fn an_end_that_was_told_with_the_beginning_is_heard() {
        let (ours, mut theirs) = StdStream::pair().unwrap();
        let (_line, mut carrier) = Carrier::new(ours).unwrap();
        let told = Report::Ended(Status::Exited(126), Why::Itself);
        let began = Report::Started { pid: 7, cgroup: String::new() };
        theirs.write_all(&[write_report(&began), write_report(&told)].concat()).unwrap();
        drop(theirs);
        assert_eq!(carrier.started().await.unwrap(), (7, String::new()));
        assert_eq!(carrier.carry().await, Some(told));
    }
}
