//! Flags of a stage, as passed on the command line. A later run compares them with its own to
//! decide whether the stage is done.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::super::job::Job;
use crate::exporter::source::SourceSettings;
use crate::model::{Firmware, SourceNic};

/// Flags with values that differ from their defaults, each with its values. A flag that names a
/// file also has the checksum of the file's content.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct Flags(pub BTreeMap<String, Vec<String>>);

impl Flags {
    /// Flag that gives every network card a new address.
    pub(in crate::pipeline) const NEW_MAC: &'static str = "--new-mac";

    /// The flags that override the source's description of the VM with this name. Values are
    /// normalized.
    pub(in crate::pipeline) fn of_export(job: &Job, vm_name: &str) -> Self {
        let mut flags = BTreeMap::new();
        if let SourceSettings::Files(files) = &job.source {
            if let Some(firmware) = files.choice.firmware {
                let word = if firmware == Firmware::Efi { "efi" } else { "bios" };
                flags.insert("--firmware".to_owned(), vec![word.to_owned()]);
            }
            if let Some(nics) = &files.choice.nics {
                let none = nics.is_empty().then(|| "none".to_owned());
                let values = nics.iter().map(card).chain(none).collect();
                flags.insert("--nic".to_owned(), values);
            }
        }
        if let Some(target) = job.target.as_ref().filter(|_| job.new_mac) {
            // The addresses depend on the name of the domain.
            let value = format!("for {}", target.domain_name(vm_name));
            flags.insert(Self::NEW_MAC.to_owned(), vec![value]);
        }
        Self(flags)
    }

    /// The flags whose values differ from `earlier`, each as text for people.
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

    /// The same flags without those in `names` that `now` does not contain.
    #[must_use]
    pub fn without_dropped(&self, names: &[&str], now: &Self) -> Self {
        let dropped = |name: &str| names.contains(&name) && !now.0.contains_key(name);
        let kept = self.0.iter().filter(|(name, _)| !dropped(name));
        Self(kept.map(|(name, values)| (name.clone(), values.clone())).collect())
    }

    /// The same flags without the flag `name`.
    #[must_use]
    pub fn without(&self, name: &str) -> Self {
        let mut flags = self.clone();
        flags.0.remove(name);
        flags
    }

    /// The first value of a flag, if it differs from the default.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.first().map(String::as_str)
    }
}

/// A card in the notation of `--nic`.
fn card(nic: &SourceNic) -> String {
    let mac = nic.mac.map(|mac| format!("{mac}@")).unwrap_or_default();
    let model = nic.asked.as_ref().and_then(|asked| asked.card);
    let model = model.map(|card| format!(",model={}", card.as_str())).unwrap_or_default();
    format!("{mac}{}{model}", nic.network)
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

    #[test]
    fn what_was_asked_for_once_need_not_be_asked_for_again() {
        let then = flags(&[("--boot-proof", "true"), ("--disk-bus", "sata")]);
        let once = ["--boot-proof", "--replace"];
        let differences = |now: &Flags| now.differences(&then.without_dropped(&once, now));
        assert!(differences(&then).is_empty());
        assert!(differences(&flags(&[("--disk-bus", "sata")])).is_empty());
        assert_eq!(differences(&flags(&[])), ["--disk-bus: sata then, default now"]);
        let more = flags(&[("--disk-bus", "sata"), ("--replace", "web01")]);
        assert_eq!(differences(&more), ["--replace: default then, web01 now"]);
    }
}
