//! A disk in trouble: it refuses for a while, fails for good, or does not answer. What was acknowledged is
//! there afterwards, whatever it was; where nothing can have been lost the journal goes on by itself; and how
//! the disk stands can be watched.

use crate::common;

use std::collections::BTreeMap;
use std::future::ready;
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use common::{SMALL, done, live, seen};
use quorate_env::timeout;
use quorate_storage::{
    Disk, File, Log, LogConfig, MemoryDisk, Snapshots, Standing, StandingWatch, Sync,
};
use tokio::sync::Notify;

/// Long enough for any machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A disk that refuses some of the steps that it is asked for, and holds its syncs back on request.
#[derive(Clone, Default)]
struct Moody {
    disk: MemoryDisk,
    mood: Arc<Mutex<Mood>>,
    holds: Arc<AtomicBool>,
    released: Arc<Notify>,
}

#[derive(Default)]
struct Mood {
    /// How many steps were asked for.
    steps: usize,
    /// Which of them are refused, and how.
    refuses: Range<usize>,
    with: Option<ErrorKind>,
    /// Whether each step that was refused was one that can be taken again.
    refused: Vec<bool>,
    /// Which files have a name that counts, by the name they have.
    named: BTreeMap<String, Arc<AtomicBool>>,
}

struct MoodyFile {
    file: Box<dyn File>,
    disk: Moody,
    is_named: Arc<AtomicBool>,
}

impl Moody {
    fn refusing(steps: Range<usize>, with: ErrorKind) -> Self {
        let moody = Self::default();
        moody.refuse(steps, with);
        moody
    }

    fn refuse(&self, steps: Range<usize>, with: ErrorKind) {
        let mut mood = self.mood.lock().unwrap();
        (mood.refuses, mood.with) = (steps, Some(with));
    }

    fn shared(&self) -> Arc<dyn Disk> {
        Arc::new(self.clone())
    }

    fn step(&self, can_be_repeated: bool) -> io::Result<()> {
        let mut mood = self.mood.lock().unwrap();
        mood.steps += 1;
        if mood.refuses.contains(&(mood.steps - 1))
            && let Some(kind) = mood.with
        {
            mood.refused.push(can_be_repeated);
            return Err(kind.into());
        }
        Ok(())
    }

    fn wrap(&self, name: &str, file: Box<dyn File>) -> Box<dyn File> {
        let mut mood = self.mood.lock().unwrap();
        let is_named = Arc::new(AtomicBool::new(!name.ends_with(".tmp")));
        mood.named.insert(name.to_owned(), Arc::clone(&is_named));
        Box::new(MoodyFile { file, disk: self.clone(), is_named })
    }
}

impl Disk for Moody {
    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list()
    }

    fn create(&self, name: &str, len: u64) -> io::Result<Box<dyn File>> {
        let file = self.disk.create(name, len)?;
        // As on a real disk, what was begun lies there.
        self.step(true)?;
        Ok(self.wrap(name, file))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn File>> {
        Ok(self.wrap(name, self.disk.open(name)?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.step(true)?;
        self.disk.rename(from, to)?;
        let mut mood = self.mood.lock().unwrap();
        if let Some(is_named) = mood.named.remove(from) {
            is_named.store(true, Ordering::Relaxed);
            mood.named.insert(to.to_owned(), is_named);
        }
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.step(true)?;
        self.disk.remove(name)
    }

    fn sync(&self) -> Sync<'_> {
        Box::pin(ready(self.step(false)))
    }
}

impl File for MoodyFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read_at(&self, position: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.file.read_at(position, bytes)
    }

    fn write_at(&self, position: u64, bytes: &[u8]) -> io::Result<()> {
        if let Err(error) = self.disk.step(true) {
            // Some of it may have been written, in whole sectors.
            let end = (position + bytes.len() as u64 / 2) / 512 * 512;
            self.file.write_at(position, &bytes[..end.saturating_sub(position) as usize])?;
            return Err(error);
        }
        self.file.write_at(position, bytes)
    }

    fn sync(&self) -> Sync<'_> {
        let outcome = self.disk.step(!self.is_named.load(Ordering::Relaxed));
        Box::pin(async move {
            while self.disk.holds.load(Ordering::Relaxed) {
                let released = self.disk.released.notified();
                if self.disk.holds.load(Ordering::Relaxed) {
                    released.await;
                }
            }
            outcome
        })
    }
}

async fn append(log: &Log, index: u64) -> io::Result<()> {
    let (done, outcome) = done();
    log.append(vec![(index, vec![index as u8; 400].into())], done);
    outcome.await.expect("whoever asks is answered")
}

/// A life with a bit of everything, until something is refused for good. Says what was acknowledged last.
async fn story(log: &Log) -> (u64, u64) {
    let (mut entry, mut vote) = (0, 0);
    for index in 1..=40 {
        if append(log, index).await.is_err() {
            break;
        }
        entry = index;
        if index % 5 == 0 {
            if log.save_vote(Bytes::from(index.to_string())).await.is_err() {
                break;
            }
            vote = index;
        }
        // What is deleted for it is deleted before the end, which comes behind it.
        if index % 8 == 4 && index > 4 {
            log.purge(index - 7, Bytes::from_static(b"marker"));
        }
    }
    (entry, vote)
}

