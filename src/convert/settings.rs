//! The user's conversion settings, resolved by the `settings` module.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use crate::image::Compression;
use crate::model::{Secret, Stage, Warning, WarningCode};

use super::tools::qemu_img::is_exact;
use super::virtio_win::WindowsSources;

/// The user's choice of the converter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Converter {
    /// hyper2kvm if it is found, else hyperexport itself.
    #[default]
    Auto,
    /// Only hyper2kvm.
    Hyper2kvm,
    /// hyperexport itself, with libguestfs.
    Native,
    /// hyperexport itself, with virt-v2v-in-place for the guest.
    VirtV2v,
}

/// Additional changes in a guest that hyperexport fixes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Customize {
    /// New hostname of the guest.
    pub hostname: Option<String>,
    /// SSH public keys that may log in: a user of the guest, and a file with keys.
    pub ssh_keys: Vec<(String, PathBuf)>,
    /// Scripts that run once at the guest's first start.
    pub firstboot: Vec<PathBuf>,
}

/// The passphrase of an encrypted device of the guest.
#[derive(Debug, Clone)]
pub struct DiskKey {
    /// The device as the guest or libguestfs calls it (`/dev/sda2`, `/dev/vg/lv`, `UUID=…`), its
    /// LUKS UUID, or `all`.
    pub device: String,
    /// The passphrase.
    pub passphrase: Secret,
}

impl DiskKey {
    /// The device name that stands for every encrypted device.
    pub(super) const ALL: &'static str = "all";
}

/// QEMU's guest agent for a guest that has none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Agent {
    /// Paths of packages that are installed into the guest.
    pub packages: Vec<PathBuf>,
    /// Whether the guest installs the agent from its own package sources at its first start.
    pub first_boot: bool,
}

/// Variables of the user's environment that libguestfs reads.
#[derive(Debug, Clone, Default)]
pub struct GuestfsSettings {
    /// `LIBGUESTFS_BACKEND`: how libguestfs runs its appliance, such as `libvirt`.
    pub backend: Option<String>,
    /// `LIBGUESTFS_BACKEND_SETTINGS`, such as `force_tcg`.
    pub backend_settings: Option<String>,
    /// `LIBGUESTFS_PATH`: the folders in which libguestfs searches for an appliance. Absolute.
    pub path: Vec<PathBuf>,
}

/// Settings of a conversion.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The user's choice of the converter.
    pub converter: Converter,
    /// Path of the hyper2kvm to run; `None` searches for one.
    pub hyper2kvm_path: Option<PathBuf>,
    /// Longest time for the complete conversion.
    pub timeout: Duration,
    /// Whether hyper2kvm's output is reported line by line.
    pub stream_output: bool,
    /// Whether to report the steps only, without any change.
    pub dry_run: bool,
    /// The stages that run.
    pub stages: Stages,
    /// Compression of the converted disks; `None` leaves them uncompressed.
    ///
    /// qemu-img has its own level, zstd 3 or zlib 6; any other level causes a warning.
    pub compression: Option<Compression>,
    /// Whether a guest's interfaces keep their names, where hyperexport fixes the guest.
    pub preserve_network: bool,
    /// Ids of the network cards that the domain does not have: the kernel counts only the others.
    pub left_out: Vec<String>,
    /// The user's settings of libguestfs.
    pub guestfs: GuestfsSettings,
    /// Additional changes in the guest.
    pub customize: Customize,
    /// The guest agent, for a guest that has none.
    pub agent: Agent,
    /// The root of the system to fix, in libguestfs' notation, where the disks contain several
    /// systems.
    pub root: Option<String>,
    /// Passphrases of encrypted disks.
    pub keys: Vec<DiskKey>,
    /// Drivers and programs for a Windows guest.
    pub windows: WindowsSources,
    /// The source of cloud-init's seed: a file of user data, or a folder.
    pub cloud_init: Option<PathBuf>,
    /// Whether images that were converted during the download may become the results themselves.
    /// Otherwise they stay, and are copied.
    pub consume: bool,
    /// `PATH` for programs found by name.
    pub path: OsString,
    /// The user's home, one of the places that are searched for hyper2kvm.
    pub home: Option<PathBuf>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            converter: Converter::Auto,
            hyper2kvm_path: None,
            timeout: Duration::from_secs(30 * 60),
            stream_output: true,
            dry_run: false,
            stages: Stages::default(),
            compression: Some(Compression::ZSTD),
            preserve_network: true,
            left_out: Vec::new(),
            guestfs: GuestfsSettings::default(),
            customize: Customize::default(),
            agent: Agent::default(),
            root: None,
            keys: Vec::new(),
            windows: WindowsSources::default(),
            cloud_init: None,
            consume: false,
            path: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into(),
            home: None,
        }
    }
}

/// The stages of a conversion. Without `convert` there are no results: the others then work on
/// private copies that are discarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stages {
    /// Whether the guest's operating system is detected.
    pub inspect: bool,
    /// Whether the guest is changed to boot on KVM.
    pub fix: bool,
    /// Whether the images are converted.
    pub convert: bool,
    /// Whether the converted images are checked.
    pub validate: bool,
}

impl Default for Stages {
    fn default() -> Self {
        Self { inspect: true, fix: true, convert: true, validate: true }
    }
}

impl Stages {
    /// Names of the stages that run, in their order, for messages.
    pub fn names(self) -> String {
        let all = [
            ("inspect", self.inspect),
            ("fix", self.fix),
            ("convert", self.convert),
            ("validate", self.validate),
        ];
        let on: Vec<_> = all.iter().filter(|(_, on)| *on).map(|(name, _)| *name).collect();
        on.join(", ")
    }
}

impl Settings {
    /// The chosen converter: a setting that only hyperexport supports selects hyperexport.
    pub(super) fn chosen(&self) -> Converter {
        match self.converter {
            // A given path selects hyper2kvm.
            Converter::Auto if self.hyper2kvm_path.is_some() => Converter::Hyper2kvm,
            Converter::Auto if self.is_particular() => Converter::Native,
            chosen => chosen,
        }
    }

    /// Whether a setting is used that only hyperexport supports.
    fn is_particular(&self) -> bool {
        self.customize != Customize::default()
            || self.agent != Agent::default()
            || self.root.is_some()
            || !self.keys.is_empty()
    }

    /// Warnings for settings that have no effect.
    pub(super) fn warnings(&self) -> Vec<Warning> {
        let warn =
            |code: WarningCode, message: String| Warning::new(Stage::Pipeline, code, message);
        let mut warnings = Vec::new();
        let compression = self.compression.filter(|_| self.stages.convert);
        if let Some(asked) = compression.filter(|asked| !is_exact(*asked)) {
            let (kind, level) = (asked.kind(), asked.level());
            let message = format!(
                "qemu-img has no compression levels: its own {kind} is used instead of \
                    {level}"
            );
            warnings.push(warn(WarningCode::CompressLevelApproximated, message));
        }
        if self.stages.fix && !self.stages.convert {
            let message = "fix without convert works on a copy that is thrown away".to_owned();
            warnings.push(warn(WarningCode::FixWithoutConvert, message));
        }
        warnings
    }
}
