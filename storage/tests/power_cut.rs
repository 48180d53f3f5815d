//! The power goes: a file system in an image, whose image is copied as the device holds it at a random
//! moment.
//!
//! Needs root and loop devices. Where there are none, it says so and passes; `crashes` and the twin in
//! `tests/sim` then have to do. What a device's own cache loses is not modelled here, but there. Nor is an
//! acknowledgement that comes just before its sync found here, as a process is stopped only after the sync.

mod common;
mod victim;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use common::Dice;

/// Not a test by itself: what the victim runs.
#[test]
fn victim() {
    if let Some(dir) = victim::assigned() {
        victim::write_until_killed(&dir);
    }
}

#[test]
fn what_was_acknowledged_outlives_a_power_cut() {
    if victim::assigned().is_some() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("image");
    if let Err(why) = make(&image).and_then(|()| Mount::new(&image, dir.path().join("probe"))) {
        eprintln!("no loop mounts here ({why}): this test says nothing");
        return;
    }
    let mut dice = Dice(23);
    let (mut forgot, mut replaced, mut cuts, mut total, mut round) = (0, 0, 0, 0, 0);
    // As many cuts as it takes until much was at stake: how many that are, the disk decides.
    while round < 8 || total <= 1000 {
        assert!(round < 80, "the victims hardly write: {total} lines");
        round += 1;
        let copy = dir.path().join("copy");
        let said = {
            make(&image).unwrap();
            let mounted = Mount::new(&image, dir.path().join("live")).unwrap();
            let mut child = victim::start("victim", &mounted.0.join("data"));
            let span = Duration::from_millis(200 + dice.roll(1500));
            let (pipe, before) = victim::let_write_on(&mut child, span);
            signal(&child, "STOP");
            // Nobody syncs here: the image is what the device was given so far.
            fs::copy(&image, &copy).unwrap();
            child.kill().unwrap();
            child.wait().unwrap();
            victim::said(pipe, before)
        };
        let after = Mount::new(&copy, dir.path().join("after")).unwrap();
        let data = after.0.join("data");
        let state = victim::check(&data, said);
        let (held, wrong) = victim::check_shelf(&data);
        // The watermark tells whether the shelf forgot; then it is rebuilt from the snapshot and the log.
        forgot += u64::from(held < state.shelved && wrong.is_none());
        replaced += u64::from(wrong.is_some());
        cuts += u64::from(state.report.bytes_cut > 0);
        total += said.lines;
    }
    eprintln!(
        "{round} power cuts, {total} acknowledgements, {cuts} torn ends; \
         of the shelves {forgot} forgot, {replaced} broke"
    );
}

fn make(image: &Path) -> Result<(), String> {
    let file = fs::OpenOptions::new().write(true).create(true).truncate(true).open(image);
    file.and_then(|file| file.set_len(64 << 20)).map_err(|error| error.to_string())?;
    run(Command::new("mkfs.ext4").arg("-q").arg(image))
}

/// A mounted image, unmounted in the end, whatever the end is.
struct Mount(PathBuf);

impl Mount {
    fn new(image: &Path, at: PathBuf) -> Result<Self, String> {
        fs::create_dir_all(&at).map_err(|error| error.to_string())?;
        run(Command::new("mount").args(["-o", "loop"]).arg(image).arg(&at))?;
        Ok(Self(at))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Threads that were left behind may hold files; a lazy unmount lets them.
        let outcome = run(Command::new("umount").arg(&self.0));
        if let Err(why) = outcome.or_else(|_| run(Command::new("umount").arg("-l").arg(&self.0))) {
            eprintln!("{} stays mounted: {why}", self.0.display());
        }
    }
}

fn signal(child: &std::process::Child, name: &str) {
    run(Command::new("kill").arg(format!("-{name}")).arg(child.id().to_string())).unwrap();
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| error.to_string())?;
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
    }
}
