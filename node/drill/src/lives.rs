//! What the witnesses wrote, as lives, and what is wrong with them.
//!
//! A life is the time from a process's first line to its last, both of which it certainly lived to write.
//! What it may have lived beyond that, less than a period, is nobody's: a life is never longer here than it
//! was.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use quorate_vocab::Time;

/// Longer than any line.
const TAIL_BYTES: u64 = 512;

/// One process's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Life {
    /// The singleton that it is.
    pub name: String,
    /// Under which epoch.
    pub epoch: u64,
    /// On which node.
    pub node: String,
    /// The process that a runner started, from which this one came.
    pub root: u32,
    /// The process.
    pub pid: u32,
    /// When it wrote its first line.
    pub first: Time,
    /// When it wrote its last one.
    pub last: Time,
}

/// All that lived under one epoch, with all that came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Under which epoch.
    pub epoch: u64,
    /// On which node.
    pub node: String,
    /// The process that a runner started.
    pub root: u32,
    /// When the first of them wrote its first line.
    pub first: Time,
    /// When the last of them wrote its last one.
    pub last: Time,
}

/// What must never be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// One lived when another one's life began.
    Overlap {
        /// Of which singleton.
        name: String,
        /// Who lived.
        old: Turn,
        /// Who began.
        new: Turn,
    },
    /// One that began later has no higher epoch.
    Fell {
        /// Of which singleton.
        name: String,
        /// Who was before.
        old: Turn,
        /// Who began later.
        new: Turn,
    },
}

/// The turns of each name, in the order in which they began.
pub type Turns = BTreeMap<String, Vec<Turn>>;

/// Reads what was written again and again, and of each file only what is new.
#[derive(Debug)]
pub struct Reader {
    place: PathBuf,
    /// How long each file was, and what stood in it.
    known: BTreeMap<OsString, (u64, Life)>,
}

impl Reader {
    /// Of a directory.
    pub fn of(place: &Path) -> Self {
        Self { place: place.to_owned(), known: BTreeMap::new() }
    }

    /// What was written so far.
    pub fn read(&mut self) -> io::Result<Vec<Life>> {
        for file in std::fs::read_dir(&self.place)? {
            let file = file?;
            let (name, length) = (file.file_name(), file.metadata()?.len());
            if self.known.get(&name).is_some_and(|(known, _)| *known == length) {
                continue;
            }
            if let Some(life) = life(&file.path())? {
                self.known.insert(name, (length, life));
            }
        }
        Ok(self.known.values().map(|(_, life)| life.clone()).collect())
    }
}

/// Reads what was written so far.
pub fn read(place: &Path) -> io::Result<Vec<Life>> {
    Reader::of(place).read()
}

/// None of one that has not written a whole line yet.
fn life(file: &Path) -> io::Result<Option<Life>> {
    let mut file = OpenOptions::new().read(true).open(file)?;
    let mut head = String::new();
    file.by_ref().take(TAIL_BYTES).read_to_string(&mut head)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
    let mut tail = String::new();
    file.take(TAIL_BYTES).read_to_string(&mut tail)?;
    let first = head.split_inclusive('\n').next().filter(|line| line.ends_with('\n'));
    let last = tail.split_inclusive('\n').rfind(|line| line.ends_with('\n'));
    let (Some(first), Some(last)) = (first.and_then(parsed), last.and_then(parsed)) else {
        return Ok(None);
    };
    Ok(Some(Life { last: last.last, ..first }))
}

/// Understands `begin billing 7 n1 4711 4711 123456789`.
fn parsed(line: &str) -> Option<Life> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [_, name, epoch, node, root, pid, at] = words[..] else { return None };
    let at = Time(at.parse().ok()?);
    Some(Life {
        name: name.to_owned(),
        epoch: epoch.parse().ok()?,
        node: node.to_owned(),
        root: root.parse().ok()?,
        pid: pid.parse().ok()?,
        first: at,
        last: at,
    })
}

/// Puts what came of one process together. Two that were started under one epoch stay two.
pub fn turns(lives: &[Life]) -> Turns {
    let mut found: BTreeMap<(&str, u64, u32), Turn> = BTreeMap::new();
    for life in lives {
        let turn = found.entry((&life.name, life.epoch, life.root)).or_insert_with(|| Turn {
            epoch: life.epoch,
            node: life.node.clone(),
            root: life.root,
            first: life.first,
            last: life.last,
        });
        turn.first = turn.first.min(life.first);
        turn.last = turn.last.max(life.last);
    }
    let mut turns = Turns::new();
    for ((name, ..), turn) in found {
        turns.entry(name.to_owned()).or_default().push(turn);
    }
    for of_name in turns.values_mut() {
        of_name.sort_by_key(|turn| (turn.first, turn.epoch));
    }
    turns
}

/// All that is wrong.
pub fn wrongs(turns: &Turns) -> Vec<Wrong> {
    let mut wrongs = Vec::new();
    for (name, turns) in turns {
        for (at, new) in turns.iter().enumerate() {
            let name = || name.clone();
            for old in turns[..at].iter().filter(|old| old.last >= new.first) {
                wrongs.push(Wrong::Overlap { name: name(), old: old.clone(), new: new.clone() });
            }
            for old in turns[..at].iter().filter(|old| old.epoch >= new.epoch) {
                wrongs.push(Wrong::Fell { name: name(), old: old.clone(), new: new.clone() });
            }
        }
    }
    wrongs
}

