//! The face itself: opens, routes, closes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::{Method, Uri};
use axum::middleware::from_fn_with_state;
use axum::routing::{delete, get, post, put};
use quorate::Node;
use quorate_env::{spawn, timeout};
use quorate_faults::Faults;
use tokio::net::{TcpListener, lookup_host};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

use crate::codes::named;
use crate::door::{Door, End};
use crate::guard::{Token, guard};
use crate::metrics::Counts;
use crate::pen_pal::PenPal;
use crate::problem::Problem;
use crate::{
    FaceError, available, backup, counters, drill, group, links, locks, metrics, names, pen_pal,
    properties, sessions, singletons, status, watch as watches,
};

/// How many listings may be put together at a time; each may be large.
const LISTINGS_MAX: usize = 4;

/// How long requests that are under way may take to end when the face is closed.
const FAREWELL: Duration = Duration::from_millis(1500);

/// How a face is to listen.
#[derive(Clone)]
pub struct FaceConfig {
    /// Where; port 0 lets the system choose.
    pub listen: String,
    /// What writers have to show; needed beyond loopback.
    pub token: Option<String>,
    /// Whether whoever may write may also have this node run commands.
    pub allow_exec: bool,
    /// The faults of the node's doors, if whoever may write may also put those wrong.
    pub faults: Option<Faults>,
}

/// A node's HTTP face while it is open.
#[derive(Debug)]
pub struct Face {
    address: SocketAddr,
    closing: watch::Sender<bool>,
    end: watch::Sender<bool>,
    serving: JoinHandle<()>,
}

/// What every request finds.
pub(crate) struct Inside {
    pub(crate) node: Node,
    pub(crate) token: Option<Token>,
    pub(crate) allow_exec: bool,
    pub(crate) faults: Option<Faults>,
    pub(crate) pen_pal: PenPal,
    /// Whether only this machine can reach the face.
    pub(crate) loopback: bool,
    pub(crate) counts: Counts,
    /// Turns true when watchers are to be sent away.
    pub(crate) closing: End,
    pub(crate) listings: Semaphore,
}

pub(crate) type Shared = Arc<Inside>;

impl Face {
    /// Opens a face of a node. It does not keep the node from being shut down.
    pub async fn start(node: Node, config: FaceConfig) -> Result<Self, FaceError> {
        let FaceConfig { listen, token, allow_exec, faults } = config;
        let refused = |why| FaceError::Listen { listen: listen.clone(), why };
        let found: Vec<SocketAddr> = lookup_host(&listen).await.map_err(refused)?.collect();
        let loopback = found.iter().all(|address| address.ip().is_loopback());
        if !loopback && token.is_none() {
            return Err(FaceError::Open { listen });
        }
        let token = token.as_deref().map(Token::new).transpose()?;
        let listener = TcpListener::bind(found.as_slice()).await.map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        let (closing, until_closing) = watch::channel(false);
        let (end, until_end) = watch::channel(false);
        let inside = Arc::new(Inside {
            node,
            token,
            allow_exec,
            faults,
            pen_pal: PenPal::default(),
            loopback,
            counts: Counts::new(),
            closing: until_closing.clone(),
            listings: Semaphore::new(LISTINGS_MAX),
        });
        let serving = spawn(serve(Door::new(listener, until_end), routes(inside), until_closing));
        Ok(Self { address, closing, end, serving })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts nothing more, lets what is under way end for a short while, and closes every connection.
    pub async fn close(self) {
        self.closing.send_replace(true);
        let serving = self.serving;
        let aborter = serving.abort_handle();
        if timeout(FAREWELL, serving).await.is_err() {
            aborter.abort();
        }
        self.end.send_replace(true);
    }
}

async fn serve(door: Door, routes: Router, mut closing: End) {
    let closed = async move {
        // An error means that the face is gone, which closes it too.
        let _ = closing.wait_for(|closing| *closing).await;
    };
    if let Err(e) = axum::serve(door, routes).with_graceful_shutdown(closed).await {
        tracing::error!(error = %e, "the HTTP face ended");
    }
}

fn routes(inside: Shared) -> Router {
    Router::new()
        .route("/livez", get(status::livez))
        .route("/readyz", get(status::readyz))
        .route("/metrics", get(metrics::metrics))
        .route("/v1/status", get(status::status))
        .route("/v1/members", get(status::members))
        .route("/v1/backup", get(backup::take))
        .route("/v1/leader/step-down", post(group::step_down))
        .route("/v1/nodes/{name}", delete(group::remove))
        .route("/v1/sessions", post(sessions::open))
        .route("/v1/sessions/{id}", delete(sessions::end))
        .route("/v1/sessions/{id}/renew", post(sessions::renew))
        .route("/v1/names", get(names::list))
        .route(
            "/v1/names/{*name}",
            put(names::put).get(names::get).patch(names::patch).delete(names::delete),
        )
        .route("/v1/available", get(available::list))
        .route("/v1/available/{*name}", get(available::get))
        .route("/v1/locks/{*name}", post(locks::lock))
        .route("/v1/properties", get(properties::list))
        .route("/v1/properties/{*name}", put(properties::set).delete(properties::drop))
        .route(
            "/v1/counters/{*name}",
            post(counters::add).get(counters::get).delete(counters::drop),
        )
        .route("/v1/singletons", get(singletons::list))
        .route(
            "/v1/singletons/{name}",
            put(singletons::offer).get(singletons::show).delete(singletons::withdraw),
        )
        .route("/v1/singletons/{name}/why", get(singletons::why))
        .route("/v1/singletons/{name}/history", get(singletons::history))
        .route("/v1/singletons/{name}/move", post(singletons::relocate))
        .route("/v1/singletons/{name}/stop", post(singletons::stop))
        .route("/v1/singletons/{name}/start", post(singletons::start))
        .route("/v1/singletons/{name}/ready", post(singletons::ready))
        .route("/v1/singletons/{name}/ended", post(singletons::end))
        .route("/v1/singletons/{name}/checkpoint", put(singletons::keep).get(singletons::kept))
        .route("/v1/singletons/{name}/exec", post(singletons::exec))
        .route("/v1/singletons/{name}/logs", get(singletons::logs))
        .route("/v1/singletons/{name}/force", post(singletons::force))
        .route("/v1/nodes/{name}/drain", post(singletons::drain).get(singletons::drained))
        .route("/v1/nodes/{name}/undrain", post(singletons::undrain))
        .route("/v1/drill/faults", get(drill::list).post(drill::inject).delete(drill::heal_all))
        .route("/v1/drill/faults/{id}", delete(drill::heal))
        .route("/v1/drill/mail", post(pen_pal::collect))
        .route("/v1/plan", get(singletons::plan).post(singletons::commit))
        .route("/v1/watch", get(watches::watch))
        .route("/v1/links", get(links::list))
        .route("/v1/links/explain", get(links::explain).post(links::dry_run))
        .route("/v1/links/rules", get(links::rules).put(links::set))
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .layer(from_fn_with_state(inside.clone(), guard))
        .with_state(inside)
}

async fn no_route(uri: Uri) -> Problem {
    Problem::new(named::NO_ROUTE, format!("{} is no route", uri.path()))
}

async fn no_method(method: Method, uri: Uri) -> Problem {
    Problem::new(named::NO_METHOD, format!("{} does not take {method}", uri.path()))
}
