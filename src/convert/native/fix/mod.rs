//! FIX: removes what prevents a VMware guest from booting on virtio and from finding its network.
//!
//! Pure functions change texts, and only where they would be wrong on KVM. The guest's own tools
//! run only where nothing else works. All changes go to an overlay, which the caller discards when
//! FIX fails.

pub(super) mod agent;
pub(super) mod archive;
mod arrays;
pub(super) mod boot;
mod builders;
mod cloud_init;
pub(super) mod configurations;
mod default_entry;
mod differences;
mod edits;
mod efi;
mod entries;
#[cfg(fuzzing)]
pub(in crate::convert) mod fuzzing;
mod initramfs;
pub(super) mod kernels;
mod lzo;
mod mentions;
mod network;
mod options;
pub(super) mod tables;
mod tools;
pub(super) mod units;
mod volumes;

use std::fmt;

use serde::Serialize;

use crate::convert::Error;
use crate::convert::settings::Settings;
use crate::manifest::Manifest;
use crate::model::{GuestDrivers, Stage, Warning, WarningCode, chain};
use crate::progress::Progress;

use self::tables::TABLES;
use super::devices::GuestDevices;
use super::evidence;
use super::fix_list::FixList;
use super::guestfs::Guestfs;
use super::inspect::Guest;

#[cfg(test)]
pub(super) use archive::tests::archive;
pub(super) use network::FoundInterface;
pub(in crate::convert) use tools::PACKAGES as TOOLS;

/// A change that FIX made in the guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Change {
    /// The kind of object that changed: `fstab`, `boot loader`, …
    what: &'static str,
    /// Path of the file, or name of the package.
    object: String,
    /// State before the change, in a word or a line.
    before: String,
    /// State after the change, in a word or a line.
    after: String,
}

impl Change {
    fn new(what: &'static str, object: &str, before: &str, after: &str) -> Self {
        let [object, before, after] = [object, before, after].map(str::to_owned);
        Self { what, object, before, after }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, object, before, after } = self;
        match before.as_str() {
            "" => write!(f, "{what}: {object}: {after}"),
            _ => write!(f, "{what}: {object}: {before} -> {after}"),
        }
    }
}

/// The result of FIX.
pub(super) struct FixReport<'a> {
    pub(super) changes: Vec<Change>,
    /// The drivers that the guest can boot from after FIX.
    pub(super) drivers: Option<GuestDrivers>,
    /// The guest's kernels, the default one first.
    pub(super) kernels: Vec<String>,
    pub(super) interfaces: Vec<FoundInterface>,
    pub(super) warnings: Vec<Warning>,
    /// Whether the guest has QEMU's agent.
    pub(super) agent: Option<bool>,
    /// The files that were changed.
    pub(super) fixes: FixList,
    progress: &'a Progress,
}

impl<'a> FixReport<'a> {
    pub(super) fn new(progress: &'a Progress) -> Self {
        Self {
            changes: Vec::new(),
            drivers: None,
            kernels: Vec::new(),
            interfaces: Vec::new(),
            warnings: Vec::new(),
            agent: None,
            fixes: FixList::default(),
            progress,
        }
    }

    pub(super) fn warn(&mut self, code: WarningCode, message: impl Into<String>) {
        self.warnings.push(Warning::new(Stage::Pipeline, code, message));
    }

    /// The value of a successful change; none, with a warning, where the guest rejected the change.
    /// Other changes are still made.
    fn accept<T>(&mut self, end: Result<T, Error>) -> Result<Option<T>, Error> {
        match end {
            Err(error @ Error::Refused { .. }) => {
                self.warn(WarningCode::GuestChangeRefused, chain(&error));
                Ok(None)
            }
            end => end.map(Some),
        }
    }
}

/// What FIX is to do.
pub(super) struct FixRequest<'a> {
    pub(super) manifest: &'a Manifest,
    pub(super) settings: &'a Settings,
    /// Whether steps that only tidy up are run: a guest boots without them.
    pub(super) tidies: bool,
}

