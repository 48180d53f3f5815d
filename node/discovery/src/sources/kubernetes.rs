//! The endpoints of a service, as Kubernetes keeps them: slices, listed once and then watched; where watching
//! is not allowed or breaks, listed again and again.
//!
//! Endpoints that are not ready are candidates all the same: a node that becomes ready by finding its peers
//! would otherwise wait for itself. One that terminates is draining.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use quorate_env::{BoxFuture, timeout};
use serde_json::Value;
use tokio::sync::mpsc;

use crate::http::{Get, Trouble};
use crate::locator::Locator;
use crate::sources::file;
use crate::{Address, Candidates, Pace, Sighting, Source, SpecError, Standing};

/// Where a pod finds who it is.
const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// What a list, or the beginning of a watch, may take.
const WITHIN: Duration = Duration::from_secs(10);

/// After this a watch is ended and everything is listed anew.
const WATCH: Duration = Duration::from_secs(60);

/// How many lists follow a watch that was refused before another is tried.
const LISTS_UNWATCHED: u32 = 10;

/// How many parts a list may come in, and how many slices may be kept.
const PAGES_MAX: usize = 16;
const SLICES_MAX: usize = 1024;

/// What to ask for, and as whom.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    namespace: String,
    service: String,
    port: Port,
    api: Option<String>,
    account: PathBuf,
    every: Duration,
}

/// Which port of an endpoint.
#[derive(Clone, Debug)]
enum Port {
    Number(u16),
    Named(String),
}

/// The slices of a service, under watch.
pub(crate) struct Slices {
    settings: Settings,
    slices: BTreeMap<String, Candidates>,
    /// From where a watch would go on.
    version: Option<String>,
    watch: Option<mpsc::Receiver<Result<String, String>>>,
    lists_unwatched: u32,
}

impl Settings {
    pub(crate) fn read(locator: &Locator) -> Result<Self, SpecError> {
        let (namespace, service) = locator.place.split_once('/').unwrap_or((&locator.place, ""));
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let is_label = |text: &str| (1..=63).contains(&text.len()) && text.chars().all(fits);
        if !is_label(service) || !(namespace.is_empty() || is_label(namespace)) {
            return Err(
                locator.wrong("it needs a namespace (or nothing, for its own) and a service")
            );
        }
        let port = match locator.one("port")? {
            None => return Err(locator.wrong("it needs a `port`, by number or by name")),
            Some(name) if name.starts_with(|c: char| c.is_ascii_lowercase()) => {
                Port::Named(name.to_owned())
            }
            Some(_) => Port::Number(locator.port("port")?.unwrap_or_default()),
        };
        let api = locator.one("api")?.map(|url| url.trim_end_matches('/').to_owned());
        if api.as_ref().is_some_and(|url| !url.starts_with("http")) {
            return Err(locator.wrong("`api` is no URL"));
        }
        Ok(Self {
            namespace: namespace.to_owned(),
            service: service.to_owned(),
            port,
            api,
            account: locator.file("account")?.unwrap_or_else(|| PathBuf::from(ACCOUNT)),
            every: locator.span("every", Duration::from_secs(10))?,
        })
    }

    /// The API server: as said, or as every pod is told in its environment.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is how a pod is told where its API server is"
    )]
    fn api(&self) -> Result<String, String> {
        if let Some(api) = &self.api {
            return Ok(api.clone());
        }
        let variable =
            |name| std::env::var(name).map_err(|_| "this is no pod; name the server by `api`");
        let port = variable("KUBERNETES_SERVICE_PORT")?;
        let host = variable("KUBERNETES_SERVICE_HOST")?;
        let host = if host.contains(':') { format!("[{host}]") } else { host };
        Ok(format!("https://{host}:{port}"))
    }

    async fn get(&self, query: &str, within: Duration) -> Result<Get, String> {
        let api = self.api()?;
        let namespace = match self.namespace.as_str() {
            "" => file::text(&self.account.join("namespace")).await?.trim().to_owned(),
            namespace => namespace.to_owned(),
        };
        let url = format!(
            "{api}/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices\
             ?labelSelector=kubernetes.io%2Fservice-name%3D{}{query}",
            self.service
        );
        let mut get = Get::new(url, within);
        get.headers.push(("Accept", "application/json".to_owned()));
        if api.starts_with("https:") {
            // Read each time, since it is exchanged every hour.
            let token = file::text(&self.account.join("token")).await?;
            get.headers.push(("Authorization", format!("Bearer {}", token.trim())));
            get.ca_file = Some(self.account.join("ca.crt"));
        }
        Ok(get)
    }
}

impl Slices {
    pub(crate) fn new(settings: Settings) -> Self {
        let (slices, version, watch) = (BTreeMap::new(), None, None);
        Self { settings, slices, version, watch, lists_unwatched: 0 }
    }

    async fn candidates(&mut self) -> Result<Candidates, String> {
        if self.lists_unwatched > 0 {
            self.lists_unwatched -= 1;
        } else if let Some(version) = self.version.take() {
            let watch = match self.watch.take() {
                Some(watch) => Some(watch),
                None => self.begin(&version).await,
            };
            // A watch that ends without news is followed by a list, like one that breaks.
            if let Some(watch) = watch
                && self.follow(watch, version).await
            {
                return Ok(self.all());
            }
        }
        self.list().await?;
        Ok(self.all())
    }

