//! Which names, or which properties, somebody looks for: by the beginning of the name, and by labels.
//!
//! Pure, and not in the log: what is asked is judged against the state of whoever is asked.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;
use std::str::FromStr;

use quorate_vocab::Name;

/// What to look for. Everything in it has to fit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// Which names or keys.
    pub keys: Keys,
    /// What their labels must be.
    pub labels: Vec<LabelTest>,
}

/// Which names or keys are looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keys {
    /// This one.
    Exactly(Name),
    /// Those that begin with this text, which need not be a name.
    Under(String),
}

/// One question to labels. Its text is `key=value`, `key`, or `!key`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LabelTest {
    /// There is this label, and it says this.
    Is(String, String),
    /// There is this label, whatever it says.
    Has(String),
    /// There is no such label.
    Lacks(String),
}

/// Why a text is no question to labels. Nothing was looked for; correct the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} asks nothing of labels; write key=value, key, or !key")]
pub struct LabelTestError {
    /// The text.
    pub text: String,
}

impl Query {
    /// Everything whose name or key begins with this.
    pub fn under(prefix: impl Into<String>) -> Self {
        Self { keys: Keys::Under(prefix.into()), labels: Vec::new() }
    }

    /// The same, and the labels also have to answer this.
    #[must_use]
    pub fn with(mut self, test: LabelTest) -> Self {
        self.labels.push(test);
        self
    }

    /// Whether something of this name and these labels is looked for.
    pub fn fits(&self, name: &str, labels: &BTreeMap<String, String>) -> bool {
        self.keys.fits(name) && self.labels.iter().all(|test| test.fits(labels))
    }
}

impl Keys {
    /// Whether this name is among them.
    pub fn fits(&self, name: &str) -> bool {
        match self {
            Self::Exactly(one) => one.as_str() == name,
            Self::Under(prefix) => name.starts_with(prefix.as_str()),
        }
    }

    /// What all of them begin with; and one that does not begin so is behind the last of them.
    pub(crate) fn stem(&self) -> &str {
        match self {
            Self::Exactly(name) => name.as_str(),
            Self::Under(prefix) => prefix,
        }
    }
}

impl Default for Keys {
    fn default() -> Self {
        Self::Under(String::new())
    }
}

impl LabelTest {
    /// Whether labels answer it.
    pub fn fits(&self, labels: &BTreeMap<String, String>) -> bool {
        match self {
            Self::Is(key, value) => labels.get(key) == Some(value),
            Self::Has(key) => labels.contains_key(key),
            Self::Lacks(key) => !labels.contains_key(key),
        }
    }
}

impl FromStr for LabelTest {
    type Err = LabelTestError;

    fn from_str(text: &str) -> Result<Self, LabelTestError> {
        let test = match (text.split_once('='), text.strip_prefix('!')) {
            (_, Some(key)) => Self::Lacks(key.to_owned()),
            (Some((key, value)), None) => Self::Is(key.to_owned(), value.to_owned()),
            (None, None) => Self::Has(text.to_owned()),
        };
        let (Self::Is(key, _) | Self::Has(key) | Self::Lacks(key)) = &test;
        let sound = !key.is_empty() && !key.contains(['=', '!']);
        if sound { Ok(test) } else { Err(LabelTestError { text: text.to_owned() }) }
    }
}

impl fmt::Display for LabelTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Is(key, value) => write!(f, "{key}={value}"),
            Self::Has(key) => f.write_str(key),
            Self::Lacks(key) => write!(f, "!{key}"),
        }
    }
}

/// Where the names that begin with `prefix` and come after `after` begin.
pub(crate) fn after_or_at<'a>(
    prefix: &'a str,
    after: Option<&'a str>,
) -> (Bound<&'a str>, Bound<&'a str>) {
    let start = match after {
        Some(after) if after >= prefix => Bound::Excluded(after),
        _ => Bound::Included(prefix),
    };
    (start, Bound::Unbounded)
}
