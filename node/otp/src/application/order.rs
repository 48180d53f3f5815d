//! In which order applications start: each after those it needs. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::ApplicationError;

/// The places of `applications` (name, needs) in the order of their start: whatever one needs comes before
/// it, and otherwise they keep the order in which they were given.
pub(crate) fn order(applications: &[(&str, &[String])]) -> Result<Vec<usize>, ApplicationError> {
    let mut places = BTreeMap::new();
    for (place, (name, _)) in applications.iter().enumerate() {
        if places.insert(*name, place).is_some() {
            return Err(ApplicationError::Twice { name: (*name).to_owned() });
        }
    }
    for (name, needs) in applications {
        if let Some(missing) = needs.iter().find(|need| !places.contains_key(need.as_str())) {
            return Err(ApplicationError::Missing {
                name: (*name).to_owned(),
                needs: missing.clone(),
            });
        }
    }
    let mut left: BTreeSet<usize> = (0..applications.len()).collect();
    let mut order = Vec::with_capacity(applications.len());
    while !left.is_empty() {
        let is_ready = |place: &&usize| {
            applications[**place].1.iter().all(|need| !left.contains(&places[need.as_str()]))
        };
        let Some(next) = left.iter().find(is_ready).copied() else {
            let circle = left.iter().map(|&place| applications[place].0.to_owned()).collect();
            return Err(ApplicationError::Circle { among: circle });
        };
        left.remove(&next);
        order.push(next);
    }
    Ok(order)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ordered(applications: &[(&str, &[&str])]) -> Result<Vec<String>, ApplicationError> {
        let owned: Vec<(&str, Vec<String>)> = applications
            .iter()
            .map(|(name, needs)| (*name, needs.iter().map(|need| (*need).to_owned()).collect()))
            .collect();
        let borrowed: Vec<(&str, &[String])> =
            owned.iter().map(|(name, needs)| (*name, needs.as_slice())).collect();
        let order = order(&borrowed)?;
        Ok(order.into_iter().map(|place| applications[place].0.to_owned()).collect())
    }

    #[test]
    fn an_application_starts_after_what_it_needs_and_else_where_it_was_given() {
        let given: [(&str, &[&str]); 4] =
            [("shop", &["store", "web"]), ("web", &[]), ("log", &[]), ("store", &["log"])];
        assert_eq!(ordered(&given).unwrap(), ["web", "log", "store", "shop"]);
    }

    #[test]
    fn what_cannot_be_ordered_is_said_by_name() {
        assert_eq!(
            ordered(&[("a", &["b"])]),
            Err(ApplicationError::Missing { name: "a".into(), needs: "b".into() })
        );
        assert_eq!(
            ordered(&[("a", &[]), ("b", &["c"]), ("c", &["b", "a"])]),
            Err(ApplicationError::Circle { among: vec!["b".into(), "c".into()] })
        );
        assert_eq!(
            ordered(&[("a", &["a"])]),
            Err(ApplicationError::Circle { among: vec!["a".into()] })
        );
        assert_eq!(
            ordered(&[("a", &[]), ("a", &[])]),
            Err(ApplicationError::Twice { name: "a".into() })
        );
    }

    proptest! {
        /// Needs point only to smaller numbers here, so there is always an order; names are given shuffled.
        #[test]
        fn whatever_has_no_circle_is_ordered_with_every_need_before_its_user(
            needs in prop::collection::vec(prop::collection::btree_set(0usize..12, 0..4), 1..12),
            turn in 0usize..12,
        ) {
            let names: Vec<String> = (0..needs.len()).map(|n| format!("a{n}")).collect();
            let needs: Vec<Vec<String>> = needs
                .iter()
                .enumerate()
                .map(|(n, of)| of.iter().filter(|&&m| m < n).map(|m| format!("a{m}")).collect())
                .collect();
            let mut given: Vec<(&str, &[String])> =
                names.iter().zip(&needs).map(|(name, of)| (name.as_str(), of.as_slice())).collect();
            let len = given.len();
            given.rotate_left(turn % len);
            let order = order(&given).unwrap();
            prop_assert_eq!(order.len(), len);
            for (at, &place) in order.iter().enumerate() {
                for need in given[place].1 {
                    prop_assert!(order[..at].iter().any(|&p| given[p].0 == need));
                }
            }
        }
    }
}
