//! How a process ended. An exit is news, not an error.

use std::any::Any;
use std::fmt;

use serde::{Deserialize, Serialize};

/// How a process ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exit {
    /// It had done what it was for.
    Normal,
    /// It was asked to end, in good order.
    Shutdown,
    /// It was killed, or its runtime went away under it.
    Killed,
    /// It panicked, with these words.
    Panic(String),
    /// There was no such process: it had ended before, or never lived.
    NoProc,
    /// Its node cannot be reached, though it is believed alive; so nothing more is known of it.
    NoConnection,
    /// It ended for a reason of its own.
    Because(String),
    /// Its node is down.
    NodeDown,
}

impl Exit {
    /// An exit for a reason of the process's own.
    pub fn because(reason: impl Into<String>) -> Self {
        Self::Because(reason.into())
    }

    /// Whether it was in good order: [`Normal`](Self::Normal) or [`Shutdown`](Self::Shutdown).
    pub fn is_orderly(&self) -> bool {
        matches!(self, Self::Normal | Self::Shutdown)
    }

    /// The most bytes of a panic's words that are kept, since exits are copied to whoever asks.
    const PANIC_BYTES_MAX: usize = 1024;

    /// What a caught panic says: its words, as far as they are few.
    pub fn from_panic(words: &(dyn Any + Send)) -> Self {
        let words = words
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| words.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("without words");
        Self::Panic(words[..words.floor_char_boundary(Self::PANIC_BYTES_MAX)].to_owned())
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Normal => f.write_str("normal"),
            Self::Shutdown => f.write_str("shutdown"),
            Self::Killed => f.write_str("killed"),
            Self::Panic(words) => write!(f, "panic: {words}"),
            Self::NoProc => f.write_str("no such process"),
            Self::NoConnection => f.write_str("no connection"),
            Self::Because(reason) => f.write_str(reason),
            Self::NodeDown => f.write_str("node down"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_panic_is_cut_between_two_characters() {
        let words = "ä".repeat(Exit::PANIC_BYTES_MAX);
        let Exit::Panic(kept) = Exit::from_panic(&format!("x{words}")) else { panic!() };
        assert_eq!(kept.len(), Exit::PANIC_BYTES_MAX - 1);
        assert_eq!(Exit::from_panic(&7_u8), Exit::Panic("without words".into()));
    }
}
