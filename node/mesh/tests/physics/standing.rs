//! What facts amount to, for every combination of them.

use std::time::Duration;

use quorate_mesh::pulse::Verdict;
use quorate_mesh::standing::{Change, Contact, Lease, LeaseEnd, Sight, Sightings, Standing};
use quorate_vocab::{Index, NodeId, SessionId, Time};

const NOW: Time = Time(1_000_000_000_000);
const LINKS: [Contact; 6] = [
    Contact::Apart,
    Contact::Up(Verdict::Up),
    Contact::Up(Verdict::Suspect),
    Contact::Up(Verdict::Silent),
    Contact::Broken,
    Contact::Failed,
];

/// What voters say: nobody was asked, they do not hear it, one of them does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Voters {
    Unasked,
    Deny,
    Hear,
}

const VOTERS: [Voters; 3] = [Voters::Unasked, Voters::Deny, Voters::Hear];
const HELD: Lease = Lease::Held { session: SessionId(7) };
const OVER: Lease = Lease::Over { session: SessionId(7), at: Index(40), end: LeaseEnd::Expired };
const LEASES: [Lease; 3] = [Lease::Unknown, HELD, OVER];

/// Up, suspect, unreachable, down; one row for each of `LINKS`, within it the leases unknown, held and over,
/// and within each of them what the voters say.
const AMOUNTS: [[&str; 3]; 6] = [
    ["ssu", "uuu", "ddd"], // apart
    ["uuu", "uuu", "ddd"], // heard
    ["ssx", "ssx", "ddd"], // heard less than usual
    ["xxx", "xxx", "ddd"], // silent
    ["ssx", "ssx", "ddd"], // broken
    ["xxx", "xxx", "ddd"], // not to be dialled
];

type Facts = (Contact, Lease, Voters);

fn every_facts() -> impl Iterator<Item = Facts> {
    LINKS.into_iter().flat_map(|link| {
        LEASES.into_iter().flat_map(move |lease| VOTERS.map(move |voters| (link, lease, voters)))
    })
}

fn amount((link, lease, voters): Facts) -> Standing {
    let row = LINKS.iter().position(|other| *other == link).unwrap();
    let column = match lease {
        Lease::Unknown => 0,
        Lease::Held { .. } => 1,
        Lease::Over { .. } => 2,
    };
    match AMOUNTS[row][column].as_bytes()[voters as usize] {
        b'u' => Standing::Up,
        b's' => Standing::Suspect,
        b'x' => Standing::Unreachable,
        _ => Standing::Down,
    }
}

fn pulse(verdict: Verdict) -> Sight {
    Sight::Pulse { verdict, last: NOW }
}

fn answered(voter: u64, hears: bool) -> Sight {
    Sight::Answered { voter: NodeId(voter), hears }
}

fn seen((link, lease, voters): Facts) -> Sightings {
    let mut sights = match link {
        Contact::Apart => vec![Sight::Parted],
        Contact::Up(verdict) => vec![Sight::Linked, pulse(verdict)],
        Contact::Broken => vec![Sight::Broken],
        Contact::Failed => vec![Sight::DialFailed],
    };
    sights.push(Sight::Lease(lease));
    match voters {
        Voters::Unasked => {}
        Voters::Deny => sights.extend([Sight::Asked { voters: 3 }, answered(1, false)]),
        Voters::Hear => sights.extend([Sight::Asked { voters: 3 }, answered(1, true)]),
    }
    let mut sightings = Sightings::new(NOW);
    for sight in sights {
        sightings.see(NOW, sight);
        sightings.check();
    }
    sightings
}

/// What a fact makes of the facts before it.
fn after((link, lease, voters): Facts, sight: Sight) -> Facts {
    let heard_before = link == Contact::Up(Verdict::Up);
    let voters = if heard_before { Voters::Unasked } else { voters };
    let (link, lease, voters) = match sight {
        Sight::Linked => (Contact::Up(Verdict::Up), lease, voters),
        Sight::Parted => (Contact::Apart, lease, voters),
        Sight::Broken => (Contact::Broken, lease, voters),
        Sight::DialFailed => (Contact::Failed, lease, voters),
        Sight::Pulse { verdict, .. } => match link {
            Contact::Up(_) => (Contact::Up(verdict), lease, voters),
            _ => (link, lease, voters),
        },
        Sight::Asked { .. } => (link, lease, Voters::Unasked),
        Sight::Answered { hears: true, .. } => (link, lease, Voters::Hear),
        Sight::Answered { hears: false, .. } => match voters {
            // Another voter than the one that hears it.
            Voters::Hear => (link, lease, Voters::Hear),
            _ => (link, lease, Voters::Deny),
        },
        Sight::Lease(told) => {
            let number = |lease| match lease {
                Lease::Unknown => 0,
                Lease::Held { session } => 2 * session.0,
                Lease::Over { session, .. } => 2 * session.0 + 1,
            };
            (link, if number(told) > number(lease) { told } else { lease }, voters)
        }
    };
    (link, lease, if link == Contact::Up(Verdict::Up) { Voters::Unasked } else { voters })
}

