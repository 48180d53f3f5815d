//! Local names of processes: one name, one process; a process may have several. A name ends with its process.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use quorate_vocab::Pid;

use crate::NameError;

#[derive(Default)]
pub(crate) struct Names(Mutex<BTreeMap<String, Pid>>);

impl Names {
    /// Enters a name, unless its process `has_ended`: under the lock, so that whoever forgets a process's
    /// names after its end finds this one.
    pub(crate) fn register(
        &self,
        name: &str,
        pid: Pid,
        has_ended: impl FnOnce() -> bool,
    ) -> Result<(), NameError> {
        let mut names = self.lock();
        if has_ended() {
            return Err(NameError::NoProc);
        }
        if let Some(holder) = names.get(name) {
            return Err(NameError::Taken(*holder));
        }
        names.insert(name.to_owned(), pid);
        Ok(())
    }

    pub(crate) fn unregister(&self, name: &str) -> bool {
        self.lock().remove(name).is_some()
    }

    pub(crate) fn find(&self, name: &str) -> Option<Pid> {
        self.lock().get(name).copied()
    }

    pub(crate) fn all(&self) -> Vec<(String, Pid)> {
        self.lock().iter().map(|(name, pid)| (name.clone(), *pid)).collect()
    }

    /// Its process has ended.
    pub(crate) fn forget(&self, pid: Pid) {
        self.lock().retain(|_, holder| *holder != pid);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Pid>> {
        self.0.lock().expect("nothing panics while it holds the names")
    }
}
