//! What a turn leaves to the next one that is too long for the log, in the memory of a node: in pieces while
//! it comes, and whole from then on.
//!
//! The log says how long it is and what it adds up to, so that nobody begins with anything else (I7). Not
//! here: who brings it, and when (`bearer.rs`).

use bytes::Bytes;
use quorate_registry::{Legacy, Phase, Singleton as Row};
use quorate_vocab::{Epoch, Index, NodeId};

/// How long a piece is, but the last one.
pub(super) const PIECE_BYTES: usize = 1024 * 1024;
/// How many bytes of others' a node holds at once, so that many moves at a time do not fill its memory.
pub(super) const TAKEN_BYTES_MAX: u64 = 2 * Legacy::BYTES_MAX as u64;

/// What a turn begins with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Inherited {
    /// What the turn before left as its last word, however long that is.
    Left(Bytes),
    /// What was saved last. If the turn before left something after that, it did not come here.
    Saved(Bytes),
    /// Nobody ever said anything that is still known.
    #[default]
    Nothing,
}

impl Inherited {
    /// The state, whoever said it.
    pub fn state(&self) -> Option<&[u8]> {
        match self {
            Self::Left(state) | Self::Saved(state) => Some(state),
            Self::Nothing => None,
        }
    }
}

/// What one turn left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Whole {
    /// The epoch of the turn that left it.
    pub(super) epoch: Epoch,
    pub(super) bytes: Bytes,
    pub(super) legacy: Legacy,
}

/// What has come so far of what a turn leaves.
pub(super) struct Parts {
    epoch: Epoch,
    attempt: u64,
    legacy: Legacy,
    bytes: Vec<u8>,
    /// What each piece that is here adds up to.
    sums: Vec<Option<u32>>,
}

/// What a node has of it.
pub(super) enum Holding {
    Parts(Parts),
    /// And in which attempt it came here; its own came in none.
    Whole(Whole, u64),
}

impl Whole {
    pub(super) fn of(epoch: Epoch, bytes: Bytes) -> Self {
        let sums = bytes.chunks(PIECE_BYTES).map(crc32fast::hash);
        let legacy = Legacy { bytes: bytes.len() as u64, digest: digest(sums) };
        Self { epoch, bytes, legacy }
    }

    pub(super) fn count(&self) -> usize {
        self.bytes.len().div_ceil(PIECE_BYTES)
    }

    /// One of its pieces, which shares its memory.
    pub(super) fn piece(&self, nth: usize) -> Bytes {
        let from = nth * PIECE_BYTES;
        self.bytes.slice(from..self.bytes.len().min(from + PIECE_BYTES))
    }
}

impl Parts {
    /// None for what is longer than anything that may be left.
    pub(super) fn new(epoch: Epoch, attempt: u64, legacy: Legacy) -> Option<Self> {
        let bytes =
            usize::try_from(legacy.bytes).ok().filter(|bytes| *bytes <= Legacy::BYTES_MAX)?;
        // Memory is taken as the pieces come, not because somebody announced them.
        let sums = vec![None; bytes.div_ceil(PIECE_BYTES)];
        Some(Self { epoch, attempt, legacy, bytes: Vec::new(), sums })
    }

    /// Takes one in; false if it is none of these. They may come in any order, and more than once.
    pub(super) fn put(&mut self, nth: u32, piece: &[u8]) -> bool {
        let Ok(nth) = usize::try_from(nth) else { return false };
        let whole = usize::try_from(self.legacy.bytes).unwrap_or(usize::MAX);
        let from = nth.saturating_mul(PIECE_BYTES);
        let Some(sum) = self.sums.get_mut(nth) else { return false };
        if piece.len() != PIECE_BYTES.min(whole - from) {
            return false;
        }
        let to = from + piece.len();
        if self.bytes.len() < to {
            self.bytes.resize(to, 0);
        }
        self.bytes[from..to].copy_from_slice(piece);
        *sum = Some(crc32fast::hash(piece));
        true
    }

    pub(super) fn is_of(&self, attempt: u64) -> bool {
        self.attempt == attempt
    }

    pub(super) fn is_complete(&self) -> bool {
        self.sums.iter().all(Option::is_some)
    }

    /// What it is when every piece has come; none if that is not what was announced.
    pub(super) fn whole(self) -> Option<Whole> {
        let is_it = digest(self.sums.into_iter().flatten()) == self.legacy.digest;
        let Self { epoch, legacy, .. } = self;
        is_it.then(|| Whole { epoch, bytes: self.bytes.into(), legacy })
    }
}

