//! Filters a list of VMs.

use glob::{MatchOptions, Pattern};

use super::VmSummary;
use crate::model::PowerState;

/// Conditions for a VM to be listed, all of which must be met.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Pattern of the VM's name with `*`, `?` and `[…]`, ignoring case.
    pub name: Option<Pattern>,
    /// Folder that contains the VM, directly or indirectly: an inventory path such as
    /// `/DC0/vm/Prod`, or its part after the datacenter's `vm`, such as `Prod`.
    pub folder: Option<String>,
    /// Power state of the VM.
    pub power: Option<PowerState>,
    /// Names and values of the VM's custom attributes.
    pub attributes: Vec<(String, String)>,
    /// Tags of the VM, as `NAME` or `CATEGORY=NAME`.
    pub tags: Vec<String>,
}

impl Filter {
    /// Whether `vm` meets all conditions.
    pub fn takes(&self, vm: &VmSummary) -> bool {
        let any_case = MatchOptions {
            case_sensitive: false,
            require_literal_separator: false,
            ..MatchOptions::new()
        };
        self.name.as_ref().is_none_or(|name| name.matches_with(&vm.name, any_case))
            && self.power.is_none_or(|power| power == vm.power)
            && self.attributes.iter().all(|(name, value)| vm.attributes.get(name) == Some(value))
            && self.tags.iter().all(|tag| vm.tags.iter().any(|has| has.is_meant_by(tag)))
            && self.folder.as_ref().is_none_or(|folder| is_below(vm.path.as_deref(), folder))
    }
}

fn is_below(path: Option<&str>, folder: &str) -> bool {
    let Some(path) = path else { return false };
    let whole = folder.starts_with('/');
    let path = match path.split_once("/vm/") {
        Some((_, below)) if !whole => below,
        _ => path,
    };
    path.strip_prefix(folder.trim_end_matches('/')).is_some_and(|rest| rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vm(name: &str, path: Option<&str>, power: PowerState) -> VmSummary {
        VmSummary {
            name: name.to_owned(),
            path: path.map(str::to_owned),
            moref: "vm-1".to_owned(),
            power,
            cpu: None,
            memory_mib: None,
            guest: None,
            disks: None,
            size: None,
            attributes: std::collections::BTreeMap::new(),
            tags: Vec::new(),
        }
    }

    #[test]
    fn all_that_is_given_must_hold() {
        let web = vm("Web/01", Some("/DC0/vm/Prod/Web/Web%2f01"), PowerState::On);
        let lost = vm("web02", None, PowerState::Off);
        let name = |text: &str| Filter {
            name: Some(Pattern::new(text).expect("a pattern")),
            ..Filter::default()
        };
        assert!(name("web*").takes(&web) && name("web?[0-9]*").takes(&web));
        assert!(!name("web").takes(&web));
        let folder = |text: &str| Filter { folder: Some(text.to_owned()), ..Filter::default() };
        for (path, below) in [
            ("/DC0/vm/Prod", true),
            ("/DC0/vm/Prod/", true),
            ("Prod/Web", true),
            ("Pro", false),
            ("/DC1/vm/Prod", false),
            ("Web", false),
        ] {
            assert_eq!(folder(path).takes(&web), below, "{path}");
            assert!(!folder(path).takes(&lost));
        }
        let off = Filter { power: Some(PowerState::Off), ..name("*") };
        assert!(off.takes(&lost) && !off.takes(&web));
    }
}
