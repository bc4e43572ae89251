//! How to convert: what the user asked for, resolved by the settings room.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use crate::image::Compression;
use crate::model::{Secret, Stage, Warning, WarningCode};

use super::tools::qemu_img::is_exact;
use super::virtio_win::WindowsSources;

/// Who converts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Converter {
    /// hyper2kvm where it is found, else ourselves.
    #[default]
    Auto,
    /// hyper2kvm and nobody else.
    Hyper2kvm,
    /// Ourselves, with libguestfs.
    Native,
    /// Ourselves, with virt-v2v-in-place for the guest.
    VirtV2v,
}

/// What is changed in the guest besides, where we fix it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Customize {
    /// Its new name.
    pub hostname: Option<String>,
    /// Public keys that may log in: a user, and a file with keys.
    pub ssh_keys: Vec<(String, PathBuf)>,
    /// Scripts that run once when it starts.
    pub firstboot: Vec<PathBuf>,
}

/// The passphrase of an encrypted device of the guest.
#[derive(Debug, Clone)]
pub struct DiskKey {
    /// The device as the guest or libguestfs calls it (`/dev/sda2`, `/dev/vg/lv`, `UUID=…`), its
    /// LUKS UUID, or `all`.
    pub device: String,
    /// What opens it.
    pub passphrase: Secret,
}

impl DiskKey {
    /// What stands for every encrypted device.
    pub(super) const ALL: &'static str = "all";
}

/// QEMU's guest agent for a guest that has none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Agent {
    /// Packages that are installed into the guest.
    pub packages: Vec<PathBuf>,
    /// Whether the guest installs it from its own package sources at its first start.
    pub first_boot: bool,
}

/// How to convert.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Who does it.
    pub converter: Converter,
    /// The hyper2kvm to run; it is searched for when none is given.
    pub hyper2kvm_path: Option<PathBuf>,
    /// Longest time for the whole conversion.
    pub timeout: Duration,
    /// Whether hyper2kvm's output is reported line by line.
    pub stream_output: bool,
    /// Only say what would be done.
    pub dry_run: bool,
    /// Which of hyper2kvm's stages run.
    pub stages: Stages,
    /// How the converted disks are compressed, if they are.
    ///
    /// What qemu-img compresses has its own level, zstd 3 or zlib 6, and any other is warned of.
    pub compression: Option<Compression>,
    /// Whether a guest's interfaces keep their names, where we fix it.
    pub preserve_network: bool,
    /// Ids of the network cards that the domain does not get: the kernel counts the others alone.
    pub left_out: Vec<String>,
    /// `LIBGUESTFS_BACKEND` where the user gave one, such as `libvirt`.
    pub guestfs_backend: Option<String>,
    /// `LIBGUESTFS_BACKEND_SETTINGS`, such as `force_tcg`, for libguestfs.
    pub guestfs_backend_settings: Option<String>,
    /// `LIBGUESTFS_PATH` where the user gave one: the folders in which libguestfs looks for an
    /// appliance.
    pub guestfs_path: Vec<PathBuf>,
    /// What is changed in the guest besides.
    pub customize: Customize,
    /// The guest agent, where the guest has none.
    pub agent: Agent,
    /// The root of the system to fix, in libguestfs' words, where the disks hold several.
    pub root: Option<String>,
    /// What opens encrypted disks.
    pub keys: Vec<DiskKey>,
    /// What a Windows guest gets.
    pub windows: WindowsSources,
    /// What the seed of cloud-init is made of: a file of user data, or a folder.
    pub cloud_init: Option<PathBuf>,
    /// Whether images that were made while they arrived may become the results themselves. Else
    /// they stay, and are copied.
    pub consume: bool,
    /// `PATH` for programs found by name.
    pub path: OsString,
    /// The user's home, one of the places where hyper2kvm may be.
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
            guestfs_backend: None,
            guestfs_backend_settings: None,
            guestfs_path: Vec::new(),
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

/// hyper2kvm's stages. Without `convert` there are no results: the others then work on private
/// copies that are thrown away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stages {
    /// Look at the disks.
    pub inspect: bool,
    /// Make the guest boot on KVM.
    pub fix: bool,
    /// Convert the images.
    pub convert: bool,
    /// Check the converted images.
    pub validate: bool,
}

impl Default for Stages {
    fn default() -> Self {
        Self { inspect: true, fix: true, convert: true, validate: true }
    }
}

impl Stages {
    /// Names of the stages that run, in their order, for people.
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
    /// Who was chosen: a wish that only we fulfil is a word for us.
    pub(super) fn chosen(&self) -> Converter {
        match self.converter {
            // A path is a word for hyper2kvm.
            Converter::Auto if self.hyper2kvm_path.is_some() => Converter::Hyper2kvm,
            Converter::Auto if self.is_particular() => Converter::Native,
            chosen => chosen,
        }
    }

    /// Whether something is asked for that only we do.
    fn is_particular(&self) -> bool {
        self.customize != Customize::default()
            || self.agent != Agent::default()
            || self.root.is_some()
            || !self.keys.is_empty()
    }

    /// What the settings ask for and do not get.
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
