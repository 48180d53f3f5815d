//! How word of available names goes around: each node tells those to which it has a control link, and is told
//! by them. Between two that are no neighbours, the voters pass it on.
//!
//! Two that agree say nothing. When something changes, only what changed is sent, with a sum of all that the
//! sender knows; whoever comes to another sum by it answers with what it has, and both send what the other
//! lacks. A node where nobody uses such names sends nothing, and passes on what it is told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use quorate_mesh::Peer;
use quorate_registry::SessionOwner;
use quorate_registry::available::{Mark, Update};
use quorate_vocab::{Boot, NodeId, Time};
use serde::{Deserialize, Serialize};

use super::desk::Desk;
use crate::hall::Hall;
use crate::post::{Ask, Told};

/// How often a node that knows of available names looks who is there.
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// How often two that agree make sure of it.
const ASSURE: Duration = Duration::from_secs(15);
/// When a neighbour that did not answer, or not to the point, is spoken to again.
const SPEAK_AGAIN: Duration = Duration::from_secs(1);
/// About how much is told at a time.
const NEWS_BYTES: usize = 64 * 1024;
/// How often in a row one neighbour is told something before others get their turn with it.
const TURNS_MAX: usize = 1000;

/// What neighbours say to each other, as a question and as an answer.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Word {
    /// Of all that I know.
    sum: u64,
    /// What I know, if you do not know that anyhow; then tell me what I lack.
    marks: Option<Vec<Mark>>,
    /// What you lack.
    news: Vec<Update>,
    /// Of those that have books: whom I know to be there, not by hearsay.
    there: Vec<(NodeId, Boot)>,
}

/// Those to which there is a control link.
#[derive(Default)]
pub(crate) struct Neighbours(BTreeMap<NodeId, Neighbour>);

struct Neighbour {
    boot: Boot,
    /// What it is known to know.
    marks: Option<Vec<Mark>>,
    /// By which sum it agreed, and when.
    agreed: Option<(u64, Time)>,
    is_busy: bool,
    /// Until then it is left alone.
    rests: Option<Time>,
    /// Whom it knows to be there.
    there: BTreeSet<(NodeId, Boot)>,
}

/// Passes word on for as long as the node lives.
pub(crate) async fn attend(hall: Arc<Hall>) {
    let desk = hall.available();
    loop {
        if desk.table().is_empty() {
            // Nobody uses such names yet.
            desk.wake.notified().await;
        } else {
            // Being late is no harm: what was missed is seen at the next look.
            let _ = quorate_env::timeout(LOOK_AGAIN, desk.wake.notified()).await;
        }
        look(&hall);
    }
}

/// A control link is open, or is no more.
pub(crate) fn linked(hall: &Hall) {
    hall.available().wake.notify_one();
}

/// Sees who is there, and speaks to whoever does not know all yet.
fn look(hall: &Arc<Hall>) {
    let desk = hall.available();
    let peers = hall.mesh().peers();
    let due = desk.neighbours().due(&peers, desk.table().sum(), hall.tenancy().session().is_some());
    see(hall, &peers);
    for node in due {
        hall.run(speak(hall.clone(), node));
    }
}

/// Tells the table who is there.
fn see(hall: &Hall, peers: &[Peer]) {
    let desk = hall.available();
    let writers: Vec<_> = desk.table().writers().collect();
    let mut there = by_own_eyes(hall, peers, &writers);
    if hall.tenancy().session().is_none() {
        there.extend(desk.neighbours().hearsay());
        desk.attend(there.into_iter().collect(), None);
        return;
    }
    let over: BTreeSet<NodeId> = hall.group().read(|machine, _| {
        let is_over = |(node, boot): &&(NodeId, Boot)| {
            let later = machine.session_of(*node).and_then(|session| boot_of(session.owner));
            machine.node(*node).is_none() || later.is_some_and(|later| later > *boot)
        };
        writers.iter().filter(is_over).map(|(node, _)| *node).collect()
    });
    desk.attend(there.into_iter().collect(), Some(&|node, _| !over.contains(&node)));
}

/// Who of these is there: with a lease the registry says it, without one the links do.
fn by_own_eyes(
    hall: &Hall,
    peers: &[Peer],
    writers: &[(NodeId, Boot)],
) -> BTreeSet<(NodeId, Boot)> {
    let of = writers.iter().filter(|(node, _)| *node != hall.id());
    if hall.tenancy().session().is_some() {
        return hall.group().read(|machine, _| {
            let lives = |(node, boot): &&(NodeId, Boot)| {
                let session = machine.session_of(*node);
                session.and_then(|session| boot_of(session.owner)) == Some(*boot)
            };
            of.filter(lives).copied().collect()
        });
    }
    let linked: BTreeSet<(NodeId, Boot)> = peers
        .iter()
        .filter(|peer| peer.control_up || peer.data_up)
        .map(|peer| (peer.id, peer.boot))
        .collect();
    of.filter(|writer| linked.contains(writer)).copied().collect()
}

fn boot_of(owner: SessionOwner) -> Option<Boot> {
    match owner {
        SessionOwner::Node { boot, .. } => Some(boot),
        SessionOwner::Client | SessionOwner::Name => None,
    }
}

/// Speaks with a neighbour until both know the same.
async fn speak(hall: Arc<Hall>, node: NodeId) {
    let agreed = talk(&hall, node).await;
    let desk = hall.available();
    desk.neighbours().done(node, agreed);
    if agreed && !desk.neighbours().agree(node, desk.table().sum()) {
        // Something has changed meanwhile. If it was not agreed, the next look is soon enough.
        desk.wake.notify_one();
    }
}

