//! The check for requests: which singleton sends them, under which epoch, and whether that is the newest.

use std::path::Path;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use quorate_vocab::{Epoch, Name, Token};

use crate::{Bar, BarFile, Denied, KeepError, Refusal, Standing};

/// The header that says which singleton sends a request.
pub const SINGLETON: &str = "quorate-singleton";
/// The header that says under which epoch.
pub const EPOCH: &str = "quorate-epoch";

/// How long to wait for a former process to let the file go.
const PATIENCE: Duration = Duration::from_secs(5);

/// Whether requests that say neither a name nor an epoch pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unmarked {
    /// They pass, unchecked: for things that others write to, too.
    Pass,
    /// They are refused.
    Refused,
}

/// Checks requests against a bar. It knows no framework: whoever has a request hands it the values of the two
/// headers, all of them, and answers with [`Denied::problem`].
///
/// ```
/// use quorate_guard::{Unmarked, Verifier};
///
/// let verifier = Verifier::forgetful(1000, Unmarked::Refused);
/// let verify = |epoch: &'static str| verifier.verify(["billing"], [epoch]);
/// assert!(verify("17").is_ok() && verify("18").is_ok());
/// assert_eq!(verify("17").unwrap_err().problem().status, 412);
/// let none: [&str; 0] = [];
/// assert_eq!(verifier.verify(none, none).unwrap_err().problem().status, 428);
/// ```
#[derive(Debug)]
pub struct Verifier {
    unmarked: Unmarked,
    /// What is durable already, so that most requests wait for nothing.
    settled: Mutex<Bar>,
    file: Option<Mutex<BarFile>>,
}

impl Verifier {
    /// A verifier that forgets with its process, and would then let an old owner pass: for tests, and for
    /// things that are as new as their process is.
    pub fn forgetful(names_max: usize, unmarked: Unmarked) -> Self {
        Self { unmarked, settled: Mutex::new(Bar::new(names_max)), file: None }
    }

    /// A verifier that remembers in a file. No name passes with an epoch below the floor.
    pub fn remembering(
        path: &Path,
        floor: Option<Epoch>,
        names_max: usize,
        unmarked: Unmarked,
    ) -> Result<Self, KeepError> {
        let mut file = BarFile::open(path, names_max, PATIENCE)?;
        if let Some(floor) = floor {
            file.lift(floor)?;
        }
        let settled = Mutex::new(file.bar().clone());
        Ok(Self { unmarked, settled, file: Some(Mutex::new(file)) })
    }

    /// Reads and admits in one go. Waits for the disk when the epoch is newer than all before it.
    pub fn verify<V: AsRef<[u8]>>(
        &self,
        names: impl IntoIterator<Item = V>,
        epochs: impl IntoIterator<Item = V>,
    ) -> Result<Option<Token>, Denied> {
        let token = self.read(names, epochs)?;
        token.as_ref().map_or(Ok(()), |token| self.admit(token))?;
        Ok(token)
    }

    /// Understands the values of the two headers. `None` is a request that says nothing, and may.
    pub fn read<V: AsRef<[u8]>>(
        &self,
        names: impl IntoIterator<Item = V>,
        epochs: impl IntoIterator<Item = V>,
    ) -> Result<Option<Token>, Denied> {
        let name = only(names, "Quorate-Singleton is there more than once")?;
        let epoch = only(epochs, "Quorate-Epoch is there more than once")?;
        match (name, epoch) {
            (None, None) if self.unmarked == Unmarked::Pass => Ok(None),
            (None, None) => Err(Denied::Unmarked),
            (Some(_), None) => Err(Denied::BadMark("Quorate-Epoch is missing")),
            (None, Some(_)) => Err(Denied::BadMark("Quorate-Singleton is missing")),
            (Some(name), Some(epoch)) => {
                let name = str::from_utf8(name.as_ref()).ok().and_then(|text| Name::new(text).ok());
                let name = name.ok_or(Denied::BadMark("Quorate-Singleton is no name"))?;
                let epoch = number(epoch.as_ref()).and_then(Epoch::from_shown);
                let epoch = epoch.ok_or(Denied::BadMark("Quorate-Epoch is no epoch"))?;
                Ok(Some(Token { name, epoch }))
            }
        }
    }

    /// What would come of a token by what is known now. Never waits for the disk.
    pub fn look(&self, token: &Token) -> Result<Standing, Denied> {
        held(&self.settled).judge(&token.name, token.epoch).map_err(|why| denied(token, why))
    }

    /// Lets a token pass if no newer epoch was seen; a newer one is durable when this returns, for which it
    /// waits for the disk.
    pub fn admit(&self, token: &Token) -> Result<(), Denied> {
        if self.look(token)? == Standing::Level {
            return Ok(());
        }
        if let Some(file) = &self.file {
            let admitted = held(file).admit(token).map_err(Denied::NotKept)?;
            admitted.map_err(|why| denied(token, why))?;
        }
        // Another one may have raised it further meanwhile. Then this one is stale by now.
        let admitted = held(&self.settled).admit(&token.name, token.epoch);
        admitted.map(drop).map_err(|why| denied(token, why))
    }
}

fn denied(token: &Token, why: Refusal) -> Denied {
    match why {
        Refusal::Stale { shown, newest } => {
            Denied::Stale { name: token.name.clone(), shown, newest }
        }
        Refusal::Full { names_max } => Denied::Full { names_max },
    }
}

/// The only value, if there is one. Of two, the guard would check one and the thing behind it read another.
fn only<V>(
    values: impl IntoIterator<Item = V>,
    complaint: &'static str,
) -> Result<Option<V>, Denied> {
    let mut values = values.into_iter();
    let first = values.next();
    if values.next().is_some() { Err(Denied::BadMark(complaint)) } else { Ok(first) }
}

/// Digits and nothing else: `+17` and ` 17` are read in as many ways as there are readers.
fn number(text: &[u8]) -> Option<u64> {
    let digits = text.iter().all(u8::is_ascii_digit).then_some(text)?;
    str::from_utf8(digits).ok()?.parse().ok()
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nothing panics while it holds a bar")
}
