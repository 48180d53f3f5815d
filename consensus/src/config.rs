//! What a group can be told. Times are checked against each other once, when the group opens.

use std::sync::Arc;
use std::time::Duration;

use crate::error::GroupError;

/// A leader must find room for any one proposal.
const PROPOSALS_BYTES_MIN: usize = 256 << 10;

/// Settings of one group; all voters should have the same.
#[derive(Clone, Debug)]
pub struct GroupConfig {
    /// How often a leader makes itself heard.
    pub heartbeat: Duration,
    /// The shortest silence after which a follower stands for election.
    pub election_min: Duration,
    /// The longest such silence; at least a third more than the shortest, so that two seldom stand at once.
    pub election_max: Duration,
    /// How many entries are applied between two snapshots, at least: with more names than that, as many as
    /// there are names.
    pub snapshot_every: u64,
    /// How many entries that a snapshot covers are kept for followers that lag.
    pub log_kept: u64,
    /// How many entries are applied between two visits to the shelf. A restart replays at most about as many.
    pub shelve_every: u64,
    /// How many changes are kept for watchers that resume.
    pub changes_kept: usize,
    /// What all proposals that are not answered yet may weigh together; beyond that they are refused at once.
    /// At least 256 KiB, so that the heaviest finds room.
    pub proposals_bytes: usize,
    /// The deliberate bug of leaving openraft's leader restore on; the simulation must catch it.
    #[cfg(feature = "mutants")]
    pub leader_restore: bool,
    /// The deliberate bug of a follower that believes to be as young as the last append of its leader.
    #[cfg(feature = "mutants")]
    pub young_by_append: bool,
}

impl GroupConfig {
    /// For voters on one machine or in one building.
    pub fn lan() -> Self {
        Self {
            heartbeat: Duration::from_millis(50),
            election_min: Duration::from_millis(200),
            election_max: Duration::from_millis(400),
            snapshot_every: 20_000,
            log_kept: 10_000,
            shelve_every: 16_384,
            changes_kept: 65_536,
            proposals_bytes: 64 << 20,
            #[cfg(feature = "mutants")]
            leader_restore: false,
            #[cfg(feature = "mutants")]
            young_by_append: false,
        }
    }

    /// For voters on different continents: an election bears with round trips of half a second, and a leader
    /// that fails is missed for as much longer.
    pub fn wan() -> Self {
        Self {
            heartbeat: Duration::from_millis(250),
            election_min: Duration::from_millis(1000),
            election_max: Duration::from_millis(2000),
            ..Self::lan()
        }
    }

    pub(crate) fn checked(&self) -> Result<Arc<openraft::Config>, GroupError> {
        let refused = |why: &str| Err(GroupError::Config(why.to_owned()));
        if self.heartbeat * 3 > self.election_min {
            return refused("election_min must be at least three heartbeats");
        }
        if self.election_min * 4 > self.election_max * 3 {
            return refused("election_max must be at least a third more than election_min");
        }
        if self.snapshot_every == 0 || self.shelve_every == 0 || self.changes_kept == 0 {
            return refused("snapshot_every, shelve_every and changes_kept must be above zero");
        }
        if self.proposals_bytes < PROPOSALS_BYTES_MIN {
            return refused("proposals_bytes must be 256 KiB at least");
        }
        let millis = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        let config = openraft::Config {
            cluster_name: "quorate".to_owned(),
            heartbeat_interval: millis(self.heartbeat),
            election_timeout_min: millis(self.election_min),
            election_timeout_max: millis(self.election_max),
            // `group.rs` asks for snapshots: when one is due depends on how large the state is.
            snapshot_policy: openraft::SnapshotPolicy::Never,
            max_in_snapshot_log_to_keep: self.log_kept,
            // A follower is served from the log for as long as the log reaches back to it.
            replication_lag_threshold: u64::MAX / 2,
            max_payload_entries: 4_096,
            // A follower that was cut off must not depose a healthy leader when it returns.
            enable_pre_vote: Some(true),
            // Without it a leader that one bridge node still hears leads a cluster that stands still.
            quorum_loss_probe_interval: Some(millis(self.election_max) * 2),
            // A restarted leader that resumes without an election may serve a state rebuilt from an older
            // `committed`: stale reads.
            enable_leader_restore: Some(self.restores_leader()),
            ..Default::default()
        };
        config.validate().map(Arc::new).map_err(|e| GroupError::Config(e.to_string()))
    }

    #[cfg(feature = "mutants")]
    fn restores_leader(&self) -> bool {
        self.leader_restore
    }

    #[cfg(not(feature = "mutants"))]
    fn restores_leader(&self) -> bool {
        false
    }
}
