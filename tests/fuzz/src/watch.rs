//! A second pair of eyes, for what the loop cannot see from within: an input that never ends, and one that
//! brings the whole process down.
//!
//! Several times a second it writes down, in `target/fuzz/TARGET.SEED.line`, the line that repeats what is
//! under way. The file goes when the loop ends in order; where one is left, it says where to look.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;
use std::{fs, io, process, thread};

use quorate_fuzz::{Finding, Plan};

const LOOK: Duration = Duration::from_millis(200);
/// So many looks at the same run, and it is taken to be endless.
const LOOKS_MAX: u32 = 50;
/// How many runs a line repeats: more than fit between two looks.
const RUNS_A_LINE: u64 = 200_000;

/// The watch over one loop.
pub(crate) struct Watch {
    /// The run that is under way.
    pub(crate) progress: Arc<AtomicU64>,
    thread: JoinHandle<io::Result<()>>,
    end: Sender<()>,
}

/// Where findings go.
pub(crate) fn folder() -> io::Result<PathBuf> {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/fuzz"));
    fs::create_dir_all(&folder)?;
    folder.canonicalize()
}

impl Watch {
    /// Begins to watch.
    #[expect(clippy::disallowed_methods, reason = "what is watched may never yield")]
    pub(crate) fn begin(target: &'static str, plan: Plan) -> io::Result<Self> {
        let path = folder()?.join(format!("{target}.{}.line", plan.seed));
        let progress = Arc::new(AtomicU64::new(plan.from));
        let (end, ended) = channel();
        let seen = Arc::clone(&progress);
        let thread = thread::spawn(move || watch(target, plan.seed, &path, &seen, &ended));
        Ok(Self { progress, thread, end })
    }

    /// Ends to watch, and removes the line.
    pub(crate) fn end(self) -> io::Result<()> {
        drop(self.end);
        self.thread.join().expect("to watch does not panic")
    }
}

fn watch(
    target: &'static str,
    seed: u64,
    path: &Path,
    progress: &AtomicU64,
    ended: &Receiver<()>,
) -> io::Result<()> {
    let (mut last, mut looks) = (u64::MAX, 0);
    while ended.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
        let run = progress.load(Ordering::Relaxed);
        looks = if run == last { looks + 1 } else { 0 };
        last = run;
        let line = |among| Finding::line_of(target, seed, run, among);
        fs::write(path, line(RUNS_A_LINE) + "\n")?;
        if looks == LOOKS_MAX {
            println!("{target}: run {run} of seed {seed} does not end\nagain: {}", line(1));
            process::exit(1);
        }
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
