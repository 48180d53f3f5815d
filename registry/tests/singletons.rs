//! The life of a singleton: offered, granted, moved, failed, stopped, ended, and what is left of it.

use crate::common;

use common::stage::{Stage, granted};
use common::{claim, end, labels, name, node};
use quorate_registry::{
    Blocked, Checkpoint, Deed, Effect, Ending, Evidence, Grant, Legacy, Level, Once, Op, Phase,
    Refusal, SessionOwner, Singleton, Spec, Standing, Verdict,
};
use quorate_vocab::{Boot, Name, NodeId, SessionId};

fn plain() -> Spec {
    Spec::default()
}

fn after(of: &[&str]) -> Spec {
    Spec { after: of.iter().map(|one| name(one)).collect(), ..plain() }
}

fn count_under(of: &str, epoch: quorate_vocab::Epoch) -> Op {
    let deed = Deed::Count { name: name("tally"), add: 1, expected: None };
    Op::ActUnder { name: name(of), epoch, deed }
}

fn last_past(stage: &Stage, of: &str) -> quorate_registry::Past {
    stage.machine().singleton(of).unwrap().past.back().unwrap().clone()
}

#[test]
fn who_offers_first_has_it_and_who_comes_later_takes_nothing() {
    let mut stage = Stage::three();
    stage.offer(2, "till", &plain());
    let first = stage.grant("till").unwrap();
    assert_eq!((first.node, first.session, first.phase), (NodeId(2), stage.life(2), Phase::Active));
    assert_eq!(first.epoch.index().0, stage.world.index);
    stage.offer_all(3, "till", &plain());
    stage.comes(4, &[("weight", "16")]);
    stage.offer(4, "till", &plain());
    assert_eq!(stage.grant("till"), Some(first));
}

#[test]
fn only_a_life_of_its_own_node_may_offer() {
    let mut stage = Stage::three();
    let client = stage.world.open(SessionOwner::Client);
    let Verdict::Leased { session: of_name, .. } = stage.world.say(common::lease("lent", 9)) else {
        panic!("not leased");
    };
    let one = stage.life(1);
    let mut offer = |session, number| {
        let (name, node) = (name("till"), NodeId(number));
        stage.say(Op::Volunteer { name, session, node, spec: Box::new(plain()) }).0
    };
    assert_eq!(offer(one, 2), Verdict::Refused(Refusal::NoNode));
    assert_eq!(offer(client, 9), Verdict::Refused(Refusal::NoNode));
    for nobody in [of_name, SessionId(9999)] {
        assert_eq!(offer(nobody, 1), Verdict::Refused(Refusal::NoSession(nobody)));
    }
    assert_eq!(offer(client, 2), Verdict::Done);
    // Where it is held it stays, whatever that client says of itself.
    let elsewhere = Refusal::Unfit { why: "this life has it on another node".to_owned() };
    assert_eq!(offer(client, 3), Verdict::Refused(elsewhere));
    assert_eq!(stage.owner("till"), Some(2));
}

#[test]
fn one_entry_ends_a_life_closes_its_grants_and_opens_the_next() {
    let mut stage = Stage::three();
    for of in ["a", "b", "c"] {
        stage.offer(1, of, &plain());
        stage.offer_all(3, of, &plain());
    }
    let before = stage.epoch("a");
    let effects = stage.expires(1);
    let closed = |effect: &Effect| {
        matches!(effect, Effect::GrantClosed { evidence: Evidence::Expired { term: 1 }, .. })
    };
    assert_eq!(effects.iter().filter(|effect| closed(effect)).count(), 3);
    assert_eq!(granted(&effects).len(), 3);
    let last_closed = effects.iter().rposition(closed);
    let first_granted = effects.iter().position(|one| matches!(one, Effect::Granted { .. }));
    assert!(last_closed < first_granted, "{effects:?}");
    for of in ["a", "b", "c"] {
        assert_ne!(stage.owner(of), Some(1));
        assert_eq!(stage.epoch(of).index().0, stage.world.index);
    }
    let past = last_past(&stage, "a");
    assert_eq!((past.epoch, past.node, past.closed.0), (before, NodeId(1), stage.world.index));
}

