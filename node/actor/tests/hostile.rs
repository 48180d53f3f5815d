//! Stories of letters that no honest node would write.

use crate::common;

use std::sync::Arc;

use common::{LONG, Till, Wire, open_till, poll_once};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use quorate_actor::{Actors, Addr, CallError, LetterError, Message, ReplyTo};
use quorate_vocab::NodeId;
use serde::{Deserialize, Deserializer, Serialize};

/// Where a mail says how many answers its body asks for, how long its body is, and where that begins.
const ROUTES_AT: usize = 36;
const BODY_LEN_AT: usize = 37;
const BODY_AT: usize = 41;
const ROUTE_BYTES: usize = 24;

struct Victim {
    wire: Arc<Wire>,
    peer: Actors,
    actors: Actors,
    till: Addr<Till>,
}

impl Victim {
    fn new() -> Self {
        let wire = Arc::new(Wire::default());
        let (peer, actors) = (wire.node(1, 1), wire.node(2, 1));
        let till = open_till(&actors);
        Self { wire, peer, actors, till }
    }

    fn deliver(&self, letter: impl AsRef<[u8]>) -> Result<(), LetterError> {
        self.actors.deliver(NodeId(1), letter.as_ref())
    }

    /// What an honest peer would write to send this.
    fn letter_of(&self, message: Till) -> Vec<u8> {
        self.wire.hold();
        self.peer.addr::<Till>(self.till.pid()).send(message).unwrap();
        self.only_letter()
    }

    /// What an honest peer would write to call, and what the callee owes it.
    async fn letter_of_call(&self) -> Vec<u8> {
        self.wire.hold();
        let far = self.peer.addr::<Till>(self.till.pid());
        let mut call = Box::pin(far.call(LONG, Till::Sum));
        assert_eq!(poll_once(&mut call).await, None);
        self.only_letter()
    }

    fn only_letter(&self) -> Vec<u8> {
        let [(_, NodeId(2), letter)] = &self.wire.take_held()[..] else { panic!("one letter") };
        letter.to_vec()
    }

    async fn is_well(&self) {
        assert_eq!(self.till.call(LONG, Till::Sum).await, Ok(0));
        assert_eq!((self.actors.count(), self.actors.counts().calls), (1, 0));
    }
}

fn run(story: impl Future<Output = ()>) {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().start_paused(true).build().unwrap().block_on(story);
}

fn distort(letter: &mut Vec<u8>, changes: &[(Index, u8)], cut: Option<Index>) {
    for (at, byte) in changes {
        let at = at.index(letter.len());
        letter[at] = *byte;
    }
    if let Some(cut) = cut {
        letter.truncate(cut.index(letter.len()));
    }
}

