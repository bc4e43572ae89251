//! Finds the system that is started, of several on the boot disk: the boot loader's first entry
//! names its root.

use crate::convert::Error;
use crate::convert::native::devices::GuestDevices;
use crate::convert::native::fix::boot::{CONFIGURATIONS, ENVIRONMENT, value_of};
use crate::convert::native::fix::configurations;
use crate::convert::native::guestfs::Guestfs;

use super::layers::LISTING;

const FSTAB: &str = "/etc/fstab";
/// Mount point for an EFI system partition or a `/boot` while it is read.
const BOOT: &str = "/boot";
const DOING: &str = "searching for the boot loader";
/// Types of file systems that can contain a boot loader's files.
const READABLE: [&str; 6] = ["ext2", "ext3", "ext4", "xfs", "btrfs", "vfat"];
/// Folder of the Boot Loader Specification.
const ENTRIES: &str = "/loader/entries/";

/// A file system that may contain the files of a boot loader.
#[derive(Debug, Clone, Default)]
pub(super) struct Site {
    pub(super) device: String,
    /// The root on this file system; none for a separate `/boot`.
    root: Option<String>,
    /// Path and text of each file.
    texts: Vec<(String, String)>,
}

impl Site {
    /// Reads a root; yields no files where the root cannot be mounted.
    pub(super) async fn of_root(
        guestfs: &mut Guestfs,
        root: &str,
        device: &str,
    ) -> Result<Option<Self>, Error> {
        if !guestfs.try_run("inspecting a system", &["mount-ro", root, "/"]).await? {
            return Ok(None);
        }
        let mut texts = texts(guestfs).await?;
        if let Some(fstab) = guestfs.read(FSTAB).await? {
            texts.push((FSTAB.to_owned(), fstab));
        }
        guestfs.run("unmounting a system", &["umount-all"]).await?;
        Ok(Some(Self { device: device.to_owned(), root: Some(root.to_owned()), texts }))
    }

    /// Reads a file system that is no root: an EFI system partition or a separate `/boot`.
    pub(super) async fn of_boot(guestfs: &mut Guestfs, device: &str) -> Result<Self, Error> {
        let mut site = Self { device: device.to_owned(), ..Self::default() };
        guestfs.run(DOING, &["mkmountpoint", BOOT]).await?;
        if guestfs.try_run(DOING, &["mount-ro", device, BOOT]).await? {
            site.texts = texts(guestfs).await?;
            guestfs.run(DOING, &["umount", BOOT]).await?;
        }
        guestfs.run(DOING, &["rmmountpoint", BOOT]).await?;
        Ok(site)
    }

    /// A boot loader in a boot sector, which continues from the file system of that UUID.
    pub(super) fn of_boot_sector(uuid: &str) -> Self {
        let text = format!("search.fs_uuid {uuid} root");
        Self { texts: vec![("boot sector".to_owned(), text)], ..Self::default() }
    }

    /// Whether the boot loader only names another file system, with the loader's other files.
    pub(super) fn leads_on(&self) -> bool {
        let has_loader = self.texts.iter().any(|(path, _)| path != FSTAB);
        has_loader && self.commands().is_empty()
    }

    pub(super) fn fstab(&self) -> &str {
        let found = self.texts.iter().find(|(path, _)| path == FSTAB);
        found.map(|(_, text)| text.as_str()).unwrap_or_default()
    }

    /// The command lines of the kernels, in the order in which they are started.
    pub(super) fn commands(&self) -> Vec<String> {
        let lines = |texts: &[&(String, String)]| -> Vec<String> {
            let lines = texts.iter().flat_map(|(_, text)| text.lines().map(str::trim));
            lines.map(str::to_owned).collect()
        };
        let files = || self.texts.iter().filter(|(path, _)| path != FSTAB);
        let options = files().flat_map(|(_, text)| text.lines());
        let options = options.filter_map(|line| line.strip_prefix("kernelopts=")).next();
        let (mut entries, others): (Vec<_>, Vec<_>) =
            files().partition(|(path, _)| path.contains(ENTRIES));
        entries.retain(|(path, _)| !path.contains("rescue"));
        entries.sort_by(|(a, _), (b, _)| b.cmp(a));
        let entries = lines(&entries).into_iter().filter(|line| line.starts_with("options"));
        let entries =
            entries.map(|line| line.replace("$kernelopts", options.unwrap_or("$kernelopts")));
        // `set root=…` of GRUB means the file system of the loader.
        let is_command = |line: &String| {
            !line.starts_with(['#', ';']) && line.split_whitespace().next() != Some("set")
        };
        let others = lines(&others).into_iter().filter(is_command);
        entries.chain(others).filter(|line| value_of(line, "root=").is_some()).collect()
    }