#[test]
fn each_way_a_life_can_end_is_the_evidence_of_its_grants() {
    type End = fn(SessionId) -> Op;
    let ends: [(End, Evidence); 5] = [
        (|life| end(life, Evidence::Stopped), Evidence::Stopped),
        (|life| end(life, Evidence::ProvenDead), Evidence::ProvenDead),
        (|life| end(life, Evidence::Forced), Evidence::Forced),
        (|_| Op::Leave { node: NodeId(1) }, Evidence::NodeLeft),
        (|_| Op::Open { owner: node(1, 2), ttl_ms: 1 }, Evidence::Superseded { by: Boot(2) }),
    ];
    for (ends, evidence) in ends {
        let mut stage = Stage::three();
        stage.offer(1, "till", &plain());
        stage.offer(2, "till", &plain());
        let effects = stage.say(ends(stage.life(1))).1;
        assert_eq!(granted(&effects), [("till".to_owned(), 2)]);
        assert_eq!(last_past(&stage, "till").evidence, evidence);
    }
}

#[test]
fn a_singleton_whose_last_life_ended_waits_and_keeps_its_past() {
    let mut stage = Stage::three();
    stage.offer(1, "till", &plain());
    let before = stage.epoch("till");
    stage.expires(1);
    assert_eq!(stage.blocked("till"), Some(Blocked::Nobody));
    stage.offer(2, "till", &plain());
    assert!(stage.epoch("till") > before);
    assert_eq!(last_past(&stage, "till").epoch, before);
}

#[test]
fn only_so_much_of_the_past_is_kept() {
    let mut stage = Stage::three();
    stage.offer(1, "till", &plain());
    for _ in 0..Singleton::PAST_MAX + 3 {
        stage.stops("till");
    }
    let past = &stage.machine().singleton("till").unwrap().past;
    assert_eq!(past.len(), Singleton::PAST_MAX);
}

#[test]
fn a_move_asks_the_owner_first_and_hands_over_when_it_has_ended() {
    let mut stage = Stage::three();
    stage.offer_all(3, "till", &plain());
    assert_eq!(stage.owner("till"), Some(1));
    let epoch = stage.epoch("till");
    let move_it = stage.moves("till", Some(3));
    stage.done(move_it);
    let grant = stage.grant("till").unwrap();
    let to = Some(stage.life(3));
    assert_eq!((grant.epoch, grant.node, grant.phase), (epoch, NodeId(1), Phase::Yielding { to }));
    let state = Some(b"seven".to_vec());
    let effects = stage.ends("till", Ending::Stopped { state });
    assert_eq!(granted(&effects), [("till".to_owned(), 3)]);
    assert_eq!(last_past(&stage, "till").why, "it was moved");
    let kept = stage.machine().checkpoint("till").unwrap();
    assert_eq!((&kept.state[..], kept.epoch), (&b"seven"[..], epoch));
}

#[test]
fn a_move_to_nobody_in_particular_goes_to_whoever_it_falls_to_but_its_owner() {
    let mut stage = Stage::three();
    stage.offer_all(2, "till", &plain());
    let move_it = stage.moves("till", None);
    stage.done(move_it);
    stage.stops("till");
    assert_eq!(stage.owner("till"), Some(2));
}

#[test]
fn a_handoff_whose_target_dies_is_undone() {
    let mut stage = Stage::three();
    stage.offer_all(3, "till", &plain());
    let epoch = stage.epoch("till");
    for undo in [true, false] {
        let move_it = stage.moves("till", Some(3));
        stage.done(move_it);
        if undo {
            // Or somebody thinks better of it.
            let stay = stage.moves("till", Some(1));
            stage.done(stay);
        } else {
            stage.expires(3);
        }
        let grant = stage.grant("till").unwrap();
        assert_eq!((grant.epoch, grant.phase), (epoch, Phase::Active));
    }
}

