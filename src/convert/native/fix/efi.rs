//! The file that UEFI firmware starts when it has no boot variables (UEFI 2.10, 3.5.1.1). The
//! source's variables are not migrated, and many systems install their boot loader only under their
//! vendor's name. That loader is copied to the path that every firmware tries.

use crate::convert::Error;
use crate::convert::native::guestfs::Guestfs;
use crate::model::WarningCode;

use super::{Change, FixReport};

/// The path that firmware for x86-64 starts.
pub(super) const FALLBACK: &str = "/EFI/BOOT/BOOTX64.EFI";
/// Type of an EFI system partition in a GPT, and in an MBR.
const PARTITION: [&str; 2] = ["c12a7328-f81f-11d2-ba4b-00a0c93ec93b", "0xef"];
/// Boot loaders that may be copied to the fallback path, the better first: a shim before the GRUB
/// that it starts.
const LOADERS: [&str; 10] = [
    "shimx64.efi",
    "shim.efi",
    "bootmgfw.efi",
    "systemd-bootx64.efi",
    "grubx64.efi",
    "grub.efi",
    "refind_x64.efi",
    "limine_x64.efi",
    "elilo.efi",
    // FreeBSD's (loader.efi(8)).
    "loader.efi",
];
/// Files that a loader reads from its own folder: a shim its GRUB and its key manager, which has
/// another name on SUSE; a GRUB and a limine their configuration. `fbx64.efi` is left out, since it
/// would restart the machine to write variables.
const COMPANIONS: [&str; 6] =
    ["grubx64.efi", "grub.efi", "mmx64.efi", "MokManager.efi", "grub.cfg", "limine.conf"];
/// Files that rEFInd reads from its own folder: its configuration and the drivers of file systems.
const OF_REFIND: [&str; 2] = ["refind.conf", "drivers_x64"];
/// Loaders that a shim starts.
const OF_SHIM: [&str; 4] = [
    "/EFI/BOOT/grubx64.efi",
    "/EFI/BOOT/grub.efi",
    "/EFI/BOOT/fbx64.efi",
    "/EFI/BOOT/fallback.efi",
];

/// Ensures that firmware without variables finds a boot loader on each EFI system partition that
/// has one. Unmounts all file systems first.
pub(super) async fn ensure_fallback(
    guestfs: &mut Guestfs,
    distribution: &str,
    report: &mut FixReport<'_>,
) -> Result<(), Error> {
    guestfs.run("unmounting the guest's file systems", &["umount-all"]).await?;
    for device in guestfs.run("listing the guest's partitions", &["list-partitions"]).await? {
        let tags = guestfs.tags(&device).await?;
        let is_esp =
            tags.get("PART_ENTRY_TYPE").is_some_and(|kind| PARTITION.contains(&kind.as_str()));
        if !is_esp {
            continue;
        }
        let doing = format!("mounting the EFI system partition {device}");
        if !guestfs.try_run(&doing, &["mount", &device, "/"]).await? {
            let text = format!("EFI system partition {device} of the guest cannot be mounted");
            report.warn(WarningCode::GuestEspUnreadable, text);
            continue;
        }
        guestfs.written.within(&device);
        complete(guestfs, &device, distribution, report).await?;
        guestfs.run("unmounting the EFI system partition", &["umount-all"]).await?;
    }
    Ok(())
}

async fn complete(
    guestfs: &mut Guestfs,
    device: &str,
    distribution: &str,
    report: &mut FixReport<'_>,
) -> Result<(), Error> {
    let loaders = loaders(guestfs, distribution).await?;
    let there = guestfs.is_file(FALLBACK).await?;
    if there && !is_lonely_shim(guestfs, &loaders).await? {
        return Ok(());
    }
    let Some(loader) = loaders.first() else { return Ok(()) };
    if let Err(why) = copy_all(guestfs, loader).await? {
        let text = format!(
            "EFI system partition {device} of the guest has no copy of {loader}: {why}; the guest \
             starts only by a boot variable that names {loader}"
        );
        report.warn(WarningCode::GuestEspFull, text);
        return Ok(());
    }
    let after = format!("a copy of {loader}, started without boot variables");
    let object = format!("{device}:{FALLBACK}");
    report.changes.push(Change::new("boot loader", &object, "missing", &after));
    Ok(())
}

/// Copies a loader and the files that it needs, all or none: a truncated loader would pass for a
/// complete one.
async fn copy_all(guestfs: &mut Guestfs, loader: &str) -> Result<Result<(), String>, Error> {
    let doing = format!("copying the boot loader {loader} of the guest");
    if let Err(why) = guestfs.attempt(&doing, &["mkdir-p", "/EFI/BOOT"]).await? {
        return Ok(Err(why));
    }
    let mut made = Vec::new();
    let mut all = copies(loader);
    if is_elilo(loader) {
        all.extend(beside(&guestfs.glob(&format!("{}/*", folder_of(loader))).await?, loader));
    }
    for (from, to) in all {
        if exists(guestfs, &to).await? || !exists(guestfs, &from).await? {
            continue;
        }
        made.push(to.clone());
        let Err(why) = guestfs.attempt(&doing, &["cp-r", &from, &to]).await? else { continue };
        for path in &made {
            // A file that cannot be removed was not written either: the file system is read-only.
            guestfs.try_run("removing an incomplete copy", &["rm-rf", path]).await?;
        }
        return Ok(Err(why));
    }
    Ok(Ok(()))
}

