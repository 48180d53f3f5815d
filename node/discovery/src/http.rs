//! HTTP to what others run: one GET, its answer whole or line by line, over TLS where the URL says so.
//!
//! The client blocks, so it works on a thread of its own. Every request has an end in time and every answer
//! one in length, so a thread that nobody waits for any more ends by itself.

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use ureq::Agent;
use ureq::tls::{PemItem, RootCerts, TlsConfig, TlsProvider, parse_pem};

use crate::address::shown;
use crate::aside::{aside, begin};
use crate::source::ANSWER_BYTES_MAX;
use crate::sources::file;

/// Where systems keep the certificates that everybody trusts.
const SYSTEM_ROOTS: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
    "/etc/ssl/ca-bundle.pem",
];

/// How many lines of a stream may wait to be read.
const LINES_WAITING: usize = 16;

/// How much of an error's body is repeated.
const COMPLAINT_BYTES_MAX: u64 = 2048;

/// One GET.
#[derive(Clone, Debug)]
pub(crate) struct Get {
    pub(crate) url: String,
    pub(crate) headers: Vec<(&'static str, String)>,
    /// Whom to trust beyond TLS; without it, whom this system trusts.
    pub(crate) ca_file: Option<PathBuf>,
    /// When the answer must be there, to its end.
    pub(crate) within: Duration,
    pub(crate) redirects: u32,
}

/// A good answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) text: String,
    pub(crate) headers: ureq::http::HeaderMap,
}

/// Why there is no good answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trouble {
    /// What the server said, if it said anything.
    pub(crate) status: Option<u16>,
    pub(crate) text: String,
}

impl Get {
    /// A GET without anything special.
    pub(crate) fn new(url: String, within: Duration) -> Self {
        Self { url, headers: Vec::new(), ca_file: None, within, redirects: 0 }
    }

    /// The whole answer.
    pub(crate) async fn whole(self) -> Result<Answer, Trouble> {
        let agent = self.agent().await?;
        let work = move || {
            let mut answer = self.run(&agent)?;
            let body = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX);
            let text = body.read_to_string().map_err(|e| Trouble::of(&e))?;
            Ok(Answer { text, headers: answer.headers().clone() })
        };
        aside(move || Ok(work())).await.map_err(Trouble::said)?
    }

    /// The answer line by line, as the lines come. A line is no longer than a whole answer may be.
    pub(crate) async fn lines(self) -> Result<mpsc::Receiver<Result<String, String>>, Trouble> {
        let agent = self.agent().await?;
        let (into, lines) = mpsc::channel(LINES_WAITING);
        let (begun, begins) = tokio::sync::oneshot::channel();
        let work = move || match self.run(&agent) {
            Err(trouble) => drop(begun.send(Err(trouble))),
            // A stream that nobody waits for any more is closed.
            Ok(answer) if begun.send(Ok(())).is_ok() => {
                let mut reader = BufReader::new(answer.into_body().into_reader());
                while let Some(line) = next_line(&mut reader) {
                    let ended = line.is_err();
                    if into.blocking_send(line).is_err() || ended {
                        break;
                    }
                }
            }
            Ok(_) => {}
        };
        begin(work).map_err(Trouble::said)?;
        begins.await.map_err(|_| Trouble::said("the look ended in a panic".to_owned()))??;
        Ok(lines)
    }

    fn run(&self, agent: &Agent) -> Result<ureq::http::Response<ureq::Body>, Trouble> {
        let mut request = agent.get(&self.url);
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        let mut answer = request.call().map_err(|e| Trouble::of(&e))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let body = answer.body_mut().with_config().limit(COMPLAINT_BYTES_MAX).lossy_utf8(true);
        let complaint = body.read_to_string().unwrap_or_default();
        let text = format!("{status}: {}", shown(complaint.trim()));
        Err(Trouble { status: Some(status.as_u16()), text: text.trim_end_matches(": ").to_owned() })
    }

    async fn agent(&self) -> Result<Agent, Trouble> {
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(self.redirects)
            // What is set for the web does not lead to one's own cluster.
            .proxy(None)
            .timeout_global(Some(self.within));
        if self.url.starts_with("https:") {
            let tls = self.tls().await.map_err(Trouble::said)?;
            config = config.https_only(true).tls_config(tls);
        }
        Ok(config.build().into())
    }

    async fn tls(&self) -> Result<TlsConfig, String> {
        let pem = match &self.ca_file {
            Some(file) => file::text(file).await?,
            None => system_roots().await?,
        };
        let item = |item: Result<PemItem<'static>, ureq::Error>| match item {
            Ok(PemItem::Certificate(certificate)) => Some(Ok(certificate)),
            Ok(_) => None,
            Err(e) => Some(Err(format!("a certificate to trust: {e}"))),
        };
        let roots: Result<Vec<_>, String> = parse_pem(pem.as_bytes()).filter_map(item).collect();
        let roots = roots?;
        if roots.is_empty() {
            return Err("there is no certificate to trust".to_owned());
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        Ok(TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .unversioned_rustls_crypto_provider(provider)
            .root_certs(RootCerts::Specific(Arc::new(roots)))
            .build())
    }
}

async fn system_roots() -> Result<String, String> {
    for path in SYSTEM_ROOTS {
        if let Ok(pem) = file::text(path.as_ref()).await {
            return Ok(pem);
        }
    }
    Err("this system has no list of certificates to trust; name one with ca-file".to_owned())
}

fn next_line(reader: &mut impl BufRead) -> Option<Result<String, String>> {
    let mut line = Vec::new();
    match reader.take(ANSWER_BYTES_MAX).read_until(b'\n', &mut line) {
        Ok(0) => None,
        Ok(_) if line.ends_with(b"\n") => {
            Some(String::from_utf8(line).map_err(|_| "a line that is not UTF-8".to_owned()))
        }
        Ok(_) => Some(Err("the stream ended within a line".to_owned())),
        Err(e) => Some(Err(e.to_string())),
    }
}

impl Trouble {
    pub(crate) fn said(text: String) -> Self {
        Self { status: None, text }
    }

    fn of(error: &ureq::Error) -> Self {
        Self::said(error.to_string())
    }
}
