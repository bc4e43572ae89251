//! A value of a JSON document that is being checked, with its path and the list of broken rules.
//! The rules themselves are in `rules.rs`.

use serde_json::Value;

use super::Violation;

/// A JSON value, its path, and the list to which broken rules are added.
pub(super) struct JsonNode<'a> {
    pub(super) value: &'a Value,
    path: String,
    found: &'a mut Vec<Violation>,
}

impl<'a> JsonNode<'a> {
    /// The root of the document; broken rules are added to `found`.
    pub(super) fn root(value: &'a Value, found: &'a mut Vec<Violation>) -> Self {
        Self { value, path: String::new(), found }
    }

    /// Records that this value breaks `rule`.
    pub(super) fn broken(&mut self, rule: &str) {
        let path = if self.path.is_empty() { "$" } else { &self.path };
        self.found.push(Violation { path: path.to_owned(), rule: rule.to_owned() });
    }

    /// Records that the value at `step` below this one breaks `rule`.
    pub(super) fn broken_at(&mut self, step: &str, rule: &str) {
        let path = self.below(step);
        self.found.push(Violation { path, rule: rule.to_owned() });
    }

    /// Checks the field `key` with `rule`, if the field exists. A null is always wrong: the
    /// consumer crashes on it.
    pub(super) fn optional(&mut self, key: &str, rule: impl FnOnce(&mut JsonNode<'_>)) {
        let Some(value) = self.value.get(key) else { return };
        let mut field = JsonNode { value, path: self.below(key), found: self.found };
        if value.is_null() {
            field.broken("must not be null: leave the key out");
        } else {
            rule(&mut field);
        }
    }

    /// Checks the field `key` with `rule`; a missing field is a violation.
    pub(super) fn required(&mut self, key: &str, rule: impl FnOnce(&mut JsonNode<'_>)) {
        if self.value.get(key).is_none() {
            self.broken_at(key, "is required");
        } else {
            self.optional(key, rule);
        }
    }

    /// Checks every item of the list with `rule`.
    pub(super) fn each(&mut self, rule: impl Fn(&mut JsonNode<'_>)) {
        let value = self.value;
        let Some(items) = value.as_array() else { return self.broken("must be a list") };
        for (i, item) in items.iter().enumerate() {
            let path = self.below(&format!("[{i}]"));
            rule(&mut JsonNode { value: item, path, found: self.found });
        }
    }

    /// Whether this value is an object; any other value is a violation.
    pub(super) fn is_object(&mut self) -> bool {
        self.must(self.value.is_object(), "must be an object");
        self.value.is_object()
    }

    /// Requires a string that passes `test`.
    pub(super) fn text(&mut self, test: impl FnOnce(&str) -> bool, rule: &str) {
        self.must(self.value.as_str().is_some_and(test), rule);
    }

    /// Requires one of the strings in `words`.
    pub(super) fn one_of(&mut self, words: &[&str]) {
        self.text(|text| words.contains(&text), &format!("must be {}", words.join(" or ")));
    }

    /// Requires an integer of at least `least`. The limit `most` is not named in the violation.
    pub(super) fn at_least(&mut self, least: u64, most: u64) {
        let fits = self.value.as_u64().is_some_and(|n| (least..=most).contains(&n));
        self.must(fits, &format!("must be an integer of at least {least}"));
    }

    /// Requires an integer from `least` to `most`.
    pub(super) fn between(&mut self, least: u64, most: u64) {
        let fits = self.value.as_u64().is_some_and(|n| (least..=most).contains(&n));
        self.must(fits, &format!("must be an integer from {least} to {most}"));
    }

    /// Requires an object whose `keys` are booleans if they exist.
    pub(super) fn flags(&mut self, keys: &[&str]) {
        if self.is_object() {
            keys.iter().for_each(|key| self.optional(key, boolean));
        }
    }

    fn must(&mut self, fits: bool, rule: &str) {
        if !fits {
            self.broken(rule);
        }
    }

    fn below(&self, step: &str) -> String {
        let dot = if self.path.is_empty() || step.starts_with('[') { "" } else { "." };
        format!("{}{dot}{step}", self.path)
    }
}

pub(super) fn string(node: &mut JsonNode<'_>) {
    node.must(node.value.is_string(), "must be a string");
}

pub(super) fn boolean(node: &mut JsonNode<'_>) {
    node.must(node.value.is_boolean(), "must be true or false");
}

/// Requires an RFC 3339 time.
pub(super) fn timestamp(node: &mut JsonNode<'_>) {
    node.text(|text| text.parse::<jiff::Timestamp>().is_ok(), "must be an RFC 3339 time");
}
