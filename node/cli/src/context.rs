//! The cluster that `quorate dev` runs at the moment: where other commands of the same user find it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::fail::Done;
use crate::secrets;

/// What `dev` writes down while it lives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Context {
    /// The process of `dev`.
    pub(crate) pid: u32,
    /// The HTTP addresses of its nodes.
    pub(crate) agents: Vec<String>,
    /// Its directory.
    pub(crate) dir: PathBuf,
}

impl Context {
    /// The present one, if its `dev` lives.
    pub(crate) fn present() -> Option<Self> {
        Self::written().filter(Self::lives)
    }

    /// The one that a `dev` left behind that could not tidy up after itself.
    pub(crate) fn orphaned() -> Option<Self> {
        Self::written().filter(|context| !context.lives())
    }

    /// Writes it down.
    pub(crate) fn write(&self) -> Done {
        secrets::write_whole(&path(), &serde_json::json!(self).to_string())
    }

    /// Removes it, if it is still the one that is written down.
    pub(crate) fn remove(&self) {
        if Self::written().as_ref() == Some(self) {
            // Whoever finds it still there sees that its process is gone.
            let _ = fs::remove_file(path());
        }
    }

    fn written() -> Option<Self> {
        let path = path();
        let meta = fs::symlink_metadata(&path).ok()?;
        // In a directory that all can write to, another user must not choose whom we talk to.
        let ours = meta.uid() == rustix::process::getuid().as_raw() && meta.is_file();
        if !ours || meta.mode() & 0o022 != 0 || meta.len() > 64 * 1024 {
            return None;
        }
        serde_json::from_slice(&fs::read(&path).ok()?).ok()
    }

    fn lives(&self) -> bool {
        let pid = i32::try_from(self.pid).ok().and_then(rustix::process::Pid::from_raw);
        pid.is_some_and(|pid| rustix::process::test_kill_process(pid).is_ok())
    }
}

fn path() -> PathBuf {
    match std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| !dir.is_empty()) {
        Some(dir) => PathBuf::from(dir).join("quorate-dev.json"),
        None => {
            let user = rustix::process::getuid().as_raw();
            std::env::temp_dir().join(format!("quorate-dev-{user}.json"))
        }
    }
}
