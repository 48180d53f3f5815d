//! All books that a node knows, and who holds a name by them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use quorate_vocab::{Boot, Name, NodeId, Pid};

use super::book::Book;
use super::{Edition, Mark, Order, Ordinal, Stake, Update};

/// The names of one node.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Volume {
    book: Book,
    /// An edition that is not copied far enough yet to take the place of the book.
    next: Option<Book>,
}

/// What a node knows of available names. The books of nodes that are not there are kept, and say nothing
/// until their writers are back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    me: NodeId,
    boot: Boot,
    volumes: BTreeMap<NodeId, Volume>,
    /// Who claims a name, there or not.
    claimants: BTreeMap<Name, BTreeSet<NodeId>>,
    /// Who is there, in which life. Never this node, which always is.
    there: BTreeMap<NodeId, Boot>,
    /// The greatest ordinal that was given or seen.
    last: Ordinal,
}

/// What became different.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// Somebody else holds the name now, or nobody.
    Changed(Name),
    /// A process of this node held the name, and no longer does, as another has a better claim. It was taken
    /// out of this node's book.
    Lost {
        /// The name.
        name: Name,
        /// What it was claimed by.
        stake: Stake,
        /// Who has it.
        to: Stake,
    },
}

/// Why a name was not taken. Nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Somebody who is there holds it.
    #[error("{} holds it", .0.pid)]
    Taken(Stake),
    /// This node's processes claim as many names as they may. Try again when some were given back.
    #[error("the processes of one node claim {max} names at most")]
    TooMany {
        /// How many they may.
        max: usize,
    },
}

impl Table {
    /// How many names the processes of one node may claim.
    pub const CLAIMS_MAX: usize = 262_144;
    /// How many nodes may have books.
    pub const BOOKS_MAX: usize = 8192;

    /// What a life of a node knows at its beginning.
    pub fn new(me: NodeId, boot: Boot) -> Self {
        let (volumes, claimants, there) = Default::default();
        Self { me, boot, volumes, claimants, there, last: Ordinal::default() }
    }

    /// Claims a name for a process of this node, unless somebody who is there holds it. To claim it again is
    /// to be told the same.
    pub fn register(
        &mut self,
        name: &Name,
        pid: Pid,
        order: Order,
    ) -> Result<(Ordinal, Vec<News>), Refused> {
        match self.holder(name) {
            Some(stake) if stake.pid == pid => return Ok((stake.ordinal, Vec::new())),
            Some(stake) => return Err(Refused::Taken(*stake)),
            None => {}
        }
        if self.own().is_some_and(|book| book.claims() >= Self::CLAIMS_MAX) {
            return Err(Refused::TooMany { max: Self::CLAIMS_MAX });
        }
        let ordinal = Ordinal(self.last.0 + 1).min(Ordinal::MAX);
        self.last = ordinal;
        Ok((ordinal, self.write(name, Some(Stake { pid, ordinal, order }))))
    }

    /// Gives a name back that a process of this node claims; nothing, if it does not.
    pub fn release(&mut self, name: &Name, pid: Pid) -> Option<Vec<News>> {
        self.own()?.stake(name).filter(|stake| stake.pid == pid)?;
        Some(self.write(name, None))
    }

    /// Who holds a name.
    pub fn holder(&self, name: &Name) -> Option<&Stake> {
        let claims = self.claimants.get(name)?.iter().filter_map(|node| self.claim(*node, name));
        claims.max_by_key(|stake| stake.rank())
    }

    /// The names under a prefix that are held, and by whom, in the order of the names.
    pub fn list(&self, prefix: &str) -> impl Iterator<Item = (&Name, &Stake)> {
        let from = (Bound::Included(prefix), Bound::Unbounded);
        let under = self.claimants.range::<str, _>(from);
        let under = under.take_while(move |(name, _)| name.as_str().starts_with(prefix));
        under.filter_map(|(name, _)| Some((name, self.holder(name)?)))
    }