    fn names(&self, text: &str) -> bool {
        self.texts.iter().any(|(path, own)| path != FSTAB && own.contains(text))
    }
}

/// The texts of the boot loaders on the mounted file systems.
async fn texts(guestfs: &mut Guestfs) -> Result<Vec<(String, String)>, Error> {
    configurations::texts(guestfs, CONFIGURATIONS.iter().chain(&ENVIRONMENT)).await
}

/// The file systems that are no root and may contain a boot loader's files.
pub(super) async fn candidates(
    guestfs: &mut Guestfs,
    roots: &[&str],
) -> Result<Vec<String>, Error> {
    let listed = guestfs.run(LISTING, &["list-filesystems"]).await?;
    let pairs = listed.iter().filter_map(|line| line.rsplit_once(": "));
    let is_candidate = |(device, kind): &(&str, &str)| {
        READABLE.contains(kind) && device.starts_with("/dev/") && !roots.contains(device)
    };
    Ok(pairs.filter(is_candidate).map(|(device, _)| device.to_owned()).collect())
}

/// The roots that the boot loaders' first entries name: those of a boot loader that another one
/// leads to, or else of all boot loaders.
pub(super) fn started(sites: &[Site], roots: &[Root], devices: &GuestDevices) -> Vec<String> {
    let votes = |sites: &[&Site]| {
        let mut found: Vec<String> = Vec::new();
        for site in sites {
            let commands = site.commands();
            let named = |line: &String| {
                let named = devices.all(value_of(line, "root=")?);
                let is = |root: &&Root| named.contains(&root.device);
                let roots: Vec<_> = roots.iter().filter(is).map(|root| root.name.clone()).collect();
                (!roots.is_empty()).then_some(roots)
            };
            found.extend(commands.iter().find_map(named).unwrap_or_default());
        }
        found.sort_unstable();
        found.dedup();
        found
    };
    let all: Vec<_> = sites.iter().collect();
    let first = votes(&all);
    if first.len() <= 1 {
        return first;
    }
    // The short grub.cfg on an EFI system partition names the file system of the long one.
    let short: Vec<_> = sites.iter().filter(|site| site.commands().is_empty()).collect();
    let leads_here = |site: &&&Site| {
        let uuid = devices.tag(&site.device, "UUID");
        uuid.is_some_and(|uuid| short.iter().any(|short| short.names(uuid)))
    };
    let led_to: Vec<_> = all.iter().filter(leads_here).copied().collect();
    let led = votes(&led_to);
    if led.len() == 1 {
        return led;
    }
    let naming_all = naming_all(sites, roots, devices);
    if naming_all.len() == 1 { naming_all } else { first }
}

/// A root with its device.
#[derive(Debug, Clone)]
pub(super) struct Root {
    pub(super) name: String,
    pub(super) device: String,
}

/// The roots whose own boot loader names all the others: an installer that found other systems
/// wrote it.
fn naming_all(sites: &[Site], roots: &[Root], devices: &GuestDevices) -> Vec<String> {
    let own = |root: &Root| sites.iter().find(|site| site.root.as_ref() == Some(&root.name));
    let names_all = |root: &&Root| {
        let Some(site) = own(root).filter(|site| !site.commands().is_empty()) else { return false };
        let uuid = |other: &Root| devices.tag(&other.device, "UUID").map(str::to_owned);
        let mut others = roots.iter().filter(|other| other.device != root.device);
        others.all(|other| uuid(other).is_some_and(|uuid| site.names(&uuid)))
    };
    roots.iter().filter(names_all).map(|root| root.name.clone()).collect()
}

/// Removes the roots whose fstab mounts another of the roots at `/`: they are copies of that root.
pub(super) fn without_copies(
    sites: &[Site],
    roots: &[Root],
    devices: &GuestDevices,
) -> Vec<String> {
    let is_copy = |root: &&Root| {
        let site = sites.iter().find(|site| site.root.as_ref() == Some(&root.name));
        let named = site.and_then(|site| root_device(site.fstab())).map(|name| devices.all(name));
        let named = named.unwrap_or_default();
        !named.contains(&root.device) && roots.iter().any(|other| named.contains(&other.device))
    };
    let names = roots.iter().filter(|root| !is_copy(root)).map(|root| root.name.clone());
    names.collect()
}