impl Holding {
    pub(super) fn epoch(&self) -> Epoch {
        match self {
            Self::Parts(parts) => parts.epoch,
            Self::Whole(whole, _) => whole.epoch,
        }
    }

    pub(super) fn attempt(&self) -> u64 {
        match self {
            Self::Parts(parts) => parts.attempt,
            Self::Whole(_, attempt) => *attempt,
        }
    }

    /// How many bytes it may come to.
    pub(super) fn weight(&self) -> u64 {
        match self {
            Self::Parts(parts) => parts.legacy.bytes,
            Self::Whole(whole, _) => whole.legacy.bytes,
        }
    }

    /// Whether a turn on this node may still begin with it, as far as the log says.
    pub(super) fn is_of_use(&self, row: &Row, here: NodeId) -> bool {
        if let Some(grant) = row.grant.filter(|grant| grant.epoch == self.epoch()) {
            return grant.node == here || matches!(grant.phase, Phase::Yielding { to: Some(_) });
        }
        let Self::Whole(whole, _) = self else { return false };
        whole.is_last(row) && row.grant.is_none_or(|grant| grant.node == here)
    }
}

impl Whole {
    /// Whether it is the last word of the turn before.
    fn is_last(&self, row: &Row) -> bool {
        row.past.back().is_some_and(|past| {
            (past.epoch, past.left.as_ref()) == (self.epoch, Some(&self.legacy))
        })
    }
}

/// What a turn begins with, by what the log says and what is here; and how many bytes were left since that
/// was said, which are not here.
pub(super) fn inherited(
    row: &Row,
    (saved, version): (Option<Bytes>, Index),
    here: Option<&Whole>,
) -> (Inherited, Option<u64>) {
    // A move that was undone: this very turn left it, and goes on with it.
    if let Some(own) = here.filter(|own| row.epoch() == Some(own.epoch)) {
        return (Inherited::Left(own.bytes.clone()), None);
    }
    // What was saved after that is newer, and took its place.
    let left = row.past.iter().rev().take_while(|past| past.closed > version);
    let left = left.filter_map(|past| past.left).next();
    if let Some(whole) = here.filter(|whole| left.is_some() && whole.is_last(row)) {
        return (Inherited::Left(whole.bytes.clone()), None);
    }
    let inherited = match saved {
        Some(saved) if row.past.back().is_some_and(|past| past.closed == version) => {
            Inherited::Left(saved)
        }
        Some(saved) => Inherited::Saved(saved),
        None => Inherited::Nothing,
    };
    (inherited, left.map(|left| left.bytes))
}

