//! Global names: what is registered.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A path of `[A-Za-z0-9._~:@-]` parts joined by `/`, 512 bytes at most. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(Arc<str>);

/// Why a text is not a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// There is nothing there, or nothing between two slashes.
    #[error("a name, and each of its parts between slashes, needs at least one character")]
    Empty,
    /// Longer than a name may be.
    #[error("{bytes} bytes is too long for a name; {bytes_max} is the most")]
    TooLong {
        /// How long it is.
        bytes: usize,
        /// How long it may be.
        bytes_max: usize,
    },
    /// A character that may not stand in a name.
    #[error("the character at byte {at} may not stand in a name")]
    Character {
        /// Where it stands.
        at: usize,
    },
}

impl Name {
    /// The longest name, in bytes.
    pub const BYTES_MAX: usize = 512;

    /// Checks and takes a name.
    pub fn new(text: impl AsRef<str>) -> Result<Self, NameError> {
        let text = text.as_ref();
        if text.len() > Self::BYTES_MAX {
            return Err(NameError::TooLong { bytes: text.len(), bytes_max: Self::BYTES_MAX });
        }
        let fits = |b: u8| {
            b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'~' | b':' | b'@' | b'-' | b'/')
        };
        if let Some(at) = text.bytes().position(|b| !fits(b)) {
            return Err(NameError::Character { at });
        }
        if text.split('/').any(str::is_empty) {
            return Err(NameError::Empty);
        }
        Ok(Self(text.into()))
    }

    /// The name's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Name {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        Self::new(text)
    }
}

impl TryFrom<&str> for Name {
    type Error = NameError;

    fn try_from(text: &str) -> Result<Self, NameError> {
        Self::new(text)
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0.as_ref().to_owned()
    }
}

// Lets a map that is keyed by `Name` be searched and ranged by plain text.
impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_ordinary_parts_is_a_name() {
        for text in ["till", "shop/till:1", "a@b.c/~x/-_"] {
            assert_eq!(Name::new(text).unwrap().as_str(), text);
        }
    }

    #[test]
    fn what_could_be_misread_is_refused() {
        assert_eq!(Name::new(""), Err(NameError::Empty));
        assert_eq!(Name::new("a//b"), Err(NameError::Empty));
        assert_eq!(Name::new("/a"), Err(NameError::Empty));
        assert_eq!(Name::new("a b"), Err(NameError::Character { at: 1 }));
        assert_eq!(Name::new("ä"), Err(NameError::Character { at: 0 }));
        assert!(matches!(Name::new("x".repeat(513)), Err(NameError::TooLong { .. })));
    }
}
