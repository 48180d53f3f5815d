//! The client of the HTTP API.
//!
//! It knows several agents where several were named, and asks the next when one does not answer. A write
//! carries a key, so that asking again, here or elsewhere, does it once.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use quorate::Time;
use quorate_env::now;
use quorate_http::code;
use serde_json::{Value, json};
use ureq::Timeout;
use ureq::http::{Method, Request, Response};

use crate::args::Reach;
use crate::context::Context;
use crate::fail::Fail;
use crate::secrets;

const DEFAULT: &str = "http://127.0.0.1:4748";

/// No answer is longer; a page of names with large values may come near.
const ANSWER_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// A watch without even a heartbeat for this long has lost its agent.
const SILENCE: Duration = Duration::from_secs(20);

/// How much of a download is taken at once.
const DOWNLOAD_BYTES: usize = 64 * 1024;

/// What may stand in a name, and in a path, as it is.
const AS_IS: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b':')
    .remove(b'@')
    .remove(b'-')
    .remove(b'/');

/// Talks to a cluster.
#[derive(Clone)]
pub(crate) struct Client {
    agents: Vec<String>,
    token: Option<String>,
    token_file: Option<PathBuf>,
    timeout: Duration,
}

/// A good answer.
pub(crate) struct Answer {
    pub(crate) body: Value,
    node: Option<String>,
    stale_ms: Option<u64>,
}

/// A question.
pub(crate) struct Ask {
    method: Method,
    path: String,
    body: Option<String>,
    key: Option<String>,
}

impl Ask {
    /// A read.
    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self { method: Method::GET, path: path.into(), body: None, key: None }
    }

    /// A read that says more than fits a path. Answered or not, it changes nothing.
    pub(crate) fn dry_run(path: impl Into<String>, body: &Value) -> Self {
        Self { method: Method::POST, path: path.into(), body: Some(body.to_string()), key: None }
    }

    /// A write; without a key it gets one of its own.
    pub(crate) fn write(
        method: Method,
        path: impl Into<String>,
        body: Option<&Value>,
        key: Option<&str>,
    ) -> Self {
        let key = key.map_or_else(secrets::random, str::to_owned);
        Self { method, path: path.into(), body: body.map(Value::to_string), key: Some(key) }
    }
}

impl Answer {
    /// The body, and who gave it and how old it is.
    pub(crate) fn with_age(self) -> Value {
        let Self { mut body, node, stale_ms } = self;
        if let Value::Object(members) = &mut body {
            members.entry("node").or_insert_with(|| json!(node));
            members.entry("stale_ms").or_insert_with(|| json!(stale_ms));
        }
        body
    }
}

impl Client {
    /// Finds out whom to talk to.
    pub(crate) fn new(reach: &Reach) -> Result<Self, Fail> {
        let agents = match (&reach.agent, Context::present()) {
            (Some(agent), _) => vec![checked(agent)?],
            (None, Some(context)) => context.agents,
            (None, None) => vec![DEFAULT.to_owned()],
        };
        Self::of(agents, reach.api_token_file.clone(), reach.timeout)
    }

    /// Talks to these.
    pub(crate) fn of(
        agents: Vec<String>,
        token_file: Option<PathBuf>,
        timeout: Duration,
    ) -> Result<Self, Fail> {
        let token = token_file.as_deref().map(secrets::read).transpose()?;
        Ok(Self { agents, token, token_file, timeout })
    }

    /// Whom it talks to.
    pub(crate) fn agents(&self) -> &[String] {
        &self.agents
    }

    /// The file with the token that it shows.
    pub(crate) fn token_file(&self) -> Option<&Path> {
        self.token_file.as_deref()
    }

