//! The Artifact Manifest v1.0: every rule with its JSON path, and the file's round trip.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use hyperexport::manifest::{
    BuildOptions, Error, GENERATOR, Manifest, Overwrite, PipelineFlags, build, check, check_files,
    read, verify_sums, write,
};
use hyperexport::model::{
    Assumed, Board, Bus, ByteSize, Controller, CpuTopology, DiskFormat, DiskId, ExportMethod,
    ExportedDisk, ExportedVm, Firmware, GuestOs, Hint, NicModel, Origin, OsFamily, PowerState,
    SourceDisk, SourceNic, SourceVm, Stage, Warning,
};
use hyperexport::progress::Progress;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

fn source_disk(index: usize) -> SourceDisk {
    SourceDisk {
        id: DiskId::from_index(index),
        key: 2000 + index as i32,
        label: format!("Hard disk {}", index + 1),
        controller: Controller {
            bus: Bus::Scsi,
            model: "ParaVirtualSCSIController".to_owned(),
            number: 0,
            slot: Some(160),
        },
        unit: index as u32,
        capacity: ByteSize(1 << 30),
        boot_order: index as u32,
        backing: None,
        uuid: Some(format!("6000c29{index:025}")),
    }
}

/// A VM with two disks whose images are the files of `folder`.
fn exported(folder: &Path) -> ExportedVm {
    let image = |index: usize| {
        let path = folder.join(format!("disk-{index}.vmdk"));
        fs::write(&path, [index as u8; 1000]).expect("an image");
        ExportedDisk {
            id: DiskId::from_index(index),
            path,
            format: DiskFormat::Vmdk,
            file_size: ByteSize(1000),
            capacity: ByteSize(1 << 30),
            sha256: hyperexport::model::Sha256Digest(Sha256::digest([index as u8; 1000]).into()),
            content: None,
            received: None,
        }
    };
    ExportedVm {
        media: Vec::new(),
        vm: SourceVm {
            provider: "vsphere".to_owned(),
            id: "vm-42".to_owned(),
            name: "Ubuntu Server".to_owned(),
            instance_uuid: None,
            inventory_path: Some("/DC0/vm/Ubuntu Server".to_owned()),
            datacenter: Some("DC0".to_owned()),
            power: PowerState::Off,
            arch: Some("x86_64".to_owned()),
            cpu: CpuTopology::new(4, 2),
            memory_mib: 1536,
            firmware: Firmware::Efi,
            secure_boot: false,
            vtpm: true,
            cdroms: 1,
            board: Board::default(),
            origin: Origin::default(),
            assumed: Assumed { firmware: false, boot_disk: true },
            guest: GuestOs {
                id: "ubuntu64Guest".to_owned(),
                full_name: "Ubuntu Linux (64-bit)".to_owned(),
                family: OsFamily::Linux,
                network: None,
            },
            disks: vec![source_disk(0), source_disk(1)],
            nics: vec![SourceNic {
                mac: Some("00:50:56:aa:bb:01".parse().expect("a MAC address")),
                slot: Some(192),
                model: NicModel::Vmxnet,
                network: "VM Network".to_owned(),
                ..SourceNic::at(0)
            }],
            facts: None,
        },
        method: ExportMethod::NfcLease,
        nvram: None,
        exported_at: "2026-01-02T03:04:05Z".parse().expect("a time"),
        disks: vec![image(0), image(1)],
        warnings: vec![Warning::new(Stage::Export, "some-code".into(), "something")],
    }
}

