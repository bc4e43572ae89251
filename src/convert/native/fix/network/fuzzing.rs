//! A door for `make fuzz`: each form of network configuration.

use super::claim::NOWHERE;
use super::forms::{self, Form, Text};
use super::survey::Survey;

/// Every form there is.
const ALL: [Form; 26] = [
    Form::CloudInit,
    Form::CloudInstance,
    Form::CommandLine,
    Form::DhclientConf,
    Form::DhclientLeases,
    Form::DhcpcdConf,
    Form::DhcpcdLease,
    Form::Etcnet,
    Form::Ifcfg,
    Form::Ifupdown,
    Form::Link,
    Form::Mactab,
    Form::NetDev,
    Form::Netctl,
    Form::Netifrc,
    Form::Netplan,
    Form::Network,
    Form::NetworkManagerConf,
    Form::NetworkManagerLease,
    Form::Nmstate,
    Form::Profile,
    Form::Rules,
    Form::Service,
    Form::Slackware,
    Form::Wicked,
    Form::WickedLease,
];

/// Reads a text in every form. Each place that a reader gives must lie in its text.
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
