//! One HTTP/1.1 connection that is kept open: what `dev` asks its nodes with, and what `bench` puts load on
//! ours and on others with, so that both are asked by the same client.

use std::future::Future;
use std::io::{self, ErrorKind};
use std::time::Duration;

use quorate_env::timeout;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// An answer's head and body are not longer.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

#[expect(clippy::disallowed_types, reason = "a client stands outside of every node")]
type Tcp = tokio::net::TcpStream;

/// A connection.
pub(crate) struct Wire {
    tcp: Tcp,
    host: String,
    /// The line of each question's head that shows a token, or nothing.
    shown: String,
    /// What was read and not yet used.
    held: Vec<u8>,
}

impl Wire {
    /// Connects to `HOST:PORT`.
    pub(crate) async fn connect(host: &str) -> io::Result<Self> {
        let tcp = Tcp::connect(host).await?;
        tcp.set_nodelay(true)?;
        Ok(Self { tcp, host: host.to_owned(), shown: String::new(), held: Vec::new() })
    }

    /// The same, which shows a token with each question.
    pub(crate) fn showing(self, token: &str) -> Self {
        Self { shown: format!("Authorization: Bearer {token}\r\n"), ..self }
    }

    /// Asks, and gives status and body. After an error the connection is of no more use.
    pub(crate) async fn ask(
        &mut self,
        method: &str,
        path: &str,
        body: &str,
    ) -> io::Result<(u16, Vec<u8>)> {
        let (host, shown, length) = (&self.host, &self.shown, body.len());
        let text = format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\n{shown}Content-Length: {length}\r\n\r\n{body}"
        );
        self.tcp.write_all(text.as_bytes()).await?;
        let end = loop {
            match self.held.windows(4).position(|four| four == b"\r\n\r\n") {
                Some(at) => break at + 4,
                None => self.more().await?,
            }
        };
        let head: Vec<u8> = self.held.drain(..end).collect();
        let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
        let status =
            head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(broken)?;
        let field = |name: &str| {
            let line = head.lines().find(|line| line.starts_with(name))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        };
        let body = match (field("content-length:"), field("transfer-encoding:")) {
            (Some(length), _) => self.take(length.parse().map_err(|_| broken())?).await?,
            (None, Some(coding)) if coding == "chunked" => self.chunks().await?,
            _ => Vec::new(),
        };
        Ok((status, body))
    }

    async fn chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.line().await?;
            let size = usize::from_str_radix(line.split(';').next().unwrap_or_default(), 16);
            match size.map_err(|_| broken())? {
                0 => {
                    // After the last chunk come trailers, and an empty line.
                    while !self.line().await?.is_empty() {}
                    return Ok(body);
                }
                size => body.extend(self.take(size).await?),
            }
            self.line().await?;
        }
    }

    async fn line(&mut self) -> io::Result<String> {
        loop {
            match self.held.windows(2).position(|two| two == b"\r\n") {
                Some(at) => {
                    let line: Vec<u8> = self.held.drain(..at + 2).collect();
                    return Ok(String::from_utf8_lossy(&line[..at]).into_owned());
                }
                None => self.more().await?,
            }
        }
    }

    async fn take(&mut self, size: usize) -> io::Result<Vec<u8>> {
        if size > ANSWER_BYTES_MAX {
            return Err(broken());
        }
        while self.held.len() < size {
            self.more().await?;
        }
        Ok(self.held.drain(..size).collect())
    }

    async fn more(&mut self) -> io::Result<()> {
        if self.held.len() > ANSWER_BYTES_MAX {
            return Err(broken());
        }
        match self.tcp.read_buf(&mut self.held).await? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

/// Asks once, over a connection that is opened for it; none when there is no answer in time.
pub(crate) async fn once(
    open: impl Future<Output = io::Result<Wire>>,
    method: &str,
    path: &str,
    body: &str,
    within: Duration,
) -> Option<(u16, Vec<u8>)> {
    let asking = async { open.await?.ask(method, path, body).await };
    timeout(within, asking).await.ok()?.ok()
}

fn broken() -> io::Error {
    io::Error::new(ErrorKind::InvalidData, "the answer is no HTTP that is understood here")
}