    /// Whether nobody has claimed anything yet.
    pub fn is_empty(&self) -> bool {
        self.volumes.is_empty()
    }

    /// The nodes that have books, and in which lives they wrote them.
    pub fn writers(&self) -> impl Iterator<Item = (NodeId, Boot)> {
        self.volumes.iter().map(|(node, volume)| (*node, volume.newest().edition.boot))
    }

    /// These nodes are there now, in these lives, and no others.
    pub fn attend(&mut self, there: BTreeMap<NodeId, Boot>) -> Vec<News> {
        if there == self.there {
            return Vec::new();
        }
        let turned = |node: &NodeId| self.there.get(node) != there.get(node);
        let turned: Vec<NodeId> = self.volumes.keys().copied().filter(turned).collect();
        let names: BTreeSet<Name> = turned.iter().flat_map(|node| self.claimed_by(*node)).collect();
        let before = self.holders(&names);
        self.there = there;
        self.claim_anew(&names);
        self.judge(before)
    }

    /// Gives claims of this node that others have better ones to now another number: what those wrote of the
    /// former number they may have written before they ended.
    fn claim_anew(&mut self, names: &BTreeSet<Name>) {
        for name in names {
            let own = self.own().and_then(|book| book.stake(name)).copied();
            if let Some(stake) = own.filter(|stake| self.holder(name) != Some(stake)) {
                self.note(name, Some(stake), Vec::new());
            }
        }
    }

    /// Takes the books away that nobody will ever write in again.
    pub fn retain(&mut self, keep: impl Fn(NodeId, Boot) -> bool) -> Vec<News> {
        let gone = |(node, boot): &(NodeId, Boot)| *node != self.me && !keep(*node, *boot);
        let gone: Vec<_> = self.writers().filter(gone).map(|(node, _)| node).collect();
        let names: BTreeSet<Name> = gone.iter().flat_map(|node| self.claimed_by(*node)).collect();
        let before = self.holders(&names);
        for node in gone {
            self.volumes.remove(&node);
            self.index(node, &names);
        }
        self.judge(before)
    }

    /// How much this node has of every book.
    pub fn marks(&self) -> Vec<Mark> {
        self.volumes.iter().map(|(node, volume)| volume.newest().mark(*node)).collect()
    }

