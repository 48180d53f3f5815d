//! The switchboard: which faults are present, and until when.
//!
//! Doors look at it whenever something passes, and wait for it where they hold something back. It compares
//! with the machine's clock at each look, and a task of its own takes away what is over, so that whoever
//! waits hears of it.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use quorate_env::{Net, machine, set_wall_skew, spawn, timeout, wall_skew};
use quorate_mesh::{Climate, Conditions, Weather};
use quorate_storage::Disk;
use quorate_vocab::Time;
use tokio::sync::watch;

use crate::disk::AiledDisk;
use crate::fault::{Fault, Refused, Way, Where};
use crate::forgetful::ForgetfulDisk;
use crate::line::Line;
use crate::net::SilencedNet;

/// The longest that a fault may last.
pub const LASTS_MAX: Duration = Duration::from_secs(600);

/// How many faults may be present at once.
pub const PRESENT_MAX: usize = 64;

/// How many connections whose owner let go of them in a silence are kept open until it ends. Those beyond are
/// closed at once, which the other end may notice.
const LINGER_MAX: usize = 256;

/// The faults of one process. Clones are the same.
#[derive(Clone)]
pub struct Faults(Arc<Board>);

/// A fault that is present.
#[derive(Clone, Debug, PartialEq)]
pub struct Present {
    /// Its number, which no other fault of this process has.
    pub id: u64,
    /// What is wrong.
    pub fault: Fault,
    /// For how long yet.
    pub left: Duration,
}

/// What all doors look at.
pub(crate) struct Board {
    faults: watch::Sender<Injected>,
    climate: Climate,
    /// What the wall clock was put wrong by before any fault.
    wall_skew_nanos: i64,
    lingering: Mutex<Vec<Arc<Line>>>,
}

/// The faults that were injected and not healed, oldest first.
#[derive(Default)]
pub(crate) struct Injected {
    last: u64,
    active: Vec<Active>,
}

struct Active {
    id: u64,
    fault: Fault,
    /// By the machine's clock.
    ends: Time,
    /// How many bytes there are left on a disk that is full after them.
    room: AtomicU64,
}

impl Faults {
    /// A switchboard with nothing wrong. The clocks that it can put wrong are those of the whole process, so
    /// there should be one in a process.
    pub fn new() -> Self {
        Self(Arc::new(Board {
            faults: watch::Sender::new(Injected::default()),
            climate: Climate::new(Conditions::CALM),
            wall_skew_nanos: wall_skew(),
            lingering: Mutex::default(),
        }))
    }

    /// A net that is as these faults have it.
    pub fn net(&self, inner: Arc<dyn Net>) -> Arc<dyn Net> {
        let silenced = Arc::new(SilencedNet::new(inner, self.0.clone()));
        Arc::new(Weather::over(silenced, self.0.climate.clone()))
    }

    /// A disk that is as these faults have it.
    pub fn disk(&self, inner: Arc<dyn Disk>) -> Arc<dyn Disk> {
        Arc::new(AiledDisk::new(inner, self.0.clone()))
    }

    /// A disk that has what is written only once it is synced: until then it is in the memory of this
    /// process, which loses it when it is killed, as a machine does in a power cut. More than 64 MiB are not
    /// kept back. No fault, and nothing heals it.
    pub fn forgetful(inner: Arc<dyn Disk>) -> Arc<dyn Disk> {
        Arc::new(ForgetfulDisk::new(inner))
    }

    /// Puts something wrong for so long; the number under which it can be healed sooner. To be called inside
    /// of a runtime. Of several that mean the same (the rate of the clock, the room on the disk, the weather
    /// of one peer) the newest counts.
    pub fn inject(&self, fault: Fault, lasts: Duration) -> Result<u64, Refused> {
        fault.check()?;
        if lasts.is_zero() || lasts > LASTS_MAX {
            return Err(Refused::Lasts { asked: lasts });
        }
        let ends = machine::now() + lasts;
        let told = fault.clone();
        let mut outcome = Err(Refused::Full);
        self.0.change(|injected| {
            if injected.active.len() >= PRESENT_MAX {
                return;
            }
            injected.last += 1;
            let (id, room) = (injected.last, AtomicU64::new(fault.room().unwrap_or(0)));
            injected.active.push(Active { id, fault, ends, room });
            outcome = Ok(id);
        });
        let id = outcome?;
        tracing::warn!(id, fault = ?told, ?lasts, "a fault was injected");
        spawn(self.0.clone().end(id, ends));
        Ok(id)
    }

