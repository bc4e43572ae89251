//! How to convert: what the user asked for, resolved by the settings room.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use crate::model::{Stage, Warning};

use super::qemu_img::Compression;

/// How to convert.
#[derive(Debug, Clone)]
pub struct Settings {
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
    /// Level of compression from 1 (fast) to 9 (small); none for no compression.
    ///
    /// qemu-img compresses and takes no level: 1 to 3 give zstd at its level 3, 4 to 9 zlib at its
    /// level 6. Any other level than those two is warned of.
    pub compression: Option<u8>,
    /// `LIBGUESTFS_BACKEND_SETTINGS`, such as `force_tcg`, for libguestfs.
    pub guestfs_backend_settings: Option<String>,
    /// `PATH` for programs found by name.
    pub path: OsString,
    /// The user's home, one of the places where hyper2kvm may be.
    pub home: Option<PathBuf>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            hyper2kvm_path: None,
            timeout: Duration::from_secs(30 * 60),
            stream_output: true,
            dry_run: false,
            stages: Stages::default(),
            compression: Some(6),
            guestfs_backend_settings: None,
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
    /// What the settings ask for and do not get.
    pub(super) fn warnings(&self) -> Vec<Warning> {
        let warn = |code: &str, message: String| Warning::new(Stage::Pipeline, code, message);
        let mut warnings = Vec::new();
        let level = self.compression.filter(|_| self.stages.convert);
        if let Some(level) = level.filter(|level| !Compression::for_level(*level).1) {
            let nearest = match Compression::for_level(level).0 {
                Compression::Zstd => "zstd level 3",
                Compression::Zlib => "zlib level 6",
            };
            let message =
                format!("qemu-img takes no compression level: {nearest} in place of {level}");
            warnings.push(warn("compress-level-approximated", message));
        }
        if self.stages.fix && !self.stages.convert {
            let message = "fix without convert works on a copy that is thrown away".to_owned();
            warnings.push(warn("fix-without-convert", message));
        }
        warnings
    }
}
