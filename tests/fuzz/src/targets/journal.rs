//! What the journal's files may hold after damage, or after somebody wrote them on purpose.
//!
//! An input is a byte and then files: 0 when the damage is what disks do, 1 when checksums were mended so
//! that forged records reach what is behind them.
//!
//! What must hold: a journal that is refused is left as it was; one that opens, opens again and then says the
//! same with nothing left to cut; and of damage, no entry comes out that never went in.

mod seal;

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use quorate_storage::{Disk, Log, LogConfig, LogState, MemoryDisk};

use crate::{Dice, Target, join, split};

const JOURNAL: u64 = 7;
const DAMAGED: u8 = 0;
const FORGED: u8 = 1;
const SECTOR_BYTES: usize = 512;
/// Where an opened header says which segment it begins: behind kind, batch, magic, version and journal.
const SEGMENT_AT: usize = 9 + 8 + 4 + 8;

/// The files of small journals.
pub struct Journals {
    corpus: Vec<Vec<u8>>,
    /// Every entry that ever went in.
    written: BTreeSet<(u64, Bytes)>,
}

type Contents = (LogState, Result<Vec<(u64, Bytes)>, std::io::Error>);

impl Default for Journals {
    fn default() -> Self {
        Self::new()
    }
}

impl Journals {
    /// Writes journals of one, two and more segments.
    pub fn new() -> Self {
        let mut written = BTreeSet::new();
        let corpus = (0..6).map(|length| to_input(DAMAGED, &live(length, &mut written))).collect();
        Self { corpus, written }
    }
}

impl Target for Journals {
    fn name(&self) -> &'static str {
        "journal"
    }

    fn corpus(&self) -> &[Vec<u8>] {
        &self.corpus
    }

    /// Its files; the byte before them is left alone.
    fn parts(&self, input: &[u8]) -> Vec<Vec<u8>> {
        split(input.get(1..).unwrap_or_default())
    }

    fn assemble(&self, parts: &[Vec<u8>]) -> Vec<u8> {
        [vec![DAMAGED], join(parts)].concat()
    }

    fn draw(&self, dice: &mut Dice) -> Vec<u8> {
        let mut files = self.parts(dice.pick::<Vec<u8>>(&self.corpus));
        let others = self.parts(dice.pick::<Vec<u8>>(&self.corpus));
        let mut kind = DAMAGED;
        for _ in 0..1 + dice.below(3) {
            let at = dice.below(files.len());
            match dice.below(8) {
                0 => crate::mutate::rearrange(&mut files, &others, dice),
                1 | 2 => scratch(&mut files[at], dice),
                3 => tear(&mut files[at], dice),
                4 => {
                    kind = FORGED;
                    renumber(&mut files, dice);
                }
                _ => {
                    kind = FORGED;
                    forge(&mut files[at], dice.pick::<Vec<u8>>(&others), dice);
                }
            }
            if files.is_empty() {
                break;
            }
        }
        [vec![kind], join(&files)].concat()
    }

    fn run(&self, input: &[u8]) -> bool {
        let disk = MemoryDisk::new();
        for file in self.parts(input) {
            let (number, contents) = file.split_at(8.min(file.len()));
            let number = number.try_into().map_or(0, u64::from_le_bytes);
            disk.place(&format!("journal-{number:016x}.seg"), contents.to_vec());
        }
        let before = contents(&disk);
        let Some((state, entries)) = open(&disk) else {
            assert_eq!(contents(&disk), before, "a journal that was refused was changed");
            return false;
        };
        if let (Ok(entries), Some(&DAMAGED)) = (&entries, input.first()) {
            let alien = entries.iter().find(|entry| !self.written.contains(*entry));
            assert_eq!(alien, None, "an entry came out that never went in");
        }
        let again = open(&disk).expect("what opened once opens again");
        assert_eq!(told(&again), told(&(state, entries)), "opened again, it says something else");
        assert_eq!(again.0.report.bytes_cut, 0, "what was cut is still there");
        true
    }
}

/// Opens a journal and reads all of it; nothing if it is refused.
fn open(disk: &MemoryDisk) -> Option<Contents> {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let opened = Log::open(disk, config()).now_or_never().expect("memory never waits");
    let (log, _scribe) = opened.ok()?;
    let state = log.state();
    let entries = log.read(state.first, u64::MAX, usize::MAX);
    Some((state, entries))
}

/// What a journal says, in a form that can be compared.
fn told((state, entries): &Contents) -> String {
    let LogState { first, last, vote, committed, purged, shelved, .. } = state;
    format!("{first} {last:?} {vote:?} {committed:?} {purged:?} {shelved} {entries:?}")
}

fn config() -> LogConfig {
    // Built beside the simulation, there is one field more: a deliberate bug, which stays off.
    let mut config = LogConfig::default();
    (config.journal, config.segment_bytes, config.cache_bytes) = (JOURNAL, 4096, 600);
    config
}

fn contents(disk: &MemoryDisk) -> Vec<(String, Option<Vec<u8>>)> {
    let names = disk.list().expect("memory can be listed");
    names.into_iter().map(|name| (name.clone(), disk.contents(&name))).collect()
}

