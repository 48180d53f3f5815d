//! `quorate guard`: comparers of epochs in front of a file or of a thing that speaks HTTP. They ask no agent:
//! what they compare with is what they have seen.

mod drain;
mod file;
mod forward;
mod patient;
mod problem;
mod proxy;

use clap::Subcommand;
use quorate_guard::{Epoch, KeepError};
use quorate_http::code;

use crate::fail::{Done, Fail};

#[derive(Subcommand)]
pub(crate) enum GuardCommand {
    /// Replace a file with what stands on stdin, unless a newer epoch has written to it
    File(file::Args),
    /// Pass HTTP requests on, but none of a stale owner
    Proxy(proxy::Args),
}

/// `quorate guard`
pub(crate) fn run(command: &GuardCommand) -> Done {
    match command {
        GuardCommand::File(args) => file::run(args),
        GuardCommand::Proxy(args) => proxy::run(args),
    }
}

/// Understands an epoch as it is shown.
fn epoch(text: &str) -> Result<Epoch, String> {
    let number = text.parse().ok().and_then(Epoch::from_shown);
    number.ok_or_else(|| format!("`{text}` is no epoch: a number below 2^53"))
}

fn not_kept(error: &KeepError) -> Fail {
    let code = match error {
        KeepError::Torn { .. } => code::TORN_BAR,
        KeepError::Busy { .. } => code::GUARD_BUSY,
        _ => code::IO,
    };
    Fail::new(code, error.to_string())
}

#[cfg(test)]
mod tests {
    use quorate_guard::Denied;

    use super::*;

    #[test]
    fn a_guard_refuses_in_the_words_of_the_table() {
        let epoch = |number| Epoch::from_shown(number).unwrap();
        let name = quorate_guard::Name::new("billing").unwrap();
        let busy = || KeepError::Busy { path: "x".into() };
        for denied in [
            Denied::Stale { name, shown: epoch(1), newest: epoch(2) },
            Denied::Unmarked,
            Denied::BadMark("Quorate-Epoch is missing"),
            Denied::Full { names_max: 1 },
            Denied::NotKept(busy()),
        ] {
            let said = denied.problem();
            let code = quorate_http::by_name(&said.code.to_string()).unwrap();
            assert_eq!((said.status, said.title, said.hint), (code.status, code.title, code.hint));
            let json: serde_json::Value = serde_json::from_str(&said.json()).unwrap();
            assert_eq!(json, problem::object(code, &said.detail));
        }
    }
}
