//! Counters: whatever was asked for under one key was counted once or, if nobody was answered, once at most.
//!
//! Everybody only adds. Each answer says what was in the counter then, so the answers put what was answered
//! in order; what lies between two of them must have been added by those who were never answered.

use std::collections::BTreeMap;

use quorate_vocab::Name;

use super::Violation;
use crate::history::Moment;

/// What was asked of counters, and answered.
#[derive(Debug, Default)]
pub struct Counts {
    asked: Vec<Asked>,
    reads: Vec<(Name, Moment, Moment, i64)>,
    stands: BTreeMap<Name, i64>,
    violations: Vec<Violation>,
}

/// Somebody who waits for an answer.
#[derive(Debug)]
pub struct Counted(usize);

#[derive(Debug)]
struct Asked {
    name: Name,
    add: i64,
    invoked: Moment,
    end: End,
}

#[derive(Clone, Copy, Debug)]
enum End {
    Answered { value: i64, at: Moment },
    NotDone,
    Unknown,
}

impl Counts {
    /// Somebody adds, as often as it takes, under one key.
    pub fn asked(&mut self, name: &Name, add: i64, invoked: Moment) -> Counted {
        self.asked.push(Asked { name: name.clone(), add, invoked, end: End::Unknown });
        Counted(self.asked.len() - 1)
    }

    /// It was counted, and this is in the counter now.
    pub fn answered(&mut self, counted: &Counted, value: i64, at: Moment) {
        self.asked[counted.0].end = End::Answered { value, at };
    }

    /// It was not counted, and will not be.
    pub fn not_done(&mut self, counted: &Counted) {
        self.asked[counted.0].end = End::NotDone;
    }

    /// Somebody looked, linearizably.
    pub fn read(&mut self, name: &Name, invoked: Moment, returned: Moment, value: i64) {
        self.reads.push((name.clone(), invoked, returned, value));
    }

    /// What is in a counter in the end, by some node.
    pub fn stands(&mut self, name: &Name, value: i64) {
        let first = *self.stands.entry(name.clone()).or_insert(value);
        if first != value {
            self.violate(name, format_args!("{first} is in it, and {value}"));
        }
    }

    /// What was found.
    pub fn finish(mut self) -> Vec<Violation> {
        let mut by_name = BTreeMap::<Name, Vec<Asked>>::new();
        for asked in std::mem::take(&mut self.asked) {
            by_name.entry(asked.name.clone()).or_default().push(asked);
        }
        for (name, asked) in by_name {
            self.judge(&name, &asked);
        }
        self.violations
    }

    fn judge(&mut self, name: &Name, asked: &[Asked]) {
        let unknown = asked.iter().filter(|asked| matches!(asked.end, End::Unknown));
        let mut unknown: i64 = unknown.map(|asked| asked.add).sum();
        let mut answered: Vec<(i64, &Asked, Moment)> = asked
            .iter()
            .filter_map(|asked| match asked.end {
                End::Answered { value, at } => Some((value, asked, at)),
                _ => None,
            })
            .collect();
        answered.sort_by_key(|(value, ..)| *value);
        let mut stood = 0;
        for (value, asked, _) in &answered {
            let between = value - asked.add - stood;
            if between < 0 || between > unknown {
                let what = format_args!(
                    "{} was added and made {value}, after {stood}, and at most {unknown} is \
                     unaccounted for",
                    asked.add,
                );
                self.violate(name, what);
                return;
            }
            unknown -= between;
            stood = *value;
        }
        if let Some(last) = self.stands.get(name).copied()
            && !(stood..=stood + unknown).contains(&last)
        {
            self.violate(name, format_args!("{last} is in it, not {stood} and {unknown} at most"));
        }
        self.in_order(name, &answered);
    }

    /// Whoever asked after an answer found at least as much.
    fn in_order(&mut self, name: &Name, answered: &[(i64, &Asked, Moment)]) {
        let mut sights: Vec<(Moment, Moment, i64, i64)> = answered
            .iter()
            .map(|(value, asked, at)| (asked.invoked, *at, *value, asked.add))
            .collect();
        let reads = self.reads.iter().filter(|(of, ..)| of == name);
        sights.extend(reads.map(|(_, invoked, returned, value)| (*invoked, *returned, *value, 0)));
        let mut by_return = sights.clone();
        sights.sort_unstable();
        by_return.sort_unstable_by_key(|(_, returned, ..)| *returned);
        let mut by_return = by_return.into_iter().peekable();
        let mut greatest = 0;
        for (invoked, _, value, add) in sights {
            while let Some((_, _, before, _)) = by_return.next_if(|(_, at, ..)| *at < invoked) {
                greatest = greatest.max(before);
            }
            if value - add < greatest {
                let at = invoked.at;
                let what =
                    format_args!("{value} was told to who asked at {at:?}, after {greatest}");
                self.violate(name, what);
                return;
            }
        }
    }

    fn violate(&mut self, name: &Name, what: std::fmt::Arguments<'_>) {
        self.violations.push(Violation::new("counts", format_args!("{name}: {what}")));
    }
}
