//! What can be wrong with a door, as it is said from outside, and what of it is refused.

use std::time::Duration;

use quorate_env::machine::CLOCK_RATE_PPM_MAX;
use quorate_mesh::Conditions;
use serde::{Deserialize, Serialize};

use crate::board::{LASTS_MAX, PRESENT_MAX};

/// All connections, also those that were accepted.
const EVERYBODY: &str = "*";

const PEER_BYTES_MAX: usize = 256;
const DELAY_MS_MAX: u64 = 60_000;
const LOSS_MAX: f64 = 0.9;
/// A hundred years, about.
const WALL_JUMP_MS_MAX: i64 = 100 * 365 * 86_400_000;

/// One thing that is wrong. `peer` is an address as it is dialled, and stands for the connections that were
/// dialled to it from here; `*` stands for all, accepted ones too.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Fault {
    /// Nothing gets through, and nobody is told. What is sent is held, as by a cable that is cut: it goes on
    /// after the heal.
    Silence {
        /// Whom to.
        peer: String,
        /// What of it.
        #[serde(default)]
        way: Way,
    },
    /// One way, or both, is late, unsteady, lossy or slow; see [`Conditions`].
    Weather {
        /// On whose connections.
        peer: String,
        /// Which way; what is received, if it is not said.
        #[serde(default = "Way::inward")]
        way: Way,
        /// How long every byte takes.
        #[serde(default)]
        delay_ms: u64,
        /// How much longer it may take.
        #[serde(default)]
        jitter_ms: u64,
        /// Which share of the segments is lost.
        #[serde(default)]
        loss: f64,
        /// How many bytes come through in a second; as many as there are, if it is not said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        bytes_per_second: Option<u64>,
    },
    /// No sync ends.
    DiskStall {},
    /// Every sync takes longer.
    DiskSlow {
        /// By this much.
        takes_ms: u64,
    },
    /// Files can grow no more.
    DiskFull {
        /// After this many bytes.
        #[serde(default)]
        room: u64,
    },
    /// The clock that leases go by runs fast, or slow.
    ClockRate {
        /// By so many millionths; below zero it is slow.
        ppm: i32,
    },
    /// The wall clock is wrong.
    WallJump {
        /// By so much; below zero it is behind.
        ms: i64,
    },
}

/// Which way is meant: what this node sends, what it receives, or both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// What comes from the peer.
    In,
    /// What goes to it.
    Out,
    /// All of it.
    #[default]
    Both,
}

/// Why a fault was not injected. Nothing is other than before.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// It would last for too long, or for no time. May be asked for again with another span.
    #[error("a fault may last 1 ms to {} s, not {} ms", LASTS_MAX.as_secs(), .asked.as_millis())]
    Lasts {
        /// How long it was to last.
        asked: Duration,
    },
    /// Enough is wrong already. May be asked for again once some of it is healed.
    #[error("{PRESENT_MAX} faults are present, and no more may be; heal some of them first")]
    Full,
    /// It cannot be as it was said. May be said otherwise.
    #[error("`{field}` {wants}")]
    Field {
        /// Which part of it.
        field: &'static str,
        /// What that may be.
        wants: String,
    },
}

impl Way {
    fn inward() -> Self {
        Self::In
    }
}

impl Fault {
    /// The names of all faults, as they are said.
    pub const NAMES: [&str; 7] =
        ["silence", "weather", "disk-stall", "disk-slow", "disk-full", "clock-rate", "wall-jump"];