#[test]
fn what_is_left_outside_of_the_log_is_for_one_successor_alone() {
    let mut stage = Stage::three();
    stage.offer_all(3, "till", &plain());
    let (name, epoch) = (name("till"), stage.epoch("till"));
    let left = |to, bytes| Op::EndGrant {
        name: name.clone(),
        epoch,
        ending: Ending::Left { to, legacy: Legacy { bytes, digest: 7 } },
    };
    let (second, third) = (Some(stage.life(2)), Some(stage.life(3)));
    let move_it = stage.moves("till", Some(3));
    stage.done(move_it);
    for to in [second, None] {
        assert!(matches!(stage.refused(left(to, 9)), Refusal::Unfit { .. }), "{to:?}");
    }
    let long = left(third, Legacy::BYTES_MAX as u64 + 1);
    assert!(matches!(stage.refused(long), Refusal::TooLarge { .. }));
    stage.expires(3);
    assert!(matches!(stage.refused(left(third, 9)), Refusal::Unfit { .. }), "it is undone");

    let move_it = stage.moves("till", Some(2));
    stage.done(move_it);
    assert_eq!(granted(&stage.done(left(second, 9))), [("till".to_owned(), 2)]);
    assert_eq!(last_past(&stage, "till").left, Some(Legacy { bytes: 9, digest: 7 }));
    assert_eq!(stage.machine().checkpoint("till"), None);
    stage.stops("till");
    assert_eq!(last_past(&stage, "till").left, None, "what was left to one is not for the next");
}

#[test]
fn a_handoff_whose_source_dies_starts_where_it_falls_to() {
    let mut stage = Stage::three();
    stage.offer_all(3, "till", &plain());
    let move_it = stage.moves("till", Some(3));
    stage.done(move_it);
    let effects = stage.expires(1);
    assert_eq!(granted(&effects).len(), 1);
    assert_eq!(stage.grant("till").unwrap().phase, Phase::Active);
}

#[test]
fn a_target_that_became_unfit_meanwhile_does_not_get_it() {
    let mut stage = Stage::three();
    let spec = Spec { not: labels(&[("disk", "slow")]), ..plain() };
    stage.offer_all(2, "till", &spec);
    let move_it = stage.moves("till", Some(2));
    stage.done(move_it);
    stage.labelled(2, &[("disk", "slow")]);
    assert_eq!(granted(&stage.stops("till")), [("till".to_owned(), 1)]);
}

#[test]
fn a_move_that_cannot_be_says_why() {
    let mut stage = Stage::three();
    let spec = Spec { not: labels(&[("disk", "slow")]), ..plain() };
    stage.offer_all(2, "till", &spec);
    stage.labelled(2, &[("disk", "slow")]);
    let mut why = |to| {
        let move_it = stage.moves("till", to);
        match stage.refused(move_it) {
            Refusal::Unfit { why } => why,
            other => format!("{other:?}"),
        }
    };
    assert_eq!(why(Some(2)), "the node has disk=slow");
    assert_eq!(why(Some(3)), "nobody there offers to run it");
    assert_eq!(why(Some(9)), "NoNode");
    assert_eq!(why(None), Blocked::Unfit.to_string());
    let epoch = stage.epoch("till");
    let other = Some(quorate_vocab::Epoch::from_shown(epoch.get() - 1).unwrap());
    let stale = Op::Move { name: name("till"), to: None, expected: other };
    assert_eq!(stage.refused(stale), Refusal::NotGranted { present: Some(epoch) });
}

#[test]
fn what_is_said_of_an_unfit_move_is_never_long_as_verdicts_are_remembered() {
    let mut stage = Stage::three();
    let long = "ä".repeat(Spec::BYTES_MAX / 2 - 10);
    stage.offer(1, "till", &plain());
    stage.offer(2, "till", &Spec { on: labels(&[("k", &long)]), ..plain() });
    let move_it = stage.moves("till", Some(2));
    let Refusal::Unfit { why } = stage.refused(move_it) else { panic!("it lacks a label") };
    assert!(why.len() <= Singleton::WHY_BYTES_MAX && why.contains("lacks k=ä"), "{why}");
}

#[test]
fn what_fails_moves_on_until_it_failed_everywhere_and_runs_again_when_told_to() {
    let mut stage = Stage::three();
    stage.offer_all(3, "till", &plain());
    let mut owners = vec![];
    for _ in 0..3 {
        owners.extend(stage.owner("till"));
        stage.fails("till");
    }
    owners.sort_unstable();
    assert_eq!(owners, [1, 2, 3]);
    assert_eq!(stage.blocked("till"), Some(Blocked::AllFailed));
    assert_eq!(stage.standing("till", 2), Standing::Failed("exit 1".to_owned()));
    let effects = stage.done(Op::Resume { name: name("till") });
    assert_eq!(granted(&effects).len(), 1);
    // A node that offers anew may try again by itself.
    for _ in 0..3 {
        stage.fails("till");
    }
    stage.offer(2, "till", &plain());
    assert_eq!(stage.owner("till"), Some(2));
}

