//! The loop finds memory that was taken because bytes promised something. A process of its own, as the peak
//! of a process is one for all of its threads.

use std::hint::black_box;
use std::sync::atomic::AtomicU64;

use quorate_fuzz::{Dice, Finding, Plan, Target, Until, fuzz};

/// Believes what one input promises.
struct Credulous(fn() -> Vec<u8>);

impl Target for Credulous {
    fn name(&self) -> &'static str {
        "credulous"
    }

    fn corpus(&self) -> &[Vec<u8>] {
        &[]
    }

    fn parts(&self, _: &[u8]) -> Vec<Vec<u8>> {
        Vec::new()
    }

    fn assemble(&self, parts: &[Vec<u8>]) -> Vec<u8> {
        parts.concat()
    }

    fn draw(&self, dice: &mut Dice) -> Vec<u8> {
        vec![dice.number() as u8]
    }

    fn run(&self, input: &[u8]) -> bool {
        if input == [7] {
            drop(black_box((self.0)()));
        }
        true
    }
}

fn find(takes: fn() -> Vec<u8>) -> Result<(), Finding> {
    let plan = Plan { seed: 3, from: 0, until: Until::Runs(5_000) };
    fuzz(&Credulous(takes), plan, &AtomicU64::new(0)).map(drop)
}

#[test]
fn memory_that_a_promise_took_for_a_moment_is_found() {
    find(|| vec![1; 1 << 20]).expect("a little is no finding");
    let reserved = find(|| Vec::with_capacity(2 << 30)).expect_err("reserved and never touched");
    assert!(reserved.what.contains("were reserved"), "{}", reserved.what);
    let taken = find(|| vec![1; 256 << 20]).expect_err("taken");
    assert!(taken.what.contains("memory grew"), "{}", taken.what);
    assert!(taken.line().ends_with(&format!("--runs {}", taken.among)), "{}", taken.line());
}
