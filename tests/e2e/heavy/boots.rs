//! Regression tests for guests that once did not boot, or lost their network, one of each kind.
//! They cover incomplete sources, disks named by their places, cloud-init and encryption. Bootable
//! guests are really booted.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::support::ext4::Ext4;
use crate::support::guest;
use crate::support::job::{assert_valid_domain, codes, json_of, read_json};
use crate::support::libvirtd::{self, Names};
use serde_json::Value;

/// VMware's UUID of the second disk, as in its descriptor; tests/guest/mkdisk-places.sh puts it
/// into fstab.
const SECOND: &str = "60 00 C2 9d 7a 1e 0f 3c-5b 6a 79 88 12 34 56 78";

/// A migration by the program, into a unique pool.
struct Migration {
    dir: tempfile::TempDir,
    names: Names,
    domain: String,
}

impl Migration {
    fn new(what: &str) -> Option<Self> {
        if !libvirtd::available() {
            return None;
        }
        let names = Names::new();
        let domain = names.name(what);
        Some(Self { dir: tempfile::tempdir().expect("a folder"), names, domain })
    }

    fn output(&self) -> PathBuf {
        self.dir.path().join("out")
    }

    fn run(&self, source: &Path, args: &[&str]) -> Output {
        let pool = self.names.name("pool");
        let path = self.dir.path().join("pool");
        Command::new(env!("CARGO_BIN_EXE_hyperexport"))
            .args(["--pipeline", "--converter", "native", "--libvirt", "--json", "--strict"])
            .args(["--libvirt-name", &self.domain, "--libvirt-pool", &pool])
            .arg("--libvirt-pool-path")
            .arg(path)
            .arg("--source")
            .arg(source)
            .arg("--output")
            .arg(self.output())
            .args(args)
            .output()
            .expect("the program runs")
    }

    fn read(&self, file: &str) -> Value {
        read_json(&self.output().join(file))
    }

    fn xml(&self) -> String {
        let path = self.output().join("domain.xml");
        assert_valid_domain(&path);
        fs::read_to_string(path).expect("domain.xml")
    }
}

/// A VMX folder with flat disks on a paravirtual controller, and cards in these slots.
fn vmx(folder: &Path, disks: &[(&Path, &str)], cards: &[(&str, u32)]) -> PathBuf {
    fs::create_dir(folder).expect("made");
    let mut text =
        "displayName = \"places\"\nguestOS = \"other-64\"\nmemsize = \"1024\"\nnumvcpus = \"1\"\n\
                    scsi0.present = \"TRUE\"\nscsi0.virtualDev = \"pvscsi\"\n"
            .to_owned();
    for (index, (raw, uuid)) in disks.iter().enumerate() {
        let flat = folder.join(format!("disk{index}-flat.vmdk"));
        let copied = Command::new("cp").arg("--sparse=always").arg(raw).arg(&flat).status();
        assert!(copied.expect("cp runs").success());
        let sectors = fs::metadata(&flat).expect("there").len() / 512;
        let descriptor = format!(
            "# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\n\
             createType=\"monolithicFlat\"\n\nRW {sectors} FLAT \"disk{index}-flat.vmdk\" 0\n\n\
             ddb.adapterType = \"lsilogic\"\nddb.uuid = \"{uuid}\"\n"
        );
        fs::write(folder.join(format!("disk{index}.vmdk")), descriptor).expect("written");
        text += &format!(
            "scsi0:{index}.present = \"TRUE\"\nscsi0:{index}.fileName = \"disk{index}.vmdk\"\n"
        );
    }
    for (index, (mac, slot)) in cards.iter().enumerate() {
        text += &format!(
            "ethernet{index}.present = \"TRUE\"\nethernet{index}.virtualDev = \"vmxnet3\"\n\
             ethernet{index}.networkName = \"VM Network\"\nethernet{index}.addressType = \"static\"\n\
             ethernet{index}.address = \"{mac}\"\nethernet{index}.pciSlotNumber = \"{slot}\"\n"
        );
    }
    let path = folder.join("places.vmx");
    fs::write(&path, text).expect("written");
    path
}

