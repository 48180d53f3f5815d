//! What a node knows of available names, and whom it tells of what becomes of them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, RwLock, RwLockReadGuard, Weak};

use quorate_registry::available::{News, Order, Ordinal, Refused, Stake, Table, Update};
use quorate_vocab::{Boot, Name, NodeId, Pid};
use tokio::sync::{Notify, oneshot};

use super::exchange::Neighbours;
use super::{Ear, Lost};

/// What is done when a process has lost its name to another.
pub(super) type GiveWay = Box<dyn FnOnce(Stake) + Send>;

/// The table, and who is concerned by it.
pub(crate) struct Desk {
    table: RwLock<Table>,
    /// Taken before the table, where both are.
    people: Mutex<People>,
    pub(super) neighbours: Mutex<Neighbours>,
    /// There is something to say to other nodes, or to hear from them.
    pub(super) wake: Notify,
}

#[derive(Default)]
struct People {
    /// The processes of this node that hold names.
    holders: BTreeMap<Name, Holder>,
    listeners: Vec<Weak<Ear>>,
}

struct Holder {
    pid: Pid,
    way: GiveWay,
    tell: oneshot::Sender<Lost>,
}

impl Desk {
    pub(crate) fn new(me: NodeId, boot: Boot) -> Self {
        let (people, neighbours, wake) = Default::default();
        Self { table: RwLock::new(Table::new(me, boot)), people, neighbours, wake }
    }

    pub(super) fn table(&self) -> RwLockReadGuard<'_, Table> {
        self.table.read().expect("nothing panics while it holds the table")
    }

    pub(super) fn register(
        &self,
        name: &Name,
        pid: Pid,
        order: Order,
        way: GiveWay,
        tell: oneshot::Sender<Lost>,
    ) -> Result<Ordinal, Refused> {
        // Held all the while, so that a process which loses the name at once is known to have held it.
        let mut people = self.people();
        let (ordinal, news) = self.change(|table| table.register(name, pid, order))?;
        people.holders.insert(name.clone(), Holder { pid, way, tell });
        drop(people);
        self.tell(news);
        Ok(ordinal)
    }

    pub(super) fn release(&self, name: &Name, pid: Pid) -> bool {
        let Some(news) = self.change(|table| table.release(name, pid)) else { return false };
        let mut people = self.people();
        let released = people.holders.get(name).is_some_and(|holder| holder.pid == pid);
        let holder = released.then(|| people.holders.remove(name)).flatten();
        drop(people);
        if let Some(holder) = holder {
            let _ = holder.tell.send(Lost::GivenBack);
        }
        self.tell(news);
        true
    }

    pub(super) fn take(&self, updates: Vec<Update>) {
        let news = self.change(|table| table.take(updates));
        self.tell(news);
    }

    /// These nodes are there; with `keep`, books of others than those it keeps are put away.
    pub(super) fn attend(
        &self,
        there: BTreeMap<NodeId, Boot>,
        keep: Option<&dyn Fn(NodeId, Boot) -> bool>,
    ) {
        let news = self.change(|table| {
            let mut news = keep.map(|keep| table.retain(keep)).unwrap_or_default();
            news.extend(table.attend(there));
            news
        });
        self.tell(news);
    }

    pub(super) fn listen(&self, ear: &Arc<Ear>) {
        let mut people = self.people();
        people.listeners.retain(|listener| listener.strong_count() > 0);
        people.listeners.push(Arc::downgrade(ear));
    }

    /// Tells whoever is concerned. What users have given is run when nothing is held.
    fn tell(&self, news: Vec<News>) {
        let mut losers = Vec::new();
        {
            let mut people = self.people();
            for item in news {
                match item {
                    News::Changed(name) => {
                        let ears = people.listeners.iter().filter_map(Weak::upgrade);
                        ears.for_each(|ear| ear.hear(&name));
                    }
                    News::Lost { name, stake, to } => {
                        let lost = |holder: &&Holder| holder.pid == stake.pid;
                        if people.holders.get(&name).filter(lost).is_some() {
                            losers.extend(people.holders.remove(&name).map(|one| (one, to)));
                        }
                    }
                }
            }
        }
        for (Holder { way, tell, .. }, to) in losers {
            let _ = tell.send(Lost::To((&to).into()));
            way(to);
        }
    }

    /// Changes the table. What became different there is word for other nodes.
    fn change<R>(&self, change: impl FnOnce(&mut Table) -> R) -> R {
        let mut table = self.table.write().expect("nothing panics while it holds the table");
        let before = table.sum();
        let changed = change(&mut table);
        if table.sum() != before {
            self.wake.notify_one();
        }
        changed
    }

    fn people(&self) -> MutexGuard<'_, People> {
        self.people.lock().expect("nothing panics while it holds whom this concerns")
    }
}
