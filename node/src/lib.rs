//! quorate: a Raft-backed global registry and singleton manager. It answers one question for distributed
//! programs: *who is the one?*
//!
//! This crate is the hall where the rooms meet, and the public API. The rooms do not know each other; the
//! hall joins them through the small traits that they own: `Peers` (consensus to the other voters), `Carrier`
//! (actors to the outside), `Inbound` (the mesh to the inside).
//!
//! ```text
//!            names ── sessions ── status                 what users hold
//!               │        │
//!   steward ── hall (propose, confirm, route) ── keeper  what runs by itself
//!      │         │          │           │          │
//!    actors     mesh     consensus   registry    leases
//! ```
//!
//! Read `node.rs` for the assembly, `hall.rs` for how a proposal finds the leader, `router.rs` for what other
//! nodes may ask, `tenancy.rs` for a node's own session `keeper.rs` for what a leader
//! does and `disk.rs` for what follows from a disk in trouble.
//!
//! Deliberately not here: JSON and HTTP (`quorate-http`), and any type of openraft, sled, bincode or
//! hashring in a public signature.

mod abroad;
mod available;
mod backup;
#[cfg(feature = "mutants")]
mod bugs;
mod config;
mod counters;
mod courier;
mod disk;
mod error;
mod formation;
mod ground;
mod hall;
mod health;
mod keeper;
mod last_word;
mod links;
mod locks;
mod marks;
mod memory;
mod names;
mod node;
mod nodes;
mod post;
mod progress;
mod properties;
mod reads;
mod router;
mod seeds;
mod sentinel;
mod sessions;
mod singletons;
mod status;
mod steward;
mod survivor;
mod tenancy;
mod verified;
mod via;
mod views;
mod voters;

pub use abroad::ReachError;
pub use available::{
    Available, AvailableError, AvailableFound, AvailableHolder, AvailableNews, AvailableWatch,
    Claimed, Clash, Lost, Resolve,
};
pub use backup::{Anew, AnewError, Backup, Contents};
#[cfg(feature = "mutants")]
pub use bugs::Bug;
pub use config::{Config, ConfigError};
pub use counters::{Tallies, Tally};
pub use error::{Error, NotDone, StartError};
pub use ground::{Ground, Identity};
pub use last_word::last_word;
pub use links::{Explained, Link, LinkRule, Links, NoSuchNode, Party, RulesInForce};
pub use locks::{Guard, Locks};
pub use names::{Amendment, Claiming, Found, Held, Listing, NameWatch, Names};
pub use node::Node;
pub use nodes::{DownReason, NodeInfo, NodeMonitor, NodeNews, Which};
pub use progress::Progress;
pub use properties::{Properties, Said};
pub use reads::TooStale;
pub use sentinel::{FencerConfig, Sentinel};
pub use sessions::{Renewed, Sessions};
pub use singletons::{
    Census, Inherited, Lost as LostTurn, Own, Relocation, Singleton, SingletonCallError,
    SingletonInfo, SingletonState, Singletons, Stamped, TAIL_BYTES_MAX, Tenure, Turnover, log_path,
};
pub use status::{Disk, Member, MemberState, Status};
pub use survivor::{FormerVoter, Survivor};
pub use verified::VerifiedError;
pub use via::{ByName, Located};
pub use views::{Page, PageGone, PageToken, PageTokenError, PropertyPage, PropertyToken};

pub use quorate_actor::{
    Addr, CallError, Capacity, Down, Exit, Incoming, Mailbox, Message, ReplyTo, SendError, Spawn,
    Wire, receive,
};
pub use quorate_consensus::backup::{BackupError, Head as BackupHead};
pub use quorate_consensus::{Change, GroupConfig, Recovery, Role, Source, TooOld, Watch};
pub use quorate_guard::{Bar, Refusal as BarRefusal};
pub use quorate_mesh::clocks::{Clock, Clocks, Opinion};
pub use quorate_mesh::{
    Climate, Conditions, Cookie, Cookies, Counters, Limits, LinkState, Reason, TlsError, TlsFiles,
    Traffic, Weather,
};
pub use quorate_otp::Groups;
pub use quorate_registry::available::Ordinal;
pub use quorate_registry::{
    Attempts, Bearer, Blocked, Bond, Candidate, Checkpoint, Claim, Company, Deed, Effect, Ending,
    Evidence, Exec, Explanation, Grant, Holding, Judgement, Keys, LabelTest, LabelTestError, Lanes,
    Legacy, Level, NodeRole, Passed, Past, Phase, Pin, Property, Query, Rate, Refusal,
    Registration, ReleaseCause, Restart, Restarts, RoleError, Rule, Rules, RulesError, Score,
    Selector, Sequel, Singleton as SingletonRow, Spec, Stance, Standing, TextError, Verdict,
};
pub use quorate_rpc::{
    Function, Functions, Pending, Process, Rpc, RpcConfig, RpcError, Rules as RpcRules,
};
pub use quorate_storage::Standing as DiskStanding;
pub use quorate_vocab::{
    Boot, ClusterId, Epoch, Index, Lane, Name, NameError, NodeId, NodeName, Pid, SessionId, Time,
};

/// What most programs need.
pub mod prelude {
    pub use crate::{
        Addr, Config, Error, Exit, Mailbox, Message, Name, Names, Node, ReplyTo, SendError,
    };
}
