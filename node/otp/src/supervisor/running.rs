//! A supervisor's process: it carries out what the pure rules of `plan` and `intensity` say.
//!
//! An exit of a process that is no child (any more) is old news and means nothing: pids are never used again,
//! and a child that the supervisor itself stops is forgotten before the news of its link is read.

use std::ops::ControlFlow::{self, Break, Continue};

use quorate_actor::{Exit, Trapped};
use quorate_env::now;
use quorate_vocab::Pid;

use crate::child::{Child, ChildKind};
use crate::context::Input;
use crate::supervisor::address::Ask;
use crate::supervisor::intensity::Restarts;
use crate::supervisor::plan::{Fate, fate, plan};
use crate::supervisor::roster::{ChildState, Key, Roster};
use crate::supervisor::stop::{stop, stop_together};
use crate::supervisor::{
    AutoShutdown, ChildCounts, ChildInfo, Restart, Strategy, Supervisor, SupervisorMessage, Whom,
};
use crate::{ChildError, Context, News, StartError};

pub(super) struct Running {
    spec: Supervisor,
    restarts: Restarts,
    roster: Roster,
    cx: Context<SupervisorMessage>,
}

/// Whether the supervisor goes on, or ends so.
type Step = ControlFlow<Exit>;

impl Running {
    pub(super) async fn run(spec: Supervisor, mut cx: Context<SupervisorMessage>) -> Exit {
        cx.trap_exit(true);
        let restarts = Restarts::new(spec.intensity);
        let roster = Roster::new(spec.strategy);
        let mut this = Self { spec, restarts, roster, cx };
        if let Err(exit) = this.start_all().await {
            this.stop_all().await;
            return this.cx.refuse(StartError::Ended { exit });
        }
        this.cx.is_ready();
        let exit = loop {
            if let Break(exit) = this.step().await {
                break exit;
            }
        };
        this.stop_all().await;
        exit
    }

    async fn step(&mut self) -> Step {
        let incoming = self.cx.next().await;
        match self.cx.sort(incoming) {
            Input::Mail(SupervisorMessage(ask)) => self.answer(ask).await,
            Input::Parent(exit) => Break(exit),
            Input::News(News::Exited(news)) => self.on_exit(*news).await,
            Input::News(_) => Continue(()),
        }
    }

    async fn on_exit(&mut self, news: Trapped) -> Step {
        match self.roster.by_pid(news.from) {
            Some(key) => self.child_ended(key, &news.exit).await,
            None => Continue(()),
        }
    }

    // ── What children do ────────────────────────────────────────────────────────────────────────────────

    async fn child_ended(&mut self, key: Key, exit: &Exit) -> Step {
        let Some(seat) = self.roster.seat(key) else { return Continue(()) };
        let (fate, significant) =
            (fate(self.spec.strategy, seat.child.restarts(), exit), seat.child.is_significant());
        if !exit.is_orderly() {
            let supervisor = self.cx.pid();
            tracing::warn!(%supervisor, child = seat.child.id(), %exit, "a child ended");
        }
        self.roster.set(key, ChildState::Stopped);
        match fate {
            Fate::Restarted => return self.restart(key).await,
            Fate::Forgotten => self.roster.remove(key),
            Fate::Kept => {}
        }
        if significant { self.after_significant() } else { Continue(()) }
    }

    fn after_significant(&self) -> Step {
        let goes_on = |child: &Child, state| child.is_significant() && state != ChildState::Stopped;
        let done = match self.spec.auto_shutdown {
            AutoShutdown::Never => false,
            AutoShutdown::AnySignificant => true,
            AutoShutdown::AllSignificant => {
                !self.roster.seats().any(|(_, seat)| goes_on(&seat.child, seat.state))
            }
        };
        if done { Break(Exit::Shutdown) } else { Continue(()) }
    }

    /// Restarts a child that has ended, with those that go down with it. If one of them does not start, it is
    /// tried again, with a group of its own and for another restart of the intensity.
    async fn restart(&mut self, key: Key) -> Step {
        if !self.restarts.admit(now()) {
            tracing::error!(supervisor = %self.cx.pid(), "too many restarts; giving up");
            return Break(Exit::Shutdown);
        }
        let plan = plan(self.spec.strategy, self.roster.kinds(), key);
        for key in plan.stop {
            self.stop_child(key).await;
        }
        for key in plan.forget {
            self.roster.remove(key);
        }
        for key in plan.start {
            if self.start_child(key).await.is_err() {
                self.roster.set(key, ChildState::Restarting);
                let again = self.cx.addr().send(SupervisorMessage(Ask::TryAgain(key)));
                again.expect("a supervisor's mailbox has no bound, and it lives");
                break;
            }
        }
        Continue(())
    }

    // ── Starts and stops ────────────────────────────────────────────────────────────────────────────────

    async fn start_all(&mut self) -> Result<(), Exit> {
        for child in self.spec.children.clone().iter() {
            let added = self.start_new(child.clone()).await;
            added.map_err(|error| match error {
                ChildError::Failed(exit) => exit,
                other => Exit::because(format!("{}: {other}", child.id())),
            })?;
        }
        Ok(())
    }

