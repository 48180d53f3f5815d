//! Runs sources and a view over them: a task for each source, and one place where proposals are asked for.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use quorate_env::{now, sleep, sleep_until, spawn, timeout};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::pause::Pause;
use crate::{Address, Explanation, Input, Proposal, Rules, Sighting, Source, SourceId, View, Word};

/// Sources at work. Dropped, they stop.
#[derive(Debug)]
pub struct Discovery {
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug)]
struct State {
    view: View,
    /// What was not asked for yet. Of an address it holds one proposal at most, so it is no longer than the
    /// view and what just left it.
    proposals: VecDeque<Proposal>,
}

impl Discovery {
    /// Begins to look. Each source comes with the text by which reports call it.
    pub fn start(sources: Vec<(String, Box<dyn Source>)>, rules: Rules) -> Self {
        let specs = sources.iter().map(|(spec, _)| spec.clone());
        let state = State { view: View::new(rules, specs), proposals: VecDeque::new() };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Notify::new() });
        let watch = |(id, (_, source))| spawn(watch(shared.clone(), id, source));
        let tasks = sources.into_iter().enumerate().map(watch).collect();
        Self { shared, tasks }
    }

    /// The next proposal. To be awaited in one place; may be dropped at any time, and nothing is lost.
    pub async fn next(&self) -> Proposal {
        loop {
            let changed = self.shared.changed.notified();
            let deadline = {
                let mut state = self.shared.state();
                state.step(Input::Tick);
                if let Some(proposal) = state.proposals.pop_front() {
                    return proposal;
                }
                state.view.deadline(now())
            };
            match deadline {
                // A clock that is read a moment later than it was slept by must not make this loop spin.
                Some(at) => tokio::select! {
                    () = changed => {}
                    () = sleep_until(at.max(now() + Duration::from_millis(1))) => {}
                },
                None => changed.await,
            }
        }
    }

    /// Tells what became of a proposal.
    pub fn tell(&self, address: &Address, word: Word) {
        self.shared.step(Input::Heard { address: address.clone(), word });
    }

    /// Why things are as they are.
    pub fn explain(&self) -> Explanation {
        self.shared.state().view.explain(now())
    }
}

impl Drop for Discovery {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds the view")
    }

    fn step(&self, input: Input) {
        self.state().step(input);
        self.changed.notify_one();
    }
}

impl State {
    fn step(&mut self, input: Input) {
        let mut out = Vec::new();
        self.view.step(now(), input, &mut out);
        for proposal in out {
            let (Proposal::Dial(address) | Proposal::Withdraw(address)) = &proposal;
            let before = self.proposals.len();
            self.proposals.retain(|waiting| {
                let (Proposal::Dial(other) | Proposal::Withdraw(other)) = waiting;
                other != address
            });
            // The two of an address take turns, so what was not asked for yet is undone by what follows.
            if self.proposals.len() == before {
                self.proposals.push_back(proposal);
            }
        }
    }
}

/// Looks at one source for ever.
async fn watch(shared: Arc<Shared>, id: SourceId, mut source: Box<dyn Source>) {
    let mut pause = Pause::default();
    let mut failing = false;
    loop {
        let sighting = look(source.as_mut()).await;
        let rest = match &sighting {
            Sighting::Snapshot(_) => pause.after_answer(source.pace().rest),
            Sighting::Error(_) => pause.after_failure(),
        };
        if failing != matches!(sighting, Sighting::Error(_)) {
            failing = !failing;
            let spec = shared.state().view.spec(id);
            match &sighting {
                Sighting::Error(why) => {
                    tracing::warn!(source = spec, why, "a source of addresses fails; none is lost");
                }
                Sighting::Snapshot(_) => tracing::info!(source = spec, "it answers again"),
            }
        }
        shared.step(Input::Saw { source: id, sighting });
        sleep(rest).await;
    }
}

/// Looks at a source once, for no longer than its patience.
pub(crate) async fn look(source: &mut dyn Source) -> Sighting {
    let patience = source.pace().patience;
    let looked = timeout(patience, source.look()).await;
    looked.unwrap_or_else(|_| Sighting::Error(format!("no answer within {patience:?}")))
}
