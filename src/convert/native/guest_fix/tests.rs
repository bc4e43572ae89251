//! Guests on which one or all ways of fixing fail.

use serde_json::{Value, json};

use super::*;
use crate::convert::native::fix::archive;
use crate::convert::native::played::Played;
use crate::model::{GuestBus, GuestCard, Hint, SourceNic};

/// The outcome of INSPECT and FIX.
struct Ended {
    operated: Operated,
    warnings: Vec<Warning>,
    /// The `fix` stage in `report.json`.
    fix: Value,
}

impl Ended {
    fn buses(&self) -> Vec<GuestBus> {
        let facts = self.operated.facts.as_ref().expect("facts");
        facts.drivers.as_ref().map(|drivers| drivers.buses.clone()).unwrap_or_default()
    }

    fn failure(&self) -> String {
        self.operated.failure.as_ref().map(|error| chain(error)).unwrap_or_default()
    }

    fn warned(&self, code: &str) -> Vec<&str> {
        let of = self.warnings.iter().filter(|warning| warning.code == code);
        of.map(|warning| warning.message.as_str()).collect()
    }
}

async fn inspect_and_fix(played: &Played, engine: Engine) -> Ended {
    operate_with(played, engine, Vec::new()).await
}

/// Runs INSPECT and FIX on a VM with these cards.
async fn operate_with(played: &Played, engine: Engine, nics: Vec<SourceNic>) -> Ended {
    let run = played.run();
    let disks = played.disks(&run);
    let surgery = GuestFix {
        run: &run,
        vm: SourceVm { nics, ..run.manifest.source_vm() },
        without_kvm: Cell::new(false),
        engine: &engine,
        disks: &disks,
        fixes: true,
        proofs: None,
    };
    let (mut stages, mut warnings) = (StageLog::default(), Vec::new());
    let operated =
        surgery.inspect_and_fix(&mut stages, &mut warnings).await.expect("the run goes on");
    let report = stages.report("native", run.manifest, None, &warnings);
    let fix = report["pipeline"]["stages"]["fix"].clone();
    Ended { operated, warnings, fix }
}

/// libguestfs' answers about a system.
fn answers(kind: &str, distribution: &str, packages: &str) -> Value {
    json!({
        "inspect-os": ["/dev/sda1"],
        "inspect-get-type": [kind],
        "inspect-get-distro": [distribution],
        "inspect-get-product-name": ["12.15"],
        "inspect-get-major-version": ["12"],
        "inspect-get-minor-version": ["15"],
        "inspect-get-arch": ["x86_64"],
        "inspect-get-hostname": ["db01"],
        "inspect-get-package-management": [packages],
        "inspect-get-mountpoints": ["/: /dev/sda1"],
        "inspect-get-windows-systemroot": ["/Windows"],
        "inspect-get-windows-current-control-set": ["ControlSet001"],
        "list-devices": ["/dev/sda"],
        "list-filesystems": ["/dev/sda1: ext4"],
    })
}

/// A Debian whose initramfs has the drivers of virtio, with VMware's tools.
fn debian(said: Value) -> Played {
    let mut kernel = vec![0; 0x400];
    kernel[0x202..0x206].copy_from_slice(b"HdrS");
    kernel[0x20e..0x210].copy_from_slice(&0x100_u16.to_le_bytes());
    kernel[0x300..0x303].copy_from_slice(b"6.1");
    let names = ["virtio_pci.ko", "virtio_blk.ko", "virtio_net.ko", "ahci.ko", "sd_mod.ko"];
    let initramfs = archive(&names);
    let modules = names.map(|name| format!("{name}:\n")).concat();
    let grub = "menuentry 'Debian' {\n linux /boot/vmlinuz-6.1 root=UUID=5eed ro\n initrd \
                /boot/initrd.img-6.1\n}\n";
    let mut all = said;
    all["answers"] = answers("linux", "debian", "apt");
    for (name, answer) in all["more"].as_object().cloned().unwrap_or_default() {
        all["answers"][name] = answer;
    }
    Played::new(
        &[
            ("boot/vmlinuz-6.1", &kernel),
            ("boot/initrd.img-6.1", &initramfs),
            ("boot/grub/grub.cfg", grub.as_bytes()),
            ("lib/modules/6.1/modules.dep", modules.as_bytes()),
            ("etc/fstab", b"/dev/gone /data ext4 defaults 0 2\n/dev/sdq1 /x ext4 defaults 0 2\n"),
            ("var/lib/dpkg/info/open-vm-tools.list", b""),
        ],
        all,
    )
}

