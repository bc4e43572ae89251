//! `<pool>` and `<volume>` (<https://libvirt.org/formatstorage.html>).

use serde::{Deserialize, Serialize};

/// Sizes of devices are rounded up to a multiple of this, which every volume manager supports.
const DEVICE_BLOCK: u64 = 1 << 20;

/// `<pool>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    /// `dir`, `fs`, `logical`, …
    #[serde(rename = "@type")]
    pub kind: String,
    /// Name of the pool.
    pub name: String,
    /// UUID of the pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uuid: Option<String>,
    /// Location of the volumes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<PoolTarget>,
}

/// `<target>` of a pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolTarget {
    /// Absolute path on the daemon's host.
    #[serde(default)]
    pub path: String,
    /// Owner, group and mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permissions: Option<Permissions>,
}

/// `<permissions>` of a pool or volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Permissions {
    /// File mode in octal: `0711`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// User ID of the owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<u32>,
    /// Group ID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<u32>,
}

/// `<volume>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// Name of the volume; in a pool of files the file name.
    pub name: String,
    /// Size that the guest sees.
    pub capacity: Bytes,
    /// Bytes that the volume occupies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allocation: Option<Bytes>,
    /// Format, permissions and timestamps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<VolumeTarget>,
    /// Backing file of an overlay.
    #[serde(default, rename = "backingStore", skip_serializing_if = "Option::is_none")]
    pub backing_store: Option<BackingStore>,
}

impl Volume {
    /// A new raw volume of `size` bytes.
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

    /// The same volume with that owner, group and mode.
    pub fn owned(mut self, owner: u32, group: u32, mode: u32) -> Self {
        let mode = Some(format!("{mode:04o}"));
        let permissions = Permissions { mode, owner: Some(owner), group: Some(group) };
        if let Some(target) = &mut self.target {
            target.permissions = Some(permissions);
        }
        self
    }

    /// A new, fully allocated block device of at least `size` bytes. ZFS accepts only multiples of
    /// its block size of a few KiB, and does not round up.
    pub fn device(name: &str, size: u64) -> Self {
        let size = size.next_multiple_of(DEVICE_BLOCK);
        let size = Bytes { unit: "bytes".to_owned(), value: size };
        Self { capacity: size.clone(), allocation: Some(size), target: None, ..Self::raw(name, 0) }
    }

    /// Time of the last write, if libvirt reports it.
    pub fn changed(&self) -> Option<String> {
        let timestamps = self.target.as_ref()?.timestamps.as_ref()?;
        Some(timestamps.mtime.clone()).filter(|time| !time.is_empty())
    }

    /// Image format that libvirt detected, if the pool supports formats.
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
    /// Size in that unit.
    #[serde(rename = "$text")]
    pub value: u64,
}

/// `<target>` of a volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeTarget {
    /// Image format; absent if the pool has no formats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<Format>,
    /// Owner, group and mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permissions: Option<Permissions>,
    /// Times of the file's last use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamps: Option<Timestamps>,
}

/// `<timestamps>` of a volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timestamps {
    /// Time of the last write, in seconds since 1970 with a fraction.
    #[serde(default)]
    pub mtime: String,
}

/// `<backingStore>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackingStore {
    /// Absolute path of the backing file.
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
