//! The writer: takes all that waits, writes it, syncs once, and says so in order.
//!
//! It alone writes to the journal. When the disk refuses a step that leaves everything as it was (it is full,
//! or takes no writes), nothing is acknowledged and nothing is lost: the scribe says so, rests, and takes the
//! same step again. Any other refusal ends it, and a sync that failed always does: what was being written is
//! then unknown, so it is neither acknowledged nor tried again, and nothing later is taken (fail-stop).
//!
//! The next segment is prepared while the present one fills, since writing its zeros takes as long as many
//! syncs. So a disk without room for it is known, and told, while there is still room for what matters then:
//! the vote for another leader.
//!
//! Not here: what may be written (`log`).

use std::collections::{BTreeMap, VecDeque};
use std::future::ready;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use quorate_env::{now, sleep, timeout};
use quorate_vocab::Time;

use crate::disk::{Disk, File, Prepared};
use crate::journal::{Segment, Tail};
use crate::log::{LogConfig, Shared, stopped};
use crate::queue::{Done, Job};
use crate::record::Record;
use crate::segment::{self, Header};
use crate::standing::Standing;
use crate::sum::Sum;
use crate::window::Place;

/// Makes durable what a [`crate::Log`] was given. Run it, on a thread of its own where syncs block.
pub struct Scribe {
    shared: Arc<Shared>,
    disk: Arc<dyn Disk>,
    config: LogConfig,
    /// What holds at the tail.
    written: Sum,
    segments: BTreeMap<u64, Segment>,
    tail: Tail,
    /// What comes after the tail.
    ahead: Ahead,
    /// What goes to the tail with the next sync, and where its entries lie in it.
    buffer: Vec<u8>,
    places: Vec<(u64, u64, Place)>,
}

/// The file of the next segment, and how long it is.
enum Ahead {
    /// The tail is still young.
    Unasked,
    Asked(u64, Prepared),
    Ready(u64, Box<dyn File>),
    /// It was asked for then and did not come. If it does not come before the turn, that will tell why.
    Refused(Time),
}

/// How long to wait before a step that was refused is taken again.
const REST: Duration = Duration::from_millis(250);
/// How long to wait before the next segment is asked for again.
const AHEAD_AGAIN: Duration = Duration::from_secs(2);

/// A buffer that grew beyond this for one large batch is given back.
const BUFFER_BYTES_KEPT: usize = 4 << 20;

impl Scribe {
    pub(crate) fn new(
        shared: Arc<Shared>,
        disk: Arc<dyn Disk>,
        config: LogConfig,
        written: Sum,
        segments: BTreeMap<u64, Segment>,
        tail: Tail,
    ) -> Self {
        let (buffer, places) = (Vec::new(), Vec::new());
        let ahead = Ahead::Unasked;
        Self { shared, disk, config, written, segments, tail, ahead, buffer, places }
    }

    /// Writes until every log is dropped, or until the disk fails.
    pub async fn run(mut self) {
        while let Some(mut jobs) = self.next().await {
            let mut dones = Vec::new();
            self.shared.standing.asks();
            if let Err(error) = self.write(&mut jobs, &mut dones).await {
                tracing::error!(%error, "the journal cannot be written; this node must stop");
                let why = error.to_string();
                let rest = self.shared.stop(&why);
                let later = jobs.into_iter().chain(rest).filter_map(|job| job.done);
                dones.into_iter().chain(later).for_each(|done| done(Err(stopped(&why))));
                return;
            }
            self.shared.standing.answered();
            self.look_ahead();
        }
        if !matches!(self.ahead, Ahead::Unasked) {
            // Whoever opens the journal next would remove it as well.
            let _ = segment::remove_unnamed(&*self.disk);
        }
    }

    /// All the work that waits, once something in it asks for a sync.
    async fn next(&mut self) -> Option<VecDeque<Job>> {
        loop {
            {
                let mut state = self.shared.lock();
                let is_end = state.is_closed;
                match state.queue.take(is_end) {
                    Some(jobs) => return Some(jobs),
                    None if is_end => return None,
                    None => {}
                }
            }
            let work = self.shared.work.notified();
            match self.ahead {
                Ahead::Unasked | Ahead::Ready(..) => work.await,
                Ahead::Asked(..) | Ahead::Refused(_) => {
                    let _ = timeout(AHEAD_AGAIN, work).await;
                    self.look_ahead();
                }
            }
        }
    }

