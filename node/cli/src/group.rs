//! The group: let another node lead, and take out one that will not come back.

use serde_json::json;
use ureq::http::Method;

use crate::args::View;
use crate::client::{Ask, Client, encoded};
use crate::fail::Done;
use crate::output::{self, column, shown};

/// `quorate leader step-down`
pub(crate) fn step_down(view: &View, to: Option<&str>) -> Done {
    let body = to.map_or_else(|| json!({}), |to| json!({ "to": to }));
    let ask = Ask::write(Method::POST, "/v1/leader/step-down", Some(&body), None);
    let mut leader = Client::new(&view.reach)?.ask(&ask)?.body;
    leader["name"] = leader["leader"].clone();
    output::one(view.output.format, &leader, &[column("LEADER", |body| shown(&body["leader"]))])
}

/// `quorate node remove`
pub(crate) fn remove(view: &View, node: &str) -> Done {
    let path = format!("/v1/nodes/{}", encoded(node));
    Client::new(&view.reach)?.ask(&Ask::write(Method::DELETE, path, None, None))?;
    output::talk(&format!("{node} is taken out"));
    Ok(())
}