/// A Windows guest with an LSI controller, and with virtio where `virtio` is true.
fn windows(virtio: bool, v2v: Option<Value>) -> Played {
    let zero = "00000000";
    let mut services = json!({"LSI_SAS": {"Start": zero}});
    if virtio {
        services["viostor"] = json!({"Start": zero});
        services["netkvm"] = json!({"Start": "03000000"});
    }
    let mut said = json!({
        "answers": answers("windows", "windows", "unknown"),
        "hive": {"ControlSet001": {"Services": services.clone()}},
    });
    if let Some(v2v) = v2v {
        if v2v[1].as_str().is_some_and(|said| said.contains("drivers installed")) {
            services["viostor"] = json!({"Start": zero});
        }
        said["v2v_writes"] = json!({
            "Windows/System32/config/SYSTEM": json!({"ControlSet001": {"Services": services}}).to_string(),
            "Program Files/Guestfs/Firstboot/uninstall.bat": "VMware Tools",
        });
        said["v2v"] = v2v;
    }
    let files =
        ["config/SYSTEM", "drivers/LSI_SAS.sys", "drivers/viostor.sys", "drivers/netkvm.sys"];
    let files = files.map(|path| format!("Windows/System32/{path}"));
    let files: Vec<_> = files.iter().map(|path| (path.as_str(), b"MZ".as_slice())).collect();
    Played::new(&files, said)
}

#[tokio::test]
async fn what_only_tidies_up_undoes_no_fix() {
    let played = debian(json!({"dies": ["dpkg --purge"]}));
    let ended = inspect_and_fix(&played, Engine::Native).await;
    assert_eq!(ended.failure(), "");
    assert_eq!(ended.buses()[0], GuestBus::VirtioBlk);
    let failed = ended.warned("fix-attempt-failed");
    assert_eq!(failed.len(), 1, "{failed:?}");
    assert!(failed[0].ends_with("trying fixing what the guest needs to start"), "{failed:?}");
    let fstab = String::from_utf8(played.written("etc/fstab").expect("there")).expect("UTF-8");
    assert!(fstab.contains("nofail"), "what the second way did was written back: {fstab}");
}

#[tokio::test]
async fn a_virt_v2v_that_fails_hands_over() {
    let played = debian(json!({"v2v": [1, "virt-v2v-in-place: error: no bootloader detected"]}));
    let ended = inspect_and_fix(&played, Engine::VirtV2v).await;
    assert_eq!((ended.failure(), ended.buses()[0]), (String::new(), GuestBus::VirtioBlk));
    let failed = ended.warned("fix-attempt-failed");
    assert!(failed[0].contains("no bootloader detected; trying fixing"), "{failed:?}");
}

#[tokio::test]
async fn a_linux_that_no_way_could_fix_keeps_its_evidence() {
    let ended = inspect_and_fix(&debian(json!({"dies": ["upload"]})), Engine::Native).await;
    assert!(ended.failure().contains("guestfish ended"), "{}", ended.failure());
    assert_eq!(ended.warned("fix-attempt-failed").len(), 2);
    assert_eq!(ended.buses(), [GuestBus::VirtioBlk, GuestBus::Sata]);
}

#[tokio::test]
async fn a_full_disk_costs_what_cannot_be_written_alone() {
    let played = debian(json!({"refused": ["/etc/fstab"]}));
    let ended = inspect_and_fix(&played, Engine::Native).await;
    let refused = ended.warned("guest-change-refused");
    assert_eq!(refused, ["writing the guest's /etc/fstab: upload: No space left on device"]);
    assert!(ended.warned("fix-attempt-failed").is_empty(), "{:?}", ended.warnings);
    assert_eq!(ended.buses(), [GuestBus::VirtioBlk, GuestBus::Sata]);
}

/// Creates a folder with virtio drivers for Windows 10 and passes it to `played`.
fn with_drivers(played: &mut Played) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a folder");
    for file in ["viostor/w10/amd64/viostor.sys", "NetKVM/w10/amd64/netkvm.inf"] {
        let path = dir.path().join(file);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, "").expect("written");
    }
    played.settings.windows.virtio_win = Some(dir.path().to_owned());
    dir
}

