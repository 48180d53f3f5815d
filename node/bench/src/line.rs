//! Lines of the table: one kind of figure each.

/// One kind of figure: what it is, what it counts, and what must be reached.
#[derive(Clone, Copy, Debug)]
pub struct Line {
    /// The word that names it in data.
    pub key: &'static str,
    /// What it is, for people.
    pub title: &'static str,
    /// What it counts.
    pub unit: Unit,
    /// What must be reached.
    pub goal: Option<f64>,
}

/// What a figure counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Done in a second; more is better.
    PerSecond,
    /// GiB moved in a second; more is better.
    GibPerSecond,
    /// Bytes of memory; less is better.
    Bytes,
    /// Bytes spent in a second; less is better.
    BytesPerSecond,
    /// Milliseconds; less is better.
    Milliseconds,
    /// Microseconds; less is better.
    Microseconds,
    /// Events that should not be; less is better.
    Events,
}

impl Unit {
    /// How it is written in data.
    pub fn symbol(self) -> &'static str {
        match self {
            Self::PerSecond => "1/s",
            Self::GibPerSecond => "GiB/s",
            Self::Bytes => "B",
            Self::BytesPerSecond => "B/s",
            Self::Milliseconds => "ms",
            Self::Microseconds => "us",
            Self::Events => "1",
        }
    }

    /// Whether more of it is better.
    pub fn more_is_better(self) -> bool {
        matches!(self, Self::PerSecond | Self::GibPerSecond)
    }

    /// How a figure of about this size is shown to people: its mark, what it is divided by, its decimals.
    pub(crate) fn scale(self, figure: f64) -> (&'static str, f64, usize) {
        match self {
            Self::PerSecond if figure >= 1e6 => ("M/s", 1e6, 2),
            Self::PerSecond if figure >= 1e3 => ("k/s", 1e3, 1),
            Self::PerSecond => ("/s", 1.0, 0),
            Self::GibPerSecond => ("GiB/s", 1.0, 2),
            Self::Bytes => ("B", 1.0, 0),
            Self::BytesPerSecond => ("B/s", 1.0, 0),
            Self::Milliseconds if figure < 1.0 => ("ms", 1.0, 3),
            Self::Milliseconds if figure < 10.0 => ("ms", 1.0, 2),
            Self::Milliseconds => ("ms", 1.0, 1),
            Self::Microseconds => ("us", 1.0, 1),
            Self::Events => ("", 1.0, 0),
        }
    }
}
