//! Hardware of domains on the real QEMU driver: libvirt accepts the planned XML, with schema
//! validation, and QEMU starts with it.

use std::os::unix::fs::PermissionsExt;

use crate::support::import::{Setup, chain, source_disk};
use crate::support::libvirtd;
use hyperexport::domain::{Chipset, CpuChoice, DiskBus, DomainType, TpmChoice};
use hyperexport::libvirt::{DefinedDomain, Error, Undo, user_profile};
use hyperexport::model::{
    AskedNic, Board, CpuTopology, DiskFormat, Firmware, GuestCard, Hint, MacAddress, OsFamily,
    SmbiosText, SoundCard, SourceNic,
};

/// Starts the domain and stops it again.
fn starts(setup: &Setup, defined: &DefinedDomain) {
    // QEMU runs as another user, who must be able to access the disk.
    let open = std::fs::Permissions::from_mode(0o711);
    std::fs::set_permissions(setup.dir.path(), open).expect("set");
    let connect = libvirtd::connect();
    let domain = connect.lookup_domain_by_name(&defined.name).expect("it is there");
    let started = domain.create();
    if started.is_ok() {
        domain.destroy().expect("stopped");
    }
    started.expect("starts");
}

fn with_disks_and_nics(setup: &mut Setup, disks: usize, nics: u8) {
    for index in setup.disks.0.len()..disks {
        setup.add_disk(if index % 2 == 0 { DiskFormat::Qcow2 } else { DiskFormat::Raw });
    }
    let first = setup.vm.nics[0].clone();
    setup.vm.nics = (0..nics)
        .map(|index| {
            let mut nic = first.clone();
            nic.mac = Some(MacAddress([0x00, 0x50, 0x56, 0xaa, 0xcc, index]));
            nic
        })
        .collect();
    setup.vm.memory_mib = 256;
}

fn count(text: &str, part: &str) -> usize {
    text.matches(part).count()
}

#[tokio::test]
async fn thirty_disks_and_eight_cards_are_taken_on_virtio_scsi() {
    let Some(mut setup) = Setup::new().await else { return };
    with_disks_and_nics(&mut setup, 30, 8);
    setup.vm.cdroms = 1;
    setup.options.hardware.iothreads = 2;
    let defined = setup.import().await.expect("imports");
    libvirtd::validate(&defined.xml);
    let xml = &defined.xml;
    assert!(xml.contains("<target dev='sdad' bus='scsi'/>"), "{xml}");
    assert!(xml.contains("<target dev='hda' bus='ide'/>"), "{xml}");
    assert_eq!(count(xml, "model='virtio-scsi'"), 2, "{xml}");
    assert_eq!(count(xml, "<driver iothread="), 2, "{xml}");
    assert_eq!(count(xml, "<mac address='00:50:56:aa:cc:"), 8, "{xml}");
    starts(&setup, &defined);
}

#[tokio::test]
async fn thirty_virtio_disks_and_eight_cards_find_their_root_ports() {
    let Some(mut setup) = Setup::new().await else { return };
    with_disks_and_nics(&mut setup, 30, 8);
    setup.vm.firmware = Firmware::Efi;
    setup.options.hardware.disk_bus = Some(DiskBus::Virtio);
    setup.options.hardware.iothreads = 4;
    let defined = setup.import().await.expect("imports");
    let xml = &defined.xml;
    assert!(xml.contains("<target dev='vdad' bus='virtio'/>"), "{xml}");
    assert_eq!(count(xml, " iothread='4'"), 7, "{xml}");
    assert!(count(xml, "model='pcie-root-port'") >= 48, "{xml}");
    starts(&setup, &defined);
}

