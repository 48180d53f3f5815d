//! The loop finds what is planted, and what it says repeats it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::sleep;
use std::time::Duration;

use quorate_fuzz::{Dice, Finding, Plan, Target, Until, fuzz, input_of, join, split, targets};

/// Does something to one input in about five hundred.
struct Planted(fn());

impl Target for Planted {
    fn name(&self) -> &'static str {
        "planted"
    }

    fn corpus(&self) -> &[Vec<u8>] {
        &[]
    }

    fn parts(&self, input: &[u8]) -> Vec<Vec<u8>> {
        split(input)
    }

    fn assemble(&self, parts: &[Vec<u8>]) -> Vec<u8> {
        join(parts)
    }

    fn draw(&self, dice: &mut Dice) -> Vec<u8> {
        dice.number().to_le_bytes().to_vec()
    }

    fn run(&self, input: &[u8]) -> bool {
        if input[0] == 7 && input[1] < 128 {
            (self.0)();
        }
        input[0] != 7
    }
}

fn find(target: &dyn Target) -> Finding {
    let plan = Plan { seed: 3, from: 0, until: Until::Runs(100_000) };
    fuzz(target, plan, &AtomicU64::new(0)).expect_err("it is there to be found")
}

#[test]
fn a_panic_is_found_and_repeats_by_its_line() {
    let target = Planted(|| panic!("a planted bug"));
    let found = find(&target);
    assert!(found.what.contains("a planted bug"), "{}", found.what);
    assert_eq!(found.input, input_of(&target, 3, found.run));
    let line = found.line();
    assert_eq!(
        line,
        format!("cargo run -p quorate-fuzz -- planted --seed 3 --from {} --runs 1", found.run)
    );
    let plan = Plan { seed: 3, from: found.run, until: Until::Runs(1) };
    assert_eq!(fuzz(&target, plan, &AtomicU64::new(0)).expect_err("again").input, found.input);
    let before = Plan { seed: 3, from: 0, until: Until::Runs(found.run) };
    let report = fuzz(&target, before, &AtomicU64::new(0)).expect("it was the first");
    assert!(report.accepted < report.runs);
}

#[test]
fn an_input_that_takes_too_long_is_found_but_a_moment_of_weakness_is_not() {
    assert!(find(&Planted(|| sleep(Duration::from_millis(1100)))).what.contains("it took"));
    static WEAK: AtomicU64 = AtomicU64::new(0);
    let once = Planted(|| {
        if WEAK.fetch_add(1, Ordering::Relaxed) == 0 {
            sleep(Duration::from_millis(1100));
        }
    });
    let plan = Plan { seed: 3, from: 0, until: Until::Runs(2_000) };
    assert!(fuzz(&once, plan, &AtomicU64::new(0)).is_ok());
    assert!(WEAK.load(Ordering::Relaxed) > 1, "the input was tried again");
}

#[test]
fn a_seed_and_a_number_are_all_that_an_input_follows_from() {
    for target in targets::all() {
        let (a, b) = (targets::all(), targets::all());
        let named = |all: Vec<Box<dyn Target>>| all.into_iter().find(|t| t.name() == target.name());
        let (a, b) = (named(a).expect("it is there"), named(b).expect("it is there"));
        for run in 0..50 {
            assert_eq!(input_of(&*a, 9, run), input_of(&*b, 9, run), "{}: {run}", target.name());
        }
        let differ = (0..50).filter(|&run| input_of(&*a, 9, run) != input_of(&*a, 10, run)).count();
        assert!(differ > 40, "{}: seeds hardly differ", target.name());
    }
}
