//! A process that is killed at a random moment, again and again, on the same directory.

mod common;
mod victim;

use std::time::Duration;

use common::Dice;
use victim::Said;

/// Not a test by itself: what the victim runs.
#[test]
fn victim() {
    if let Some(dir) = victim::assigned() {
        victim::write_until_killed(&dir);
    }
}

#[test]
fn what_was_acknowledged_outlives_a_kill() {
    if victim::assigned().is_some() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("data");
    let mut dice = Dice(17);
    let mut said = Said::default();
    let (mut cuts, mut least, mut round) = (0, u64::MAX, 0);
    // As many kills as it takes until much was at stake: how many that are, the disk decides.
    while round < 50 || said.entry <= 1000 || said.snapshot <= 500 {
        assert!(round < 1000, "the victims hardly write: {said:?}");
        round += 1;
        let before = said.lines;
        let mut child = victim::start("victim", &dir);
        let pipe = victim::let_write(&mut child, Duration::from_millis(dice.roll(150)));
        child.kill().unwrap();
        child.wait().unwrap();
        said = victim::said(pipe, said);
        least = least.min(said.lines - before);
        let state = victim::check(&dir, said);
        cuts += u64::from(state.report.bytes_cut > 0);
        let (held, wrong) = victim::check_shelf(&dir);
        assert!(wrong.is_none(), "round {round}: {wrong:?}");
        assert!(held >= said.shelved, "round {round}: the shelf forgot: {held}, {said:?}");
    }
    eprintln!("{round} kills: {said:?}, {cuts} torn ends, at least {least} lines a round");
}
