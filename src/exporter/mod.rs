//! Where VMs come from. `vsphere` speaks SOAP to a vCenter or an ESXi host and knows inventory and
//! export leases; `files` reads OVA, OVF, VMX and disk images; `transfer` brings a disk from an
//! HTTPS address into a checked file; `tls` decides whom to trust. Nothing here knows what happens
//! to a VM afterwards.

mod address;
mod blocking;
mod boot_order;
mod certificate;
mod content;
mod error;
mod export_blocker;
mod files;
mod filter;
mod finished_disk;
#[cfg(fuzzing)]
pub mod fuzzing;
mod guest_os;
mod hint;
mod hosts;
mod identity;
mod incoming_disk;
mod inspected;
pub(crate) mod libvirt_source;
mod limit;
mod nvram;
mod ovf_write;
mod privileges;
mod retry;
mod rewriting;
pub(crate) mod source;
mod streaming;
mod thumbprint;
mod tls;
mod transfer;
mod uuids;
mod vsphere;

use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use crate::model::Secret;

pub use address::{Address, sdk_url};
pub use certificate::CertificateFault;
pub use error::{Error, Fault};
pub use export_blocker::ExportBlocker;
pub use files::{FileChoice, FileSettings, Files};
pub use filter::Filter;
pub use finished_disk::{FinishedDisk, Note, OnFinished};
pub use hosts::{HostMap, HostMapping, HostSuffix, NfcHosts};
pub use incoming_disk::{IncomingDisk, IncomingDiskWriter};
pub use inspected::{ExpectedMedium, Inspected, Tag, VmSummary};
pub use limit::BandwidthLimit;
pub use nvram::{LARGEST as LARGEST_NVRAM, missed as nvram_missed, write as write_nvram};
pub use ovf_write::{PackageFormat, WrittenPackage, write_package};
pub use privileges::{
    Need, On, PRIVILEGES, Privilege, Role, RoleFor, markdown as privileges_markdown,
};
pub use retry::Retry;
pub use streaming::{Rewrite, Streaming};
pub use thumbprint::Thumbprint;
pub use tls::Trust;
pub use transfer::Broken;
pub use uuids::fill_disk_uuids;
pub use vsphere::{Granted, VSphere};

/// How the names of our snapshots begin.
pub const SNAPSHOT_PREFIX: &str = "hyperexport-";

/// File name of an EFI guest's variables in the folder of its export.
pub const NVRAM: &str = "source.nvram";

/// Whom to talk to, and how.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The SDK's address as [`sdk_url`] forms it: `https://vc.example.com/sdk`.
    pub url: Url,
    /// Login name, such as `administrator@vsphere.local`.
    pub username: String,
    /// Its password.
    pub password: Secret,
    /// How the server proves who it is.
    pub trust: Trust,
    /// Most disks of one VM that are downloaded at a time; 0 counts as 1.
    pub parallel: usize,
    /// Longest silence of the server while it sends something.
    pub read_timeout: Duration,
    /// How disks leave the source.
    pub transport: Transport,
    /// What the disks become while they arrive by a lease; none to keep them as they are.
    pub rewrite: Option<Rewrite>,
    /// How often a broken download is begun anew.
    pub retry: Retry,
    /// Where hosts are reached whose names do not lead there from here.
    pub hosts: HostMap,
    /// Hosts that a lease may name, besides the server itself and those that are led elsewhere.
    pub nfc_hosts: NfcHosts,
}

impl Settings {
    /// Disks downloaded at a time unless told otherwise. A host caps each stream at some 30 MB/s,
    /// but its NFC service has little memory for many of them.
    pub const PARALLEL: usize = 3;
    /// Longest silence unless told otherwise.
    pub const READ_TIMEOUT: Duration = Duration::from_secs(60);

    /// Settings with the usual limits and the system's certificates.
    pub fn new(url: Url, username: impl Into<String>, password: Secret) -> Self {
        Self {
            url,
            username: username.into(),
            password,
            trust: Trust::System,
            parallel: Self::PARALLEL,
            read_timeout: Self::READ_TIMEOUT,
            transport: Transport::Auto,
            rewrite: None,
            retry: Retry::TRANSFER,
            hosts: HostMap::default(),
            nfc_hosts: NfcHosts::default(),
        }
    }
}

/// How disks leave vSphere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// By a lease, or from the datastore where the server grants none.
    Auto,
    /// By an NFC lease, as streams of what is in use.
    Nfc,
    /// From the datastore, as flat files.
    Datastore,
}

/// Whether a guest is brought to rest for a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quiesce {
    /// If that works; else there is a warning.
    Try,
    /// In any case; else there is no export.
    Yes,
    /// Not at all.
    No,
}

/// How a running VM is switched off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shutdown {
    /// How long its guest may take.
    pub timeout: Duration,
    /// Whether the power is cut where the guest does not shut down.
    pub force: bool,
}

/// A snapshot for one export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotRequest {
    /// Its name. Nobody else may use it: by it the snapshot is removed.
    pub name: String,
    /// Whether the guest is brought to rest.
    pub quiesce: Quiesce,
    /// Whether VMware Tools run in the guest, where that is known. Without them vSphere takes a
    /// snapshot and says nothing of the guest, which went on (`CreateSnapshot_Task`, `quiesce`).
    pub tools: Option<bool>,
}

/// Where an export goes, and what of it is there.
#[derive(Clone, Default)]
pub struct ExportRequest<'a> {
    /// An existing folder; each disk becomes `<disk-id>.vmdk` in it.
    pub directory: PathBuf,
    /// Disks that a killed run left whole. Each is taken again unless its sum holds.
    pub whole: Vec<FinishedDisk>,
    /// The snapshot to take of a running VM and to export instead of it.
    pub snapshot: Option<SnapshotRequest>,
    /// Whether a killed run may still hold a lease on the VM: it is then waited for.
    pub after_kill: bool,
    /// Told of every disk that becomes whole.
    pub note: Option<OnFinished<'a>>,
    /// How fast disks may come in, all together. A clone changes it while they do.
    pub limit: BandwidthLimit,
}
