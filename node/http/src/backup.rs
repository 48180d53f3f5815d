//! Backups over HTTP: the state of one index, as bytes that say by themselves whether they are whole.

use std::convert::Infallible;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use quorate::Backup;
use quorate_env::spawn;
use tokio::sync::mpsc;

use crate::face::Shared;
use crate::names::{Consistency, Look};
use crate::parse::{self, Asked};
use crate::problem::Problem;
use crate::shape;

/// How many pieces wait for a client that reads slowly.
const PIECES_MAX: usize = 4;

/// `GET /v1/backup`
pub(crate) async fn take(
    State(inside): State<Shared>,
    look: Asked<Look>,
) -> Result<Response, Problem> {
    let Look { consistency } = parse::asked(look)?;
    let backup = match consistency {
        Consistency::Linearizable => inside.node.backup().await?,
        Consistency::Local => inside.node.backup_local()?,
    };
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream")),
        (shape::INDEX, HeaderValue::from(backup.head().index.0)),
    ];
    let (pieces, mut waiting) = mpsc::channel(PIECES_MAX);
    drop(spawn(send(inside, backup, pieces)));
    let pieces = stream::poll_fn(move |cx| {
        waiting.poll_recv(cx).map(|piece| piece.map(Ok::<_, Infallible>))
    });
    Ok((headers, Body::from_stream(pieces)).into_response())
}

/// Sends a backup for as long as there is somebody to send it to. One that is cut off is not whole, and says
/// so to whoever reads it.
async fn send(inside: Shared, backup: Backup, to: mpsc::Sender<Bytes>) {
    let _place = inside.listings.acquire().await;
    for piece in backup.pieces() {
        if to.send(piece.into()).await.is_err() {
            return;
        }
    }
}
