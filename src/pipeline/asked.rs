//! What was asked of a stage, as the command line says it: a later run compares it with what is asked
//! of it, and so knows whether the stage is done.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Flags whose values are not those that they have by default, each with its values. A flag that names
/// a file has the sum of its content, too.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Flags(pub BTreeMap<String, Vec<String>>);

impl Flags {
    /// The flags that are asked for otherwise than `earlier`, for people.
    pub fn differences(&self, earlier: &Self) -> Vec<String> {
        let said = |flags: &Self, name: &str| {
            flags.0.get(name).map(|values| values.join(" ")).unwrap_or_else(|| "default".to_owned())
        };
        let mut names: Vec<_> = self.0.keys().chain(earlier.0.keys()).collect();
        names.sort();
        names.dedup();
        names
            .into_iter()
            .filter(|name| self.0.get(*name) != earlier.0.get(*name))
            .map(|name| format!("{name}: {} then, {} now", said(earlier, name), said(self, name)))
            .collect()
    }

    /// The same without one of them.
    #[must_use]
    pub fn without(&self, name: &str) -> Self {
        let mut flags = self.clone();
        flags.0.remove(name);
        flags
    }

    /// The first value of a flag, if it is asked for otherwise than by default.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.first().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(list: &[(&str, &str)]) -> Flags {
        let flag = |(name, value): &(&str, &str)| ((*name).to_owned(), vec![(*value).to_owned()]);
        Flags(list.iter().map(flag).collect())
    }

    #[test]
    fn differences_name_the_flag_and_both_values() {
        let then = flags(&[("--compress-type", "zlib"), ("--hostname", "a")]);
        let now = flags(&[("--hostname", "b")]);
        assert_eq!(
            now.differences(&then),
            ["--compress-type: zlib then, default now", "--hostname: a then, b now"]
        );
        assert!(now.differences(&now).is_empty());
    }
}
