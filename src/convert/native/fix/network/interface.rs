//! The entry of a network card in report.json.

use serde::Serialize;

use crate::model::MacAddress;

/// A network card of the guest, before and after FIX.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(in crate::convert::native) struct FoundInterface {
    /// MAC address of the card; null where the VM has none yet.
    pub(in crate::convert::native) mac: Option<MacAddress>,
    /// Name of the card in the guest's configuration; null where nothing names the card.
    #[serde(rename = "before")]
    pub(in crate::convert::native) name: Option<String>,
    /// Name of the card on KVM, where it is known.
    pub(super) after: Option<String>,
    /// The evidence that links the name to the card.
    pub(super) known_by: Option<&'static str>,
    /// Addresses as configured: `dhcp`, `192.0.2.7/24`, …
    pub(super) addresses: Vec<String>,
    /// The file that keeps the name on KVM; null where the name needs no file.
    pub(super) kept_by: Option<String>,
}
