//! Who is believed to be on the LAN: a pure core.
//!
//! No clock is compared and none is trusted. Whoever is unknown is believed only when they answer a number
//! that this node drew a short while ago, so what was recorded on another day fits nothing; whoever is known
//! is believed when their packets count up. Everything is bounded: how many are known, how many answers are
//! owed, and how often this node speaks, whatever it hears.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use quorate_vocab::Time;
use rand::{Rng, RngExt};

use super::packet::{Deaf, ECHOES_MAX, Nonce, Packet};
use crate::source::CANDIDATES_MAX;
use crate::{Address, Asker};

/// How many answers may be owed; whoever is passed over asks again.
const OWED_MAX: usize = 256;

/// Answers are gathered for up to this long, so that many who ask at once get one packet.
const GATHER: Duration = Duration::from_millis(200);

/// No two packets follow each other faster.
const BREATH: Duration = Duration::from_millis(20);

/// No two questions follow each other faster.
const QUESTIONS_APART: Duration = Duration::from_millis(500);

/// Whoever was not heard of for this many rounds is not there.
const ROUNDS: u32 = 6;

/// What this node knows from what it heard.
#[derive(Debug)]
pub(crate) struct Hearing {
    me: Asker,
    secret: Vec<u8>,
    every: Duration,
    incarnation: Nonce,
    seq: u64,
    /// The questions of this node that may still be answered, and when they were asked.
    asked: VecDeque<(Nonce, Time)>,
    /// The questions of others that this node will answer.
    owed: VecDeque<Nonce>,
    nodes: BTreeMap<Nonce, Known>,
    /// When this node says by itself that it is there.
    announces_at: Time,
    answers_at: Option<Time>,
    asks_at: Option<Time>,
    spoke_at: Option<Time>,
    pub(crate) forged: u64,
    pub(crate) replayed: u64,
}

#[derive(Debug)]
struct Known {
    address: Address,
    seq: u64,
    heard: Time,
}

impl Hearing {
    /// Knows nobody, and is about to ask.
    pub(crate) fn new(
        now: Time,
        me: Asker,
        secret: Vec<u8>,
        every: Duration,
        dice: &mut impl Rng,
    ) -> Self {
        Self {
            me,
            secret,
            every,
            incarnation: dice.random(),
            seq: 0,
            asked: VecDeque::new(),
            owed: VecDeque::new(),
            nodes: BTreeMap::new(),
            announces_at: now,
            answers_at: None,
            asks_at: Some(now),
            spoke_at: None,
            forged: 0,
            replayed: 0,
        }
    }

    /// Takes a packet in. Whether its sender asked, and shall be answered.
    pub(crate) fn hear(&mut self, now: Time, bytes: &[u8], dice: &mut impl Rng) -> bool {
        let packet = match Packet::decode(&self.secret, bytes) {
            Ok(packet) => packet,
            Err(Deaf::NotOurs) => return false,
            Err(Deaf::Forged) => {
                self.forged += 1;
                return false;
            }
        };
        // Everybody in a group hears themselves.
        if packet.incarnation == self.incarnation {
            return false;
        }
        let asks = packet.asks.is_some() && self.me.address.is_some();
        if let Some(nonce) = packet.asks.filter(|_| asks)
            && self.owed.len() < OWED_MAX
            && !self.owed.contains(&nonce)
        {
            self.owed.push_back(nonce);
            self.answers_at.get_or_insert_with(|| now + GATHER.mul_f64(dice.random()));
        }
        if packet.address.is_some() {
            self.believe(now, packet, dice);
        }
        asks
    }

    fn believe(&mut self, now: Time, packet: Packet, dice: &mut impl Rng) {
        let Packet { incarnation, seq, address: Some(address), echoes, .. } = packet else {
            return;
        };
        match self.nodes.get_mut(&incarnation) {
            Some(known) if seq > known.seq => *known = Known { address, seq, heard: now },
            Some(_) => self.replayed += 1,
            None => {
                let fresh = self.every * ROUNDS;
                self.asked.retain(|(_, at)| now < *at + fresh);
                if echoes.iter().any(|echo| self.asked.iter().any(|(nonce, _)| nonce == echo)) {
                    if self.nodes.len() < CANDIDATES_MAX {
                        self.nodes.insert(incarnation, Known { address, seq, heard: now });
                    }
                } else {
                    // A stranger, or a recording of one: whoever lives will answer.
                    self.asks_at.get_or_insert_with(|| now + GATHER.mul_f64(dice.random()));
                }
            }
        }
    }

    /// Lets time pass; gives a packet if one is to be sent.
    pub(crate) fn step(&mut self, now: Time, dice: &mut impl Rng) -> Option<Vec<u8>> {
        let silence = self.every * ROUNDS;
        self.nodes.retain(|_, known| now < known.heard + silence);
        if self.deadline() > now {
            return None;
        }
        if self.announces_at <= now && self.nodes.is_empty() {
            // A question may have been lost on its way.
            self.asks_at.get_or_insert(now);
        }
        let asks = self.may_ask_at().is_some_and(|at| at <= now);
        if asks {
            self.asks_at = None;
            // Two are enough: what was asked before the one before is answered by now.
            self.asked.truncate(1);
            self.asked.push_front((dice.random(), now));
        }
        let echoes: Vec<Nonce> = self.owed.drain(..self.owed.len().min(ECHOES_MAX)).collect();
        self.answers_at = (!self.owed.is_empty()).then_some(now + BREATH);
        self.spoke_at = Some(now);
        if self.announces_at <= now || !asks {
            self.announces_at = now + self.every.mul_f64(dice.random_range(0.8..1.2));
        }
        self.seq += 1;
        let packet = Packet {
            incarnation: self.incarnation,
            seq: self.seq,
            asks: self.asked.front().filter(|_| asks).map(|(nonce, _)| *nonce),
            name: self.me.name.clone(),
            address: self.me.address.clone(),
            echoes,
        };
        // Who only listens has nothing to say but questions.
        (packet.asks.is_some() || packet.address.is_some()).then(|| packet.encode(&self.secret))
    }

