//! What a node is told at its start.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use quorate_consensus::GroupConfig;
use quorate_discovery::Spec;
use quorate_mesh::{Channel, Cookies, Limits, TlsFiles};
use quorate_registry::{Level, RoleError, check_labels};
use quorate_storage::LogConfig;
use quorate_vocab::NodeName;

use crate::seeds;
use crate::sentinel::FencerConfig;

/// How a node is to run. Begin with [`Config::new`] and change what differs.
#[derive(Clone, Debug)]
pub struct Config {
    /// What people call the node; unique in the cluster.
    pub name: NodeName,
    /// Where its mesh accepts connections; port 0 lets the system choose.
    pub listen: String,
    /// Where others shall dial it, when that is not where it listens.
    pub advertise: Option<String>,
    /// Its data directory.
    pub data: PathBuf,
    /// Where to look for others at the start: addresses, and sources that name addresses (`dns+srv://…`).
    pub join: Vec<String>,
    /// Begin a new cluster once this many nodes see each other; 0 only ever joins one.
    pub expect: usize,
    /// How many voters the cluster keeps; odd. Further nodes follow without a vote.
    pub voters: usize,
    /// How long a voter may be without a session before a member takes its place.
    pub replace_after: Duration,
    /// What placement and topology rules know of this node: `role=edge` and `group=a,b` have a meaning, all
    /// others are the user's own.
    pub labels: BTreeMap<String, String>,
    /// The newest feature level that this node tells the others it understands. The cluster agrees on one
    /// that all understand, for good: a lower one here keeps the way back to an older release open.
    pub level: Level,
    /// How long this node may be silent before the cluster takes it for dead.
    pub lease: Duration,
    /// The secrets that all nodes share; may be none where there is `tls`.
    pub cookies: Cookies,
    /// Its certificate. With one, every connection between nodes has to be secured by TLS.
    pub tls: Option<TlsFiles>,
    /// Whether connections may be plain without its listening on loopback.
    pub insecure: bool,
    /// How what it sends to other nodes is paced (`bbr`, `cubic`), when that is not left to the kernel.
    pub congestion: Option<String>,
    /// A second process that ends this one when its lease is over and it cannot end what runs by itself,
    /// since it is stopped, for one. None by default: what a stopped process does when it goes on is then
    /// found out by it alone, a moment later.
    pub fencer: Option<FencerConfig>,
    /// How long a segment of the journal is, whose room is taken at once: a few are held at a time.
    pub segment_bytes: u64,
    /// Raft's settings.
    pub group: GroupConfig,
    /// The mesh's bounds.
    pub limits: Limits,
    /// Acknowledge before the sync: a deliberate bug that the simulation must catch.
    #[cfg(feature = "mutants")]
    pub ack_before_sync: bool,
    /// Another such bug.
    #[cfg(feature = "mutants")]
    pub bug: Option<crate::bugs::Bug>,
}

/// Why a config cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A way to look for others is not understood.
    #[error("join: {0}")]
    Join(String),
    /// Voters are counted in odd numbers: an even one more only makes a majority harder.
    #[error("voters is {0}; it must be 1, 3, 5 or 7")]
    Voters(usize),
    /// The lease leaves no room for an election.
    #[error(
        "lease is {lease:?}, but a change of leader may take {failover:?} (election_max twice and a \
         heartbeat) and to end what runs takes {budget:?} (3/20 of the lease), together {:?}: every node \
         would lose its session with its leader",
        *failover + *budget
    )]
    Lease {
        /// What was asked.
        lease: Duration,
        /// What a change of leader may take.
        failover: Duration,
        /// What is kept for ending what runs.
        budget: Duration,
    },
    /// A label that the cluster reads says what it does not understand.
    #[error(transparent)]
    Role(#[from] RoleError),
}

impl Config {
    /// A node of this name that looks for nobody, with its data in `./quorate-data`.
    pub fn new(name: NodeName, cookies: impl Into<Cookies>) -> Self {
        Self {
            name,
            listen: "127.0.0.1:4747".to_owned(),
            advertise: None,
            data: PathBuf::from("quorate-data"),
            join: Vec::new(),
            expect: 0,
            voters: 3,
            replace_after: Duration::from_secs(300),
            labels: BTreeMap::new(),
            level: Level::NEWEST,
            lease: Duration::from_secs(2),
            cookies: cookies.into(),
            tls: None,
            insecure: false,
            congestion: None,
            fencer: None,
            segment_bytes: LogConfig::default().segment_bytes,
            group: GroupConfig::lan(),
            limits: Limits::lan(),
            #[cfg(feature = "mutants")]
            ack_before_sync: false,
            #[cfg(feature = "mutants")]
            bug: None,
        }
    }

    /// Checks what can be known before the start.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if !matches!(self.voters, 1 | 3 | 5 | 7) {
            return Err(ConfigError::Voters(self.voters));
        }
        check_labels(&self.labels)?;
        for join in self.join.iter().filter(|join| seeds::is_source(join)) {
            Spec::parse(join).map_err(|error| ConfigError::Join(error.to_string()))?;
        }
        let failover = self.group.election_max * 2 + self.group.heartbeat;
        let budget = self.stop_budget();
        if self.lease < failover + budget {
            return Err(ConfigError::Lease { lease: self.lease, failover, budget });
        }
        Ok(())
    }

    /// How private its connections to other nodes have to be.
    pub(crate) fn channel(&self) -> Channel {
        match (&self.tls, self.insecure) {
            (Some(_), _) => Channel::Tls,
            (None, true) => Channel::Plain,
            (None, false) => Channel::Loopback,
        }
    }

    /// How long before the end of its lease a node begins to end what runs under it.
    pub fn stop_budget(&self) -> Duration {
        self.lease * 3 / 20
    }

    /// How often a node renews its session.
    pub(crate) fn renew_every(&self) -> Duration {
        self.lease / 5
    }

    /// How long a call may take when its caller did not say: a lease and a second, so that a node without a
    /// quorum answers rather than hangs.
    pub(crate) fn patience(&self) -> Duration {
        self.lease + Duration::from_secs(1)
    }
}
