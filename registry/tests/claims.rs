//! What a name may be bound to, and how it is reserved and confirmed.

use crate::common;

use common::{World, body, claim, end, lease, name, register, release, replace, reserve};
use quorate_registry::{
    Bond, Claim, Effect, Evidence, Once, Op, Refusal, ReleaseCause, SessionOwner, Verdict,
};
use quorate_vocab::{Epoch, SessionId};

fn leased(verdict: Verdict) -> (Epoch, SessionId) {
    match verdict {
        Verdict::Leased { epoch, session } => (epoch, session),
        other => panic!("{other:?}"),
    }
}

fn reserved(verdict: Verdict) -> Epoch {
    match verdict {
        Verdict::Registered { epoch } | Verdict::Leased { epoch, .. } => epoch,
        other => panic!("{other:?}"),
    }
}

fn confirm(text: &str, epoch: Epoch, bond: impl Into<Bond>) -> Op {
    let claim = Claim { bond: bond.into(), ..claim(None) };
    Op::Confirm { name: name(text), epoch, claim }
}

#[test]
fn a_name_with_a_time_to_live_opens_a_life_of_its_own_in_the_same_entry() {
    let mut world = World::new();
    let (verdict, effects) = world.hear(Once::Free, lease("till", 700));
    let (epoch, session) = leased(verdict);
    assert_eq!(session, SessionId(world.index));
    let held = world.machine.find("till").unwrap().clone();
    assert_eq!((held.epoch, held.session), (epoch, Some(session)));
    let owner = SessionOwner::Name;
    assert_eq!(
        effects,
        [Effect::SessionOpened { session, owner, ttl_ms: 700 }, Effect::Registered(held.into())]
    );
}

#[test]
fn the_end_of_that_life_releases_the_name_and_a_release_ends_that_life() {
    let mut world = World::new();
    let (epoch, session) = leased(world.say(lease("till", 700)));
    let expired = Evidence::Expired { term: world.term };
    let (_, effects) = world.hear(Once::Free, end(session, expired));
    let cause = ReleaseCause::SessionEnded(session);
    let ended = Effect::SessionEnded { session, evidence: expired };
    assert_eq!(effects, [ended, Effect::Released { name: name("till"), epoch, cause }]);

    let (epoch, session) = leased(world.say(lease("till", 700)));
    let (_, effects) = world.hear(Once::Free, release("till", None));
    let cause = ReleaseCause::Asked;
    let ended = Effect::SessionEnded { session, evidence: Evidence::NameGone };
    assert_eq!(effects, [Effect::Released { name: name("till"), epoch, cause }, ended]);
    assert!(world.machine.session(session).is_none());
}

#[test]
fn a_name_that_is_handed_over_leaves_its_own_life_behind() {
    let (mut world, node) = World::with_node();
    let (epoch, session) = leased(world.say(lease("till", 700)));
    let (verdict, effects) = world.hear(Once::Free, replace("till", Some(node), epoch));
    assert!(matches!(verdict, Verdict::Registered { .. }));
    let ended = Effect::SessionEnded { session, evidence: Evidence::NameGone };
    assert_eq!((effects.len(), effects.last()), (2, Some(&ended)));
    assert_eq!(world.machine.find("till").unwrap().session, Some(node));

    // And the reverse: a new life for each holder that wants one.
    let epoch = world.machine.find("till").unwrap().epoch;
    let Op::Register { name, claim, .. } = lease("till", 5) else { unreachable!() };
    let again = Op::Register { name, claim, replace: Some(epoch) };
    let (epoch, first) = leased(world.say(again.clone()));
    let Op::Register { name, claim, .. } = again else { unreachable!() };
    let (_, second) = leased(world.say(Op::Register { name, claim, replace: Some(epoch) }));
    assert!(world.machine.session(first).is_none() && world.machine.session(second).is_some());
}

#[test]
fn nothing_else_rests_on_the_life_of_a_name() {
    let mut world = World::new();
    let (epoch, session) = leased(world.say(lease("till", 700)));
    let refused = Verdict::Refused(Refusal::NoSession(session));
    assert_eq!(world.say(register("other", Some(session))), refused);
    assert_eq!(world.say(reserve("other", Some(session))), refused);
    assert_eq!(
        world.say(Op::Open { owner: SessionOwner::Name, ttl_ms: 5 }),
        Verdict::Refused(Refusal::NamesOwn)
    );
    // The name itself may go on under it.
    let verdict = world.say(replace("till", Some(session), epoch));
    assert!(matches!(verdict, Verdict::Registered { .. }), "{verdict:?}");
    assert!(world.machine.session(session).is_some());
}

