//! An entry point for `make fuzz`: each form of network configuration.

use super::claim::NOWHERE;
use super::forms::{self, ALL, Text};
use super::survey::Survey;

/// Reads a text in every form. Each place that a reader returns must be within its text.
pub(in crate::convert::native::fix) fn text(text: &str) {
    for form in ALL {
        let path = "/etc/sysconfig/network/ifcfg-eth0".to_owned();
        let says = forms::read(&[&Text { form, path, text: text.to_owned() }]);
        for claim in says.iter().flat_map(|says| &says.claims) {
            let names = claim.names.iter().map(|name| name.at.clone());
            let macs = claim.macs.iter().map(|spot| spot.edit.at.clone());
            let mut all = names.chain(macs);
            assert!(all.all(|at| at == NOWHERE || text.get(at).is_some()), "{form:?}");
        }
        Survey::of(&says, &[]);
    }
}
