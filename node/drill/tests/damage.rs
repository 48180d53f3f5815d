//! A world that actions are done to, of which only the damage is known.

use std::collections::BTreeSet;
use std::time::Duration;

use quorate_drill::nemesis::{Action, NodeView, WorldView};

pub(crate) fn view(count: usize, leader: Option<usize>) -> WorldView {
    let node = |nth| NodeView { host: format!("n{nth}"), up: true };
    WorldView { nodes: (1..=count).map(node).collect(), leader, owner: None }
}

/// A world of which only the damage is known.
#[derive(Default)]
pub(crate) struct Damage {
    pub(crate) cuts: BTreeSet<(String, String)>,
    pub(crate) slow: BTreeSet<(String, String)>,
    pub(crate) disks: BTreeSet<String>,
    pub(crate) down: BTreeSet<String>,
    pub(crate) frozen: BTreeSet<String>,
    pub(crate) odd: BTreeSet<String>,
    pub(crate) said: Vec<String>,
    /// The cuts when the first wait began.
    pub(crate) at_first: Option<BTreeSet<(String, String)>>,
    pub(crate) took: Duration,
}

impl Damage {
    pub(crate) fn of(plan: &[Action]) -> Self {
        let mut damage = Self::default();
        for action in plan {
            damage.perform(action.clone());
        }
        damage
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Say(text) => self.said.push(text),
            Action::Wait(span) => {
                self.at_first.get_or_insert(self.cuts.clone());
                self.took += span;
            }
            Action::Cut { from, to } => {
                assert_ne!(from, to);
                assert!(self.cuts.insert((from, to)), "cut twice");
            }
            Action::Heal { from, to } => assert!(self.cuts.remove(&(from, to)), "healed unhurt"),
            Action::Slow { from, to, extra } if extra.is_zero() => {
                assert!(self.slow.remove(&(from, to)));
            }
            Action::Slow { from, to, .. } => assert!(self.slow.insert((from, to))),
            Action::Crash { host } | Action::PowerLoss { host, .. } => {
                assert!(self.down.insert(host), "killed twice");
            }
            Action::Freeze { host } => assert!(self.frozen.insert(host), "stopped twice"),
            Action::Thaw { host } => assert!(self.frozen.remove(&host), "it was not stopped"),
            Action::Start { host } => assert!(self.down.remove(&host), "started alive"),
            // Whether it is sprung, the world will tell; then it has to be started.
            Action::Trap { host, .. } => assert!(self.down.insert(host), "set twice"),
            Action::Reset { a, b } => assert_ne!(a, b),
            Action::StallDisk { span, .. } => assert!(!span.is_zero()),
            Action::SlowDisk { host, takes } => self.hurt(host, !takes.is_zero()),
            Action::FillDisk { host, room } => self.hurt(host, room.is_some()),
            Action::HandOver { .. } => {}
            Action::Remove { host, .. } => assert!(self.down.contains(&host), "it lives"),
            Action::Lossy { from, to, percent } => self.odd(format!("{from}→{to}"), percent > 0),
            Action::ClockRate { host, ppm } => self.odd(format!("rate of {host}"), ppm != 0),
            Action::WallJump { host, ms } => self.odd(format!("time of {host}"), ms != 0),
            Action::Drain { host } => self.odd(format!("{host} is drained"), true),
            Action::Undrain { host } => self.odd(format!("{host} is drained"), false),
            Action::Shut { host } => assert!(self.down.insert(host), "shut twice"),
            Action::Calm | Action::Move { .. } | Action::Restore => {}
        }
    }

    fn odd(&mut self, what: String, is_odd: bool) {
        assert!(if is_odd { self.odd.insert(what) } else { self.odd.remove(&what) });
    }

    fn hurt(&mut self, disk: String, is_hurt: bool) {
        let changes = if is_hurt { self.disks.insert(disk) } else { self.disks.remove(&disk) };
        assert!(changes || self.said.len() > 1, "hurt twice, or healed unhurt");
    }

    /// Whether nothing of it is left.
    pub(crate) fn is_mended(&self) -> bool {
        self.cuts.is_empty()
            && self.slow.is_empty()
            && self.down.is_empty()
            && self.disks.is_empty()
            && self.frozen.is_empty()
            && self.odd.is_empty()
    }

    /// Whether `a` hears `b` while the first fault lasts.
    pub(crate) fn hears(&self, a: &str, b: &str) -> bool {
        !self.at_first.as_ref().unwrap().contains(&(b.to_owned(), a.to_owned()))
    }
}
