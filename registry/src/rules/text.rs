//! Rules as people write and read them: `role:edge`, `label:zone=b`, `deny`, `high`, `10MiB/s burst 1MiB`.
//!
//! The faces share these words, whatever they are wrapped in. What is printed here reads back as the same.

use std::fmt;
use std::str::FromStr;

use quorate_vocab::{Lane, NodeName};

use super::{Lanes, NodeRole, Rate, Rule, Selector, Stance};

/// A text that is no part of a rule. It says what could stand there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no {what}: {may_be}")]
pub struct TextError {
    what: &'static str,
    text: String,
    may_be: &'static str,
}

/// The units of bytes, the largest of each kind first.
const UNITS: [(&str, u64); 7] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

fn wrong(what: &'static str, text: &str, may_be: &'static str) -> TextError {
    // Of a text that is far too long, its beginning tells enough.
    TextError { what, text: text.chars().take(80).collect(), may_be }
}

impl NodeRole {
    /// All roles.
    pub const ALL: [Self; 3] = [Self::Voter, Self::Member, Self::Edge];

    /// What it is called.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Voter => "voter",
            Self::Member => "member",
            Self::Edge => "edge",
        }
    }
}

impl FromStr for NodeRole {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        let found = Self::ALL.into_iter().find(|role| role.as_str() == text);
        found.ok_or_else(|| wrong("role of a node", text, "voter, member or edge"))
    }
}

impl FromStr for Selector {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        let unknown = || wrong("selector", text, "any, role:R, label:K=V, group:G or node:NAME");
        let selector = match text.split_once(':') {
            None if text == "any" => Self::Any,
            None => return Err(unknown()),
            Some(("role", role)) => Self::Role(role.parse()?),
            Some(("label", label)) => {
                let (key, value) = label.split_once('=').ok_or_else(unknown)?;
                Self::Label { key: key.to_owned(), value: value.to_owned() }
            }
            Some(("group", group)) => Self::Group(group.to_owned()),
            Some(("node", name)) => {
                let name = NodeName::try_from(name);
                Self::Node(
                    name.map_err(|_| wrong("name of a node", text, "1 to 64 of A-Za-z0-9._-"))?,
                )
            }
            Some(_) => return Err(unknown()),
        };
        match selector.check() {
            Ok(()) => Ok(selector),
            Err(why) => Err(wrong("selector", text, why)),
        }
    }
}

impl FromStr for Stance {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        match text {
            "allow" => Ok(Self::Allow),
            "deny" => Ok(Self::Deny),
            _ => Err(wrong("verdict", text, "allow or deny")),
        }
    }
}

impl Lanes {
    /// The lane of a name.
    pub fn named(text: &str) -> Result<Lane, TextError> {
        let found = Lane::ALL.into_iter().find(|lane| lane.as_str() == text);
        found.ok_or_else(|| wrong("lane", text, "high, normal or bulk"))
    }
}

impl FromStr for Rate {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        let no_rate =
            || wrong("rate", text, "such as 10MiB/s or 500kB/s burst 1MiB, in whole numbers");
        let (rate, burst) = match text.split_once(" burst ") {
            Some((rate, burst)) => (rate, Some(burst)),
            None => (text, None),
        };
        let bytes = rate.trim().strip_suffix("/s").and_then(bytes).ok_or_else(no_rate)?;
        let mut rate = Self::new(bytes);
        if let Some(burst) = burst {
            rate.burst_bytes = self::bytes(burst.trim()).ok_or_else(no_rate)?;
        }
        match rate.can_be() {
            true => Ok(rate),
            false => Err(wrong(
                "rate",
                text,
                "1B/s to 1048576GiB/s, with a burst of 128KiB or more; to stop a lane, deny it",
            )),
        }
    }
}

/// Understands `10MiB`.
fn bytes(text: &str) -> Option<u64> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let (_, size) = UNITS.iter().find(|(name, _)| *name == unit.trim_start())?;
    number.parse::<u64>().ok()?.checked_mul(*size)
}

/// Bytes in the largest unit that says them exactly.
fn shown(bytes: u64) -> String {
    let fits = |(_, size): &&(&str, u64)| bytes > 0 && bytes.is_multiple_of(*size);
    let (unit, size) = UNITS.iter().find(fits).unwrap_or(&("B", 1));
    format!("{}{unit}", bytes / size)
}

impl fmt::Display for NodeRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any"),
            Self::Role(role) => write!(f, "role:{role}"),
            Self::Label { key, value } => write!(f, "label:{key}={value}"),
            Self::Group(group) => write!(f, "group:{group}"),
            Self::Node(name) => write!(f, "node:{name}"),
        }
    }
}

impl fmt::Display for Stance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/s", shown(self.bytes_per_second))?;
        match *self == Self::new(self.bytes_per_second) {
            true => Ok(()),
            false => write!(f, " burst {}", shown(self.burst_bytes)),
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} -> {}", self.stance, self.from, self.to)?;
        if self.lanes != Lanes::ALL {
            let lanes: Vec<_> = self.lanes.iter().map(Lane::as_str).collect();
            write!(f, " on {}", lanes.join(","))?;
        }
        let rates = Lane::ALL.iter().filter_map(|lane| Some((lane, self.rates[lane.index()]?)));
        for (at, (lane, rate)) in rates.enumerate() {
            write!(f, "{} {lane} at {rate}", if at == 0 { ";" } else { "," })?;
        }
        Ok(())
    }
}
