//! What panicked in this thread while a world ran in it. A task's panic ends the task and would else pass
//! unseen; in a node it is a broken invariant.

use std::cell::RefCell;
use std::panic;
use std::sync::Once;

thread_local! {
    static SEEN: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

/// Collects until it is dropped.
pub(super) struct Watching;

/// Begins to collect the panics of this thread.
pub(super) fn watch() -> Watching {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let ours = SEEN.with_borrow_mut(|seen| match seen {
                Some(seen) => {
                    seen.push(info.to_string());
                    true
                }
                None => false,
            });
            if !ours {
                before(info);
            }
        }));
    });
    SEEN.set(Some(Vec::new()));
    Watching
}

impl Watching {
    /// What was seen so far.
    pub(super) fn seen(&self) -> Vec<String> {
        SEEN.with_borrow(|seen| seen.clone().unwrap_or_default())
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        // A story that was not as it should be ends here, and nobody else will tell of it.
        if std::thread::panicking() {
            for what in self.seen() {
                eprintln!("{what}");
            }
        }
        SEEN.set(None);
    }
}
