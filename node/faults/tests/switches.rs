//! The switchboard: bounds, expiry, and the clocks of this process. Only one test here may touch those.

use std::time::Duration;

use quorate_env::{machine, set_wall_skew, wall_skew};
use quorate_faults::{Fault, Faults, LASTS_MAX, PRESENT_MAX, Refused, Way};

use crate::{LONG, in_time};

#[tokio::test]
async fn faults_are_bounded_in_number_and_in_time_and_have_numbers_of_their_own() {
    let faults = Faults::new();
    let silence = || Fault::Silence { peer: "a:1".into(), way: Way::Both };
    for lasts in [Duration::ZERO, LASTS_MAX + Duration::from_nanos(1)] {
        let refused = faults.inject(silence(), lasts).unwrap_err();
        assert_eq!(refused, Refused::Lasts { asked: lasts });
    }
    let refused = faults.inject(Fault::DiskSlow { takes_ms: 0 }, LONG).unwrap_err();
    assert!(matches!(refused, Refused::Field { field: "takes_ms", .. }), "{refused}");
    assert_eq!(faults.present(), []);
    let ids: Vec<u64> = (0..PRESENT_MAX).map(|_| faults.inject(silence(), LONG).unwrap()).collect();
    assert_eq!(faults.inject(silence(), LONG), Err(Refused::Full));
    let present = faults.present();
    assert!(present.iter().map(|one| one.id).eq(ids.iter().copied()));
    assert!(present.iter().all(|one| one.fault == silence() && one.left <= LONG));
    assert!(faults.heal(ids[0]));
    assert!(faults.inject(silence(), LONG).unwrap() > ids[PRESENT_MAX - 1]);
    assert_eq!(faults.heal_all(), PRESENT_MAX);
    assert_eq!((faults.present().len(), faults.heal_all()), (0, 0));
}

#[tokio::test]
async fn clocks_go_wrong_by_the_newest_fault_and_right_again_by_themselves() {
    const SECOND: i64 = 1_000_000_000;
    set_wall_skew(SECOND);
    let faults = Faults::new();
    let rate = |ppm, lasts| faults.inject(Fault::ClockRate { ppm }, lasts).unwrap();
    let slow = rate(-100_000, LONG);
    let fast = rate(300_000, LONG);
    assert_eq!(machine::clock_rate(), 300_000);
    faults.heal(fast);
    assert_eq!(machine::clock_rate(), -100_000);
    faults.heal(slow);
    assert_eq!((machine::clock_rate(), wall_skew()), (0, SECOND));
    let short = Duration::from_millis(50);
    rate(-300_000, short);
    faults.inject(Fault::WallJump { ms: -60_000 }, short).unwrap();
    let are_right = async {
        while machine::clock_rate() != 0 || wall_skew() != SECOND {
            tokio::task::yield_now().await;
        }
    };
    in_time(are_right).await;
    assert_eq!(faults.present(), []);
    set_wall_skew(0);
}
