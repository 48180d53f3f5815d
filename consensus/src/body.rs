//! A snapshot's body on its way: out of a state into a file, out of a file to a peer, from a peer into the
//! state and a file. It goes in pieces, and is encoded as it is written, so that a large state is held a
//! second time by nobody but a node that takes one from a peer.
//!
//! Not here: what the bytes say (the registry's `snapshot`), and how they lie in a file (storage).

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use quorate_registry::snapshot::{self, Decoder};
use quorate_registry::{Frozen, Machine};
use quorate_storage::Saved;

use crate::wire;

/// The body of a snapshot that is to be saved. It may be asked for again when a disk refused it.
#[derive(Clone, Debug)]
pub(crate) enum Draft {
    /// Of this state; encoded as it is asked for.
    State(Frozen),
    /// As it came.
    Pieces(Arc<Vec<Bytes>>),
}

/// The body of a snapshot, as Raft hands it around.
#[derive(Clone)]
pub(crate) enum Body {
    /// It lies in its file.
    Saved(Arc<Saved>),
    /// It came from a peer.
    Pieces(Arc<Vec<Bytes>>),
}

impl Draft {
    pub(crate) fn pieces(&self) -> Box<dyn Iterator<Item = Bytes> + Send + '_> {
        match self {
            Self::State(state) => Box::new(snapshot::chunks(state).map(Bytes::from)),
            Self::Pieces(pieces) => Box::new(pieces.iter().cloned()),
        }
    }
}

impl Body {
    /// How long it is.
    pub(crate) fn bytes(&self) -> u64 {
        match self {
            Self::Saved(saved) => saved.body_bytes(),
            Self::Pieces(pieces) => pieces.iter().map(|piece| piece.len() as u64).sum(),
        }
    }

    /// What stands at a place of it: so many bytes at most, and none at its end only.
    pub(crate) fn read(&self, offset: u64, bytes_max: usize) -> io::Result<Bytes> {
        match self {
            Self::Saved(saved) => {
                let left = saved.body_bytes().saturating_sub(offset);
                let mut bytes = vec![0; bytes_max.min(usize::try_from(left).unwrap_or(bytes_max))];
                saved.read(offset, &mut bytes)?;
                Ok(bytes.into())
            }
            Self::Pieces(pieces) => {
                let mut skip = offset;
                for piece in pieces.iter() {
                    match usize::try_from(skip) {
                        Ok(from) if from < piece.len() => {
                            return Ok(piece.slice(from..piece.len().min(from + bytes_max)));
                        }
                        _ => skip -= piece.len() as u64,
                    }
                }
                Ok(Bytes::new())
            }
        }
    }

    /// All of it, in memory.
    pub(crate) fn into_pieces(self) -> io::Result<Arc<Vec<Bytes>>> {
        match self {
            Self::Saved(saved) => {
                let pieces: Result<Vec<Bytes>, _> = saved.chunks().collect();
                pieces.map(Arc::new).map_err(io::Error::other)
            }
            Self::Pieces(pieces) => Ok(pieces),
        }
    }
}

/// The state that pieces are of.
pub(crate) fn decode<E: std::fmt::Display>(
    pieces: impl Iterator<Item = Result<Bytes, E>>,
) -> io::Result<Machine> {
    let mut decoder = Decoder::default();
    for piece in pieces {
        let piece = piece.map_err(|error| wire::invalid(error.to_string()))?;
        decoder.take(&piece).map_err(|error| wire::invalid(error.to_string()))?;
    }
    decoder.finish().map_err(|error| wire::invalid(error.to_string()))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use quorate_storage::{MemoryDisk, Snapshots};

    use super::*;

    #[tokio::test]
    async fn a_body_is_the_same_wherever_it_lies_and_however_it_is_cut() {
        let machine = Machine::new(3);
        let whole = snapshot::encode(&machine);
        let draft = Draft::State(machine.freeze());
        let snapshots = Snapshots::open(Arc::new(MemoryDisk::new())).unwrap();
        snapshots.save_chunks(7, b"meta", draft.pieces()).await.unwrap();
        let saved = Body::Saved(Arc::new(snapshots.open_newest().unwrap().unwrap()));
        let come = Body::Pieces(Arc::new(whole.chunks(5).map(Bytes::copy_from_slice).collect()));
        for body in [saved, come] {
            assert_eq!(body.bytes(), whole.len() as u64);
            let mut read = Vec::new();
            loop {
                let some = body.read(read.len() as u64, 7).unwrap();
                if some.is_empty() {
                    break;
                }
                read.extend_from_slice(&some);
            }
            assert_eq!(read, whole);
            let pieces = body.into_pieces().unwrap();
            let found = decode(pieces.iter().cloned().map(Ok::<_, Infallible>)).unwrap();
            assert_eq!(found, machine);
        }
    }
}
