//! One request on its way: judged, passed on over a connection of its own, answered.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt;
use http_body_util::combinators::BoxBody;
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::http::uri::{Authority, PathAndQuery};
use hyper::{Method, Request, Response, Uri, Version};
use hyper_util::rt::TokioIo;
use quorate_env::{Net, Stream, Tcp, blocking, spawn, timeout};
use quorate_guard::{Denied, EPOCH, SINGLETON, Standing, Token, Verifier};
use quorate_http::code;
use tokio::task::JoinHandle;

use super::drain::{Ticket, UnderWay};
use super::patient::Patient;
use super::problem::Unpassed;

pub(super) type Body = BoxBody<Bytes, hyper::Error>;

/// The most that the head of a request or an answer may have.
pub(super) const HEAD_BYTES_MAX: usize = 64 << 10;
/// How many headers there may be in one.
pub(super) const HEADERS_MAX: usize = 100;
/// How long a connection to what is guarded may take to open.
const CONNECT: Duration = Duration::from_secs(5);

/// What belongs to one connection and is not passed on to the next (RFC 9110, 7.6.1).
const HOP_BY_HOP: [HeaderName; 7] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// The way to what is guarded.
pub(super) struct Forward {
    pub(super) verifier: Arc<Verifier>,
    pub(super) to: Authority,
    pub(super) under_way: UnderWay,
    /// How long a newer owner waits for what older ones have begun, if it does.
    pub(super) drain: Option<Duration>,
    /// How long nothing may move between here and what is guarded.
    pub(super) patience: Duration,
    /// Whoever raises the bar; one at a time, so that no crowd of threads waits for the disk.
    pub(super) raising: tokio::sync::Mutex<()>,
}

/// How the connection to what is guarded came to its end.
enum Ended {
    Cut,
    Closed(Option<hyper::Error>),
}

impl Forward {
    /// Answers a request, by itself or by what is behind it.
    pub(super) async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        match self.pass(request).await {
            Ok(response) => response,
            Err(unpassed) => unpassed.answer(),
        }
    }

    async fn pass(&self, request: Request<Incoming>) -> Result<Response<Body>, Unpassed> {
        if request.method() == Method::CONNECT {
            return Err(Unpassed::Failed(code::NOT_PASSED, "it is a CONNECT".to_owned()));
        }
        let all = |header| request.headers().get_all(header).iter().map(HeaderValue::as_bytes);
        let token = self.verifier.read(all(SINGLETON), all(EPOCH))?;
        let mut ticket = None;
        if let Some(token) = &token {
            ticket = Some(self.under_way.begin(token));
            self.admit(token).await?;
            if let Some(patience) = self.drain {
                self.under_way.drained(token, patience).await;
                // A newer one may have come in the meantime.
                self.verifier.look(token)?;
            }
        }
        let stream = self.connect(&mut ticket).await?;
        self.send(stream, ticket, self.rewritten(request)).await
    }

    /// Raises the bar aside from the requests that need not wait for the disk.
    async fn admit(&self, token: &Token) -> Result<(), Unpassed> {
        if self.verifier.look(token)? == Standing::Level {
            return Ok(());
        }
        let _turn = self.raising.lock().await;
        if self.verifier.look(token)? == Standing::Level {
            return Ok(());
        }
        let (verifier, token) = (Arc::clone(&self.verifier), token.clone());
        let failed = || Unpassed::Failed(code::GUARD_FORGETS, "no thread could be had".to_owned());
        let admitting = blocking("bar", move || verifier.admit(&token)).map_err(|_| failed())?;
        let admitted: Result<(), Denied> = match admitting.await {
            Ok(Ok(admitted)) => admitted,
            _ => return Err(failed()),
        };
        Ok(admitted?)
    }

    async fn connect(&self, ticket: &mut Option<Ticket>) -> Result<Stream, Unpassed> {
        let unreached = |why| Unpassed::Failed(code::NO_UPSTREAM, format!("{}: {why}", self.to));
        tokio::select! {
            biased;
            () = cut(ticket) => Err(was_cut()),
            connected = timeout(CONNECT, Tcp.connect(self.to.as_str())) => match connected {
                Ok(Ok(stream)) => Ok(stream),
                Ok(Err(error)) => Err(unreached(error.to_string())),
                Err(_) => Err(unreached(format!("no connection within {CONNECT:?}"))),
            }
        }
    }

    async fn send(
        &self,
        stream: Stream,
        ticket: Option<Ticket>,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, Unpassed> {
        let io = TokioIo::new(Patient::new(stream, self.patience));
        let mut handshake = http1::Builder::new();
        handshake.max_buf_size(HEAD_BYTES_MAX).max_headers(HEADERS_MAX);
        let (mut sender, connection) =
            handshake.handshake(io).await.map_err(|error| self.broke(&error))?;
        let connection = spawn(kept(connection, ticket));
        match sender.send_request(request).await {
            Ok(mut response) => {
                passing(response.headers_mut());
                Ok(response.map(BodyExt::boxed))
            }
            Err(error) => Err(match ended(connection).await {
                Ended::Cut => was_cut(),
                Ended::Closed(why) => self.broke(&why.unwrap_or(error)),
            }),
        }
    }

    fn broke(&self, error: &hyper::Error) -> Unpassed {
        let mut causes = std::iter::successors(error.source(), |&cause| cause.source());
        let late = causes.any(|cause| {
            let io = cause.downcast_ref::<std::io::Error>();
            io.is_some_and(|error| error.kind() == std::io::ErrorKind::TimedOut)
        });
        if late {
            let why = format!("nothing moved for {:?}", self.patience);
            return Unpassed::Failed(code::UPSTREAM_LATE, why);
        }
        Unpassed::Failed(code::UPSTREAM_BROKE, error.to_string())
    }

    /// The request as it goes on: the same to whoever reads it, but over another connection.
    fn rewritten(&self, mut request: Request<Incoming>) -> Request<Incoming> {
        let path = request.uri().path_and_query().cloned();
        *request.uri_mut() = Uri::from(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
        *request.version_mut() = Version::HTTP_11;
        let chunked = request.body().size_hint().exact().is_none();
        let headers = request.headers_mut();
        passing(headers);
        if chunked {
            // Two lengths of one body are read in two ways by two readers.
            headers.remove(header::CONTENT_LENGTH);
        }
        if !headers.contains_key(header::HOST)
            && let Ok(host) = HeaderValue::from_str(self.to.as_str())
        {
            headers.insert(header::HOST, host);
        }
        request
    }
}

/// Drives a connection until it has ended or is cut. The ticket lives exactly as long.
async fn kept<C>(connection: C, mut ticket: Option<Ticket>) -> Ended
where
    C: Future<Output = Result<(), hyper::Error>>,
{
    tokio::select! {
        biased;
        () = cut(&mut ticket) => Ended::Cut,
        closed = connection => Ended::Closed(closed.err()),
    }
}

async fn ended(connection: JoinHandle<Ended>) -> Ended {
    connection.await.unwrap_or(Ended::Closed(None))
}

async fn cut(ticket: &mut Option<Ticket>) {
    match ticket {
        Some(ticket) => ticket.cut().await,
        None => std::future::pending().await,
    }
}

fn was_cut() -> Unpassed {
    Unpassed::Failed(
        code::CUT_OFF,
        "a newer epoch came, and waited as long as it had to".to_owned(),
    )
}

/// Takes out what does not go further, and says that it went through here.
fn passing(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| HeaderName::try_from(name.trim()).ok())
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
    headers.append(header::VIA, HeaderValue::from_static("1.1 quorate-guard"));
}
