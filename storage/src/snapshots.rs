//! Snapshots: the safe copy of the applied state, in files behind the [`Disk`] door. The log may be
//! purged up to a snapshot that was saved here, and no further.
//!
//! A snapshot is written under another name, synced, read back and compared, and only then takes its
//! place. So the newest one is whole at any moment, and the one before it goes only afterwards.
//!
//! A body comes and goes in pieces, so that a large state is never held a second time: the length and the
//! checksum stand in front of it and are written last. It is synced bit by bit, as a disk that has much to
//! write at once lets the journal wait.
//!
//! Not here: what a snapshot says. Nothing is compressed and nothing is incremental: the state is small.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use crc32fast::Hasher;

use crate::cursor::Cursor;
use crate::disk::{Disk, File};
use crate::error::StorageError;

const MAGIC: &[u8; 8] = b"quorateS";
const VERSION: u32 = 1;
/// Magic, version, checksum.
const FRONT_BYTES: usize = 16;
/// Index and the lengths of meta and body, after the front.
const LENGTHS_BYTES: usize = 24;
const HEAD_BYTES: usize = FRONT_BYTES + LENGTHS_BYTES;
const UNNAMED: &str = "snapshot-next.tmp";
/// What is noted about a snapshot is no longer. Its body may be as long as the disk bears, since nobody has
/// to hold it as a whole.
const META_BYTES_MAX: u64 = 16 << 20;
/// How much is read at once.
const CHUNK_BYTES: usize = 256 << 10;
/// How much is written between two syncs.
const SYNC_BYTES: u64 = 1 << 20;

/// The snapshots in a folder. Clones are the same.
#[derive(Clone)]
pub struct Snapshots {
    disk: Arc<dyn Disk>,
    /// One snapshot is saved at a time.
    saving: Arc<tokio::sync::Mutex<()>>,
}

/// A snapshot that was saved. It can be read even when a newer one took its place.
pub struct Saved {
    file: Box<dyn File>,
    name: String,
    index: u64,
    meta: Vec<u8>,
    body_bytes: u64,
    crc: u32,
    /// The checksum over what stands before the body.
    hasher: Hasher,
}

impl Snapshots {
    /// Looks into a folder, and removes what a crash left of an unfinished one.
    pub fn open(disk: Arc<dyn Disk>) -> Result<Self, StorageError> {
        remove_unnamed(&*disk).map_err(StorageError::io("removing an unfinished snapshot"))?;
        Ok(Self { disk, saving: Arc::default() })
    }

    /// Saves a snapshot whose body is at hand in one piece; see [`Snapshots::save_chunks`].
    pub async fn save(&self, index: u64, meta: &[u8], body: &[u8]) -> io::Result<()> {
        self.save_chunks(index, meta, body.chunks(CHUNK_BYTES)).await
    }

