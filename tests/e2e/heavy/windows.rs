//! Windows: the arguments of virt-v2v, its changes to the registry, and the domain's hardware. The
//! guests are those of tests/guest/mkdisk-windows.py, which no test boots.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::import::run;
use crate::support::job::{assert_valid_domain, codes, json_of};
use crate::support::libvirtd::{self, Names};
use serde_json::Value;

/// Folder and libvirt names of a test.
struct Desk {
    dir: tempfile::TempDir,
    names: Names,
}

impl Desk {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        // QEMU's user must be able to reach a pool in this folder.
        let within_reach = fs::Permissions::from_mode(0o711);
        fs::set_permissions(dir.path(), within_reach).expect("set");
        Self { dir, names: Names::new() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// `hyperexport ARGS` in the folder of the test, with no drivers except explicitly named ones.
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hyperexport"));
        command.args(args).current_dir(self.dir.path()).env("VIRTIO_WIN", "none");
        command
    }

    /// A folder in virtio-win's layout with empty files.
    fn drivers(&self, folder: &str, systems: &[&str]) {
        for system in systems {
            for driver in ["viostor", "vioscsi", "NetKVM"] {
                for kind in ["sys", "inf"] {
                    let name =
                        format!("{folder}/{driver}/{system}/{}.{kind}", driver.to_lowercase());
                    write(&self.path(&name), "");
                }
            }
        }
    }

    /// A VMX with a disk of that Windows on a paravirtual controller, and an NTFS data disk.
    fn windows(&self, guest_os: &str, firmware: &str, args: &[&str]) -> PathBuf {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/guest/mkdisk-windows.py");
        let disk = self.path("vm/disk0-flat.vmdk");
        fs::create_dir(self.path("vm")).expect("made");
        let made = Command::new("python3").arg(script).arg(&disk).args(args).status();
        assert!(made.expect("python3 runs").success());
        let data = fs::File::create(self.path("vm/disk1-flat.vmdk")).expect("made");
        data.set_len(16 << 20).expect("sized");
        let disk = self.path("vm/disk1-flat.vmdk");
        let made = Command::new("mkntfs").args(["-F", "-Q", "-q"]).arg(disk).output();
        assert!(made.expect("mkntfs runs").status.success());
        let mut text = format!(
            "displayName = \"win\"\nguestOS = \"{guest_os}\"\nfirmware = \"{firmware}\"\n\
             memsize = \"1024\"\nnumvcpus = \"1\"\nscsi0.present = \"TRUE\"\n\
             scsi0.virtualDev = \"pvscsi\"\nethernet0.present = \"TRUE\"\n\
             ethernet0.virtualDev = \"vmxnet3\"\nethernet0.networkName = \"VM Network\"\n\
             ethernet0.addressType = \"static\"\nethernet0.address = \"00:50:56:aa:bb:01\"\n"
        );
        for index in 0..2 {
            self.descriptor(&format!("vm/disk{index}"));
            text += &format!(
                "scsi0:{index}.present = \"TRUE\"\nscsi0:{index}.fileName = \"disk{index}.vmdk\"\n"
            );
        }
        let vmx = self.path("vm/win.vmx");
        write(&vmx, &text);
        vmx
    }

    /// A VMDK descriptor for an existing flat disk.
    fn descriptor(&self, name: &str) {
        let flat = self.path(&format!("{name}-flat.vmdk"));
        let sectors = fs::metadata(&flat).expect("there").len() / 512;
        let flat = flat.file_name().expect("a name").to_string_lossy();
        let text = format!(
            "# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\n\
             createType=\"monolithicFlat\"\n\nRW {sectors} FLAT \"{flat}\" 0\n"
        );
        write(&self.path(&format!("{name}.vmdk")), &text);
    }

    /// A complete migration; returns its result and the domain XML.
    fn migrate(&self, vmx: &Path, args: &[&str], code: i32) -> (Value, String) {
        let (domain, pool) = (self.names.name("windows"), self.names.name("pool"));
        let output = self
            .command(&[
                "--pipeline",
                "--converter",
                "native",
                "--libvirt",
                "--json",
                "--output",
                "out",
            ])
            .args(["--libvirt-name", &domain, "--libvirt-pool", &pool, "--libvirt-pool-path"])
            .arg(self.path("pool"))
            .arg("--source")
            .arg(vmx)
            .args(args)
            .env("VIRT_TOOLS_DATA_DIR", "tools")
            .output()
            .expect("hyperexport runs");
        let result = json_of(&output, code);
        assert_valid_domain(&self.path("out/domain.xml"));
        (result, fs::read_to_string(self.path("out/domain.xml")).expect("domain.xml"))
    }
}

/// Copies the first partition of a BIOS Windows, which begins at sector 2048
/// (`tests/guest/mkdisk-windows.py`).
fn partition(image: &Path, copy: &Path) {
    let first = "driver=raw,offset=1M,file.driver=qcow2,file.file.filename=";
    let (from, to) = (format!("{first}{}", image.display()), copy.to_str().expect("UTF-8"));
    run("qemu-img", &["convert", "-O", "raw", "--image-opts", &from, to]);
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    fs::write(path, text).expect("written");
}

