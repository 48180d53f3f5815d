//! A backup: the state of one index as bytes, to be kept where no cluster is.
//!
//! ```text
//! "quorbkup"  version u32  { length u32, sum u32, bytes }*
//! ```
//!
//! The first part says whose state it is, and the last one is empty; between them is the state, as a snapshot
//! has it. Each sum goes over the one before it, so parts that were lost, swapped, or are of another backup
//! are found where they stand. Numbers are little-endian.
//!
//! Nothing is believed before its sum: a length allocates no more than one part may have, and no more than
//! one part is held beside the state that is read.
//!
//! Not here: files, and what becomes of a state that was read (`salvage`).

use std::io::{self, Read};

use quorate_registry::{Machine, SnapshotError, snapshot};
use quorate_vocab::{ClusterId, Index, NodeName};
use serde::{Deserialize, Serialize};

use crate::wire;

const MAGIC: &[u8; 8] = b"quorbkup";
const VERSION: u32 = 1;
/// A part is no longer than this: a piece of a snapshot, and its last row.
const PART_BYTES_MAX: usize = 8 << 20;

/// Whose state a backup has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Which cluster it was taken from.
    pub cluster: ClusterId,
    /// Up to which entry of its log.
    pub index: Index,
    /// How often that cluster had begun anew by then.
    pub generation: u16,
    /// When, by the wall clock of the node that took it, in milliseconds since 1970.
    pub taken_ms: u64,
    /// Which node took it.
    pub by: NodeName,
    /// The release that this node ran.
    pub release: String,
}

/// Why a backup cannot be used. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// It does not begin as a backup does. Name another file.
    #[error("this is no backup of quorate")]
    Foreign,
    /// A later release wrote it. That release can read it.
    #[error("this backup has format {found}, and this release knows formats up to {VERSION}")]
    Newer {
        /// Its format.
        found: u32,
    },
    /// It is not what was written. Reading it again gives the same: take another copy of it, or the backup
    /// before it.
    #[error("this backup is damaged at byte {at}: {why}")]
    Damaged {
        /// Where the part begins that does not fit.
        at: u64,
        /// What does not fit about it.
        why: &'static str,
    },
    /// It is what was written, but no state that this release understands; a later one may.
    #[error("this backup is whole, but its state cannot be understood: {0}")]
    State(#[from] SnapshotError),
    /// It could not be read. It may be tried again.
    #[error("this backup cannot be read: {0}")]
    Read(#[from] io::Error),
}

/// The bytes of a backup, in pieces.
pub fn pieces<'a>(head: &Head, state: &'a Machine) -> impl Iterator<Item = Vec<u8>> + use<'a> {
    let mut chain = Chain(0);
    let mut first = [&MAGIC[..], &VERSION.to_le_bytes()].concat();
    first.extend(chain.part(&wire::encode(head)));
    let ends = std::iter::once(Vec::new());
    let parts = snapshot::chunks(state).chain(ends).map(move |part| chain.part(&part));
    std::iter::once(first).chain(parts)
}

/// A backup that is being read.
pub struct Reader<R> {
    from: R,
    /// How many bytes were read.
    at: u64,
    chain: Chain,
    head: Head,
}

impl<R: Read> Reader<R> {
    /// Reads whose state it has.
    pub fn open(mut from: R) -> Result<Self, BackupError> {
        let mut front = [0; 12];
        match from.read_exact(&mut front) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(BackupError::Foreign);
            }
            read => read?,
        }
        let version = front.strip_prefix(MAGIC).ok_or(BackupError::Foreign)?;
        match u32::from_le_bytes(version.try_into().expect("four bytes are left")) {
            VERSION => {}
            0 => return Err(BackupError::Damaged { at: 8, why: "there is no such format" }),
            found => return Err(BackupError::Newer { found }),
        }
        let (mut at, mut chain) = (front.len() as u64, Chain(0));
        let begins = at;
        let head = chain.read(&mut from, &mut at)?;
        let why = "its head cannot be understood";
        let head = wire::decode(&head).map_err(|_| BackupError::Damaged { at: begins, why })?;
        Ok(Self { from, at, chain, head })
    }

    /// Whose state it has. All else may still turn out to be damaged.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Reads the state, to the end of the file.
    pub fn state(mut self) -> Result<Machine, BackupError> {
        let mut body = snapshot::Decoder::default();
        loop {
            let part = self.chain.read(&mut self.from, &mut self.at)?;
            if part.is_empty() {
                break;
            }
            body.take(&part)?;
        }
        if self.from.read(&mut [0])? != 0 {
            let why = "something follows its end";
            return Err(BackupError::Damaged { at: self.at, why });
        }
        let state = body.finish()?;
        if state.applied() > self.head.index || state.generation() != self.head.generation {
            let why = "its head is not of its state";
            return Err(BackupError::Damaged { at: MAGIC.len() as u64, why });
        }
        Ok(state)
    }
}

/// The sum of all parts so far.
struct Chain(u32);