    /// Saves a snapshot of the state at `index`, whose body comes in pieces, and then removes older ones. It
    /// is durable and was read back when this returns. On an error the newest one is as it was, and what was
    /// written has given its room back. Blocks on a real disk.
    pub async fn save_chunks<C: AsRef<[u8]>>(
        &self,
        index: u64,
        meta: &[u8],
        body: impl IntoIterator<Item = C>,
    ) -> io::Result<()> {
        if meta.len() as u64 > META_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "too much is noted about it"));
        }
        let _one = self.saving.lock().await;
        remove_unnamed(&*self.disk)?;
        let written = match self.disk.create(UNNAMED, 0) {
            Ok(file) => write(&*file, index, meta, body).await,
            Err(error) => Err(error),
        };
        if let Err(error) = written.and_then(|()| self.disk.rename(UNNAMED, &name(index))) {
            // If that fails too, the next snapshot does it.
            let _ = remove_unnamed(&*self.disk);
            return Err(error);
        }
        self.disk.sync().await?;
        for older in self.indexes()?.into_iter().filter(|older| *older < index) {
            self.disk.remove(&name(older))?;
        }
        self.disk.sync().await
    }

    /// The newest snapshot as a whole: its index, meta and body; see [`Snapshots::open_newest`].
    #[expect(clippy::type_complexity, reason = "three plain values; a name would say no more")]
    pub fn newest(&self) -> Result<Option<(u64, Vec<u8>, Vec<u8>)>, StorageError> {
        let Some(saved) = self.open_newest()? else {
            return Ok(None);
        };
        let mut body = Vec::with_capacity(saved.body_bytes as usize);
        for chunk in saved.chunks() {
            body.extend_from_slice(&chunk?);
        }
        Ok(Some((saved.index, saved.meta, body)))
    }

    /// The newest snapshot, to be read in pieces. One that is damaged is an error, here or as it is read,
    /// even if an older one is there: the log was purged up to the newest.
    pub fn open_newest(&self) -> Result<Option<Saved>, StorageError> {
        let indexes = self.indexes().map_err(StorageError::io("listing the snapshots"))?;
        let Some(index) = indexes.last().copied() else {
            return Ok(None);
        };
        let name = name(index);
        let doing = || StorageError::io(format!("reading {name}"));
        let file = self.disk.open(&name).map_err(doing())?;
        let length = file.len().map_err(doing())?;
        let mut head = vec![0; HEAD_BYTES.min(length as usize)];
        file.read_at(0, &mut head).map_err(doing())?;
        let head = Head::read(&name, index, length, &head)?;
        let mut meta = vec![0; head.meta_bytes as usize];
        file.read_at(HEAD_BYTES as u64, &mut meta).map_err(doing())?;
        let Head { crc, body_bytes, mut hasher, .. } = head;
        hasher.update(&meta);
        Ok(Some(Saved { file, name, index, meta, body_bytes, crc, hasher }))
    }

    /// The indexes that there are snapshots of, in order.
    fn indexes(&self) -> io::Result<Vec<u64>> {
        let mut indexes: Vec<u64> = self.disk.list()?.iter().filter_map(|n| number(n)).collect();
        indexes.sort_unstable();
        Ok(indexes)
    }
}

impl Saved {
    /// Up to where in the log it reaches.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// What was noted about it. To be believed once the body was read to its end.
    pub fn meta(&self) -> &[u8] {
        &self.meta
    }

    /// How many bytes its body has.
    pub fn body_bytes(&self) -> u64 {
        self.body_bytes
    }

    /// A part of the body, as the file has it; see [`Saved::check`].
    pub fn read(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.file.read_at((HEAD_BYTES + self.meta.len()) as u64 + offset, bytes)
    }

    /// Reads all of it, to see whether it is what was saved.
    pub fn check(&self) -> Result<(), StorageError> {
        self.chunks().try_for_each(|chunk| chunk.map(drop))
    }

    /// The body in pieces. Nothing of it is to be used before the end was reached without an error: only
    /// then is it known to be what was saved. Nothing comes after an error.
    pub fn chunks(&self) -> impl Iterator<Item = Result<Bytes, StorageError>> + Send + '_ {
        let mut hasher = Some(self.hasher.clone());
        let mut left = self.body_bytes;
        std::iter::from_fn(move || {
            let mut so_far = hasher.take()?;
            let mut chunk = vec![0; CHUNK_BYTES.min(usize::try_from(left).unwrap_or(CHUNK_BYTES))];
            let at = (HEAD_BYTES + self.meta.len()) as u64 + (self.body_bytes - left);
            let doing = StorageError::io(format!("reading {}", self.name));
            if let Err(error) = self.file.read_at(at, &mut chunk).map_err(doing) {
                return Some(Err(error));
            }
            so_far.update(&chunk);
            left -= chunk.len() as u64;
            match left {
                0 if so_far.clone().finalize() != self.crc => {
                    let why = "the snapshot's checksum fails";
                    Some(Err(damaged(&self.name, self.index, 0, why)))
                }
                0 => Some(Ok(chunk.into())),
                _ => {
                    hasher = Some(so_far);
                    Some(Ok(chunk.into()))
                }
            }
        })
    }
}