async fn exists(guestfs: &mut Guestfs, path: &str) -> Result<bool, Error> {
    Ok(guestfs.ask(&["exists", path]).await? == "true")
}

/// Whether a loader reads its configuration, kernels and initramfs files from its own folder.
fn is_elilo(loader: &str) -> bool {
    loader.to_ascii_lowercase().ends_with("/elilo.efi")
}

fn folder_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// Copies of all files in a loader's folder, without the loader.
fn beside(files: &[String], loader: &str) -> Vec<(String, String)> {
    let pair = |path: &String| {
        let name = path.strip_prefix(folder_of(loader))?;
        (path != loader).then(|| (path.clone(), format!("/EFI/BOOT{name}")))
    };
    files.iter().filter_map(pair).collect()
}

/// The copies for a loader: source and target paths.
fn copies(loader: &str) -> Vec<(String, String)> {
    let (folder, name) = loader.rsplit_once('/').unwrap_or(("", loader));
    let is_refind = name.eq_ignore_ascii_case("refind_x64.efi");
    let companions = if is_refind { &OF_REFIND[..] } else { &COMPANIONS[..] };
    let beside = companions.iter().filter(|companion| !name.eq_ignore_ascii_case(companion));
    let beside =
        beside.map(|companion| (format!("{folder}/{companion}"), format!("/EFI/BOOT/{companion}")));
    std::iter::once((loader.to_owned(), FALLBACK.to_owned())).chain(beside).collect()
}

/// The loaders of vendors, the distribution's own first.
async fn loaders(guestfs: &mut Guestfs, distribution: &str) -> Result<Vec<String>, Error> {
    let mut found = Vec::new();
    for loader in LOADERS {
        for pattern in [format!("/EFI/*/{loader}"), format!("/EFI/*/Boot/{loader}")] {
            found.extend(guestfs.glob(&pattern).await?);
        }
    }
    // A kernel that is an EFI program itself, the newest first.
    let mut unified = guestfs.glob("/EFI/Linux/*.efi").await?;
    unified.sort_by(|a, b| super::entries::newest_first(a, b));
    found.extend(unified);
    found.retain(|path| !path.to_ascii_lowercase().starts_with("/efi/boot/"));
    let own = format!("/efi/{}/", vendor(distribution));
    found.sort_by_key(|path| !path.to_ascii_lowercase().starts_with(&own));
    Ok(found)
}

/// The folder of a distribution below `/EFI`.
fn vendor(distribution: &str) -> &str {
    match distribution {
        "rhel" | "oraclelinux" | "redhat-based" | "scientificlinux" => "redhat",
        "windows" => "microsoft",
        other => other,
    }
}

/// Whether the fallback is a shim without any loader that it could start.
async fn is_lonely_shim(guestfs: &mut Guestfs, loaders: &[String]) -> Result<bool, Error> {
    for started in OF_SHIM {
        if guestfs.is_file(started).await? {
            return Ok(false);
        }
    }
    let sum = guestfs.ask(&["checksum", "sha256", FALLBACK]).await?;
    for loader in loaders.iter().filter(|path| path.to_ascii_lowercase().contains("/shim")) {
        if guestfs.ask(&["checksum", "sha256", loader]).await? == sum {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elilo_comes_with_its_whole_folder() {
        let loader = "/EFI/Slackware/elilo.efi";
        let files = ["elilo.conf", "elilo.efi", "initrd.gz", "vmlinuz"];
        let files = files.map(|name| format!("/EFI/Slackware/{name}"));
        assert!(is_elilo(loader) && is_elilo("/EFI/SuSE/ELILO.EFI"));
        assert!(!is_elilo("/EFI/debian/grubx64.efi"));
        let copied = beside(&files, loader);
        let to: Vec<_> = copied.iter().map(|(_, to)| to.as_str()).collect();
        assert_eq!(to, ["/EFI/BOOT/elilo.conf", "/EFI/BOOT/initrd.gz", "/EFI/BOOT/vmlinuz"]);
    }

    /// The names of the files that are copied with the loader.
    fn companions(loader: &str) -> Vec<String> {
        let copies = copies(loader);
        assert_eq!(copies[0], (loader.to_owned(), FALLBACK.to_owned()));
        let folder = loader.rsplit_once('/').expect("a path").0;
        let name = |(from, to): &(String, String)| {
            let name = from.strip_prefix(folder).expect("beside the loader");
            assert_eq!(to, &format!("/EFI/BOOT{name}"));
            name[1..].to_owned()
        };
        copies[1..].iter().map(name).collect()
    }

    #[test]
    fn a_shim_of_suses_comes_with_what_it_starts() {
        let beside = companions("/EFI/sles/shim.efi");
        for needed in ["grub.efi", "MokManager.efi", "grubx64.efi", "mmx64.efi", "grub.cfg"] {
            assert!(beside.iter().any(|name| name == needed), "{needed}");
        }
        assert!(OF_SHIM.contains(&"/EFI/BOOT/grub.efi"));
    }

    #[test]
    fn refind_comes_with_its_configuration_and_drivers() {
        assert_eq!(companions("/EFI/refind/refind_x64.efi"), ["refind.conf", "drivers_x64"]);
    }

    #[test]
    fn a_loader_is_not_its_own_companion() {
        let beside = companions("/EFI/debian/grubx64.efi");
        assert!(!beside.iter().any(|name| name == "grubx64.efi"), "{beside:?}");
    }
}
