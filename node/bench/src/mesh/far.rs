//! The far process: how it is started and told what to be, and how it ends.
//!
//! What it is told comes in the first line of its stdin, so that the throw-away secret stands in nobody's
//! list of processes. Then it says that it is ready, plays, and ends when its stdin closes.

use std::io;
use std::process::{Command, Stdio};
use std::time::Duration;

use quorate_env::timeout;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdout};

use super::game::{PATIENCE, lost};
use super::{WORKERS, ours, tcp};
use crate::error::BenchError;
use crate::probe::runtime;

/// What the far process says when it can be played against.
pub(crate) const READY: &str = "ready";

/// A far process. Dropped, it is killed.
pub(crate) struct Far {
    child: Child,
    said: BufReader<ChildStdout>,
}

impl Far {
    /// Starts it, and returns when it is ready.
    pub(crate) async fn start(command: Command, told: &str) -> Result<Self, BenchError> {
        let starting = || BenchError::system("starting the far process");
        let mut command = tokio::process::Command::from(command);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().map_err(starting())?;
        let said = child.stdout.take().ok_or(BenchError::NoFigure)?;
        let mut far = Self { child, said: BufReader::new(said) };
        let stdin = far.child.stdin.as_mut().ok_or(BenchError::NoFigure)?;
        stdin.write_all(format!("{told}\n").as_bytes()).await.map_err(starting())?;
        match far.line_within(PATIENCE).await?.as_str() {
            READY => Ok(far),
            _ => Err(lost("the far process, which did not become ready")),
        }
    }

    /// The next line that it says, if it says one in time.
    pub(crate) async fn line_within(&mut self, within: Duration) -> Result<String, BenchError> {
        let mut line = String::new();
        let read = timeout(within, self.said.read_line(&mut line)).await;
        let read = read.map_err(|_| lost("a word of the far process"))?;
        read.map_err(BenchError::system("listening to the far process"))?;
        Ok(line.trim_end().to_owned())
    }

    /// Has it end, and waits for that.
    pub(crate) async fn end(mut self) {
        drop(self.child.stdin.take());
        // One that does not end in time is killed as it is dropped.
        let _ = timeout(PATIENCE, self.child.wait()).await;
    }
}

/// Is the far process: does what the first line of stdin says, until stdin closes.
pub fn serve() -> Result<(), BenchError> {
    let runtime = runtime(WORKERS)?;
    let served = runtime.block_on(async {
        let mut stdin = BufReader::new(tokio::io::stdin());
        let mut told = String::new();
        let listening = || BenchError::system("listening to the near process");
        stdin.read_line(&mut told).await.map_err(listening())?;
        let mut words = told.trim_end().splitn(4, ' ');
        let mut word = || words.next().ok_or_else(|| not_told("a word is missing"));
        let player = word()?.to_owned();
        let over = async {
            // Whether it was closed or broke, nobody plays any more.
            let _ = stdin.read_to_end(&mut Vec::new()).await;
        };
        match player.as_str() {
            ours::PLAIN => ours::serve(word()?, word()?, word()?, false, over).await,
            ours::SECURED => ours::serve(word()?, word()?, word()?, true, over).await,
            "tcp" => tcp::serve(word()?, over).await,
            _ => Err(not_told("there is no such player")),
        }
    });
    runtime.shutdown_background();
    served
}

/// Tells the near process that it can begin.
pub(crate) async fn say_ready() -> Result<(), BenchError> {
    let mut stdout = tokio::io::stdout();
    let said = async {
        stdout.write_all(format!("{READY}\n").as_bytes()).await?;
        stdout.flush().await
    };
    said.await.map_err(BenchError::system("speaking to the near process"))
}

fn not_told(why: &str) -> BenchError {
    BenchError::system("understanding the near process")(io::Error::other(why))
}
