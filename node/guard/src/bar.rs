//! The rule itself: the newest epoch that was seen for each name, and what may pass under it.

use std::collections::BTreeMap;

use quorate_vocab::{Epoch, Name};

/// The newest epoch seen for each of a bounded number of names.
///
/// ```
/// use quorate_guard::{Bar, Epoch, Name, Refusal};
///
/// let (billing, mut bar) = (Name::new("billing")?, Bar::new(100));
/// let epoch = |number| Epoch::from_shown(number).unwrap();
/// assert!(bar.admit(&billing, epoch(17)).is_ok());
/// assert!(bar.admit(&billing, epoch(18)).is_ok());
/// let late = bar.admit(&billing, epoch(17));
/// assert_eq!(late, Err(Refusal::Stale { shown: epoch(17), newest: epoch(18) }));
/// # Ok::<(), quorate_guard::NameError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bar {
    floor: Option<Epoch>,
    names_max: usize,
    newest: BTreeMap<Name, Epoch>,
}

/// How an epoch that may pass stands to the newest one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is the newest.
    Level,
    /// It is newer than all that were seen, so that the bar has to be raised before it passes.
    Raises,
}

/// Why an epoch does not pass. The bar is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A newer one was seen. It is of no use to try again: whoever shows this epoch is owner no more.
    #[error("epoch {shown} is stale: {newest} was seen")]
    Stale {
        /// The epoch that was shown.
        shown: Epoch,
        /// The newest one.
        newest: Epoch,
    },
    /// The name is new, and as many as may be remembered are. One that was forgotten to make room could be
    /// written to by an old owner, so none is; it may be tried again where more names are allowed.
    #[error("{names_max} names are remembered, which is the most")]
    Full {
        /// How many names are remembered at most.
        names_max: usize,
    },
}

impl Bar {
    /// A bar that knows of nothing: the first epoch of each name passes.
    pub fn new(names_max: usize) -> Self {
        Self { floor: None, names_max, newest: BTreeMap::new() }
    }

    /// A bar under which no name passes with an epoch below the floor, seen before or not.
    ///
    /// For the first start, and for a start after what was remembered is lost: epochs rise across all names
    /// of a cluster, so any epoch that was given after the loss is a floor for all owners of today. Owners
    /// from before it have to be given their names anew.
    pub fn at_least(floor: Epoch, names_max: usize) -> Self {
        let mut bar = Self::new(names_max);
        bar.lift(floor);
        bar
    }

    /// Says what would come of an epoch, and changes nothing.
    pub fn judge(&self, name: &Name, shown: Epoch) -> Result<Standing, Refusal> {
        let known = self.newest.get(name).copied();
        if let Some(newest) = known.max(self.floor)
            && shown < newest
        {
            return Err(Refusal::Stale { shown, newest });
        }
        match known {
            Some(newest) if newest == shown => Ok(Standing::Level),
            None if self.newest.len() >= self.names_max => {
                Err(Refusal::Full { names_max: self.names_max })
            }
            _ => Ok(Standing::Raises),
        }
    }

    /// Lets an epoch pass if no newer one was seen, and raises the bar to it.
    pub fn admit(&mut self, name: &Name, shown: Epoch) -> Result<Standing, Refusal> {
        let standing = self.judge(name, shown)?;
        if standing == Standing::Raises {
            self.newest.insert(name.clone(), shown);
        }
        Ok(standing)
    }

    /// Raises the floor of all names; a lower one changes nothing.
    pub fn lift(&mut self, floor: Epoch) {
        self.floor = self.floor.max(Some(floor));
    }

    /// The epoch below which nothing passes, whatever its name.
    pub fn floor(&self) -> Option<Epoch> {
        self.floor
    }

    /// The newest epoch seen for a name.
    pub fn newest(&self, name: &Name) -> Option<Epoch> {
        self.newest.get(name).copied()
    }

    /// All names with their newest epochs, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&Name, Epoch)> {
        self.newest.iter().map(|(name, epoch)| (name, *epoch))
    }

    /// How many names it remembers at most.
    pub fn names_max(&self) -> usize {
        self.names_max
    }
}
