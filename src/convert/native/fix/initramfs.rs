//! The drivers that a guest needs to find its root on virtio, in the kernel or in its initramfs.
//! Only an initramfs that lacks one is built anew: that takes a minute, and one that need not change
//! should not. Which tool builds it, the guest tells: it is the one that is installed.

use crate::convert::Error;
use crate::convert::native::devices::Devices;
use crate::convert::native::guestfs::Guestfs;

use super::archive::Contents;
use super::boot::command_lines;
use super::kernels::{Kernel, Modules};
use super::{Change, Report};

/// What a root on virtio takes before it is mounted.
const BOOT: [&str; 3] = ["virtio_pci", "virtio_blk", "virtio_scsi"];
/// What it takes afterwards.
const LATER: &str = "virtio_net";
/// Those without which there is no virtio disk at all.
const LEAST: [&str; 2] = ["virtio_pci", "virtio_blk"];

/// What builds an initramfs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tool {
    /// Debian, Ubuntu.
    InitramfsTools,
    /// Red Hat, SUSE, and Debian and Ubuntu where somebody chose it.
    Dracut,
    /// Arch.
    Mkinitcpio,
    /// Alpine.
    Mkinitfs,
    /// SUSE before 12, Red Hat before 6.
    Mkinitrd,
}

/// The tools with a program of each and, where there is one, a file that it works by. Debian has
/// `update-initramfs` as a mere name beside dracut, too.
const TOOLS: [(Tool, &[&str], Option<&str>); 5] = [
    (
        Tool::InitramfsTools,
        &["/usr/sbin/mkinitramfs", "/usr/bin/mkinitramfs"],
        Some("/etc/initramfs-tools/initramfs.conf"),
    ),
    (Tool::Dracut, &["/usr/bin/dracut", "/usr/sbin/dracut", "/sbin/dracut"], None),
    (Tool::Mkinitcpio, &["/usr/bin/mkinitcpio"], Some("/etc/mkinitcpio.conf")),
    (Tool::Mkinitfs, &["/sbin/mkinitfs", "/usr/sbin/mkinitfs"], None),
    (Tool::Mkinitrd, &["/sbin/mkinitrd"], None),
];

