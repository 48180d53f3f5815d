//! `quorate guard proxy`: a small reverse proxy that lets nothing of a stale owner through.
//!
//! HTTP/1.1, plain, one connection to what is guarded for each request, bodies as they come. It belongs as
//! close to the thing as possible: what reaches the thing past it is not checked.

use std::convert::Infallible;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::Uri;
use hyper::http::uri::{Authority, Scheme};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use quorate_env::{Listener, Net, Stream, Tcp, sleep, spawn, timeout};
use quorate_guard::{Epoch, Unmarked, Verifier};
use quorate_http::code;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, watch};

use super::drain::UnderWay;
use super::forward::{Forward, HEAD_BYTES_MAX, HEADERS_MAX};
use super::patient::Patient;
use super::{epoch, not_kept};
use crate::agent::{self, Signals};
use crate::fail::{Done, Fail};
use crate::output;
use crate::span;

/// How many connections there may be at a time; further ones wait.
const CONNECTIONS_MAX: u32 = 1024;
/// How long the head of a request may take, from the first byte or the end of the former one.
const HEAD: Duration = Duration::from_secs(10);
/// How long requests that are under way may take to end when the proxy is ended.
const FAREWELL: Duration = Duration::from_secs(5);
/// How much longer a client is waited for than what is guarded, so that it hears why nothing came.
const LONGER: Duration = Duration::from_secs(10);

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Where to listen; port 0 lets the system choose
    #[arg(long, value_name = "ADDR:PORT")]
    listen: String,
    /// What is guarded
    #[arg(long, value_name = "http://ADDR:PORT", value_parser = upstream)]
    to: Authority,
    /// Where the newest epochs are remembered [default: nowhere, and a restart forgets them]
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    /// Let requests through that show no epoch
    #[arg(long)]
    optional: bool,
    /// Let a newer epoch wait until requests of older ones have ended, which are cut after TIME [5s]
    #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "5s", value_parser = span::parse)]
    drain: Option<Duration>,
    /// Refuse all epochs below this one, whatever the name
    #[arg(long, value_name = "E", value_parser = epoch, requires = "state")]
    at_least: Option<Epoch>,
    /// Remember no more names than this
    #[arg(long, value_name = "N", default_value_t = 4096)]
    names_max: u32,
    /// How long what is guarded may be silent
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = span::parse)]
    timeout: Duration,
}

/// Understands where requests go.
fn upstream(text: &str) -> Result<Authority, String> {
    let wrong = || format!("`{text}` is not http://ADDR:PORT");
    let uri: Uri = text.parse().map_err(|_| wrong())?;
    let plain = uri.scheme() == Some(&Scheme::HTTP) && matches!(uri.path(), "" | "/");
    let to = uri.authority().filter(|to| plain && !to.as_str().contains('@')).ok_or_else(wrong)?;
    if to.port().is_some() {
        return Ok(to.clone());
    }
    format!("{to}:80").parse().map_err(|_| wrong())
}

/// `quorate guard proxy`
pub(crate) fn run(args: &Args) -> Done {
    let unmarked = if args.optional { Unmarked::Pass } else { Unmarked::Refused };
    let names_max = args.names_max as usize;
    let verifier = match &args.state {
        Some(path) => Verifier::remembering(path, args.at_least, names_max, unmarked)
            .map_err(|error| not_kept(&error))?,
        None => {
            output::talk("without --state, a restart of this guard lets stale owners in again");
            Verifier::forgetful(names_max, unmarked)
        }
    };
    let forward = Arc::new(Forward {
        verifier: Arc::new(verifier),
        to: args.to.clone(),
        under_way: UnderWay::default(),
        drain: args.drain,
        patience: args.timeout,
        raising: Mutex::new(()),
    });
    agent::small_runtime()?.block_on(serve(&args.listen, forward))
}

async fn serve(listen: &str, forward: Arc<Forward>) -> Done {
    let mut signals = Signals::new()?;
    let mut listener = Tcp
        .listen(listen)
        .await
        .map_err(|error| Fail::new(code::NO_FACE, format!("cannot listen on {listen}: {error}")))?;
    output::line(&format!("http://{} guards http://{}", listener.address(), forward.to))?;
    let (closing, until_closing) = watch::channel(false);
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX as usize));
    loop {
        tokio::select! {
            biased;
            _ = signals.next() => break,
            (stream, place) = next(&mut *listener, &places) => {
                spawn(converse(stream, place, forward.clone(), until_closing.clone()));
            }
        }
    }
    drop(listener);
    closing.send_replace(true);
    // Whoever holds a place is under way. That some are cut off after this time is meant.
    let _ = timeout(FAREWELL, places.acquire_many(CONNECTIONS_MAX)).await;
    Ok(())
}

/// The next connection, once there is a place for it.
async fn next(
    listener: &mut dyn Listener,
    places: &Arc<Semaphore>,
) -> (Stream, OwnedSemaphorePermit) {
    loop {
        let Ok(place) = Arc::clone(places).acquire_owned().await else {
            // Nobody closes the semaphore; if that changes, no place is ever free.
            return std::future::pending().await;
        };
        match listener.accept().await {
            Ok((stream, _)) => return (stream, place),
            Err(error) => {
                output::talk(&format!("a connection was not accepted: {error}"));
                // Out of file descriptors, most likely: trying again at once would only spin.
                sleep(Duration::from_millis(200)).await;
            }
        }
    }
}

/// Answers what comes over one connection.
async fn converse(
    stream: Stream,
    place: OwnedSemaphorePermit,
    forward: Arc<Forward>,
    mut closing: watch::Receiver<bool>,
) {
    let patience = forward.patience + forward.drain.unwrap_or_default() + LONGER;
    let io = TokioIo::new(Patient::new(stream, patience));
    let service = service_fn(|request| {
        let forward = Arc::clone(&forward);
        async move { Ok::<_, Infallible>(forward.answer(request).await) }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD);
    builder.max_buf_size(HEAD_BYTES_MAX).max_headers(HEADERS_MAX);
    let mut connection = pin!(builder.serve_connection(io, service));
    let closes = async move {
        // An error means that the proxy is gone, which closes it too.
        let _ = closing.wait_for(|closing| *closing).await;
    };
    // How a connection ends is its client's business; what was asked was answered or was not.
    let _ = tokio::select! {
        biased;
        ended = connection.as_mut() => ended,
        () = closes => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    drop(place);
}