proptest! {
    #[test]
    fn garbage_is_refused_and_counted(letters in vec(vec(any::<u8>(), 0..200), 1..20)) {
        run(async {
            let victim = Victim::new();
            for letter in &letters {
                victim.deliver(letter).unwrap_err();
            }
            assert_eq!(victim.actors.counts().letters_refused, letters.len() as u64);
            victim.is_well().await;
        });
    }

    #[test]
    fn garbage_in_an_honest_envelope_is_taken_or_refused_and_never_more(body in vec(any::<u8>(), 0..64)) {
        run(async {
            let victim = Victim::new();
            let mut letter = victim.letter_of(Till::Note(0));
            letter.truncate(BODY_AT);
            letter[BODY_LEN_AT] = body.len() as u8;
            letter.extend(body);
            let refused = u64::from(victim.deliver(letter).is_err());
            assert_eq!(victim.actors.counts().letters_refused, refused);
        });
    }

    #[test]
    fn a_distorted_letter_of_a_call_harms_nobody(
        changes in vec((any::<Index>(), any::<u8>()), 0..6),
        cut in proptest::option::of(any::<Index>()),
    ) {
        run(async {
            let victim = Victim::new();
            let mut letter = victim.letter_of_call().await;
            distort(&mut letter, &changes, cut);
            let refused = u64::from(victim.deliver(letter).is_err());
            tokio::task::yield_now().await;
            assert_eq!(victim.actors.counts().letters_refused, refused);
            // Whatever it became, it makes its receiver write one letter at most.
            assert!(victim.wire.take_held().len() <= 1);
            assert_eq!(victim.actors.counts().calls, 0);
        });
    }

    #[test]
    fn a_distorted_answer_ends_its_call_or_none(
        changes in vec((any::<Index>(), any::<u8>()), 0..6),
        cut in proptest::option::of(any::<Index>()),
    ) {
        run(async {
            let victim = Victim::new();
            let asked = open_till(&victim.peer);
            let asked = victim.actors.addr::<Till>(asked.pid());
            let mut call = Box::pin(asked.call(LONG, Till::Sum));
            victim.wire.hold();
            assert_eq!(poll_once(&mut call).await, None);
            let [(from, _, question)] = &victim.wire.take_held()[..] else { panic!("one letter") };
            victim.peer.deliver(*from, question).unwrap();
            tokio::task::yield_now().await;
            let mut answer = victim.only_letter();
            distort(&mut answer, &changes, cut);
            let honest = changes.is_empty() && cut.is_none();
            let refused = victim.deliver(answer).is_err();
            let counts = victim.actors.counts();
            match poll_once(&mut call).await {
                Some(outcome) => assert!(!refused && (!honest || outcome == Ok(0))),
                None => assert_eq!((refused, counts.calls), (counts.answers_late == 0, 1)),
            }
            drop(call);
            victim.wire.release();
            victim.is_well().await;
        });
    }
}

#[tokio::test(start_paused = true)]
async fn a_promise_of_many_bytes_is_refused_before_they_are_allocated() {
    let victim = Victim::new();
    let mut letter = victim.letter_of(Till::Words(String::new()));
    // The body is the variant and the length of its text; the text is now said to have 2^40 bytes.
    letter.truncate(BODY_AT + 1);
    letter.push(253);
    letter.extend((1_u64 << 40).to_le_bytes());
    letter[BODY_LEN_AT] = 10;
    assert_eq!(victim.deliver(letter), Err(LetterError::Body));
    victim.is_well().await;
}

#[tokio::test(start_paused = true)]
async fn an_answers_right_without_a_route_is_refused() {
    let victim = Victim::new();
    let mut letter = victim.letter_of_call().await;
    letter[ROUTES_AT] = 0;
    letter.truncate(letter.len() - ROUTE_BYTES);
    assert_eq!(victim.deliver(letter), Err(LetterError::Body));

    let mut many = victim.letter_of_call().await;
    let route = many[many.len() - ROUTE_BYTES..].to_vec();
    many[ROUTES_AT] = 17;
    many.extend(route.repeat(16));
    assert_eq!(victim.deliver(many), Err(LetterError::Malformed));
    assert!(victim.wire.take_held().is_empty(), "nobody is told of what could not be read");
    victim.is_well().await;
}

/// A message whose own code misbehaves.
struct Trap;

impl Serialize for Trap {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(1)
    }
}

impl<'de> Deserialize<'de> for Trap {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        panic!("the trap closes")
    }
}

#[derive(Serialize, Deserialize)]
enum Trapped {
    Ask(ReplyTo<u64>, Trap),
}

impl Message for Trapped {
    const WIRE: Option<quorate_actor::Wire<Self>> =
        Some(quorate_actor::Wire::new("test.trapped", 1));
}

#[tokio::test(start_paused = true)]
async fn a_message_that_panics_in_its_decoder_is_refused_and_its_caller_told() {
    let victim = Victim::new();
    let trapped = victim.actors.spawn(|_: quorate_actor::Mailbox<Trapped>| std::future::pending());
    let far = victim.peer.addr::<Trapped>(trapped.pid());
    let outcome = far.call(LONG, |to| Trapped::Ask(to, Trap)).await;
    assert_eq!(outcome, Err(CallError::Protocol));
    assert_eq!(victim.actors.counts().letters_refused, 1);
    victim.actors.exit(trapped.pid(), quorate_actor::Exit::Killed);
    assert_eq!(victim.actors.ended(trapped.pid()).await, quorate_actor::Exit::Killed);
    victim.is_well().await;
}
