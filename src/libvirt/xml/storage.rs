//! `<pool>` and `<volume>` (<https://libvirt.org/formatstorage.html>).

use serde::{Deserialize, Serialize};

/// Devices are made of as many bytes as a multiple of this, which every volume manager can.
const DEVICE_BLOCK: u64 = 1 << 20;

/// `<pool>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    /// `dir`, `fs`, `logical`, …
    #[serde(rename = "@type")]
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uuid: Option<String>,
    /// Where its volumes appear.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<PoolTarget>,
}

/// `<target>` of a pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolTarget {
    /// Absolute path on the host.
    #[serde(default)]
    pub path: String,
    /// Whose it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permissions: Option<Permissions>,
}

/// `<permissions>` of a pool or volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Permissions {
    /// In octal: `0711`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// Number of the user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<u32>,
    /// Number of the group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<u32>,
}

/// `<volume>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// Its name: for a pool of files the file name.
    pub name: String,
    /// Size that a guest sees.
    pub capacity: Bytes,
    /// Space that it takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allocation: Option<Bytes>,
    /// What it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<VolumeTarget>,
    /// The image that it depends on.
    #[serde(default, rename = "backingStore", skip_serializing_if = "Option::is_none")]
    pub backing_store: Option<BackingStore>,
}

impl Volume {
    /// A new volume of `size` bytes that takes bytes as they come.
    pub fn raw(name: &str, size: u64) -> Self {
        Self {
            name: name.to_owned(),
            capacity: Bytes { unit: "bytes".to_owned(), value: size },
            allocation: Some(Bytes { unit: "bytes".to_owned(), value: 0 }),
            target: Some(VolumeTarget {
                format: Some(Format { kind: "raw".to_owned() }),
                permissions: None,
                timestamps: None,
            }),
            backing_store: None,
        }
    }

    /// The same for that user and group, with that mode.
    pub fn owned(mut self, owner: u32, group: u32, mode: u32) -> Self {
        let mode = Some(format!("{mode:04o}"));
        let permissions = Permissions { mode, owner: Some(owner), group: Some(group) };
        if let Some(target) = &mut self.target {
            target.permissions = Some(permissions);
        }
        self
    }

    /// A new block device of at least `size` bytes, all of them its own. ZFS makes only whole
    /// blocks of a few KiB, and does not round up by itself.
    pub fn device(name: &str, size: u64) -> Self {
        let size = size.next_multiple_of(DEVICE_BLOCK);
        let size = Bytes { unit: "bytes".to_owned(), value: size };
        Self { capacity: size.clone(), allocation: Some(size), target: None, ..Self::raw(name, 0) }
    }

    /// When it was written to last, if libvirt knows.
    pub fn changed(&self) -> Option<String> {
        let timestamps = self.target.as_ref()?.timestamps.as_ref()?;
        Some(timestamps.mtime.clone()).filter(|time| !time.is_empty())
    }

    /// The image format that libvirt found, if the pool has formats.
    pub fn format(&self) -> Option<&str> {
        self.target.as_ref()?.format.as_ref().map(|format| format.kind.as_str())
    }
}

/// A size. libvirt always answers in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bytes {
    /// `bytes`.
    #[serde(rename = "@unit")]
    pub unit: String,
    /// In that unit.
    #[serde(rename = "$text")]
    pub value: u64,
}

/// `<target>` of a volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeTarget {
    /// Image format.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<Format>,
    /// Whose it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permissions: Option<Permissions>,
    /// When it was used, for a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamps: Option<Timestamps>,
}

/// `<timestamps>` of a volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timestamps {
    /// When it was written to last, in seconds since 1970 and a fraction.
    #[serde(default)]
    pub mtime: String,
}

/// `<backingStore>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackingStore {
    /// Absolute path of that image.
    #[serde(default)]
    pub path: String,
}

/// `<format>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Format {
    /// `qcow2`, `raw`, …
    #[serde(rename = "@type")]
    pub kind: String,
}