/// Sees to it that every kernel of the guest has the drivers at boot, as far as that can be done;
/// what cannot is a warning, and the hardware is planned by what is there afterwards. An initramfs
/// that holds old copies of the files `stale` is built anew, too.
///
/// # Errors
/// [`Error::Guestfs`] when the appliance itself fails.
pub(super) async fn ensure_drivers(
    guestfs: &mut Guestfs,
    (kernels, stale): (&[Kernel], &[&'static str]),
    devices: &Devices,
    report: &mut Report<'_>,
) -> Result<(), Error> {
    if kernels.is_empty() {
        report.warn("guest-kernel-not-found", "no kernel of the guest was found");
    }
    for kernel in kernels {
        let modules = kernel.modules(guestfs).await?;
        let available =
            |name: &&str| modules.built_in.contains(*name) || modules.on_disk.contains(*name);
        if let Some(missing) = LEAST.iter().chain([&LATER]).find(|name| !available(name)) {
            let text = format!("kernel {} of the guest has no {missing}", kernel.version);
            report.warn("guest-kernel-without-virtio", text);
        }
        if !LEAST.iter().all(available) || kernel.initramfs.is_empty() {
            continue;
        }
        let Some(held) = kernel.contents(guestfs).await? else {
            let text = format!("{} of the guest cannot be read", kernel.initramfs.join(", "));
            report.warn("guest-initramfs-unreadable", text);
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
        let end = rebuild(guestfs, (kernel, devices), (&held, &fault), report).await?;
        if let Err(why) = end {
            let text = format!(
                "initramfs of kernel {} holds {fault} and was not rebuilt: {why}",
                kernel.version,
            );
            report.warn("guest-initramfs-not-rebuilt", text);
        }
    }
    Ok(())
}

/// The drivers that the kernel has as modules and the initramfs does not hold.
fn lacking(modules: &Modules, held: &Contents) -> Vec<&'static str> {
    let there = |name: &&str| modules.on_disk.contains(*name) && !modules.built_in.contains(*name);
    BOOT.into_iter().filter(there).filter(|name| !held.modules.contains(*name)).collect()
}

/// What is wrong with the command line of a unified kernel image.
fn unstable(held: &Contents, devices: &Devices) -> Option<String> {
    let line = &held.command_line;
    let is_stable = command_lines(line, devices) == *line;
    (!is_stable).then(|| format!("a name that will not last in '{line}'"))
}

/// Has the guest's own tool build it anew, and looks at the result: one that still lacks a driver,
/// or lost a program that finds the root, gives way to the old one.
async fn rebuild(
    guestfs: &mut Guestfs,
    (kernel, devices): (&Kernel, &Devices),
    (held, fault): (&Contents, &str),
    report: &mut Report<'_>,
) -> Result<Result<(), String>, Error> {
    let Some(tool) = tool(guestfs).await? else {
        return Ok(Err("the guest has no tool that builds one".to_owned()));
    };
    let Some(file) = kernel.initramfs.last() else { return Ok(Ok(())) };
    report.progress.note(format!("rebuilding {file} in the guest: it holds {fault}"));
    let kept = format!("{file}.before-hyperexport");
    guestfs.run("keep the guest's initramfs", &["cp-a", file, &kept]).await?;
    let command = prepare(guestfs, tool, kernel, file).await?;
    let (well, said) = guestfs.sh(&command).await?;
    let problem = if well {
        let modules = kernel.modules(guestfs).await?;
        let now = kernel.contents(guestfs).await?.unwrap_or_default();
        let lost: Vec<_> = held.tools.difference(&now.tools).cloned().collect();
        let still: Vec<_> = lacking(&modules, &now)
            .into_iter()
            .map(|name| format!("{name} is missing"))
            .chain(unstable(&now, devices).map(|fault| format!("it holds {fault}")))
            .collect();
        match (still.as_slice(), lost.as_slice()) {
            ([], []) => None,
            ([], lost) => Some(format!("{} was lost by {command}", lost.join(", "))),
            (still, _) => Some(format!("{} after {command}", still.join(", "))),
        }
    } else {
        Some(format!("{command}: {}", said.last().cloned().unwrap_or_default()))
    };
    let doing = "put the guest's initramfs in its place";
    match problem {
        Some(why) => {
            guestfs.run(doing, &["mv", &kept, file]).await?;
            Ok(Err(why))
        }
        None => {
            guestfs.run(doing, &["rm-f", &kept]).await?;
            let before = format!("with {fault}");
            report.changes.push(Change::new("initramfs", file, &before, "with all of virtio"));
            Ok(Ok(()))
        }
    }
}

/// The tool that is installed.
async fn tool(guestfs: &mut Guestfs) -> Result<Option<Tool>, Error> {
    for (tool, programs, needs) in TOOLS {
        for program in programs {
            let there = guestfs.is_file(program).await?;
            let whole = match needs {
                Some(file) => there && guestfs.is_file(file).await?,
                None => there,
            };
            if whole {
                return Ok(Some(tool));
            }
        }
    }
    Ok(None)
}

/// Tells the tool which drivers to take, for this time and all later ones; returns the command.
async fn prepare(
    guestfs: &mut Guestfs,
    tool: Tool,
    kernel: &Kernel,
    file: &str,
) -> Result<String, Error> {
    let Kernel { version, unified, .. } = kernel;
    let boot = BOOT.join(" ");
    let command = match tool {
        Tool::InitramfsTools => {
            add_lines(guestfs, "/etc/initramfs-tools/modules", &BOOT.join("\n")).await?;
            // By its own name it also keeps what the boot loader needs up to date.
            match guestfs.is_file("/usr/sbin/update-initramfs").await? {
                true if file == format!("/boot/initrd.img-{version}") => {
                    format!("update-initramfs -u -k '{version}'")
                }
                _ => format!("mkinitramfs -o '{file}' '{version}'"),
            }
        }
        Tool::Dracut => {
            let drivers = format!("add_drivers+=\" {boot} {LATER} \"\n");
            guestfs.run("make a folder in the guest", &["mkdir-p", "/etc/dracut.conf.d"]).await?;
            guestfs.write("/etc/dracut.conf.d/hyperexport.conf", &drivers).await?;
            let uefi = if *unified { " --uefi" } else { "" };
            format!("dracut --force{uefi} '{file}' '{version}'")
        }
        Tool::Mkinitcpio => {
            // The file is a shell script: what is added last counts, in every version of the tool.
            let line = format!("MODULES+=({boot} {LATER})");
            add_lines(guestfs, "/etc/mkinitcpio.conf", &line).await?;
            let to = if *unified { "-U" } else { "-g" };
            format!("mkinitcpio -k '{version}' {to} '{file}'")
        }
        Tool::Mkinitfs => {
            let path = "/etc/mkinitfs/mkinitfs.conf";
            let text = guestfs.read(path).await?.unwrap_or_default();
            guestfs.run("make a folder in the guest", &["mkdir-p", "/etc/mkinitfs"]).await?;
            guestfs.write(path, &with_feature(&text)).await?;
            format!("mkinitfs -o '{file}' '{version}'")
        }
        Tool::Mkinitrd => format!(
            "mkinitrd -k vmlinuz-'{version}' -i \"$(basename '{file}')\" -m '{boot}' || \
             mkinitrd -f {} '{file}' '{version}'",
            BOOT.map(|name| format!("--with={name}")).join(" ")
        ),
    };
    Ok(command)
}

/// Adds lines to a file of the guest, unless they are its last ones.
async fn add_lines(guestfs: &mut Guestfs, path: &str, lines: &str) -> Result<(), Error> {
    let text = guestfs.read(path).await?.unwrap_or_default();
    let text = text.trim_end();
    if text.ends_with(lines) {
        return Ok(());
    }
    guestfs.write(path, &format!("{text}\n{lines}\n")).await
}

/// `features="…"` of mkinitfs.conf with virtio (mkinitfs, `features.d/virtio.modules`).
fn with_feature(text: &str) -> String {
    let mut found = false;
    let line = |line: &str| {
        let Some(value) = line.trim().strip_prefix("features=") else { return format!("{line}\n") };
        found = true;
        let value = value.trim_matches(['"', '\'']);
        if value.split_whitespace().any(|feature| feature == "virtio") {
            return format!("{line}\n");
        }
        format!("features=\"{value} virtio\"\n")
    };
    let mut changed: String = text.lines().map(line).collect();
    if !found {
        changed += "features=\"ata base cdrom ext4 keymap kms mmc nvme raid scsi usb virtio\"\n";
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_features_of_alpine_gain_virtio_once() {
        let with = "# x\nfeatures=\"ata base ext4 virtio\"\n";
        assert_eq!(with_feature("# x\nfeatures=\"ata base ext4\"\n"), with);
        assert_eq!(with_feature(with), with);
        assert!(with_feature("").contains(" virtio\""));
    }

    #[test]
    fn only_modules_that_are_on_the_disk_can_be_lacking() {
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let modules = Modules { built_in: set(&["virtio_pci"]), on_disk: set(&["virtio_blk"]) };
        let held = Contents::default();
        assert_eq!(lacking(&modules, &held), ["virtio_blk"]);
        let held = Contents { modules: set(&["virtio_blk"]), ..Contents::default() };
        assert!(lacking(&modules, &held).is_empty());
    }
}
