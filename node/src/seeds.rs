//! Where the node looks for others before the registry tells it where they are.
//!
//! Addresses are asked at once. Sources (DNS, files, an orchestrator …) are watched, and what they propose is
//! asked as well; a proposal admits nobody. Once this node's links to the voters are up there is nobody to be
//! looked for, and the mesh asks no more until they are gone.

use std::collections::BTreeSet;
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
    let mut asked = BTreeSet::new();
    loop {
        match quorate_env::timeout(TELL_EVERY, discovery.next()).await {
            Ok(Proposal::Dial(address)) => {
                hall.mesh().greet(address.as_str());
                asked.insert(address);
            }
            Ok(Proposal::Withdraw(address)) => {
                hall.mesh().ungreet(address.as_str());
                asked.remove(&address);
            }
            Err(_) => {}
        }
        for address in &asked {
            let word = match hall.mesh().is_linked_at(address.as_str()) {
                _ if address.as_str() == hall.mesh().address() => Word::Itself,
                true => Word::Linked,
                false => Word::Unlinked,
            };
            discovery.tell(address, word);
        }
    }
}