    fn all(&self) -> Candidates {
        self.slices
            .values()
            .flatten()
            .map(|(address, standing)| (address.clone(), *standing))
            .collect()
    }

    /// Begins a watch, unless the server does not want it or does not say in time whether it does.
    async fn begin(&mut self, version: &str) -> Option<mpsc::Receiver<Result<String, String>>> {
        let version = utf8_percent_encode(version, NON_ALPHANUMERIC);
        let query = format!(
            "&watch=1&allowWatchBookmarks=true&resourceVersion={version}&timeoutSeconds={}",
            WATCH.as_secs()
        );
        let get = self.settings.get(&query, WATCH + WITHIN).await.ok()?;
        match timeout(WITHIN, get.lines()).await {
            Ok(Ok(watch)) => Some(watch),
            // What is forbidden stays so for a while; what is gone (410) is only too old.
            Ok(Err(Trouble { status: Some(410), .. })) => None,
            _ => {
                self.lists_unwatched = LISTS_UNWATCHED;
                None
            }
        }
    }

    /// Waits until a watch has changed something. Otherwise it has ended, and its news are of no use.
    async fn follow(
        &mut self,
        mut watch: mpsc::Receiver<Result<String, String>>,
        mut version: String,
    ) -> bool {
        while let Some(Ok(line)) = watch.recv().await {
            match self.event(&line) {
                Some((newer, changed)) => {
                    version = newer.unwrap_or(version);
                    // Neighbours of an event come at once; they are one answer.
                    if changed && watch.is_empty() {
                        (self.watch, self.version) = (Some(watch), Some(version));
                        return true;
                    }
                }
                None => break,
            }
        }
        false
    }

    /// Takes an event in: the version behind it, and whether it changed anything. `None`: list anew.
    fn event(&mut self, line: &str) -> Option<(Option<String>, bool)> {
        let value: Value = serde_json::from_str(line).ok()?;
        let object = &value["object"];
        let version = object["metadata"]["resourceVersion"].as_str().map(str::to_owned);
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        match value["type"].as_str()? {
            "ADDED" | "MODIFIED" if !name.is_empty() => {
                let slice = slice(object, &self.settings.port).ok()?;
                if self.slices.len() < SLICES_MAX || self.slices.contains_key(name) {
                    self.slices.insert(name.to_owned(), slice);
                }
                Some((version, true))
            }
            "DELETED" => Some((version, self.slices.remove(name).is_some())),
            "BOOKMARK" => Some((version, false)),
            _ => None,
        }
    }

    async fn list(&mut self) -> Result<(), String> {
        let mut slices = BTreeMap::new();
        let mut version = None;
        let mut more = String::new();
        for _ in 0..PAGES_MAX {
            let get = self.settings.get(&format!("&limit=200{more}"), WITHIN).await?;
            let answer = get.whole().await.map_err(|trouble| trouble.text)?;
            let list: Value =
                serde_json::from_str(&answer.text).map_err(|e| format!("its JSON: {e}"))?;
            let items = list["items"].as_array().ok_or("its JSON has no items")?;
            for item in items.iter().take(SLICES_MAX - slices.len()) {
                let name = item["metadata"]["name"].as_str().ok_or("a slice has no name")?;
                slices.insert(name.to_owned(), slice(item, &self.settings.port)?);
            }
            version = list["metadata"]["resourceVersion"].as_str().map(str::to_owned);
            match list["metadata"]["continue"].as_str().filter(|token| !token.is_empty()) {
                Some(token) => {
                    more = format!("&continue={}", utf8_percent_encode(token, NON_ALPHANUMERIC));
                }
                None => break,
            }
        }
        (self.slices, self.version, self.watch) = (slices, version, None);
        Ok(())
    }
}

/// The candidates in one slice.
fn slice(slice: &Value, port: &Port) -> Result<Candidates, String> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut found = Candidates::new();
    let endpoints = list(&slice["endpoints"]);
    if endpoints.is_empty() {
        return Ok(found);
    }
    let port = match port {
        Port::Number(port) => *port,
        Port::Named(name) => {
            let ports = list(&slice["ports"]);
            let named = ports.iter().find(|port| port["name"] == name.as_str());
            let number = named.and_then(|port| port["port"].as_u64());
            let number = number.and_then(|port| u16::try_from(port).ok());
            number.ok_or_else(|| format!("a slice has no port with the name `{name}`"))?
        }
    };
    for endpoint in endpoints {
        // All addresses of an endpoint lead to the same; the first is the one to use.
        let Some(host) = endpoint["addresses"][0].as_str() else { continue };
        let ip = host.parse().ok().and_then(|ip| Address::at(ip, port));
        let address = ip.or_else(|| Address::named(host, port));
        let address = address.ok_or("an endpoint has an address that is none")?;
        let draining = endpoint["conditions"]["terminating"] == Value::Bool(true);
        let standing = if draining { Standing::Draining } else { Standing::Present };
        found.insert(address, standing);
    }
    Ok(found)
}

impl Source for Slices {
    fn look(&mut self) -> BoxFuture<'_, Sighting> {
        Box::pin(async { self.candidates().await.into() })
    }

    fn pace(&self) -> Pace {
        let watches = self.version.is_some() && self.lists_unwatched == 0;
        let rest = if watches { Duration::from_secs(1) } else { self.settings.every };
        Pace { rest, patience: WATCH + WITHIN * 5 }
    }
}
