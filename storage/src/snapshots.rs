//! Snapshots: the safe copy of the applied state, in files behind the [`Disk`] door. The log may be
//! purged up to a snapshot that was saved here, and no further.
//!
//! A snapshot is written under another name, synced, read back and compared, and only then takes its
//! place. So the newest one is whole at any moment, and the one before it goes only afterwards.
//!
//! Not here: what a snapshot says. Nothing is compressed and nothing is incremental: the state is small.

use std::io;
use std::sync::Arc;

use crate::cursor::Cursor;
use crate::disk::Disk;
use crate::error::StorageError;

const MAGIC: &[u8; 8] = b"quorateS";
const VERSION: u32 = 1;
/// Magic, version, checksum.
const FRONT_BYTES: usize = 16;
/// Index and the lengths of meta and body, after the front.
const LENGTHS_BYTES: usize = 24;
const UNNAMED: &str = "snapshot-next.tmp";
/// No snapshot is longer.
const BYTES_MAX: u64 = 1 << 30;
/// How much is written and read at once.
const CHUNK_BYTES: usize = 1 << 20;

/// The snapshots in a folder. Clones are the same.
#[derive(Clone)]
pub struct Snapshots {
    disk: Arc<dyn Disk>,
    /// One snapshot is saved at a time.
    saving: Arc<tokio::sync::Mutex<()>>,
}

impl Snapshots {
    /// Looks into a folder, and removes what a crash left of an unfinished one.
    pub fn open(disk: Arc<dyn Disk>) -> Result<Self, StorageError> {
        let names = disk.list().map_err(StorageError::io("listing the snapshots"))?;
        if names.iter().any(|name| name == UNNAMED) {
            disk.remove(UNNAMED).map_err(StorageError::io("removing an unfinished snapshot"))?;
        }
        Ok(Self { disk, saving: Arc::default() })
    }

    /// Saves a snapshot of the state at `index`, and then removes older ones. It is durable and was read
    /// back when this returns. On an error the newest one is as it was. Blocks on a real disk.
    pub async fn save(&self, index: u64, meta: &[u8], body: &[u8]) -> io::Result<()> {
        let _one = self.saving.lock().await;
        let bytes = to_bytes(index, meta, body)?;
        match self.disk.remove(UNNAMED) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = self.disk.create(UNNAMED, 0)?;
        for (count, chunk) in bytes.chunks(CHUNK_BYTES).enumerate() {
            file.write_at((count * CHUNK_BYTES) as u64, chunk)?;
        }
        file.sync().await?;
        let mut back = vec![0; CHUNK_BYTES.min(bytes.len())];
        for (count, chunk) in bytes.chunks(CHUNK_BYTES).enumerate() {
            let back = &mut back[..chunk.len()];
            file.read_at((count * CHUNK_BYTES) as u64, back)?;
            if back != chunk {
                let why = format!("the snapshot at {index} does not read back as it was written");
                return Err(io::Error::new(io::ErrorKind::InvalidData, why));
            }
        }
        drop(file);
        self.disk.rename(UNNAMED, &name(index))?;
        self.disk.sync().await?;
        for older in self.indexes()?.into_iter().filter(|older| *older < index) {
            self.disk.remove(&name(older))?;
        }
        self.disk.sync().await
    }

    /// The newest snapshot: its index, meta and body. One that is damaged is an error, even if an older
    /// one is there: the log was purged up to the newest.
    #[expect(clippy::type_complexity, reason = "three plain values; a name would say no more")]
    pub fn newest(&self) -> Result<Option<(u64, Vec<u8>, Vec<u8>)>, StorageError> {
        let indexes = self.indexes().map_err(StorageError::io("listing the snapshots"))?;
        let Some(index) = indexes.last().copied() else {
            return Ok(None);
        };
        let name = name(index);
        let bytes = self.whole(&name)?;
        let (meta, body) = parse(&name, index, &bytes)?;
        Ok(Some((index, meta.to_vec(), body.to_vec())))
    }

    /// The indexes that there are snapshots of, in order.
    fn indexes(&self) -> io::Result<Vec<u64>> {
        let mut indexes: Vec<u64> = self.disk.list()?.iter().filter_map(|n| number(n)).collect();
        indexes.sort_unstable();
        Ok(indexes)
    }

    fn whole(&self, name: &str) -> Result<Vec<u8>, StorageError> {
        let doing = || StorageError::io(format!("reading {name}"));
        let file = self.disk.open(name).map_err(doing())?;
        let length = file.len().map_err(doing())?;
        if length > BYTES_MAX {
            return Err(StorageError::ForeignFile { file: name.to_owned() });
        }
        let mut bytes = vec![0; length as usize];
        file.read_at(0, &mut bytes).map_err(doing())?;
        Ok(bytes)
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

fn to_bytes(index: u64, meta: &[u8], body: &[u8]) -> io::Result<Vec<u8>> {
    let length = FRONT_BYTES + LENGTHS_BYTES + meta.len() + body.len();
    if length as u64 > BYTES_MAX {
        let why = format!("a snapshot of {length} bytes is too long; {BYTES_MAX} is the most");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    let mut bytes = Vec::with_capacity(length);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    for number in [index, meta.len() as u64, body.len() as u64] {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    bytes.extend_from_slice(meta);
    bytes.extend_from_slice(body);
    let crc = crc32fast::hash(&bytes[FRONT_BYTES..]);
    bytes[FRONT_BYTES - 4..FRONT_BYTES].copy_from_slice(&crc.to_le_bytes());
    Ok(bytes)
}

fn parse<'a>(file: &str, at: u64, bytes: &'a [u8]) -> Result<(&'a [u8], &'a [u8]), StorageError> {
    let mut front = Cursor(bytes);
    if front.take(MAGIC.len()) != Some(MAGIC) {
        return Err(StorageError::ForeignFile { file: file.to_owned() });
    }
    let corrupt = |why| StorageError::corrupt(file, 0, why);
    let found = front.u32().ok_or_else(|| corrupt("the file is cut"))?;
    if found > VERSION {
        return Err(StorageError::NewerFormat { file: file.to_owned(), found, known: VERSION });
    }
    let crc = front.u32().ok_or_else(|| corrupt("the file is cut"))?;
    if found != VERSION || crc != crc32fast::hash(front.0) {
        return Err(corrupt("the snapshot's checksum fails"));
    }
    let mut rest = Cursor(front.0);
    let mut parts = || {
        let (index, meta, body) = (rest.u64()?, rest.u64()?, rest.u64()?);
        let meta = rest.take(usize::try_from(meta).ok()?)?;
        let body = rest.take(usize::try_from(body).ok()?)?;
        (index == at && rest.0.is_empty()).then_some((meta, body))
    };
    parts().ok_or_else(|| corrupt("the snapshot is not what its name says"))
}