#[test]
fn what_was_stopped_by_somebody_starts_for_nobody_else() {
    let mut stage = Stage::three();
    stage.offer_all(2, "till", &plain());
    let effects = stage.done(Op::Halt { name: name("till") });
    assert!(matches!(effects[..], [Effect::GrantPhase { .. }]), "{effects:?}");
    assert_eq!(stage.grant("till").unwrap().phase, Phase::Yielding { to: None });
    // No move makes it run meanwhile, not even to where it is.
    for to in [Some(1), Some(2), None] {
        let move_it = stage.moves("till", to);
        let why = Blocked::Halted.to_string();
        assert_eq!(stage.refused(move_it), Refusal::Unfit { why });
    }
    assert_eq!(granted(&stage.stops("till")), []);
    stage.offer(3, "till", &plain());
    stage.expires(1);
    assert_eq!(stage.blocked("till"), Some(Blocked::Halted));
    // Nor do its nodes when they come back.
    for number in [2, 3] {
        let session = stage.life(number);
        stage.done(Op::Withdraw { name: name("till"), session });
    }
    stage.offer(2, "till", &plain());
    assert_eq!(stage.blocked("till"), Some(Blocked::Halted));
    let effects = stage.done(Op::Resume { name: name("till") });
    assert_eq!(granted(&effects), [("till".to_owned(), 2)]);
}

#[test]
fn a_stop_that_is_taken_back_ends_what_runs_all_the_same_and_it_is_placed_anew() {
    let mut stage = Stage::three();
    stage.offer_all(2, "till", &plain());
    let before = stage.grant("till").unwrap();
    stage.done(Op::Halt { name: name("till") });
    stage.done(Op::Resume { name: name("till") });
    // Its owner may have begun to end it, so it does not run as one that goes on running.
    let yields = Phase::Yielding { to: None };
    assert_eq!(stage.grant("till"), Some(Grant { phase: yields, ..before }));
    assert_eq!(granted(&stage.stops("till")).len(), 1);
    assert!(stage.grant("till").unwrap().epoch > before.epoch);
}

#[test]
fn what_comes_after_another_waits_until_that_one_is_ready_and_not_again() {
    let mut stage = Stage::three();
    stage.offer(1, "shop", &after(&["stock", "till"]));
    assert_eq!(stage.blocked("shop"), Some(Blocked::After(name("stock"))));
    stage.offer(2, "till", &plain());
    stage.offer(2, "stock", &plain());
    assert_eq!(granted(&stage.ready("stock")), []);
    assert_eq!(stage.blocked("shop"), Some(Blocked::After(name("till"))));
    assert_eq!(granted(&stage.ready("till")), [("shop".to_owned(), 1)]);
    let runs = stage.grant("shop");
    stage.stops("till");
    assert!(!stage.grant("till").unwrap().ready);
    assert_eq!(stage.grant("shop"), runs);
    // Once it has to start again, it waits again.
    stage.stops("shop");
    assert_eq!(stage.blocked("shop"), Some(Blocked::After(name("till"))));
}

#[test]
fn nothing_may_wait_for_itself_through_however_many_others() {
    let mut stage = Stage::three();
    let cycle = |through: &str| Verdict::Refused(Refusal::Cycle { through: name(through) });
    assert_eq!(stage.offer(1, "a", &after(&["a"])), cycle("a"));
    stage.offer(1, "a", &after(&["b"]));
    stage.offer(1, "b", &after(&["c"]));
    assert_eq!(stage.offer(1, "c", &after(&["a"])), cycle("b"));
    // By a change of what is wanted, too; and what was wanted before is still in force.
    stage.offer(1, "c", &plain());
    let version = stage.machine().singleton("c").unwrap().version;
    assert_eq!(stage.offer(2, "c", &after(&["d", "a"])), cycle("b"));
    assert_eq!(stage.machine().singleton("c").unwrap().version, version);
    assert_eq!(stage.offer(1, "c", &after(&["d"])), Verdict::Done);
    assert_eq!(stage.offer(1, "b", &plain()), Verdict::Done);
    assert_eq!(stage.offer(1, "d", &after(&["a"])), Verdict::Done);
}

