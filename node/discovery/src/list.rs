//! Lists of addresses as people and programs write them: lines and commas, or JSON.

use serde_json::Value;

use crate::Address;
use crate::address::shown;
use crate::source::{Candidates, Standing, present};

/// Understands `HOST:PORT`s between commas, blanks and line ends; what follows a `#` is a remark.
///
/// One wrong entry spoils the list: half of a file that is being written is an error, not a smaller cluster.
pub(crate) fn lines(text: &str, port: Option<u16>) -> Result<Candidates, String> {
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default());
    let entries = lines.flat_map(|line| line.split([',', ' ', '\t'])).filter(|one| !one.is_empty());
    let found: Result<Vec<Address>, String> =
        entries.map(|one| Address::with_port(one, port).map_err(|e| e.to_string())).collect();
    Ok(present(found?))
}

/// Understands a JSON list of `"HOST:PORT"` and `{"address": "HOST:PORT", "draining": true}`, or lines.
pub(crate) fn json_or_lines(text: &str, port: Option<u16>) -> Result<Candidates, String> {
    if !text.trim_start().starts_with(['[', '{']) || is_bracketed_line(text) {
        return lines(text, port);
    }
    let value: Value = serde_json::from_str(text).map_err(|e| format!("its JSON: {e}"))?;
    let entries = value.as_array().ok_or("its JSON is no list")?;
    let mut found = Candidates::new();
    for entry in entries {
        let address = entry.as_str().or_else(|| entry["address"].as_str());
        let address = address.ok_or_else(|| {
            format!("`{}` is neither an address nor an object with one", shown(&entry.to_string()))
        })?;
        let address = Address::with_port(address, port).map_err(|e| e.to_string())?;
        let draining = entry["draining"] == Value::Bool(true);
        let standing = if draining { Standing::Draining } else { Standing::Present };
        found.insert(address, standing);
    }
    Ok(found)
}

/// Whether the list begins with an IPv6 address, whose bracket is no JSON's.
fn is_bracketed_line(text: &str) -> bool {
    let first = text.trim_start().split([',', ' ', '\t', '\n', '\r']).next().unwrap_or_default();
    Address::with_port(first, Some(1)).is_ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn texts(found: Result<Candidates, String>) -> Vec<String> {
        found.unwrap().keys().map(Address::to_string).collect()
    }

    #[test]
    fn lists_are_lines_or_commas_with_remarks() {
        let list = "# ours\r\n10.0.0.1:4747\n10.0.0.2:4747, n3:4747 # the third\n\n";
        assert_eq!(texts(lines(list, None)), ["10.0.0.1:4747", "10.0.0.2:4747", "n3:4747"]);
        assert_eq!(texts(lines("a b:2", Some(1))), ["a:1", "b:2"]);
        assert!(texts(lines("", None)).is_empty());
        assert_eq!(lines("a:1, b", None).unwrap_err(), "`b` is not HOST:PORT");
    }

    #[test]
    fn json_names_addresses_and_who_drains() {
        let found = json_or_lines(
            r#" ["a:1", {"address": "b:2", "draining": true, "x": 1}, {"address": "c"}]"#,
            Some(3),
        )
        .unwrap();
        let standing = |text| found[&Address::parse(text).unwrap()];
        assert_eq!(
            (standing("a:1"), standing("b:2"), standing("c:3")),
            (Standing::Present, Standing::Draining, Standing::Present)
        );
        assert_eq!(texts(json_or_lines("[::1]:1\nb:2", None)), ["[::1]:1", "b:2"]);
        for wrong in ["[1]", "[\"a\"]", "[\"a:1\"", "{}", "[null]", "{\"a\": 1}"] {
            assert!(json_or_lines(wrong, None).is_err(), "{wrong}");
        }
        // Nesting is bounded by the parser.
        assert!(json_or_lines(&"[".repeat(100_000), None).is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_a_list_or_an_error(text in "[\\[\\]{}\":,a-z0-9. #\n]{0,200}") {
            let _ = json_or_lines(&text, Some(1));
        }
    }
}
