//! Who may ask. A token proves a client; what a browser sends for a foreign page is refused, since loopback
//! is no wall against the pages that the user of this machine looks at.

use std::net::IpAddr;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use quorate_env::now;
use sha2::{Digest, Sha256};

use crate::FaceError;
use crate::codes::named;
use crate::face::Shared;
use crate::problem::Problem;
use crate::shape;

/// A secret that writers show. Only its digest is kept.
pub(crate) struct Token([u8; 32]);

impl Token {
    pub(crate) fn new(secret: &str) -> Result<Self, FaceError> {
        let bytes = secret.len();
        if !(16..=1024).contains(&bytes) || !secret.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(FaceError::Token { bytes });
        }
        Ok(Self(Sha256::digest(secret.as_bytes()).into()))
    }

    /// Compares digests, all of their bytes: how long it takes says nothing of the secret.
    fn is(&self, shown: &[u8]) -> bool {
        let shown: [u8; 32] = Sha256::digest(shown).into();
        let differing =
            self.0.iter().zip(shown).fold(0, |acc, (ours, theirs)| acc | (ours ^ theirs));
        std::hint::black_box(differing) == 0
    }
}

/// Stands before every route: judges the request, lets it through, and notes what came of it.
pub(crate) async fn guard(State(inside): State<Shared>, request: Request, next: Next) -> Response {
    let began = now();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let mut response = match judge(&inside, request.method(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    };
    if let Ok(node) = HeaderValue::from_str(inside.node.name().as_str()) {
        response.headers_mut().insert(shape::NODE, node);
    }
    let route = route.as_ref().map_or("none", MatchedPath::as_str);
    inside.counts.answered(&method, route, response.status(), now().since(began));
    response
}

fn judge(inside: &Shared, method: &Method, headers: &HeaderMap) -> Result<(), Problem> {
    // A page that was served under a name of its own, which then came to mean 127.0.0.1, still says that
    // name here.
    if inside.loopback
        && let Some(host) = headers.get(header::HOST)
        && !host.to_str().is_ok_and(is_plain_host)
    {
        return Err(Problem::new(named::WRONG_HOST, format!("it says {host:?}")));
    }
    if method == Method::GET || method == Method::HEAD {
        return Ok(());
    }
    if let Some(origin) = headers.get(header::ORIGIN) {
        return Err(Problem::new(named::FROM_A_PAGE, format!("it was sent for {origin:?}")));
    }
    let Some(token) = &inside.token else {
        return Ok(());
    };
    let shown = headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
    let bearer = |shown: &[u8]| {
        let (scheme, secret) = shown.split_at_checked(7)?;
        scheme.eq_ignore_ascii_case(b"bearer ").then(|| secret.trim_ascii().to_vec())
    };
    match shown.and_then(bearer) {
        None => Err(Problem::new(named::NO_TOKEN, "this node takes writes with its token only")),
        Some(secret) if !token.is(&secret) => {
            Err(Problem::new(named::WRONG_TOKEN, "it is another one"))
        }
        Some(_) => Ok(()),
    }
}

/// Whether a `Host` is an address or localhost, whatever the port.
fn is_plain_host(host: &str) -> bool {
    let bare = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => host.rsplit_once(':').map_or(host, |(bare, _)| bare),
    };
    bare.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_localhost_are_plain_hosts() {
        for host in ["127.0.0.1:4748", "127.0.0.1", "localhost", "LocalHost:1", "[::1]:80", "[::1]"]
        {
            assert!(is_plain_host(host), "{host}");
        }
        for host in
            ["evil.example:4748", "localhost.evil.example", "", "127.0.0.1.evil", "[evil]:1"]
        {
            assert!(!is_plain_host(host), "{host}");
        }
    }

    #[test]
    fn a_token_is_known_by_all_of_its_bytes_and_must_be_long() {
        let token = Token::new("0123456789abcdef").unwrap();
        assert!(token.is(b"0123456789abcdef"));
        assert!(!token.is(b"0123456789abcdeg") && !token.is(b"") && !token.is(b"0123456789abcde"));
        assert!(Token::new("short").is_err() && Token::new("with a blank in between").is_err());
    }
}