fn to_input(kind: u8, disk: &MemoryDisk) -> Vec<u8> {
    let files = contents(disk).into_iter().map(|(name, contents)| {
        let digits = name.trim_start_matches("journal-").trim_end_matches(".seg");
        let number = u64::from_str_radix(digits, 16).expect("a segment bears its number");
        [&number.to_le_bytes()[..], &contents.expect("a listed file is there")].concat()
    });
    [vec![kind], join(&files.collect::<Vec<_>>())].concat()
}

/// A bit, a byte or a number somewhere in what was written.
fn scratch(file: &mut Vec<u8>, dice: &mut Dice) {
    let end = file.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 64).min(file.len());
    let at = dice.below(end + 1);
    let mut written = file.split_off(at);
    crate::mutate::change(&mut written, &[], dice);
    file.extend_from_slice(&written);
}

/// A sector that was not written, or that was written elsewhere.
fn tear(file: &mut [u8], dice: &mut Dice) {
    let sectors = file.len().saturating_sub(8) / SECTOR_BYTES;
    let place = |sector: usize| 8 + sector * SECTOR_BYTES..8 + (sector + 1) * SECTOR_BYTES;
    if sectors == 0 {
        return;
    }
    let to = place(dice.below(sectors));
    if dice.once_in(2) {
        file[to].fill(0);
    } else {
        file.copy_within(place(dice.below(sectors)), to.start);
    }
}

/// Changes records and mends their checksums.
fn forge(file: &mut Vec<u8>, other: &[u8], dice: &mut Dice) {
    let Some((number, segment)) = file.split_first_chunk() else {
        return;
    };
    let number = u64::from_le_bytes(*number);
    let mut records = seal::open(JOURNAL, number, segment);
    let others = seal::open(JOURNAL, number, other.get(8..).unwrap_or_default());
    for _ in 0..1 + dice.below(2) {
        crate::mutate::rearrange(&mut records, &others, dice);
    }
    let sealed = seal::close(JOURNAL, number, &records, segment.len());
    file.truncate(8);
    file.extend_from_slice(&sealed);
}

/// Gives all segments other numbers, which still follow each other.
fn renumber(files: &mut [Vec<u8>], dice: &mut Dice) {
    let first = dice.odd_number().wrapping_sub(dice.below(3) as u64);
    for (at, file) in (0..).zip(files) {
        let number = first.wrapping_add(at);
        let Some((old, segment)) = file.split_first_chunk() else {
            continue;
        };
        let mut records = seal::open(JOURNAL, u64::from_le_bytes(*old), segment);
        let place =
            records.first_mut().and_then(|header| header.get_mut(SEGMENT_AT..SEGMENT_AT + 8));
        if let Some(place) = place {
            place.copy_from_slice(&number.to_le_bytes());
        }
        let sealed = seal::close(JOURNAL, number, &records, segment.len());
        *file = [&number.to_le_bytes()[..], &sealed].concat();
    }
}

/// Lets a journal live for so many rounds, and returns its files.
fn live(rounds: u64, written: &mut BTreeSet<(u64, Bytes)>) -> MemoryDisk {
    let disk = MemoryDisk::new();
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.expect("a runtime without a driver needs nothing").block_on(async {
        let (log, scribe) = Log::open(shared, config()).await.expect("an empty folder opens");
        let act = async move {
            let mut next = 1;
            for round in 0..rounds {
                work(&log, round, &mut next, written).await;
            }
        };
        tokio::join!(scribe.run(), act);
    });
    disk
}

async fn work(log: &Log, round: u64, next: &mut u64, written: &mut BTreeSet<(u64, Bytes)>) {
    let sizes = [0, 1, 40, 513, 700];
    let entries: Vec<(u64, Bytes)> = (*next..)
        .zip(sizes)
        .map(|(index, size)| (index, Bytes::from(vec![(index ^ round) as u8; size])))
        .collect();
    written.extend(entries.iter().cloned());
    *next += sizes.len() as u64;
    log.append(entries, Box::new(|outcome| outcome.expect("memory takes it")));
    log.save_committed(Bytes::from(vec![round as u8; 5]));
    log.save_vote(Bytes::from(vec![round as u8; 9])).await.expect("memory takes it");
    if round % 2 == 1 {
        *next -= 1;
        log.truncate_from(*next).await.expect("memory takes it");
    }
    if round == 3 {
        log.mark_shelved(4, Box::new(|outcome| outcome.expect("memory takes it")));
        log.purge(6, Bytes::from_static(b"marker"));
    }
    log.save_vote(Bytes::from(vec![round as u8; 10])).await.expect("memory takes it");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_opened_and_closed_again_is_as_it_was() {
        let journals = Journals::new();
        for input in journals.corpus() {
            for file in journals.parts(input) {
                let number = u64::from_le_bytes(file[..8].try_into().unwrap());
                let records = seal::open(JOURNAL, number, &file[8..]);
                assert!(!records.is_empty());
                assert_eq!(seal::close(JOURNAL, number, &records, file.len() - 8), file[8..]);
            }
        }
    }
}
