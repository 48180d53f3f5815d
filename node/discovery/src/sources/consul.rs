//! A service in Consul's catalogue, by blocking queries: after the first answer Consul holds each question
//! back until something has changed.
//!
//! Nodes whose checks fail are candidates, too: a node that waits for its first peer may well be unhealthy
//! because of that. One that is under maintenance is draining.

use std::path::PathBuf;
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use quorate_env::BoxFuture;
use serde_json::Value;

use crate::http::Get;
use crate::locator::Locator;
use crate::sources::file;
use crate::{Address, Candidates, Pace, Sighting, Source, SpecError, Standing};

/// Beyond what Consul was asked to hold a question back for; it adds up to a sixteenth by itself.
const GRACE: Duration = Duration::from_secs(10);

/// What to ask for.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    base: String,
    service: String,
    query: String,
    port: Option<u16>,
    token_file: Option<PathBuf>,
    ca_file: Option<PathBuf>,
    wait: Duration,
}

/// A service under watch.
pub(crate) struct Health {
    settings: Settings,
    /// The state of the catalogue that was last seen.
    index: Option<u64>,
}

impl Settings {
    pub(crate) fn read(locator: &Locator) -> Result<Self, SpecError> {
        let (host, service) = locator.place.split_once('/').unwrap_or((&locator.place, ""));
        let host =
            Address::with_port(host, Some(8500)).map_err(|e| locator.wrong(e.to_string()))?;
        if service.is_empty() || service.contains('/') {
            return Err(locator.wrong("it needs the name of one service"));
        }
        let scheme = match locator.one("tls")? {
            None | Some("no") => "http",
            Some("yes") => "https",
            Some(_) => return Err(locator.wrong("`tls` is yes or no")),
        };
        // Any server may answer, so that no leader of Consul's is needed to find ours.
        let mut query = "stale".to_owned();
        for (key, ours) in [("dc", "dc"), ("tag", "tag")] {
            for value in locator.all(ours) {
                query.push_str(&format!("&{key}={}", utf8_percent_encode(value, NON_ALPHANUMERIC)));
            }
        }
        let service = percent_encoding::percent_decode_str(service).decode_utf8_lossy();
        Ok(Self {
            base: format!("{scheme}://{host}"),
            service: utf8_percent_encode(&service, NON_ALPHANUMERIC).to_string(),
            query,
            port: locator.port("port")?,
            token_file: locator.file("token-file")?,
            ca_file: locator.file("ca-file")?,
            wait: locator.span("wait", Duration::from_secs(60))?.min(Duration::from_secs(600)),
        })
    }
}

impl Health {
    pub(crate) fn new(settings: Settings) -> Self {
        Self { settings, index: None }
    }

    async fn candidates(&mut self) -> Result<Candidates, String> {
        // If this look is dropped or fails, the next one begins afresh.
        let index = self.index.take();
        let Settings { base, service, query, wait, .. } = &self.settings;
        let mut url = format!("{base}/v1/health/service/{service}?{query}");
        let mut within = GRACE;
        if let Some(index) = index {
            url.push_str(&format!("&index={index}&wait={}ms", wait.as_millis()));
            within += *wait + *wait / 16;
        }
        let mut get = Get::new(url, within);
        get.ca_file.clone_from(&self.settings.ca_file);
        if let Some(path) = &self.settings.token_file {
            get.headers.push(("X-Consul-Token", file::secret(path).await?));
        }
        let answer = get.whole().await.map_err(|trouble| trouble.text)?;
        let found = instances(&answer.text, self.settings.port)?;
        let header = answer.headers.get("x-consul-index").and_then(|value| value.to_str().ok());
        // An index that goes back is of a restored Consul, and 0 would never be held back.
        let newer = |seen: &u64| *seen > 0 && index.is_none_or(|before| *seen >= before);
        self.index = header.and_then(|text| text.parse().ok()).filter(newer);
        Ok(found)
    }
}

fn instances(text: &str, port: Option<u16>) -> Result<Candidates, String> {
    let value: Value = serde_json::from_str(text).map_err(|e| format!("its JSON: {e}"))?;
    let instances = value.as_array().ok_or("its JSON is no list")?;
    let mut found = Candidates::new();
    for instance in instances {
        let text =
            |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        let host =
            text(&instance["Service"]["Address"]).or_else(|| text(&instance["Node"]["Address"]));
        let own = instance["Service"]["Port"].as_u64().and_then(|port| u16::try_from(port).ok());
        let port = port.or(own.filter(|port| *port != 0));
        let (Some(host), Some(port)) = (host, port) else {
            return Err("an instance has no address or no port; `port` sets one for all".to_owned());
        };
        // The port of the spec goes over what is registered, so the host must come alone.
        let host =
            host.parse().ok().and_then(|ip| Address::at(ip, port)).or(Address::named(&host, port));
        let address = host.ok_or("an instance has an address that is none")?;
        let checks = instance["Checks"].as_array().map_or(&[][..], Vec::as_slice);
        let id = |check: &Value| check["CheckID"].as_str().unwrap_or_default().to_owned();
        let maintained = |check: &Value| {
            id(check) == "_node_maintenance" || id(check).starts_with("_service_maintenance")
        };
        let draining = checks.iter().any(maintained);
        let standing = if draining { Standing::Draining } else { Standing::Present };
        found.insert(address, standing);
    }
    Ok(found)
}

impl Source for Health {
    fn look(&mut self) -> BoxFuture<'_, Sighting> {
        Box::pin(async { self.candidates().await.into() })
    }

    fn pace(&self) -> Pace {
        // The waiting is done by Consul; the rest keeps a busy catalogue from keeping us busy.
        let patience = self.settings.wait * 2 + GRACE * 2;
        let rest =
            if self.index.is_some() { Duration::from_secs(1) } else { Duration::from_secs(10) };
        Pace { rest, patience }
    }
}
