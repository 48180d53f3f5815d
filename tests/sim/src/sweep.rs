//! A sweep: many seeds, each in a world of its own, a few worlds at a time, and what came of all of them.
//!
//! Worlds share nothing, so threads change no outcome, only the time that it takes.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;
use std::time::Duration;

use crate::world::{Mutant, Operations, Outcome, Plan, Rare, Settings, Singletons, run};
use quorate_drill::nemesis::Fault;

/// What one world of a sweep is to be like.
#[derive(Clone, Debug)]
pub struct Case {
    /// The settings of its run.
    pub settings: Settings,
}

/// What came of a sweep.
#[derive(Clone, Debug, Default)]
pub struct Total {
    /// How many worlds there were.
    pub worlds: u64,
    /// How much time passed in them together.
    pub simulated: Duration,
    /// How their operations ended.
    pub operations: Operations,
    /// How many letters were sent to names, and how many arrived.
    pub letters: (u64, u64),
    /// How many local reads knew how old they were, and how many did not.
    pub ages: (u64, u64),
    /// What became of singletons.
    pub singletons: Singletons,
    /// How often each fault was done.
    pub faults: BTreeMap<Fault, u64>,
    /// How often what is rare came.
    pub rare: BTreeMap<Rare, u64>,
    /// How many lives all nodes had.
    pub lives: u64,
    /// How many entries all logs had.
    pub entries: u64,
    /// The worlds that went wrong, in the order of their seeds.
    pub failed: Vec<(Case, Outcome)>,
}

impl Case {
    /// The case of a seed. Unless said otherwise every third world has five nodes and the others three; every
    /// fifth has power cuts, every fifth has five nodes and only three voters, every fifth has three to seven
    /// nodes and some of the faults, and the others everything.
    pub fn of_seed(seed: u64, nodes: Option<usize>, plan: Option<Plan>) -> Self {
        let trouble = match seed % 5 {
            4 => Plan::PowerCuts,
            2 => Plan::Spares,
            3 => Plan::Swarm,
            _ => Plan::Everything,
        };
        let plan = plan.unwrap_or(trouble);
        let mixed = match plan {
            Plan::Swarm => [3, 5, 7][(seed / 5 % 3) as usize],
            Plan::Spares => 5,
            Plan::Crowd => 20 + (seed % 31) as usize,
            _ if seed.is_multiple_of(3) => 5,
            _ => 3,
        };
        Self { settings: Settings::new(seed, nodes.unwrap_or(mixed), plan) }
    }

    /// The cases of the file of seeds that once failed: a seed, a number of nodes and a plan on each line,
    /// and a remark behind `#`.
    ///
    /// # Panics
    /// If a line of it is something else.
    pub fn kept() -> Vec<Self> {
        let lines = include_str!("../seeds.txt").lines();
        lines
            .map(|line| line.split('#').next().unwrap_or_default().trim())
            .filter(|line| !line.is_empty())
            .map(|line| {
                let mut words = line.split_whitespace();
                let mut word = || words.next().expect("a line has a seed, nodes and a plan");
                let seed = word().parse().expect("a seed is a number");
                let nodes = word().parse().expect("nodes are a number");
                let plan = Plan::from_word(word()).expect("a plan is one that there is");
                Self::of_seed(seed, Some(nodes), Some(plan))
            })
            .collect()
    }

    /// The one line that repeats it.
    pub fn repeat(&self) -> String {
        let Settings { seed, plan, nodes, seconds, mutant, ref script, .. } = self.settings;
        if let Some(script) = script {
            return format!("repeat: quorate drill sim {} --seed {seed} --trace", script.name);
        }
        let (features, mutant) = match mutant {
            None => ("", String::new()),
            Some(mutant) => (" --features mutants", format!(" --mutant {mutant}")),
        };
        format!(
            "repeat: cargo run --release -p quorate-sim{features} -- --seed {seed} --nodes {nodes} --plan {} \
             --seconds {seconds}{mutant}",
            plan.word()
        )
    }
}

impl Total {
    fn add(&mut self, case: Case, outcome: Outcome) {
        self.worlds += 1;
        self.simulated += outcome.simulated;
        let (all, one) = (&mut self.operations, outcome.operations);
        all.answered += one.answered;
        all.refused += one.refused;
        all.not_done += one.not_done;
        all.unknown += one.unknown;
        self.letters.0 += outcome.letters.0;
        self.letters.1 += outcome.letters.1;
        self.ages.0 += outcome.ages.0;
        self.ages.1 += outcome.ages.1;
        let (all, one) = (&mut self.singletons, outcome.singletons);
        all.grants += one.grants;
        all.turns += one.turns;
        for (all, one) in all.calls.iter_mut().zip(one.calls) {
            *all += one;
        }
        all.deeds.0 += one.deeds.0;
        all.deeds.1 += one.deeds.1;
        all.ended += one.ended;
        all.again = all.again.max(one.again);
        for (fault, count) in &outcome.faults {
            *self.faults.entry(*fault).or_default() += count;
        }
        for (rare, count) in &outcome.rare {
            *self.rare.entry(*rare).or_default() += count;
        }
        self.lives += outcome.lives;
        self.entries += outcome.entries;
        if !outcome.violations.is_empty() {
            self.failed.push((case, outcome));
            self.failed.sort_by_key(|(case, _)| case.settings.seed);
        }
    }
}

impl fmt::Display for Total {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Operations { answered, refused, not_done, unknown } = self.operations;
        writeln!(
            f,
            "{} seeds, {} s simulated, {} lives of nodes, {} entries of logs, {} failed",
            self.worlds,
            self.simulated.as_secs(),
            self.lives,
            self.entries,
            self.failed.len(),
        )?;
        writeln!(
            f,
            "operations: {answered} answered, {refused} refused, {not_done} not done, {unknown} unknown; \
             letters: {} sent, {} arrived; local reads: {} of a known age, {} not",
            self.letters.0, self.letters.1, self.ages.0, self.ages.1,
        )?;
        let Singletons { grants, turns, calls, deeds, ended, again } = self.singletons;
        writeln!(
            f,
            "singletons: {grants} grants, {turns} turns; calls: {} answered, {} not seen, {} in doubt; \
             deeds: {} done, {} refused as stale; nodes ended by their guardians: {ended}; after the heal \
             all ran within {again:?}",
            calls[0], calls[1], calls[2], deeds.0, deeds.1,
        )?;
        write!(f, "faults:")?;
        for (fault, count) in &self.faults {
            write!(f, " {fault} {count}")?;
        }
        write!(f, "\nrare:")?;
        for rare in Rare::ALL {
            write!(f, " {rare} {}", self.rare.get(&rare).copied().unwrap_or_default())?;
        }
        Ok(())
    }
}

impl fmt::Display for Mutant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Runs all cases, so many at a time, and lets `look` see each as it ends.
pub fn sweep(
    cases: impl IntoIterator<Item = Case, IntoIter: Send>,
    jobs: usize,
    look: impl Fn(&Case, &Outcome) + Sync,
) -> Total {
    let cases = Mutex::new(cases.into_iter());
    let total = Mutex::new(Total::default());
    let work = || {
        loop {
            let next = cases.lock().expect("an iterator does not panic").next();
            let Some(case) = next else { return };
            let outcome = run(case.settings.clone());
            look(&case, &outcome);
            total.lock().expect("nothing panics while it adds up").add(case, outcome);
        }
    };
    std::thread::scope(|threads| {
        for _ in 1..jobs {
            threads.spawn(work);
        }
        work();
    });
    total.into_inner().expect("all threads have ended well")
}
