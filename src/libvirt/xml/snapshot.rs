//! `<domainsnapshot>` (<https://libvirt.org/formatsnapshot.html>).

use serde::Serialize;

/// `<domainsnapshot>`.
#[derive(Debug, Serialize)]
pub struct DomainSnapshot {
    /// `<name>`: name of the snapshot.
    pub name: String,
    /// `<description>`: text for people.
    pub description: &'static str,
    /// `<disks>`: present for an external snapshot only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disks: Option<Disks>,
}

/// `<disks>`.
#[derive(Debug, Serialize)]
pub struct Disks {
    /// `<disk>` elements, one for each disk of the domain.
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
    /// Path of the image, which identifies the disk.
    #[serde(rename = "@name")]
    pub name: String,
    /// `external`.
    #[serde(rename = "@snapshot")]
    pub snapshot: &'static str,
    /// `<driver>`: format of the overlay.
    pub driver: SnapshotDriver,
    /// `<source>`: path of the overlay.
    pub source: SnapshotSource,
}

/// `<driver>`.
#[derive(Debug, Serialize)]
pub struct SnapshotDriver {
    /// Format of the overlay.
    #[serde(rename = "@type")]
    pub kind: &'static str,
}

/// `<source>`.
#[derive(Debug, Serialize)]
pub struct SnapshotSource {
    /// Path of the overlay.
    #[serde(rename = "@file")]
    pub file: String,
}
