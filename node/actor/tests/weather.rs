//! Whatever the weather between two nodes, each monitor has exactly one answer, and nothing is left behind.

use crate::puppets;

use std::collections::BTreeMap;

use proptest::prelude::*;
use puppets::{Puppet, Stage, settle};
use quorate_actor::{Exit, Loss, Ref};

/// How many processes each node has.
const PUPPETS: usize = 3;

#[derive(Clone, Debug)]
enum Step {
    /// A process of one side ties itself to one of the other.
    Monitor(bool, usize, usize),
    MonitorName(bool, usize, usize),
    Link(bool, usize, usize),
    Unlink(bool, usize, usize),
    /// One of the open monitors is taken back.
    Demonitor(prop::sample::Index),
    /// A process ends and another takes its place.
    End(bool, usize),
    /// Letters stay under way from now on, or arrive.
    Hold,
    Release,
    /// The link breaks; for a while there is none.
    Lose(bool),
    Heal,
    /// All that is under way or ready is done.
    Settle,
}

fn step() -> impl Strategy<Value = Step> {
    let who = || (any::<bool>(), 0..PUPPETS, 0..PUPPETS);
    prop_oneof![
        6 => who().prop_map(|(side, by, of)| Step::Monitor(side, by, of)),
        2 => who().prop_map(|(side, by, of)| Step::MonitorName(side, by, of)),
        2 => who().prop_map(|(side, by, of)| Step::Link(side, by, of)),
        1 => who().prop_map(|(side, by, of)| Step::Unlink(side, by, of)),
        3 => any::<prop::sample::Index>().prop_map(Step::Demonitor),
        3 => (any::<bool>(), 0..PUPPETS).prop_map(|(side, who)| Step::End(side, who)),
        2 => Just(Step::Hold),
        2 => Just(Step::Release),
        2 => any::<bool>().prop_map(Step::Lose),
        3 => Just(Step::Heal),
        2 => Just(Step::Settle),
    ]
}

/// What happens, and what has to come of it.
struct Play {
    stage: Stage,
    sides: [Vec<Puppet>; 2],
    /// All that ever were: what they heard is asked for at the end.
    all: Vec<Puppet>,
    /// Who has set which monitor, and how many answers it must have.
    monitors: Vec<(usize, Ref, usize)>,
}

impl Play {
    async fn new() -> Self {
        let mut play =
            Self { stage: Stage::new(), sides: Default::default(), all: vec![], monitors: vec![] };
        for side in [false, true] {
            for who in 0..PUPPETS {
                let puppet = play.enter(side, who).await;
                play.sides[usize::from(side)].push(puppet);
            }
        }
        play
    }

    /// A puppet that traps, so that it ends only as it is told, under the name of its place.
    async fn enter(&mut self, side: bool, who: usize) -> Puppet {
        let actors = if side { &self.stage.b } else { &self.stage.a };
        let puppet = Puppet::new(actors);
        puppet.trap().await;
        actors.unregister(&who.to_string());
        actors.register(&who.to_string(), puppet.pid()).unwrap();
        self.all.push(puppet.clone());
        puppet
    }

    fn pair(&self, side: bool, by: usize, of: usize) -> (Puppet, Puppet) {
        (self.sides[usize::from(side)][by].clone(), self.sides[usize::from(!side)][of].clone())
    }

    async fn make(&mut self, step: Step) {
        match step {
            Step::Monitor(side, by, of) => {
                let (by, of) = self.pair(side, by, of);
                let monitor = by.monitor(&of).await;
                self.watch(&by, monitor);
            }
            Step::MonitorName(side, by, of) => {
                let (by, other) = self.pair(side, by, of);
                let node = other.pid().node;
                let monitor = by.act(move |mailbox| mailbox.monitor_named(node, &of.to_string()));
                let monitor = monitor.await;
                self.watch(&by, monitor);
            }
            Step::Link(side, by, of) => {
                let (by, of) = self.pair(side, by, of);
                by.link(&of).await;
            }
            Step::Unlink(side, by, of) => {
                let (by, of) = self.pair(side, by, of);
                by.act(move |mailbox| mailbox.unlink(of.pid())).await;
            }
            Step::Demonitor(which) if !self.monitors.is_empty() => {
                let which = which.index(self.monitors.len());
                let (by, monitor, _) = self.monitors[which];
                if self.all[by].act(move |mailbox| mailbox.demonitor(monitor)).await {
                    self.monitors[which].2 = 0;
                }
            }
            Step::Demonitor(_) => {}
            Step::End(side, who) => {
                let gone = self.sides[usize::from(side)][who].clone();
                // What it was owed nobody can look at any more.
                let at = self.all.iter().position(|puppet| puppet.pid() == gone.pid());
                self.monitors.retain(|(by, _, _)| Some(*by) != at);
                gone.end(Exit::Shutdown);
                let puppet = self.enter(side, who).await;
                self.sides[usize::from(side)][who] = puppet;
            }
            Step::Hold => self.stage.wire.hold(),
            Step::Release => drop(self.stage.wire.release()),
            Step::Lose(down) => {
                let loss = if down { Loss::Node } else { Loss::Link };
                self.stage.wire.lose(&self.stage.a, &self.stage.b, loss);
            }
            Step::Heal => self.stage.wire.heal(),
            Step::Settle => settle().await,
        }
    }

    fn watch(&mut self, by: &Puppet, monitor: Ref) {
        let by = self.all.iter().position(|puppet| puppet.pid() == by.pid());
        self.monitors.push((by.expect("it entered"), monitor, 1));
    }

    /// All end; then every monitor that was not taken back has had its answer.
    async fn end(mut self) {
        self.stage.wire.release();
        settle().await;
        let (_, last) = self.sides.split_at(1);
        last.iter().flatten().for_each(|puppet| puppet.end(Exit::Shutdown));
        settle().await;
        let mut heard: BTreeMap<(usize, Ref), usize> = BTreeMap::new();
        for (who, puppet) in self.all.iter().enumerate() {
            for down in puppet.downs() {
                *heard.entry((who, down.monitor)).or_default() += 1;
            }
        }
        let at_a = |who: usize| self.all[who].pid().node == self.stage.a.node();
        self.monitors.retain(|(by, _, _)| at_a(*by));
        for (by, monitor, answers) in &self.monitors {
            let heard = heard.get(&(*by, *monitor)).copied().unwrap_or(0);
            assert_eq!(heard, *answers, "process {by}, {monitor:?}");
        }
        for ((by, monitor), times) in &heard {
            assert!(*times == 1 || !at_a(*by), "process {by}, {monitor:?}");
        }
        self.sides[0].iter().for_each(|puppet| puppet.end(Exit::Shutdown));
        settle().await;
        assert_eq!(self.stage.ties(), (false, false));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn each_monitor_has_exactly_one_answer(steps in prop::collection::vec(step(), 1..60)) {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mut play = Play::new().await;
            for step in steps {
                play.make(step).await;
            }
            play.end().await;
        });
    }
}
