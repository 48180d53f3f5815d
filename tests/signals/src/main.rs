//! Runs the scenarios and prints what they saw; where Erlang saw something else, what that was.
//!
//! ```console
//! $ cargo run --release -p quorate-signals              # all, on two workers
//! $ cargo run --release -p quorate-signals -- kill_     # those whose names begin so
//! $ cargo run --release -p quorate-signals -- kill_ 7   # in virtual time, in the order of seed 7
//! ```

use quorate_signals::{World, kept, scenarios};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let begins = arguments.next().unwrap_or_default();
    let world = match arguments.next().map(|seed| seed.parse()) {
        Some(Ok(seed)) => World::Simulated { seed },
        _ => World::Threads { pace: 1 },
    };
    let kept = kept();
    for scenario in scenarios().iter().filter(|scenario| scenario.name.starts_with(&begins)) {
        let line = scenario.play(world);
        println!("{line}");
        let erlang = kept.iter().find(|kept| kept.split(':').next() == Some(scenario.name));
        if let Some(erlang) = erlang.filter(|erlang| **erlang != line) {
            println!("  Erlang: {}", erlang.split_once(": ").map_or("", |(_, said)| said));
        }
    }
}
