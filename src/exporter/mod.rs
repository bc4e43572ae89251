//! Sources of VMs. `vsphere` speaks SOAP to a vCenter or an ESXi host, and knows inventory and
//! export leases. `files` reads OVA, OVF, VMX and disk images. `transfer` downloads a disk from an
//! HTTPS URL into a verified file. `tls` decides which servers are trusted. Nothing here knows what
//! happens to a VM afterwards.

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
pub use finished_disk::{DurableNote, FinishedDisk, OnFinished};
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

/// Prefix of the names of this program's snapshots.
pub const SNAPSHOT_PREFIX: &str = "hyperexport-";

/// File name of an EFI guest's variables in the output directory.
pub const NVRAM: &str = "source.nvram";

/// Connection to a vCenter or ESXi host, and settings of its exports.
#[derive(Debug, Clone)]
pub struct Settings {
    /// URL of the SDK, as returned by [`sdk_url`]: `https://vc.example.com/sdk`.
    pub url: Url,
    /// Login name, such as `administrator@vsphere.local`.
    pub username: String,
    /// Password of the login.
    pub password: Secret,
    /// Trust in the server's certificate.
    pub trust: Trust,
    /// Maximum number of a VM's disks that are downloaded in parallel; 0 counts as 1.
    pub parallel: usize,
    /// Maximum time without a received byte during a transfer.
    pub read_timeout: Duration,
    /// Method by which disks are downloaded.
    pub transport: Transport,
    /// Conversion of disks while a lease's stream arrives; `None` disables it.
    pub rewrite: Option<Rewrite>,
    /// Limits for retries of a failed download.
    pub retry: Retry,
    /// Addresses of hosts whose names in leases do not resolve correctly here.
    pub hosts: HostMap,
    /// Hosts that a lease may name, in addition to the server and the hosts in `hosts`.
    pub nfc_hosts: NfcHosts,
}

impl Settings {
    /// Default number of parallel downloads. A host limits each stream to some 30 MB/s, but its NFC
    /// service has little memory for many of them.
    pub const PARALLEL: usize = 3;
    /// Default read timeout.
    pub const READ_TIMEOUT: Duration = Duration::from_secs(60);

    /// Default limits, and trust in the certificates of the system.
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

/// Method by which disks are downloaded from vSphere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// By a lease, or from the datastore if the server grants no lease.
    Auto,
    /// By an NFC lease, as streams of the allocated blocks.
    Nfc,
    /// From the datastore, as flat files.
    Datastore,
}

/// Whether a guest is quiesced for a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quiesce {
    /// If possible; a failure is a warning.
    Try,
    /// Required; a failure ends the export.
    Yes,
    /// Never.
    No,
}

/// How a running VM is powered off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shutdown {
    /// Time limit for the guest's shutdown.
    pub timeout: Duration,
    /// Whether the VM is powered off hard if the guest does not shut down.
    pub force: bool,
}

/// A temporary snapshot for one export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotRequest {
    /// Name of the snapshot, which must be unique: the snapshot is removed by its name.
    pub name: String,
    /// Whether the guest is quiesced.
    pub quiesce: Quiesce,
    /// Whether VMware Tools are running, if known. Without them, vSphere takes a snapshot of a
    /// guest that is not quiesced, and reports no error (`CreateSnapshot_Task`, `quiesce`).
    pub tools: Option<bool>,
}

/// Output and settings of one export.
#[derive(Clone, Default)]
pub struct ExportRequest<'a> {
    /// Existing output directory; each disk becomes `<disk-id>.vmdk` in it.
    pub directory: PathBuf,
    /// Disks that an interrupted run has finished. Each is reused if its checksum still matches.
    pub whole: Vec<FinishedDisk>,
    /// Snapshot of a running VM to take and export instead of the VM.
    pub snapshot: Option<SnapshotRequest>,
    /// Whether an interrupted run may still have a lease on the VM, which is then awaited.
    pub after_kill: bool,
    /// Callback for every disk that is finished.
    pub note: Option<OnFinished<'a>>,
    /// Bandwidth limit of all disks together. It can be changed during the export by a clone.
    pub limit: BandwidthLimit,
}
