//! A simulated guest for unit tests: `tests/support/guestfish.py` answers in place of libguestfs,
//! and also plays qemu-img and virt-v2v-in-place.

use std::fs;
use std::ops::{Deref, DerefMut};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::convert::tools::qemu_img::Tools;
use crate::convert::tools::work::WorkDir;
use crate::convert::{ConversionRun, Settings};
use crate::manifest::Manifest;
use crate::model::{ByteSize, DiskId};
use crate::progress::Progress;

use super::WorkImage;
use super::guestfs::{Appliance, Guestfs};
use crate::convert::output_files::NATIVE_LOG;

const PROGRAM: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/guestfish.py"));

/// A guest with one disk, and a run that converts it.
pub(super) struct Played {
    dir: TempDir,
    manifest: Manifest,
    pub(super) settings: Settings,
    progress: Progress,
    tools: Tools,
    work: WorkDir,
}

/// An appliance, and the guest that is in it.
pub(super) struct PlayedAppliance {
    guestfs: Guestfs,
    _played: Played,
}

impl Deref for PlayedAppliance {
    type Target = Guestfs;

    fn deref(&self) -> &Guestfs {
        &self.guestfs
    }
}

impl DerefMut for PlayedAppliance {
    fn deref_mut(&mut self) -> &mut Guestfs {
        &mut self.guestfs
    }
}

impl PlayedAppliance {
    /// The files of the guest as the appliance sees them.
    pub(super) fn tree(&self) -> std::path::PathBuf {
        fs::read_to_string(self._played.dir().join("overlay")).expect("an overlay").into()
    }
}

impl Played {
    /// A guest with these files; `said` is `guest.json` without the files.
    pub(super) fn new(files: &[(&str, &[u8])], said: Value) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let (bin, tree) = (dir.path().join("bin"), dir.path().join("bin/tree"));
        fs::create_dir_all(&tree).expect("made");
        for (path, content) in files {
            let path = tree.join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            fs::write(path, content).expect("written");
        }
        let mut said = said;
        said["tree"] = json!(tree);
        fs::write(bin.join("guest.json"), said.to_string()).expect("written");
        let programs = match said.get("v2v") {
            Some(_) => &["guestfish", "qemu-img", "virt-v2v-in-place"][..],
            None => &["guestfish", "qemu-img"],
        };
        for name in programs {
            fs::write(bin.join(name), PROGRAM).expect("written");
            let executable = fs::Permissions::from_mode(0o755);
            fs::set_permissions(bin.join(name), executable).expect("set");
        }
        let path = bin.into_os_string();
        let manifest = json!({
            "manifest_version": "1.0",
            "disks": [{"id": "disk-0", "source_format": "raw", "bytes": 512, "local_path": "/disk.raw"}],
        });
        Self {
            manifest: serde_json::from_value(manifest).expect("a manifest"),
            settings: Settings { path: path.clone(), ..Settings::default() },
            progress: Progress::none(),
            tools: Tools::new(path, Duration::from_secs(60), CancellationToken::new()).unconfined(),
            work: WorkDir::new(dir.path()).expect("a work folder"),
            dir,
        }
    }

    pub(super) fn run(&self) -> ConversionRun<'_> {
        let Self { manifest, settings, progress, tools, work, dir } = self;
        ConversionRun { manifest, settings, progress, tools, work, output: dir.path() }
    }

    pub(super) fn disks<'a>(&self, run: &ConversionRun<'a>) -> Vec<WorkImage<'a>> {
        let disk = &run.manifest.disks[0];
        let image = run.work.image(&disk.id);
        vec![WorkImage { disk, capacity: ByteSize(512), image }]
    }

    /// An appliance with an overlay of the disk.
    pub(super) async fn started(self) -> PlayedAppliance {
        let guestfs = self.guestfs().await;
        PlayedAppliance { guestfs, _played: self }
    }

    async fn guestfs(&self) -> Guestfs {
        let (run, overlay) = (self.run(), self.dir.path().join("overlay"));
        let image = self.work.image(&DiskId::from_index(0));
        self.tools.overlay(&image, &overlay).await.expect("an overlay");
        let log = self.dir.path().join("log");
        let appliance = Appliance { run: &run, log: &log, backend_settings: None };
        appliance.start(&[overlay]).await.expect("started")
    }

    /// The root folder of the simulation; programs write their traces into `bin`.
    pub(super) fn dir(&self) -> &std::path::Path {
        self.dir.path()
    }

    /// How many appliances were started.
    pub(super) fn starts(&self) -> usize {
        let log = fs::read_to_string(self.dir.path().join(NATIVE_LOG)).unwrap_or_default();
        log.lines().filter(|line| line.starts_with("--- ")).count()
    }

    /// The content of a guest's file after the changes were written back.
    pub(super) fn written(&self, path: &str) -> Option<Vec<u8>> {
        fs::read(self.dir.path().join("bin/tree").join(path)).ok()
    }
}
