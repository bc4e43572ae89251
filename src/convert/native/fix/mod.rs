//! FIX: what keeps a guest of VMware's from booting on virtio, and from finding its network.
//!
//! Texts are changed here, by functions of nothing but the text, and only where something in them
//! will be wrong on KVM; the guest's own tools run only where nothing else does. Everything is done
//! on an overlay: whoever calls throws it away when this fails.

mod archive;
mod boot;
mod devices;
mod initramfs;
mod network;
mod tables;
mod tools;

use serde::Serialize;

use crate::convert::Error;
use crate::manifest::Manifest;
use crate::model::{Stage, Warning};
use crate::progress::Progress;

use self::devices::Devices;
use super::guestfs::Guestfs;
use super::inspect::Guest;

pub(super) use network::Interface;

/// One thing that is another now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Change {
    /// What it is: `fstab`, `boot loader`, …
    what: &'static str,
    /// The file, or the package.
    object: String,
    /// How it was, in a word or a line.
    before: String,
    /// How it is.
    after: String,
}

impl Change {
    fn new(what: &'static str, object: &str, before: &str, after: &str) -> Self {
        let [object, before, after] = [object, before, after].map(str::to_owned);
        Self { what, object, before, after }
    }
}

/// What was done.
pub(super) struct Report<'a> {
    pub(super) changes: Vec<Change>,
    /// Kernels that find their root on virtio.
    pub(super) bootable: Vec<String>,
    pub(super) interfaces: Vec<Interface>,
    pub(super) warnings: Vec<Warning>,
    progress: &'a Progress,
}

impl<'a> Report<'a> {
    pub(super) fn new(progress: &'a Progress) -> Self {
        Self {
            changes: Vec::new(),
            bootable: Vec::new(),
            interfaces: Vec::new(),
            warnings: Vec::new(),
            progress,
        }
    }

    pub(super) fn warn(&mut self, code: &str, message: impl Into<String>) {
        self.warnings.push(Warning::new(Stage::Pipeline, code, message));
    }
}

/// What is wanted of it.
pub(super) struct Wanted<'a> {
    pub(super) manifest: &'a Manifest,
    /// Whether interfaces shall keep their names.
    pub(super) preserve_network: bool,
}

/// Makes a Linux fit for virtio.
///
/// # Errors
/// [`Error::Guestfs`] when the guest would not boot on virtio, or may be half changed.
pub(super) async fn linux(
    guestfs: &mut Guestfs,
    guest: &Guest,
    wanted: &Wanted<'_>,
    report: &mut Report<'_>,
) -> Result<(), Error> {
    let devices = Devices::find(guestfs, &guest.root).await?;
    for (path, what, column) in [("/etc/fstab", "fstab", 0), ("/etc/crypttab", "crypttab", 1)] {
        let fix = |text: &str| tables::stabilize(text, column, &devices);
        for lost in change(guestfs, (what, path), report, fix).await? {
            let text = format!("{path} of the guest names {lost}, which KVM may call otherwise");
            report.warn("guest-device-not-found", text);
        }
    }
    for pattern in boot::CONFIGURATIONS {
        for path in guestfs.glob(pattern).await? {
            let fix = |text: &str| (boot::command_lines(text, &devices), Vec::new());
            change(guestfs, ("boot loader", &path), report, fix).await?;
        }
    }
    let fix = |text: &str| (boot::defaults(text, &devices), Vec::new());
    change(guestfs, ("boot loader", boot::DEFAULTS), report, fix).await?;
    if wanted.preserve_network {
        network::preserve(guestfs, wanted.manifest, report).await?;
    }
    tools::remove(guestfs, guest, report).await?;
    initramfs::ensure_drivers(guestfs, guest, report).await?;
    relabel(guestfs).await
}

/// Changes a text, if there is one and it has to change; returns what `fix` has to say besides.
async fn change(
    guestfs: &mut Guestfs,
    (what, path): (&'static str, &str),
    report: &mut Report<'_>,
    fix: impl FnOnce(&str) -> (String, Vec<String>),
) -> Result<Vec<String>, Error> {
    let Some(text) = guestfs.read(path).await? else { return Ok(Vec::new()) };
    let (fixed, said) = fix(&text);
    if fixed != text {
        guestfs.write(path, &fixed).await?;
        let differ = |(old, new): &(&str, &str)| old != new;
        let pair = text.lines().zip(fixed.lines()).find(differ).unwrap_or_default();
        report.changes.push(Change::new(what, path, pair.0.trim(), pair.1.trim()));
    }
    Ok(said)
}

/// Files that were written carry no label; SELinux would refuse them.
async fn relabel(guestfs: &mut Guestfs) -> Result<(), Error> {
    let config = guestfs.read("/etc/selinux/config").await?.unwrap_or_default();
    let mut lines = config.lines().map(str::trim);
    if lines.any(|line| line == "SELINUX=enforcing" || line == "SELINUX=permissive") {
        guestfs.run("have the guest relabelled", &["touch", "/.autorelabel"]).await?;
    }
    Ok(())
}
