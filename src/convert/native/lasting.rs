//! Checks whether a guest finds its disks by names that do not depend on the bus. On virtio-blk
//! `/dev/sda` becomes `/dev/vda`, and the kernel's device numbers change as well.

use crate::convert::Error;

use super::devices::GuestDevices;
use super::fix::archive::Contents;
use super::fix::boot::{self, CONFIGURATIONS, ENVIRONMENT, value_of};
use super::fix::kernels::Kernel;
use super::fix::{tables, units};
use super::guestfs::Guestfs;

/// LILO's configuration, and the map of device numbers that LILO makes from it, including the
/// number of the root's device (lilo.conf(5)).
const LILO: [&str; 2] = ["/etc/lilo.conf", "/boot/map"];

/// Folder in which NixOS stores the programs that its kernels start.
const NIX: &str = "/nix/store/";

/// Whether the guest's tables and mount units name all essential devices by names that last.
pub(super) async fn tables_last(
    guestfs: &mut Guestfs,
    devices: &GuestDevices,
) -> Result<bool, Error> {
    for table in tables::TABLES {
        let text = guestfs.read(table.path).await?.unwrap_or_default();
        if tables::needs_unstable(&text, table, devices) {
            return Ok(false);
        }
    }
    for path in guestfs.glob(units::MOUNTS).await? {
        let text = guestfs.read(&path).await?.unwrap_or_default();
        if units::named(&text).any(|device| devices.changes(device)) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether the initramfs and the boot loaders name devices by names that last. A unified kernel
/// image contains its own command line.
pub(super) async fn start_lasts(
    guestfs: &mut Guestfs,
    kernel: &Kernel,
    held: &Contents,
    devices: &GuestDevices,
) -> Result<bool, Error> {
    Ok(initramfs_lasts(held, devices)
        && (kernel.is_unified() || loaders_last(guestfs, devices).await?))
}

fn initramfs_lasts(held: &Contents, devices: &GuestDevices) -> bool {
    boot::lasts(&held.command_line, devices) && !tables::copy_is_unstable(&held.crypttab, devices)
}

/// Whether the boot loaders use names that last. A boot loader that cannot be read is no evidence
/// for that.
async fn loaders_last(guestfs: &mut Guestfs, devices: &GuestDevices) -> Result<bool, Error> {
    let [configuration, map] = LILO;
    if let Some(text) = guestfs.read(configuration).await?
        && guestfs.is_file(map).await?
    {
        return Ok(lilo_lasts(&text));
    }
    let mut is_read = false;
    for pattern in CONFIGURATIONS.iter().chain(&ENVIRONMENT) {
        for path in guestfs.glob(pattern).await? {
            let text = guestfs.read(&path).await?.unwrap_or_default();
            if !commands(&path, &text).all(|line| boot::lasts(line, devices)) {
                return Ok(false);
            }
            is_read |= starts_root(&path, &text);
        }
    }
    Ok(is_read)
}

/// The lines of a configuration that are used to boot. Comments are left out, and files in /etc,
/// which apply only when a configuration is generated again.
fn commands<'a>(path: &str, text: &'a str) -> impl Iterator<Item = &'a str> + use<'a> {
    let boots = !path.starts_with("/etc/");
    text.lines().filter(move |line| boots && !line.trim_start().starts_with(['#', ';']))
}

/// Whether a configuration names the root. An entry of the Boot Loader Specification without
/// `root=` leaves that to the type of the partition (systemd-gpt-auto-generator(8)), and NixOS to a
/// table in its initramfs.
fn starts_root(path: &str, text: &str) -> bool {
    let is_entry = |line: &str| line.split_whitespace().next() != Some("set");
    let is_nix = |line: &str| value_of(line, "init=").is_some_and(|own| own.starts_with(NIX));
    let names = |line: &str| is_entry(line) && value_of(line, "root=").is_some() || is_nix(line);
    commands(path, text).any(names) || path.contains("/loader/entries/")
}

/// Whether LILO passes a tag to the kernel: for a path, its map contains only the number of the
/// device.
fn lilo_lasts(text: &str) -> bool {
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    let roots = lines.filter_map(|line| {
        let (key, value) = line.split_once('=')?;
        (key.trim() == "root").then(|| value.trim().trim_matches('"'))
    });
    let mut roots = roots.peekable();
    roots.peek().is_some() && roots.all(|root| root.contains("UUID=") || root.contains("LABEL="))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convert::native::devices::devices;

    #[test]
    fn lilo_keeps_numbers_of_paths_and_tags_as_they_are() {
        let lilo = |root: &str| format!("boot = /dev/sda\nimage = /boot/vmlinuz\n  {root}\n");
        assert!(!lilo_lasts(&lilo("root = /dev/sda1")));
        assert!(!lilo_lasts(&lilo("root=/dev/disk/by-uuid/5eed")));
        assert!(lilo_lasts(&lilo("root=\"UUID=5eed\"")));
        assert!(!lilo_lasts(&lilo("# root=UUID=5eed")));
    }

    #[test]
    fn a_boot_loader_is_read_where_it_names_a_root() {
        let grub = |text: &str| starts_root("/boot/grub2/grub.cfg", text);
        assert!(grub("menuentry A {\n linux /vmlinuz root=/dev/mapper/vg-root ro\n}\n"));
        assert!(grub("kernelopts=root=UUID=x ro\n") && grub("cmdline: root=UUID=x\n"));
        assert!(!grub("set root='hd0,gpt2'\nset root=hd0\nblscfg\n"));
        assert!(starts_root("/efi/loader/entries/a.conf", "linux /vmlinuz\noptions rw quiet\n"));
        assert!(!starts_root("/etc/kernel/cmdline", "root=UUID=x rw\n"));
        assert!(grub("linux ($drive1)/k-bzImage init=/nix/store/5eed-nixos/init loglevel=4\n"));
        assert!(!grub("linux /k init=/bin/sh\n# kopt=root=UUID=x ro\n"));
    }

    #[test]
    fn comments_and_files_for_later_boot_nothing() {
        let devices = devices(&[("/dev/sda1", "boot")]);
        let lasts =
            |path: &str, text: &str| commands(path, text).all(|line| boot::lasts(line, &devices));
        let legacy = "# kopt=root=/dev/sda1 ro\n ## e.g. kopt=root=/dev/hda1 ro\n";
        assert!(lasts("/boot/grub/menu.lst", legacy));
        assert!(lasts("/etc/kernel/cmdline", "root=/dev/sda2 ro\n"));
        assert!(!lasts("/boot/grub/menu.lst", "kernel /k root=/dev/sda1 ro\n"));
    }

    #[test]
    fn an_initramfs_may_hold_an_old_crypttab() {
        let devices = devices(&[("/dev/sda1", "boot"), ("/dev/sda5", "luks")]);
        let held =
            |crypttab: &str| Contents { crypttab: crypttab.to_owned(), ..Contents::default() };
        assert!(!initramfs_lasts(&held("sda5_crypt /dev/sda5 none luks\n"), &devices));
        assert!(!initramfs_lasts(&held("target=x,source=/dev/sda5,key=none\n"), &devices));
        assert!(initramfs_lasts(&held("sda5_crypt UUID=luks none luks\n"), &devices));
        let line = Contents { command_line: "root=/dev/sda1".to_owned(), ..Contents::default() };
        assert!(!initramfs_lasts(&line, &devices));
        assert!(!initramfs_lasts(&line, &GuestDevices::default()), "no better name is known");
    }
}
