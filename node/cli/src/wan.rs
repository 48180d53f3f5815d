//! How far apart the nodes of a throw-away cluster are to be: `40ms`, `40ms,jitter=5ms,loss=1%,rate=100mbit`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use quorate::Conditions;

use crate::span;

/// The lease that goes with the presets for wide areas: a change of leader fits into it, and a lost round
/// trip.
pub(crate) const LEASE: Duration = Duration::from_secs(6);

/// Longer is not on this planet, and no election of the presets bears with it.
const ROUND_TRIP_MAX: Duration = Duration::from_millis(500);

/// Above this TCP itself hardly lives.
const LOSS_PERCENT_MAX: f64 = 20.0;

/// A wide area between any two nodes. Each of them makes half of it, of what it receives.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Wan {
    round_trip: Duration,
    jitter: Duration,
    loss_percent: f64,
    mbit: Option<u64>,
}

impl Wan {
    /// What one node does with what it receives.
    pub(crate) fn conditions(&self) -> Conditions {
        Conditions {
            jitter: self.jitter,
            loss: self.loss_percent / 100.0,
            bytes_per_second: self.mbit.map(|mbit| mbit * 1_000_000 / 8),
            ..Conditions::half_of(self.round_trip)
        }
    }

    /// What it is, and what of the settings follows from it, in one line.
    pub(crate) fn told(&self) -> String {
        format!(
            "{} between any two nodes; presets for that: elections 1–2 s, silence 8 s, lease {} s",
            self.to_string().replace(',', ", "),
            LEASE.as_secs()
        )
    }
}

impl FromStr for Wan {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(',');
        let round_trip = span::parse(parts.next().unwrap_or_default())?;
        if round_trip > ROUND_TRIP_MAX {
            return Err(format!("a round trip of {round_trip:?} is above {ROUND_TRIP_MAX:?}"));
        }
        let mut wan = Self { round_trip, jitter: Duration::ZERO, loss_percent: 0.0, mbit: None };
        for part in parts {
            match part.split_once('=') {
                Some(("jitter", jitter)) => wan.jitter = jitter_of(jitter)?,
                Some(("loss", loss)) => wan.loss_percent = percent(loss)?,
                Some(("rate", rate)) => wan.mbit = Some(mbit(rate)?),
                _ => return Err(format!("`{part}` is none of jitter=5ms, loss=1%, rate=100mbit")),
            }
        }
        Ok(wan)
    }
}

impl fmt::Display for Wan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}ms", self.round_trip.as_millis())?;
        if !self.jitter.is_zero() {
            write!(f, ",jitter={}ms", self.jitter.as_millis())?;
        }
        if self.loss_percent > 0.0 {
            write!(f, ",loss={}%", self.loss_percent)?;
        }
        self.mbit.map_or(Ok(()), |mbit| write!(f, ",rate={mbit}mbit"))
    }
}

fn jitter_of(text: &str) -> Result<Duration, String> {
    match span::parse(text)? {
        jitter if jitter <= ROUND_TRIP_MAX => Ok(jitter),
        jitter => Err(format!("a jitter of {jitter:?} is above {ROUND_TRIP_MAX:?}")),
    }
}

fn percent(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').and_then(|number| number.parse::<f64>().ok());
    number.filter(|percent| (0.0..=LOSS_PERCENT_MAX).contains(percent)).ok_or_else(|| {
        format!(
            "`{text}` is no share of lost segments: write 0% to {LOSS_PERCENT_MAX}%, such as 0.5%"
        )
    })
}

fn mbit(text: &str) -> Result<u64, String> {
    let number = text.strip_suffix("mbit").and_then(|number| number.parse::<u64>().ok());
    let fits = number.filter(|mbit| (1..=100_000).contains(mbit));
    fits.ok_or_else(|| format!("`{text}` is no rate: write 1mbit to 100000mbit"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wide_area_is_written_as_it_is_read() {
        for text in
            ["40ms", "300ms,jitter=5ms", "40ms,loss=0.5%", "40ms,jitter=1ms,loss=1%,rate=100mbit"]
        {
            assert_eq!(text.parse::<Wan>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn each_node_makes_half_of_a_round_trip() {
        let conditions = "40ms,loss=1%,rate=8mbit".parse::<Wan>().unwrap().conditions();
        assert_eq!(conditions.delay, Duration::from_millis(20));
        assert_eq!((conditions.loss, conditions.bytes_per_second), (0.01, Some(1_000_000)));
    }

    #[test]
    fn what_is_no_wide_area_is_refused_with_what_would_be() {
        for (text, hint) in [
            ("", "no span"),
            ("40", "write 300ms"),
            ("2s", "above 500ms"),
            ("40ms,loss=1", "such as 0.5%"),
            ("40ms,loss=NaN%", "such as 0.5%"),
            ("40ms,loss=50%", "0% to 20%"),
            ("40ms,rate=fast", "1mbit"),
            ("40ms,rate=0mbit", "1mbit"),
            ("40ms,jitter=1m", "above 500ms"),
            ("40ms,colour=red", "none of jitter=5ms"),
        ] {
            let refused = text.parse::<Wan>().unwrap_err();
            assert!(refused.contains(hint), "{text}: {refused}");
        }
    }
}