#[test]
fn a_reserved_name_is_nobody_s_and_nobody_else_gets_it() {
    let (mut world, session) = World::with_node();
    let epoch = reserved(world.say(reserve("till", Some(session))));
    let held = world.machine.find("till").unwrap();
    assert!(held.reserved && held.holder.is_none() && held.epoch == epoch);
    let taken = world.say(register("till", None));
    assert!(matches!(taken, Verdict::Refused(Refusal::Taken(by)) if by.epoch == epoch));
    assert_eq!(world.say(reserve("other", Bond::Durable)), Verdict::Refused(Refusal::Unbound));
}

#[test]
fn a_reservation_is_confirmed_under_the_epoch_that_it_has() {
    let (mut world, session) = World::with_node();
    let epoch = reserved(world.say(reserve("till", Some(session))));
    let made = world.machine.find("till").unwrap().index;
    let (verdict, effects) = world.hear(Once::Free, confirm("till", epoch, Some(session)));
    assert_eq!(verdict, Verdict::Registered { epoch });
    let held = world.machine.find("till").unwrap().clone();
    assert_eq!((held.reserved, held.epoch, held.index), (false, epoch, made));
    assert_eq!((held.holder, held.version.0), (claim(None).holder, world.index));
    assert_eq!(effects, [Effect::Amended(held.into())]);
    let again = world.say(confirm("till", epoch, Some(session)));
    assert_eq!(again, Verdict::Refused(Refusal::NotReserved));
}

#[test]
fn a_reservation_whose_life_ended_frees_the_name_and_confirms_nothing() {
    let mut world = World::new();
    let (epoch, session) = leased(world.say(reserve("till", Bond::Ttl { ms: 100 })));
    world.say(end(session, Evidence::Expired { term: world.term }));
    let free = world.say(confirm("till", epoch, Bond::Durable));
    assert_eq!(free, Verdict::Refused(Refusal::Free));

    let second = reserved(world.say(reserve("till", Bond::Ttl { ms: 100 })));
    let late = world.say(confirm("till", epoch, Bond::Durable));
    assert_eq!(late, Verdict::Refused(Refusal::Stale { present: Some(second) }));
}

#[test]
fn a_confirmation_may_bind_the_name_to_something_else() {
    let (mut world, node) = World::with_node();
    let reserve_it =
        |world: &mut World, text: &str| leased(world.say(reserve(text, Bond::Ttl { ms: 100 })));
    let (epoch, own) = reserve_it(&mut world, "a");
    assert_eq!(world.say(confirm("a", epoch, Some(own))), Verdict::Registered { epoch });
    assert!(world.machine.session(own).is_some());

    let (epoch, own) = reserve_it(&mut world, "b");
    assert_eq!(world.say(confirm("b", epoch, Some(node))), Verdict::Registered { epoch });
    assert!(world.machine.session(own).is_none());
    assert_eq!(world.machine.held_by(node).collect::<Vec<_>>(), [&name("b")]);

    let (epoch, own) = reserve_it(&mut world, "c");
    let (same, other) = leased(world.say(confirm("c", epoch, Bond::Ttl { ms: 900 })));
    assert!(same == epoch && other != own && world.machine.session(own).is_none());
}

#[test]
fn what_is_said_under_a_name_is_changed_only_as_it_was_seen() {
    let mut world = World::new();
    let epoch = world.register("till", None);
    let first = world.machine.find("till").unwrap().version;
    let amend = |expected, value: &str| Op::Amend {
        name: name("till"),
        epoch,
        expected,
        value: Some(value.into()),
        meta: None,
    };
    let (verdict, effects) = world.hear(Once::Free, amend(Some(first), "one"));
    let Verdict::Amended { version } = verdict else { panic!("{verdict:?}") };
    let held = world.machine.find("till").unwrap().clone();
    assert_eq!((held.version, held.epoch, held.index), (version, epoch, first));
    assert_eq!((&held.value[..], held.holder), (&b"one"[..], claim(None).holder));
    assert_eq!(effects, [Effect::Amended(held.into())]);

    let before = body(&world.machine);
    let late = world.say(amend(Some(first), "two"));
    assert_eq!(late, Verdict::Refused(Refusal::Changed { present: version }));
    assert_eq!(body(&world.machine), before);
    assert!(matches!(world.say(amend(None, "three")), Verdict::Amended { .. }));
    // The whole is judged, not the part that is new.
    let meta = common::labels(&[("k", &"v".repeat(Claim::BYTES_MAX - 5))]);
    let heavy =
        Op::Amend { name: name("till"), epoch, expected: None, value: None, meta: Some(meta) };
    assert!(matches!(world.say(heavy), Verdict::Refused(Refusal::TooLarge { .. })));
    world.say(release("till", None));
    assert_eq!(world.say(amend(None, "four")), Verdict::Refused(Refusal::Free));
}