#[tokio::test]
async fn windows_11_gets_tpm_and_secure_boot_and_starts() {
    let Some(mut setup) = Setup::new().await else { return };
    let q35 = setup.host.platform(DomainType::Qemu, Chipset::Q35).expect("QEMU has it").clone();
    if !q35.secure_boot || q35.tpm.is_empty() {
        return libvirtd::skip("no secure boot or no TPM (packages ovmf, swtpm, swtpm-tools)");
    }
    setup.vm.firmware = Firmware::Efi;
    setup.vm.secure_boot = true;
    setup.vm.memory_mib = 256;
    setup.vm.guest.family = OsFamily::Windows;
    setup.vm.guest.full_name = "Microsoft Windows 11 (64-bit)".to_owned();
    let defined = setup.import().await.expect("imports");
    libvirtd::validate(&defined.xml);
    for part in [
        "<tpm model='tpm-crb'>",
        "<backend type='emulator' version='2.0'",
        "<feature enabled='yes' name='enrolled-keys'/>",
        "<feature enabled='yes' name='secure-boot'/>",
        "<smm state='on'/>",
        "machine='pc-q35",
        "bus='sata'",
        // The original card, for which the guest has a driver.
        "<model type='vmxnet3'/>",
        "http://microsoft.com/win/11",
        "offset='localtime'",
    ] {
        assert!(defined.xml.contains(part), "no {part} in {}", defined.xml);
    }
    starts(&setup, &defined);
}

#[tokio::test]
async fn every_model_of_network_card_is_defined_and_starts() {
    use GuestCard::{E1000, E1000e, Pcnet, Rtl8139, Virtio, Vmxnet3};
    let Some(mut setup) = Setup::new().await else { return };
    for firmware in [Firmware::Bios, Firmware::Efi] {
        setup.options.name = Some(setup.names.name(&format!("{firmware:?}").to_lowercase()));
        setup.vm.firmware = firmware;
        setup.vm.memory_mib = 256;
        let cards = [Virtio, Vmxnet3, E1000e, E1000, Pcnet, Rtl8139];
        let card = |(index, card): (u8, GuestCard)| SourceNic {
            mac: Some(MacAddress([0x00, 0x50, 0x56, 0xaa, 0xce, index])),
            network: "default".to_owned(),
            asked: Some(AskedNic { card: Some(card) }),
            ..SourceNic::at(index.into())
        };
        setup.vm.nics = (0..).zip(cards).map(card).collect();
        let defined = setup.import().await.expect("imports");
        libvirtd::validate(&defined.xml);
        for model in ["virtio", "vmxnet3", "e1000e", "e1000", "pcnet", "rtl8139"] {
            assert_eq!(
                count(&defined.xml, &format!("<model type='{model}'/>")),
                1,
                "{}",
                defined.xml
            );
        }
        starts(&setup, &defined);
    }
}

#[tokio::test]
async fn a_guest_of_another_architecture_is_refused_with_both_named() {
    let Some(mut setup) = Setup::new().await else { return };
    setup.vm.arch = Some("aarch64".to_owned());
    let error = setup.import().await.expect_err("refused");
    let said = chain(&error);
    assert!(said.contains("for aarch64 processors, and the host emulates x86_64"), "{said}");
    assert!(error.hint().is_some());
    setup.assert_nothing_left();
    setup.vm.arch = Some("i686".to_owned());
    setup.import().await.expect("an x86_64 host runs it");
}

#[tokio::test]
async fn a_host_without_the_emulator_of_a_tpm_is_refused_before_anything_is_made() {
    let Some(mut setup) = Setup::new().await else { return };
    setup.host.platforms.iter_mut().for_each(|platform| platform.tpm.clear());
    setup.options.hardware.tpm = TpmChoice::On;
    let error = setup.import().await.expect_err("no emulator");
    assert!(chain(&error).contains("no emulator of a TPM"), "{}", chain(&error));
    assert!(error.hint().expect("a hint").contains("--libvirt-tpm off"));
    setup.assert_nothing_left();
}

#[tokio::test]
async fn guests_of_old_get_what_they_know_and_start() {
    let Some(mut setup) = Setup::new().await else { return };
    setup.vm.memory_mib = 256;
    setup.vm.cdroms = 1;
    for (family, name, card) in [
        (OsFamily::Windows, "Microsoft Windows Server 2003 Web", "e1000"),
        (OsFamily::Windows, "Microsoft Windows XP Professional (32-bit)", "rtl8139"),
        (OsFamily::Linux, "Red Hat Enterprise Linux 5 (64-bit)", "e1000"),
    ] {
        setup.vm.guest.family = family;
        setup.vm.guest.full_name = name.to_owned();
        setup.options.name = Some(setup.names.name(&name.replace(' ', "-")));
        let defined = setup.import().await.expect("imports");
        libvirtd::validate(&defined.xml);
        assert!(defined.xml.contains("<target dev='hda' bus='ide'/>"), "{}", defined.xml);
        assert!(defined.xml.contains("<target dev='hdb' bus='ide'/>"), "{}", defined.xml);
        assert!(defined.xml.contains(&format!("<model type='{card}'/>")), "{}", defined.xml);
        assert!(!defined.xml.contains("<rng"), "{}", defined.xml);
        starts(&setup, &defined);
    }
}

