//! The list of hosts that Erlang nodes keep in `.hosts.erlang`: one quoted atom a line, each with a dot.
//!
//! The file names hosts and no ports, since Erlang asks epmd for them; here the spec says the one port.

use crate::address::shown;
use crate::locator::Locator;
use crate::source::present;
use crate::sources::file::{self, Watched};
use crate::{Address, Candidates, SpecError};

/// Which file, and which port.
#[derive(Clone, Debug)]
pub(crate) struct Settings(file::Settings);

impl Settings {
    pub(crate) fn read(locator: &Locator) -> Result<Self, SpecError> {
        if locator.port("port")?.is_none() {
            return Err(locator.wrong("it needs a `port`, since the file names hosts alone"));
        }
        file::Settings::of(locator, hosts).map(Self)
    }

    pub(crate) fn open(self) -> Watched {
        Watched::new(self.0)
    }
}

/// Understands Erlang terms that are atoms or strings, each ended by a dot, with `%` remarks.
fn hosts(text: &str, port: Option<u16>) -> Result<Candidates, String> {
    let mut found = Vec::new();
    let mut rest = skip(text);
    while !rest.is_empty() {
        let wrong = || format!("`{}` is no 'host'.", shown(rest.lines().next().unwrap_or(rest)));
        let quote = rest.chars().next().filter(|c| "'\"".contains(*c));
        let (host, after) = match quote {
            Some(quote) => rest[1..].split_once(quote).ok_or_else(wrong)?,
            // An atom without quotes has no dot in it.
            None => rest.split_at(rest.find(|c: char| !is_of_atom(c)).unwrap_or(rest.len())),
        };
        let is_atom = quote.is_some() || host.starts_with(|c: char| c.is_ascii_lowercase());
        let after = skip(after).strip_prefix('.').filter(|_| is_atom);
        // A dot without a blank behind it is part of something else.
        let ends = |after: &&str| after.is_empty() || after.starts_with(char::is_whitespace);
        let after = after.filter(ends).ok_or_else(wrong)?;
        found.push(Address::with_port(host, port).map_err(|e| e.to_string())?);
        rest = skip(after);
    }
    Ok(present(found))
}

/// Passes over blanks and remarks.
fn skip(text: &str) -> &str {
    let mut rest = text.trim_start();
    while let Some(remark) = rest.strip_prefix('%') {
        rest = remark.split_once('\n').map_or("", |(_, rest)| rest).trim_start();
    }
    rest
}

fn is_of_atom(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '@'
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_list_of_an_erlang_node_is_understood() {
        let text = "%% our hosts\n'super.eua.ericsson.se'.\n'renat.eua.ericsson.se' . % one\ngandalf.\n\
                    \"10.0.0.1\".\t'a'.";
        let found: Vec<String> =
            hosts(text, Some(7)).unwrap().keys().map(Address::to_string).collect();
        assert_eq!(
            found,
            [
                "10.0.0.1:7",
                "a:7",
                "gandalf:7",
                "renat.eua.ericsson.se:7",
                "super.eua.ericsson.se:7"
            ]
        );
        assert!(hosts("", Some(7)).unwrap().is_empty());
        for wrong in ["'a'", "'a", "A.", "a", ".", "'a b'.", "super.eua.", "''.", "{a}."] {
            assert!(hosts(wrong, Some(7)).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_list_or_an_error(text in "(['\"%.\n aZé]|gandalf|\\.){0,60}") {
            let _ = hosts(&text, Some(7));
        }
    }
}