#[tokio::test]
async fn a_windows_with_virtio_needs_no_virt_v2v() {
    let ended = inspect_and_fix(&windows(true, None), Engine::Native).await;
    assert_eq!((ended.failure(), ended.operated.is_fixed()), (String::new(), true));
    let drivers = ended.operated.facts.and_then(|facts| facts.drivers).expect("read");
    assert_eq!(drivers.cards, [GuestCard::Virtio]);
    let failing = Some(json!([1, "virt-v2v-in-place: error: the disk is hibernated"]));
    let mut played = windows(true, failing);
    let _drivers = with_drivers(&mut played);
    let ended = inspect_and_fix(&played, Engine::Native).await;
    assert!(ended.failure().contains("hibernated"), "{}", ended.failure());
    let hint = ended.operated.failure.as_ref().and_then(Error::hint).expect("a hint");
    assert!(hint.contains("shutdown /s /f /t 0"), "{hint}");
    assert!(ended.operated.is_fixed());
    // Without drivers there is nothing for virt-v2v to do, and nothing that the guest lacks.
    let mut played = windows(true, Some(json!([0, ""])));
    played.settings.windows.virtio_win_variable = Some("/nowhere".into());
    let ended = inspect_and_fix(&played, Engine::Native).await;
    assert_eq!((ended.failure(), ended.operated.is_fixed()), (String::new(), true));
}

#[tokio::test]
async fn a_virt_v2v_that_did_nothing_is_not_believed() {
    let said = "virt-v2v-in-place: warning: there are no virtio drivers available for this version";
    let mut played = windows(false, Some(json!([0, said])));
    let _drivers = with_drivers(&mut played);
    let ended = inspect_and_fix(&played, Engine::Native).await;
    assert!(ended.warned("virt-v2v-warning")[0].contains("no virtio drivers"));
    // The guest has no libosinfo name that drivers could be chosen for.
    assert!(
        ended.failure().starts_with("no virtio drivers found for windows 12.15 in /"),
        "{}",
        ended.failure()
    );
    assert_eq!(ended.buses(), [GuestBus::LsiSas]);
    let left = played.written("Program Files/Guestfs/Firstboot/uninstall.bat");
    assert_eq!(left, None, "VMware Tools stay, which the guest needs");
    // The changes are reported although they were not enough.
    assert_eq!(ended.fix["success"], false, "{}", ended.fix);
    assert!(ended.fix["error"].is_string(), "{}", ended.fix);
    assert_eq!(ended.fix["result"]["boot_disk_id"], "disk-0", "{}", ended.fix);
    assert!(ended.fix["result"]["changes"].is_array(), "{}", ended.fix);
    let ended = inspect_and_fix(&windows(false, None), Engine::Native).await;
    assert!(ended.failure().contains("not installed"), "{}", ended.failure());
    assert_eq!(ended.buses(), [GuestBus::LsiSas]);
    let mut played = windows(false, Some(json!([0, said])));
    played.settings.windows.virtio_win_variable = Some("/nowhere".into());
    let ended = inspect_and_fix(&played, Engine::Native).await;
    assert!(ended.failure().contains("/nowhere"), "{}", ended.failure());
    let hint = ended.operated.failure.as_ref().and_then(Error::hint).expect("a hint");
    assert!(hint.contains("virtio-win.iso"), "{hint}");
}

#[tokio::test]
async fn virt_v2v_is_given_drivers_and_what_it_installed_is_kept() {
    let mut played = windows(false, Some(json!([0, "This guest has virtio drivers installed."])));
    let drivers = with_drivers(&mut played);
    played.settings.windows.virt_tools = Some("/tools".into());
    let ended = inspect_and_fix(&played, Engine::Native).await;
    assert_eq!((ended.failure(), ended.operated.is_fixed()), (String::new(), true));
    let found = ended.operated.facts.and_then(|facts| facts.drivers).expect("read");
    assert_eq!(found.buses, [GuestBus::VirtioBlk, GuestBus::LsiSas]);
    // Removing VMware Tools removes the driver of vmxnet3.
    assert_eq!(found.cards, [GuestCard::E1000e, GuestCard::E1000]);
    let given = fs::read_to_string(played.dir().join("bin/v2v.json")).expect("it ran");
    let given: Value = serde_json::from_str(&given).expect("JSON");
    assert_eq!(given["environment"]["VIRTIO_WIN"], json!(drivers.path()));
    assert_eq!(given["environment"]["VIRT_TOOLS_DATA_DIR"], "/tools");
    assert!(given["args"].to_string().contains("--root=/dev/sda1"), "{given}");
    assert!(played.written("Program Files/Guestfs/Firstboot/uninstall.bat").is_some());
}