/// Makes a Linux guest ready for virtio, as far as possible; [`FixReport::drivers`] shows the
/// result. Unmounts the guest's file systems afterwards.
///
/// # Errors
/// [`Error::Guestfs`] when the appliance failed: the guest may be half changed. A change that the
/// guest rejects is a warning.
pub(super) async fn linux(
    guestfs: &mut Guestfs,
    guest: &Guest,
    devices: &mut GuestDevices,
    wanted: &FixRequest<'_>,
    report: &mut FixReport<'_>,
) -> Result<(), Error> {
    let settings = wanted.settings;
    twins(devices, report);
    names(guestfs, devices, report).await?;
    mentions::tell(guestfs, report).await?;
    let stale = lists(guestfs, devices, report).await?;
    if settings.preserve_network {
        let end = network::preserve(guestfs, wanted.manifest, &settings.left_out, report).await;
        report.accept(end)?;
    }
    let has_seed = settings.cloud_init.is_some();
    let end = cloud_init::keep_identity(guestfs, has_seed, report).await;
    report.accept(end)?;
    let kernels = kernels::find(guestfs).await?;
    initramfs::ensure_drivers(guestfs, &kernels, &stale, devices, report).await?;
    if wanted.tidies {
        let end = agent::install(guestfs, guest, &settings.agent.packages, report).await;
        report.accept(end)?;
        tools::remove(guestfs, guest, report).await?;
    }
    let end = relabel(guestfs).await;
    report.accept(end)?;
    report.drivers = evidence::of_linux(guestfs, &kernels, devices).await?;
    report.kernels = kernels.into_iter().map(|kernel| kernel.version).collect();
    report.agent = Some(agent::is_installed(guestfs).await?);
    efi::ensure_fallback(guestfs, &guest.distribution, report).await
}

/// Warns of UUIDs that two disks carry: no name can distinguish the disks, neither here nor on
/// VMware.
fn twins(devices: &GuestDevices, report: &mut FixReport<'_>) {
    for (uuid, disks) in devices.all_twins() {
        let text = format!(
            "{} of the guest have one UUID, {uuid}, and the guest may take either for the other: names \
             by that UUID are not written; give the copy another UUID (tune2fs -U random, xfs_admin -U \
             generate, btrfstune -u, swaplabel -U, cryptsetup luksUUID)",
            disks.join(" and ")
        );
        report.warn(WarningCode::GuestUuidTwice, text);
    }
}

/// Changes names of devices, wherever the guest stores them.
async fn names(
    guestfs: &mut Guestfs,
    devices: &mut GuestDevices,
    report: &mut FixReport<'_>,
) -> Result<(), Error> {
    for table in TABLES.iter().filter(|table| table.what == "crypttab") {
        let crypttab = guestfs.read(table.path).await?.unwrap_or_default();
        devices.know_mapped(&crypttab);
    }
    for table in TABLES {
        let fix = |text: &str| tables::stabilize(text, table, devices);
        for lost in change(guestfs, table.what, table.path, report, fix).await? {
            let text = format!(
                "{} of the guest names {lost}, {}: the guest starts without it",
                table.path,
                devices.why_lost(&lost)
            );
            report.warn(WarningCode::GuestDeviceNotFound, text);
        }
    }
    mounts(guestfs, devices, report).await?;
    for pattern in boot::CONFIGURATIONS {
        for path in guestfs.glob(pattern).await? {
            let fix = |text: &str| (boot::command_lines(text, devices), Vec::new());
            change(guestfs, "boot loader", &path, report, fix).await?;
        }
    }
    for pattern in boot::ENVIRONMENT {
        for path in guestfs.glob(pattern).await? {
            let fix = |text: &str| (boot::environment(text, devices), boot::kept(text, devices));
            for line in change(guestfs, "boot loader", &path, report, fix).await? {
                let text = format!(
                    "{path} of the guest has no room for a longer name in '{line}': change that line \
                     with grub2-editenv in the guest"
                );
                report.warn(WarningCode::GuestBootEnvironmentFull, text);
            }
        }
    }
    let fix = |text: &str| (boot::defaults(text, devices), Vec::new());
    change(guestfs, "boot loader", boot::DEFAULTS, report, fix).await.map(drop)
}

