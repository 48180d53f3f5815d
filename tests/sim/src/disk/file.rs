//! One file: its two images in sectors of 512 bytes, which a power cut never splits.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rand::RngExt;
use rand::rngs::SmallRng;

use super::Lost;

/// What a disk writes whole or not at all.
pub(super) const SECTOR_BYTES: usize = 512;

type Sector = [u8; SECTOR_BYTES];

/// A file, whatever it is called.
#[derive(Default)]
pub(super) struct Inode {
    /// Tells this file from all others, for the trace.
    pub(super) id: u64,
    /// What programs see.
    pub(super) view: Image,
    /// What a power cut leaves.
    pub(super) durable: Image,
    /// The sectors that the next sync carries over.
    dirty: BTreeSet<u64>,
    /// Counts writes, so that an older sync never overwrites what a newer one made durable.
    version: u64,
}

/// Contents. Sectors that were never written are zeros.
#[derive(Clone, Default)]
pub(super) struct Image {
    pub(super) len: u64,
    sectors: BTreeMap<u64, (u64, Arc<Sector>)>,
}

/// A file as it was when a sync was asked for.
pub(super) struct Capture {
    len: u64,
    sectors: Vec<(u64, (u64, Arc<Sector>))>,
}

impl Image {
    pub(super) fn written(&self) -> impl Iterator<Item = u64> + '_ {
        self.sectors.keys().copied()
    }

    pub(super) fn read(&self, position: u64, bytes: &mut [u8]) {
        for (number, within, part) in pieces(position, bytes.len()) {
            match self.sectors.get(&number) {
                Some((_, sector)) => {
                    bytes[part.clone()].copy_from_slice(&sector[within..within + part.len()]);
                }
                None => bytes[part].fill(0),
            }
        }
    }

    /// Writes a sector that is not older than the one that is there.
    fn put(&mut self, number: u64, (version, sector): (u64, Arc<Sector>)) {
        let present = self.sectors.get(&number).map_or(0, |(present, _)| *present);
        if present <= version {
            self.sectors.insert(number, (version, sector));
        }
    }
}

impl Inode {
    pub(super) fn new(id: u64, len: u64) -> Self {
        let view = Image { len, ..Image::default() };
        Self { id, view, ..Self::default() }
    }

    pub(super) fn write(&mut self, position: u64, bytes: &[u8]) {
        self.version += 1;
        self.view.len = self.view.len.max(position + bytes.len() as u64);
        for (number, within, part) in pieces(position, bytes.len()) {
            let zeros = || (0, Arc::new([0; SECTOR_BYTES]));
            let (version, sector) = self.view.sectors.entry(number).or_insert_with(zeros);
            *version = self.version;
            let count = part.len();
            Arc::make_mut(sector)[within..within + count].copy_from_slice(&bytes[part]);
            self.dirty.insert(number);
        }
    }

    /// What a sync that begins now will carry over.
    pub(super) fn capture(&self) -> Capture {
        let sectors = self.dirty.iter().filter_map(|number| {
            self.view.sectors.get(number).map(|sector| (*number, sector.clone()))
        });
        Capture { len: self.view.len, sectors: sectors.collect() }
    }

    /// Makes durable what a sync captured.
    pub(super) fn settle(&mut self, capture: Capture) {
        self.durable.len = self.durable.len.max(capture.len);
        self.clean(&capture);
        for (number, sector) in capture.sectors {
            self.durable.put(number, sector);
        }
    }

    /// Forgets that something is still to be synced, which it is not if it was written again meanwhile.
    pub(super) fn clean(&mut self, capture: &Capture) {
        for (number, (version, _)) in &capture.sectors {
            if self.view.sectors.get(number).is_some_and(|(newest, _)| newest == version) {
                self.dirty.remove(number);
            }
        }
    }

    pub(super) fn lose_power(&mut self, kept: f64, rng: &mut SmallRng, lost: &mut Lost) {
        for number in std::mem::take(&mut self.dirty) {
            let Some(sector) = self.view.sectors.get(&number) else {
                continue;
            };
            if rng.random_bool(kept) {
                self.durable.put(number, sector.clone());
                lost.sectors_kept += 1;
            } else {
                lost.sectors += 1;
            }
        }
        if self.view.len > self.durable.len && rng.random_bool(kept) {
            self.durable.len = match rng.random_range(0..2) {
                0 => self.view.len,
                _ => rng.random_range(self.durable.len..=self.view.len),
            };
        }
        let len = self.durable.len;
        self.durable.sectors.retain(|number, _| number * (SECTOR_BYTES as u64) < len);
        self.durable.forget_beyond(len);
        self.view = self.durable.clone();
    }

    /// A bit rots. Who reads the file sees it, unless what it has written there is still on its way.
    pub(super) fn flip(&mut self, position: u64, bit: u8) {
        let (number, within) = (position / SECTOR_BYTES as u64, position as usize % SECTOR_BYTES);
        if let Some((_, sector)) = self.durable.sectors.get_mut(&number) {
            Arc::make_mut(sector)[within] ^= 1 << bit;
            if !self.dirty.contains(&number) {
                self.view.sectors.insert(number, self.durable.sectors[&number].clone());
            }
        }
    }
}

impl Image {
    /// Bytes behind the end are zeros, should the file grow again.
    fn forget_beyond(&mut self, len: u64) {
        if let Some((_, sector)) = self.sectors.get_mut(&(len / SECTOR_BYTES as u64)) {
            Arc::make_mut(sector)[len as usize % SECTOR_BYTES..].fill(0);
        }
    }
}

/// Cuts a range of a file into sectors: which, from where in it, and which part of the bytes.
fn pieces(position: u64, len: usize) -> impl Iterator<Item = (u64, usize, std::ops::Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let at = position + done as u64;
        let within = (at % SECTOR_BYTES as u64) as usize;
        let count = (SECTOR_BYTES - within).min(len - done);
        let part = done..done + count;
        done += count;
        (count > 0).then_some((at / SECTOR_BYTES as u64, within, part))
    })
}