/// The device that fstab(5) mounts at `/`.
fn root_device(fstab: &str) -> Option<&str> {
    let lines = fstab.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| {
            let mut fields = line.split_whitespace();
            let device = fields.next()?;
            (fields.next() == Some("/")).then_some(device)
        })
        .next()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convert::native::devices::devices;

    fn site(device: &str, root: bool, texts: &[(&str, &str)]) -> Site {
        let texts = texts.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned()));
        let (device, texts) = (device.to_owned(), texts.collect());
        Site { root: root.then(|| device.clone()), device, texts }
    }

    fn roots(devices: &[&str]) -> Vec<Root> {
        let root =
            |device: &&str| Root { name: (*device).to_owned(), device: (*device).to_owned() };
        devices.iter().map(root).collect()
    }

    /// A partition for `/boot` and two systems.
    fn disk() -> GuestDevices {
        devices(&[("/dev/sda1", "boot"), ("/dev/sda2", "own"), ("/dev/sda3", "old")])
    }

    #[test]
    fn the_first_entry_of_a_boot_partition_names_the_root() {
        let entry = |root: &str| format!("title Fedora\nlinux /vmlinuz\noptions root={root} ro\n");
        let roots = roots(&["/dev/sda2", "/dev/sda3"]);
        let (own, old) = (entry("UUID=own"), entry("UUID=old"));
        let sites = [
            site(
                "/dev/sda1",
                false,
                &[
                    ("/boot/loader/entries/f-6.9.conf", &own),
                    ("/boot/loader/entries/f-0-rescue.conf", &old),
                    ("/boot/grub2/grub.cfg", "set root='hd0,msdos3'\nset root=hd0\nblscfg\n"),
                ],
            ),
            site("/dev/sda2", true, &[(FSTAB, "UUID=own / ext4 rw 0 0")]),
            site("/dev/sda3", true, &[(FSTAB, "UUID=old / ext4 rw 0 0")]),
        ];
        assert_eq!(started(&sites, &roots, &disk()), ["/dev/sda2"]);
    }

    #[test]
    fn the_command_line_may_be_in_the_environment() {
        let site = site(
            "/dev/sda1",
            false,
            &[
                ("/boot/loader/entries/a.conf", "linux /k\noptions $kernelopts $tuned_params\n"),
                ("/boot/grub2/grubenv", "# GRUB\nkernelopts=root=/dev/sda3 ro \n####"),
            ],
        );
        let first = site.commands().first().cloned().expect("one");
        assert_eq!(value_of(&first, "root="), Some("/dev/sda3"));
    }

    #[test]
    fn of_two_boot_loaders_the_one_counts_that_the_system_partition_leads_to() {
        let grub =
            |uuid: &str| format!("menuentry A {{\n linux /vmlinuz root=UUID={uuid} ro\n}}\n");
        let roots = roots(&["/dev/sda2", "/dev/sda3"]);
        let (own, old) = (grub("own"), grub("old"));
        let mut sites = vec![
            site("/dev/sda2", true, &[("/boot/grub/grub.cfg", &own)]),
            site("/dev/sda3", true, &[("/boot/grub/grub.cfg", &old)]),
        ];
        assert_eq!(started(&sites, &roots, &disk()), ["/dev/sda2", "/dev/sda3"]);
        let short = "search.fs_uuid old root\nset prefix=($root)'/boot/grub'\n";
        sites.push(site("/dev/sda1", false, &[("/boot/EFI/debian/grub.cfg", short)]));
        assert!(sites[2].leads_on() && !sites[0].leads_on());
        assert_eq!(started(&sites, &roots, &disk()), ["/dev/sda3"]);
        // With a BIOS the boot sector leads to the same place.
        for (uuid, root) in [("own", "/dev/sda2"), ("old", "/dev/sda3")] {
            sites[2] = Site::of_boot_sector(uuid);
            assert!(sites[2].leads_on());
            assert_eq!(started(&sites, &roots, &disk()), [root]);
        }
    }

    #[test]
    fn the_boot_loader_that_names_all_others_is_the_newest() {
        let roots = roots(&["/dev/sda2", "/dev/sda3"]);
        let sites = [
            site("/dev/sda2", true, &[("/boot/grub/grub.cfg", "linux /k root=UUID=own\n")]),
            site(
                "/dev/sda3",
                true,
                &[("/boot/grub/grub.cfg", "linux /k root=UUID=old\nlinux /k root=UUID=own\n")],
            ),
        ];
        assert_eq!(started(&sites, &roots, &disk()), ["/dev/sda3"]);
    }

    #[test]
    fn a_root_whose_fstab_mounts_another_root_is_a_copy() {
        let roots = roots(&["/dev/sda2", "/dev/sda3"]);
        let fstab = "# own\nUUID=own / ext4 rw 0 0\n/dev/sda3 /old ext4 rw 0 0\n";
        let sites = [
            site("/dev/sda2", true, &[(FSTAB, fstab)]),
            site("/dev/sda3", true, &[(FSTAB, fstab)]),
        ];
        assert_eq!(without_copies(&sites, &roots, &disk()), ["/dev/sda2"]);
    }
}
