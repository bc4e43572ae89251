//! Ensures that a guest has the drivers to find its root on virtio, in the kernel or in its
//! initramfs. Only an initramfs that lacks a driver is rebuilt: a rebuild takes a minute, and an
//! initramfs that works should not change. The installed tool rebuilds it.

use crate::convert::Error;
use crate::convert::native::devices::GuestDevices;
use crate::convert::native::guestfs::Guestfs;
use crate::convert::native::transit::LONGEST_INITRAMFS;
use crate::model::{WarningCode, chain};

use super::archive::Contents;
use super::boot::command_lines;
use super::builders::{self, BuildOrder};
use super::kernels::{Kernel, Modules};
use super::tables::copy_is_unstable;
use super::{Change, FixReport};

/// Modules that a root on virtio needs before it is mounted.
const BOOT: [&str; 3] = ["virtio_pci", "virtio_blk", "virtio_scsi"];
/// Module that is needed after the root is mounted.
const LATER: &str = "virtio_net";
/// Modules without which no virtio disk works.
const LEAST: [&str; 2] = ["virtio_pci", "virtio_blk"];

/// Ensures that every kernel of the guest has the drivers at boot, as far as possible. A failure is
/// a warning, and the hardware is planned by the drivers found afterwards. An initramfs with old
/// copies of the files `stale` is rebuilt, too.
///
/// # Errors
/// [`Error::Guestfs`] when the appliance itself fails.
pub(super) async fn ensure_drivers(
    guestfs: &mut Guestfs,
    kernels: &[Kernel],
    stale: &[&'static str],
    devices: &GuestDevices,
    report: &mut FixReport<'_>,
) -> Result<(), Error> {
    if kernels.is_empty() {
        report.warn(WarningCode::GuestKernelNotFound, "no kernel of the guest was found");
    }
    for kernel in kernels {
        let modules = kernel.modules(guestfs).await?;
        let available =
            |name: &&str| modules.built_in.contains(*name) || modules.on_disk.contains(*name);
        if let Some(missing) = LEAST.iter().chain([&LATER]).find(|name| !available(name)) {
            let text = format!("kernel {} of the guest has no {missing}", kernel.version);
            report.warn(WarningCode::GuestKernelWithoutVirtio, text);
        }
        if !LEAST.iter().all(available) || kernel.initramfs.is_empty() {
            continue;
        }
        let Some(held) = kernel.contents(guestfs).await? else {
            let text = format!("{} of the guest cannot be read", kernel.initramfs.join(", "));
            report.warn(WarningCode::GuestInitramfsUnreadable, text);
            continue;
        };
        let mut faults: Vec<_> =
            lacking(&modules, &held).iter().map(|name| format!("no {name}")).collect();
        faults.extend(stale.iter().map(|path| format!("an old {path}")));
        faults.extend(unstable(&held, devices));
        if faults.is_empty() {
            continue;
        }
        let fault = faults.join(", ");
        let stale = StaleInitramfs { kernel, held: &held, fault: &fault };
        let end = rebuild(guestfs, stale, devices, report).await?;
        if let Err(why) = end {
            let text = format!(
                "initramfs of kernel {} contains {fault} and was not rebuilt: {why}",
                kernel.version,
            );
            report.warn(WarningCode::GuestInitramfsNotRebuilt, text);
        }
    }
    Ok(())
}

/// The drivers that the kernel has as modules and the initramfs lacks.
fn lacking(modules: &Modules, held: &Contents) -> Vec<&'static str> {
    let there = |name: &&str| modules.on_disk.contains(*name) && !modules.built_in.contains(*name);
    BOOT.into_iter().filter(there).filter(|name| !held.modules.contains(*name)).collect()
}

/// Why the command line of a unified kernel image, or a copy of crypttab(5), does not find its
/// devices on KVM.
fn unstable(held: &Contents, devices: &GuestDevices) -> Option<String> {
    let line = &held.command_line;
    if command_lines(line, devices) != *line {
        return Some(format!("a name that will not last in '{line}'"));
    }
    let is_old = copy_is_unstable(&held.crypttab, devices);
    is_old.then(|| "a name that will not last in its crypttab".to_owned())
}

