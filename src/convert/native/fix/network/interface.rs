//! What report.json says of a network card.

use serde::Serialize;

use crate::model::MacAddress;

/// One network card of the guest, before and after.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(in crate::convert::native) struct FoundInterface {
    /// None where the VM has not been given one.
    pub(in crate::convert::native) mac: Option<MacAddress>,
    /// The name that the guest's configuration gives it; none where nothing names it.
    #[serde(rename = "before")]
    pub(in crate::convert::native) name: Option<String>,
    /// The name that it will have on KVM, where that is known.
    pub(super) after: Option<String>,
    /// What told that this name is of this address.
    pub(super) known_by: Option<&'static str>,
    /// How it gets its addresses, as configured: `dhcp`, `192.0.2.7/24`, …
    pub(super) addresses: Vec<String>,
    /// The file that keeps the name; none where the name needs no help.
    pub(super) kept_by: Option<String>,
}