/// Writes down each state that the disk comes to be in.
async fn look_on(watch: &StandingWatch, seen: &Mutex<Vec<Standing>>) {
    let mut last = watch.current();
    loop {
        last = watch.changed(last).await;
        seen.lock().unwrap().push(last);
    }
}

/// What came of a life on a disk.
struct Told {
    entry: u64,
    vote: u64,
    standings: Vec<Standing>,
    last: Standing,
    /// Whether each step that was refused can be taken again.
    refused: Vec<bool>,
}

/// Lives on a disk, and checks that everything that was acknowledged is found afterwards.
async fn told(moody: &Moody) -> Told {
    let standings = Mutex::new(Vec::new());
    let disk = moody.shared();
    let lived = live(&disk, SMALL, async |log| {
        let watch = log.standing();
        let told = tokio::select! {
            told = story(&log) => told,
            () = look_on(&watch, &standings) => unreachable!("it looks on for ever"),
        };
        // Nothing waits for the next segment yet, which is asked for again in a while.
        while !watch.current().is_healthy() && !watch.is_stuck() {
            watch.changed(watch.current()).await;
        }
        (told, watch.current(), watch.why())
    });
    let ((entry, vote), last, why) = lived.await.unwrap();
    assert_eq!(why.is_some(), last != Standing::Healthy, "a disk that refuses says why");
    let refused = std::mem::take(&mut moody.mood.lock().unwrap().refused);
    moody.refuse(0..0, ErrorKind::Other);
    let found = live(&disk, SMALL, async |log| seen(&log)).await.unwrap();
    let found_entry = found.entries.keys().next_back().copied().unwrap_or(0);
    assert!(found_entry >= entry, "{entry} was acknowledged, {found_entry} is there");
    let found_vote = found.vote.map_or(0, |vote| String::from_utf8(vote).unwrap().parse().unwrap());
    assert!(found_vote >= vote, "vote {vote} was acknowledged, {found_vote} is there");
    Told { entry, vote, standings: standings.into_inner().unwrap(), last, refused }
}

