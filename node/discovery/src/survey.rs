//! Looks at every source once and knocks at every candidate: what `quorate doctor discovery` shows.

use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use quorate_env::{Net, now, timeout};

use crate::discovery::look;
use crate::{Address, Asker, Explanation, Input, Rules, Sighting, Spec, View, Word};

/// How many candidates are knocked at at once.
const AT_ONCE: usize = 32;

/// Looks once at each source, all at the same time, and opens a connection to each candidate. Nobody is made
/// known unless the asker has an address. All of it together takes no longer than `within`.
pub async fn survey(specs: &[Spec], asker: &Asker, net: &dyn Net, within: Duration) -> Explanation {
    let until = now() + within;
    let mut view = View::new(Rules::default(), specs.iter().map(Spec::to_string));
    let mut proposals = Vec::new();
    // What is found late is of no use if no time is left to knock.
    let for_looks = within * 3 / 5;
    let looks = specs.iter().enumerate().map(async |(id, spec)| {
        let mut source = spec.open(asker);
        let late = |_| Sighting::Error(format!("no answer within {for_looks:?}"));
        (id, timeout(for_looks, look(source.as_mut())).await.unwrap_or_else(late))
    });
    let mut sightings = stream::iter(looks).buffer_unordered(specs.len().max(1));
    while let Some((source, sighting)) = sightings.next().await {
        view.step(now(), Input::Saw { source, sighting }, &mut proposals);
    }
    let candidates: Vec<Address> = view.candidates().cloned().collect();
    let knocks = candidates.into_iter().map(async |address| {
        let word = match asker.address.as_ref() == Some(&address) {
            true => Word::Itself,
            false => knock(net, &address, until.since(now())).await,
        };
        (address, word)
    });
    let mut knocks = stream::iter(knocks).buffer_unordered(AT_ONCE);
    while let Some((address, word)) = knocks.next().await {
        view.step(now(), Input::Heard { address, word }, &mut proposals);
    }
    view.explain(now())
}

async fn knock(net: &dyn Net, address: &Address, left: Duration) -> Word {
    if left.is_zero() {
        return Word::Unreachable("no time was left to try".to_owned());
    }
    match timeout(left, net.connect(address.as_str())).await {
        Ok(Ok(_)) => Word::Answers,
        Ok(Err(error)) => Word::Unreachable(error.to_string()),
        Err(_) => Word::Unreachable("no answer in time".to_owned()),
    }
}
