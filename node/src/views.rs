//! Listings in pages that all show one index: the state is kept as it was while somebody reads it.
//!
//! What is kept is bounded in number and in time, so that a reader that never comes back costs little and not
//! for long; one that comes too late is told so, and begins anew.

use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use quorate_registry::{Frozen, Query, Registration};
use quorate_vocab::{Index, Name, Time};

use crate::names::Names;

/// How many states are kept, and for how long after one was last read.
const VIEWS_MAX: usize = 8;
const KEPT: Duration = Duration::from_secs(30);

/// A page of names, all pages of one listing as they were at one index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The registrations, in the order of their names.
    pub registrations: Vec<Registration>,
    /// The index of the state.
    pub index: Index,
    /// Where the next page begins, if there is one.
    pub next: Option<PageToken>,
    /// How long ago this node had last heard from the leader when the first page was read.
    pub stale: Duration,
}

/// Where a page begins: after which name, in the state of which index. Shown, it is `INDEX.NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageToken {
    index: Index,
    after: Name,
}

/// A text that is no token of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no token of a page; take `next` of the page before it as it is")]
pub struct PageTokenError;

/// The state that a listing was read from is not kept any more, or was never kept by this node. Begin with
/// the first page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the state at index {index} is no longer kept for a listing")]
pub struct PageGone {
    /// The index that was asked for.
    pub index: Index,
}

/// The states that are kept, the one that was read last at the end.
#[derive(Default)]
pub(crate) struct Views(Mutex<VecDeque<View>>);

#[derive(Clone)]
struct View {
    index: Index,
    state: Frozen,
    stale: Duration,
    until: Time,
}

impl Names {
    /// The first page of the names that a query looks for, by what this node knows.
    /// With a name, only those that come after it.
    pub fn first_page(&self, query: &Query, after: Option<&str>, limit: usize) -> Page {
        let stale = self.hall.group().silence();
        let (state, index) = self.hall.group().read(|machine, index| (machine.freeze(), index));
        let view = View { index, state, stale, until: quorate_env::now() + KEPT };
        let page = view.page(query, after, limit);
        if page.next.is_some() {
            self.hall.views().keep(view);
        }
        page
    }

    /// The page that a token of the one before it says, at the same index.
    pub fn next_page(
        &self,
        query: &Query,
        from: &PageToken,
        limit: usize,
    ) -> Result<Page, PageGone> {
        let view = self.hall.views().take(from.index).ok_or(PageGone { index: from.index })?;
        let page = view.page(query, Some(from.after.as_str()), limit);
        // Also after the last page: an answer that was lost is asked for again.
        self.hall.views().keep(view);
        Ok(page)
    }
}

impl View {
    fn page(&self, query: &Query, after: Option<&str>, limit: usize) -> Page {
        let limit = limit.max(1);
        let found = self.state.select(query, after).take(limit.saturating_add(1));
        let mut registrations: Vec<Registration> = found.cloned().collect();
        let more = registrations.len() > limit;
        registrations.truncate(limit);
        let last = registrations.last().filter(|_| more);
        let next = last.map(|held| PageToken { index: self.index, after: held.name.clone() });
        Page { registrations, index: self.index, next, stale: self.stale }
    }
}

impl Views {
    fn keep(&self, view: View) {
        let now = quorate_env::now();
        let mut kept = self.lock();
        kept.retain(|one| one.until > now && one.index != view.index);
        if kept.len() == VIEWS_MAX {
            kept.pop_front();
        }
        kept.push_back(View { until: now + KEPT, ..view });
    }

    fn take(&self, index: Index) -> Option<View> {
        let now = quorate_env::now();
        self.lock().iter().find(|one| one.index == index && one.until > now).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<View>> {
        self.0.lock().expect("nothing panics while it holds the views")
    }
}

impl fmt::Display for PageToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.index, self.after)
    }
}

impl FromStr for PageToken {
    type Err = PageTokenError;

    fn from_str(text: &str) -> Result<Self, PageTokenError> {
        let (index, after) = text.split_once('.').ok_or(PageTokenError)?;
        let index = Index(index.parse().map_err(|_| PageTokenError)?);
        Ok(Self { index, after: Name::new(after).map_err(|_| PageTokenError)? })
    }
}

#[cfg(test)]
mod tests {
    use quorate_registry::Machine;

    use super::*;

    fn view(index: u64) -> View {
        let state = Machine::new(0).freeze();
        let until = quorate_env::now() + KEPT;
        View { index: Index(index), state, stale: Duration::ZERO, until }
    }

    #[test]
    fn so_many_states_are_kept_and_the_one_read_longest_ago_goes_first() {
        let views = Views::default();
        for index in 0..VIEWS_MAX as u64 {
            views.keep(view(index));
        }
        // The oldest is read once more.
        views.keep(views.take(Index(0)).unwrap());
        views.keep(view(100));
        assert!(views.take(Index(0)).is_some() && views.take(Index(1)).is_none());
        assert_eq!(views.lock().len(), VIEWS_MAX);
    }

    #[test]
    fn a_token_is_read_as_it_is_written() {
        let token = PageToken { index: Index(12), after: Name::new("a.b/c").unwrap() };
        assert_eq!(token.to_string().parse(), Ok(token));
        for text in ["", "12", "x.a", "12.", "12.a b"] {
            assert_eq!(text.parse::<PageToken>(), Err(PageTokenError), "{text}");
        }
    }
}