fn every_sight() -> Vec<Sight> {
    let leases = [6, 7, 8].map(SessionId).map(|session| {
        [Lease::Held { session }, Lease::Over { session, at: Index(50), end: LeaseEnd::Stopped }]
    });
    let leases = leases.into_iter().flatten().chain([Lease::Unknown]).map(Sight::Lease);
    [
        Sight::Linked,
        Sight::Parted,
        Sight::Broken,
        Sight::DialFailed,
        pulse(Verdict::Up),
        pulse(Verdict::Suspect),
        pulse(Verdict::Silent),
        Sight::Asked { voters: 3 },
        answered(2, true),
        answered(2, false),
    ]
    .into_iter()
    .chain(leases)
    .collect()
}

#[test]
fn every_combination_of_facts_amounts_to_what_the_table_says() {
    for facts in every_facts() {
        assert_eq!(seen(facts).standing(), amount(facts), "{facts:?}");
    }
}

#[test]
fn every_fact_in_every_state_leads_where_the_table_says() {
    let mut changes = 0;
    for facts in every_facts() {
        for sight in every_sight() {
            let (mut sightings, to) = (seen(facts), amount(after(facts, sight)));
            let from = sightings.standing();
            let change = sightings.see(NOW, sight);
            sightings.check();
            assert_eq!(sightings.standing(), to, "{facts:?} and then {sight:?}");
            assert_eq!(change, (from != to).then_some(Change { from, to }), "{facts:?} {sight:?}");
            changes += usize::from(change.is_some());
        }
    }
    assert!(changes > 100, "{changes}");
}

#[test]
fn only_the_registry_makes_a_node_down_and_only_the_registry_ends_that() {
    for facts in every_facts() {
        for sight in every_sight() {
            let mut sightings = seen(facts);
            let Some(Change { from, to }) = sightings.see(NOW, sight) else { continue };
            let over = matches!(sight, Sight::Lease(Lease::Over { .. }));
            let held = matches!(sight, Sight::Lease(Lease::Held { session }) if session.0 > 7);
            assert!(to != Standing::Down || over, "{facts:?}: {sight:?} made it down");
            assert!(from != Standing::Down || held, "{facts:?}: {sight:?} made it {to}");
        }
    }
}

#[test]
fn an_answer_that_comes_after_it_is_heard_again_does_not_speak_in_the_next_silence() {
    let mut sightings = seen((Contact::Up(Verdict::Suspect), HELD, Voters::Unasked));
    sightings.see(NOW, Sight::Asked { voters: 3 });
    sightings.see(NOW, pulse(Verdict::Up));
    assert_eq!(sightings.see(NOW, answered(1, true)), None);
    sightings.see(NOW, pulse(Verdict::Suspect));
    assert_eq!(sightings.standing(), Standing::Suspect);
}

#[test]
fn a_flood_of_voters_is_bounded() {
    let mut sightings = seen((Contact::Broken, HELD, Voters::Unasked));
    for voter in 0..10_000 {
        sightings.see(NOW, answered(voter, true));
        sightings.check();
    }
    assert_eq!(sightings.evidence(NOW).voters_asked, 15);
}

#[test]
fn the_evidence_is_a_sentence_with_numbers() {
    let mut sightings = Sightings::new(NOW);
    let at = |millis| NOW + Duration::from_millis(millis);
    let said = |sightings: &Sightings, millis| sightings.evidence(at(millis)).to_string();
    assert_eq!(
        said(&sightings, 250),
        "suspect for 250 ms: no link is wanted; never heard; the registry has told nothing of it"
    );
    sightings.see(at(1000), Sight::Lease(HELD));
    sightings.see(at(1000), Sight::Linked);
    sightings.see(at(2400), Sight::Pulse { verdict: Verdict::Suspect, last: at(1000) });
    sightings.see(at(2400), Sight::Asked { voters: 3 });
    sightings.see(at(2450), answered(1, false));
    assert_eq!(
        said(&sightings, 2450),
        "suspect for 50 ms: the link is up; last byte heard 1.4 s ago; 0 of 3 voters hear it \
         (1 answered); session 7 holds its lease"
    );
    sightings.see(at(2500), answered(2, true));
    sightings.see(at(2500), answered(3, true));
    sightings.see(at(4000), Sight::Broken);
    assert_eq!(
        said(&sightings, 721_000),
        "unreachable from here for 11 min: the link broke; last byte heard 12 min ago; 2 of 3 \
         voters hear it; session 7 holds its lease"
    );
    sightings.see(at(800_000), Sight::Lease(OVER));
    assert!(said(&sightings, 801_000).starts_with("down for 1.0 s: "));
    assert!(said(&sightings, 801_000).ends_with("; session 7 expired at index 40"));
}