    /// Asks until one agent answers or the time is up.
    pub(crate) fn ask(&self, ask: &Ask) -> Result<Answer, Fail> {
        let until = now() + self.timeout;
        let mut doubt = None;
        let mut last = None;
        for (at, agent) in self.agents.iter().enumerate() {
            let others = u32::try_from(self.agents.len() - at).unwrap_or(1);
            let within = until.since(now()) / others;
            if within.is_zero() {
                break;
            }
            match self.ask_one(agent, ask, within) {
                Ok(answer) => return Ok(answer),
                Err(fail) if fail.is_unknown() => doubt = Some(fail),
                Err(fail) if elsewhere(&fail) => last = Some(fail),
                Err(fail) => return Err(fail),
            }
        }
        let fail =
            doubt.or(last).unwrap_or_else(|| Fail::new(code::NO_AGENT, "no agent was asked"));
        match &ask.key {
            Some(key) if fail.is_unknown() => Err(fail.next(format!(
                "look first, or run the same command with --idempotency-key {key}: it is then done once"
            ))),
            _ => Err(fail),
        }
    }

    /// Opens a stream of events.
    pub(crate) fn stream(
        &self,
        path: &str,
        last_id: Option<&str>,
    ) -> Result<impl BufRead + use<>, Fail> {
        let ask = Ask::get(path);
        let mut last = None;
        for agent in &self.agents {
            let config = ureq::Agent::config_builder()
                .http_status_as_error(false)
                .proxy(None)
                .timeout_connect(Some(self.timeout))
                .timeout_recv_response(Some(self.timeout))
                .timeout_per_read(Some(SILENCE));
            let agent_http: ureq::Agent = config.build().into();
            match agent_http
                .run(self.request(agent, &ask, last_id)?.body(()).map_err(|e| unsendable(&e))?)
            {
                Ok(answer) if answer.status() == 200 => {
                    return Ok(BufReader::new(answer.into_body().into_reader()));
                }
                Ok(answer) => {
                    return Err(read(agent, answer).err().unwrap_or_else(|| foreign(agent)));
                }
                Err(error) => last = Some(lost(agent, &ask, &error)),
            }
        }
        Err(last.unwrap_or_else(|| Fail::new(code::NO_AGENT, "no agent was asked")))
    }

    /// Copies what lies under a path, as it comes.
    pub(crate) fn download(&self, path: &str, to: &mut impl Write) -> Result<(), Fail> {
        let mut from = self.stream(path, None)?;
        let mut bytes = vec![0; DOWNLOAD_BYTES];
        loop {
            let count = match from.read(&mut bytes) {
                Ok(0) => return Ok(()),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => {
                    return Err(Fail::new(code::NO_AGENT, format!("it broke off: {error}")));
                }
            };
            to.write_all(&bytes[..count]).map_err(Fail::io("writing what was sent"))?;
        }
    }

    fn ask_one(&self, agent: &str, ask: &Ask, within: Duration) -> Result<Answer, Fail> {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            // What is set for the web does not lead to one's own cluster.
            .proxy(None)
            .timeout_global(Some(within));
        let http: ureq::Agent = config.build().into();
        let request = self.request(agent, ask, None)?;
        let answered = match &ask.body {
            Some(body) => http.run(request.body(body.as_str()).map_err(|e| unsendable(&e))?),
            None => http.run(request.body(()).map_err(|e| unsendable(&e))?),
        };
        read(agent, answered.map_err(|error| lost(agent, ask, &error))?)
    }

    fn request(
        &self,
        agent: &str,
        ask: &Ask,
        last_id: Option<&str>,
    ) -> Result<ureq::http::request::Builder, Fail> {
        let mut request =
            Request::builder().method(ask.method.clone()).uri(format!("{agent}{}", ask.path));
        if ask.body.is_some() {
            request = request.header("Content-Type", "application/json");
        }
        for (name, value) in [
            ("Authorization", self.token.as_ref().map(|token| format!("Bearer {token}"))),
            ("Idempotency-Key", ask.key.clone()),
            ("Last-Event-ID", last_id.map(str::to_owned)),
        ] {
            if let Some(value) = value {
                request = request.header(name, value);
            }
        }
        Ok(request)
    }

    /// The same with another bound on every command.
    pub(crate) fn within(&self, timeout: Duration) -> Self {
        Self { timeout, ..self.clone() }
    }

    /// How long a command waits for an answer.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Until when this client goes on trying.
    pub(crate) fn deadline(&self) -> Time {
        now() + self.timeout
    }
}

/// A name as it stands in a path.
pub(crate) fn name_path(name: &str) -> String {
    format!("/v1/names/{}", encoded(name))
}