/// How many steps a life takes, and how many of them opening the journal.
async fn steps() -> Range<usize> {
    let moody = Moody::default();
    let opening = async |_| moody.mood.lock().unwrap().steps;
    let from = live(&moody.shared(), SMALL, opening).await.unwrap();
    let moody = Moody::default();
    told(&moody).await;
    let steps = moody.mood.lock().unwrap().steps;
    assert!(from < 12 && steps > 100, "{from} of {steps} steps");
    from..steps
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_is_full_anywhere_and_for_a_while_costs_time_and_nothing_else() {
    let faults = [
        (ErrorKind::StorageFull, Standing::Full),
        (ErrorKind::QuotaExceeded, Standing::Full),
        (ErrorKind::ReadOnlyFilesystem, Standing::ReadOnly),
    ];
    let (mut went_on, mut stopped) = (0, 0);
    for step in steps().await {
        for (kind, standing) in faults {
            for count in [1, 3] {
                let told = told(&Moody::refusing(step..step + count, kind)).await;
                let at = format!("step {step}, {kind} {count} times: {:?}", told.standings);
                if told.refused.iter().all(|&can_be_repeated| can_be_repeated) {
                    assert_eq!((told.entry, told.vote), (40, 40), "{at}");
                    assert_eq!(told.last, Standing::Healthy, "{at}");
                    let is_known = |seen: &Standing| *seen == standing || seen.is_healthy();
                    assert!(told.standings.iter().all(is_known), "{at}");
                    went_on += 1;
                } else {
                    // A sync that failed once says nothing when it succeeds later.
                    assert_eq!(told.last, Standing::Failed, "{at}");
                    stopped += 1;
                }
            }
        }
    }
    assert!(went_on > 200 && stopped > 200, "{went_on} went on, {stopped} stopped");
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_fails_anywhere_stops_the_journal_and_keeps_what_was_acknowledged() {
    let mut stopped = 0;
    for step in steps().await {
        let told = told(&Moody::refusing(step..usize::MAX, ErrorKind::Other)).await;
        stopped += usize::from(told.last == Standing::Failed);
    }
    assert!(stopped > 100, "{stopped} stopped");
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_is_told_while_it_is_full_and_an_orderly_end_does_not_wait_for_room() {
    let moody = Moody::default();
    let disk = moody.shared();
    let (done, outcome) = done();
    live(&disk, SMALL, async |log| {
        append(&log, 1).await.unwrap();
        moody.refuse(0..usize::MAX, ErrorKind::StorageFull);
        log.append(vec![(2, vec![2; 100].into())], done);
        let watch = log.standing();
        assert_eq!(watch.changed(Standing::Healthy).await, Standing::Full);
        assert!(watch.why().is_some());
    })
    .await
    .unwrap();
    // Nobody is left who could wait for it, so the answer comes and is a refusal.
    outcome.await.unwrap().unwrap_err();
}

#[tokio::test]
async fn a_disk_that_does_not_answer_is_called_slow_until_it_does() {
    let moody = Moody::default();
    let config = LogConfig { slow_after: Duration::from_millis(1), ..SMALL };
    live(&moody.shared(), config, async |log| {
        append(&log, 1).await.unwrap();
        moody.holds.store(true, Ordering::Relaxed);
        let (done, outcome) = done();
        log.append(vec![(2, vec![2; 100].into())], done);
        let watch = log.standing();
        let slow = timeout(PATIENCE, watch.changed(Standing::Healthy)).await.unwrap();
        assert!(matches!(slow, Standing::Slow { .. } | Standing::Hung { .. }), "{slow:?}");
        timeout(PATIENCE, watch.stuck()).await.unwrap();
        let hung = watch.current();
        assert!(matches!(hung, Standing::Hung { .. }), "{hung:?}");
        moody.holds.store(false, Ordering::Relaxed);
        moody.released.notify_waiters();
        timeout(PATIENCE, outcome).await.unwrap().unwrap().unwrap();
        let healthy = timeout(PATIENCE, watch.changed(hung)).await.unwrap();
        assert_eq!(healthy, Standing::Healthy);
        timeout(PATIENCE, watch.unstuck()).await.unwrap();
    })
    .await
    .unwrap();
}

/// A disk that has room for so many bytes.
#[derive(Clone)]
struct Bounded(MemoryDisk, u64);

impl Disk for Bounded {
    fn list(&self) -> io::Result<Vec<String>> {
        self.0.list()
    }

    fn create(&self, name: &str, len: u64) -> io::Result<Box<dyn File>> {
        let names = self.0.list()?.into_iter();
        let taken: usize = names.filter_map(|name| Some(self.0.contents(&name)?.len())).sum();
        match taken as u64 + len > self.1 {
            true => Err(ErrorKind::StorageFull.into()),
            false => self.0.create(name, len),
        }
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn File>> {
        self.0.open(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.0.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.remove(name)
    }

    fn sync(&self) -> Sync<'_> {
        self.0.sync()
    }
}

/// A log whose third segment is its last for want of room, and half full.
async fn with_little_room(test: impl AsyncFnOnce(Log, StandingWatch)) {
    let disk: Arc<dyn Disk> = Arc::new(Bounded(MemoryDisk::new(), 3 * 4096 + 512));
    let story = live(&disk, SMALL, async |log| {
        let watch = log.standing();
        let mut index = 0;
        while watch.current().is_healthy() {
            index += 1;
            timeout(PATIENCE, append(&log, index)).await.unwrap().unwrap();
        }
        assert_eq!(disk.list().unwrap().len(), 3);
        test(log, watch).await;
    });
    story.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_is_told_while_a_vote_still_has_room() {
    with_little_room(async |log, watch| {
        assert_eq!(watch.current(), Standing::Full);
        assert!(!watch.is_stuck(), "what is written by now has room");
        let saved = log.save_vote(Bytes::from_static(b"for another"));
        timeout(PATIENCE, saved).await.unwrap().unwrap();
        assert_eq!(watch.current(), Standing::Full, "it is as full as before");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_a_full_disk_needs_no_more_makes_room_for_what_comes_with_it() {
    with_little_room(async |log, watch| {
        let last = log.state().last.unwrap();
        // Both are written together, and the entry needs the room that the purge gives.
        log.purge(last, Bytes::from_static(b"marker"));
        let (done, outcome) = done();
        log.append(vec![(last + 1, vec![1; 3000].into())], done);
        timeout(PATIENCE, outcome).await.expect("it waits for room for ever").unwrap().unwrap();
        assert!(!watch.is_stuck());
    })
    .await;
}

#[tokio::test]
async fn a_snapshot_that_finds_no_room_leaves_the_one_before_it_and_no_rest() {
    let (mut step, mut refused) = (0, 0);
    loop {
        let moody = Moody::default();
        let snapshots = Snapshots::open(moody.shared()).unwrap();
        snapshots.save(4, b"four", &[4; 3000]).await.unwrap();
        let before = moody.mood.lock().unwrap().steps;
        moody.refuse(before + step..before + step + 1, ErrorKind::StorageFull);
        let pieces = (0..5).map(|piece| vec![piece; 700_000]);
        match snapshots.save_chunks(9, b"nine", pieces).await {
            Ok(()) if moody.mood.lock().unwrap().refused.is_empty() => break,
            Ok(()) => {}
            Err(error) => {
                refused += 1;
                assert_eq!(Standing::of_refusal(&error), Some(Standing::Full));
                let names = moody.disk.list().unwrap();
                assert!(names.iter().all(|name| !name.ends_with(".tmp")), "{step}: {names:?}");
            }
        }
        let (index, meta, body) = snapshots.newest().unwrap().expect("one is there");
        assert!(index == 9 || (meta == b"four" && body == [4; 3000]), "step {step}: {index}");
        // And there is room again.
        snapshots.save(10, b"ten", &[1; 10]).await.unwrap();
        assert_eq!(snapshots.newest().unwrap().map(|(index, ..)| index), Some(10));
        step += 1;
    }
    assert!(refused > 10, "{refused} steps were refused");
}