#[tokio::test]
async fn a_linux_of_the_first_virtio_starts_on_pci_express() {
    let Some(mut setup) = Setup::new().await else { return };
    setup.vm.memory_mib = 256;
    setup.vm.firmware = Firmware::Efi;
    setup.vm.guest.full_name = "Red Hat Enterprise Linux 6 (64-bit)".to_owned();
    let defined = setup.import().await.expect("imports");
    libvirtd::validate(&defined.xml);
    let xml = &defined.xml;
    assert_eq!(count(xml, "virtio-transitional"), 6, "disk, cards, agent, RNG, balloon: {xml}");
    starts(&setup, &defined);
}

#[tokio::test]
async fn a_profile_of_ones_own_and_a_cpu_model_are_used() {
    let Some(mut setup) = Setup::new().await else { return };
    let file = setup.dir.path().join("own.xml");
    let profile = "<domain><features><acpi/></features><clock offset=\"localtime\"/><devices>\
        <graphics type=\"vnc\" port=\"-1\" autoport=\"yes\" listen=\"127.0.0.1\"/>\
        <video><model type=\"virtio\"/></video><memballoon model=\"none\"/></devices></domain>";
    std::fs::write(&file, profile).expect("written");
    setup.options.hardware.profile = Some(user_profile(&file).expect("it is fine"));
    setup.options.hardware.cpu = CpuChoice::Named("qemu64".to_owned());
    let defined = setup.import().await.expect("imports");
    libvirtd::validate(&defined.xml);
    for part in ["<memballoon model='none'/>", "offset='localtime'", ">qemu64</model>"] {
        assert!(defined.xml.contains(part), "no {part} in {}", defined.xml);
    }
    assert!(!defined.xml.contains("<rng"), "{}", defined.xml);

    setup.options.name = Some(setup.names.name("other"));
    setup.options.hardware.cpu = CpuChoice::Named("Cray-1".to_owned());
    let error = setup.target.preflight(&setup.request()).await.expect_err("no such model");
    assert!(matches!(error, Error::Plan(_)), "{}", chain(&error));
    assert!(error.hint().expect("a hint").contains("qemu64"), "{:?}", error.hint());
}

#[tokio::test]
async fn where_it_came_from_stands_in_the_domain_whatever_its_name_holds() {
    let Some(mut setup) = Setup::new().await else { return };
    setup.vm.name = "</hyperexport:source>\u{1}\"&<x>\u{1f980}".to_owned();
    setup.vm.inventory_path = Some(format!("/DC0/vm/{}\n", setup.vm.name));
    setup.vm.origin.server = Some("vc.example.com".to_owned());
    setup.vm.origin.exported_at = Some("2026-11-23T05:00:00Z".to_owned());
    let defined = setup.import().await.expect("imports");
    libvirtd::validate(&defined.xml);
    for part in [
        "xmlns:hyperexport=\"urn:hyperexport:domain:1.0\"",
        "server=\"vc.example.com\"",
        "moref=\"vm-42\"",
        "time=\"2026-11-23T05:00:00Z\"",
        concat!("version=\"", env!("CARGO_PKG_VERSION"), "\""),
        "http://libosinfo.org/linux/2022",
    ] {
        assert!(defined.xml.contains(part), "no {part} in {}", defined.xml);
    }
    assert_eq!(count(&defined.xml, "<hyperexport:source"), 1, "{}", defined.xml);
}

#[tokio::test]
async fn a_bus_that_nothing_speaks_for_is_told() {
    let Some(mut setup) = Setup::new().await else { return };
    let codes = async |setup: &Setup| {
        let warnings = setup.target.preflight(&setup.request()).await.expect("accepted");
        let codes = warnings.into_iter().map(|warning| warning.code);
        // Domains of other tests may have the same addresses meanwhile.
        codes.filter(|code| code != "mac-in-use").collect::<Vec<_>>()
    };
    assert_eq!(codes(&setup).await, [""; 0]);
    setup.disks.0[0].fixed = false;
    assert_eq!(codes(&setup).await, ["guest-not-fixed"]);
    setup.options.hardware.disk_bus = Some(DiskBus::Virtio);
    assert_eq!(codes(&setup).await, ["disk-bus-unproven"]);
    setup.options.hardware.disk_bus = Some(DiskBus::Sata);
    assert_eq!(codes(&setup).await, [""; 0]);
}

