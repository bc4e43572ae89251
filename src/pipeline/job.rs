//! The settings of one run.

use std::path::{Path, PathBuf};

use super::stage::asked::Flags;
use crate::domain::DomainType;
use crate::exporter::source::SourceSettings;
use crate::model::{SourceAfter, Warning};
use crate::{convert, domain, exporter, libvirt, model};

/// Export of one VM and the stages after it.
#[derive(Debug, Clone)]
pub struct Job {
    /// Warnings about the command line.
    pub warnings: Vec<Warning>,
    /// Source of the VM: vSphere, a libvirt host or files.
    pub source: SourceSettings,
    /// Name, inventory path or moref of the VM. Files contain only one VM.
    pub vm: String,
    /// Output directory; `./export-<vm>` if absent.
    pub output: Option<PathBuf>,
    /// Format of the export. The stages after an OVA export have no separate disks to work on.
    pub format: exporter::PackageFormat,
    /// Whether the manifest is written even without a conversion.
    pub manifest: bool,
    /// Whether a running VM is powered off, and how.
    pub power_off: Option<exporter::Shutdown>,
    /// When a VM that was powered off is powered on again.
    pub comes_back: ComesBack,
    /// Changes to the source VM after a successful migration.
    pub source_after: Vec<SourceAfter>,
    /// Whether a running VM is exported from a snapshot, and how the snapshot is taken.
    pub snapshot: Option<exporter::Quiesce>,
    /// Bandwidth limit of the download. A clone can change the limit during the download.
    pub limit: exporter::BandwidthLimit,
    /// Whether a finished export in the output directory is replaced by a new one.
    pub fresh: bool,
    /// Settings of the conversion; `None` for a run without one.
    pub conversion: Option<convert::Settings>,
    /// Flags of the conversion, for comparison with later runs.
    pub asked: Flags,
    /// Whether disks are converted during the download; `None` converts where possible.
    pub stream_convert: Option<bool>,
    /// Target host and domain; needs a conversion.
    pub target: Option<ImportSettings>,
    /// Whether every network card gets a new MAC address.
    pub new_mac: bool,
    /// Whether a failed stage fails the run: a stage that is known to fail is then rejected first.
    pub strict: bool,
    /// Whether the run only prints its steps and changes nothing.
    pub dry_run: bool,
}

/// When a VM that a run has powered off is powered on again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ComesBack {
    /// Only if the run does not succeed.
    #[default]
    AfterFailure,
    /// After every run.
    Always,
    /// Never.
    Never,
}

impl Job {
    /// The output directory for a VM of this name: `output`, or `export-<vm>`.
    pub fn output_for(&self, vm_name: &str) -> PathBuf {
        let default = || PathBuf::from(format!("export-{}", model::file_name(vm_name)));
        self.output.clone().unwrap_or_else(default)
    }

    /// Whether the run or its conversion is a dry run: no domain is defined then.
    pub fn is_dry(&self) -> bool {
        self.dry_run || self.conversion.as_ref().is_some_and(|settings| settings.dry_run)
    }

    /// Whether `manifest.json` is written: on request, and for every conversion.
    pub fn writes_manifest(&self) -> bool {
        self.manifest || self.conversion.is_some()
    }
}

/// A libvirt host and the settings of the new domain.
#[derive(Debug, Clone)]
pub struct ImportSettings {
    /// Connection URI and other connection settings.
    pub settings: libvirt::Settings,
    /// Open connections, shared by the stages of the run.
    pub connections: libvirt::Connections,
    /// Name of the domain; `None` derives the name from the VM's.
    pub name: Option<String>,
    /// Whether the domain starts with its host.
    pub autostart: bool,
    /// Bridge for network interfaces that `network_map` does not map.
    pub bridge: String,
    /// Mapping of the source's networks to networks of the host.
    pub network_map: domain::NetworkMap,
    /// Whether every network card gets a new MAC address.
    pub new_mac: bool,
    /// Name of the storage pool for the disks.
    pub pool: String,
    /// Directory of the storage pool, which is created if it is missing.
    pub pool_path: Option<PathBuf>,
    /// Pool that is created if it is missing; set if the user has not named a pool.
    pub default_pool: Option<libvirt::DefaultPool>,
    /// Domain type that the user requires.
    pub domain_type: Option<DomainType>,
    /// Hardware of the domain that the user has chosen.
    pub hardware: domain::Hardware,
    /// Whether to define a domain whose disks have no boot loader.
    pub allow_unbootable: bool,
    /// Steps of the import besides the definition.
    pub after: libvirt::AfterDefine,
    /// Name of the domain that is renamed to make room for the new one, if it exists.
    pub replace: Option<String>,
    /// Whether virt-manager shows the domain's console at the end.
    pub open: bool,
    /// Flags of the domain, for comparison with later runs.
    pub asked: Flags,
    /// Exact definition from a plan; any difference is rejected.
    pub exactly: Option<libvirt::Draft>,
    /// Whether the domain is started, and how.
    pub start: Option<Start>,
    /// Whether the source VM may run beside the domain, although both have the same addresses and
    /// services.
    pub allow_running_source: bool,
}

/// Start of a domain after its definition.
#[derive(Debug, Clone)]
pub struct Start {
    /// Sign of a successful start, and how long to wait for it.
    pub wait: libvirt::Wait,
}

impl ImportSettings {
    /// The flag that starts the domain, now or with its host. `None` if no flag does, or if the
    /// source may run at the same time.
    pub fn starts_by(&self) -> Option<&'static str> {
        match (&self.start, self.autostart) {
            _ if self.allow_running_source => None,
            (Some(_), _) => Some("--libvirt-start"),
            (None, true) => Some("--libvirt-autostart"),
            (None, false) => None,
        }
    }

    /// Name of the domain for a VM of this display name: `name`, or derived from the display name.
    pub fn domain_name(&self, vm_name: &str) -> String {
        self.name.clone().unwrap_or_else(|| domain::domain_name(vm_name))
    }
}

/// An absolute form of `path`, in which links are not resolved: the directory may not exist yet.
pub fn absolute(path: &Path) -> std::io::Result<PathBuf> {
    std::path::absolute(path)
}

/// `path` with its links resolved, as far as it exists, so that a file has only one name.
/// Components that do not exist yet are kept.
pub fn real(path: &Path) -> PathBuf {
    let resolved = |there: &Path| {
        let rest = path.strip_prefix(there).ok()?;
        // Joining an empty path would add a slash.
        Some(there.canonicalize().ok()?.components().chain(rest.components()).collect())
    };
    path.ancestors().find_map(resolved).unwrap_or_else(|| path.to_owned())
}