    /// What else is said of a fault of this name; nothing, if there is none.
    pub fn fields(name: &str) -> Option<&'static [&'static str]> {
        Some(match name {
            "silence" => &["peer", "way"],
            "weather" => &["peer", "way", "delay_ms", "jitter_ms", "loss", "bytes_per_second"],
            "disk-stall" => &[],
            "disk-slow" => &["takes_ms"],
            "disk-full" => &["room"],
            "clock-rate" => &["ppm"],
            "wall-jump" => &["ms"],
            _ => return None,
        })
    }

    /// What is wrong with it, if anything is.
    pub(crate) fn check(&self) -> Result<(), Refused> {
        let within = |field, holds: bool, wants: &dyn Fn() -> String| match holds {
            true => Ok(()),
            false => Err(Refused::Field { field, wants: wants() }),
        };
        let peer = |peer: &str| {
            within("peer", (1..=PEER_BYTES_MAX).contains(&peer.len()), &|| {
                format!("is an address as it is dialled, {PEER_BYTES_MAX} bytes at most, or `*`")
            })
        };
        match self {
            Self::Silence { peer: of, .. } => peer(of),
            Self::Weather { peer: of, delay_ms, jitter_ms, loss, bytes_per_second, .. } => {
                peer(of)?;
                let most = || format!("may be 0 to {DELAY_MS_MAX}");
                within("delay_ms", *delay_ms <= DELAY_MS_MAX, &most)?;
                within("jitter_ms", *jitter_ms <= DELAY_MS_MAX, &most)?;
                within("loss", (0.0..=LOSS_MAX).contains(loss), &|| {
                    format!("may be 0 to {LOSS_MAX}")
                })?;
                within("bytes_per_second", *bytes_per_second != Some(0), &|| {
                    "is 1 or more; where nothing is to come through, there is silence".to_owned()
                })
            }
            Self::DiskStall {} | Self::DiskFull { .. } => Ok(()),
            Self::DiskSlow { takes_ms } => {
                within("takes_ms", (1..=DELAY_MS_MAX).contains(takes_ms), &|| {
                    format!("may be 1 to {DELAY_MS_MAX}; a disk that takes longer stalls")
                })
            }
            Self::ClockRate { ppm } => {
                let most = CLOCK_RATE_PPM_MAX;
                within("ppm", (-most..=most).contains(ppm), &|| format!("may be -{most} to {most}"))
            }
            Self::WallJump { ms } => {
                let most = WALL_JUMP_MS_MAX;
                within("ms", (-most..=most).contains(ms), &|| format!("may be -{most} to {most}"))
            }
        }
    }

    /// Whether it silences one way of a connection, which was dialled to `peer` or accepted.
    pub(crate) fn silences(&self, peer: Option<&str>, asked: Way) -> bool {
        let Self::Silence { peer: silent, way } = self else { return false };
        let is_meant = silent == EVERYBODY || peer == Some(silent);
        is_meant && (*way == asked || *way == Way::Both || asked == Way::Both)
    }

    /// How much longer a sync takes.
    pub(crate) fn sync_takes(&self) -> Option<Duration> {
        let Self::DiskSlow { takes_ms } = self else { return None };
        Some(Duration::from_millis(*takes_ms))
    }

    /// How many bytes there is room for.
    pub(crate) fn room(&self) -> Option<u64> {
        let Self::DiskFull { room } = self else { return None };
        Some(*room)
    }

    /// By how many millionths the clock is too fast.
    pub(crate) fn clock_rate(&self) -> Option<i32> {
        let Self::ClockRate { ppm } = self else { return None };
        Some(*ppm)
    }

    /// By how many nanoseconds the wall clock is ahead.
    pub(crate) fn wall_skew(&self) -> Option<i64> {
        let Self::WallJump { ms } = self else { return None };
        Some(ms.saturating_mul(1_000_000))
    }

    /// Where there is weather one way, and which.
    pub(crate) fn weather(&self, asked: Way) -> Option<(Where<'_>, Conditions)> {
        let Self::Weather { peer, way, delay_ms, jitter_ms, loss, bytes_per_second } = self else {
            return None;
        };
        if *way != asked && *way != Way::Both {
            return None;
        }
        let conditions = Conditions {
            delay: Duration::from_millis(*delay_ms),
            jitter: Duration::from_millis(*jitter_ms),
            loss: *loss,
            bytes_per_second: *bytes_per_second,
        };
        let at = if peer == EVERYBODY { Where::Everywhere } else { Where::At(peer) };
        Some((at, conditions))
    }
}

/// Where there is weather.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Where<'a> {
    Everywhere,
    At(&'a str),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_that_cannot_be_as_it_is_said_is_refused_with_what_it_may_be() {
        let weather = |delay_ms, loss, bytes_per_second| Fault::Weather {
            peer: "a:1".into(),
            way: Way::In,
            delay_ms,
            jitter_ms: 0,
            loss,
            bytes_per_second,
        };
        for (fault, field) in [
            (Fault::Silence { peer: String::new(), way: Way::In }, "peer"),
            (Fault::Silence { peer: "x".repeat(257), way: Way::In }, "peer"),
            (weather(60_001, 0.0, None), "delay_ms"),
            (weather(0, 0.91, None), "loss"),
            (weather(0, -0.1, None), "loss"),
            (weather(0, f64::NAN, None), "loss"),
            (weather(0, 0.0, Some(0)), "bytes_per_second"),
            (Fault::DiskSlow { takes_ms: 0 }, "takes_ms"),
            (Fault::ClockRate { ppm: 300_001 }, "ppm"),
            (Fault::ClockRate { ppm: i32::MIN }, "ppm"),
            (Fault::WallJump { ms: i64::MIN }, "ms"),
        ] {
            let refused = fault.check().unwrap_err();
            assert!(
                matches!(refused, Refused::Field { field: of, .. } if of == field),
                "{fault:?}"
            );
        }
        for fault in [weather(60_000, 0.9, Some(1)), Fault::ClockRate { ppm: -300_000 }] {
            fault.check().unwrap();
        }
    }

    #[test]
    fn a_silence_is_of_its_peer_and_its_way_and_a_star_means_everybody() {
        let to_b = Fault::Silence { peer: "b:1".into(), way: Way::Out };
        assert!(to_b.silences(Some("b:1"), Way::Out) && to_b.silences(Some("b:1"), Way::Both));
        assert!(!to_b.silences(Some("b:1"), Way::In));
        assert!(!to_b.silences(Some("c:1"), Way::Out) && !to_b.silences(None, Way::Out));
        let all = Fault::Silence { peer: "*".into(), way: Way::Both };
        assert!(all.silences(Some("b:1"), Way::In) && all.silences(None, Way::Out));
    }
}