#[tokio::test]
async fn windows_as_it_was_keeps_the_controller_of_lsi_and_starts() {
    let Some(mut setup) = Setup::new().await else { return };
    with_disks_and_nics(&mut setup, 8, 1);
    setup.disks.0.iter_mut().for_each(|disk| disk.fixed = false);
    setup.vm.disks = vec![source_disk("VirtualLsiLogicSASController")];
    setup.vm.guest.family = OsFamily::Windows;
    setup.vm.cdroms = 1;
    let defined = setup.import().await.expect("imports");
    libvirtd::validate(&defined.xml);
    assert_eq!(count(&defined.xml, "lsisas1068"), 1, "{}", defined.xml);
    starts(&setup, &defined);
}

#[tokio::test]
async fn the_identity_of_the_source_is_kept_by_one_domain_of_a_host() {
    let Some(mut setup) = Setup::new().await else { return };
    let uuid = std::fs::read_to_string("/proc/sys/kernel/random/uuid").expect("readable");
    let uuid = uuid.trim().to_owned();
    setup.vm.memory_mib = 256;
    setup.vm.cpu = CpuTopology::new(4, 4).with_threads(2);
    setup.vm.board = Board {
        uuid: Some(uuid.clone()),
        smbios: [("system", "serial", "VMware-56 4d"), ("oemStrings", "", "of: us")]
            .map(|(table, name, value)| SmbiosText {
                table: table.to_owned(),
                name: name.to_owned(),
                value: value.to_owned(),
            })
            .to_vec(),
        genid: Some("89abcdef-4567-0123-1032-547698badcfe".to_owned()),
        sound: Some(SoundCard::Hda),
        ..Board::default()
    };
    let defined = setup.import().await.expect("imports");
    libvirtd::validate(&defined.xml);
    assert_eq!(defined.uuid, uuid);
    for part in [
        "<genid>89abcdef-4567-0123-1032-547698badcfe</genid>",
        "<entry name='serial'>VMware-56 4d</entry>",
        "<entry>of: us</entry>",
        "<smbios mode='sysinfo'/>",
        "<sound model='ich6'>",
        "cores='2' threads='2'/>",
    ] {
        assert!(defined.xml.contains(part), "no {part} in {}", defined.xml);
    }
    starts(&setup, &defined);

    // A second domain of the VM gets a new UUID, with a warning.
    setup.options.name = Some(setup.names.name("second"));
    let second = setup.import().await.expect("imports");
    assert_ne!(second.uuid, uuid);
    let codes: Vec<_> = second.warnings.iter().map(|warning| warning.code.as_str()).collect();
    assert!(codes.contains(&"uuid-not-kept"), "{codes:?}");
    assert!(second.xml.contains("VMware-56 4d"), "{}", second.xml);

    // A domain with that UUID from another export's record is not this domain.
    let mut other = defined.undo.clone();
    for step in &mut other {
        if let Undo::Undefine { mark, .. } = step {
            *mark = mark.as_ref().map(|_| "of another run".to_owned());
        }
    }
    other.retain(|step| matches!(step, Undo::Undefine { .. }));
    let taken = setup.target.take_back(&other).await.expect("nothing runs");
    assert_eq!((taken.done.len(), taken.gone.len()), (0, 1), "{taken:?}");
    let taken = setup.target.take_back(&defined.undo).await.expect("nothing runs");
    assert!(taken.is_complete(), "{taken:?}");

    // A copy has a new identity.
    setup.options.name = Some(setup.names.name("copy"));
    setup.options.hardware.new_uuid = true;
    let copy = setup.import().await.expect("imports");
    assert_ne!(copy.uuid, uuid);
    assert!(copy.xml.contains("<genid>") && !copy.xml.contains("89abcdef"), "{}", copy.xml);
    assert!(!copy.xml.contains("VMware-56"), "{}", copy.xml);
}
