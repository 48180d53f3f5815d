//! The journal as a whole: what is read back from all of its segments, and the new segment that a fresh one
//! starts with.
//!
//! Recovery looks at everything before it changes anything. It ends in exactly what was acknowledged (and
//! possibly some of what was under way), or in an error that names a file; never in less (I9, I10). Then it
//! wipes what a torn write left behind the end, and syncs: what is shown from here on cannot vanish.
//!
//! Not here: writing (`scribe`), reading entries (`log`).

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::disk::{Disk, File};
use crate::error::StorageError;
use crate::log::LogConfig;
use crate::record::{self, Record, Seal};
use crate::segment::{self, Header};
use crate::sum::Sum;
use crate::window::{Place, Window};

/// What opening a journal found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpenReport {
    /// The journal was made just now.
    pub is_new: bool,
    /// How many segments it has.
    pub segments: usize,
    /// How many entries it holds.
    pub entries: u64,
    /// How many bytes were cut off its end: of a write that was under way when the node went down, and
    /// which nobody was told had happened.
    pub bytes_cut: u64,
}

/// A segment that is part of the journal.
pub(crate) struct Segment {
    pub(crate) file: Arc<dyn File>,
    /// The highest index of an entry in it, whatever became of that entry.
    pub(crate) greatest: Option<u64>,
}

/// Where the next record goes.
pub(crate) struct Tail {
    pub(crate) segment: u64,
    pub(crate) file: Arc<dyn File>,
    pub(crate) at: u64,
    pub(crate) capacity: u64,
    /// The number of the next sync.
    pub(crate) batch: u64,
    pub(crate) seal: Seal,
}

/// A journal, ready to be read and written.
pub(crate) struct Journal {
    pub(crate) sum: Sum,
    pub(crate) window: Window,
    pub(crate) segments: BTreeMap<u64, Segment>,
    pub(crate) tail: Tail,
    /// Where the records of the last sync lie, and their bytes.
    newest: (u64, Vec<u8>),
    pub(crate) report: OpenReport,
}

/// Whether the folder holds a journal, or the remains of one.
pub(crate) fn is_present(disk: &dyn Disk) -> std::io::Result<bool> {
    Ok(disk.list()?.iter().any(|name| segment::number(name).is_some()))
}

/// Opens the journal that is there, or makes one.
pub(crate) async fn open(disk: &dyn Disk, config: &LogConfig) -> Result<Journal, StorageError> {
    let names = disk.list().map_err(StorageError::io("listing the journal"))?;
    let mut numbers: Vec<u64> = names.iter().filter_map(|name| segment::number(name)).collect();
    numbers.sort_unstable();
    if let Some(gap) = numbers.windows(2).find(|pair| pair[1] != pair[0] + 1) {
        return Err(StorageError::MissingSegment { file: segment::name(gap[0] + 1) });
    }
    if numbers.is_empty() {
        remove_unnamed(disk)?;
        return make(disk, config).await;
    }
    let mut reader = Reader::new(config);
    for &number in &numbers {
        reader.read(disk, number, Some(&number) == numbers.last())?;
    }
    let journal = reader.finish(&numbers)?;
    remove_unnamed(disk)?;
    journal.wipe_and_sync(disk).await?;
    Ok(journal)
}

/// Makes a journal with its first segment.
async fn make(disk: &dyn Disk, config: &LogConfig) -> Result<Journal, StorageError> {
    let header = Header {
        journal: config.journal,
        segment: 1,
        capacity: config.capacity_for(0),
        batch: 0,
        sum: Sum::default(),
    };
    let making = || StorageError::io("making the journal");
    let file = header.make(disk, None).await.map_err(making())?;
    disk.sync().await.map_err(making())?;
    let tail = Tail::after_header(&header, Arc::clone(&file));
    Ok(Journal {
        sum: header.sum,
        window: Window::new(config.cache_bytes),
        segments: BTreeMap::from([(1, Segment { file, greatest: None })]),
        tail,
        newest: (0, Vec::new()),
        report: OpenReport { is_new: true, segments: 1, ..OpenReport::default() },
    })
}

/// What a crash left of a segment in the making.
fn remove_unnamed(disk: &dyn Disk) -> Result<(), StorageError> {
    segment::remove_unnamed(disk).map_err(StorageError::io("removing an unfinished segment"))
}

impl Tail {
    /// Behind the header of a segment that holds nothing else.
    pub(crate) fn after_header(header: &Header, file: Arc<dyn File>) -> Self {
        Self {
            segment: header.segment,
            file,
            at: header.to_bytes().len() as u64,
            capacity: header.capacity,
            batch: header.batch + 1,
            seal: Seal::new(header.journal, header.segment),
        }
    }
}

/// Takes the segments one by one.
struct Reader<'a> {
    config: &'a LogConfig,
    /// What holds up to here; `None` before the first segment.
    sum: Option<Sum>,
    /// What `next` was when the oldest segment began.
    next_at_first: Option<u64>,
    batch: u64,
    window: Window,
    segments: BTreeMap<u64, Segment>,
    tail: Option<Tail>,
    /// Where the records of the last sync lie, and their bytes.
    newest: (u64, Vec<u8>),
    cut: u64,
}

impl<'a> Reader<'a> {
    fn new(config: &'a LogConfig) -> Self {
        Self {
            config,
            sum: None,
            next_at_first: None,
            batch: 0,
            window: Window::new(config.cache_bytes),
            segments: BTreeMap::new(),
            tail: None,
            newest: (0, Vec::new()),
            cut: 0,
        }
    }

