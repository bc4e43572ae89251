//! Images in the CD-ROM drives of a packaged VM.

use std::fs;
use std::os::unix::fs::MetadataExt;

use crate::support::files::{Desk, Form, Ovf, Packed, hex, item, pack, packed};
use crate::support::job::Ended;
use crate::support::libvirtd::{self, Names};
use sha2::Digest;

/// Size of the disk, in MiB.
const MIB: u64 = 2;
/// Content of a fake CD-ROM image.
const ISO: &[u8] = &[7; 64 << 10];

/// A package whose drive names an ISO image.
fn package(desk: &Desk) -> (Ovf, Packed) {
    let raw = desk.raw("disk.raw", MIB);
    let vmdk = desk.image(&raw, "disk.vmdk", "vmdk", &["subformat=streamOptimized"]);
    let mut ovf = Ovf::one("disk1.vmdk", MIB);
    ovf.files += "<File ovf:id='iso' ovf:href='install.iso'/>";
    ovf.items += &item(15, "<rasd:HostResource>ovf:/file/iso</rasd:HostResource>");
    (ovf, packed("disk1.vmdk", fs::read(vmdk).expect("readable")))
}

fn export(desk: &Desk, form: Form, files: &[Packed], args: &[&str]) -> Ended {
    desk.export(pack(desk, form, files).to_str().expect("UTF-8"), args)
}

#[test]
fn what_lies_in_a_drive_is_exported_recorded_and_reused() {
    for form in Form::ALL {
        let desk = Desk::new();
        let (ovf, disk) = package(&desk);
        let files = [packed("vm.ovf", ovf.text()), packed("install.iso", ISO), disk];
        let source = pack(&desk, form, &files).to_str().expect("UTF-8").to_owned();
        let ended = desk.export(&source, &[]);
        assert_eq!(ended.code, Some(0), "{form:?}: {}", ended.stderr);
        assert_eq!(ended.json["warnings"], serde_json::json!([]), "{form:?}");
        let manifest = desk.manifest();
        assert_eq!(manifest["disks"].as_array().map(Vec::len), Some(1), "no disk: {form:?}");
        let medium = &manifest["metadata"]["hyperexport"]["media"][0];
        assert_eq!(medium["id"], "cdrom-0");
        assert_eq!(medium["file_size"], ISO.len());
        assert_eq!(medium["sha256"], hex(&sha2::Sha256::digest(ISO)));
        let path = medium["path"].as_str().expect("a path");
        assert_eq!(fs::read(path).expect("readable"), ISO, "{form:?}");
        let is_made = path.ends_with("/out/cdrom-0.iso");
        assert_eq!(is_made, form != Form::Folder, "{path}");
        let inode = || fs::metadata(path).expect("there").ino();
        let first = inode();
        let again = desk.export(&source, &[]);
        assert_eq!(again.code, Some(0), "{form:?}: {}", again.stderr);
        assert_eq!(inode(), first, "{form:?}");
        assert_eq!(again.json["media"][0]["path"], path, "{form:?}");
        let fresh = desk.export(&source, &["--fresh"]);
        assert_eq!(fresh.code, Some(0), "{form:?}: {}", fresh.stderr);
        assert_eq!(fs::read(path).expect("readable"), ISO, "{form:?}");
        let expected: &[&str] = match is_made {
            true => &["cdrom-0.iso", "disk-0.vmdk", "manifest.json", "result.json"],
            false => &["manifest.json", "result.json"],
        };
        assert_eq!(desk.files("out"), expected, "{form:?}");
    }
}

#[test]
fn a_wrong_sum_of_it_is_refused_and_nothing_of_it_stays() {
    for form in Form::ALL {
        let desk = Desk::new();
        let (ovf, disk) = package(&desk);
        let sums = format!("SHA256(install.iso)= {}\n", "0".repeat(64));
        let files =
            [packed("vm.ovf", ovf.text()), packed("vm.mf", sums), packed("install.iso", ISO), disk];
        let ended = export(&desk, form, &files, &[]);
        assert_eq!(ended.code, Some(1), "{form:?}: {}", ended.stderr);
        ended.said("checksum of 'install.iso'");
        assert_eq!(desk.files("out"), [""; 0], "{form:?}");
    }
}

#[test]
fn what_is_not_there_or_in_no_drive_is_told() {
    for form in Form::ALL {
        for is_named in [true, false] {
            let desk = Desk::new();
            let (mut ovf, disk) = package(&desk);
            let mut files = vec![disk];
            if !is_named {
                ovf.items = ovf.items.replace("ovf:/file/iso", "");
                files.push(packed("install.iso", ISO));
            }
            files.insert(0, packed("vm.ovf", ovf.text()));
            let ended = export(&desk, form, &files, &[]);
            assert_eq!(ended.code, Some(0), "{form:?}: {}", ended.stderr);
            assert_eq!(ended.json["warnings"][0]["code"], "iso-not-taken", "{form:?}");
            ended.said("'install.iso'");
            ended.said("virsh change-media");
            assert!(!desk.path("out/cdrom-0.iso").exists(), "{form:?}");
        }
    }
}

/// Preflight of nine runs, which each starts the appliance of libguestfs and proves KVM.
mod heavy {
    use super::*;

    #[test]
    fn a_volume_of_the_name_of_an_iso_is_in_the_way_before_anything_is_exported() {
        if !libvirtd::available() {
            return;
        }
        for form in [Form::Tar, Form::TarGz, Form::Folder] {
            let (desk, names) = (Desk::new(), Names::new());
            let (ovf, disk) = package(&desk);
            let files = [packed("vm.ovf", ovf.text()), packed("install.iso", ISO), disk];
            let source = pack(&desk, form, &files).to_str().expect("UTF-8").to_owned();
            let (pool, name, pool_name) = (desk.path("pool"), names.name("vm"), names.name("pool"));
            fs::create_dir(&pool).expect("made");
            let xml = format!(
                "<pool type='dir'><name>{pool_name}</name><target><path>{}</path></target></pool>",
                pool.display()
            );
            let connect = libvirtd::connect();
            let made = connect.define_storage_pool_xml(&xml, 0).expect("defined");
            made.create(0).expect("started");
            let args =
                ["--pipeline", "--converter", "native", "--libvirt", "--network-map", "*=none"];
            let target = ["--libvirt-name", &name, "--libvirt-pool", &pool_name];
            let args = [&args[..], &target].concat();
            let planned = desk.export(&source, &[&args[..], &["--dry-run"]].concat());
            assert_eq!(planned.code, Some(0), "{form:?}: {}", planned.stderr);
            fs::write(pool.join(format!("{name}-cdrom-0.iso")), "the user's").expect("written");
            made.refresh(0).expect("refreshed");
            for args in [&args[..], &[&args[..], &["--dry-run"]].concat()] {
                let ended = desk.export(&source, args);
                assert_eq!(ended.code, Some(4), "{form:?}: {}", ended.stderr);
                ended.said(&format!("{name}-cdrom-0.iso"));
                assert_eq!(desk.files("out"), [""; 0], "{form:?}");
            }
        }
    }
}
