//! A cgroup of its own for one tree, where this process may make one: it ends all of a tree in one stroke,
//! however fast it forks.
//!
//! Never counted on: without it the tree is found by its parents. And what is in it is not what proves an
//! end.

use std::path::{Path, PathBuf};
use std::{fs, io};

/// How often an emptied cgroup is looked at until it lets itself be removed.
const TRIES: usize = 50;

/// Dropped, it is removed, if nothing lives in it.
#[derive(Debug)]
pub(crate) struct Cgroup(PathBuf);

impl Cgroup {
    /// Makes one below this process's own, if that is of the second version and ours to divide.
    pub(crate) fn make() -> Option<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
        let own = fs::read_to_string("/proc/self/cgroup").ok()?;
        let dir = place(&mounts, &own)?.join(format!("quorate-ward-{}", std::process::id()));
        fs::create_dir(&dir).ok()?;
        let made = Self(dir);
        // Older kernels cannot kill by it.
        made.0.join("cgroup.kill").exists().then_some(made)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        for _ in 0..TRIES {
            match fs::remove_dir(&self.0) {
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                    std::thread::yield_now();
                }
                _ => return,
            }
        }
    }
}

/// Moves this process into a cgroup.
pub(crate) fn enter(dir: &Path) -> io::Result<()> {
    fs::write(dir.join("cgroup.procs"), "0")
}

/// Kills all that is in a cgroup, and below it.
pub(crate) fn kill(dir: &Path) {
    // It is one way of several.
    let _ = fs::write(dir.join("cgroup.kill"), "1");
}

/// Where this process's cgroup is seen: `mounts` is `/proc/self/mountinfo`, `own` is `/proc/self/cgroup`.
fn place(mounts: &str, own: &str) -> Option<PathBuf> {
    let own = own.lines().find_map(|line| line.strip_prefix("0::"))?;
    let mut mounted = mounts.lines().filter_map(|line| {
        let (fields, kind) = line.split_once(" - ")?;
        let mut fields = fields.split(' ').skip(3);
        kind.starts_with("cgroup2 ").then_some((fields.next()?, fields.next()?))
    });
    let (root, point) = mounted.next()?;
    let below = Path::new(own).strip_prefix(root).ok()?;
    let is_inside = below.components().all(|part| part != std::path::Component::ParentDir);
    is_inside.then(|| Path::new(point).join(below))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_cgroup_is_found_below_its_mount() {
        let mounts = "25 1 0:22 / /proc rw - proc proc rw\n\
                      31 25 0:27 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw\n";
        let found = place(mounts, "1:cpu:/x\n0::/user.slice/a.scope\n");
        assert_eq!(found, Some("/sys/fs/cgroup/user.slice/a.scope".into()));
        assert_eq!(place(mounts, "0::/../b\n"), None, "beyond what can be seen");
        assert_eq!(place(mounts, "1:cpu:/x\n"), None, "the first version");
        let part = mounts.replace(" / /sys", " /docker/7 /sys");
        assert_eq!(place(&part, "0::/docker/7/a"), Some("/sys/fs/cgroup/a".into()));
        assert_eq!(place(&part, "0::/"), None);
        assert_eq!(place("", "0::/"), None);
    }
}
