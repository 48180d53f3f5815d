//! What can be called: constants that name it, and the table in which a node has what it knows.

use std::collections::BTreeMap;
use std::future::Future;
use std::marker::PhantomData;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use quorate_actor::{Actors, Blob, Bond, Exit, Mailbox, Message, Spawn};
use quorate_vocab::Pid;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::ask::{Refusal, Which};
use crate::shape::{Notes, digest_of};

/// A function that takes `A` and gives `R`, by name and version. A change to what it takes, gives or means is
/// another version.
pub struct Function<A, R> {
    name: &'static str,
    version: u16,
    types: PhantomData<fn(A) -> R>,
}

impl<A, R> Function<A, R> {
    /// The function of that name and version.
    pub const fn new(name: &'static str, version: u16) -> Self {
        Self { name, version, types: PhantomData }
    }

    /// What it is called.
    pub fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) fn which(&self) -> Which
    where
        A: DeserializeOwned,
        R: DeserializeOwned,
    {
        let mut notes = Notes::new();
        notes.note(&digest_of::<A>().to_le_bytes());
        notes.note(&digest_of::<R>().to_le_bytes());
        Which { name: self.name.to_owned(), version: self.version, digest: notes.hash }
    }
}

/// A process that is started with `A` and receives `M`, by name and version.
pub struct Process<A, M> {
    name: &'static str,
    version: u16,
    types: PhantomData<fn(A) -> M>,
}

impl<A, M: Message> Process<A, M> {
    /// The process of that name and version.
    pub const fn new(name: &'static str, version: u16) -> Self {
        Self { name, version, types: PhantomData }
    }

    /// What it is called.
    pub fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) fn which(&self) -> Which
    where
        A: DeserializeOwned,
    {
        // What it receives has a version of its own, which its letters carry.
        let mut notes = Notes::new();
        notes.note(&digest_of::<A>().to_le_bytes());
        notes.note(M::WIRE.map_or("", |wire| wire.protocol()).as_bytes());
        Which { name: self.name.to_owned(), version: self.version, digest: notes.hash }
    }
}

type Answer = BoxFuture<'static, Result<Blob, Refusal>>;

type Begin = dyn Fn(&Actors, Spawn, Bond, Blob) -> Pid + Send + Sync;

/// What a node does when it is called.
pub(crate) struct Entry {
    version: u16,
    digest: u64,
    pub(crate) run: Run,
}

pub(crate) enum Run {
    /// It runs to its answer.
    Function(Box<dyn Fn(Blob) -> Answer + Send + Sync>),
    /// It lives on.
    Process(Box<Begin>),
}

/// The table of what other nodes may call on this one. It is explicit: nothing enters it by being linked in.
#[derive(Default)]
pub struct Functions(BTreeMap<&'static str, Entry>);

impl Functions {
    /// A table of nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same with a function. One of that name that was in it before is replaced.
    pub fn function<A, R, F, Fut>(self, function: &Function<A, R>, run: F) -> Self
    where
        A: DeserializeOwned + Send + 'static,
        R: Serialize + DeserializeOwned + Send + 'static,
        F: Fn(A) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = R> + Send + 'static,
    {
        let run = Arc::new(run);
        let run = move |args: Blob| -> Answer {
            let run = run.clone();
            Box::pin(async move {
                let args = args.read::<A>().ok_or(Refusal::Args)?;
                let answer = AssertUnwindSafe(async { run(args).await }).catch_unwind().await;
                let answer = answer.map_err(|words| match Exit::from_panic(&*words) {
                    Exit::Panic(words) => Refusal::Panic(words),
                    exit => Refusal::Panic(exit.to_string()),
                })?;
                Blob::of(&answer).map_err(|_| Refusal::Answer)
            })
        };
        self.enter(&function.which(), function.name, Run::Function(Box::new(run)))
    }

    /// The same with a process. One of that name that was in it before is replaced.
    pub fn process<A, M, F, Fut>(self, process: &Process<A, M>, body: F) -> Self
    where
        A: DeserializeOwned + Send + 'static,
        M: Message,
        F: Fn(A, Mailbox<M>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Exit> + Send + 'static,
    {
        let body = Arc::new(body);
        let start = move |actors: &Actors, how: Spawn, bond: Bond, args: Blob| {
            let body = body.clone();
            let run = |mailbox: Mailbox<M>| async move {
                match args.read::<A>() {
                    Some(args) => body(args, mailbox).await,
                    None => Exit::because("its arguments cannot be read"),
                }
            };
            actors.spawn_for(how, bond, run).pid()
        };
        self.enter(&process.which(), process.name, Run::Process(Box::new(start)))
    }

    fn enter(mut self, which: &Which, name: &'static str, run: Run) -> Self {
        self.0.insert(name, Entry { version: which.version, digest: which.digest, run });
        self
    }

    /// A number for the whole table: nodes of which it is the same can call each other's functions all.
    pub fn digest(&self) -> u64 {
        let mut notes = Notes::new();
        for (name, entry) in &self.0 {
            notes.note(name.as_bytes());
            notes.note(&entry.version.to_le_bytes());
            notes.note(&entry.digest.to_le_bytes());
        }
        notes.hash
    }

    /// Everything that is in it.
    pub(crate) fn all(&self) -> impl Iterator<Item = Which> {
        self.0.iter().map(|(name, Entry { version, digest, .. })| Which {
            name: (*name).to_owned(),
            version: *version,
            digest: *digest,
        })
    }

    pub(crate) fn find(&self, which: &Which) -> Result<&Entry, Refusal> {
        let entry = self.0.get(which.name.as_str()).ok_or(Refusal::Unknown)?;
        if entry.version != which.version {
            return Err(Refusal::Version(entry.version));
        }
        match entry.digest == which.digest {
            true => Ok(entry),
            false => Err(Refusal::Digest),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_s_digest_tells_name_version_and_shape_apart() {
        let table = |name, version| {
            let add = Function::<(u64, u64), u64>::new(name, version);
            Functions::new().function(&add, async |(a, b)| a + b)
        };
        let narrow = Function::<(u32, u32), u64>::new("add", 1);
        let narrow = Functions::new().function(&narrow, async |(a, b)| u64::from(a + b));
        let all = [table("add", 1), table("add", 2), table("sum", 1), narrow, Functions::new()];
        let digests: std::collections::BTreeSet<u64> = all.iter().map(Functions::digest).collect();
        assert_eq!(digests.len(), all.len());
        assert_eq!(table("add", 1).digest(), table("add", 1).digest());
    }
}