    /// Starts a child that was not known before; if it fails, it is not known afterwards.
    async fn start_new(&mut self, child: Child) -> Result<Pid, ChildError> {
        if let Some(fault) = self.spec.fault_in(&child) {
            return Err(ChildError::Wrong(fault));
        }
        if let Some(seat) = self.roster.by_id(child.id()).and_then(|key| self.roster.seat(key)) {
            return Err(match seat.state {
                ChildState::Running(pid) => ChildError::AlreadyStarted(pid),
                ChildState::Restarting | ChildState::Stopped => ChildError::AlreadyPresent,
            });
        }
        let max = self.spec.children_max;
        if self.roster.len() >= max {
            return Err(ChildError::TooMany { max });
        }
        let key = self.roster.add(child);
        self.start_child(key).await.map_err(|exit| {
            self.roster.remove(key);
            ChildError::Failed(exit)
        })
    }

    async fn start_child(&mut self, key: Key) -> Result<Pid, Exit> {
        let seat = self.roster.seat(key).ok_or(Exit::NoProc)?;
        let child = seat.child.clone();
        match child.start(&mut self.cx).await {
            Ok(pid) => {
                self.roster.set(key, ChildState::Running(pid));
                Ok(pid)
            }
            Err(exit) => {
                let supervisor = self.cx.pid();
                tracing::warn!(%supervisor, child = child.id(), %exit, "a child did not start");
                Err(exit)
            }
        }
    }

    async fn stop_child(&mut self, key: Key) {
        let Some(seat) = self.roster.seat(key) else { return };
        if let ChildState::Running(pid) = seat.state {
            let how = seat.child.stops();
            stop(&mut self.cx, pid, how).await;
        }
        self.roster.set(key, ChildState::Stopped);
    }

    /// Last first; dynamic children, which know nothing of each other, all at once.
    async fn stop_all(&mut self) {
        if self.spec.strategy == Strategy::Dynamic {
            let running = self.roster.seats().filter_map(|(_, seat)| match seat.state {
                ChildState::Running(pid) => Some((pid, seat.child.stops())),
                ChildState::Restarting | ChildState::Stopped => None,
            });
            return stop_together(&mut self.cx, running).await;
        }
        let keys: Vec<Key> = self.roster.seats().rev().map(|(key, _)| key).collect();
        for key in keys {
            self.stop_child(key).await;
        }
    }

    // ── What others ask ─────────────────────────────────────────────────────────────────────────────────

    async fn answer(&mut self, ask: Ask) -> Step {
        match ask {
            Ask::Start(child, to) => to.send(self.start_new(child).await),
            Ask::Terminate(whom, to) => to.send(self.terminate(&whom).await),
            Ask::Restart(id, to) => to.send(self.restart_by_hand(&id).await),
            Ask::Delete(id, to) => {
                to.send(self.known_and_idle(&id).map(|key| self.roster.remove(key)));
            }
            Ask::Which(to) => to.send(self.which()),
            Ask::Count(to) => to.send(self.count()),
            Ask::TryAgain(key) => {
                // Somebody may have stopped or deleted it meanwhile.
                let seat = self.roster.seat(key);
                if seat.is_some_and(|seat| seat.state == ChildState::Restarting) {
                    return self.restart(key).await;
                }
            }
        }
        Continue(())
    }

    async fn terminate(&mut self, whom: &Whom) -> Result<(), ChildError> {
        let key = match whom {
            Whom::Id(id) => self.roster.by_id(id),
            Whom::Pid(pid) => self.roster.by_pid(*pid),
        };
        let key = key.ok_or(ChildError::NotFound)?;
        self.stop_child(key).await;
        let is_temporary =
            self.roster.seat(key).is_some_and(|seat| seat.child.restarts() == Restart::Temporary);
        if is_temporary || self.spec.strategy == Strategy::Dynamic {
            self.roster.remove(key);
        }
        Ok(())
    }

    async fn restart_by_hand(&mut self, id: &str) -> Result<Pid, ChildError> {
        let key = self.known_and_idle(id)?;
        self.start_child(key).await.map_err(ChildError::Failed)
    }

    fn known_and_idle(&self, id: &str) -> Result<Key, ChildError> {
        if self.spec.strategy == Strategy::Dynamic {
            return Err(ChildError::Dynamic);
        }
        let key = self.roster.by_id(id).ok_or(ChildError::NotFound)?;
        match self.roster.seat(key).map(|seat| seat.state) {
            Some(ChildState::Running(_)) => Err(ChildError::Running),
            Some(ChildState::Restarting) => Err(ChildError::Restarting),
            Some(ChildState::Stopped) => Ok(key),
            None => Err(ChildError::NotFound),
        }
    }

    fn which(&self) -> Vec<ChildInfo> {
        let infos = self.roster.seats().map(|(_, seat)| ChildInfo {
            id: seat.child.id_shared(),
            state: seat.state,
            kind: seat.child.kind(),
            restart: seat.child.restarts(),
        });
        infos.collect()
    }

    fn count(&self) -> ChildCounts {
        let mut counts = ChildCounts::default();
        for (_, seat) in self.roster.seats() {
            counts.specs += 1;
            counts.active += usize::from(matches!(seat.state, ChildState::Running(_)));
            match seat.child.kind() {
                ChildKind::Supervisor => counts.supervisors += 1,
                ChildKind::Worker => counts.workers += 1,
            }
        }
        counts
    }
}