/// An initramfs that has to be rebuilt.
struct StaleInitramfs<'a> {
    kernel: &'a Kernel,
    held: &'a Contents,
    /// The reason for the rebuild, for messages.
    fault: &'a str,
}

/// Rebuilds an initramfs with the guest's own tool, and checks the result. Where it still lacks a
/// driver, or lost a program that finds the root, the old one is restored. The old one is stored on
/// this machine, since the guest may have no space for a second copy.
async fn rebuild(
    guestfs: &mut Guestfs,
    StaleInitramfs { kernel, held, fault }: StaleInitramfs<'_>,
    devices: &GuestDevices,
    report: &mut FixReport<'_>,
) -> Result<Result<(), String>, Error> {
    let Some(tool) = builders::installed(guestfs).await? else {
        return Ok(Err("the guest has no tool that builds one".to_owned()));
    };
    let Some(file) = kernel.initramfs.last() else { return Ok(Ok(())) };
    report.progress.note(format!("rebuilding {file} in the guest, which contains {fault}"));
    let modules = kernel.modules(guestfs).await?;
    let wanted = BOOT.into_iter().chain([LATER]).filter(|name| modules.on_disk.contains(*name));
    let wanted: Vec<_> = wanted.collect();
    let command_line = command_lines(&held.command_line, devices);
    let order = BuildOrder { kernel, file, modules: &wanted, command_line: &command_line };
    let Some(old) = guestfs.fetch(file, LONGEST_INITRAMFS).await? else {
        return Ok(Err("no copy of it can be kept".to_owned()));
    };
    let command = match builders::prepare(guestfs, tool, order).await {
        Err(error @ Error::Refused { .. }) => return Ok(Err(chain(&error))),
        prepared => prepared?,
    };
    let (well, said) = guestfs.sh(&command).await?;
    guestfs.try_run("removing a file of ours", &["rm-f", builders::COMMAND_LINE]).await?;
    let problem = if well {
        let now = kernel.contents(guestfs).await?.unwrap_or_default();
        still_wrong(held, &now, &modules, &command_line)
            .map(|problem| format!("{problem} after {command}"))
    } else {
        Some(format!("{command}: {}", said.last().cloned().unwrap_or_default()))
    };
    if let Some(why) = problem {
        guestfs.restore(file, Some(&old)).await?;
        return Ok(Err(why));
    }
    let before = format!("with {fault}");
    report.changes.push(Change::new("initramfs", file, &before, "with all of virtio"));
    Ok(Ok(()))
}