    /// Writes jobs and answers them. On an error, those that were begun are left in `dones`, and the
    /// others in `jobs`.
    async fn write(&mut self, jobs: &mut VecDeque<Job>, dones: &mut Vec<Done>) -> io::Result<()> {
        let bytes: usize = jobs.iter().map(Job::bytes).sum();
        let purged = self.written.floor();
        while let Some(job) = jobs.pop_front() {
            let outcome = self.lay(job.records, job.stamp, dones).await;
            dones.extend(job.done);
            outcome?;
        }
        self.settle(dones).await?;
        self.shared.lock().queue.finish(bytes);
        self.shared.room.notify_waiters();
        if self.buffer.capacity() > BUFFER_BYTES_KEPT {
            self.buffer = Vec::new();
        }
        if self.written.floor() > purged {
            self.delete_purged().await?;
        }
        Ok(())
    }

    /// Puts records into the buffer; goes on in a new segment where they do not fit.
    async fn lay(
        &mut self,
        records: Vec<Record>,
        stamp: u64,
        dones: &mut Vec<Done>,
    ) -> io::Result<()> {
        let mut stamp = stamp;
        for record in records {
            let needed = record.framed() as u64;
            if self.tail.at + self.buffer.len() as u64 + needed > self.tail.capacity {
                self.settle(dones).await?;
                self.turn_over(needed).await?;
            }
            let at = self.tail.at as usize + self.buffer.len();
            record.write(self.tail.seal, self.tail.batch, &mut self.buffer);
            self.written.take(&record).map_err(io::Error::other)?;
            if let Record::Entry { index, .. } = record {
                let (segment, at, bytes) = (self.tail.segment, at as u32, needed as u32);
                self.places.push((index, stamp, Place { segment, at, bytes }));
                stamp += 1;
                if let Some(segment) = self.segments.get_mut(&segment) {
                    segment.greatest = segment.greatest.max(Some(index));
                }
            }
        }
        Ok(())
    }

    /// Writes the buffer, syncs, and answers what is answered by that.
    async fn settle(&mut self, dones: &mut Vec<Done>) -> io::Result<()> {
        if !self.buffer.is_empty() {
            while let Err(error) = self.tail.file.write_at(self.tail.at, &self.buffer) {
                // Whatever was written of it is written again, before any sync.
                self.rest(error).await?;
            }
            #[cfg(feature = "mutants")]
            if self.config.ack_before_sync {
                dones.drain(..).for_each(|done| done(Ok(())));
            }
            self.tail.file.sync().await?;
            self.tail.at += self.buffer.len() as u64;
            self.tail.batch += 1;
            self.buffer.clear();
            let mut state = self.shared.lock();
            for (index, stamp, place) in self.places.drain(..) {
                state.window.settle(index, stamp, place);
            }
        }
        dones.drain(..).for_each(|done| done(Ok(())));
        Ok(())
    }

    /// Goes on in a new segment. The old one is synced to its end by now.
    async fn turn_over(&mut self, needed: u64) -> io::Result<()> {
        let mut header = Header {
            journal: self.config.journal,
            segment: self.tail.segment + 1,
            capacity: 0,
            batch: self.tail.batch - 1,
            sum: self.written.clone(),
        };
        let needed = header.to_bytes().len() as u64 + needed;
        let mut prepared = match std::mem::replace(&mut self.ahead, Ahead::Unasked) {
            Ahead::Asked(capacity, prepared) if capacity >= needed => {
                header.capacity = capacity;
                Some(prepared)
            }
            Ahead::Ready(capacity, file) if capacity >= needed => {
                header.capacity = capacity;
                Some(Box::pin(ready(Ok(file))) as Prepared)
            }
            _ => {
                header.capacity = self.config.capacity_for(needed);
                None
            }
        };
        let file = loop {
            match header.make(&*self.disk, prepared.take()).await {
                Ok(file) => break file,
                // Nothing rests on a file without a name, whatever of it was refused: another comes. What is
                // written by now may make old segments needless, and their room is wanted.
                Err(error) => {
                    self.delete_purged().await?;
                    self.rest(error).await?;
                }
            }
        };
        self.disk.sync().await?;
        self.shared.standing.looked_ahead(Ok(()));
        self.shared.lock().files.insert(header.segment, Arc::clone(&file));
        let segment = Segment { file: Arc::clone(&file), greatest: None };
        self.segments.insert(header.segment, segment);
        self.tail = Tail::after_header(&header, file);
        Ok(())
    }

