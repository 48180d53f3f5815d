//! A crash at every single step of a log's life: of the process, which keeps all that was written, and of
//! the machine, which keeps what was synced and, of the rest, nothing, everything, or any sectors.
//!
//! What is found afterwards is one of the states that the log went through, and not an earlier one than the
//! last that was acknowledged.

mod common;

use std::collections::BTreeMap;
use std::future::ready;
use std::io;
use std::sync::{Arc, Mutex};

use common::{Call, Dice, Model, Pair, SMALL, done, live, look, seen, settled};
use quorate_storage::{Disk, File, Log, LogConfig, MemoryDisk, Snapshots, Sync};

/// One thing that was done to a disk. Files are known by number, since names change.
#[derive(Clone, Debug)]
enum Step {
    Create {
        name: String,
        length: u64,
    },
    Write {
        file: usize,
        at: u64,
        bytes: Vec<u8>,
    },
    Sync {
        file: usize,
    },
    Rename {
        from: String,
        to: String,
    },
    Remove {
        name: String,
    },
    SyncNames,
    /// The log said that the so-manieth state is durable.
    Acknowledged {
        state: usize,
    },
}

#[derive(Clone, Copy, Debug)]
enum Loss {
    Nothing,
    Unsynced,
    /// The data is lost and the names are kept.
    UnsyncedData,
    /// Some of it, by these dice.
    Some(u64),
}

#[tokio::test]
async fn a_crash_at_any_step_loses_nothing_that_was_acknowledged() {
    for seed in 0..6 {
        let (steps, states) = story(seed, SMALL).await;
        let rolled = steps.iter().filter(|step| matches!(step, Step::Rename { .. })).count();
        let removed = steps.iter().filter(|step| matches!(step, Step::Remove { .. })).count();
        assert!(rolled > 3 && removed > 1, "the story has {rolled} segments, {removed} deleted");
        for crash in 0..=steps.len() {
            for loss in losses(seed) {
                let outcome = survive(&steps[..crash], &states, loss).await;
                outcome.unwrap_or_else(|why| panic!("seed {seed}, step {crash}, {loss:?}: {why}"));
            }
        }
    }
}

