//! Cookies: the secrets that nodes prove to each other to know. They are never shown and never sent.
//!
//! Two may be valid at once, so that a secret can be exchanged while the cluster runs: first every node, one
//! after the other, gets the new one before the old one, then every node loses the old one. At each moment
//! any two nodes have one in common, and no link has to break.

use std::fmt;
use std::sync::{Arc, Mutex};

use crate::MeshError;

/// A secret that nodes share.
#[derive(Clone, PartialEq, Eq)]
pub struct Cookie(Arc<[u8]>);

impl Cookie {
    /// The shortest secret that is accepted.
    pub const BYTES_MIN: usize = 16;
    /// The longest.
    pub const BYTES_MAX: usize = 1024;

    /// Takes a secret. Draw it at random: what is short or guessed protects nothing.
    pub fn new(secret: impl AsRef<[u8]>) -> Result<Self, MeshError> {
        let secret = secret.as_ref();
        if !(Self::BYTES_MIN..=Self::BYTES_MAX).contains(&secret.len()) {
            return Err(MeshError::Config(format!(
                "a cookie has {} to {} bytes, this one has {}",
                Self::BYTES_MIN,
                Self::BYTES_MAX,
                secret.len()
            )));
        }
        Ok(Self(secret.into()))
    }

    pub(crate) fn secret(&self) -> &[u8] {
        &self.0
    }
}

/// The cookies that are valid: none (then certificates have to do), one, or two while one is exchanged for
/// the other. Clones are the same set, so what is [rotated](Self::rotate) in one holds for a running mesh.
#[derive(Clone, Debug)]
pub struct Cookies(Arc<Mutex<Vec<Cookie>>>);

impl Cookies {
    /// How many are valid at most.
    pub const VALID_MAX: usize = 2;

    /// None: whoever has a certificate is let in, and nobody without TLS.
    pub fn none() -> Self {
        Self(Arc::default())
    }

    /// The newest, and the one before it where that is still valid.
    pub fn new(newest: Cookie, older: Option<Cookie>) -> Self {
        let cookies = Self::none();
        cookies.rotate(newest, older);
        cookies
    }

    /// What is valid from now on, for every handshake that begins later. Links that are up stay up.
    pub fn rotate(&self, newest: Cookie, older: Option<Cookie>) {
        let valid = std::iter::once(newest).chain(older).collect();
        *self.0.lock().expect("nothing panics while it holds cookies") = valid;
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.valid().is_empty()
    }

    /// The valid ones, newest first.
    pub(crate) fn valid(&self) -> Vec<Cookie> {
        self.0.lock().expect("nothing panics while it holds cookies").clone()
    }
}

impl From<Cookie> for Cookies {
    fn from(only: Cookie) -> Self {
        Self::new(only, None)
    }
}

impl fmt::Debug for Cookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cookie(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_long_enough_and_never_shown() {
        let secret = "a canary that must not be shown";
        let cookie = Cookie::new(secret).unwrap();
        let cookies = Cookies::new(cookie.clone(), Some(cookie.clone()));
        assert!(!format!("{cookie:?} {cookies:?}").contains("canary"));
        assert!(Cookie::new("short").is_err());
        assert!(Cookie::new("x".repeat(1025)).is_err());
    }

    #[test]
    fn what_is_rotated_in_one_clone_is_rotated_in_all() {
        let cookie = |text: &str| Cookie::new(text.repeat(16)).unwrap();
        let cookies = Cookies::from(cookie("a"));
        let clone = cookies.clone();
        cookies.rotate(cookie("b"), Some(cookie("a")));
        assert_eq!(clone.valid(), [cookie("b"), cookie("a")]);
        cookies.rotate(cookie("b"), None);
        assert_eq!(clone.valid(), [cookie("b")]);
        assert!(Cookies::none().is_empty() && !clone.is_empty());
    }
}
