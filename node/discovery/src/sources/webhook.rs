//! A list of addresses behind an URL: lines or a JSON list.

use std::path::PathBuf;
use std::time::Duration;

use quorate_env::BoxFuture;

use crate::http::Get;
use crate::locator::Locator;
use crate::sources::file;
use crate::{Candidates, Pace, Sighting, Source, SpecError, list};

const WITHIN: Duration = Duration::from_secs(10);

/// What to get. Settings of ours stand in the fragment, which is never sent.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    url: String,
    port: Option<u16>,
    every: Duration,
    token_file: Option<PathBuf>,
    ca_file: Option<PathBuf>,
}

impl Settings {
    pub(crate) fn read(locator: &Locator) -> Result<Self, SpecError> {
        let url = locator.place.clone();
        let is_url = url.parse::<ureq::http::Uri>().is_ok_and(|uri| uri.host() != Some(""));
        if !is_url {
            return Err(locator.wrong("it is no URL"));
        }
        let token_file = locator.file("token-file")?;
        if token_file.is_some() && locator.scheme != "https" {
            return Err(locator.wrong("a token would be sent in the clear; use https"));
        }
        Ok(Self {
            url,
            port: locator.port("port")?,
            every: locator.span("every", Duration::from_secs(30))?,
            token_file,
            ca_file: locator.file("ca-file")?,
        })
    }

    async fn candidates(&self) -> Result<Candidates, String> {
        let mut get = Get::new(self.url.clone(), WITHIN);
        get.ca_file.clone_from(&self.ca_file);
        get.redirects = 3;
        get.headers.push(("Accept", "application/json, text/plain".to_owned()));
        if let Some(path) = &self.token_file {
            let token = file::secret(path).await?;
            get.headers.push(("Authorization", format!("Bearer {token}")));
        }
        let answer = get.whole().await.map_err(|trouble| trouble.text)?;
        list::json_or_lines(&answer.text, self.port)
    }
}

impl Source for Settings {
    fn look(&mut self) -> BoxFuture<'_, Sighting> {
        Box::pin(async { self.candidates().await.into() })
    }

    fn pace(&self) -> Pace {
        Pace::poll(self.every)
    }
}