fn options(compress_level: Option<u8>) -> BuildOptions {
    BuildOptions {
        pipeline: PipelineFlags {
            inspect: true,
            fix: false,
            convert: true,
            validate: true,
            compress_level,
        },
        output_dir: PathBuf::from("/srv/out"),
        job_id: "job-1".to_owned(),
        created_at: "2026-01-02T03:04:06Z".parse().expect("a time"),
        tags: BTreeMap::from([("team".to_owned(), "blue".to_owned())]),
    }
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

fn sample() -> Value {
    let folder = folder();
    serde_json::to_value(build(&exported(folder.path()), &options(Some(6)))).expect("JSON")
}

/// Result of reading `text` as a manifest.
fn read_text(text: &str) -> Result<Manifest, Error> {
    let folder = folder();
    let path = folder.path().join("manifest.json");
    fs::write(&path, text).expect("written");
    read(&path)
}

/// Violated rules of `value`, as `path rule`.
fn broken(value: &Value) -> Vec<String> {
    match read_text(&value.to_string()) {
        Ok(_) => Vec::new(),
        Err(Error::Invalid { violations }) => violations.iter().map(ToString::to_string).collect(),
        Err(other) => panic!("{other}"),
    }
}

/// Sets the value at a JSON pointer, whose last step may be new.
fn set(value: &mut Value, pointer: &str, to: Value) {
    let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
    match value.pointer_mut(parent).expect("the parent exists") {
        Value::Array(items) => items[key.parse::<usize>().expect("an index")] = to,
        object => object[key] = to,
    }
}

#[test]
fn a_built_manifest_says_what_the_contract_asks() {
    let m = sample();
    assert_eq!(m["manifest_version"], "1.0");
    assert_eq!(m["source"]["export_method"], "nfc-lease");
    assert_eq!(m["source"]["datacenter"], "DC0");
    assert_eq!(m["vm"]["firmware"], "uefi");
    assert_eq!(m["vm"]["mem_gb"], 2, "1536 MiB round up");
    assert_eq!(m["vm"]["secureboot"], false, "false is written");
    assert_eq!(m["disks"][0]["boot_order_hint"], 0, "0 is written");
    assert_eq!(m["disks"][0]["disk_type"], "boot");
    assert_eq!(m["disks"][1]["disk_type"], "data");
    assert_eq!(m["disks"][0]["bytes"], 1000, "the file's size");
    assert_eq!(m["nics"][0]["mac"], "00:50:56:aa:bb:01");
    assert_eq!(m["warnings"][0]["code"], "some-code");
    assert_eq!(m["metadata"]["hypersdk_version"], GENERATOR);
    assert_eq!(m["metadata"]["tags"]["team"], "blue");
    assert_eq!(m["metadata"]["hyperexport"]["source_vm"]["memory_mib"], 1536);
    assert_eq!(m["metadata"]["hyperexport"]["capacities"]["disk-1"], 1 << 30);
    assert_eq!(m["output"], json!({"directory": "/srv/out", "format": "qcow2"}));
    assert_eq!(
        m["pipeline"],
        json!({
            "inspect": {"enabled": true, "collect_guest_info": false},
            "fix": {"enabled": false, "backup": true, "print_fstab": false, "update_grub": true,
                    "regen_initramfs": true, "fstab_mode": "stabilize-all",
                    "remove_vmware_tools": false},
            "convert": {"enabled": true, "compress": true, "compress_level": 6},
            "validate": {"enabled": true, "check_image_integrity": true}
        })
    );
    assert!(!m.to_string().contains("null"), "{m}");
}

#[test]
fn an_uncompressed_run_leaves_the_level_out() {
    let folder = folder();
    let m = serde_json::to_value(build(&exported(folder.path()), &options(None))).expect("JSON");
    assert_eq!(m["pipeline"]["convert"], json!({"enabled": true, "compress": false}));
}

#[test]
#[allow(clippy::too_many_lines, reason = "a table with one row a rule")]
fn every_rule_names_its_path() {
    let null = "must not be null: leave the key out";
    let cases: &[(&str, Value, &str, &str)] = &[
        ("/manifest_version", json!("2.0"), "manifest_version", "must be 1.0"),
        ("/manifest_version", json!(1.0), "manifest_version", "must be 1.0"),
        ("/source", json!([]), "source", "must be an object"),
        ("/source/provider", json!(7), "source.provider", "must be a string"),
        ("/source/vm_id", json!(7), "source.vm_id", "must be a string"),
        ("/source/vm_name", json!(7), "source.vm_name", "must be a string"),
        ("/source/datacenter", json!(7), "source.datacenter", "must be a string"),
        ("/source/export_method", json!(7), "source.export_method", "must be a string"),
        (
            "/source/export_timestamp",
            json!("yesterday"),
            "source.export_timestamp",
            "must be an RFC 3339 time",
        ),
        ("/vm", Value::Null, "vm", null),
        ("/vm/cpu", json!(0), "vm.cpu", "must be an integer of at least 1"),
        ("/vm/cpu", json!("4"), "vm.cpu", "must be an integer of at least 1"),
        ("/vm/mem_gb", json!(0), "vm.mem_gb", "must be an integer of at least 1"),
        ("/vm/mem_gb", json!(0.5), "vm.mem_gb", "must be an integer of at least 1"),
        ("/vm/firmware", json!("efi"), "vm.firmware", "must be bios or uefi or unknown"),
        ("/vm/secureboot", json!("no"), "vm.secureboot", "must be true or false"),
        ("/vm/os_hint", json!("bsd"), "vm.os_hint", "must be linux or windows or unknown"),
        ("/vm/os_version", json!(22), "vm.os_version", "must be a string"),
        ("/disks", json!({}), "disks", "must be a list"),
        ("/disks/0", json!("x"), "disks[0]", "must be an object"),
        ("/disks/1/id", json!("disk 1"), "disks[1].id", "must match ^[a-zA-Z0-9_-]{1,64}$"),
        ("/disks/1/id", json!("disk-0"), "disks[1].id", "must be unique"),
        (
            "/disks/0/source_format",
            json!("ova"),
            "disks[0].source_format",
            "must be vmdk or qcow2 or raw or vhd or vhdx or vdi",
        ),
        ("/disks/0/bytes", json!(-1), "disks[0].bytes", "must be an integer of at least 0"),
        ("/disks/0/bytes", json!("1"), "disks[0].bytes", "must be an integer of at least 0"),
        (
            "/disks/0/local_path",
            json!("disk-0.vmdk"),
            "disks[0].local_path",
            "must be an absolute path",
        ),
        ("/disks/0/checksum", Value::Null, "disks[0].checksum", null),
        (
            "/disks/0/checksum",
            json!("SHA256:00"),
            "disks[0].checksum",
            "must be sha256: and 64 lower-case hexadecimal digits",
        ),
        (
            "/disks/0/boot_order_hint",
            json!(-1),
            "disks[0].boot_order_hint",
            "must be an integer of at least 0",
        ),
        ("/disks/0/label", json!(1), "disks[0].label", "must be a string"),
        (
            "/disks/0/disk_type",
            json!("root"),
            "disks[0].disk_type",
            "must be boot or data or unknown",
        ),
        ("/nics", json!({}), "nics", "must be a list"),
        ("/nics/0", json!(1), "nics[0]", "must be an object"),
        ("/nics/0/id", json!(1), "nics[0].id", "must be a string"),
        ("/nics/0/mac", json!("00:50:56"), "nics[0].mac", "must look like 00:50:56:aa:bb:01"),
        ("/nics/0/network", json!(1), "nics[0].network", "must be a string"),
        ("/notes", json!("x"), "notes", "must be a list"),
        ("/warnings/0/stage", json!(1), "warnings[0].stage", "must be a string"),
        ("/warnings/0/message", json!(1), "warnings[0].message", "must be a string"),
        ("/warnings/0/timestamp", json!(1), "warnings[0].timestamp", "must be a string"),
        ("/metadata/hypersdk_version", json!(1), "metadata.hypersdk_version", "must be a string"),
        ("/metadata/job_id", json!(1), "metadata.job_id", "must be a string"),
        ("/metadata/created_at", json!("x"), "metadata.created_at", "must be an RFC 3339 time"),
        ("/metadata/tags", json!([]), "metadata.tags", "must be an object"),
        ("/metadata/tags/team", json!(1), "metadata.tags.team", "must be a string"),
        (
            "/metadata/hyperexport/source_vm/disks",
            json!([]),
            "metadata.hyperexport",
            "must describe the same disks as disks: remove it after editing disks",
        ),
        ("/pipeline", Value::Null, "pipeline", null),
        (
            "/pipeline/inspect/enabled",
            json!(1),
            "pipeline.inspect.enabled",
            "must be true or false",
        ),
        (
            "/pipeline/inspect/collect_guest_info",
            json!(1),
            "pipeline.inspect.collect_guest_info",
            "must be true or false",
        ),
        ("/pipeline/fix", Value::Null, "pipeline.fix", null),
        ("/pipeline/fix/backup", json!(0), "pipeline.fix.backup", "must be true or false"),
        (
            "/pipeline/fix/print_fstab",
            json!(0),
            "pipeline.fix.print_fstab",
            "must be true or false",
        ),
        (
            "/pipeline/fix/update_grub",
            json!(0),
            "pipeline.fix.update_grub",
            "must be true or false",
        ),
        (
            "/pipeline/fix/regen_initramfs",
            json!(0),
            "pipeline.fix.regen_initramfs",
            "must be true or false",
        ),
        (
            "/pipeline/fix/remove_vmware_tools",
            json!(0),
            "pipeline.fix.remove_vmware_tools",
            "must be true or false",
        ),
        (
            "/pipeline/fix/fstab_mode",
            json!("by-uuid"),
            "pipeline.fix.fstab_mode",
            "must be stabilize-all or bypath-only or noop",
        ),
        ("/pipeline/convert", json!([]), "pipeline.convert", "must be an object"),
        (
            "/pipeline/convert/compress",
            json!(0),
            "pipeline.convert.compress",
            "must be true or false",
        ),
        (
            "/pipeline/convert/compress_level",
            json!(10),
            "pipeline.convert.compress_level",
            "must be an integer from 1 to 9",
        ),
        (
            "/pipeline/validate/check_image_integrity",
            json!(0),
            "pipeline.validate.check_image_integrity",
            "must be true or false",
        ),
        ("/configuration", json!([]), "configuration", "must be an object"),
        ("/output", Value::Null, "output", null),
        ("/output/directory", json!(1), "output.directory", "must be a string"),
        ("/output/format", json!("vmdk"), "output.format", "must be qcow2 or raw or vdi"),
        ("/output/filename", json!(1), "output.filename", "must be a string"),
        ("/options", Value::Null, "options", null),
        ("/options", json!({"dry_run": 1}), "options.dry_run", "must be true or false"),
        ("/options", json!({"verbose": 4}), "options.verbose", "must be an integer from 0 to 3"),
        (
            "/options",
            json!({"report": {"enabled": 1}}),
            "options.report.enabled",
            "must be true or false",
        ),
        ("/options", json!({"report": {"path": 1}}), "options.report.path", "must be a string"),
    ];
    let good = sample();
    assert_eq!(broken(&good), Vec::<String>::new());
    for (pointer, wrong, path, rule) in cases {
        let mut manifest = good.clone();
        set(&mut manifest, pointer, wrong.clone());
        let found = broken(&manifest);
        assert!(found.contains(&format!("{path} {rule}")), "{pointer} = {wrong}: {found:?}");
    }
}

#[test]
fn required_fields_are_missed_by_name() {
    for (object, key, path) in [
        ("", "manifest_version", "manifest_version is required"),
        ("", "disks", "disks is required"),
        ("/disks/1", "id", "disks[1].id is required"),
        ("/disks/1", "source_format", "disks[1].source_format is required"),
        ("/disks/1", "bytes", "disks[1].bytes is required"),
        ("/disks/1", "local_path", "disks[1].local_path is required"),
    ] {
        let mut manifest = sample();
        manifest.pointer_mut(object).and_then(Value::as_object_mut).expect("object").remove(key);
        assert!(broken(&manifest).contains(&path.to_owned()), "{path}");
    }
    let mut manifest = sample();
    manifest["disks"] = json!([]);
    manifest["metadata"] = json!({});
    assert_eq!(broken(&manifest), ["disks must name at least one disk"]);
    assert_eq!(broken(&json!([])), ["$ must be an object"]);
}

#[test]
fn every_broken_rule_is_named_at_once() {
    let mut manifest = sample();
    manifest["vm"]["cpu"] = json!(0);
    manifest["vm"]["firmware"] = json!("efi");
    manifest["disks"][0]["bytes"] = json!("many");
    assert_eq!(broken(&manifest).len(), 3);
}

#[test]
fn foreign_fields_survive_a_read_and_a_write() {
    let mut manifest = sample();
    for object in [
        "",
        "/source",
        "/vm",
        "/disks/0",
        "/nics/0",
        "/warnings/0",
        "/metadata",
        "/pipeline",
        "/pipeline/fix",
        "/pipeline/inspect",
        "/pipeline/convert",
        "/pipeline/validate",
        "/output",
    ] {
        let place = manifest.pointer_mut(object).and_then(Value::as_object_mut).expect("object");
        place.insert("zz_theirs".to_owned(), json!({"b": [1, null, 2.5], "a": "x"}));
        place.insert("aa_theirs".to_owned(), json!(18_446_744_073_709_551_615_u64));
    }
    manifest["options"] = json!({"verbose": 2, "report": {"enabled": false}});
    manifest["configuration"] = json!({"hostname": "web01"});
    manifest["notes"] = json!(["kept"]);
    let folder = folder();
    let path = folder.path().join("manifest.json");
    fs::write(&path, manifest.to_string()).expect("written");
    write(&read(&path).expect("good"), &path, Overwrite::Yes).expect("written");
    let text = fs::read_to_string(&path).expect("read");
    assert_eq!(serde_json::from_str::<Value>(&text).expect("JSON"), manifest);
    assert!(text.find("zz_theirs") < text.find("aa_theirs"), "the order of others' fields is kept");
}

#[test]
fn nothing_is_written_over_unasked_or_broken() {
    let folder = folder();
    let path = folder.path().join("manifest.json");
    let mut manifest = build(&exported(folder.path()), &options(None));
    write(&manifest, &path, Overwrite::No).expect("written");
    let first = fs::read(&path).expect("read");
    assert!(matches!(write(&manifest, &path, Overwrite::No), Err(Error::Exists { .. })));
    manifest.disks.clear();
    assert!(matches!(write(&manifest, &path, Overwrite::Yes), Err(Error::Invalid { .. })));
    assert_eq!(fs::read(&path).expect("read"), first);
    let files = fs::read_dir(folder.path()).expect("list").count();
    assert_eq!(files, 3, "two images and the manifest, nothing temporary");
}

#[test]
fn a_path_that_json_cannot_hold_is_refused() {
    use std::os::unix::ffi::OsStrExt;
    let folder = folder();
    let mut manifest = build(&exported(folder.path()), &options(None));
    manifest.disks[0].local_path = PathBuf::from(std::ffi::OsStr::from_bytes(b"/\xff"));
    assert_eq!(check(&manifest).expect_err("refused")[0].path, "disks[].local_path");
}

#[test]
fn a_file_that_is_no_manifest_is_refused() {
    assert!(matches!(read_text("{"), Err(Error::NotJson { .. })));
    assert!(matches!(read_text(&" ".repeat((16 << 20) + 1)), Err(Error::TooLarge { .. })));
    let missing = read(Path::new("/no/such/manifest.json")).expect_err("missing");
    assert_eq!(missing.to_string(), "reading /no/such/manifest.json");
    assert!(missing.hint().is_some());
}

#[test]
fn the_source_vm_comes_back_exactly() {
    let folder = folder();
    let exported = exported(folder.path());
    let mut expected = exported.vm.clone();
    expected.origin.exported_at = Some(exported.exported_at.to_string());
    assert_eq!(build(&exported, &options(None)).source_vm(), expected);
}

#[test]
fn a_foreign_manifest_gives_a_vm_too() {
    let manifest = read_text(
        r#"{"manifest_version": "1.0",
            "source": {"provider": "vsphere", "vm_id": "vm-7", "vm_name": "db"},
            "vm": {"cpu": 4, "mem_gb": 16, "firmware": "uefi", "os_hint": "linux"},
            "disks": [
              {"id": "data", "source_format": "vmdk", "bytes": 5, "local_path": "/d/1.vmdk"},
              {"id": "boot", "source_format": "raw", "bytes": 1024, "local_path": "/d/0.raw",
               "boot_order_hint": 0}],
            "nics": [{"id": "eth0", "mac": "00-50-56-AA-BB-01", "network": "LAN"}]}"#,
    )
    .expect("good");
    let vm = manifest.source_vm();
    assert_eq!((vm.name.as_str(), vm.memory_mib, vm.cpu.vcpus), ("db", 16 * 1024, 4));
    assert_eq!(vm.firmware, Firmware::Efi);
    assert_eq!(vm.disks.iter().map(|d| d.boot_order).collect::<Vec<_>>(), [1, 0]);
    assert_eq!(vm.disks[1].capacity, ByteSize(1024), "a raw file is as large as its disk");
    assert_eq!(vm.nics[0].network, "LAN");
    assert_eq!(vm.assumed, Assumed::default(), "it tells the firmware and the boot disk");
    let silent = read_text(
        r#"{"manifest_version": "1.0", "vm": {"firmware": "unknown"}, "disks": [
              {"id": "d", "source_format": "raw", "bytes": 5, "local_path": "/d/1.raw"}]}"#,
    )
    .expect("good");
    assert_eq!(silent.source_vm().assumed, Assumed { firmware: true, boot_disk: true });
    assert_eq!(manifest.disks_in_boot_order()[0].id.as_str(), "boot");
}

