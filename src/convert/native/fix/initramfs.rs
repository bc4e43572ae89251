//! The drivers that a guest needs to find its root on virtio, in the kernel or in its initramfs.
//! Only an initramfs that lacks one is built anew: that takes a minute, and one that need not change
//! should not.

use std::collections::BTreeSet;
use std::fs::File;

use crate::convert::Error;
use crate::convert::native::guestfs::Guestfs;
use crate::convert::native::inspect::{Family, Guest};

use super::archive::{self, module};
use super::{Change, Report};

/// What a root on virtio takes before it is mounted.
const BOOT: [&str; 3] = ["virtio_pci", "virtio_blk", "virtio_scsi"];
/// What it takes afterwards.
const LATER: &str = "virtio_net";
/// Where initramfs files lie, with what is around the version in their names.
const FILES: [(&str, &str, &str); 4] = [
    ("/boot/initrd.img-*", "initrd.img-", ""),
    ("/boot/initramfs-*.img", "initramfs-", ".img"),
    ("/boot/initrd-*", "initrd-", ""),
    ("/boot/*/*/initrd", "", ""),
];
/// Names of those that are for other ends than to boot.
const OTHERS: [&str; 4] = ["kdump", "rescue", "fallback", ".bak"];

/// A kernel with an initramfs.
struct Kernel {
    version: String,
    initramfs: String,
}

/// Sees to it that every kernel of the guest has the drivers at boot.
///
/// # Errors
/// [`Error::Guestfs`] when one cannot be helped: the guest would not boot.
pub(super) async fn ensure_drivers(
    guestfs: &mut Guestfs,
    guest: &Guest,
    report: &mut Report<'_>,
) -> Result<(), Error> {
    let kernels = kernels(guestfs).await?;
    if kernels.is_empty() {
        return no_driver("no kernel with an initramfs was found in /boot");
    }
    for kernel in kernels {
        let built_in = names(guestfs, &kernel.version, "modules.builtin").await?;
        let there = names(guestfs, &kernel.version, "modules.dep").await?;
        let available = |name: &&str| built_in.contains(*name) || there.contains(*name);
        if let Some(missing) = BOOT.iter().find(|name| !available(name)) {
            report.warn(
                "guest-kernel-without-virtio",
                format!("kernel {} of the guest has no {missing}", kernel.version),
            );
            continue;
        }
        if !available(&LATER) {
            let text = format!("kernel {} of the guest has no {LATER}", kernel.version);
            report.warn("guest-kernel-without-virtio", text);
        }
        let needed: Vec<_> =
            BOOT.iter().copied().filter(|name| !built_in.contains(*name)).collect();
        let lacking = lacking(guestfs, &kernel, &needed).await?;
        if !lacking.is_empty() {
            rebuild(guestfs, guest, &kernel, &lacking, report).await?;
            let still = self::lacking(guestfs, &kernel, &needed).await?;
            if let Some(name) = still.first() {
                return no_driver(&format!("{name} is not in {}", kernel.initramfs));
            }
        }
        report.bootable.push(kernel.version);
    }
    if report.bootable.is_empty() {
        return no_driver("none of its kernels has the drivers of virtio");
    }
    Ok(())
}

fn no_driver<T>(message: &str) -> Result<T, Error> {
    let doing = "make the guest's initramfs fit for virtio".to_owned();
    Err(Error::Guestfs { doing, message: message.to_owned() })
}

/// The kernels that have both an initramfs and modules.
async fn kernels(guestfs: &mut Guestfs) -> Result<Vec<Kernel>, Error> {
    let mut kernels = Vec::new();
    for (pattern, before, after) in FILES {
        for initramfs in guestfs.glob(pattern).await? {
            let Some(version) = version(&initramfs, before, after) else { continue };
            let modules = format!("/lib/modules/{version}/modules.dep");
            if guestfs.is_file(&modules).await? {
                kernels.push(Kernel { version, initramfs });
            }
        }
    }
    Ok(kernels)
}

/// The version in the path of an initramfs.
fn version(path: &str, before: &str, after: &str) -> Option<String> {
    let mut parts = path.rsplit('/');
    let name = parts.next()?;
    if OTHERS.iter().any(|other| path.contains(other)) {
        return None;
    }
    // Boot Loader Specification: /boot/MACHINE-ID/VERSION/initrd.
    if before.is_empty() {
        return parts.next().map(str::to_owned);
    }
    Some(name.strip_prefix(before)?.strip_suffix(after)?.to_owned())
}