/// Changes names of devices in the administrator's own units.
async fn mounts(
    guestfs: &mut Guestfs,
    devices: &GuestDevices,
    report: &mut FixReport<'_>,
) -> Result<(), Error> {
    for path in guestfs.glob(units::MOUNTS).await? {
        let fix = |text: &str| units::stabilize(text, devices);
        for lost in change(guestfs, "mount unit", &path, report, fix).await? {
            let text = format!(
                "{path} of the guest names {lost}, {}: what needs that mount does not start",
                devices.why_lost(&lost)
            );
            report.warn(WarningCode::GuestDeviceNotFound, text);
        }
    }
    for path in guestfs.glob(units::SWAPS).await? {
        let text = guestfs.read(&path).await?.unwrap_or_default();
        let changes = |name: &&str| devices.changes(name) || devices.is_lost(name);
        for name in units::named(&text).filter(changes) {
            let text = format!(
                "{path} of the guest names {name}, which may have another name on KVM: swap by a line \
                 with UUID= in /etc/fstab instead"
            );
            report.warn(WarningCode::GuestDeviceNotFound, text);
        }
    }
    Ok(())
}

/// Changes the lists of devices that LVM, md and the initramfs use; returns the changed ones, of
/// which the initramfs has old copies.
async fn lists(
    guestfs: &mut Guestfs,
    devices: &GuestDevices,
    report: &mut FixReport<'_>,
) -> Result<Vec<&'static str>, Error> {
    let mut stale = Vec::new();
    for list in volumes::LISTS {
        let changes = report.changes.len();
        for path in guestfs.glob(list.path).await? {
            let mend = |text: &str| (list.mend)(text, devices);
            for line in change(guestfs, list.what, &path, report, mend).await? {
                let text = format!(
                    "{path} of the guest names an array by its devices alone, which may have other \
                     names on KVM: in '{line}' put UUID= of mdadm --detail in the place of devices="
                );
                report.warn(WarningCode::GuestMdDevices, text);
            }
        }
        if report.changes.len() > changes {
            stale.push(list.path);
        }
    }
    let known = guestfs.read(volumes::LVM_DEVICES).await?.unwrap_or_default();
    if volumes::names_vmwares(&known) {
        let text = format!(
            "{} of the guest knows disks by serial numbers of VMware's: LVM finds them by their marks \
             and writes the file anew; if it does not, start the guest's rescue system and run \
             vgimportdevices --all",
            volumes::LVM_DEVICES
        );
        report.warn(WarningCode::GuestLvmDevices, text);
    }
    Ok(stale)
}

/// Completes the boot loader alone, which may be where only the source's firmware finds it. The
/// loader of `distribution` is preferred.
pub(super) async fn loader(
    guestfs: &mut Guestfs,
    distribution: &str,
    report: &mut FixReport<'_>,
) -> Result<(), Error> {
    efi::ensure_fallback(guestfs, distribution, report).await
}

/// Changes a text if it exists and needs a change; returns the additional findings of `fix`.
async fn change(
    guestfs: &mut Guestfs,
    what: &'static str,
    path: &str,
    report: &mut FixReport<'_>,
    fix: impl FnOnce(&str) -> (String, Vec<String>),
) -> Result<Vec<String>, Error> {
    let Some(text) = guestfs.read(path).await? else { return Ok(Vec::new()) };
    let (fixed, said) = fix(&text);
    if fixed == text {
        return Ok(said);
    }
    rewrite(guestfs, TextChange { what, path, before: &text, after: &fixed }, report).await?;
    Ok(said)
}

/// A changed text.
struct TextChange<'a> {
    /// Kind of the file, for the report.
    what: &'static str,
    path: &'a str,
    before: &'a str,
    after: &'a str,
}

/// Writes a changed text and records the lines that differ; returns whether the guest accepted it.
async fn rewrite(
    guestfs: &mut Guestfs,
    TextChange { what, path, before, after }: TextChange<'_>,
    report: &mut FixReport<'_>,
) -> Result<bool, Error> {
    let end = guestfs.write(path, after).await;
    let accepted = report.accept(end)?.is_some();
    if accepted {
        let lines = differences::differences(before, after);
        report.changes.extend(lines.iter().map(|(old, new)| Change::new(what, path, old, new)));
    }
    Ok(accepted)
}

/// Relabels the guest: files that were written carry no label, and SELinux would deny access to
/// them.
async fn relabel(guestfs: &mut Guestfs) -> Result<(), Error> {
    let config = guestfs.read("/etc/selinux/config").await?.unwrap_or_default();
    let mut lines = config.lines().map(str::trim);
    if lines.any(|line| line == "SELINUX=enforcing" || line == "SELINUX=permissive") {
        guestfs.modify("having the guest relabelled", &["touch", "/.autorelabel"]).await?;
    }
    Ok(())
}