#[tokio::test]
async fn changed_and_missing_images_are_found() {
    let folder = folder();
    let manifest = build(&exported(folder.path()), &options(None));
    let (quiet, go_on) = (Progress::none(), CancellationToken::new());
    assert!(check_files(&manifest).expect("fine").is_empty());
    verify_sums(&manifest, &quiet, &go_on).await.expect("fine");

    let image = folder.path().join("disk-1.vmdk");
    fs::write(&image, [9; 1000]).expect("changed");
    let error = verify_sums(&manifest, &quiet, &go_on).await.expect_err("changed");
    assert!(matches!(&error, Error::SumDiffers { disk, .. } if disk.as_str() == "disk-1"));
    fs::write(&image, "short").expect("cut");
    let cut = check_files(&manifest).expect_err("cut").to_string();
    assert!(cut.contains("disks[1].bytes must be the size of"), "{cut}");
    fs::remove_file(&image).expect("removed");
    let gone = check_files(&manifest).expect_err("gone").to_string();
    assert!(gone.contains("disks[1].local_path must name a file"), "{gone}");

    go_on.cancel();
    assert!(matches!(verify_sums(&manifest, &quiet, &go_on).await, Err(Error::Cancelled)));
}

#[test]
fn in_a_foreign_manifest_a_wrong_size_is_a_warning() {
    let folder = folder();
    let mut manifest = build(&exported(folder.path()), &options(None));
    manifest.metadata = None;
    manifest.disks[0].bytes = 107_374_182_400;
    let warnings = check_files(&manifest).expect("only a warning");
    assert_eq!(warnings[0].code, "manifest-size-differs");
}