/// Text as it stands in a query.
pub(crate) fn encoded(text: &str) -> String {
    utf8_percent_encode(text, AS_IS).to_string()
}

/// Where an agent is, in full: `http://HOST:PORT`.
pub(crate) fn checked(agent: &str) -> Result<String, Fail> {
    let trimmed = agent.strip_suffix('/').unwrap_or(agent);
    let url =
        if trimmed.contains("://") { trimmed.to_owned() } else { format!("http://{trimmed}") };
    match url.strip_prefix("http://") {
        Some(host) if !host.is_empty() && !host.contains('/') => Ok(url),
        _ => Err(Fail::new(
            code::BAD_SETTING,
            format!("the agent's URL is http://HOST:PORT, and `{agent}` is not"),
        )),
    }
}

fn elsewhere(fail: &Fail) -> bool {
    [code::NO_AGENT, code::NO_QUORUM, code::NO_SESSION_HERE, code::CLOSING, code::STOPPED]
        .into_iter()
        .any(|code| fail.is(code))
}

impl Fail {
    /// Whether to ask again may help.
    pub(crate) fn is_passing(&self) -> bool {
        elsewhere(self) || self.is(code::OVERLOADED) || self.is_unknown()
    }
}

fn read(agent: &str, mut answer: Response<ureq::Body>) -> Result<Answer, Fail> {
    let header = |name: &str| {
        answer.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
    };
    let node = header("quorate-node");
    let stale_ms = header("quorate-stale-ms").and_then(|text| text.parse().ok());
    let status = answer.status();
    let text = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string();
    let text = text.map_err(|e| Fail::new(code::NO_ANSWER, format!("{agent}: {e}")))?;
    let body = if text.is_empty() { Some(Value::Null) } else { serde_json::from_str(&text).ok() };
    match (node, body) {
        (Some(by), Some(body)) if body["code"].is_string() => Err(Fail::from_problem(&body, &by)),
        (Some(by), Some(body)) if status.is_success() => {
            Ok(Answer { body, node: Some(by), stale_ms })
        }
        _ => Err(foreign(agent)),
    }
}

fn foreign(agent: &str) -> Fail {
    Fail::new(code::FOREIGN_ANSWER, format!("asked {agent}"))
}

/// What became of a question without an answer.
fn lost(agent: &str, ask: &Ask, error: &ureq::Error) -> Fail {
    let sent = match error {
        ureq::Error::HostNotFound
        | ureq::Error::ConnectionFailed
        | ureq::Error::BadUri(_)
        | ureq::Error::Http(_)
        | ureq::Error::Timeout(Timeout::Connect | Timeout::Resolve) => false,
        ureq::Error::Io(e) => !matches!(
            e.kind(),
            ErrorKind::ConnectionRefused
                | ErrorKind::HostUnreachable
                | ErrorKind::NetworkUnreachable
        ),
        _ => true,
    };
    let detail = format!("{agent}: {error}");
    match (sent, ask.key.is_some()) {
        (true, true) => Fail::new(code::NO_ANSWER, detail),
        // A read changes nothing, answered or not.
        (true, false) => Fail::new(code::NO_AGENT, detail),
        (false, _) => Fail::new(code::NO_AGENT, detail),
    }
}

fn unsendable(error: &ureq::http::Error) -> Fail {
    Fail::new(code::BAD_SETTING, format!("this cannot be sent: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_is_plain_http_and_a_name_stands_in_a_path_as_it_is() {
        assert_eq!(checked("127.0.0.1:1").unwrap(), "http://127.0.0.1:1");
        assert_eq!(checked("http://n1:4748/").unwrap(), "http://n1:4748");
        for wrong in ["https://n1", "http://", "ftp://x", "http://n1/v1"] {
            assert!(checked(wrong).unwrap_err().is(code::BAD_SETTING), "{wrong}");
        }
        assert_eq!(name_path("a/b:c@d~e"), "/v1/names/a/b:c@d~e");
        assert_eq!(encoded("a b&c=d?é"), "a%20b%26c%3Dd%3F%C3%A9");
    }
}