    fn read(&mut self, disk: &dyn Disk, number: u64, is_last: bool) -> Result<(), StorageError> {
        let name = segment::name(number);
        let file: Arc<dyn File> =
            disk.open(&name).map_err(StorageError::io(format!("opening {name}")))?.into();
        let bytes = whole(&name, &*file)?;
        let (header, from) = Header::read(&name, &bytes, self.config.journal, number)?;
        match &self.sum {
            None => {
                self.next_at_first = header.sum.next;
                self.batch = header.batch;
            }
            Some(sum) if *sum != header.sum || self.batch != header.batch => {
                // The segment before it was synced to its end before this one was made.
                let before = segment::name(number - 1);
                let end = self.tail.as_ref().map_or(0, |tail| tail.at);
                let why = "its last records are missing";
                return Err(StorageError::corrupt(&before, end, "a record", why));
            }
            Some(_) => {}
        }
        let mut sum = header.sum.clone();
        let mut greatest: Option<u64> = None;
        let window = &mut self.window;
        let scan = segment::scan(&name, &bytes, from, &header, is_last, |record, at, bytes| {
            sum.take(&record)?;
            if let Record::Entry { index, .. } = &record {
                greatest = greatest.max(Some(*index));
            }
            restore(window, &record, Place { segment: number, at: at as u32, bytes: bytes as u32 });
            Ok(())
        });
        let scan = scan.map_err(|error| match error {
            StorageError::Corrupt { kind: record::ENTRY, .. } => error.of(sum.next),
            error => error,
        })?;
        self.sum = Some(sum);
        self.batch = scan.batch;
        self.newest = (scan.last as u64, bytes[scan.last..scan.end].to_vec());
        self.cut = scan.cut as u64;
        self.segments.insert(number, Segment { file: Arc::clone(&file), greatest });
        self.tail = Some(Tail {
            segment: number,
            file,
            at: scan.end as u64,
            capacity: header.capacity,
            batch: scan.batch + 1,
            seal: Seal::new(header.journal, number),
        });
        Ok(())
    }

    fn finish(self, numbers: &[u64]) -> Result<Journal, StorageError> {
        let (Some(sum), Some(tail)) = (self.sum, self.tail) else {
            unreachable!("a journal has at least one segment");
        };
        let floor = sum.floor();
        // Segments are deleted from the front, once all of their entries are purged.
        let is_whole = numbers.first() == Some(&1)
            || (sum.purged.is_some() && self.next_at_first.is_none_or(|next| next <= floor));
        let is_held = sum.purged.is_none() || sum.next == Some(floor + self.window.count());
        if !is_whole || !is_held {
            let before = numbers.first().map_or(0, |first| first.saturating_sub(1));
            return Err(StorageError::MissingSegment { file: segment::name(before) });
        }
        let report = OpenReport {
            is_new: false,
            segments: self.segments.len(),
            entries: self.window.count(),
            bytes_cut: self.cut,
        };
        let (window, segments, newest) = (self.window, self.segments, self.newest);
        Ok(Journal { sum, window, segments, tail, newest, report })
    }
}

impl Journal {
    /// Leaves nothing behind the end that could ever be read, and makes sure of what is before it: a killed
    /// process may have left records that only the system's cache knows. Those of the last sync are written
    /// again, as it may have failed: the system then takes them for written, and no later sync saves them.
    async fn wipe_and_sync(&self, disk: &dyn Disk) -> Result<(), StorageError> {
        let name = segment::name(self.tail.segment);
        if self.report.bytes_cut > 0 {
            tracing::warn!(
                file = name,
                offset = self.tail.at,
                bytes = self.report.bytes_cut,
                "cutting a write that was under way when the node went down"
            );
            let zeros = vec![0; 1 << 16];
            let (mut at, end) = (self.tail.at, self.tail.at + self.report.bytes_cut);
            while at < end {
                let count = zeros.len().min(usize::try_from(end - at).unwrap_or(zeros.len()));
                self.tail
                    .file
                    .write_at(at, &zeros[..count])
                    .map_err(StorageError::io(format!("wiping the end of {name}")))?;
                at += count as u64;
            }
        }
        let (at, bytes) = &self.newest;
        if !bytes.is_empty() {
            let writing = StorageError::io(format!("writing the last records of {name} again"));
            self.tail.file.write_at(*at, bytes).map_err(writing)?;
        }
        self.tail.file.sync().await.map_err(StorageError::io(format!("syncing {name}")))?;
        disk.sync().await.map_err(StorageError::io("syncing the journal's folder"))
    }
}

/// Does to the window what a record says.
fn restore(window: &mut Window, record: &Record, place: Place) {
    match record {
        Record::Entry { index, data } => window.restore(*index, data.len() as u32, place),
        Record::Truncate { from } => window.truncate(*from),
        Record::Purge { upto, .. } => window.purge(*upto),
        Record::Vote(_) | Record::Committed(_) | Record::Shelved { .. } => {}
    }
}

/// Reads a whole segment.
fn whole(name: &str, file: &dyn File) -> Result<Vec<u8>, StorageError> {
    let length = file.len().map_err(StorageError::io(format!("measuring {name}")))?;
    if length > segment::BYTES_MAX {
        return Err(StorageError::ForeignFile { file: name.to_owned() });
    }
    let mut bytes = vec![0; length as usize];
    file.read_at(0, &mut bytes).map_err(StorageError::io(format!("reading {name}")))?;
    Ok(bytes)
}