/// Whether both know the same in the end.
async fn talk(hall: &Arc<Hall>, node: NodeId) -> bool {
    let desk = hall.available();
    let mut theirs = desk.neighbours().marks(node);
    for turn in 0..TURNS_MAX {
        let mut word = say(hall, theirs.as_deref());
        if turn > 0 || theirs.is_none() {
            word.marks = Some(desk.table().marks());
        }
        let told = !word.news.is_empty();
        let asked = hall.ask(node, &Ask::Available(word), hall.config().lease / 2).await;
        let Ok(Told::Available(answer)) = asked else { return false };
        let heard = !answer.news.is_empty();
        let Word { sum, marks, there, .. } = hear(hall, answer);
        desk.neighbours().vouched(node, there);
        let known = desk.table().marks();
        if sum == desk.table().sum() {
            desk.neighbours().agreed(node, sum, known);
            return true;
        }
        let stuck = turn > 0 && !told && !heard;
        match marks {
            Some(marks) if !stuck => theirs = Some(marks),
            // It says another sum, but nothing that would help.
            _ => return false,
        }
    }
    false
}

/// Answers a neighbour.
pub(crate) fn answer(hall: &Arc<Hall>, from: NodeId, word: Word) -> Told {
    let desk = hall.available();
    let was_empty = desk.table().is_empty();
    let Word { sum, marks, there, .. } = hear(hall, word);
    desk.neighbours().vouched(from, there);
    let mut answer = say(hall, marks.as_deref());
    if answer.sum == sum {
        desk.neighbours().agreed(from, sum, desk.table().marks());
    } else {
        answer.marks = Some(desk.table().marks());
    }
    if was_empty {
        // From now on there is something to look after.
        desk.wake.notify_one();
    }
    Told::Available(answer)
}

/// What there is to say to somebody who knows so much.
fn say(hall: &Hall, theirs: Option<&[Mark]>) -> Word {
    let desk = hall.available();
    let writers: Vec<_> = desk.table().writers().collect();
    let mut there = by_own_eyes(hall, &hall.mesh().peers(), &writers);
    there.extend(writers.into_iter().filter(|(node, _)| *node == hall.id()));
    let table = desk.table();
    let news = theirs.map(|marks| table.lacking(marks, NEWS_BYTES)).unwrap_or_default();
    Word { sum: table.sum(), marks: None, news, there: there.into_iter().collect() }
}

/// Takes what was said, and looks at once who of its writers is there. Gives back the rest.
fn hear(hall: &Hall, mut word: Word) -> Word {
    let news = std::mem::take(&mut word.news);
    if !news.is_empty() {
        hall.available().take(news);
        see(hall, &hall.mesh().peers());
    }
    word
}

impl Desk {
    fn neighbours(&self) -> MutexGuard<'_, Neighbours> {
        self.neighbours.lock().expect("nothing panics while it holds the neighbours")
    }
}

impl Neighbours {
    /// Those that are to be spoken to now, by who is linked and by the sum of what is known.
    fn due(&mut self, peers: &[Peer], sum: u64, quorate: bool) -> Vec<NodeId> {
        let linked: BTreeMap<NodeId, Boot> =
            peers.iter().filter(|peer| peer.control_up).map(|peer| (peer.id, peer.boot)).collect();
        self.0.retain(|node, known| linked.get(node) == Some(&known.boot));
        for (node, boot) in linked {
            self.0.entry(node).or_insert_with(|| Neighbour::new(boot));
        }
        let now = quorate_env::now();
        // Whoever has no lease lives by hearsay, and so asks for it.
        let assure = if quorate { ASSURE } else { LOOK_AGAIN };
        let is_due = |known: &Neighbour| {
            known.rests.is_none_or(|until| now >= until)
                && known.agreed.is_none_or(|(by, at)| by != sum || now.since(at) >= assure)
        };
        let due = self.0.iter_mut().filter(|(_, known)| !known.is_busy && is_due(known));
        due.map(|(node, known)| {
            known.is_busy = true;
            *node
        })
        .collect()
    }

    /// What neighbours say of who is there.
    fn hearsay(&self) -> BTreeSet<(NodeId, Boot)> {
        self.0.values().flat_map(|known| known.there.iter().copied()).collect()
    }

    fn marks(&self, node: NodeId) -> Option<Vec<Mark>> {
        self.0.get(&node)?.marks.clone()
    }

    fn vouched(&mut self, node: NodeId, there: Vec<(NodeId, Boot)>) {
        if let Some(known) = self.0.get_mut(&node) {
            known.there = there.into_iter().collect();
        }
    }

    fn agreed(&mut self, node: NodeId, sum: u64, marks: Vec<Mark>) {
        if let Some(known) = self.0.get_mut(&node) {
            known.agreed = Some((sum, quorate_env::now()));
            known.marks = Some(marks);
        }
    }

    /// Whether it is known to know all that has this sum.
    fn agree(&self, node: NodeId, sum: u64) -> bool {
        self.0.get(&node).and_then(|known| known.agreed).is_some_and(|(by, _)| by == sum)
    }

    fn done(&mut self, node: NodeId, agreed: bool) {
        if let Some(known) = self.0.get_mut(&node) {
            known.is_busy = false;
            known.rests = (!agreed).then(|| quorate_env::now() + SPEAK_AGAIN);
        }
    }
}

impl Neighbour {
    fn new(boot: Boot) -> Self {
        Self {
            boot,
            marks: None,
            agreed: None,
            is_busy: false,
            rests: None,
            there: BTreeSet::new(),
        }
    }
}
