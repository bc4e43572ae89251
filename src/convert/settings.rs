//! How to convert: what the user asked for, resolved by the settings room.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use crate::image::Compression;
use crate::model::{Stage, Warning};

use super::qemu_img::is_exact;

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
    /// `LIBGUESTFS_BACKEND_SETTINGS`, such as `force_tcg`, for libguestfs.
    pub guestfs_backend_settings: Option<String>,
    /// What is changed in the guest besides.
    pub customize: Customize,
    /// What the seed of cloud-init is made of: a file of user data, or a folder.
    pub cloud_init: Option<PathBuf>,
    /// Whether images that were made while they arrived may become the results themselves. Else they
    /// stay, and are copied.
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
            guestfs_backend_settings: None,
            customize: Customize::default(),
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
            Converter::Auto if self.customize != Customize::default() => Converter::Native,
            chosen => chosen,
        }
    }

    /// What the settings ask for and do not get.
    pub(super) fn warnings(&self) -> Vec<Warning> {
        let warn = |code: &str, message: String| Warning::new(Stage::Pipeline, code, message);
        let mut warnings = Vec::new();
        let compression = self.compression.filter(|_| self.stages.convert);
        if let Some(asked) = compression.filter(|asked| !is_exact(*asked)) {
            let (kind, level) = (asked.kind(), asked.level());
            let message =
                format!("qemu-img takes no compression level: its own {kind} in place of {level}");
            warnings.push(warn("compress-level-approximated", message));
        }
        if self.stages.fix && !self.stages.convert {
            let message = "fix without convert works on a copy that is thrown away".to_owned();
            warnings.push(warn("fix-without-convert", message));
        }
        warnings
    }
}