/// What all add up to, by what the pieces do.
fn digest(sums: impl Iterator<Item = u32>) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    sums.for_each(|sum| hasher.update(&sum.to_le_bytes()));
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use quorate_registry::{Evidence, Grant, Past, Spec};
    use quorate_vocab::{Name, SessionId};

    use super::*;

    const HERE: NodeId = NodeId(1);
    const THERE: NodeId = NodeId(2);

    fn epoch(number: u64) -> Epoch {
        Epoch::from_shown(number).unwrap()
    }

    fn state(bytes: usize) -> Bytes {
        (0..bytes).map(|nth| (nth / 7) as u8).collect::<Vec<u8>>().into()
    }

    /// Held under 9 here, after 5 was closed by the entry 8.
    fn row(left: Option<Legacy>) -> Row {
        let grant = Grant {
            epoch: epoch(9),
            session: SessionId(3),
            node: HERE,
            phase: Phase::Active,
            ready: false,
        };
        let past = Past {
            epoch: epoch(5),
            node: THERE,
            closed: Index(8),
            evidence: Evidence::Stopped,
            why: String::new(),
            left,
        };
        Row {
            name: Name::new("till").unwrap(),
            spec: Spec::default(),
            version: Index(2),
            halted: false,
            grant: Some(grant),
            past: VecDeque::from([past]),
        }
    }

    #[test]
    fn pieces_may_come_in_any_order_and_more_than_once() {
        let left = Whole::of(epoch(5), state(2 * PIECE_BYTES + 300));
        let mut parts = Parts::new(epoch(5), 1, left.legacy).unwrap();
        for nth in [2, 0, 2, 0] {
            assert!(!parts.is_complete());
            assert!(parts.put(nth, &left.piece(nth as usize)));
        }
        assert!(!parts.put(3, &left.piece(2)), "there are three");
        assert!(!parts.put(1, &left.piece(2)), "it is of another length");
        assert!(parts.put(1, &left.piece(1)) && parts.is_complete());
        assert_eq!(parts.whole(), Some(left));
    }

    #[test]
    fn what_adds_up_to_something_else_or_is_too_long_is_not_taken() {
        let left = Whole::of(epoch(5), state(PIECE_BYTES + 1));
        let mut parts = Parts::new(epoch(5), 1, left.legacy).unwrap();
        assert!(parts.put(0, &vec![7; PIECE_BYTES]) && parts.put(1, &left.piece(1)));
        assert!(parts.is_complete());
        assert_eq!(parts.whole(), None);
        let long = Legacy { bytes: Legacy::BYTES_MAX as u64 + 1, digest: 0 };
        assert!(Parts::new(epoch(5), 1, long).is_none());
        let swapped = [left.piece(1), left.piece(0)].concat();
        assert_ne!(Whole::of(epoch(5), swapped.into()).legacy, left.legacy);
    }

    #[test]
    fn a_turn_begins_with_the_last_word_that_is_here_and_hears_of_one_that_is_not() {
        let left = Whole::of(epoch(5), state(100_000));
        let told = Some(left.legacy.bytes);
        let begins = |row: &Row, saved: Option<u64>, here| {
            let version = Index(saved.unwrap_or(0));
            inherited(row, (saved.map(|_| state(3)), version), here)
        };
        let (word, saved) = (Inherited::Left(left.bytes.clone()), Inherited::Saved(state(3)));
        let of_left = row(Some(left.legacy));
        assert_eq!(begins(&of_left, None, Some(&left)), (word.clone(), None));
        assert_eq!(begins(&of_left, Some(4), Some(&left)), (word.clone(), None));
        assert_eq!(begins(&of_left, Some(4), None), (saved.clone(), told));
        assert_eq!(begins(&of_left, None, None), (Inherited::Nothing, told));
        assert_eq!(begins(&of_left, Some(10), Some(&left)), (saved.clone(), None));
        let other = Whole::of(epoch(5), state(100_001));
        assert_eq!(begins(&of_left, Some(4), Some(&other)), (saved.clone(), told));
        // Said with the end of the turn before, or before that.
        assert_eq!(begins(&row(None), Some(8), None), (Inherited::Left(state(3)), None));
        assert_eq!(begins(&row(None), Some(7), None), (saved.clone(), None));
        // Its own, as its move was undone.
        let own = Whole { epoch: epoch(9), ..left.clone() };
        assert_eq!(begins(&row(None), Some(7), Some(&own)), (word, None));
        // Whom it was left to has ended, and said nothing.
        let mut later = of_left.clone();
        let past =
            Past { epoch: epoch(7), closed: Index(9), left: None, ..of_left.past[0].clone() };
        later.past.push_back(past);
        assert_eq!(begins(&later, Some(4), Some(&left)), (saved, told));
    }

    #[test]
    fn what_was_left_is_kept_while_a_turn_here_may_begin_with_it() {
        let left = Whole::of(epoch(5), state(100_000));
        let parts = Holding::Parts(Parts::new(epoch(5), 1, left.legacy).unwrap());
        let mut row = row(Some(left.legacy));
        let whole = Holding::Whole(left, 0);
        assert!(whole.is_of_use(&row, HERE) && !whole.is_of_use(&row, THERE));
        assert!(!parts.is_of_use(&row, HERE), "the rest will not come any more");
        row.grant = None;
        assert!(whole.is_of_use(&row, THERE), "it may start there again");
        row.past[0].left = None;
        assert!(!whole.is_of_use(&row, HERE));
        let to = Some(SessionId(4));
        let grant = |phase| {
            let (epoch, session, node) = (epoch(5), SessionId(3), THERE);
            Some(Grant { epoch, session, node, phase, ready: true })
        };
        row.grant = grant(Phase::Yielding { to });
        assert!(parts.is_of_use(&row, HERE) && whole.is_of_use(&row, THERE));
        row.grant = grant(Phase::Active);
        assert!(!parts.is_of_use(&row, HERE), "the move was undone");
        assert!(whole.is_of_use(&row, THERE), "and it goes on there");
    }
}
