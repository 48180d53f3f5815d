//! What is written down while a drill goes on, by tasks that know nothing of each other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use quorate::Time;
use quorate_drill::check::i12_mail_in_order::MailInOrder;
use quorate_drill::history::{Moment, Record};
use quorate_drill::story::{Call, Probe, Reign, Size, Stale};
use quorate_env::now;

/// How long clients may take to come home: one call's time.
pub(super) const HOMECOMING: Duration = Duration::from_secs(5);
/// A page with more calls than this is no pleasure to open; the judges see all of them.
const CALLS_MAX: usize = 20_000;
const PROBES_MAX: usize = 100_000;
/// Seen to lead twice within this time, a node led meanwhile.
const REIGN_GOES_ON_MS: f64 = 700.0;

/// The notes. A clone writes on the same sheet.
#[derive(Clone)]
pub(super) struct Notes {
    began: Time,
    sheet: Arc<Mutex<Sheet>>,
}

/// What stands in them.
#[derive(Default)]
pub(super) struct Sheet {
    pub(super) probes: Vec<Probe>,
    pub(super) reigns: Vec<Reign>,
    pub(super) calls: Vec<Call>,
    pub(super) records: Vec<Record>,
    pub(super) stale: Vec<Stale>,
    /// What processes wrote to each other, by what they are called.
    pub(super) mail: MailInOrder<Arc<str>, Arc<str>>,
    /// Who wrote: one name for all letters of a process, however many there are.
    writers: BTreeSet<Arc<str>>,
    /// When a process last got a letter of another one.
    heard: BTreeMap<(Arc<str>, Arc<str>), f64>,
    pub(super) sizes: Vec<Size>,
    moments: u64,
    /// Clients are to wait.
    is_still: bool,
    /// Clients are to come home.
    is_over: bool,
}

impl Notes {
    pub(super) fn begin() -> Self {
        Self { began: now(), sheet: Arc::default() }
    }

    /// When the drill began, by the machine's clock.
    pub(super) fn began(&self) -> Time {
        self.began
    }

    /// Milliseconds since then.
    pub(super) fn ms(&self) -> f64 {
        self.ms_of(now())
    }

    /// A time of the machine's clock in such milliseconds.
    pub(super) fn ms_of(&self, at: Time) -> f64 {
        at.since(self.began).as_secs_f64() * 1000.0
    }

    /// The present moment; no two are the same.
    pub(super) fn moment(&self) -> Moment {
        let mut sheet = self.sheet();
        sheet.moments += 1;
        Moment { at: now().since(self.began), nth: sheet.moments }
    }

    /// A node was asked how it is.
    pub(super) fn probed(&self, node: &str, quorate: Option<bool>, leads: bool) {
        let at = self.ms();
        let mut sheet = self.sheet();
        if sheet.probes.len() < PROBES_MAX {
            sheet.probes.push(Probe { node: node.to_owned(), at, quorate });
        }
        if !leads {
            return;
        }
        let latest = sheet.reigns.iter_mut().rev().find(|reign| reign.node == node);
        match latest.filter(|reign| at - reign.until < REIGN_GOES_ON_MS) {
            Some(reign) => reign.until = at,
            None => sheet.reigns.push(Reign { node: node.to_owned(), from: at, until: at }),
        }
    }

    /// A client's call has ended.
    pub(super) fn called(&self, record: Record, call: Call) {
        let mut sheet = self.sheet();
        if sheet.calls.len() < CALLS_MAX {
            sheet.calls.push(call);
        }
        sheet.records.push(record);
    }

    /// Something was done that no client asked for.
    pub(super) fn recorded(&self, record: Record) {
        self.sheet().records.push(record);
    }

    pub(super) fn stale(&self, stale: Stale) {
        self.sheet().stale.push(stale);
    }

    /// A process has got these letters, each from whom and under which number.
    pub(super) fn mailed(&self, process: &Arc<str>, letters: &[(String, u64)]) {
        let (at, mut sheet) = (self.ms(), self.sheet());
        let Sheet { mail, heard, writers, .. } = &mut *sheet;
        for (from, number) in letters {
            let from = match writers.get(from.as_str()) {
                Some(known) => known.clone(),
                None => {
                    let from: Arc<str> = Arc::from(from.as_str());
                    writers.insert(from.clone());
                    from
                }
            };
            mail.arrived(&from, *number, process);
            heard.insert((from, process.clone()), at);
        }
    }

    /// When a process last got a letter of another one.
    pub(super) fn heard(&self, from: &Arc<str>, process: &Arc<str>) -> Option<f64> {
        self.sheet().heard.get(&(from.clone(), process.clone())).copied()
    }

    pub(super) fn sized(&self, size: Size) {
        self.sheet().sizes.push(size);
    }

    /// Has clients wait, or go on.
    pub(super) fn still(&self, is_still: bool) {
        self.sheet().is_still = is_still;
    }

    pub(super) fn is_still(&self) -> bool {
        self.sheet().is_still
    }

    pub(super) fn is_over(&self) -> bool {
        self.sheet().is_over
    }

    /// Has clients come home.
    pub(super) fn over(&self) {
        self.sheet().is_over = true;
    }

    /// The latest who was seen to lead, if that was not long ago.
    pub(super) fn leader(&self) -> Option<String> {
        let at = self.ms();
        let sheet = self.sheet();
        let latest = sheet.reigns.iter().max_by(|a, b| a.until.total_cmp(&b.until))?;
        (at - latest.until < 2.0 * REIGN_GOES_ON_MS).then(|| latest.node.clone())
    }

    /// All of it.
    pub(super) fn take(&self) -> Sheet {
        std::mem::take(&mut *self.sheet())
    }

    fn sheet(&self) -> MutexGuard<'_, Sheet> {
        self.sheet.lock().expect("nothing panics while it writes")
    }
}
