//! The rows of the mesh: which game, who plays it, what its figures are and what must be reached.

use super::Player::{self, Erl, Tcp, TcpApart};
use super::game::Game;
use crate::error::BenchError;
use crate::line::{Line, Unit};

/// One game and what is seen of it.
#[derive(Debug)]
pub struct MeshRow {
    /// The word that asks for it.
    pub key: &'static str,
    /// What it is, for people.
    pub title: &'static str,
    /// Its figures.
    pub lines: &'static [Line],
    pub(crate) game: Game,
    /// Whether our nodes speak TLS.
    pub(crate) is_secured: bool,
    pub(crate) peers: &'static [Player],
}

impl MeshRow {
    /// The row that a word asks for.
    pub fn named(key: &str) -> Result<&'static Self, BenchError> {
        MESH_ROWS.iter().find(|row| row.key == key).ok_or_else(|| {
            let there: Vec<&str> = MESH_ROWS.iter().map(|row| row.key).collect();
            BenchError::NoSuchRow { asked: key.to_owned(), there: there.join(", ") }
        })
    }
}

const fn line(key: &'static str, title: &'static str, unit: Unit, goal: f64) -> Line {
    Line { key, title, unit, goal: Some(goal) }
}

const fn aside(key: &'static str, title: &'static str, unit: Unit) -> Line {
    Line { key, title, unit, goal: None }
}

/// All rows, in the order of the report.
pub static MESH_ROWS: [MeshRow; 12] = [
    MeshRow {
        key: "ping-pong",
        title: "ping-pong of a small message",
        lines: &[
            line("ping-pong", "ping-pong", Unit::PerSecond, 60e3),
            line("ping-pong-p50", "ping-pong, p50", Unit::Microseconds, 16.0),
        ],
        game: Game::PingPong,
        is_secured: false,
        peers: &[Tcp, Erl],
    },
    MeshRow {
        key: "ping-idle",
        title: "ping-pong with a pause after each",
        lines: &[line("ping-idle-p50", "ping-pong from idle, p50", Unit::Microseconds, 55.0)],
        game: Game::PingIdle,
        is_secured: false,
        peers: &[Tcp, Erl],
    },
    MeshRow {
        key: "call",
        title: "call with a timeout, 1 client",
        lines: &[line("call", "call, 1 client", Unit::PerSecond, 40e3)],
        game: Game::Call(1),
        is_secured: false,
        peers: &[Tcp, Erl],
    },
    MeshRow {
        key: "call-100",
        title: "call with a timeout, 100 clients",
        lines: &[line("call-100", "call, 100 clients", Unit::PerSecond, 500e3)],
        game: Game::Call(100),
        is_secured: false,
        peers: &[Tcp, Erl],
    },
    MeshRow {
        key: "one-way",
        title: "small messages one way, 1 sender",
        lines: &[line("one-way", "one way, small, 1 to 1", Unit::PerSecond, 3e6)],
        game: Game::OneWay { senders: 1, bytes: 8 },
        is_secured: false,
        peers: &[Tcp, Erl],
    },
    MeshRow {
        key: "one-way-8",
        title: "small messages one way, 8 senders",
        lines: &[line("one-way-8", "one way, small, 8 to 1", Unit::PerSecond, 3e6)],
        game: Game::OneWay { senders: 8, bytes: 8 },
        is_secured: false,
        peers: &[Tcp, Erl],
    },
    MeshRow {
        key: "one-way-1k",
        title: "messages of 1 KiB one way, 8 senders",
        lines: &[line("one-way-1k", "one way, 1 KiB, 8 to 1", Unit::PerSecond, 1e6)],
        game: Game::OneWay { senders: 8, bytes: 1024 },
        is_secured: false,
        peers: &[Tcp, Erl],
    },
    MeshRow {
        key: "stream",
        title: "a stream of large messages",
        lines: &[line("stream", "stream of large messages", Unit::GibPerSecond, 2.0)],
        game: Game::Stream,
        is_secured: false,
        peers: &[Tcp, Erl],
    },
    MeshRow {
        key: "stream-tls",
        title: "the same stream over TLS, beside plain TCP",
        lines: &[line("stream-tls", "the same over TLS", Unit::GibPerSecond, 1.0)],
        game: Game::Stream,
        is_secured: true,
        peers: &[Tcp],
    },
    MeshRow {
        key: "stream-ping",
        title: "a small ping-pong under that stream",
        lines: &[
            line("stream-ping-p50", "ping-pong under the stream, p50", Unit::Milliseconds, 0.2),
            line("stream-ping-p99", "ping-pong under the stream, p99", Unit::Milliseconds, 2.5),
            line("stream-ping-max", "ping-pong under the stream, max", Unit::Milliseconds, 20.0),
            aside("stream-pinged", "the stream meanwhile", Unit::GibPerSecond),
        ],
        game: Game::PingUnderStream,
        is_secured: false,
        peers: &[Tcp, TcpApart, Erl],
    },
    MeshRow {
        key: "stream-control",
        title: "what keeps a cluster together, under that stream",
        lines: &[
            aside("stream-control-p50", "confirmed read under the stream, p50", Unit::Milliseconds),
            line(
                "stream-control-p99",
                "confirmed read under the stream, p99",
                Unit::Milliseconds,
                5.0,
            ),
            aside("stream-control-max", "confirmed read under the stream, max", Unit::Milliseconds),
            line("stream-losses", "links and sessions lost meanwhile", Unit::Events, 0.0),
        ],
        game: Game::ControlUnderStream,
        is_secured: false,
        peers: &[],
    },
    MeshRow {
        key: "idle",
        title: "bytes between two nodes at rest",
        lines: &[aside("idle", "bytes on the wire at rest", Unit::BytesPerSecond)],
        game: Game::Idle,
        is_secured: false,
        peers: &[],
    },
];
