//! The last word of one that has died: a fencer that saw it end says so, and nobody waits for its lease.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use quorate_fencer::MYSELF;
use ureq::http::Method;

use crate::agent;
use crate::client::{Ask, Client};
use crate::fail::Done;
use crate::lock::patiently;

/// How long it is tried. Soon after that the lease is over.
const WITHIN: Duration = Duration::from_secs(10);

#[derive(Args)]
pub(crate) struct LastWord {
    /// The session of whoever died
    #[arg(long)]
    session: u64,
    /// Whom to tell
    #[arg(long)]
    agent: Vec<String>,
    #[arg(long)]
    api_token_file: Option<PathBuf>,
}

/// What a fencer is to execute when this process has died, and all that it started.
pub(crate) fn of_session(client: &Client, session: u64) -> Vec<OsString> {
    let session = session.to_string();
    let mut words: Vec<OsString> =
        [MYSELF, "last-word", "--session", &session].into_iter().map(OsString::from).collect();
    for agent in client.agents() {
        words.extend(["--agent".into(), agent.into()]);
    }
    if let Some(file) = client.token_file() {
        words.extend(["--api-token-file".into(), file.into()]);
    }
    words
}

/// `quorate last-word`
pub(crate) fn run(word: &LastWord) -> Done {
    let client = Client::of(word.agent.clone(), word.api_token_file.clone(), WITHIN)?;
    let path = format!("/v1/sessions/{}?evidence=proven_dead", word.session);
    let ask = || client.ask(&Ask::write(Method::DELETE, path.as_str(), None, None));
    agent::small_runtime()?.block_on(patiently(&client, ask)).map(drop)
}