/// Server 2025 with a BIOS, VMware Tools and the second of three control sets. virt-v2v 2.2 does
/// not know the release, and uses the folder of drivers that hyperexport prepares.
#[test]
fn a_windows_with_drivers_gets_virtio() {
    let virt_v2v = Command::new("virt-v2v-in-place").arg("--version").output();
    if !libvirtd::available() || !virt_v2v.is_ok_and(|output| output.status.success()) {
        return;
    }
    let desk = Desk::new();
    let args = ["2k25", "--current", "2", "--service", "pvscsi", "--tools"];
    let vmx = desk.windows("windows2022srvNext-64", "bios", &args);
    desk.drivers("drivers", &["w10/amd64", "2k25/amd64"]);
    write(&desk.path("tools/rhsrvany.exe"), "");
    let (result, xml) = desk.migrate(&vmx, &["--virtio-win", "drivers"], 0);
    assert_eq!(result["outcome"], "done", "{result:#}");
    let told = codes(&result);
    assert!(!told.iter().any(|code| code.starts_with("windows-")), "{result:#}");
    assert!(xml.matches("bus='virtio'").count() >= 2 && xml.contains("machine='pc-q35"), "{xml}");
    assert!(xml.contains("<model type='virtio'/>") && xml.contains("win/2k25"), "{xml}");
    let ntfs = desk.path("windows.ntfs");
    partition(&desk.path("out/win.qcow2"), &ntfs);
    let drivers =
        Command::new("ntfsls").arg("-p").arg("/Windows/System32/drivers").arg(&ntfs).output();
    let drivers = drivers.expect("ntfsls runs").stdout;
    assert!(String::from_utf8_lossy(&drivers).contains("viostor.sys"), "{drivers:?}");
    let hive = desk.path("SYSTEM");
    let read = Command::new("ntfscat").arg(&ntfs).arg("/Windows/System32/config/SYSTEM").output();
    fs::write(&hive, read.expect("ntfscat runs").stdout).expect("written");
    let services = Command::new("hivexregedit")
        .arg("--export")
        .arg(&hive)
        .arg(r"\ControlSet002\Services\viostor")
        .output()
        .expect("hivexregedit runs");
    let services = String::from_utf8_lossy(&services.stdout).into_owned();
    assert!(services.contains("\"Start\"=dword:00000000"), "{services}");
}

/// Windows 11 with EFI, hibernated, without drivers: a warning before and after, and a domain with
/// the original kind of hardware.
#[test]
fn a_windows_without_drivers_keeps_hardware_that_it_knows() {
    if !libvirtd::available() {
        return;
    }
    let desk = Desk::new();
    let args = [
        "w11",
        "--firmware",
        "uefi",
        "--hibernated",
        "--service",
        "pvscsi",
        "--service",
        "storahci",
    ];
    let vmx = desk.windows("windows11-64", "efi", &args);
    let (result, xml) = desk.migrate(&vmx, &["--libvirt-tpm", "off"], 0);
    assert_eq!(result["outcome"], "partial", "{result:#}");
    let told = codes(&result);
    for code in ["windows-without-drivers", "guest-hibernated", "guest-not-fixed"] {
        assert!(told.contains(&code), "no {code}: {result:#}");
    }
    let text = result.to_string();
    assert!(text.contains("fedorapeople.org") && text.contains("shutdown /s /f /t 0"), "{text}");
    // This firmware does not boot from VMware's controller.
    assert!(!xml.contains("bus='virtio'") && xml.contains("bus='sata'"), "{xml}");
    assert!(xml.contains("<model type='vmxnet3'/>"), "{xml}");
    let changes = result["guest_changes"].to_string();
    assert!(changes.contains("BOOTX64.EFI"), "{changes}");
}

#[test]
fn what_there_is_is_said_before_a_byte_moves() {
    let desk = Desk::new();
    desk.drivers("drivers", &["w10/amd64", "W7/X86"]);
    write(&desk.path("empty/readme.txt"), "");
    fs::File::create(desk.path("disk.raw")).expect("made").set_len(1 << 20).expect("sized");
    fs::copy(desk.path("disk.raw"), desk.path("win-flat.vmdk")).expect("copied");
    desk.descriptor("win");
    let vmx = "displayName = \"win\"\nguestOS = \"windows9-64\"\nmemsize = \"512\"\n\
               scsi0.present = \"TRUE\"\nscsi0:0.present = \"TRUE\"\nscsi0:0.fileName = \"win.vmdk\"\n";
    write(&desk.path("win.vmx"), vmx);
    let source =
        ["--source", "disk.raw", "--source-format", "raw", "--name", "win", "--output", "out"];

    // Neither an ISO image nor a folder of drivers.
    for (place, why) in [
        ("empty", "holds no viostor.sys"),
        ("disk.raw", "neither a folder nor an ISO image"),
        ("missing", "No such file"),
    ] {
        let args = [&source[..], &["--pipeline", "--virtio-win", place]].concat();
        let ended = desk.command(&args).output().expect("hyperexport runs");
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(4), "{said}");
        assert!(said.contains(why) && said.contains("virtio-win.iso"), "{said}");
        assert!(!desk.path("out").exists());
    }

    // `info`, with the flag or with the variable, relative to the folder.
    let info = ["info", "--source", "win.vmx", "--json"];
    let flag = [&info[..], &["--virtio-win", "drivers"]].concat();
    for (args, variable) in [(&flag[..], "none"), (&info[..], "drivers")] {
        let ended = desk.command(args).env("VIRTIO_WIN", variable).output().expect("it runs");
        let found = &json_of(&ended, 0)["virtio_win"];
        let place = desk.path("drivers");
        assert_eq!(found["place"].as_str(), place.to_str(), "{found:#}");
        assert_eq!(found["drivers"][0]["windows"], "win10", "{found:#}");
        assert_eq!(found["drivers"].as_array().expect("drivers").len(), 1, "{found:#}");
    }
    let ended = desk.command(&info[..3]).output().expect("it runs");
    let said = String::from_utf8_lossy(&ended.stdout);
    assert!(said.contains("virtio drivers") && said.contains("fedorapeople.org"), "{said}");
}
