//! What one run is asked to do.

use std::path::{Path, PathBuf};

use super::stage::asked::Flags;
use crate::domain::DomainType;
use crate::exporter::source::SourceSettings;
use crate::model::{SourceAfter, Warning};
use crate::{convert, domain, exporter, libvirt, model};

/// The export of one VM and what is to follow it.
#[derive(Debug, Clone)]
pub struct Job {
    /// What is less than well with the command line.
    pub warnings: Vec<Warning>,
    /// Where the VM is.
    pub source: SourceSettings,
    /// Its name, inventory path or moref; files have but one that is meant.
    pub vm: String,
    /// The output directory; `./export-<vm>` when none is named.
    pub output: Option<PathBuf>,
    /// What the export leaves behind. An OVA has no loose disks for what follows.
    pub format: exporter::PackageFormat,
    /// Whether the manifest is written even without a conversion.
    pub manifest: bool,
    /// Whether a running VM is switched off, and how.
    pub power_off: Option<exporter::Shutdown>,
    /// When a VM that was switched off comes back.
    pub comes_back: ComesBack,
    /// What is done to the VM once its migration has succeeded.
    pub source_after: Vec<SourceAfter>,
    /// Whether a running VM is exported from a snapshot, and how that is taken.
    pub snapshot: Option<exporter::Quiesce>,
    /// How fast disks may come in. A clone changes it while they do.
    pub limit: exporter::BandwidthLimit,
    /// Whether a finished export in the output directory makes way for a new one.
    pub fresh: bool,
    /// The conversion, if there is to be one.
    pub conversion: Option<convert::Settings>,
    /// What was asked of it.
    pub asked: Flags,
    /// Whether disks are converted while they arrive; none to do so where it can be done.
    pub stream_convert: Option<bool>,
    /// The libvirt that gets the result, if any; needs a conversion.
    pub target: Option<ImportSettings>,
    /// Whether every network card gets a new MAC address.
    pub new_mac: bool,
    /// Whether a stage that fails fails the run: then what is known to fail is refused.
    pub strict: bool,
    /// Say what would happen and change nothing.
    pub dry_run: bool,
}

/// When a VM that a run has switched off is powered on again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ComesBack {
    /// Where the run does not come to its good end.
    #[default]
    AfterFailure,
    /// In any case.
    Always,
    /// Never.
    Never,
}

impl Job {
    /// The output directory for a VM of this name.
    pub fn output_for(&self, vm_name: &str) -> PathBuf {
        let default = || PathBuf::from(format!("export-{}", model::file_name(vm_name)));
        self.output.clone().unwrap_or_else(default)
    }

    /// Whether nothing comes of the run, or nothing of its conversion: then no domain does.
    pub fn is_dry(&self) -> bool {
        self.dry_run || self.conversion.as_ref().is_some_and(|settings| settings.dry_run)
    }

    /// Whether `manifest.json` is to be written.
    pub fn writes_manifest(&self) -> bool {
        self.manifest || self.conversion.is_some()
    }
}

/// A libvirt host and what the domain there shall be.
#[derive(Debug, Clone)]
pub struct ImportSettings {
    /// How to connect.
    pub settings: libvirt::Settings,
    /// What the stages of a run connect through.
    pub connections: libvirt::Connections,
    /// Name of the domain, if it is not to be formed from the VM's.
    pub name: Option<String>,
    /// Whether the domain starts with its host.
    pub autostart: bool,
    /// Bridge that its network interfaces join.
    pub bridge: String,
    /// What else the source's networks become.
    pub network_map: domain::NetworkMap,
    /// Whether every network card gets a new MAC address.
    pub new_mac: bool,
    /// Storage pool that gets its disks.
    pub pool: String,
    /// Folder over which a missing pool is made.
    pub pool_path: Option<PathBuf>,
    /// The user has named no pool: `default` is made where it is missing.
    pub default_pool: Option<libvirt::DefaultPool>,
    /// The domain type that the user insists on.
    pub domain_type: Option<DomainType>,
    /// What the user decides about the domain's hardware.
    pub hardware: domain::Hardware,
    /// Whether a domain is defined of disks that hold nothing to start.
    pub allow_unbootable: bool,
    /// What belongs to the import beyond the definition.
    pub after: libvirt::AfterDefine,
    /// Name of the domain that makes way, if there is one of that name.
    pub replace: Option<String>,
    /// Whether the domain's console is shown at the end.
    pub open: bool,
    /// What was asked of the domain.
    pub asked: Flags,
    /// What is to be made, to the last character; anything else is refused.
    pub exactly: Option<libvirt::Draft>,
    /// Whether the domain is started, and how.
    pub start: Option<Start>,
    /// Whether the source VM may run beside the domain: two machines of one address and one set of
    /// services.
    pub allow_running_source: bool,
}

/// The start of a domain that was defined.
#[derive(Debug, Clone)]
pub struct Start {
    /// What is waited for.
    pub wait: libvirt::Wait,
}

impl ImportSettings {
    /// The flag by which the domain starts, now or with its host, where its source must not run
    /// then.
    pub fn starts_by(&self) -> Option<&'static str> {
        match (&self.start, self.autostart) {
            _ if self.allow_running_source => None,
            (Some(_), _) => Some("--libvirt-start"),
            (None, true) => Some("--libvirt-autostart"),
            (None, false) => None,
        }
    }

    /// Name of the domain for a VM of this display name.
    pub fn domain_name(&self, vm_name: &str) -> String {
        self.name.clone().unwrap_or_else(|| domain::domain_name(vm_name))
    }
}

/// An absolute form of `path` that does not resolve links: the directory may not exist yet.
pub fn absolute(path: &Path) -> std::io::Result<PathBuf> {
    std::path::absolute(path)
}

/// `path` without links, as far as it exists: a file has several names otherwise. What does not
/// exist yet keeps its name.
pub fn real(path: &Path) -> PathBuf {
    let resolved = |there: &Path| {
        let rest = path.strip_prefix(there).ok()?;
        // Joining nothing would add a slash.
        Some(there.canonicalize().ok()?.components().chain(rest.components()).collect())
    };
    path.ancestors().find_map(resolved).unwrap_or_else(|| path.to_owned())
}