/// The modules that one of the kernel's own lists names.
async fn names(
    guestfs: &mut Guestfs,
    version: &str,
    list: &str,
) -> Result<BTreeSet<String>, Error> {
    let text = guestfs.read(&format!("/lib/modules/{version}/{list}")).await?.unwrap_or_default();
    let paths = text.lines().map(|line| line.split(':').next().unwrap_or(line));
    Ok(paths.filter_map(|path| module(path.as_bytes())).collect())
}

/// Those of the modules that the initramfs does not hold. Of one that nobody can read it is taken
/// that it holds none.
async fn lacking<'a>(
    guestfs: &mut Guestfs,
    kernel: &Kernel,
    needed: &[&'a str],
) -> Result<Vec<&'a str>, Error> {
    let local = guestfs.fetch(&kernel.initramfs).await?;
    let read = move || File::open(local).and_then(archive::modules);
    let doing = format!("read the guest's {}", kernel.initramfs);
    let held = tokio::task::spawn_blocking(read).await;
    let held = match held.map_err(|join| Error::io(&doing)(join.into()))? {
        Ok(held) => held.unwrap_or_default(),
        Err(error) => {
            tracing::info!(%error, initramfs = kernel.initramfs, "it cannot be read");
            BTreeSet::new()
        }
    };
    Ok(needed.iter().copied().filter(|name| !held.contains(*name)).collect())
}

/// Has the guest's own tool build it anew.
async fn rebuild(
    guestfs: &mut Guestfs,
    guest: &Guest,
    kernel: &Kernel,
    lacking: &[&str],
    report: &mut Report<'_>,
) -> Result<(), Error> {
    let Kernel { version, initramfs } = kernel;
    let command = match guest.family() {
        Family::Debian => {
            let path = "/etc/initramfs-tools/modules";
            let text = guestfs.read(path).await?.unwrap_or_default();
            let lines = text.trim_end();
            guestfs.write(path, &format!("{lines}\n{}\n", BOOT.join("\n"))).await?;
            format!("update-initramfs -u -k '{version}'")
        }
        Family::RedHat | Family::Suse => {
            let drivers = format!("add_drivers+=\" {} {LATER} \"\n", BOOT.join(" "));
            guestfs.write("/etc/dracut.conf.d/hyperexport.conf", &drivers).await?;
            format!("dracut --force '{initramfs}' '{version}'")
        }
        _ => {
            let message = format!(
                "{initramfs} lacks {}, and its distribution is unknown",
                lacking.join(", ")
            );
            return no_driver(&message);
        }
    };
    report
        .progress
        .note(format!("building {initramfs} anew in the guest: it lacks {}", lacking.join(", ")));
    let (well, said) = guestfs.sh(&command).await?;
    if !well {
        let last = said.last().cloned().unwrap_or_default();
        return no_driver(&format!("{command}: {last}"));
    }
    report.changes.push(Change::new(
        "initramfs",
        initramfs,
        &format!("without {}", lacking.join(", ")),
        "with all of virtio",
    ));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_the_names_of_every_distribution() {
        let of = |path: &str| {
            let mut all = FILES.iter();
            all.find_map(|(_, before, after)| {
                version(path, before, after).filter(|v| v.contains("6."))
            })
        };
        assert_eq!(of("/boot/initrd.img-6.1.0-50-amd64").as_deref(), Some("6.1.0-50-amd64"));
        assert_eq!(of("/boot/initramfs-6.12.el10.x86_64.img").as_deref(), Some("6.12.el10.x86_64"));
        assert_eq!(of("/boot/initrd-6.4.0-default").as_deref(), Some("6.4.0-default"));
        assert_eq!(of("/boot/4f1c/6.9.7-200.fc40/initrd").as_deref(), Some("6.9.7-200.fc40"));
        assert_eq!(of("/boot/initramfs-6.12.el10.x86_64kdump.img"), None);
        assert_eq!(of("/boot/initramfs-0-rescue-6.img"), None);
    }
}
