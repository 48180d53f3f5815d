//! Links and topology rules, as a user of the command meets them.

use crate::common;

use common::{Place, eventually, json};
use serde_json::Value;

const RULES: &str = "
[[rule]]
from = \"role:edge\"
to = \"any\"
verdict = \"deny\"

[[rule]]
from = \"node:n1\"
to = \"node:n2\"
verdict = \"allow\"
lanes = [\"high\", \"bulk\"]
rate = { bulk = \"10MiB/s\" }
";

#[test]
fn rules_are_tried_set_explained_and_reset() {
    let place = Place::new();
    std::fs::write(place.path().join("rules.toml"), RULES).unwrap();
    std::fs::write(place.path().join("wrong.toml"), RULES.replace("role:edge", "role:king"))
        .unwrap();
    let _dev = place.dev(&["-n", "3"]);
    let explain = ["links", "explain", "n1", "n2"];
    let told = |args: &[&str]| json(&place.sure(&[args, &["-o", "json"]].concat()));

    let dry = place.sure(&[&explain[..], &["--rules", "rules.toml"]].concat());
    assert!(
        dry.contains("not in force") && dry.contains("open: high,bulk; rates: bulk 10MiB/s"),
        "{dry}"
    );
    assert_eq!(told(&explain)["ways"][0]["rule"], Value::Null, "trying changes nothing");

    // With a key, a repetition of what was answered too late is done once.
    let set =
        ["links", "rules", "set", "rules.toml", "--replace-version", "0", "--idempotency-key", "1"];
    let version = told(&set)["version"].as_u64().unwrap();
    assert_eq!(told(&explain)["version"].as_u64(), Some(version));
    let way = &told(&explain)["ways"][0];
    assert_eq!((way["rule"]["number"].as_u64(), way["lanes"][1].as_str()), (Some(2), Some("bulk")));
    let shown = place.sure(&["links", "rules", "show"]);
    assert!(shown.lines().nth(2).unwrap().contains("node:n1"), "{shown}");
    assert_eq!(place.sure(&["links", "rules", "show", "-o", "name"]), "1\n2\n");

    let late = ["links", "rules", "reset", "--replace-version", "0"];
    place.surely_bad(&late, 1, "Q0308");
    let err = place.surely_bad(&["links", "rules", "set", "wrong.toml"], 1, "Q0208");
    assert!(err.contains("rule 1: `king`"), "{err}");
    place.surely_bad(&["links", "explain", "n1", "n9"], 1, "Q0309");
    place.sure(&["links", "rules", "reset", "--idempotency-key", "2"]);
    assert_eq!(told(&["links", "rules", "show"])["rules"], Value::Array(Vec::new()));

    let links = || told(&["links"])["links"].as_array().unwrap().clone();
    eventually("the first node is linked to both others", || {
        links().iter().filter(|link| link["control"].is_object()).count() == 2
    });
    let names = place.sure(&["links", "-o", "name"]);
    assert_eq!(names.lines().count(), 2, "{names}");
}