/// A copy of a Debian disk, as an old system disk that stayed attached: its root has another UUID.
fn old_system(disk: &Path, copy: &Path) {
    let copied = Command::new("cp").arg("--sparse=always").arg(disk).arg(copy).status();
    assert!(copied.expect("cp runs").success());
    let root = Ext4::of_guest(copy).name();
    let checked = Command::new("e2fsck").args(["-fp", &root]).status().expect("e2fsck runs");
    assert!(matches!(checked.code(), Some(0 | 1)), "{checked}");
    let uuid = "5eed0000-0000-4000-8000-00000000face";
    let renamed = Command::new("tune2fs").args(["-U", uuid, &root]).status();
    assert!(renamed.expect("tune2fs runs").success());
}

/// The image does not describe firmware, system or network card. Its boot loader is in the vendor's
/// folder, and its initramfs has no ATA driver.
#[test]
fn a_disk_image_boots_by_what_is_on_it() {
    let Some(image) = guest::guest("vendor") else { return };
    let Some(migration) = Migration::new("image") else { return };
    let result = json_of(&migration.run(&image.raw, &["--name", "image", "--memory", "1G"]), 0);
    let manifest = migration.read("manifest.json");
    assert_eq!(manifest["vm"]["os_hint"], "linux", "{manifest:#}");
    assert_eq!(manifest["vm"]["firmware"], "uefi", "{manifest:#}");
    let source = &manifest["metadata"]["hyperexport"]["source_vm"];
    assert_eq!(source["guest"]["family"], "linux", "{source:#}");
    let mac = source["nics"][0]["mac"].as_str().expect("an address").to_owned();
    assert!(codes(&result).contains(&"nic-mac-made"), "{result:#}");
    assert!(!codes(&result).contains(&"boot-disk-not-bootable"), "{result:#}");
    let xml = migration.xml();
    assert!(xml.contains("bus='virtio'") && xml.contains("firmware='efi'"), "{xml}");
    assert!(xml.contains(&format!("<mac address='{mac}'/>")), "{xml}");
    assert!(
        xml.contains("<model type='virtio'/>") && xml.contains("debian.org/debian/12"),
        "{xml}"
    );
    let changes = result["guest_changes"].as_array().expect("changes");
    let told =
        |part: &str| changes.iter().any(|line| line.as_str().is_some_and(|l| l.contains(part)));
    assert!(told("BOOTX64.EFI") && told("ens192"), "{result:#}");
    let console = guest::assert_boots(&migration.domain);
    assert!(console.contains("ens192 has 192.168.122."), "{console}");
}

/// Root by its path on VMware's bus, data by VMware's serial number, and a missing disk. Also an
/// old system on the second disk, and cards in another order than their slots.
#[test]
fn devices_and_cards_named_by_their_places_are_found() {
    let (Some(first), Some(second)) = (guest::guest("places"), guest::guest("bios")) else {
        return;
    };
    let Some(migration) = Migration::new("places") else { return };
    let own = "60 00 C2 9d 00 00 00 00-00 00 00 00 00 00 00 01";
    let old = migration.dir.path().join("old.raw");
    old_system(&second.raw, &old);
    let disks = [(first.raw.as_path(), own), (old.as_path(), SECOND)];
    let cards = [("00:50:56:aa:04:01", 224), ("00:50:56:aa:04:02", 192)];
    let path = vmx(&migration.dir.path().join("vm"), &disks, &cards);
    let result = json_of(&migration.run(&path, &[]), 0);
    assert!(codes(&result).contains(&"guest-device-not-found"), "{result:#}");
    assert!(!codes(&result).contains(&"guest-network-by-order"), "{result:#}");
    let fix = migration.read("report.json")["pipeline"]["stages"]["fix"]["result"].clone();
    let names: Vec<_> = fix["network"].as_array().expect("cards").iter().collect();
    let mac = |name: &str| {
        let card = names.iter().find(|card| card["before"] == name);
        card.and_then(|card| card["mac"].as_str()).map(str::to_lowercase)
    };
    assert_eq!(mac("ens192").as_deref(), Some("00:50:56:aa:04:02"), "{fix:#}");
    assert_eq!(mac("ens224").as_deref(), Some("00:50:56:aa:04:01"), "{fix:#}");
    let console = guest::assert_boots(&migration.domain);
    for shown in ["ens192 has 192.168.122.77", "ens224 has 192.168.122.78", "data on /data"] {
        assert!(console.contains(shown), "no '{shown}' in {console}");
    }
}