#[test]
fn a_spec_that_cannot_be_wanted_is_refused_with_what_is_wrong() {
    let mut stage = Stage::three();
    let many: Vec<Name> = (0..33).map(|number| name(&format!("n/{number}"))).collect();
    let exec = |argv: &[&str]| {
        let argv = argv.iter().map(|word| word.to_string()).collect();
        Some(quorate_registry::Exec { argv, env: labels(&[]), dir: None, grace_ms: 1 })
    };
    let bad = |what: &str| Verdict::Refused(Refusal::BadSpec { what: what.to_owned() });
    let nameless = quorate_registry::Company { group: String::new(), apart: true, spread: None };
    for (spec, what) in [
        (Spec { after: many.into_iter().collect(), ..plain() }, "it waits for more than 32 others"),
        (Spec { company: Some(nameless), ..plain() }, "its group has no name"),
        (Spec { exec: exec(&[]), ..plain() }, "there is no command to run"),
        (Spec { exec: exec(&["", "x"]), ..plain() }, "there is no command to run"),
    ] {
        assert_eq!(stage.offer(1, "till", &spec), bad(what));
    }
    let long = "x".repeat(Spec::BYTES_MAX + 1);
    let long = stage.offer(1, "till", &Spec { exec: exec(&[&long]), ..plain() });
    assert!(matches!(long, Verdict::Refused(Refusal::TooLarge { .. })), "{long:?}");
    assert_eq!(stage.machine().singletons("", None).count(), 0);
}

#[test]
fn whoever_withdraws_last_leaves_nothing_but_a_checkpoint() {
    let mut stage = Stage::three();
    stage.offer_all(2, "till", &plain());
    let [one, two] = [1, 2].map(|number| stage.life(number));
    let withdraw = |session| Op::Withdraw { name: name("till"), session };
    let effects = stage.done(withdraw(one));
    assert_eq!(granted(&effects), [("till".to_owned(), 2)]);
    assert_eq!(stage.refused(withdraw(one)), Refusal::NoCandidate);
    stage.done(withdraw(two));
    assert_eq!(stage.machine().singleton("till"), None);
    assert_eq!(stage.refused(withdraw(two)), Refusal::NoSingleton);

    stage.offer(1, "till", &plain());
    let epoch = stage.epoch("till");
    stage.say(Op::Checkpoint { name: name("till"), epoch, state: b"seven".to_vec() });
    stage.done(withdraw(one));
    assert_eq!(stage.machine().checkpoint("till").unwrap().state, b"seven");
    stage.offer(2, "till", &plain());
    assert_eq!(stage.refused(Op::Forget { name: name("till") }), Refusal::Offered);
    stage.done(withdraw(two));
    stage.done(Op::Forget { name: name("till") });
    assert_eq!(stage.machine().singleton("till"), None);
    assert_eq!(stage.machine().checkpoint("till"), None);
}

#[test]
fn nothing_is_done_under_an_epoch_that_is_over() {
    let mut stage = Stage::three();
    stage.offer_all(2, "till", &plain());
    let old = stage.epoch("till");
    let registers = |epoch| {
        let deed = Deed::Register { name: name("desk"), claim: claim(None), replace: None };
        Op::ActUnder { name: name("till"), epoch, deed }
    };
    assert_eq!(stage.say(count_under("till", old)).0, Verdict::Counted { value: 1 });
    assert!(matches!(stage.say(registers(old)).0, Verdict::Registered { .. }));
    stage.say(Op::Release { name: name("desk"), epoch: None });
    stage.expires(1);
    let present = Some(stage.epoch("till"));
    let state = b"late".to_vec();
    for late in [
        count_under("till", old),
        registers(old),
        Op::Checkpoint { name: name("till"), epoch: old, state },
        Op::Ready { name: name("till"), epoch: old },
        Op::Force { name: name("till"), epoch: old, why: String::new() },
        Op::EndGrant {
            name: name("till"),
            epoch: old,
            ending: Ending::Stopped { state: Some(b"late".to_vec()) },
        },
    ] {
        assert_eq!(stage.refused(late), Refusal::NotGranted { present });
    }
    assert_eq!(stage.machine().counter("tally"), Some(1));
    assert_eq!(stage.machine().checkpoint("till"), None);
}

