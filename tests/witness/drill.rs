//! The drills: rounds of faults that a seed draws, and one without its guards, which must find what it looks
//! for.

use std::time::Duration;

use quorate_drill::lives::{Wrong, gaps, wrongs};
use quorate_env::now;

use crate::faults::{FAULTS, Fault};
use crate::places::Places;
use crate::table::Table;
use crate::world::{Dice, PATIENCE, World};

/// A figure from the environment.
fn told(key: &str) -> Option<u64> {
    let told = std::env::var_os(key)?;
    Some(told.to_string_lossy().parse().unwrap_or_else(|_| panic!("{key} is no number")))
}

/// How a drill is to go.
struct Plan {
    rounds: usize,
    names: usize,
    seed: u64,
    /// The longest that a fault lasts.
    most: Duration,
    /// If it is said, each lasts this long.
    exactly: Option<Duration>,
    faults: Vec<Fault>,
    /// After a gap longer than this what was said is shown.
    long: Duration,
}

impl Plan {
    /// Bounded, unless the environment wants more.
    fn new(rounds: usize, names: usize) -> Self {
        let only = std::env::var_os("QUORATE_DRILL_FAULTS").unwrap_or_default();
        let only = only.into_string().expect("names of faults");
        let only: Vec<&str> = only.split(',').filter(|name| !name.is_empty()).collect();
        let known = FAULTS.iter().filter(|(_, name)| only.is_empty() || only.contains(name));
        let faults: Vec<Fault> = known.map(|(fault, _)| *fault).collect();
        assert!(faults.len() >= only.len(), "of {only:?} only {faults:?} are known");
        let wanted = told("QUORATE_DRILL_ROUNDS");
        let most = if wanted.is_some() { 6_000 } else { 3_000 };
        Self {
            rounds: wanted.map_or(rounds, |rounds| rounds as usize),
            names,
            seed: told("QUORATE_DRILL_SEED").unwrap_or(6),
            most: Duration::from_millis(most),
            exactly: told("QUORATE_DRILL_LASTS_MS").map(Duration::from_millis),
            faults,
            long: told("QUORATE_DRILL_LONG_MS").map_or(Duration::MAX, Duration::from_millis),
        }
    }
}

/// Rounds of faults; panics when anything is wrong.
fn drill(places: Places, plan: &Plan) {
    let mut world = World::begin(places, plan.names, plan.seed);
    let (mut table, mut deck) = (Table::default(), Vec::new());
    for round in 1..=plan.rounds {
        if deck.is_empty() {
            deck = shuffled(&plan.faults, &mut world.dice);
        }
        let fault = deck.pop().expect("there are faults");
        let name = world.names[world.dice.below(plan.names)].clone();
        let lasts = fault.lasts(&mut world.dice, plan.most);
        let lasts = plan.exactly.filter(|_| !lasts.is_zero()).unwrap_or(lasts);
        fault.prepare(&mut world, &name);
        let begun = now();
        fault.begin(&mut world, &name);
        std::thread::sleep(lasts);
        world.settle();
        let turns = world.turns();
        let wrong = wrongs(&turns);
        let gaps: Vec<Duration> = turns.values().flat_map(|turns| gaps(turns, begun)).collect();
        let next = turns[&name].iter().find(|turn| turn.first > begun);
        let waits = next.map(|turn| turn.first.since(begun));
        table.add(fault, &gaps, waits, wrong.len());
        println!("round {round}: {} of {name} for {lasts:?}: {gaps:?}, {waits:?}", fault.name());
        if gaps.iter().any(|gap| *gap > plan.long) {
            world.show_logs();
            println!("== turns, since {}\n{turns:#?}", begun.0);
        }
        if !wrong.is_empty() {
            world.show_logs();
            let told: Vec<String> = wrong.iter().map(Wrong::to_string).collect();
            panic!("seed {}, round {round}, {}:\n{}", plan.seed, fault.name(), told.join("\n"));
        }
    }
    println!("seed {}, {} nodes, {} names\n{table}", plan.seed, world.count(), plan.names);
}

fn shuffled(faults: &[Fault], dice: &mut Dice) -> Vec<Fault> {
    let mut deck = faults.to_vec();
    for at in (1..deck.len()).rev() {
        deck.swap(at, dice.below(at + 1));
    }
    deck
}

#[test]
fn under_mixed_faults_no_two_ever_live_and_epochs_rise() {
    let count = told("QUORATE_DRILL_NODES").unwrap_or(3) as usize;
    let plan = Plan::new(10, 2);
    if told("QUORATE_DRILL_NAMESPACES").unwrap_or(0) == 0 {
        return drill(Places::loopback(count), &plan);
    }
    let places = Places::namespaces(count).unwrap_or_else(|why| panic!("no namespaces: {why}"));
    drill(places, &plan);
}

/// Root can do this on most machines with Linux; elsewhere it says why it was skipped.
#[test]
fn a_host_whose_packets_are_dropped_where_they_arrive_is_no_second_one() {
    match Places::namespaces(3) {
        Ok(places) => {
            let faults = vec![Fault::IsolateOwner, Fault::NobodyHearsOwner];
            let exactly = Some(Duration::from_secs(3));
            drill(places, &Plan { rounds: 2, faults, exactly, ..Plan::new(2, 1) });
        }
        Err(why) => println!("skipped: {why}"),
    }
}

/// A drill that cannot fail is none. Stopped together, runner and fencer guard nothing: whoever stops both
/// can have two, and the witnesses say so.
#[test]
fn with_its_guards_taken_out_two_live_and_it_is_found() {
    let mut world = World::begin(Places::loopback(3), 1, 1);
    let name = world.names[0].clone();
    let runner = world.runner(world.owner(&name), &name);
    let fencer = world.fencer_of(runner).expect("a runner has a fencer");
    world.stop(fencer);
    world.stop(runner);
    let until = now() + PATIENCE;
    let wrong = loop {
        let wrong = wrongs(&world.turns());
        if !wrong.is_empty() {
            break wrong;
        }
        assert!(now() < until, "nothing was found in {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(50));
    };
    assert!(wrong.iter().all(|wrong| matches!(wrong, Wrong::Overlap { .. })), "{wrong:?}");
    println!("found: {}", wrong[0]);
}
