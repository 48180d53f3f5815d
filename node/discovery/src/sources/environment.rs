//! A list of addresses in a variable of the environment.
//!
//! A variable that is not set is an error and not an empty list: somebody meant to set it.

use std::env::VarError;
use std::time::Duration;

use quorate_env::BoxFuture;

use crate::locator::Locator;
use crate::{Candidates, Pace, Sighting, Source, SpecError, list};

/// Which variable.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    variable: String,
    port: Option<u16>,
}

impl Settings {
    pub(crate) fn read(locator: &Locator) -> Result<Self, SpecError> {
        let variable = locator.place.clone();
        if variable.is_empty() || variable.contains(['=', '\0', '/']) {
            return Err(locator.wrong("it names no variable"));
        }
        Ok(Self { variable, port: locator.port("port")? })
    }

    #[expect(clippy::disallowed_methods, reason = "the operator names this variable as a source")]
    fn candidates(&self) -> Result<Candidates, String> {
        match std::env::var(&self.variable) {
            Ok(text) => list::lines(&text, self.port),
            Err(VarError::NotPresent) => Err(format!("{} is not set", self.variable)),
            Err(VarError::NotUnicode(_)) => Err(format!("{} is not UTF-8", self.variable)),
        }
    }
}

impl Source for Settings {
    fn look(&mut self) -> BoxFuture<'_, Sighting> {
        Box::pin(std::future::ready(self.candidates().into()))
    }

    fn pace(&self) -> Pace {
        // Nobody changes it from outside.
        Pace::poll(Duration::from_secs(3600))
    }
}
