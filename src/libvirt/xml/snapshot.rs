//! `<domainsnapshot>` (<https://libvirt.org/formatsnapshot.html>).

use serde::Serialize;

/// `<domainsnapshot>`.
#[derive(Debug, Serialize)]
pub struct DomainSnapshot {
    /// `<name>`.
    pub name: String,
    /// `<description>`.
    pub description: &'static str,
    /// `<disks>`: only of an external one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disks: Option<Disks>,
}

/// `<disks>`.
#[derive(Debug, Serialize)]
pub struct Disks {
    /// `<disk>`s.
    pub disk: Vec<SnapshotDisk>,
}

impl From<Vec<SnapshotDisk>> for Disks {
    fn from(disk: Vec<SnapshotDisk>) -> Self {
        Self { disk }
    }
}

/// `<disk>`.
#[derive(Debug, Serialize)]
pub struct SnapshotDisk {
    /// Path of the image, which names the disk.
    #[serde(rename = "@name")]
    pub name: String,
    /// `external`.
    #[serde(rename = "@snapshot")]
    pub snapshot: &'static str,
    /// `<driver>`.
    pub driver: SnapshotDriver,
    /// `<source>`.
    pub source: SnapshotSource,
}

/// `<driver>`.
#[derive(Debug, Serialize)]
pub struct SnapshotDriver {
    /// Format of the new file.
    #[serde(rename = "@type")]
    pub kind: &'static str,
}

/// `<source>`.
#[derive(Debug, Serialize)]
pub struct SnapshotSource {
    /// The new file.
    #[serde(rename = "@file")]
    pub file: String,
}