    /// When the next step is due.
    pub(crate) fn deadline(&self) -> Time {
        let due = [Some(self.announces_at), self.answers_at, self.may_ask_at()];
        let due = due.into_iter().flatten().min().unwrap_or(self.announces_at);
        self.spoke_at.map_or(due, |spoke| due.max(spoke + BREATH))
    }

    fn may_ask_at(&self) -> Option<Time> {
        let last = self.asked.front().map(|(_, at)| *at + QUESTIONS_APART);
        self.asks_at.map(|at| last.map_or(at, |last| at.max(last)))
    }

    /// Where the others are.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = &Address> {
        let others = self.nodes.values().map(|known| &known.address);
        others.filter(|address| self.me.address.as_ref() != Some(address))
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    const EVERY: Duration = Duration::from_secs(5);

    fn node(now: Time, name: &str, dice: &mut StdRng) -> Hearing {
        let address = Some(Address::parse(&format!("{name}:1")).unwrap());
        Hearing::new(now, Asker { name: name.into(), address }, b"s".to_vec(), EVERY, dice)
    }

    /// Lets all speak and hear each other for a span; gives what was said.
    fn chat(nodes: &mut [Hearing], from: Time, span: Duration, dice: &mut StdRng) -> Vec<Vec<u8>> {
        let mut said = Vec::new();
        let mut now = from;
        while now < from + span {
            let spoken: Vec<_> = nodes.iter_mut().filter_map(|node| node.step(now, dice)).collect();
            for bytes in &spoken {
                for node in nodes.iter_mut() {
                    node.hear(now, bytes, dice);
                }
            }
            said.extend(spoken);
            now = now + Duration::from_millis(10);
        }
        said
    }

    #[test]
    fn nodes_of_a_lan_find_each_other_and_forget_who_falls_silent() {
        let mut dice = StdRng::seed_from_u64(1);
        let begin = Time(1_000_000_000);
        let mut nodes: Vec<_> = ["a", "b", "c"].map(|name| node(begin, name, &mut dice)).into();
        chat(&mut nodes, begin, Duration::from_secs(3), &mut dice);
        assert!(nodes.iter().all(|node| node.addresses().count() == 2));
        let mut rest = nodes.split_off(1);
        chat(&mut rest, begin + Duration::from_secs(3), EVERY * ROUNDS * 2, &mut dice);
        assert!(rest.iter().all(|node| node.addresses().count() == 1), "a has gone");
    }

    #[test]
    fn what_was_recorded_is_not_believed_and_does_not_make_anybody_talk() {
        let mut dice = StdRng::seed_from_u64(2);
        let begin = Time(1_000_000_000);
        let mut nodes: Vec<_> = ["a", "b"].map(|name| node(begin, name, &mut dice)).into();
        let recorded = chat(&mut nodes, begin, Duration::from_secs(20), &mut dice);
        // To who knows them, they are old; to who does not, they answer nothing that was asked.
        let later = begin + Duration::from_secs(20);
        let mut late = node(later, "c", &mut dice);
        let mut sent = 0;
        for (at, bytes) in recorded.iter().cycle().take(100 * recorded.len()).enumerate() {
            let now = later + Duration::from_millis(at as u64);
            late.hear(now, bytes, &mut dice);
            nodes[0].hear(now, bytes, &mut dice);
            sent += usize::from(late.step(now, &mut dice).is_some());
        }
        assert_eq!(late.addresses().count(), 0);
        assert!(nodes[0].replayed > 0);
        let span_ms = 100 * recorded.len();
        assert!(sent <= span_ms / 20 + 1, "{sent} packets in {span_ms} ms");
        assert!(late.owed.len() <= OWED_MAX && late.asked.len() <= 2);
    }

    #[test]
    fn a_flood_of_strangers_is_bounded() {
        let mut dice = StdRng::seed_from_u64(3);
        let now = Time(1_000_000_000);
        let mut me = node(now, "me", &mut dice);
        me.step(now, &mut dice).unwrap();
        let mine = me.asked[0].0;
        for number in 0..2 * CANDIDATES_MAX as u64 {
            let packet = Packet {
                incarnation: dice.random(),
                seq: 1,
                asks: Some(dice.random()),
                name: String::new(),
                address: Address::named(&format!("n{number}"), 1),
                echoes: vec![mine],
            };
            me.hear(now, &packet.encode(b"s"), &mut dice);
        }
        assert_eq!((me.addresses().count(), me.owed.len()), (CANDIDATES_MAX, OWED_MAX));
        me.hear(now, &[0; 9], &mut dice);
        assert_eq!(me.forged, 0, "what is not ours is no forgery");
    }
}
