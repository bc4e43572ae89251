//! A descriptor in a storage domain of oVirt or RHV, such as an export domain: the descriptor is
//! `master/vms/VM/VM.ovf`, and the disks are `images/DISK/VOLUME` of the domain.

use std::path::{Path, PathBuf};

use super::members::is_plain;
use super::{OvfPackage, Store};

/// Directory of a storage domain that contains the images.
const IMAGES: &str = "images";
/// Maximum number of parent directories that are searched for a storage domain, to name it in
/// errors.
const MOST_ABOVE: usize = 5;

impl OvfPackage {
    /// Locates the disks of the package: in its own directory, in `images` beside the descriptor,
    /// or in `images` of the directory that the user passed. No file outside of these directories
    /// is used. Blocks.
    pub(super) fn with_images_of_domain(mut self, given: Option<&Path>) -> Self {
        let Store::Folder(own) = &self.store else { return self };
        let Some(href) = self.first_volume() else { return self };
        let bases = || [Some(own.as_path()), given].into_iter().flatten();
        let places = bases().flat_map(|base| [(base, base.to_owned()), (base, base.join(IMAGES))]);
        let places: Vec<(&Path, PathBuf)> = places.collect();
        match places.iter().find(|(base, folder)| is_in(base, &folder.join(&href))) {
            Some((_, folder)) => self.store = Store::Folder(folder.clone()),
            None => self.missing = Some(missing(&href, &places, own)),
        }
        self
    }

    /// The first disk in a directory of its own, which only oVirt's storage has.
    fn first_volume(&self) -> Option<String> {
        let disks = self.systems.iter().flat_map(|system| &system.disks);
        let hrefs = disks.filter(|disk| disk.of_ovirt).filter_map(|disk| disk.href.as_ref());
        let mut hrefs = hrefs.filter(|href| href.contains('/') && is_plain(href));
        hrefs.next().cloned()
    }
}

/// Whether a file exists at the path and, with links resolved, is below the directory.
fn is_in(base: &Path, path: &Path) -> bool {
    let real = || Some((base.canonicalize().ok()?, path.canonicalize().ok()?));
    real().is_some_and(|(base, path)| path.starts_with(base) && path.is_file())
}

