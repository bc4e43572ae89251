//! Selects a VM by name, inventory path or moref.

use super::super::soap::args::Moref;
use super::inventory_names::decode_name;
use crate::exporter::Error;

/// Maximum number of similar names shown for a name that does not exist.
const MOST_NEAR: usize = 3;

pub(in crate::exporter::vsphere) struct VmCandidate {
    pub(in crate::exporter::vsphere) moref: Moref,
    /// Name as vSphere escapes it.
    pub(in crate::exporter::vsphere) raw_name: String,
    pub(in crate::exporter::vsphere) place: InventoryLocation,
}

impl VmCandidate {
    /// Names match as shown and as vSphere escapes them (`a/b` and `a%2fb`).
    fn is_meant_by(&self, selector: &str) -> bool {
        let path = self.place.path.as_deref().is_some_and(|path| {
            let path = path.trim_start_matches('/');
            let wanted = selector.trim_start_matches('/');
            selector.contains('/') && (path == wanted || decode_name(path) == wanted)
        });
        path || self.moref.id == selector
            || self.raw_name == selector
            || decode_name(&self.raw_name) == selector
    }

    fn label(&self) -> String {
        let path = self.place.path.as_deref().unwrap_or(&self.raw_name);
        format!("{path} ({})", self.moref.id)
    }
}

/// Index of the only candidate that `selector` matches.
///
/// # Errors
/// [`Error::NotFound`] with similar names, [`Error::Ambiguous`] with all paths.
pub(in crate::exporter::vsphere) fn select(
    selector: &str,
    candidates: &[VmCandidate],
) -> Result<usize, Error> {
    let hits: Vec<usize> =
        (0..candidates.len()).filter(|&i| candidates[i].is_meant_by(selector)).collect();
    match hits[..] {
        [one] => Ok(one),
        [] => {
            Err(Error::NotFound { selector: selector.to_owned(), near: near(selector, candidates) })
        }
        _ => {
            let mut paths: Vec<_> = hits.iter().map(|&i| candidates[i].label()).collect();
            paths.sort();
            Err(Error::Ambiguous { selector: selector.to_owned(), paths })
        }
    }
}

/// Paths of VMs whose names differ from the selector by case, a part, or a typing error.
fn near(selector: &str, candidates: &[VmCandidate]) -> Vec<String> {
    let wanted = selector.rsplit('/').next().unwrap_or(selector).to_lowercase();
    let mut ranked: Vec<(usize, String)> = candidates
        .iter()
        .filter_map(|candidate| {
            let name = decode_name(&candidate.raw_name).to_lowercase();
            let apart = distance(&wanted, &name);
            let part = wanted.len() > 2 && (name.contains(&wanted) || wanted.contains(&name));
            let close = part || apart <= 1 + wanted.chars().count() / 4;
            close.then(|| (apart, candidate.label()))
        })
        .collect();
    ranked.sort();
    ranked.into_iter().take(MOST_NEAR).map(|(_, label)| label).collect()
}

/// Levenshtein's distance: single characters added, dropped or changed.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let changed = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// Inventory location of a VM.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::exporter::vsphere) struct InventoryLocation {
    /// Inventory path with names as vSphere escapes them: a `/` inside a name is `%2f`.
    pub(in crate::exporter::vsphere) path: Option<String>,
    pub(in crate::exporter::vsphere) datacenter: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Hint;

    fn candidates(vms: &[(&str, &str)]) -> Vec<VmCandidate> {
        vms.iter()
            .map(|(moref, path)| VmCandidate {
                moref: Moref::new("VirtualMachine", moref),
                raw_name: path.rsplit('/').next().expect("a name").to_owned(),
                place: InventoryLocation { path: Some((*path).to_owned()), datacenter: None },
            })
            .collect()
    }

    #[test]
    fn a_vm_is_found_by_name_path_and_moref() {
        let vms =
            candidates(&[("vm-1", "/DC/vm/a%2fb"), ("vm-2", "/DC/vm/c"), ("vm-3", "/E/vm/d")]);
        for (selector, index) in
            [("a/b", 0), ("a%2fb", 0), ("/DC/vm/a/b", 0), ("DC/vm/c", 1), ("vm-3", 2)]
        {
            assert_eq!(select(selector, &vms).expect("one"), index, "{selector}");
        }
    }

    #[test]
    fn several_vms_of_one_name_are_listed() {
        let vms = candidates(&[("vm-2", "/DC/vm/B/dup"), ("vm-1", "/DC/vm/A/dup")]);
        let error = select("dup", &vms).expect_err("ambiguous");
        assert_eq!(
            error.to_string(),
            "'dup' matches 2 VMs: /DC/vm/A/dup (vm-1), /DC/vm/B/dup (vm-2)"
        );
    }

    #[test]
    fn a_missing_vm_comes_with_similar_names() {
        let vms = candidates(&[("vm-1", "/DC/vm/web01"), ("vm-2", "/DC/vm/database")]);
        let hint = |selector| select(selector, &vms).expect_err("none").hint().expect("one");
        assert_eq!(hint("Web-01"), "use one of the similar names: /DC/vm/web01 (vm-1)");
        assert_eq!(hint("data"), "use one of the similar names: /DC/vm/database (vm-2)");
        assert!(hint("mail").contains("hyperexport list"));
    }
}
