//! Authenticated links between quorate nodes.
//!
//! Two nodes that share a cookie keep two byte streams between them, one for each [`Road`], so that a
//! heartbeat never queues behind bulk. Over a link go frames: mail, which is sent at most once and in order,
//! and calls, which end in an answer, in `NotSent` or in `Unknown`. What arrives is handed to [`Inbound`],
//! which the hall implements.
//!
//! Two layers, as everywhere in this house. Pure cores decide: [`frame`] (bytes to frames), [`hello`] (bytes
//! to claims), [`handshake`] (claims to proofs); they never wait, read a clock or draw a number. The
//! rest drives them over the doors of `quorate_env`, and runs the same in the simulator as over TCP.
//!
//! Not here: Raft, actors, membership, names. The mesh does not know why bodies are sent, and it does not
//! decide who belongs to the cluster; it dials whom it is told to and lets in who proves to belong, by a
//! cookie, by a certificate, or by both. Without [`Tls`] a link is authenticated when it opens and is plain
//! text after that, so whoever can alter packets on the way can alter frames; the config has to say that
//! nobody can.
//!
//! Invariants: the mesh's part of I12. Within one link, mail keeps its order and comes at most once; when a
//! link of a peer that was met breaks, the peer is told to have [parted](Inbound::parted) before it is met
//! again, and nothing of the old link arrives after anything of the new one.

pub mod bucket;
mod calls;
pub mod clocks;
mod config;
mod cookie;
mod counters;
mod dialer;
mod door;
mod error;
pub mod frame;
pub mod handshake;
pub mod hello;
pub mod hlc;
mod latch;
mod link;
mod mesh;
mod outbox;
mod parcel;
mod peer;
mod porch;
pub mod pulse;
pub mod reader;
mod reason;
pub mod span;
mod spare;
pub mod standing;
mod table;
mod tls;
mod weather;
pub mod window;
pub mod wire;
mod writer;

pub(crate) use config::STRANDS_MAX;
pub use config::{Channel, Limits, Me, MeshConfig};
pub use cookie::{Cookie, Cookies};
pub use counters::{Counters, Traffic};
pub use error::{CallError, MeshError, SendError};
pub use mesh::Mesh;
pub use peer::{Inbound, LinkState, Peer, Road, Rule};
pub use reason::Reason;
pub use tls::{Identity, Tls, TlsError, TlsFiles};
pub use weather::{Climate, Conditions, Path as WeatherPath, Weather};
