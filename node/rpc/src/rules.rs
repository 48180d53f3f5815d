//! Who may call what.

use std::fmt;

use quorate_vocab::NodeId;

/// Knows the roles of other nodes. The hall implements it.
pub trait Roles: Send + Sync + 'static {
    /// The proven role of a node; `None` when it has none that is known.
    fn role_of(&self, node: NodeId) -> Option<String>;
}

/// Nobody has a role.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nobody;

impl Roles for Nobody {
    fn role_of(&self, _: NodeId) -> Option<String> {
        None
    }
}

/// Lets those of a role call some functions, or forbids it to them. In both patterns a `*` at the end stands
/// for anything; who has no role is met by `*` only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Whether it lets them.
    pub allow: bool,
    /// Which functions.
    pub function: String,
    /// Which roles.
    pub role: String,
}

/// Rules in order: the first one that fits decides, and where none does the call is allowed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Rules(Vec<Rule>);

impl Rules {
    /// No rules: all may call all.
    pub fn new() -> Self {
        Self::default()
    }

    /// Those before, and then this: a role may call these functions.
    pub fn allow(self, function: &str, role: &str) -> Self {
        self.then(true, function, role)
    }

    /// Those before, and then this: a role may not call these functions.
    pub fn deny(self, function: &str, role: &str) -> Self {
        self.then(false, function, role)
    }

    fn then(mut self, allow: bool, function: &str, role: &str) -> Self {
        self.0.push(Rule { allow, function: function.to_owned(), role: role.to_owned() });
        self
    }

    /// Whether a role may call a function.
    pub fn allows(&self, function: &str, role: Option<&str>) -> bool {
        let fits = |rule: &&Rule| {
            let role_fits = match role {
                Some(role) => matches(&rule.role, role),
                None => rule.role == "*",
            };
            role_fits && matches(&rule.function, function)
        };
        self.0.iter().find(fits).is_none_or(|rule| rule.allow)
    }
}

impl fmt::Debug for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.0).finish()
    }
}

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => pattern == name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_rule_that_fits_decides() {
        let rules =
            Rules::new().allow("image.resize", "edge").deny("image.*", "edge").deny("*", "guest");
        for (function, role, allowed) in [
            ("image.resize", Some("edge"), true),
            ("image.delete", Some("edge"), false),
            ("imagine", Some("edge"), true),
            ("image.delete", Some("member"), true),
            ("anything", Some("guest"), false),
            ("anything", None, true),
        ] {
            assert_eq!(rules.allows(function, role), allowed, "{function} {role:?}");
        }
        let closed = Rules::new().allow("ping", "*").deny("*", "*");
        assert!(closed.allows("ping", None) && !closed.allows("pong", None));
        assert!(!closed.allows("ping2", Some("member")));
    }
}
