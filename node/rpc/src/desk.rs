//! The desk: the process of each node that other nodes ask to run something. It looks up, admits and starts,
//! and never waits for what it has started.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use quorate_actor::{Actors, Blob, Bond, Exit, Incoming, Mailbox, Origin, ReplyTo, Spawn};
use quorate_vocab::{NodeId, Pid, Ref};

use crate::ask::{Ask, DESK, Refusal, Tie, Which};
use crate::functions::{Entry, Functions, Run};
use crate::tables::{Table, Tables};
use crate::{Roles, RpcConfig};

/// What everything that runs for others is called in listings.
const CALLEE: Spawn = Spawn { label: Some("rpc"), mailbox: None };

pub(crate) struct Desk {
    pub(crate) functions: Functions,
    pub(crate) config: RpcConfig,
    pub(crate) roles: Arc<dyn Roles>,
    /// What other nodes let this one call.
    pub(crate) tables: Arc<Tables>,
    /// What runs, by the monitor that tells of its end.
    pub(crate) running: BTreeMap<Ref, Callee>,
    /// The calls whose callers may cancel them.
    pub(crate) calls: BTreeMap<(NodeId, u64), Pid>,
    /// How much runs for each node.
    pub(crate) count: BTreeMap<NodeId, usize>,
}

pub(crate) struct Callee {
    node: NodeId,
    call: Option<u64>,
}

impl Desk {
    pub(crate) async fn run(mut self, mut mailbox: Mailbox<Ask>) -> Exit {
        loop {
            match mailbox.next().await {
                Incoming::Mail(ask) => self.answer(&mut mailbox, ask),
                Incoming::Down(down) => self.ended(down.monitor),
                Incoming::Exited(_) | Incoming::Timeout(_) => {}
            }
        }
    }

    fn answer(&mut self, mailbox: &mut Mailbox<Ask>, ask: Ask) {
        let actors = mailbox.actors().clone();
        match ask {
            Ask::Call { from, which, args, left_ms, id, to } => {
                let node = from.node();
                let pid = match self.admit(node, &which) {
                    Ok(entry) => call(&actors, entry, args, Duration::from_millis(left_ms), to),
                    Err(refusal) => return to.send(Err(refusal)),
                };
                if let Some(pid) = pid {
                    self.calls.insert((node, id), pid);
                    self.watch(mailbox, pid, Callee { node, call: Some(id) });
                }
            }
            Ask::Cancel { from, id } => {
                if let Some(pid) = self.calls.remove(&(from.node(), id)) {
                    actors.kill(pid);
                }
            }
            Ask::Cast { from, which, args } => {
                let node = from.node();
                match self.admit(node, &which) {
                    Ok(entry) => {
                        let pid = spawn(&actors, entry, Bond::None, args);
                        self.watch(mailbox, pid, Callee { node, call: None });
                    }
                    Err(refusal) => {
                        tracing::debug!(%node, function = which.name, ?refusal, "a cast was refused");
                    }
                }
            }
            Ask::Spawn { from, which, args, tie, to } => {
                let node = from.node();
                let bond = match tie {
                    Tie::Nothing => Bond::None,
                    Tie::Link(pid) => Bond::Link(pid),
                    Tie::Monitor(pid, monitor) => Bond::Monitor(pid, monitor),
                };
                // A node asks for ties with its own processes only.
                let forged = bond.pid().is_some_and(|pid| pid.node != node);
                match self.admit(node, &which) {
                    Ok(entry) if !forged => {
                        let pid = spawn(&actors, entry, bond, args);
                        self.watch(mailbox, pid, Callee { node, call: None });
                        to.send(Ok(pid));
                    }
                    Ok(_) => to.send(Err(Refusal::Denied)),
                    Err(refusal) => to.send(Err(refusal)),
                }
            }
            Ask::Road { from, node, is_open } if from.node() == actors.node() => match is_open {
                true => self.tell(&actors, node, true),
                false => self.tables.forget(node),
            },
            Ask::Road { .. } => {}
            Ask::Known { from, table, answer } => {
                self.tables.learn(from.node(), table);
                if answer {
                    self.tell(&actors, from.node(), false);
                }
            }
        }
    }

    /// Tells a node what it may call here.
    fn tell(&self, actors: &Actors, node: NodeId, answer: bool) {
        let role = self.roles.role_of(node);
        let is_open = |which: &Which| self.config.rules.allows(&which.name, role.as_deref());
        let is_whole = self.functions.all().all(|which| is_open(&which));
        let table = Table::of(self.functions.all().filter(is_open), is_whole);
        let known = Ask::Known { from: Origin::of(actors), table, answer };
        // Where it cannot be sent the node is told when a road opens.
        let _ = actors.named::<Ask>(node, DESK).send(known);
    }

    /// What a node may not call it learns nothing of, so the rules come first.
    fn admit(&self, node: NodeId, which: &Which) -> Result<&Entry, Refusal> {
        let role = self.roles.role_of(node);
        if !self.config.rules.allows(&which.name, role.as_deref()) {
            return Err(Refusal::Denied);
        }
        let entry = self.functions.find(which)?;
        match self.count.get(&node).is_none_or(|count| *count < self.config.callees_max) {
            true => Ok(entry),
            false => Err(Refusal::Overloaded),
        }
    }

    fn watch(&mut self, mailbox: &mut Mailbox<Ask>, pid: Pid, callee: Callee) {
        *self.count.entry(callee.node).or_default() += 1;
        self.running.insert(mailbox.monitor(pid), callee);
    }

    fn ended(&mut self, monitor: Ref) {
        let Some(callee) = self.running.remove(&monitor) else { return };
        if let Some(call) = callee.call {
            self.calls.remove(&(callee.node, call));
        }
        if let Some(count) = self.count.get_mut(&callee.node) {
            *count -= 1;
            if *count == 0 {
                self.count.remove(&callee.node);
            }
        }
    }
}

/// Runs a function to its answer, for as long as its caller waits; `None` where it has been answered already.
fn call(
    actors: &Actors,
    entry: &Entry,
    args: Blob,
    left: Duration,
    to: ReplyTo<Result<Blob, Refusal>>,
) -> Option<Pid> {
    let Run::Function(run) = &entry.run else {
        // A process has no answer; it is another thing under that name.
        to.send(Err(Refusal::Digest));
        return None;
    };
    let answer = run(args);
    let callee = actors.spawn_with(CALLEE, async move |_: Mailbox<()>| {
        match quorate_env::timeout(left, answer).await {
            Ok(answer) => {
                let exit = match &answer {
                    Err(Refusal::Panic(words)) => Exit::Panic(words.clone()),
                    _ => Exit::Normal,
                };
                to.send(answer);
                exit
            }
            // Its caller has given up at the same time.
            Err(_) => Exit::Killed,
        }
    });
    Some(callee.pid())
}

/// Starts what has no answer, or runs without one.
fn spawn(actors: &Actors, entry: &Entry, bond: Bond, args: Blob) -> Pid {
    match &entry.run {
        Run::Process(start) => start(actors, CALLEE, bond, args),
        Run::Function(run) => {
            let answer = run(args);
            let body = async move |_: Mailbox<()>| match answer.await {
                Ok(_) => Exit::Normal,
                Err(Refusal::Panic(words)) => Exit::Panic(words),
                Err(_) => Exit::because("its arguments cannot be read"),
            };
            actors.spawn_for(CALLEE, bond, body).pid()
        }
    }
}