/// Its data source is not migrated, and dracut built its initramfs.
#[test]
fn a_guest_of_cloud_init_stays_the_instance_that_it_was() {
    let Some(image) = guest::guest("cloud") else { return };
    let Some(migration) = Migration::new("cloud") else { return };
    let result = json_of(&migration.run(&image.raw, &["--name", "cloud", "--memory", "1G"]), 0);
    let changes = result["guest_changes"].as_array().expect("changes");
    let told =
        |part: &str| changes.iter().any(|line| line.as_str().is_some_and(|l| l.contains(part)));
    assert!(told("cloud-init") && told("DataSourceVMware"), "{result:#}");
    let console = guest::assert_boots(&migration.domain);
    for shown in ["ens192 has 192.168.122.79", "host key kept"] {
        assert!(console.contains(shown), "no '{shown}' in {console}");
    }
}

/// Without the passphrase the partition is reported, and the domain follows the unencrypted /boot.
/// With the passphrase the guest is fixed. The passphrase is never printed.
#[test]
fn an_encrypted_root_is_named_and_opened_with_its_key() {
    let Some(image) = guest::guest("luks") else { return };
    let Some(migration) = Migration::new("luks") else { return };
    let result = json_of(&migration.run(&image.raw, &["--name", "luks"]), 3);
    let error = result["errors"][0]["message"].as_str().expect("an error");
    assert!(error.contains("/dev/sda2 is encrypted"), "{error}");
    let hint = result["errors"][0]["hint"].as_str().expect("a hint");
    assert!(hint.contains("--key /dev/sda2:file:PATH"), "{hint}");
    // The kernel command line contains /dev/sda1, a name that virtio-blk does not provide.
    let xml = migration.xml();
    assert!(xml.contains("<target dev='sda'") && !xml.contains("<target dev='vda'"), "{xml}");

    let opened = Migration::new("opened").expect("libvirtd is there");
    let key = opened.dir.path().join("key");
    fs::write(&key, "secret\nnot this\n").expect("written");
    let wish = format!("/dev/sda2:file:{}", key.display());
    let args = ["--name", "opened", "--key", &wish, "--pipeline-validate=false"];
    let ran = opened.run(&image.raw, &args);
    let result = json_of(&ran, 0);
    let guest = &result["guest"];
    assert_eq!(guest["distribution"], "debian", "{result:#}");
    assert!(opened.xml().contains("bus='virtio'"));
    let log = fs::read_to_string(opened.output().join("convert.log")).expect("a log");
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(!log.contains("secret") && !said.contains("secret"), "the passphrase is nowhere");
}

/// A disk without a boot loader: by default no domain is defined, since it could not start.
#[test]
fn a_blank_disk_becomes_no_domain_unless_that_is_wanted() {
    let Some(migration) = Migration::new("blank") else { return };
    let blank = migration.dir.path().join("blank.raw");
    fs::File::create(&blank).and_then(|file| file.set_len(64 << 20)).expect("made");
    let result = json_of(&migration.run(&blank, &["--name", "blank", "--pipeline-fix=false"]), 3);
    let error = result["errors"][0]["message"].as_str().expect("an error");
    assert!(error.contains("disk-0 contains no boot loader and no operating system"), "{error}");
    assert!(codes(&result).contains(&"guest-not-inspected"), "{result:#}");
    assert_eq!(result["domain"], Value::Null);
    assert!(migration.output().join("blank.qcow2").is_file(), "export and conversion stand");
    let args = ["--name", "blank", "--pipeline-fix=false", "--allow-unbootable"];
    let result = json_of(&migration.run(&blank, &args), 0);
    assert_eq!(result["domain"]["name"], migration.domain.as_str());
}