/// The times without a life before each turn that began after a moment.
pub fn gaps(turns: &[Turn], after: Time) -> impl Iterator<Item = Duration> {
    let pairs = turns.windows(2).filter(move |pair| pair[1].first > after);
    pairs.map(|pair| pair[1].first.since(pair[0].last))
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, name, old, new) = match self {
            Self::Overlap { name, old, new } => ("two lived", name, old, new),
            Self::Fell { name, old, new } => ("the epoch did not rise", name, old, new),
        };
        write!(f, "{name}: {what}: {old}, and {new}")?;
        let both = old.last.min(new.last).since(new.first);
        if both.is_zero() { Ok(()) } else { write!(f, " ({both:?} together)") }
    }
}

impl fmt::Display for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { epoch, node, root, first, last } = self;
        write!(f, "epoch {epoch} on {node} (process {root}) from {} to {}", first.0, last.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A life as a test invents it, in milliseconds.
    fn lived(epoch: u64, root: u32, pid: u32, first: u64, last: u64) -> Life {
        let at = |millis: u64| Time(millis * 1_000_000);
        Life {
            name: "billing".into(),
            epoch,
            node: format!("n{root}"),
            root,
            pid,
            first: at(first),
            last: at(last),
        }
    }

    #[test]
    fn lives_one_after_the_other_are_right_and_their_gaps_are_what_lies_between() {
        let lives = [lived(9, 3, 3, 600, 900), lived(1, 1, 1, 0, 200), lived(4, 2, 2, 250, 500)];
        let turns = turns(&lives);
        assert_eq!(wrongs(&turns), []);
        let between = |after| gaps(&turns["billing"], Time(after)).map(|gap| gap.as_millis());
        assert_eq!(between(0).collect::<Vec<_>>(), [50, 100]);
        assert_eq!(between(300_000_000).collect::<Vec<_>>(), [100]);
    }

    #[test]
    fn an_overlap_is_found_however_short_and_with_whatever_lies_between() {
        let wrong = |lives: &[Life]| {
            let overlaps = |wrong: &Wrong| matches!(wrong, Wrong::Overlap { .. });
            wrongs(&turns(lives)).iter().filter(|wrong| overlaps(wrong)).count()
        };
        assert_eq!(wrong(&[lived(1, 1, 1, 0, 200), lived(2, 2, 2, 200, 300)]), 1);
        // One that hardly lived must not hide one that lives on.
        let hidden = [lived(1, 1, 1, 0, 500), lived(2, 2, 2, 600, 610), lived(3, 3, 3, 700, 800)];
        assert_eq!(wrong(&hidden), 0);
        let hidden = [lived(1, 1, 1, 0, 750), lived(2, 2, 2, 600, 610), lived(3, 3, 3, 700, 800)];
        assert_eq!(wrong(&hidden), 2);
        assert_eq!(
            wrong(&[lived(1, 1, 1, 0, 200), lived(1, 2, 2, 100, 300)]),
            1,
            "one epoch, twice"
        );
    }

    #[test]
    fn a_grandchild_that_outlives_its_parent_counts_for_it() {
        let (parent, child) = (lived(1, 1, 1, 0, 200), lived(1, 1, 77, 10, 400));
        assert_eq!(wrongs(&turns(&[parent.clone(), child.clone()])), [], "they belong together");
        let next = lived(2, 2, 2, 300, 500);
        let wrong = wrongs(&turns(&[parent, child, next]));
        let [Wrong::Overlap { old, .. }] = &wrong[..] else { panic!("{wrong:?}") };
        assert_eq!(old.last, Time(400_000_000));
        assert!(wrong[0].to_string().ends_with("(100ms together)"), "{}", wrong[0]);
    }

    #[test]
    fn an_epoch_that_falls_or_stays_is_found() {
        for epoch in [4, 5] {
            let wrong = wrongs(&turns(&[lived(5, 1, 1, 0, 200), lived(epoch, 2, 2, 300, 500)]));
            assert!(
                matches!(&wrong[..], [Wrong::Fell { new, .. }] if new.epoch == epoch),
                "{wrong:?}"
            );
        }
    }

    #[test]
    fn what_a_killed_witness_left_is_read_up_to_its_last_whole_line() {
        let dir = tempfile::tempdir().unwrap();
        let beats: String = (2..500).map(|at| format!("beat billing 7 n1 41 42 {at}\n")).collect();
        let all = format!("begin billing 7 n1 41 42 1\n{beats}beat billing 7 n1 41 4");
        std::fs::write(dir.path().join("a"), all).unwrap();
        std::fs::write(dir.path().join("b"), "begin bil").unwrap();
        let lives = read(dir.path()).unwrap();
        let [life] = &lives[..] else { panic!("{lives:?}") };
        assert_eq!((life.root, life.pid, life.first, life.last), (41, 42, Time(1), Time(499)));
    }
}