    /// A number that two nodes have in common when they have the same marks, and else hardly ever.
    pub fn sum(&self) -> u64 {
        let parts = self.volumes.iter().flat_map(|(node, volume)| {
            let Mark { edition, version, .. } = volume.newest().mark(*node);
            [node.0, edition.boot.0, edition.number, version]
        });
        // FNV-1a: the same in every build and on every machine.
        parts.flat_map(u64::to_le_bytes).fold(0xcbf2_9ce4_8422_2325, |sum, byte| {
            (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
    }

    /// What somebody lacks who has this much, or a part of it of about so many bytes.
    pub fn lacking(&self, marks: &[Mark], bytes_max: usize) -> Vec<Update> {
        let theirs: BTreeMap<NodeId, &Mark> = marks.iter().map(|mark| (mark.node, mark)).collect();
        let mut updates = Vec::new();
        let mut left = bytes_max;
        for (node, volume) in &self.volumes {
            let book = volume.newest();
            let after = match theirs.get(node) {
                Some(mark) if mark.edition > book.edition => continue,
                Some(mark) if mark.edition == book.edition => mark.version,
                _ => 0,
            };
            // An edition without a change in it is news, too: it says that the one before it is over.
            let is_known = theirs.get(node).is_some_and(|mark| mark.edition == book.edition);
            if is_known && after >= book.mark(*node).version {
                continue;
            }
            if left == 0 {
                break;
            }
            let (update, bytes) = book.after(*node, after, left);
            left = left.saturating_sub(bytes);
            updates.push(update);
        }
        updates
    }

    /// Takes what another node knows of somebody's book. What does not follow on what is known here is left
    /// out, and so is what no writer could have written; the marks say what is missing.
    pub fn take(&mut self, updates: Vec<Update>) -> Vec<News> {
        let mut news = Vec::new();
        for update in updates {
            let node = update.node;
            let crowded = self.volumes.len() >= Self::BOOKS_MAX;
            // Nobody knows this node's book better than this node.
            if node == self.me
                || !update.is_sound()
                || (crowded && !self.volumes.contains_key(&node))
            {
                continue;
            }
            news.extend(self.take_one(node, update));
        }
        news
    }

    fn take_one(&mut self, node: NodeId, update: Update) -> Vec<News> {
        let ordinals = update.changes.iter().filter_map(|change| Some(change.stake?.ordinal));
        self.last = ordinals.fold(self.last, Ordinal::max);
        let known = self.volumes.get(&node).map(|volume| volume.newest().edition);
        let mut names: BTreeSet<Name> =
            update.changes.iter().map(|change| change.name.clone()).collect();
        // What a new edition leaves out, it says as well.
        if known != Some(update.edition) || self.volumes[&node].next.is_some() {
            names.extend(self.claimed_by(node));
            let next = self.volumes.get(&node).and_then(|volume| volume.next.as_ref());
            names.extend(next.into_iter().flat_map(Book::claimed).cloned());
        }
        let before = self.holders(&names);
        if !self.copy(node, update) {
            return Vec::new();
        }
        self.index(node, &names);
        self.judge(before)
    }

    /// Brings a copy of a book up to date; `false` if that is not possible with this.
    fn copy(&mut self, node: NodeId, update: Update) -> bool {
        let Update { edition, whole, .. } = update;
        let Some(volume) = self.volumes.get_mut(&node) else {
            let mut book = Book::new(edition, whole);
            let taken = book.take(update) && book.claims() <= Self::CLAIMS_MAX;
            if taken {
                self.volumes.insert(node, Volume { book, next: None });
            }
            return taken;
        };
        if edition > volume.newest().edition {
            let mut next = Book::new(edition, whole);
            if !next.take(update) {
                return false;
            }
            volume.next = Some(next);
        } else if edition < volume.newest().edition
            // A writer has no more, so memory stays bounded whatever is said in its name.
            || volume.newest().claims() + update.changes.len() > 2 * Self::CLAIMS_MAX
            || !volume.newest_mut().take(update)
        {
            return false;
        }
        // Another life of the writer says nothing of what the former one had: that has ended.
        let is_ready =
            |next: &mut Book| next.is_whole() || next.edition.boot > volume.book.edition.boot;
        if let Some(next) = volume.next.take_if(is_ready) {
            volume.book = next;
        }
        true
    }

    fn write(&mut self, name: &Name, stake: Option<Stake>) -> Vec<News> {
        let names = BTreeSet::from([name.clone()]);
        let before = self.holders(&names);
        let edition = Edition { boot: self.boot, number: 0 };
        let first = || Volume { book: Book::new(edition, 0), next: None };
        self.volumes.entry(self.me).or_insert_with(first);
        self.note(name, stake, Vec::new());
        self.judge(before)
    }

    /// Writes into this node's book.
    fn note(&mut self, name: &Name, stake: Option<Stake>, over: Vec<Mark>) {
        let volume = self.volumes.get_mut(&self.me).expect("whoever writes has a book");
        volume.book.write(name.clone(), stake, over);
        self.index(self.me, &BTreeSet::from([name.clone()]));
    }

    /// Says who holds these names otherwise than before, and sees to what this node's processes claim of
    /// them.
    fn judge(&mut self, before: BTreeMap<Name, Option<Stake>>) -> Vec<News> {
        let mut news = Vec::new();
        for (name, former) in before {
            let holder = self.holder(&name).copied();
            if holder != former {
                news.push(News::Changed(name.clone()));
            }
            let own = self.own().and_then(|book| book.stake(&name)).copied();
            if let (Some(stake), Some(to)) = (own, holder) {
                news.extend(self.see_to(name, stake, to));
            }
        }
        news
    }

    /// Withdraws a claim of this node that its better has seen; or says which worse ones this one has.
    fn see_to(&mut self, name: Name, stake: Stake, to: Stake) -> Option<News> {
        if stake == to {
            let over = self.others(&name);
            let known = self.own()?.over(&name);
            if over.iter().any(|mark| !known.contains(mark)) {
                self.note(&name, Some(stake), over);
            }
            return None;
        }
        let mine = self.own()?.mark_of(self.me, &name)?;
        let better = &self.volumes.get(&to.pid.node)?.book;
        if !better.over(&name).contains(&mine) {
            return None;
        }
        // It was not the holder, so nothing else changes by this.
        self.note(&name, None, Vec::new());
        Some(News::Lost { name, stake, to })
    }

    /// The claims of a name that others make who are there.
    fn others(&self, name: &Name) -> Vec<Mark> {
        let nodes = self.claimants.get(name).into_iter().flatten().filter(|node| **node != self.me);
        let claims = nodes.filter(|node| self.claim(**node, name).is_some());
        claims.filter_map(|node| self.volumes[node].book.mark_of(*node, name)).collect()
    }

    fn holders(&self, names: &BTreeSet<Name>) -> BTreeMap<Name, Option<Stake>> {
        names.iter().map(|name| (name.clone(), self.holder(name).copied())).collect()
    }

    /// What a node claims a name by, if the node is there.
    fn claim(&self, node: NodeId, name: &Name) -> Option<&Stake> {
        let book = &self.volumes.get(&node)?.book;
        let is_there =
            node == self.me || self.there.get(&node).is_some_and(|boot| *boot == book.edition.boot);
        book.stake(name).filter(|_| is_there)
    }

    fn claimed_by(&self, node: NodeId) -> Vec<Name> {
        let volume = self.volumes.get(&node);
        volume.map(|volume| volume.book.claimed().cloned().collect()).unwrap_or_default()
    }

    /// Notes again which of these names a node claims.
    fn index(&mut self, node: NodeId, names: &BTreeSet<Name>) {
        for name in names {
            let claims =
                self.volumes.get(&node).is_some_and(|volume| volume.book.stake(name).is_some());
            if claims {
                self.claimants.entry(name.clone()).or_default().insert(node);
            } else if let Some(nodes) = self.claimants.get_mut(name) {
                nodes.remove(&node);
                if nodes.is_empty() {
                    self.claimants.remove(name);
                }
            }
        }
    }

    fn own(&self) -> Option<&Book> {
        self.volumes.get(&self.me).map(|volume| &volume.book)
    }

    /// Holds that the index says what the books say, that nobody claims in another's name, and that no claim
    /// of this node's own stands beside a better one that has seen it.
    pub fn check(&self) {
        for (node, volume) in &self.volumes {
            for name in volume.book.claimed() {
                assert!(self.claimants[name].contains(node), "{name} of {node} is not indexed");
                let stake = volume.book.stake(name).expect("it is claimed");
                assert_eq!(stake.pid.node, *node, "{name} is claimed in another's name");
            }
        }
        for (name, nodes) in &self.claimants {
            for node in nodes {
                assert!(self.volumes[node].book.stake(name).is_some(), "{name} is not of {node}");
            }
            if nodes.contains(&self.me) {
                let holder = self.holder(name).expect("this node is there").pid.node;
                let mine = self.own().and_then(|book| book.mark_of(self.me, name));
                let seen =
                    mine.is_some_and(|mine| self.volumes[&holder].book.over(name).contains(&mine));
                assert!(holder == self.me || !seen, "{name} is claimed beside a better claim");
            }
        }
    }
}

impl Volume {
    fn newest(&self) -> &Book {
        self.next.as_ref().unwrap_or(&self.book)
    }

    fn newest_mut(&mut self) -> &mut Book {
        self.next.as_mut().unwrap_or(&mut self.book)
    }
}