/// Error text: the directories that were searched, and the remedy.
fn missing(href: &str, places: &[(&Path, PathBuf)], own: &Path) -> String {
    let mut looked: Vec<String> = Vec::new();
    for (_, folder) in places {
        let name = folder.display().to_string();
        if !looked.contains(&name) {
            looked.push(name);
        }
    }
    let above = own.ancestors().skip(1).take(MOST_ABOVE);
    let domain = above.into_iter().find(|folder| is_in(folder, &folder.join(IMAGES).join(href)));
    let help = match domain {
        Some(domain) => {
            let vm = own.file_name().unwrap_or_default().display();
            format!(
                "name the folder of the storage domain instead: {} (and --vm {vm})",
                domain.display()
            )
        }
        None => {
            "name the folder of the storage domain, which contains 'images' and 'master', or copy \
                 the folder of the disk beside the OVF"
                .to_owned()
        }
    };
    format!("its disk '{href}' is not in {}: {help}", looked.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exporter::files::vm_files::{DescribedVm, DiskBytes};
    use crate::exporter::files::{FileChoice, FileSettings, VmLocation, locate};
    use crate::exporter::{Error, files::ovf};
    use crate::model::{Bus, Firmware, NicModel, OsFamily};

    const VM: &str = "5a1b2c3d-0000-4000-8000-000000000001";
    const VOLUME: &str =
        "1d5f0a1e-0000-4000-8000-0000000000aa/2e6f1b2f-0000-4000-8000-0000000000bb";

    fn text() -> &'static str {
        include_str!("../ovf/fixtures/export-domain.ovf")
    }

    /// An export domain with these VMs, which all have the same image.
    fn domain(vms: &[&str]) -> tempfile::TempDir {
        let domain = tempfile::tempdir().expect("a folder");
        let put = |name: &str, bytes: &[u8]| {
            let path = domain.path().join(name);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            std::fs::write(path, bytes).expect("written");
        };
        for vm in vms {
            put(&format!("master/vms/{vm}/{vm}.ovf"), text().replace(VM, vm).as_bytes());
        }
        put(&format!("images/{VOLUME}"), &[0; 4096]);
        put(&format!("images/{VOLUME}.meta"), b"FORMAT=RAW\n");
        domain
    }

    fn described(given: &Path, vm: Option<&str>) -> Result<DescribedVm, Error> {
        let choice = FileChoice { vm: vm.map(str::to_owned), ..FileChoice::default() };
        let paths = vec![given.to_owned()];
        let settings = FileSettings { paths, choice, rewrite: None };
        let VmLocation::Ovf(path) = locate::locate(&settings)?.0 else { panic!("not an OVF") };
        let given = Some(given).filter(|given| given.is_dir());
        OvfPackage::of_folder(&path, given, false)?.describe(&settings.choice)
    }

    #[test]
    fn a_vm_of_an_export_domain_is_read() {
        let system = ovf::read(text()).expect("it is read").systems.remove(0);
        let vm = &system.vm;
        assert_eq!((vm.id.as_str(), vm.name.as_str()), (VM, "web01"));
        assert_eq!((vm.cpu.vcpus, vm.cpu.cores_per_socket, vm.memory_mib), (4, 2, 2048));
        assert_eq!((vm.firmware, vm.assumed.firmware), (Firmware::Bios, false));
        assert_eq!(vm.guest.family, OsFamily::Linux);
        assert_eq!((vm.nics.len(), vm.nics[0].model), (1, NicModel::Virtio));
        assert_eq!(vm.nics[0].network, "ovirtmgmt");
        assert_eq!(vm.nics[0].mac.map(|mac| mac.to_string()).as_deref(), Some("00:1a:4a:16:01:51"));
        assert_eq!((vm.disks.len(), vm.disks[0].boot_order), (1, 0));
        assert_eq!(vm.disks[0].controller.bus, Bus::Other);
        assert_eq!(vm.disks[0].controller.model, "virtio");
        assert_eq!(system.disks[0].href.as_deref(), Some(VOLUME));
        assert!(!vm.assumed.boot_disk);
    }

    #[test]
    fn disks_are_found_below_the_folder_that_the_user_gave() {
        let domain = domain(&[VM]);
        let image = |described: &DescribedVm| match &described.disks[0].content {
            DiskBytes::InPlace(path) => path.clone(),
            other => panic!("{other:?}"),
        };
        let expected = domain.path().join("images").join(VOLUME);
        assert_eq!(image(&described(domain.path(), None).expect("described")), expected);
        let own = domain.path().join("master/vms").join(VM);
        let copied = own.join(VOLUME);
        for given in [own.clone(), own.join(format!("{VM}.ovf"))] {
            let error = described(&given, None).expect_err("outside").to_string();
            assert!(error.contains(VOLUME), "{error}");
            assert!(error.contains(&own.join("images").display().to_string()), "{error}");
            let help = format!("instead: {} (and --vm {VM})", domain.path().display());
            assert!(error.ends_with(&help), "{error}");
        }
        std::fs::create_dir_all(copied.parent().expect("a folder")).expect("made");
        std::fs::rename(&expected, &copied).expect("moved");
        assert_eq!(image(&described(&own, None).expect("described")), copied);
    }

    #[test]
    fn one_of_several_vms_is_named_by_its_id() {
        let other = VM.replace("0001", "0002");
        let domain = domain(&[VM, &other]);
        let error = described(domain.path(), None).expect_err("which one").to_string();
        assert!(error.contains(&format!("master/vms/{VM}/{VM}.ovf")), "{error}");
        assert_eq!(described(domain.path(), Some(&other)).expect("described").vm.id, other);
    }

    #[test]
    fn links_and_names_that_lead_out_are_not_followed() {
        let domain = domain(&[VM]);
        let elsewhere = tempfile::tempdir().expect("a folder");
        std::fs::rename(domain.path().join("images"), elsewhere.path().join("images"))
            .expect("moved");
        std::os::unix::fs::symlink(elsewhere.path().join("images"), domain.path().join("images"))
            .expect("linked");
        let error = described(domain.path(), None).expect_err("outside").to_string();
        assert!(error.contains("name the folder of the storage domain, which"), "{error}");
        let ovf = domain.path().join(format!("master/vms/{VM}/{VM}.ovf"));
        std::fs::write(&ovf, text().replace(VOLUME, &format!("../../../images/{VOLUME}")))
            .expect("written");
        let error = described(domain.path(), None).expect_err("outside").to_string();
        assert!(error.contains("is not in its folder"), "{error}");
    }
}
