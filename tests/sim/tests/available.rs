//! Available names on both sides of cuts.

use quorate_drill::nemesis::Fault;
use quorate_sim::world::{Clashes, Plan, Settings, run};

#[test]
fn cuts_leave_two_holders_of_a_name_and_heals_one() {
    let mut all = Clashes::default();
    for seed in 0..6 {
        let nodes = if seed % 2 == 0 { 3 } else { 5 };
        let faults = vec![Fault::Halves, Fault::LeaderAlone];
        let settings =
            Settings { seconds: 40, faults, ..Settings::new(seed, nodes, Plan::Everything) };
        let outcome = run(settings);
        assert!(outcome.violations.is_empty(), "seed {seed}: {:#?}", outcome.violations);
        let Clashes { registered, alone, lost, merged } = outcome.clashes;
        all.registered += registered;
        all.alone += alone;
        all.lost += lost;
        all.merged += merged;
    }
    assert!(all.registered > 100 && all.alone > 0, "{all:?}");
    assert!(all.lost > 0 && all.merged > 0, "nobody met another after a cut: {all:?}");
}
