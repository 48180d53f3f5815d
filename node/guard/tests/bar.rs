//! The rule, against every order of names and epochs.

use std::collections::BTreeMap;

use proptest::prelude::*;
use quorate_guard::{Bar, Name, Refusal, Standing};

use crate::common::{epoch, token};

#[test]
fn an_equal_epoch_passes_an_older_one_does_not_and_a_newer_one_raises_the_bar() {
    let (mut bar, name) = (Bar::new(10), Name::new("billing").unwrap());
    assert_eq!(bar.admit(&name, epoch(17)), Ok(Standing::Raises));
    assert_eq!(bar.admit(&name, epoch(17)), Ok(Standing::Level));
    assert_eq!(bar.judge(&name, epoch(18)), Ok(Standing::Raises));
    assert_eq!(bar.newest(&name), Some(epoch(17)), "judging raises nothing");
    assert_eq!(bar.admit(&name, epoch(18)), Ok(Standing::Raises));
    let stale = Refusal::Stale { shown: epoch(17), newest: epoch(18) };
    assert_eq!(bar.admit(&name, epoch(17)), Err(stale));
    assert_eq!(stale.to_string(), "epoch 17 is stale: 18 was seen");
}

#[test]
fn a_bar_that_is_full_forgets_nobody_and_says_so() {
    let mut bar = Bar::new(1);
    let (first, second) = (Name::new("a").unwrap(), Name::new("b").unwrap());
    assert!(bar.admit(&first, epoch(5)).is_ok());
    assert_eq!(bar.admit(&second, epoch(6)), Err(Refusal::Full { names_max: 1 }));
    assert_eq!(
        bar.admit(&first, epoch(4)).unwrap_err().to_string(),
        "epoch 4 is stale: 5 was seen"
    );
    assert!(bar.admit(&first, epoch(7)).is_ok());
}

#[test]
fn below_the_floor_no_name_passes_and_a_floor_is_never_lowered() {
    let (mut bar, name) = (Bar::at_least(epoch(100), 10), Name::new("new").unwrap());
    let stale = Refusal::Stale { shown: epoch(99), newest: epoch(100) };
    assert_eq!(bar.admit(&name, epoch(99)), Err(stale));
    bar.lift(epoch(50));
    assert_eq!(bar.floor(), Some(epoch(100)));
    assert_eq!(bar.admit(&name, epoch(100)), Ok(Standing::Raises));
    bar.lift(epoch(200));
    assert!(bar.admit(&name, epoch(150)).is_err(), "the floor counts for known names, too");
}

proptest! {
    /// Whatever is shown in whatever order: what passes of a name never goes back, what does not pass
    /// changes nothing, and a bar is never larger than it may be.
    #[test]
    fn what_passes_never_goes_back(
        shown in prop::collection::vec((0_u8..6, 0_u64..40), 0..200),
        names_max in 0_usize..6,
        floor in prop::option::of(0_u64..20),
    ) {
        let mut bar = match floor {
            Some(floor) => Bar::at_least(epoch(floor), names_max),
            None => Bar::new(names_max),
        };
        let mut passed: BTreeMap<u8, u64> = BTreeMap::new();
        for (which, number) in shown {
            let token = token(&format!("n{which}"), number);
            let before = bar.clone();
            let last = passed.get(&which).copied();
            match bar.admit(&token.name, token.epoch) {
                Ok(standing) => {
                    prop_assert!(last.max(floor).is_none_or(|last| number >= last));
                    prop_assert_eq!(standing == Standing::Level, last == Some(number));
                    passed.insert(which, number);
                }
                Err(refusal) => {
                    prop_assert_eq!(&bar, &before);
                    match refusal {
                        Refusal::Stale { newest, .. } => {
                            prop_assert_eq!(Some(newest.get()), last.max(floor));
                            prop_assert!(number < newest.get());
                        }
                        Refusal::Full { .. } => {
                            prop_assert!(last.is_none() && passed.len() == names_max);
                        }
                    }
                }
            }
            prop_assert!(bar.iter().count() <= names_max);
        }
    }
}
