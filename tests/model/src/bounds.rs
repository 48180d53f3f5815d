//! How far the model goes, and what is wrong with it on purpose.

use std::time::Duration;

use clap::{Args, ValueEnum};
use quorate_registry::Terms;

/// How far the model goes.
#[derive(Args, Clone, Debug)]
pub struct Bounds {
    /// How many nodes may run the singleton
    #[arg(long, default_value_t = 2)]
    pub holders: u8,
    /// How long a session may be silent, in units; a holder's clock makes three in a tick
    #[arg(long, default_value_t = 6)]
    pub ttl: u32,
    /// How long before that everything that runs under it begins to end, in units
    #[arg(long, default_value_t = 0)]
    pub budget: u32,
    /// How many elections there are after the first
    #[arg(long, default_value_t = 1)]
    pub elections: u8,
    /// How many crashes, of holders and of leaders together
    #[arg(long, default_value_t = 1)]
    pub crashes: u8,
    /// How many times a holder or a leader is stopped for some time
    #[arg(long, default_value_t = 1)]
    pub pauses: u8,
    /// How many times somebody asks for the singleton to move
    #[arg(long, default_value_t = 0)]
    pub moves: u8,
    /// How many commands a log takes, beside the first entry of each term
    #[arg(long, default_value_t = 2)]
    pub entries: u8,
    /// How many renews of one holder are under way at once; the oldest is lost for one more
    #[arg(long, default_value_t = 1)]
    pub asks: u8,
    /// Whether voters remember when they heard of whom; else each leader waits anew
    #[arg(long)]
    pub remember: bool,
    /// The rule that is left out
    #[arg(long)]
    pub mutant: Option<Mutant>,
}

/// One rule left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mutant {
    /// A holder counts from when the answer came.
    CountsFromReceipt,
    /// A leader answers a renew without asking a majority.
    NoRound,
    /// A round that had begun before a renew came counts for it.
    EarlyRound,
    /// The wait leaves no time to come to rest in.
    NoGuard,
    /// The wait takes all clocks for equally fast.
    NoDrift,
    /// An expiry counts in whatever term it is appended.
    UnboundExpiry,
    /// A new leader counts as if it had listened all the time.
    NoFreshStart,
    /// A leader answers a renew of a session whose end it has asked for.
    ForgetsCondemned,
    /// Whoever is to have the singleton next starts it at once.
    EarlyStart,
    /// A grant has the epoch of the one before.
    EpochReused,
    /// Nobody kills what is stopped past its deadline.
    NoFencer,
    /// A leader answers a renew though no majority has stored it.
    NotStored,
    /// A leader answers a renew that came before it counted.
    NotCounted,
    /// A voter goes on to store what an earlier leader heard after it answered a later one.
    ForgetsOffice,
    /// A voter that starts anew takes all for long silent.
    RemembersNothing,
}

impl Mutant {
    /// Whether a leader whom nobody follows can still do harm by it.
    pub(crate) fn is_of_leaders(self) -> bool {
        matches!(self, Self::NoRound | Self::EarlyRound | Self::UnboundExpiry | Self::ForgetsOffice)
    }
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            holders: 2,
            ttl: 6,
            budget: 0,
            elections: 1,
            crashes: 1,
            pauses: 1,
            moves: 0,
            entries: 2,
            asks: 1,
            remember: false,
            mutant: None,
        }
    }
}

/// The smallest distance between two moments. A grantor waits 80 ms at least, so that nothing here is
/// shorter than it would be.
const UNIT: Duration = Duration::from_millis(10);
/// What the slowest clock that is allowed shows in one tick.
pub(crate) const SLOW: Duration = Duration::from_millis(30);
/// What the fastest one shows.
pub(crate) const FAST: Duration = Duration::from_millis(50);
/// By how much those two differ from true.
const DRIFT: f64 = 0.25;
/// What the fencer needs at most to kill, and a little less than that is what it takes.
pub(crate) const GUARD: Duration = Duration::from_millis(30);

impl Bounds {
    pub(crate) fn is(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    pub(crate) fn ttl(&self) -> Duration {
        UNIT * self.ttl
    }

    pub(crate) fn budget(&self) -> Duration {
        UNIT * self.budget
    }

    pub(crate) fn terms(&self) -> Terms {
        let guard = if self.is(Mutant::NoGuard) { Duration::ZERO } else { GUARD };
        let drift = if self.is(Mutant::NoDrift) { 0.0 } else { DRIFT };
        Terms::new(guard, drift).expect("the terms of the model fit")
    }
}
