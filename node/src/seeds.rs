//! Where the node looks for others before the registry tells it where they are.
//!
//! Addresses are asked at once. Sources (DNS, files, an orchestrator …) are watched, and what they propose is
//! asked as well; a proposal admits nobody. Once this node's links to the voters are up there is nobody to be
//! looked for, and the mesh asks no more until they are gone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use quorate_discovery::{Address, Asker, Discovery, Proposal, Rules, Source, Spec, Word};

use crate::hall::Hall;

/// How often the sources are told which of their addresses lead to a linked node.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// Whether a way to look for others names a source rather than an address.
pub(crate) fn is_source(join: &str) -> bool {
    join.contains("://")
}

/// Looks for as long as the node lives.
pub(crate) async fn seek(hall: Arc<Hall>) {
    let asker = Asker {
        name: hall.config().name.to_string(),
        address: Address::parse(hall.mesh().address()).ok(),
    };
    let open = |text: &String| -> Option<(String, Box<dyn Source>)> {
        // The config was checked at the start.
        Spec::parse(text).ok().map(|spec| (text.clone(), spec.open(&asker)))
    };
    let sources: Vec<_> =
        hall.config().join.iter().filter(|join| is_source(join)).filter_map(open).collect();
    if sources.is_empty() {
        return;
    }
    let discovery = Discovery::start(sources, Rules::default());
    let (mut asked, mut tell_at) = (Asked::default(), quorate_env::now() + TELL_EVERY);
    loop {
        let left = tell_at.since(quorate_env::now());
        match quorate_env::timeout(left, discovery.next()).await {
            Ok(Proposal::Dial(address)) => {
                hall.mesh().greet(address.as_str());
                asked.insert(address, None);
            }
            Ok(Proposal::Withdraw(address)) => {
                hall.mesh().ungreet(address.as_str());
                asked.remove(&address);
            }
            Err(_) => {
                for (address, word) in news(&mut asked, |address| word_of(&hall, address)) {
                    discovery.tell(&address, word);
                }
                tell_at = quorate_env::now() + TELL_EVERY;
            }
        }
    }
}

/// The addresses that are asked, and what the sources were last told of each.
type Asked = BTreeMap<Address, Option<Word>>;

fn word_of(hall: &Hall, address: &Address) -> Word {
    match hall.mesh().is_linked_at(address.as_str()) {
        _ if address.as_str() == hall.mesh().address() => Word::Itself,
        true => Word::Linked,
        false => Word::Unlinked,
    }
}

/// What the sources do not know yet. Where nobody is has to be said again and again: an address that a source
/// names no more is given up when it is heard after that.
fn news(asked: &mut Asked, word_of: impl Fn(&Address) -> Word) -> Vec<(Address, Word)> {
    let mut news = Vec::new();
    for (address, told) in asked {
        let word = word_of(address);
        if word == Word::Unlinked || told.as_ref() != Some(&word) {
            *told = Some(word.clone());
            news.push((address.clone(), word));
        }
    }
    news
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_told_once_that_an_address_leads_to_a_linked_node() {
        let [near, far] = ["10.0.0.1:1", "10.0.0.2:1"].map(|text| Address::parse(text).unwrap());
        let mut asked = Asked::from([(near.clone(), None), (far.clone(), None)]);
        let mut told = |far_word: Word| {
            news(&mut asked, |of| if *of == far { far_word.clone() } else { Word::Itself })
        };
        let of_far = |word| vec![(far.clone(), word)];
        let first = told(Word::Unlinked);
        assert_eq!(first, [vec![(near, Word::Itself)], of_far(Word::Unlinked)].concat());
        assert_eq!(told(Word::Unlinked), of_far(Word::Unlinked), "for it may be given up by now");
        assert_eq!(told(Word::Linked), of_far(Word::Linked));
        assert_eq!(told(Word::Linked), vec![]);
        assert_eq!(told(Word::Unlinked), of_far(Word::Unlinked));
    }
}
