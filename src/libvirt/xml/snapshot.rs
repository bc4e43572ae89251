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
    pub disk: Vec<Disk>,
}

impl From<Vec<Disk>> for Disks {
    fn from(disk: Vec<Disk>) -> Self {
        Self { disk }
    }
}

/// `<disk>`.
#[derive(Debug, Serialize)]
pub struct Disk {
    /// Path of the image, which names the disk.
    #[serde(rename = "@name")]
    pub name: String,
    /// `external`.
    #[serde(rename = "@snapshot")]
    pub snapshot: &'static str,
    /// `<driver>`.
    pub driver: Driver,
    /// `<source>`.
    pub source: Source,
}

/// `<driver>`.
#[derive(Debug, Serialize)]
pub struct Driver {
    /// Format of the new file.
    #[serde(rename = "@type")]
    pub kind: &'static str,
}

/// `<source>`.
#[derive(Debug, Serialize)]
pub struct Source {
    /// The new file.
    #[serde(rename = "@file")]
    pub file: String,
}