/// What a killed process wrote, and the names that it gave, may be known to the system's cache only. Once a
/// later life has shown it to anybody, it must not vanish, and neither must what that life adds.
#[tokio::test]
async fn what_was_found_after_a_kill_outlives_a_power_cut() {
    let (steps, _) = story(2, SMALL).await;
    for crash in 0..=steps.len() {
        for adds in [false, true] {
            let recorder = Recorder::after(&steps[..crash]);
            let later = Arc::clone(&recorder.steps);
            let disk: Arc<dyn Disk> = Arc::new(recorder);
            let (log, scribe) = Log::open(Arc::clone(&disk), SMALL).await.unwrap();
            let living = async {
                if adds {
                    append_one(&log).await;
                }
                // The power goes before the log is closed.
                (seen(&log), later.lock().unwrap().clone())
            };
            let (found, later) = tokio::select! {
                biased;
                found = living => found,
                () = scribe.run() => unreachable!("the log lives"),
            };
            for loss in [Loss::Unsynced, Loss::UnsyncedData, Loss::Some(crash as u64)] {
                let disk: Arc<dyn Disk> = Arc::new(what_is_left(&later, loss));
                let left = look(&disk, SMALL).await.unwrap();
                assert_eq!(left, found, "step {crash}, adds {adds}, {loss:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_crash_at_any_step_leaves_the_newest_saved_snapshot_whole() {
    let recorder = Recorder::after(&[]);
    let steps = Arc::clone(&recorder.steps);
    let snapshots = Snapshots::open(Arc::new(recorder)).unwrap();
    let body = |index: u64| vec![index as u8; 3000];
    for index in [4_u64, 9, 10, 30] {
        snapshots.save(index, b"meta", &body(index)).await.unwrap();
        steps.lock().unwrap().push(Step::Acknowledged { state: index as usize });
    }
    let steps = steps.lock().unwrap().clone();
    for crash in 0..=steps.len() {
        let steps = &steps[..crash];
        let saved = acknowledged(steps) as u64;
        for loss in losses(3) {
            let left: Arc<dyn Disk> = Arc::new(what_is_left(steps, loss));
            let snapshots = Snapshots::open(Arc::clone(&left)).unwrap();
            match snapshots.newest().unwrap() {
                Some((index, meta, found)) => {
                    assert!(index >= saved, "step {crash}, {loss:?}: {index}, not {saved}");
                    assert!(meta == b"meta" && found == body(index));
                }
                None => assert_eq!(saved, 0, "step {crash}, {loss:?}"),
            }
            // And the next one can be saved over whatever is left.
            snapshots.save(31, b"", b"").await.unwrap();
            assert_eq!(left.list().unwrap().len(), 1);
        }
    }
}

/// Appends the next entry, whichever that is, and sees it become durable.
async fn append_one(log: &Log) -> u64 {
    let state = log.state();
    let next = state.last.map_or(state.first, |last| last + 1);
    log.append(vec![(next, vec![9; 20].into())], Box::new(|outcome| outcome.unwrap()));
    settled(log).await;
    next
}

#[cfg(feature = "mutants")]
#[tokio::test]
async fn a_log_that_acknowledges_before_the_sync_is_found_out() {
    let config = quorate_storage::LogConfig { ack_before_sync: true, ..SMALL };
    let (steps, states) = story(1, config).await;
    let mut lost = 0;
    for crash in 0..=steps.len() {
        for loss in losses(1) {
            lost += usize::from(survive(&steps[..crash], &states, loss).await.is_err());
        }
    }
    assert!(lost > 0, "nothing was lost, so this test would not find a real bug either");
}

/// The newest state that was acknowledged; the empty one always is.
fn acknowledged(steps: &[Step]) -> usize {
    let newest = steps.iter().rev().find_map(|step| match step {
        Step::Acknowledged { state } => Some(*state),
        _ => None,
    });
    newest.unwrap_or(0)
}

fn losses(seed: u64) -> impl Iterator<Item = Loss> {
    let plain = [Loss::Nothing, Loss::Unsynced, Loss::UnsyncedData];
    plain.into_iter().chain((0..6).map(move |n| Loss::Some(seed * 1000 + n)))
}

/// What is on the disk after a crash holds what it must, and goes on to work.
async fn survive(steps: &[Step], states: &[Model], loss: Loss) -> Result<(), String> {
    let acknowledged = acknowledged(steps);
    let disk: Arc<dyn Disk> = Arc::new(what_is_left(steps, loss));
    let found = look(&disk, SMALL).await.map_err(|error| error.to_string())?;
    // How far the log is committed rides along, and nobody is told when it is durable.
    let is_like = |state: &&Model| {
        Model { committed: None, ..(*state).clone() } == Model { committed: None, ..found.clone() }
    };
    let is_marked = states.iter().any(|state| state.committed == found.committed);
    if !is_marked || states[acknowledged..].iter().find(is_like).is_none() {
        return Err(format!("found {found:?}, acknowledged {:?}", states[acknowledged]));
    }
    // What was cut off must never come back, and what comes next must stay.
    let again = live(&disk, SMALL, async |log| append_one(&log).await);
    let next = again.await.map_err(|error| format!("opened a second time: {error}"))?;
    let mut expected = found;
    expected.entries.insert(next, vec![9; 20]);
    let found = look(&disk, SMALL).await.map_err(|error| format!("a third time: {error}"))?;
    if found != expected {
        return Err(format!("a third time: {found:?}, not {expected:?}"));
    }
    Ok(())
}

/// A life with everything in it: all that was done to the disk, and all states that the log went through.
async fn story(seed: u64, config: LogConfig) -> (Vec<Step>, Vec<Model>) {
    let recorder = Recorder::after(&[]);
    let steps = Arc::clone(&recorder.steps);
    let disk: Arc<dyn Disk> = Arc::new(recorder);
    let mut dice = Dice(seed);
    let mut pair = Pair::new();
    let mut states = vec![Model::default()];
    live(&disk, config, async |log| {
        for _ in 0..24 {
            for _ in 0..=dice.roll(3) {
                let call = match dice.roll(12) {
                    0 => Call::Truncate { count: dice.roll(4) as u8 },
                    1 | 2 => Call::Purge { count: 1 + dice.roll(5) as u8 },
                    3 | 4 => Call::Vote(dice.roll(250) as u8),
                    5 => Call::Shelved(dice.roll(100)),
                    _ => Call::Append { sizes: vec![dice.roll(1600) as u16] },
                };
                pair.call(&log, &call).await;
                states.push(pair.model.clone());
            }
            // Rides along at the end of a batch, whenever it is said.
            if dice.roll(2) == 0 {
                pair.call(&log, &Call::Committed(dice.roll(250) as u8)).await;
                states.push(pair.model.clone());
            }
            // Noted at the very moment of the acknowledgement.
            let (done, outcome) = done();
            let (state, steps) = (states.len() - 1, Arc::clone(&steps));
            let noted = move |outcome: io::Result<()>| {
                steps.lock().unwrap().push(Step::Acknowledged { state });
                done(outcome);
            };
            log.append(Vec::new(), Box::new(noted));
            outcome.await.unwrap().unwrap();
        }
    })
    .await
    .unwrap();
    let steps = steps.lock().unwrap().clone();
    (steps, states)
}

/// Plays the steps, minus what a crash takes.
fn what_is_left(steps: &[Step], loss: Loss) -> MemoryDisk {
    let mut dice = Dice(match loss {
        Loss::Some(seed) => seed,
        _ => 0,
    });
    let names_synced = steps.iter().rposition(|step| matches!(step, Step::SyncNames));
    let mut contents: Vec<Vec<u8>> = Vec::new();
    let mut names: BTreeMap<String, usize> = BTreeMap::new();
    for (at, step) in steps.iter().enumerate() {
        let is_named = names_synced.is_some_and(|synced| synced > at)
            || match loss {
                Loss::Nothing | Loss::UnsyncedData => true,
                Loss::Unsynced => false,
                Loss::Some(_) => dice.roll(2) == 0,
            };
        match step {
            Step::Create { name, length } => {
                contents.push(vec![0; *length as usize]);
                if is_named {
                    names.insert(name.clone(), contents.len() - 1);
                }
            }
            Step::Rename { from, to } if is_named => {
                if let Some(file) = names.remove(from) {
                    names.insert(to.clone(), file);
                }
            }
            Step::Remove { name } if is_named => drop(names.remove(name)),
            Step::Write { file, at: position, bytes } => {
                let is_of_file = |step: &Step| matches!(step, Step::Sync { file: f } if f == file);
                let is_synced = steps[at..].iter().any(is_of_file);
                let mut from = 0;
                while from < bytes.len() {
                    let position = *position as usize + from;
                    let count = (512 - position % 512).min(bytes.len() - from);
                    let is_kept = match loss {
                        _ if is_synced => true,
                        Loss::Nothing => true,
                        Loss::Unsynced | Loss::UnsyncedData => false,
                        Loss::Some(_) => dice.roll(3) > 0,
                    };
                    if is_kept {
                        let sector = &bytes[from..from + count];
                        let held = &mut contents[*file];
                        held.resize(held.len().max(position + count), 0);
                        held[position..position + count].copy_from_slice(sector);
                    }
                    from += count;
                }
            }
            _ => {}
        }
    }
    let disk = MemoryDisk::new();
    for (name, file) in names {
        // A file that was never synced may even be short.
        let is_synced =
            steps.iter().any(|step| matches!(step, Step::Sync { file: f } if *f == file));
        let mut bytes = contents[file].clone();
        if matches!(loss, Loss::Some(_)) && !is_synced {
            bytes.truncate(dice.roll(bytes.len() as u64 + 1) as usize);
        }
        disk.place(&name, bytes);
    }
    disk
}

/// A disk that writes down what is done to it.
struct Recorder {
    disk: MemoryDisk,
    steps: Arc<Mutex<Vec<Step>>>,
    /// The number of each name's file.
    names: Mutex<BTreeMap<String, usize>>,
}

struct RecordedFile {
    number: usize,
    file: Box<dyn File>,
    steps: Arc<Mutex<Vec<Step>>>,
}

impl Recorder {
    /// Goes on where a killed process stopped.
    fn after(steps: &[Step]) -> Self {
        let mut names = BTreeMap::new();
        let mut count = 0;
        for step in steps {
            match step {
                Step::Create { name, .. } => {
                    names.insert(name.clone(), count);
                    count += 1;
                }
                Step::Rename { from, to } => {
                    if let Some(file) = names.remove(from) {
                        names.insert(to.clone(), file);
                    }
                }
                Step::Remove { name } => drop(names.remove(name)),
                _ => {}
            }
        }
        let disk = what_is_left(steps, Loss::Nothing);
        Self { disk, steps: Arc::new(Mutex::new(steps.to_vec())), names: Mutex::new(names) }
    }
}

impl Disk for Recorder {
    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list()
    }

    fn create(&self, name: &str, length: u64) -> io::Result<Box<dyn File>> {
        let mut steps = self.steps.lock().unwrap();
        let number = steps.iter().filter(|step| matches!(step, Step::Create { .. })).count();
        steps.push(Step::Create { name: name.to_owned(), length });
        self.names.lock().unwrap().insert(name.to_owned(), number);
        let file = self.disk.create(name, length)?;
        Ok(Box::new(RecordedFile { number, file, steps: Arc::clone(&self.steps) }))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn File>> {
        let number = self.names.lock().unwrap()[name];
        let file = self.disk.open(name)?;
        Ok(Box::new(RecordedFile { number, file, steps: Arc::clone(&self.steps) }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.steps.lock().unwrap().push(Step::Rename { from: from.into(), to: to.into() });
        let mut names = self.names.lock().unwrap();
        if let Some(number) = names.remove(from) {
            names.insert(to.to_owned(), number);
        }
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.steps.lock().unwrap().push(Step::Remove { name: name.into() });
        self.disk.remove(name)
    }

    fn sync(&self) -> Sync<'_> {
        self.steps.lock().unwrap().push(Step::SyncNames);
        Box::pin(ready(Ok(())))
    }
}

impl File for RecordedFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read_at(&self, position: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.file.read_at(position, bytes)
    }

    fn write_at(&self, position: u64, bytes: &[u8]) -> io::Result<()> {
        let step = Step::Write { file: self.number, at: position, bytes: bytes.to_vec() };
        self.steps.lock().unwrap().push(step);
        self.file.write_at(position, bytes)
    }

    fn sync(&self) -> Sync<'_> {
        self.steps.lock().unwrap().push(Step::Sync { file: self.number });
        Box::pin(ready(Ok(())))
    }
}