#[tokio::test]
async fn a_clear_boot_tells_of_any_root_that_cannot_be_read() {
    // For example ZFS: libguestfs finds no system, and no encrypted device.
    let ended = inspect_and_fix(&debian(json!({"more": {"inspect-os": []}})), Engine::Native).await;
    assert_eq!(ended.failure(), "no operating system found on the disks");
    let facts = ended.operated.facts.as_ref().expect("facts");
    assert!(facts.inspected && facts.family == crate::model::OsFamily::Linux, "{facts:?}");
    assert!(ended.buses().contains(&GuestBus::Sata), "{:?}", ended.buses());
}

/// A disk whose root and `/boot` are encrypted: only its EFI system partition can be read.
fn encrypted() -> Played {
    let mut said = json!({"answers": answers("linux", "debian", "apt")});
    for (name, answer) in [
        ("inspect-os", json!([])),
        ("list-filesystems", json!(["/dev/sda1: vfat", "/dev/sda2: crypto_LUKS"])),
        ("list-partitions", json!(["/dev/sda1", "/dev/sda2"])),
        ("blkid /dev/sda1", json!(["PART_ENTRY_TYPE: c12a7328-f81f-11d2-ba4b-00a0c93ec93b"])),
        ("blkid /dev/sda2", json!(["UUID: 1ace", "TYPE: crypto_LUKS"])),
    ] {
        said["answers"][name] = answer;
    }
    Played::new(
        &[("EFI/debian/grubx64.efi", b"MZ"), ("EFI/debian/grub.cfg", b"cryptomount -u 1ace\n")],
        said,
    )
}

#[tokio::test]
async fn a_guest_with_a_clear_esp_alone_is_told_and_starts_by_any_firmware() {
    let played = encrypted();
    let ended = inspect_and_fix(&played, Engine::Native).await;
    assert_eq!(ended.failure(), "/dev/sda2 is encrypted: no operating system found on the rest");
    let hint = ended.operated.failure.as_ref().and_then(Error::hint).expect("a hint");
    assert!(hint.contains("--key /dev/sda2:file:PATH"), "{hint}");
    assert!(ended.warned("guest-network-not-kept").is_empty(), "the VM has no card");
    // The guest's drivers are unknown: the plan follows the source.
    assert!(ended.operated.facts.is_none(), "{:?}", ended.operated.facts);
    let loader = played.written("EFI/BOOT/BOOTX64.EFI");
    assert_eq!(loader.as_deref(), Some(&b"MZ"[..]), "{:?}", ended.operated.changes);
    assert_eq!(ended.operated.changes.len(), 1);
    assert_eq!(ended.fix["result"]["changes"].as_array().map(Vec::len), Some(1), "{}", ended.fix);
    assert_eq!(played.starts(), 2, "one to read, one for the boot loader");
}

#[tokio::test]
async fn names_of_cards_in_a_guest_that_cannot_be_read_are_warned_of() {
    let zfs = debian(json!({"more": {"inspect-os": []}}));
    for (played, remedy) in [(encrypted(), "--key /dev/sda2:file:PATH, or tie"), (zfs, "tie")] {
        let ended = operate_with(&played, Engine::Native, vec![SourceNic::at(0)]).await;
        let [told] = ended.warned("guest-network-not-kept")[..] else {
            panic!("{:?}", ended.warnings)
        };
        assert!(told.contains(remedy), "{told}");
    }
}

#[tokio::test]
async fn a_disk_without_a_system_is_read_by_the_appliance_that_searched_it() {
    let played = debian(json!({"more": {"inspect-os": []}}));
    let ended = inspect_and_fix(&played, Engine::Native).await;
    assert_eq!(ended.failure(), "no operating system found on the disks");
    assert_eq!(played.starts(), 2, "one to read, one for the boot loader");
}
