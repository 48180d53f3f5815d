//! What can be done to a world, thing by thing.

use std::time::Duration;

/// What a crash takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Only the process died: the kernel still has all that was written.
    Process,
    /// Power went, and everything that was not synced with it.
    Unsynced,
    /// Power went, and of what was not synced a seeded part survives: some sectors of a file but not others,
    /// some renames but not those before them.
    Torn,
}

/// What is done to a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DiskCall {
    /// A file is made.
    Create,
    /// Bytes are written.
    Write,
    /// A file is renamed.
    Rename,
    /// A file is removed.
    Remove,
    /// A file is synced.
    Sync,
    /// The folder is synced.
    SyncFolder,
}

impl DiskCall {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Create, Self::Write, Self::Rename, Self::Remove, Self::Sync, Self::SyncFolder];
}

/// One thing to do to the world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Note it in the trace.
    Say(String),
    /// Let time pass.
    Wait(Duration),
    /// Hold what `from` sends to `to`.
    Cut {
        /// Who is not heard.
        from: String,
        /// Who does not hear.
        to: String,
    },
    /// Let it flow again.
    Heal {
        /// Who is heard again.
        from: String,
        /// Who hears again.
        to: String,
    },
    /// Make a direction slower by so much; zero ends it.
    Slow {
        /// Whose bytes take longer.
        from: String,
        /// To whom.
        to: String,
        /// How much longer.
        extra: Duration,
    },
    /// Break all connections between two hosts.
    Reset {
        /// One of them.
        a: String,
        /// The other one.
        b: String,
    },
    /// Kill a node's process.
    Crash {
        /// Which.
        host: String,
    },
    /// Take a node's power.
    PowerLoss {
        /// Whose.
        host: String,
        /// What its disk loses.
        loss: Loss,
    },
    /// Let a node die in one of the next calls of its disk, before that has come to anything or after.
    Trap {
        /// Which.
        host: String,
        /// In a call of this kind.
        call: DiskCall,
        /// So many halves of such calls from now: an even one is the beginning of a call, an odd one its end.
        after: u32,
        /// What its disk loses.
        loss: Loss,
    },
    /// Stop a node's process, as SIGSTOP does: it lives, and nothing of it runs.
    Freeze {
        /// Which.
        host: String,
    },
    /// Let it go on, if it lives.
    Thaw {
        /// Which.
        host: String,
    },
    /// Start a node that is down.
    Start {
        /// Which.
        host: String,
    },
    /// Hold all syncs of a node's disk.
    StallDisk {
        /// Whose.
        host: String,
        /// For how long.
        span: Duration,
    },
    /// Let every sync of a node's disk take up to so long; zero ends it.
    SlowDisk {
        /// Whose.
        host: String,
        /// At most.
        takes: Duration,
    },
    /// Leave a node's disk room for so many bytes more; `None` ends it.
    FillDisk {
        /// Whose.
        host: String,
        /// How many.
        room: Option<u64>,
    },
    /// Lose a share of what is sent in a direction, so that it is sent again; zero ends it.
    Lossy {
        /// Whose bytes.
        from: String,
        /// To whom.
        to: String,
        /// How many of a hundred segments.
        percent: u8,
    },
    /// Let a node's clock go faster by so many millionths; zero ends it.
    ClockRate {
        /// Whose.
        host: String,
        /// By how many; below zero slower.
        ppm: i32,
    },
    /// Let the time that a node shows be ahead by so much; zero ends it.
    WallJump {
        /// Whose.
        host: String,
        /// By how much; below zero behind.
        ms: i64,
    },
    /// End a node's process in order.
    Shut {
        /// Which.
        host: String,
    },
    /// Wait until all nodes serve and all singletons run.
    Calm,
    /// Have singletons leave a node.
    Drain {
        /// Which.
        host: String,
    },
    /// Let them come back.
    Undrain {
        /// Which.
        host: String,
    },
    /// Move the singleton that is looked at.
    Move {
        /// Where to.
        to: String,
    },
    /// Save all, lose all, and begin a new cluster with what was saved.
    Restore,
    /// Have another voter lead.
    HandOver {
        /// Who, if it is not left to the leader.
        to: Option<String>,
    },
    /// Take a node out that is down, as soon as its session is over.
    Remove {
        /// Which.
        host: String,
        /// Its machine is replaced, too: it will start as nobody that was known.
        machine: bool,
    },
}
