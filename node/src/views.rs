//! Listings in pages that all show one index: the state is kept as it was while somebody reads it.
//!
//! What is kept is bounded in number and in time, so that a reader that never comes back costs little and not
//! for long; one that comes too late is told so, and begins anew.

use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use quorate_registry::{Bearer, Frozen, Property, Query, Registration};
use quorate_vocab::{Boot, Index, Name, NodeId, Pid, SessionId, Time};

use crate::hall::Hall;
use crate::names::Names;
use crate::properties::Properties;

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
    /// How old it may be, as in [`crate::Found::stale`]; each page is older than the one before.
    pub stale: Duration,
}

/// Where a page begins: after which name, in the state of which index. Shown, it is `INDEX.NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageToken {
    index: Index,
    after: Name,
}

/// A page of properties, all pages of one listing as they were at one index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PropertyPage {
    /// The properties, in the order of their keys and bearers.
    pub properties: Vec<Property>,
    /// The index of the state.
    pub index: Index,
    /// Where the next page begins, if there is one.
    pub next: Option<PropertyToken>,
    /// How old it may be, as in [`crate::Found::stale`]; each page is older than the one before.
    pub stale: Duration,
}

/// Where a page of properties begins. Shown, it is `INDEX.SESSION.KEY`, or after what a process says
/// `INDEX.SESSION:NODE:BOOT:SERIAL.KEY`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PropertyToken {
    index: Index,
    after: (Name, Bearer),
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
    /// When it was read, and how old it was at most.
    read: (Time, Duration),
    until: Time,
}

impl Names {
    /// The first page of the names that a query looks for, by what this node knows.
    /// With a name, only those that come after it.
    pub fn first_page(&self, query: &Query, after: Option<&str>, limit: usize) -> Page {
        let view = View::now(&self.hall);
        let page = view.page(query, after, limit);
        if page.next.is_some() {
            keep(&self.hall, view);
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
        let view = View::kept(&self.hall, from.index)?;
        let page = view.page(query, Some(from.after.as_str()), limit);
        // Also after the last page: an answer that was lost is asked for again.
        keep(&self.hall, view);
        Ok(page)
    }
}

impl Properties {
    /// The first page of the properties that a query looks for, by what this node knows.
    pub fn first_page(&self, query: &Query, limit: usize) -> PropertyPage {
        let view = View::now(&self.hall);
        let page = view.property_page(query, None, limit);
        if page.next.is_some() {
            keep(&self.hall, view);
        }
        page
    }

    /// The page that a token of the one before it says, at the same index.
    pub fn next_page(
        &self,
        query: &Query,
        from: &PropertyToken,
        limit: usize,
    ) -> Result<PropertyPage, PageGone> {
        let view = View::kept(&self.hall, from.index)?;
        let page = view.property_page(query, Some(&from.after), limit);
        keep(&self.hall, view);
        Ok(page)
    }
}

impl View {
    fn now(hall: &Hall) -> Self {
        let stale = hall.group().age();
        let (state, index) = hall.group().read(|machine, index| (machine.freeze(), index));
        let now = quorate_env::now();
        Self { index, state, read: (now, stale), until: now + KEPT }
    }

    fn kept(hall: &Hall, index: Index) -> Result<Self, PageGone> {
        hall.views().take(index).ok_or(PageGone { index })
    }

    fn page(&self, query: &Query, after: Option<&str>, limit: usize) -> Page {
        let (registrations, more) = up_to(self.state.select(query, after), limit);
        let last = registrations.last().filter(|_| more);
        let next = last.map(|held| PageToken { index: self.index, after: held.name.clone() });
        Page { registrations, index: self.index, next, stale: self.stale() }
    }

    fn property_page(
        &self,
        query: &Query,
        after: Option<&(Name, Bearer)>,
        limit: usize,
    ) -> PropertyPage {
        let (properties, more) = up_to(self.state.properties(query, after), limit);
        let last = properties.last().filter(|_| more);
        let after = last.map(|said| (said.key.clone(), said.bearer));
        let next = after.map(|after| PropertyToken { index: self.index, after });
        PropertyPage { properties, index: self.index, next, stale: self.stale() }
    }

