//! `<metadata>`: elements of other programs' namespaces, which libvirt keeps as they are.

use serde::Serialize;

/// libosinfo's namespace in domains.
pub const LIBOSINFO: &str = "http://libosinfo.org/xmlns/libvirt/domain/1.0";
/// Ours.
pub const HYPEREXPORT: &str = "urn:hyperexport:domain:1.0";

/// `<metadata>`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Metadata {
    /// What the guest is, for virt-manager and others.
    #[serde(rename = "libosinfo:libosinfo", skip_serializing_if = "Option::is_none")]
    pub libosinfo: Option<Libosinfo>,
    /// Where the domain came from.
    #[serde(rename = "hyperexport:hyperexport")]
    pub hyperexport: Hyperexport,
}

/// `<libosinfo:libosinfo>`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Libosinfo {
    /// [`LIBOSINFO`].
    #[serde(rename = "@xmlns:libosinfo")]
    pub namespace: &'static str,
    /// The guest.
    #[serde(rename = "libosinfo:os")]
    pub os: OsId,
}

/// `<libosinfo:os>`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OsId {
    /// An id of libosinfo's database: `http://microsoft.com/win/2k22`.
    #[serde(rename = "@id")]
    pub id: String,
}

/// `<hyperexport:hyperexport>`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Hyperexport {
    /// [`HYPEREXPORT`].
    #[serde(rename = "@xmlns:hyperexport")]
    pub namespace: &'static str,
    /// Version of this program.
    #[serde(rename = "@version")]
    pub version: &'static str,
    /// What tells the domain from any other that has its UUID, where that is the source's.
    #[serde(rename = "@definition", skip_serializing_if = "Option::is_none")]
    pub definition: Option<String>,
    /// The source.
    #[serde(rename = "hyperexport:source")]
    pub source: ExportSource,
    /// The export.
    #[serde(rename = "hyperexport:export", skip_serializing_if = "Option::is_none")]
    pub export: Option<ExportMetadata>,
}

/// `<hyperexport:source>`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ExportSource {
    /// `vsphere`, …
    #[serde(rename = "@provider")]
    pub provider: String,
    /// Host name or address of the vCenter or ESXi host.
    #[serde(rename = "@server", skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// The source's own id.
    #[serde(rename = "@moref")]
    pub moref: String,
    /// Inventory path.
    #[serde(rename = "@path", skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// `config.instanceUuid`.
    #[serde(rename = "@instance-uuid", skip_serializing_if = "Option::is_none")]
    pub instance_uuid: Option<String>,
}

/// `<hyperexport:export>`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ExportMetadata {
    /// When it was complete (RFC 3339).
    #[serde(rename = "@time")]
    pub time: String,
}