#[test]
fn a_checkpoint_outlives_its_maker_and_the_cluster() {
    let mut stage = Stage::three();
    stage.offer_all(2, "till", &plain());
    let old = stage.epoch("till");
    let keep = |epoch, state: Vec<u8>| Op::Checkpoint { name: name("till"), epoch, state };
    let too_large = stage.refused(keep(old, vec![0; Checkpoint::BYTES_MAX + 1]));
    assert!(matches!(too_large, Refusal::TooLarge { .. }));
    let version = quorate_vocab::Index(stage.world.index + 1);
    assert_eq!(
        stage.say(keep(old, vec![7; Checkpoint::BYTES_MAX])).0,
        Verdict::Amended { version }
    );
    stage.expires(1);
    assert_eq!(stage.machine().checkpoint("till").unwrap().epoch, old);
    let second = stage.epoch("till");

    let mut anew = stage.begin_anew();
    assert_eq!(anew.blocked("till"), Some(Blocked::Nobody));
    let past = last_past(&anew, "till");
    assert_eq!((past.epoch, past.evidence), (second, Evidence::Forced));
    anew.comes(7, &[]);
    anew.offer(7, "till", &plain());
    assert!(anew.epoch("till") > second && anew.epoch("till").generation() == 1);
    assert_eq!(anew.machine().checkpoint("till").unwrap().state, [7; Checkpoint::BYTES_MAX]);
}

#[test]
fn an_operator_who_forces_it_gives_it_to_another_if_another_can_have_it() {
    let mut stage = Stage::three();
    stage.offer(1, "till", &plain());
    let force =
        |epoch| Op::Force { name: name("till"), epoch, why: "ann: its rack burnt down".to_owned() };
    for (others, owner) in [(vec![], 1), (vec![2, 3], 2)] {
        for other in others {
            stage.offer(other, "till", &plain());
        }
        let old = stage.epoch("till");
        stage.done(force(old));
        let is_other = stage.owner("till") != Some(1);
        assert_eq!(is_other, owner != 1);
        let past = last_past(&stage, "till");
        assert_eq!((past.epoch, past.evidence), (old, Evidence::Forced));
        assert_eq!(past.why, "ann: its rack burnt down");
    }
}

#[test]
fn a_node_that_is_taken_out_gets_nothing_in_its_last_entry() {
    let mut stage = Stage::three();
    stage.offer(1, "till", &plain());
    // A client on the same node offers it too, and lives on.
    let client = stage.world.open(SessionOwner::Client);
    let (of, node) = (name("till"), NodeId(1));
    stage.done(Op::Volunteer { name: of, session: client, node, spec: Box::new(plain()) });
    let (verdict, effects) = stage.say(Op::Leave { node });
    assert_eq!((verdict, granted(&effects)), (Verdict::Left, vec![]));
    assert_eq!(stage.blocked("till"), Some(Blocked::Nobody));
    stage.comes(1, &[]);
    assert_eq!(stage.grant("till").map(|grant| grant.session), Some(client));
}

#[test]
fn without_the_level_nobody_speaks_of_singletons() {
    let mut world = common::World::new();
    let needs = |op| Verdict::Refused(Refusal::TooNew { needs: op, agreed: Level::Two });
    let epoch = quorate_vocab::Epoch::from_shown(1).unwrap();
    let of = || name("till");
    let session = SessionId(1);
    for op in [
        Op::Volunteer { name: of(), session, node: NodeId(1), spec: Box::new(plain()) },
        Op::Withdraw { name: of(), session },
        Op::EndGrant { name: of(), epoch, ending: Ending::Stopped { state: None } },
        Op::Ready { name: of(), epoch },
        Op::Checkpoint { name: of(), epoch, state: vec![] },
        count_under("till", epoch),
        Op::Move { name: of(), to: None, expected: None },
        Op::Halt { name: of() },
        Op::Resume { name: of() },
        Op::Force { name: of(), epoch, why: String::new() },
        Op::Forget { name: of() },
        Op::Drain { node: NodeId(1), why: None },
        end(session, Evidence::ProvenDead),
        end(session, Evidence::Forced),
    ] {
        assert_eq!(world.hear(Once::Free, op), (needs(Level::Four), vec![]));
    }
}
