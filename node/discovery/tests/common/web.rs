//! A web server that says what a test tells it to, plainly or over TLS.

use std::io::{Read, Write};
use std::sync::Arc;

use quorate_env::{Net, Stream, Tcp, spawn};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

/// What is answered: bytes as they come, until the sender is dropped.
pub(crate) type Reply = mpsc::UnboundedReceiver<Vec<u8>>;

/// A server; it lives as long as the runtime of its test.
pub(crate) struct Web {
    pub(crate) address: String,
    /// The certificate to trust, if it speaks TLS.
    pub(crate) pem: String,
}

/// The whole of an answer.
pub(crate) fn answer(status: &str, headers: &str, body: &str) -> Reply {
    let length = body.len();
    let text = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n{headers}\r\n{body}"
    );
    let (into, reply) = open_reply();
    into.send(text.into_bytes()).unwrap();
    reply
}

/// A good answer in JSON.
pub(crate) fn json(body: &str) -> Reply {
    answer("200 OK", "Content-Type: application/json\r\n", body)
}

/// The beginning of an answer that goes on for as long as the test wants.
pub(crate) fn stream() -> (mpsc::UnboundedSender<Vec<u8>>, Reply) {
    let (into, reply) = open_reply();
    let head =
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    into.send(head.into()).unwrap();
    (into, reply)
}

/// A piece of a streamed answer.
pub(crate) fn chunk(text: &str) -> Vec<u8> {
    format!("{:x}\r\n{text}\r\n", text.len()).into_bytes()
}

#[expect(clippy::disallowed_methods, reason = "a test says no more than it says")]
fn open_reply() -> (mpsc::UnboundedSender<Vec<u8>>, Reply) {
    mpsc::unbounded_channel()
}

impl Web {
    /// Begins to serve. The handler is given the head of each request.
    pub(crate) async fn start(handler: impl FnMut(&str) -> Reply + Send + 'static) -> Self {
        Self::serve(None, String::new(), handler).await
    }

    /// Begins to serve over TLS, as `127.0.0.1`.
    pub(crate) async fn start_tls(handler: impl FnMut(&str) -> Reply + Send + 'static) -> Self {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config =
            ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.unwrap().with_no_client_auth();
        let config = config.with_single_cert(vec![made.cert.der().clone()], key).unwrap();
        Self::serve(Some(Arc::new(config)), made.cert.pem(), handler).await
    }

    async fn serve(
        tls: Option<Arc<ServerConfig>>,
        pem: String,
        mut handler: impl FnMut(&str) -> Reply + Send + 'static,
    ) -> Self {
        let mut listener = Tcp.listen("127.0.0.1:0").await.unwrap();
        let address = listener.address();
        let (ask, mut asked) = mpsc::channel::<(String, tokio::sync::oneshot::Sender<Reply>)>(16);
        spawn(async move {
            while let Some((head, tell)) = asked.recv().await {
                let _ = tell.send(handler(&head));
            }
        });
        spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (ask, tls) = (ask.clone(), tls.clone());
                let tls = tls.map(|config| ServerConnection::new(config).unwrap());
                spawn(async move {
                    // A client that goes away is none of the server's business.
                    let _ = converse(Wire { stream, tls }, ask).await;
                });
            }
        });
        Self { address, pem }
    }
}

async fn converse(
    mut wire: Wire,
    ask: mpsc::Sender<(String, tokio::sync::oneshot::Sender<Reply>)>,
) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let some = wire.read().await?;
        if some.is_empty() {
            return Ok(());
        }
        head.extend(some);
    }
    let (tell, told) = tokio::sync::oneshot::channel();
    let head = String::from_utf8(head).expect("a head is text");
    ask.send((head, tell)).await.expect("the handler lives");
    let mut reply = told.await.expect("the handler answers");
    while let Some(bytes) = reply.recv().await {
        wire.write(&bytes).await?;
    }
    wire.close().await
}

/// A connection, with or without TLS in between.
struct Wire {
    stream: Stream,
    tls: Option<ServerConnection>,
}

impl Wire {
    async fn read(&mut self) -> std::io::Result<Vec<u8>> {
        let mut bytes = vec![0; 4096];
        loop {
            let count = self.stream.reader.read(&mut bytes).await?;
            let Some(tls) = &mut self.tls else {
                bytes.truncate(count);
                return Ok(bytes);
            };
            let mut rest = &bytes[..count];
            let mut plain = Vec::new();
            while !rest.is_empty() {
                tls.read_tls(&mut rest)?;
                tls.process_new_packets().map_err(std::io::Error::other)?;
                // That there is no more yet is no trouble.
                let _ = tls.reader().read_to_end(&mut plain);
            }
            self.flush().await?;
            if count == 0 || !plain.is_empty() {
                return Ok(plain);
            }
        }
    }

    async fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        match &mut self.tls {
            Some(tls) => {
                for part in bytes.chunks(8192) {
                    tls.writer().write_all(part)?;
                    Self::flush_parts(tls, &mut self.stream).await?;
                }
                Ok(())
            }
            None => self.stream.writer.write_all(bytes).await,
        }
    }

    async fn flush(&mut self) -> std::io::Result<()> {
        match &mut self.tls {
            Some(tls) => Self::flush_parts(tls, &mut self.stream).await,
            None => Ok(()),
        }
    }

    async fn flush_parts(tls: &mut ServerConnection, stream: &mut Stream) -> std::io::Result<()> {
        let mut bytes = Vec::new();
        while tls.wants_write() {
            tls.write_tls(&mut bytes)?;
        }
        stream.writer.write_all(&bytes).await
    }

    async fn close(&mut self) -> std::io::Result<()> {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
        }
        self.flush().await?;
        self.stream.writer.shutdown().await
    }
}
