//! Whatever is asked of a log, and however often it is opened anew, it holds what a plain model holds.

use crate::common;

use std::sync::Arc;

use common::{Call, Pair, SMALL, live, seen};
use proptest::prelude::*;
use quorate_storage::{Disk, MemoryDisk};

fn call() -> impl Strategy<Value = Call> {
    let size = prop_oneof![4 => 0..200_u16, 1 => 400..1500_u16, 1 => 3500..9000_u16];
    prop_oneof![
        6 => prop::collection::vec(size, 0..6).prop_map(|sizes| Call::Append { sizes }),
        2 => any::<u8>().prop_map(Call::Vote),
        2 => any::<u8>().prop_map(Call::Committed),
        2 => (0..8_u8).prop_map(|count| Call::Truncate { count }),
        2 => (0..12_u8).prop_map(|count| Call::Purge { count }),
        1 => any::<u64>().prop_map(Call::Shelved),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn a_log_is_what_was_asked_of_it_through_all_its_lives(
        lives in prop::collection::vec(prop::collection::vec(call(), 0..25), 1..6),
    ) {
        let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut pair = Pair::new();
        for calls in &lives {
            runtime.block_on(live(&disk, SMALL, async |log| {
                assert_eq!(seen(&log), pair.model, "at the opening");
                assert_eq!(log.state().report.bytes_cut, 0, "an orderly end leaves nothing torn");
                for call in calls {
                    pair.call(&log, call).await;
                    assert_eq!(seen(&log), pair.model, "after {call:?}");
                }
            })).expect("a log that was closed in order opens");
        }
    }
}