    /// What is wrong now, oldest first.
    pub fn present(&self) -> Vec<Present> {
        let now = machine::now();
        let injected = self.0.faults.borrow();
        let present = |active: &Active| Present {
            id: active.id,
            fault: active.fault.clone(),
            left: active.ends.since(now),
        };
        injected.present(now).map(present).collect()
    }

    /// Ends a fault; whether it was there.
    pub fn heal(&self, id: u64) -> bool {
        self.0.remove(|active| active.id == id) > 0
    }

    /// Ends all faults; how many there were.
    pub fn heal_all(&self) -> usize {
        self.0.remove(|_| true)
    }
}

impl Default for Faults {
    fn default() -> Self {
        Self::new()
    }
}

impl Board {
    /// Whether one way of a connection is silent.
    pub(crate) fn is_silent(&self, peer: Option<&str>, way: Way) -> bool {
        self.faults.borrow().has(|fault| fault.silences(peer, way))
    }

    /// Waits while it is.
    pub(crate) async fn audible(&self, peer: Option<&str>, way: Way) {
        self.without(|fault| fault.silences(peer, way)).await;
    }

    /// What the way out of a connection is like, if there is weather on it. That of its peer goes before that
    /// of all.
    pub(crate) fn weather_out(&self, peer: Option<&str>) -> Option<Conditions> {
        let injected = self.faults.borrow();
        let at = |meant: Where<'_>| {
            injected.newest(|fault| {
                let (at, conditions) = fault.weather(Way::Out)?;
                (at == meant).then_some(conditions)
            })
        };
        peer.and_then(|peer| at(Where::At(peer))).or_else(|| at(Where::Everywhere))
    }

    /// Waits while no sync may end.
    pub(crate) async fn unstalled(&self) {
        self.without(|fault| matches!(fault, Fault::DiskStall {})).await;
    }

    /// Waits for as long as a sync takes longer than it would.
    pub(crate) async fn drag(&self) {
        let takes = self.faults.borrow().newest(Fault::sync_takes);
        if let Some(takes) = takes {
            let healed = self.without(|fault| fault.sync_takes().is_some());
            // Late is what it should be.
            let _ = timeout(takes, healed).await;
        }
    }

    /// Whether the disk may fill up at present.
    pub(crate) fn is_limited(&self) -> bool {
        self.faults.borrow().has(|fault| fault.room().is_some())
    }

    /// Takes room on the disk for so many bytes more, or none if there is not as much.
    pub(crate) fn allocate(&self, bytes: u64) -> io::Result<()> {
        match self.faults.borrow().change_room(|left| left.checked_sub(bytes)) {
            true => Ok(()),
            false => Err(io::ErrorKind::StorageFull.into()),
        }
    }

    /// Gives room back.
    pub(crate) fn free(&self, bytes: u64) {
        // It can always be given.
        let _ = self.faults.borrow().change_room(|left| Some(left.saturating_add(bytes)));
    }

    /// Keeps a connection open that nobody holds any more, until its silence is over.
    pub(crate) fn linger(&self, line: Arc<Line>) {
        let mut lingering = self.lingering();
        if lingering.len() < LINGER_MAX {
            lingering.push(line);
        }
        drop(lingering);
        // The silence may have ended just now.
        self.let_go();
    }

    /// Closes the connections that were kept for a silence that is over.
    fn let_go(&self) {
        let mut lingering = self.lingering();
        let all = std::mem::take(&mut *lingering);
        let (kept, closed): (Vec<_>, Vec<_>) = all.into_iter().partition(|line| line.is_silent());
        *lingering = kept;
        drop(lingering);
        drop(closed);
    }

    fn lingering(&self) -> MutexGuard<'_, Vec<Arc<Line>>> {
        self.lingering.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits while there is such a fault.
    async fn without(&self, is_it: impl Fn(&Fault) -> bool) {
        let mut faults = self.faults.subscribe();
        // The sender is this board's own, and lives for as long as this is waited for.
        let _ = faults.wait_for(|injected| !injected.has(&is_it)).await;
    }

    /// Takes a fault away when it is over.
    async fn end(self: Arc<Self>, id: u64, ends: Time) {
        let healed = async {
            let mut faults = self.faults.subscribe();
            let is_gone = |injected: &Injected| injected.active.iter().all(|one| one.id != id);
            let _ = faults.wait_for(is_gone).await;
        };
        tokio::select! {
            () = healed => {}
            () = machine_reaches(ends) => {
                self.remove(|active| active.id == id);
            }
        }
    }

    fn remove(&self, is_it: impl Fn(&Active) -> bool) -> usize {
        let mut removed = Vec::new();
        self.change(|injected| {
            let all = std::mem::take(&mut injected.active);
            (removed, injected.active) = all.into_iter().partition(is_it);
        });
        for Active { id, fault, .. } in &removed {
            tracing::warn!(id, ?fault, "a fault has ended");
        }
        removed.len()
    }

    /// Changes what is wrong, and has the weather and the clocks follow. One change at a time.
    fn change(&self, change: impl FnOnce(&mut Injected)) {
        self.faults.send_modify(|injected| {
            let before: Vec<Fault> = injected.active.iter().map(|one| one.fault.clone()).collect();
            change(injected);
            let weather = injected.active.iter().filter_map(|active| active.fault.weather(Way::In));
            let was = before.iter().filter_map(|fault| fault.weather(Way::In));
            self.forecast(was.map(|(at, _)| at), weather);
            // What was never put wrong is left alone: others may have a hand in it.
            let (rate, skew) =
                (injected.newest(Fault::clock_rate), injected.newest(Fault::wall_skew));
            if rate.is_some() || before.iter().any(|fault| fault.clock_rate().is_some()) {
                machine::set_clock_rate(rate.unwrap_or(0));
            }
            if skew.is_some() || before.iter().any(|fault| fault.wall_skew().is_some()) {
                set_wall_skew(self.wall_skew_nanos.saturating_add(skew.unwrap_or(0)));
            }
        });
        self.let_go();
    }

    /// Ends the weather of before, and begins what there is now.
    fn forecast<'a>(
        &self,
        before: impl Iterator<Item = Where<'a>>,
        now: impl Iterator<Item = (Where<'a>, Conditions)>,
    ) {
        for at in before {
            match at {
                Where::Everywhere => self.climate.everywhere(Conditions::CALM),
                Where::At(peer) => self.climate.as_elsewhere(peer),
            }
        }
        for (at, conditions) in now {
            match at {
                Where::Everywhere => self.climate.everywhere(conditions),
                Where::At(peer) => self.climate.at(peer, conditions),
            }
        }
    }
}

