//! Whether a peer is heard: suspicion that grows with silence. A core; time is a parameter.
//!
//! Any byte is life. What is judged is the silence since the last one, against the silence that this peer
//! may be allowed: the mean of its longest recent gaps and four of their standard deviations, at least
//! twice that mean, and at least the floor. A peer with jitter is so given more time, and no other peer is.
//! After one allowance it is a suspect, after three it is silent, and that is never later than the ceiling.
//!
//! ```text
//!   last byte ├───────────────┼───────────────┼───────────────┤
//!             0    up         1    suspect    2               3  silent       × allowance
//! ```
//!
//! Whoever was asleep has no right to call others silent. A look that comes later than it was asked for does
//! not count as silence of the peer: it is pardoned, and what has come meanwhile may be read first. It also
//! lowers this node's own health, which makes it slower to suspect for a while. Pardons are few for one
//! silence, so an observer that is always late does notice in the end.
//!
//! Not here: who is dead. Silence is what one node sees; only the registry's lease ends a session.

use std::collections::VecDeque;
use std::time::Duration;

use quorate_vocab::Time;

/// After so many allowances a suspect is silent.
const SILENT_AFTER: u32 = 3;

/// How many gaps are remembered: each is the longest of one span of a floor's length, so they reach back
/// about a minute whether the peer sends once or a million times in it.
const GAPS_MAX: usize = 64;

/// How many late looks are pardoned in one silence.
const PARDONS_MAX: u32 = 8;

/// The least silence that makes a suspect, and the most that is waited for until a peer is silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    floor: Duration,
    ceiling: Duration,
}

/// Why a patience is none. Nothing was begun; change the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a floor of {floor:?} and a ceiling of {ceiling:?} do not fit: the floor is at least 1 ms, the ceiling \
     at least three times the floor and at most an hour"
)]
pub struct PatienceError {
    /// The floor that was asked for.
    pub floor: Duration,
    /// The ceiling that was asked for.
    pub ceiling: Duration,
}

impl Patience {
    /// The longest ceiling.
    pub const CEILING_MAX: Duration = Duration::from_secs(3600);

    /// A floor and a ceiling. A peer that has nothing to say should send a heartbeat at least twice in the
    /// floor, or it will be suspected for having nothing to say.
    pub fn new(floor: Duration, ceiling: Duration) -> Result<Self, PatienceError> {
        let fits = floor >= Duration::from_millis(1)
            && ceiling <= Self::CEILING_MAX
            && floor.saturating_mul(SILENT_AFTER) <= ceiling;
        if fits { Ok(Self { floor, ceiling }) } else { Err(PatienceError { floor, ceiling }) }
    }

    /// The least silence that makes a suspect.
    pub fn floor(self) -> Duration {
        self.floor
    }

    /// After this much silence a peer is silent, whatever it did before.
    pub fn ceiling(self) -> Duration {
        self.ceiling
    }

    /// The most silence that is allowed before suspicion, so that three of it fit under the ceiling.
    fn allowance_max(self) -> Duration {
        self.ceiling / SILENT_AFTER
    }

    /// How late a look may be and still be called punctual.
    fn slack(self) -> Duration {
        self.floor / 10
    }

    /// How long a late observer reads before it looks again.
    fn grace(self) -> Duration {
        self.floor / 4
    }
}

impl Default for Patience {
    /// One second, thirty seconds.
    fn default() -> Self {
        Self { floor: Duration::from_secs(1), ceiling: Duration::from_secs(30) }
    }
}

/// What silence says so far. The order is that of growing silence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// It is heard as usual.
    Up,
    /// It has been quiet for longer than it usually is: ask others whether they hear it.
    Suspect,
    /// It has been quiet for so long that the link is of no use.
    Silent,
}

/// One peer's sign of life, as one link hears it.
#[derive(Clone, Debug)]
pub struct Pulse {
    patience: Patience,
    health: Health,
    /// When the last byte came.
    heard: Time,
    /// From when silence counts: later than `heard` by what was pardoned.
    since: Time,
    pardons: u32,
    verdict: Verdict,
    /// The longest gaps, oldest first.
    gaps: VecDeque<Duration>,
    /// The span whose longest gap is being found.
    span_began: Time,
    span_longest: Duration,
    /// What the gaps alone allow.
    usual: Duration,
    bytes: u64,
}

impl Pulse {
    /// Begins to listen; the peer was heard just now, as it has proved itself.
    pub fn new(patience: Patience, now: Time) -> Self {
        Self {
            patience,
            health: Health::default(),
            heard: now,
            since: now,
            pardons: 0,
            verdict: Verdict::Up,
            gaps: VecDeque::with_capacity(GAPS_MAX),
            span_began: now,
            span_longest: Duration::ZERO,
            usual: patience.floor,
            bytes: 0,
        }
    }

    /// The peer has a new connection. What lies between is no gap of its own, so it widens nothing.
    pub fn begin(&mut self, now: Time) {
        self.revive(now);
    }

    /// So many bytes came. One is as good as a million.
    pub fn heard(&mut self, now: Time, bytes: usize) {
        if bytes == 0 {
            return;
        }
        self.bytes = self.bytes.saturating_add(bytes as u64);
        let gap = self.watched(now).min(self.patience.ceiling);
        self.span_longest = self.span_longest.max(gap);
        if now.since(self.span_began) >= self.patience.floor {
            self.close_span(now);
        }
        self.revive(now);
    }

