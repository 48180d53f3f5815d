//! What the processes of the two nodes say to each other.

use quorate_actor::{Blob, Message, Pid, ReplyTo, Wire};
use serde::{Deserialize, Serialize};

/// Sends balls home.
pub(crate) const ECHO: &str = "bench/echo";
/// Answers calls.
pub(crate) const SERVER: &str = "bench/server";
/// Takes what comes, and says how much.
pub(crate) const SINK: &str = "bench/sink";
/// Reads linearizably, and says how long each read took.
pub(crate) const CLERK: &str = "bench/clerk";

/// To the echo.
#[derive(Serialize, Deserialize)]
pub(crate) enum ToEcho {
    /// Balls go to this process from now on.
    Home(Pid),
    Ball(u64),
}

/// From the echo.
#[derive(Serialize, Deserialize)]
pub(crate) struct Ball(pub(crate) u64);

/// To the server, which answers with the next number.
#[derive(Serialize, Deserialize)]
pub(crate) struct Next(pub(crate) u64, pub(crate) ReplyTo<u64>);

/// To the sink. Each names its sender by a small number.
#[derive(Serialize, Deserialize)]
pub(crate) enum ToSink {
    /// A sender begins: it wants to hear how many have come, each time when so many more have.
    Open {
        sender: u8,
        home: Pid,
        every: u64,
    },
    Small(u8, u32),
    Bulk(u8, Blob),
    /// It has sent everything, and wants to hear how many have come.
    Close(u8),
}

/// From the sink: so many have come since the sender began.
#[derive(Serialize, Deserialize)]
pub(crate) struct Ack(pub(crate) u64);

/// To the clerk: read for so many milliseconds. It answers with microseconds, one for each read, and how many
/// links and sessions were lost meanwhile.
#[derive(Serialize, Deserialize)]
pub(crate) struct Read(pub(crate) u64, pub(crate) ReplyTo<(Vec<u32>, u64)>);

impl Message for ToEcho {
    const WIRE: Option<Wire<Self>> = Some(Wire::new("bench.to-echo", 1));
}

impl Message for Ball {
    const WIRE: Option<Wire<Self>> = Some(Wire::new("bench.ball", 1));
}

impl Message for Next {
    const WIRE: Option<Wire<Self>> = Some(Wire::new("bench.next", 1));
}

impl Message for ToSink {
    const WIRE: Option<Wire<Self>> = Some(Wire::new("bench.to-sink", 1));
}

impl Message for Ack {
    const WIRE: Option<Wire<Self>> = Some(Wire::new("bench.ack", 1));
}

impl Message for Read {
    const WIRE: Option<Wire<Self>> = Some(Wire::new("bench.read", 1));
}