impl Injected {
    /// Those that are not over.
    fn present(&self, now: Time) -> impl Iterator<Item = &Active> {
        self.active.iter().filter(move |active| active.ends > now)
    }

    /// Whether one like this is present.
    fn has(&self, is_it: impl Fn(&Fault) -> bool) -> bool {
        let mut alike = self.active.iter().filter(|active| is_it(&active.fault)).peekable();
        // Where nothing is wrong, no clock is asked.
        alike.peek().is_some() && {
            let now = machine::now();
            alike.any(|active| active.ends > now)
        }
    }

    /// What the newest says that says anything.
    fn newest<T>(&self, says: impl Fn(&Fault) -> Option<T>) -> Option<T> {
        self.active.iter().rev().find_map(|active| says(&active.fault))
    }

    /// Changes how much room there is, if that is limited; whether it let itself be changed.
    fn change_room(&self, change: impl Fn(u64) -> Option<u64>) -> bool {
        let mut full = self.active.iter().rev().filter(|active| active.fault.room().is_some());
        full.next().is_none_or(|newest| {
            newest.room.fetch_update(Ordering::Relaxed, Ordering::Relaxed, change).is_ok()
        })
    }
}

/// Waits until the machine's clock shows this.
async fn machine_reaches(at: Time) {
    loop {
        let left = at.since(machine::now());
        if left.is_zero() {
            return;
        }
        machine::sleep(left).await;
    }
}