    /// Deletes the oldest segments while they hold nothing that is needed. Each deletion is durable
    /// before the next, so that a crash leaves no gap.
    async fn delete_purged(&mut self) -> io::Result<()> {
        let floor = self.written.floor();
        while let Some((&number, oldest)) = self.segments.first_key_value() {
            let is_needed = oldest.greatest.is_some_and(|greatest| greatest >= floor);
            if is_needed || number == self.tail.segment {
                break;
            }
            self.shared.lock().files.remove(&number);
            self.segments.remove(&number);
            while let Err(error) = self.disk.remove(&segment::name(number)) {
                self.rest(error).await?;
            }
            self.disk.sync().await?;
        }
        Ok(())
    }

    /// Has the next segment prepared once half of the tail is full, and looks what comes of it. Nothing is
    /// lost if that fails.
    fn look_ahead(&mut self) {
        self.ahead = match std::mem::replace(&mut self.ahead, Ahead::Unasked) {
            Ahead::Unasked if self.tail.at > self.tail.capacity / 2 => self.prepare(),
            Ahead::Asked(capacity, prepared) => self.prepared(capacity, prepared),
            Ahead::Refused(since) if now().since(since) >= AHEAD_AGAIN => {
                match segment::remove_unnamed(&*self.disk) {
                    Ok(()) => self.prepare(),
                    Err(error) => self.unprepared(&error),
                }
            }
            ahead => ahead,
        };
    }

    fn prepare(&self) -> Ahead {
        let capacity = self.config.capacity_for(0);
        match self.disk.prepare(segment::UNNAMED, capacity) {
            Ok(prepared) => self.prepared(capacity, prepared),
            Err(error) => self.unprepared(&error),
        }
    }

    fn prepared(&self, capacity: u64, mut prepared: Prepared) -> Ahead {
        match prepared.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Pending => Ahead::Asked(capacity, prepared),
            Poll::Ready(Ok(file)) => {
                self.shared.standing.looked_ahead(Ok(()));
                Ahead::Ready(capacity, file)
            }
            Poll::Ready(Err(error)) => self.unprepared(&error),
        }
    }

    fn unprepared(&self, error: &io::Error) -> Ahead {
        if self.shared.standing.current().is_healthy() {
            tracing::warn!(%error, "the next segment of the journal cannot be prepared");
        }
        self.shared.standing.looked_ahead(Err(error));
        Ahead::Refused(now())
    }

    /// Waits a while, if the disk refused a step in a way that left everything as it was. Any other error is
    /// the end, and so is this one when nobody is left to wait for.
    async fn rest(&mut self, error: io::Error) -> io::Result<()> {
        let Some(standing) = Standing::of_refusal(&error) else { return Err(error) };
        if self.shared.lock().is_closed {
            return Err(error);
        }
        if self.shared.standing.current() != standing {
            tracing::error!(%error, "the disk takes nothing; the journal waits and acknowledges nothing");
        }
        self.shared.standing.refused(standing, &error.to_string());
        sleep(REST).await;
        self.shared.standing.asks();
        Ok(())
    }
}

impl Shared {
    /// Nothing is written from here on. Returns what waited.
    pub(crate) fn stop(&self, why: &str) -> VecDeque<Job> {
        let rest = {
            let mut state = self.lock();
            if !state.is_closed {
                self.standing.refused(Standing::Failed, why);
            }
            state.stopped.get_or_insert_with(|| why.to_owned());
            state.queue.take(true).unwrap_or_default()
        };
        self.room.notify_waiters();
        rest
    }
}

impl Drop for Scribe {
    /// A scribe that is dropped before its time leaves nobody waiting.
    fn drop(&mut self) {
        let why = "the scribe has ended";
        let rest = self.shared.stop(why);
        rest.into_iter().filter_map(|job| job.done).for_each(|done| done(Err(stopped(why))));
    }
}