    /// This node itself was late by so much: its timer fired late, or it did not come to reading. What it did
    /// not watch is not held against the peer. [`verdict`](Self::verdict) says this for its own looks.
    pub fn late(&mut self, now: Time, by: Duration) {
        if by < self.patience.slack() {
            return;
        }
        self.health.suffer(now, by, self.patience.floor);
        if self.pardons < PARDONS_MAX {
            self.pardons += 1;
            let grace = self.patience.grace();
            self.since = (self.since + by.saturating_add(grace)).min(now.max(self.since));
        }
    }

    /// Looks at `now`. To be called when the [`deadline`](Self::deadline) has come; what is much later than
    /// that was slept through. Within one silence it only ever grows.
    pub fn verdict(&mut self, now: Time) -> Verdict {
        if let Some(due) = self.deadline() {
            self.late(now, now.since(due));
        }
        self.health.recover(now, self.patience.floor);
        let (silence, allowance) = (self.watched(now), self.allowance());
        let seen = match silence {
            _ if silence >= allowance * SILENT_AFTER => Verdict::Silent,
            _ if silence >= allowance => Verdict::Suspect,
            _ => Verdict::Up,
        };
        self.verdict = self.verdict.max(seen);
        self.verdict
    }

    /// When to look again; `None` once it is silent, as there is nothing more to find out.
    pub fn deadline(&self) -> Option<Time> {
        match self.verdict {
            Verdict::Up => Some(self.since + self.allowance()),
            Verdict::Suspect => Some(self.since + self.allowance() * SILENT_AFTER),
            Verdict::Silent => None,
        }
    }

    /// How much of what is allowed the silence has used up: a suspect from 1, silent from 3. For showing; a
    /// decision asks for the verdict.
    pub fn level(&self, now: Time) -> f64 {
        // The allowance is never zero, as the floor is not.
        self.watched(now).as_secs_f64() / self.allowance().as_secs_f64()
    }

    /// How much silence makes a suspect at present.
    pub fn allowance(&self) -> Duration {
        (self.usual * self.health.factor()).min(self.patience.allowance_max())
    }

    /// When the last byte came.
    pub fn last(&self) -> Time {
        self.heard
    }

    /// How many bytes have come in all.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// By how much this node's own lateness stretches what it allows: 1 when it is well, at most 8.
    pub fn local_health(&self) -> u32 {
        self.health.factor()
    }

    /// Checks what holds at all times.
    pub fn check(&self) {
        let patience = self.patience;
        assert!(self.heard <= self.since, "silence counts from before the last byte");
        assert!(self.pardons <= PARDONS_MAX, "{} late looks were pardoned", self.pardons);
        assert!(self.gaps.len() <= GAPS_MAX, "{} gaps are remembered", self.gaps.len());
        assert!(self.gaps.iter().all(|gap| *gap <= patience.ceiling), "a gap above the ceiling");
        let allowance = self.allowance();
        assert!(allowance >= patience.floor, "{allowance:?} are allowed, less than the floor");
        assert!(allowance * SILENT_AFTER <= patience.ceiling, "{allowance:?} are allowed");
    }

    /// The silence that this node was awake for.
    fn watched(&self, now: Time) -> Duration {
        now.since(self.since)
    }

    fn revive(&mut self, now: Time) {
        // A clock that seems to go back stands still.
        self.heard = self.heard.max(now);
        self.since = self.heard;
        self.pardons = 0;
        self.verdict = Verdict::Up;
        self.health.recover(now, self.patience.floor);
    }

    fn close_span(&mut self, now: Time) {
        if self.gaps.len() == GAPS_MAX {
            self.gaps.pop_front();
        }
        self.gaps.push_back(self.span_longest);
        (self.span_began, self.span_longest) = (now, Duration::ZERO);
        let usual = usual(&self.gaps);
        self.usual = usual.clamp(self.patience.floor, self.patience.allowance_max());
    }
}

/// The mean and four deviations, and at least twice the mean: a peer that is as regular as a clock may still
/// be late by one. In whole nanoseconds: with gaps of at most an hour and at most 64 of them, nothing here
/// overflows.
fn usual(gaps: &VecDeque<Duration>) -> Duration {
    let count = gaps.len().max(1) as u128;
    let mean = gaps.iter().map(Duration::as_nanos).sum::<u128>() / count;
    let squares = gaps.iter().map(|gap| gap.as_nanos().abs_diff(mean).pow(2)).sum::<u128>();
    let usual = mean + mean.max(4 * (squares / count).isqrt());
    Duration::from_nanos(u64::try_from(usual).unwrap_or(u64::MAX))
}

/// How far this node may trust its own sense of time: each lateness costs, and calm heals.
#[derive(Clone, Copy, Debug, Default)]
struct Health {
    ills: u32,
    since: Time,
}

impl Health {
    const ILLS_MAX: u32 = 7;
    /// How many floors without lateness heal one ill.
    const CALM_FLOORS: u32 = 5;

    fn factor(self) -> u32 {
        1 + self.ills
    }

    /// One ill for being late at all, and one more for each whole floor of it.
    fn suffer(&mut self, now: Time, by: Duration, floor: Duration) {
        let floors = u32::try_from(by.as_nanos() / floor.as_nanos()).unwrap_or(u32::MAX);
        self.ills = self.ills.saturating_add(floors.saturating_add(1)).min(Self::ILLS_MAX);
        self.since = self.since.max(now);
    }

    fn recover(&mut self, now: Time, floor: Duration) {
        let calm = floor * Self::CALM_FLOORS;
        while self.ills > 0 && now.since(self.since) >= calm {
            self.ills -= 1;
            self.since = self.since + calm;
        }
    }
}