fn remove_unnamed(disk: &dyn Disk) -> io::Result<()> {
    match disk.remove(UNNAMED) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn name(index: u64) -> String {
    format!("snapshot-{index:016x}.snap")
}

fn number(file: &str) -> Option<u64> {
    let digits = file.strip_prefix("snapshot-")?.strip_suffix(".snap")?;
    let index = u64::from_str_radix(digits, 16).ok()?;
    (name(index) == file).then_some(index)
}

fn damaged(file: &str, index: u64, offset: u64, why: &'static str) -> StorageError {
    StorageError::corrupt(file, offset, "the snapshot at", why).of(index)
}

/// Writes a snapshot into an empty file, syncs it, and reads it back.
async fn write<C: AsRef<[u8]>>(
    file: &dyn File,
    index: u64,
    meta: &[u8],
    body: impl IntoIterator<Item = C>,
) -> io::Result<()> {
    let body_at = (HEAD_BYTES + meta.len()) as u64;
    file.write_at(HEAD_BYTES as u64, meta)?;
    let mut covered = Hasher::new();
    covered.update(meta);
    let (mut end, mut synced) = (body_at, 0);
    for chunk in body {
        let chunk = chunk.as_ref();
        file.write_at(end, chunk)?;
        covered.update(chunk);
        end += chunk.len() as u64;
        if end - synced >= SYNC_BYTES {
            file.sync().await?;
            synced = end;
        }
    }
    let mut lengths = [0; LENGTHS_BYTES];
    for (at, number) in [index, meta.len() as u64, end - body_at].into_iter().enumerate() {
        lengths[at * 8..at * 8 + 8].copy_from_slice(&number.to_le_bytes());
    }
    let mut crc = Hasher::new();
    crc.update(&lengths);
    crc.combine(&covered);
    let crc = crc.finalize();
    let head = [&MAGIC[..], &VERSION.to_le_bytes(), &crc.to_le_bytes(), &lengths].concat();
    file.write_at(0, &head)?;
    file.sync().await?;
    read_back(file, &head, end, crc)
}

/// Makes sure that a file holds what was written to it.
fn read_back(file: &dyn File, head: &[u8], end: u64, crc: u32) -> io::Result<()> {
    let mut found = Hasher::new();
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut at = 0;
    let mut is_same = file.len()? == end;
    while at < end && is_same {
        let count = CHUNK_BYTES.min(usize::try_from(end - at).unwrap_or(CHUNK_BYTES));
        let chunk = &mut chunk[..count];
        file.read_at(at, chunk)?;
        // The head lies in the first chunk, whose front the checksum does not cover.
        let covered = if at == 0 { FRONT_BYTES } else { 0 };
        is_same = at > 0 || chunk.starts_with(head);
        found.update(&chunk[covered..]);
        at += count as u64;
    }
    if !is_same || found.finalize() != crc {
        let why = "a snapshot does not read back as it was written";
        return Err(io::Error::new(io::ErrorKind::InvalidData, why));
    }
    Ok(())
}

/// What stands before meta and body.
struct Head {
    crc: u32,
    meta_bytes: u64,
    body_bytes: u64,
    hasher: Hasher,
}

impl Head {
    fn read(file: &str, at: u64, length: u64, bytes: &[u8]) -> Result<Self, StorageError> {
        let mut front = Cursor(bytes);
        if front.take(MAGIC.len()) != Some(MAGIC) {
            return Err(StorageError::ForeignFile { file: file.to_owned() });
        }
        let corrupt = |offset, why| damaged(file, at, offset, why);
        let cut = || corrupt(length, "the snapshot is cut");
        let found = front.u32().ok_or_else(cut)?;
        if found > VERSION {
            return Err(StorageError::NewerFormat { file: file.to_owned(), found, known: VERSION });
        }
        if found != VERSION {
            return Err(corrupt(MAGIC.len() as u64, "there is no such format"));
        }
        let crc = front.u32().ok_or_else(cut)?;
        let mut hasher = Hasher::new();
        hasher.update(front.0);
        let mut number = || front.u64().ok_or_else(cut);
        let (index, meta_bytes, body_bytes) = (number()?, number()?, number()?);
        if meta_bytes > META_BYTES_MAX {
            return Err(corrupt(FRONT_BYTES as u64, "more is noted about it than ever is"));
        }
        let whole = (HEAD_BYTES as u64).checked_add(meta_bytes);
        if index != at || whole.and_then(|whole| whole.checked_add(body_bytes)) != Some(length) {
            let why = "the snapshot is not what its name and its length say";
            return Err(corrupt(FRONT_BYTES as u64, why));
        }
        Ok(Self { crc, meta_bytes, body_bytes, hasher })
    }
}
