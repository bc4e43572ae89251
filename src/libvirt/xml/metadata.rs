//! `<metadata>`: elements in the namespaces of other programs, which libvirt preserves.

use serde::Serialize;

/// Namespace of libosinfo in domains.
pub const LIBOSINFO: &str = "http://libosinfo.org/xmlns/libvirt/domain/1.0";
/// Namespace of hyperexport in domains.
pub const HYPEREXPORT: &str = "urn:hyperexport:domain:1.0";

/// `<metadata>`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Metadata {
    /// Guest operating system, for virt-manager and other tools.
    #[serde(rename = "libosinfo:libosinfo", skip_serializing_if = "Option::is_none")]
    pub libosinfo: Option<Libosinfo>,
    /// Origin of the domain.
    #[serde(rename = "hyperexport:hyperexport")]
    pub hyperexport: Hyperexport,
}

/// `<libosinfo:libosinfo>`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Libosinfo {
    /// [`LIBOSINFO`].
    #[serde(rename = "@xmlns:libosinfo")]
    pub namespace: &'static str,
    /// Guest operating system.
    #[serde(rename = "libosinfo:os")]
    pub os: OsId,
}

/// `<libosinfo:os>`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OsId {
    /// ID in libosinfo's database: `http://microsoft.com/win/2k22`.
    #[serde(rename = "@id")]
    pub id: String,
}

/// `<hyperexport:hyperexport>`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Hyperexport {
    /// [`HYPEREXPORT`].
    #[serde(rename = "@xmlns:hyperexport")]
    pub namespace: &'static str,
    /// Version of hyperexport.
    #[serde(rename = "@version")]
    pub version: &'static str,
    /// Mark that distinguishes the domain from any other with its UUID, if the UUID is that of the
    /// source.
    #[serde(rename = "@definition", skip_serializing_if = "Option::is_none")]
    pub definition: Option<String>,
    /// Source VM.
    #[serde(rename = "hyperexport:source")]
    pub source: ExportSource,
    /// Export that the domain was created from.
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
    /// ID of the VM in its source: a moref for vSphere.
    #[serde(rename = "@moref")]
    pub moref: String,
    /// Inventory path of the VM.
    #[serde(rename = "@path", skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// `config.instanceUuid` of the VM.
    #[serde(rename = "@instance-uuid", skip_serializing_if = "Option::is_none")]
    pub instance_uuid: Option<String>,
}

/// `<hyperexport:export>`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ExportMetadata {
    /// When the export finished (RFC 3339).
    #[serde(rename = "@time")]
    pub time: String,
}