impl Chain {
    fn add(&mut self, length: [u8; 4], part: &[u8]) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        for bytes in [&self.0.to_le_bytes()[..], &length, part] {
            hasher.update(bytes);
        }
        self.0 = hasher.finalize();
        self.0
    }

    fn part(&mut self, part: &[u8]) -> Vec<u8> {
        let length = u32::try_from(part.len()).expect("no part comes near 4 GiB").to_le_bytes();
        let sum = self.add(length, part).to_le_bytes();
        [&length[..], &sum, part].concat()
    }

    /// Reads the next part, which begins `at`.
    fn read(&mut self, from: &mut impl Read, at: &mut u64) -> Result<Vec<u8>, BackupError> {
        let begins = *at;
        let damaged = |why| BackupError::Damaged { at: begins, why };
        let cut = |error: io::Error| match error.kind() {
            io::ErrorKind::UnexpectedEof => damaged("it is cut off"),
            _ => error.into(),
        };
        let mut front = [0; 8];
        from.read_exact(&mut front).map_err(cut)?;
        let [a, b, c, d, sum @ ..] = front;
        let length = u32::from_le_bytes([a, b, c, d]) as usize;
        if length > PART_BYTES_MAX {
            return Err(damaged("a part is longer than any may be"));
        }
        let mut part = vec![0; length];
        from.read_exact(&mut part).map_err(cut)?;
        if self.add([a, b, c, d], &part) != u32::from_le_bytes(sum) {
            return Err(damaged("its checksum fails"));
        }
        *at += (front.len() + length) as u64;
        Ok(part)
    }
}

#[cfg(test)]
mod tests {
    use quorate_registry::{At, Bond, Claim, Command, Once, Op};
    use quorate_vocab::Name;

    use super::*;

    fn machine(names: u64, bytes: usize) -> Machine {
        let mut machine = Machine::new(3);
        for index in 1..=names {
            let value = vec![index as u8; bytes];
            let claim =
                Claim { bond: Bond::Durable, holder: None, value, meta: Default::default() };
            let name = Name::new(format!("names/{index}")).unwrap();
            let op = Op::Register { name, claim, replace: None };
            let at = At { index: Index(index), term: 1 };
            machine.apply(at, Command { once: Once::Free, op }, &mut Vec::new());
        }
        machine
    }

    fn head(machine: &Machine) -> Head {
        Head {
            cluster: ClusterId(7),
            index: machine.applied(),
            generation: machine.generation(),
            taken_ms: 1_800_000_000_000,
            by: NodeName::try_from("n1").unwrap(),
            release: "0.1.0".to_owned(),
        }
    }

    fn bytes(machine: &Machine) -> Vec<u8> {
        pieces(&head(machine), machine).flatten().collect()
    }

    fn read(bytes: &[u8]) -> Result<Machine, BackupError> {
        Reader::open(bytes)?.state()
    }

    #[test]
    fn a_backup_comes_back_as_the_state_that_it_was_taken_of() {
        // Of one piece, and of several.
        for machine in [machine(0, 0), machine(3, 10), machine(40, 20_000)] {
            let bytes = bytes(&machine);
            let reader = Reader::open(&bytes[..]).unwrap();
            assert_eq!(reader.head(), &head(&machine));
            assert_eq!(reader.state().unwrap(), machine);
        }
    }

    #[test]
    fn a_backup_that_was_cut_lengthened_or_flipped_anywhere_is_refused() {
        let whole = bytes(&machine(3, 10));
        for length in 0..whole.len() {
            let cut = read(&whole[..length]).unwrap_err();
            let is_told = match length {
                0..12 => matches!(cut, BackupError::Foreign),
                _ => matches!(cut, BackupError::Damaged { at, .. } if at <= length as u64),
            };
            assert!(is_told, "cut to {length}: {cut}");
        }
        assert!(matches!(
            read(&[&whole[..], &[0]].concat()),
            Err(BackupError::Damaged { at, .. }) if at == whole.len() as u64
        ));
        for bit in 0..whole.len() * 8 {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(read(&flipped).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn parts_that_are_swapped_or_of_another_backup_are_found() {
        let parts = |machine: &Machine| pieces(&head(machine), machine).collect::<Vec<_>>();
        let (ours, theirs) = (parts(&machine(40, 20_000)), parts(&machine(41, 20_000)));
        assert!(ours.len() > 3, "{}", ours.len());
        let mut swapped = ours.clone();
        swapped.swap(1, 2);
        let mut mixed = ours;
        mixed[2].clone_from(&theirs[2]);
        for broken in [swapped, mixed] {
            assert!(matches!(read(&broken.concat()), Err(BackupError::Damaged { .. })));
        }
    }

    #[test]
    fn a_backup_of_a_later_release_is_refused_by_its_format() {
        let mut newer = bytes(&machine(1, 1));
        newer[8] = 2;
        assert!(matches!(read(&newer), Err(BackupError::Newer { found: 2 })));
        assert!(matches!(read(b"thesis.tex, a long one"), Err(BackupError::Foreign)));
    }

    #[test]
    fn a_length_that_lies_allocates_nothing() {
        let mut lies = bytes(&machine(1, 1));
        lies[12..16].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(matches!(read(&lies), Err(BackupError::Damaged { at: 12, .. })));
    }
}