/// Why a rebuilt initramfs is still unusable, if it is.
fn still_wrong(
    old: &Contents,
    new: &Contents,
    modules: &Modules,
    command_line: &str,
) -> Option<String> {
    let lacks = lacking(modules, new).into_iter().map(|name| format!("{name} is missing"));
    let lost = old.tools.difference(&new.tools).map(|name| format!("{name} is missing"));
    let line = &new.command_line;
    let differs = !line.split_whitespace().eq(command_line.split_whitespace());
    let other = differs.then(|| format!("its command line is '{line}', not '{command_line}'"));
    let faults: Vec<_> = lacks.chain(lost).chain(other).collect();
    (!faults.is_empty()).then(|| faults.join(", "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::convert::native::fix::archive::tests::archive;
    use crate::convert::native::played::{Played, PlayedAppliance};
    use crate::progress::Progress;

    #[test]
    fn only_modules_that_are_on_the_disk_can_be_lacking() {
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let modules = Modules { built_in: set(&["virtio_pci"]), on_disk: set(&["virtio_blk"]) };
        let held = Contents::default();
        assert_eq!(lacking(&modules, &held), ["virtio_blk"]);
        let held = Contents { modules: set(&["virtio_blk"]), ..Contents::default() };
        assert!(lacking(&modules, &held).is_empty());
    }

    #[test]
    fn a_unified_kernel_with_another_command_line_gives_way() {
        let modules = Modules::default();
        let held = |line: &str| Contents { command_line: line.to_owned(), ..Contents::default() };
        let old = held("root=/dev/sda2 rw");
        let wrong = |new: &str| still_wrong(&old, &held(new), &modules, "root=UUID=5eed rw");
        assert_eq!(wrong("root=UUID=5eed  rw"), None);
        for other in ["", "root=UUID=0f-the-appliance", "root=UUID=5eed"] {
            assert!(wrong(other).is_some_and(|why| why.contains("command line")), "{other}");
        }
    }

    #[test]
    fn an_initramfs_that_lost_a_tool_gives_way() {
        let tools = |names: &[&str]| Contents {
            tools: names.iter().map(|name| (*name).to_owned()).collect(),
            ..Contents::default()
        };
        let (old, new) = (tools(&["lvm"]), tools(&[]));
        let why = still_wrong(&old, &new, &Modules::default(), "");
        assert_eq!(why.as_deref(), Some("lvm is missing"));
    }

    /// A guest whose initramfs lacks what its kernel has as modules.
    fn guest(refused: &[&str], sh: serde_json::Value) -> Played {
        let modules = "kernel/virtio_pci.ko:\nkernel/virtio_blk.ko:\n";
        let initramfs = archive(&["lib/ahci.ko"]);
        Played::new(
            &[
                ("boot/initrd.img-6.1", &initramfs),
                ("lib/modules/6.1/modules.dep", modules.as_bytes()),
                ("etc/dracut.conf.d/x.conf", b""),
                ("usr/bin/dracut", b""),
                ("tmp/x", b""),
            ],
            json!({ "refused": refused, "sh": sh }),
        )
    }

    async fn warnings_of(played: Played) -> (Vec<String>, PlayedAppliance) {
        let mut guestfs = played.started().await;
        let kernel = Kernel {
            version: "6.1".to_owned(),
            initramfs: vec!["/boot/initrd.img-6.1".to_owned()],
            unified: false,
        };
        let progress = Progress::none();
        let mut report = FixReport::new(&progress);
        let devices = GuestDevices::default();
        let end = ensure_drivers(&mut guestfs, &[kernel], &[], &devices, &mut report).await;
        end.expect("the appliance goes on");
        let messages = report.warnings.into_iter().map(|warning| warning.message);
        (messages.filter(|text| text.contains("initramfs")).collect(), guestfs)
    }

    #[tokio::test]
    async fn a_full_boot_costs_the_initramfs_alone() {
        // Not even a copy of the old one fits; the tool truncates the file and fails.
        let played =
            guest(&["/boot/*.before-hyperexport"], json!([["dracut", 1, "No space left", {}]]));
        let (warnings, mut guestfs) = warnings_of(played).await;
        assert!(warnings[0].contains("No space left"), "{warnings:?}");
        let held = guestfs.fetch("/boot/initrd.img-6.1", LONGEST_INITRAMFS).await;
        let held = held.expect("asked").expect("there");
        assert_eq!(std::fs::read(held).expect("read"), archive(&["lib/ahci.ko"]));
        assert_eq!(guestfs.glob("/boot/*").await.expect("listed").len(), 1);
    }

    #[tokio::test]
    async fn a_read_only_root_costs_the_initramfs_alone() {
        let (warnings, _) = warnings_of(guest(&["/etc/*"], json!([]))).await;
        assert!(warnings[0].contains("zz-hyperexport.conf"), "{warnings:?}");
    }

    #[tokio::test]
    async fn a_worse_initramfs_gives_way_to_the_old_one() {
        let files = tempfile::tempdir().expect("a folder");
        let worse = files.path().join("worse");
        std::fs::write(&worse, archive(&["lib/virtio_pci.ko"])).expect("written");
        let built = json!([["dracut", 0, "", {"/boot/initrd.img-6.1": worse}]]);
        let (warnings, mut guestfs) = warnings_of(guest(&[], built)).await;
        assert!(warnings[0].contains("virtio_blk is missing"), "{warnings:?}");
        let held = guestfs.fetch("/boot/initrd.img-6.1", LONGEST_INITRAMFS).await;
        let held = held.expect("asked").expect("there");
        assert_eq!(std::fs::read(held).expect("read"), archive(&["lib/ahci.ko"]));
    }
}
