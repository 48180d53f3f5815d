//! The text that says where to look: `scheme://place?setting=value#setting=value`.
//!
//! Not here: what the schemes mean. A source takes from it what it knows, and what is left over is an error.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use percent_encoding::percent_decode_str;

use crate::address::shown;
use crate::spec::SpecError;

/// A spec in its parts, percent-decoded where that has a meaning.
#[derive(Clone, Debug)]
pub(crate) struct Locator {
    /// What stands before `://`.
    pub(crate) scheme: String,
    /// What stands between it and the settings, as it was written.
    pub(crate) place: String,
    settings: BTreeMap<String, Vec<String>>,
    /// The settings that this kind of source knows.
    known: &'static [&'static str],
    /// What the scheme wants to be followed by.
    wants: &'static str,
    text: String,
}

impl Locator {
    /// Takes a text apart. `known` are the settings it may have, `wants` an example of a right one.
    pub(crate) fn read(
        text: &str,
        known: &'static [&'static str],
        wants: &'static str,
    ) -> Result<Self, SpecError> {
        let (scheme, rest) = text.split_once("://").unwrap_or((text, ""));
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut locator = Self {
            scheme: scheme.to_owned(),
            place: place.to_owned(),
            settings: BTreeMap::new(),
            known,
            wants,
            text: text.to_owned(),
        };
        locator.take(query)?;
        Ok(locator)
    }

    /// Takes an URL that belongs to somebody else: its query stays part of the place, and settings of ours
    /// stand in the fragment, which is never sent.
    pub(crate) fn foreign(
        text: &str,
        known: &'static [&'static str],
        wants: &'static str,
    ) -> Result<Self, SpecError> {
        let (place, fragment) = text.split_once('#').unwrap_or((text, ""));
        let mut locator = Self::read(&place.replace('?', "%3F"), known, wants)?;
        place.clone_into(&mut locator.place);
        locator.take(fragment)?;
        Ok(locator)
    }

    fn take(&mut self, pairs: &str) -> Result<(), SpecError> {
        for pair in pairs.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            if !self.known.contains(&key) {
                return Err(self.unknown(key));
            }
            let value = percent_decode_str(value).decode_utf8();
            let value = value.map_err(|_| self.wrong(format!("`{key}` is not UTF-8")))?;
            self.settings.entry(key.to_owned()).or_default().push(value.into_owned());
        }
        Ok(())
    }

    fn unknown(&self, key: &str) -> SpecError {
        let key = shown(key);
        match nearest(&key, self.known) {
            Some(nearest) => {
                self.wrong(format!("`{key}` is no setting; the nearest is `{nearest}`"))
            }
            None => self.wrong(format!("it has no settings, and `{key}` is given")),
        }
    }

    /// An error about this text.
    pub(crate) fn wrong(&self, why: impl Into<String>) -> SpecError {
        let (spec, why) = (shown(&redacted(&self.text)), why.into());
        SpecError::Malformed { spec, why, wants: self.wants }
    }

    /// The place as a path of the file system.
    pub(crate) fn path(&self) -> Result<PathBuf, SpecError> {
        let path = percent_decode_str(&self.place).decode_utf8();
        let path = path.map_err(|_| self.wrong("the path is not UTF-8"))?;
        match path.is_empty() || path.contains('\0') {
            true => Err(self.wrong("it names no file")),
            false => Ok(PathBuf::from(path.into_owned())),
        }
    }

    /// All values of a setting.
    pub(crate) fn all(&self, key: &str) -> &[String] {
        self.settings.get(key).map_or(&[], Vec::as_slice)
    }

    /// The one value of a setting.
    pub(crate) fn one(&self, key: &str) -> Result<Option<&str>, SpecError> {
        match self.all(key) {
            [] => Ok(None),
            [value] if !value.is_empty() => Ok(Some(value)),
            [_] => Err(self.wrong(format!("`{key}` is empty"))),
            _ => Err(self.wrong(format!("`{key}` is given twice"))),
        }
    }

    /// A setting that is a file.
    pub(crate) fn file(&self, key: &str) -> Result<Option<PathBuf>, SpecError> {
        Ok(self.one(key)?.map(PathBuf::from))
    }

    /// A setting that is a port.
    pub(crate) fn port(&self, key: &str) -> Result<Option<u16>, SpecError> {
        let Some(text) = self.one(key)? else { return Ok(None) };
        let port = text.parse().ok().filter(|port| *port != 0);
        port.map(Some).ok_or_else(|| self.wrong(format!("`{key}={}` is no port", shown(text))))
    }

    /// A setting that is a span of time: `500ms`, `10s`, `5m`; between 100 ms and an hour.
    pub(crate) fn span(&self, key: &str, default: Duration) -> Result<Duration, SpecError> {
        let Some(text) = self.one(key)? else { return Ok(default) };
        let at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let unit_ms = match &text[at..] {
            "ms" => Some(1),
            "s" => Some(1000),
            "m" => Some(60_000),
            _ => None,
        };
        let ms =
            text[..at].parse::<u64>().ok().zip(unit_ms).map(|(n, unit)| n.saturating_mul(unit));
        let ms = ms.filter(|ms| (100..=3_600_000).contains(ms));
        ms.map(Duration::from_millis).ok_or_else(|| {
            self.wrong(format!(
                "`{key}={}` is no span such as 500ms, 10s, 5m (1h at most)",
                shown(text)
            ))
        })
    }
}