    fn stale(&self) -> Duration {
        let (read, stale) = self.read;
        stale.saturating_add(quorate_env::now().since(read))
    }
}

/// So many of what was found, one at least, and whether there is more.
fn up_to<'a, T: Clone + 'a>(found: impl Iterator<Item = &'a T>, limit: usize) -> (Vec<T>, bool) {
    let limit = limit.max(1);
    let mut some: Vec<T> = found.take(limit.saturating_add(1)).cloned().collect();
    let more = some.len() > limit;
    some.truncate(limit);
    (some, more)
}

/// Keeps a state for its next page, and sees to it that it goes when nobody asks for that.
fn keep(hall: &Arc<Hall>, view: View) {
    let is_first = hall.views().keep(view);
    if is_first {
        let keeper = hall.clone();
        hall.run(async move {
            while let Some(next) = keeper.views().purge(quorate_env::now()) {
                quorate_env::sleep_until(next).await;
            }
        });
    }
}

impl Views {
    /// Whether this is the only one that is kept, so that nobody waits yet for one to be old.
    fn keep(&self, view: View) -> bool {
        let now = quorate_env::now();
        let mut kept = self.lock();
        let is_first = kept.is_empty();
        kept.retain(|one| one.until > now && one.index != view.index);
        if kept.len() == VIEWS_MAX {
            kept.pop_front();
        }
        kept.push_back(View { until: now + KEPT, ..view });
        is_first
    }

    /// Lets go of what is too old, and says when the next one will be; none when nothing is kept any more.
    fn purge(&self, now: Time) -> Option<Time> {
        let mut kept = self.lock();
        kept.retain(|one| one.until > now);
        kept.iter().map(|one| one.until).min()
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

impl fmt::Display for PropertyToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (key, Bearer { session, process }) = &self.after;
        write!(f, "{}.{}", self.index, session.0)?;
        if let Some(Pid { node, boot, serial }) = process {
            write!(f, ":{}:{}:{serial}", node.0, boot.0)?;
        }
        write!(f, ".{key}")
    }
}

impl FromStr for PropertyToken {
    type Err = PageTokenError;

    fn from_str(text: &str) -> Result<Self, PageTokenError> {
        let mut parts = text.splitn(3, '.');
        let mut part = || parts.next().ok_or(PageTokenError);
        let index = Index(part()?.parse().map_err(|_| PageTokenError)?);
        let numbers: Result<Vec<u64>, _> = part()?.split(':').map(str::parse).collect();
        let (session, process) = match numbers.map_err(|_| PageTokenError)?[..] {
            [session] => (session, None),
            [session, node, boot, serial] => {
                (session, Some(Pid { node: NodeId(node), boot: Boot(boot), serial }))
            }
            _ => return Err(PageTokenError),
        };
        let key = Name::new(part()?).map_err(|_| PageTokenError)?;
        let bearer = Bearer { session: SessionId(session), process };
        Ok(Self { index, after: (key, bearer) })
    }
}

#[cfg(test)]
mod tests {
    use quorate_registry::Machine;

    use super::*;

    fn view(index: u64) -> View {
        let state = Machine::new(0).freeze();
        let now = quorate_env::now();
        View { index: Index(index), state, read: (now, Duration::ZERO), until: now + KEPT }
    }

    #[test]
    fn a_page_is_as_old_as_its_state_by_now() {
        let minute = Duration::from_secs(60);
        let old = |stale| View { read: (quorate_env::now() - minute, stale), ..view(1) }.stale();
        assert!(old(minute) >= minute * 2 && old(minute) < minute * 3);
        assert_eq!(old(Duration::MAX), Duration::MAX);
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
    fn what_nobody_asks_for_again_is_let_go_when_it_is_old_and_no_sooner() {
        let views = Views::default();
        assert!(views.keep(view(1)), "nobody waits yet");
        let first = views.purge(quorate_env::now()).expect("one is kept");
        assert!(!views.keep(view(2)), "somebody waits");
        assert_eq!(views.purge(first - Duration::from_nanos(1)), Some(first));
        let second = views.purge(first).filter(|second| *second >= first);
        // Two that were kept within one tick of the clock go together.
        assert_eq!(second.and_then(|second| views.purge(second)), None);
        assert_eq!(views.lock().len(), 0);
        assert!(views.keep(view(3)), "nobody waits any more");
    }

    #[test]
    fn a_token_is_read_as_it_is_written() {
        let token = PageToken { index: Index(12), after: Name::new("a.b/c").unwrap() };
        assert_eq!(token.to_string().parse(), Ok(token));
        for text in ["", "12", "x.a", "12.", "12.a b"] {
            assert_eq!(text.parse::<PageToken>(), Err(PageTokenError), "{text}");
        }
        let pid = Pid { node: NodeId(u64::MAX), boot: Boot(3), serial: 4 };
        for process in [None, Some(pid)] {
            let bearer = Bearer { session: SessionId(7), process };
            let after = (Name::new("a.b/c").unwrap(), bearer);
            let token = PropertyToken { index: Index(12), after };
            assert_eq!(token.to_string().parse(), Ok(token));
        }
        for text in ["12.7", "12.7:1.a", "12.7:1:2:3:4.a", "12..a", "12.x.a", "12.7."] {
            assert_eq!(text.parse::<PropertyToken>(), Err(PageTokenError), "{text}");
        }
    }
}
