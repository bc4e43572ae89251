//! A place in a JSON document that is being checked: it knows its path, and where broken rules go.
//! The rules themselves are in `rules.rs`.

use serde_json::Value;

use super::Violation;

/// A value, its path, and the list that broken rules go to.
pub(super) struct JsonNode<'a> {
    pub(super) value: &'a Value,
    path: String,
    found: &'a mut Vec<Violation>,
}

impl<'a> JsonNode<'a> {
    /// The document itself; broken rules go to `found`.
    pub(super) fn root(value: &'a Value, found: &'a mut Vec<Violation>) -> Self {
        Self { value, path: String::new(), found }
    }

    /// Notes that this place breaks `rule`.
    pub(super) fn broken(&mut self, rule: &str) {
        let path = if self.path.is_empty() { "$" } else { &self.path };
        self.found.push(Violation { path: path.to_owned(), rule: rule.to_owned() });
    }

    /// Notes that the place `step` below this one breaks `rule`.
    pub(super) fn broken_at(&mut self, step: &str, rule: &str) {
        let path = self.below(step);
        self.found.push(Violation { path, rule: rule.to_owned() });
    }

    /// Holds the field `key` to `rule`, if it is there. A null is always wrong: the consumer
    /// crashes on it.
    pub(super) fn optional(&mut self, key: &str, rule: impl FnOnce(&mut JsonNode<'_>)) {
        let Some(value) = self.value.get(key) else { return };
        let mut field = JsonNode { value, path: self.below(key), found: self.found };
        if value.is_null() {
            field.broken("must not be null: leave the key out");
        } else {
            rule(&mut field);
        }
    }

    /// Holds the field `key` to `rule`; it must be there.
    pub(super) fn required(&mut self, key: &str, rule: impl FnOnce(&mut JsonNode<'_>)) {
        if self.value.get(key).is_none() {
            self.broken_at(key, "is required");
        } else {
            self.optional(key, rule);
        }
    }

    /// Holds every item of the list to `rule`.
    pub(super) fn each(&mut self, rule: impl Fn(&mut JsonNode<'_>)) {
        let value = self.value;
        let Some(items) = value.as_array() else { return self.broken("must be a list") };
        for (i, item) in items.iter().enumerate() {
            let path = self.below(&format!("[{i}]"));
            rule(&mut JsonNode { value: item, path, found: self.found });
        }
    }

    /// Whether this is an object; it must be.
    pub(super) fn is_object(&mut self) -> bool {
        self.must(self.value.is_object(), "must be an object");
        self.value.is_object()
    }

    /// A text that passes `test`.
    pub(super) fn text(&mut self, test: impl FnOnce(&str) -> bool, rule: &str) {
        self.must(self.value.as_str().is_some_and(test), rule);
    }

    /// One of some words.
    pub(super) fn one_of(&mut self, words: &[&str]) {
        self.text(|text| words.contains(&text), &format!("must be {}", words.join(" or ")));
    }

    /// An integer of at least `least`.
    pub(super) fn at_least(&mut self, least: u64, most: u64) {
        let fits = self.value.as_u64().is_some_and(|n| (least..=most).contains(&n));
        self.must(fits, &format!("must be an integer of at least {least}"));
    }

    /// An integer of a small range.
    pub(super) fn between(&mut self, least: u64, most: u64) {
        let fits = self.value.as_u64().is_some_and(|n| (least..=most).contains(&n));
        self.must(fits, &format!("must be an integer from {least} to {most}"));
    }

    /// An object whose `keys` are true or false where they are there.
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

/// A string.
pub(super) fn string(node: &mut JsonNode<'_>) {
    node.must(node.value.is_string(), "must be a string");
}

/// True or false.
pub(super) fn boolean(node: &mut JsonNode<'_>) {
    node.must(node.value.is_boolean(), "must be true or false");
}

/// A point in time.
pub(super) fn timestamp(node: &mut JsonNode<'_>) {
    node.text(|text| text.parse::<jiff::Timestamp>().is_ok(), "must be an RFC 3339 time");
}