/// A spec as it may be shown: without a password, and without what an URL asks.
pub(crate) fn redacted(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let is_url = scheme == "http" || scheme == "https";
    let (rest, cut) = match rest.split_once(['?', '#']) {
        Some((rest, _)) if is_url => (rest, "?…"),
        _ => (rest, ""),
    };
    let end = rest.find('/').unwrap_or(rest.len());
    let rest = match rest[..end].rfind('@') {
        Some(at) => format!("…{}", &rest[at..]),
        None => rest.to_owned(),
    };
    format!("{scheme}://{rest}{cut}")
}

/// The known word that takes the fewest changed letters: what somebody who mistyped a setting may have meant.
pub fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    known.iter().copied().min_by_key(|known| distance(word, known))
}

/// How many letters must be put in, taken out or changed to make one text from another.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut costs: Vec<usize> = (0..=to.len()).collect();
    for (row, letter) in from.chars().enumerate() {
        let mut corner = costs[0];
        costs[0] = row + 1;
        for (column, other) in to.iter().enumerate() {
            let change = corner + usize::from(letter != *other);
            corner = costs[column + 1];
            costs[column + 1] = change.min(corner + 1).min(costs[column] + 1);
        }
    }
    costs[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_in_a_spec_are_not_shown() {
        assert_eq!(redacted("https://u:p@h/x?token=t#every=1s"), "https://…@h/x?…");
        assert_eq!(redacted("consul://h:1/s?dc=a"), "consul://h:1/s?dc=a");
        assert_eq!(redacted("a:1"), "a:1");
    }

    #[test]
    fn settings_are_decoded_counted_and_bounded() {
        let read = |text: &str| Locator::read(text, &["every", "arg"], "x://y");
        let locator = read("x://y?arg=a%20b&arg=&every=5m").unwrap();
        assert_eq!(locator.all("arg"), ["a b", ""]);
        assert_eq!(locator.span("every", Duration::ZERO).unwrap(), Duration::from_secs(300));
        for wrong in ["every=1", "every=1ms", "every=2h", "every=", "every=1s&every=1s"] {
            let locator = read(&format!("x://y?{wrong}")).unwrap();
            assert!(locator.span("every", Duration::ZERO).is_err(), "{wrong}");
        }
        let why = read("x://y?evry=1s").unwrap_err().to_string();
        assert!(why.contains("the nearest is `every`"), "{why}");
    }
}
