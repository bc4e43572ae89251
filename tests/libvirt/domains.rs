//! Domains on a real libvirt with the QEMU driver.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::support::import::{Setup, assert_same, chain};
use crate::support::libvirtd;
use hyperexport::domain::{Chipset, DomainType};
use hyperexport::libvirt::{Connection, Error, Journal, Settings, Transfer};
use hyperexport::model::{DiskFormat, Firmware, Hint, OsFamily};
use hyperexport::progress::{Event, Progress};
use tokio_util::sync::CancellationToken;

#[tokio::test]
async fn a_bios_guest_is_defined_as_it_was_at_its_source() {
    let Some(mut setup) = Setup::new().await else { return };
    setup.autostart = true;
    let mut warnings = setup.target.preflight(&setup.request()).await.expect("nothing to refuse");
    // Domains of other tests may have the same addresses meanwhile.
    warnings.retain(|warning| warning.code != "mac-in-use");
    assert!(warnings.is_empty(), "{warnings:?}");
    let defined = setup.import().await.expect("imports");
    assert_eq!(Some(&defined.name), setup.options.name.as_ref());
    libvirtd::validate(&defined.xml);
    for part in [
        "<title>Ubuntu-Server</title>",
        "<memory unit='KiB'>2098176</memory>",
        "<vcpu placement='static'>4</vcpu>",
        "<topology sockets='2' dies='1' clusters='1' cores='2' threads='1'/>",
        "<mac address='00:50:56:aa:bb:01'/>",
        "<source network='default'/>",
        "<link state='down'/>",
        "discard='unmap'",
        "cache='writeback'",
        "<serial>disk-0</serial>",
        "listen='127.0.0.1'",
        "org.qemu.guest_agent.0",
        "<boot order='1'/>",
    ] {
        // libvirt 9 does not support clusters yet.
        let older = part.replace("clusters='1' ", "");
        assert!(
            defined.xml.contains(part) || defined.xml.contains(&older),
            "no {part} in {}",
            defined.xml
        );
    }
    let connect = libvirtd::connect();
    let domain = connect.lookup_domain_by_uuid_string(&defined.uuid).expect("it is there");
    assert!(domain.autostart().expect("known"));
    assert!(!domain.is_active().expect("known"));
    let pool = connect.lookup_storage_pool_by_name(&defined.pool).expect("the pool was made");
    assert!(pool.autostart().expect("known") && pool.is_active().expect("known"));
}

#[tokio::test]
async fn efi_guests_with_and_without_secure_boot_get_their_firmware() {
    let Some(mut setup) = Setup::new().await else { return };
    setup.vm.firmware = Firmware::Efi;
    let q35 = setup.host.platform(DomainType::Qemu, Chipset::Q35).expect("QEMU has it").clone();
    if !q35.secure_boot {
        return libvirtd::skip("no EFI firmware with secure boot (package ovmf or edk2-ovmf)");
    }
    let defined = setup.import().await.expect("imports");
    libvirtd::validate(&defined.xml);
    assert!(defined.xml.contains("<feature enabled='no' name='secure-boot'/>"), "{}", defined.xml);
    assert!(defined.xml.contains("machine='pc-q35"), "{}", defined.xml);

    setup.vm.secure_boot = true;
    setup.vm.guest.family = OsFamily::Windows;
    setup.options.name = Some(setup.names.name("secure"));
    let defined = setup.import().await.expect("imports");
    libvirtd::validate(&defined.xml);
    for part in ["<smm state='on'/>", "offset='localtime'", "secure='yes'"] {
        assert!(defined.xml.contains(part), "no {part} in {}", defined.xml);
    }
}

#[tokio::test]
async fn thirty_disks_of_both_formats_keep_their_order() {
    let Some(mut setup) = Setup::new().await else { return };
    for index in 1..30 {
        setup.add_disk(if index % 2 == 0 { DiskFormat::Qcow2 } else { DiskFormat::Raw });
    }
    // The boot disk is not the first one.
    setup.disks.0[0].boot_order = 2;
    setup.disks.0[2].boot_order = 0;
    let defined = setup.import().await.expect("imports");
    libvirtd::validate(&defined.xml);
    assert!(defined.xml.contains("<target dev='sdad' bus='scsi'/>"), "{}", defined.xml);
    let name = setup.options.name.as_deref().expect("given");
    let names: Vec<_> = defined.volumes.iter().map(|volume| volume.name.as_str()).collect();
    assert_eq!(names[2], format!("{name}.qcow2"));
    assert_eq!(names[0], format!("{name}-disk-0.qcow2"));
    assert_eq!(names[29], format!("{name}-disk-29.raw"));
    let boot = defined.xml.find(&format!("{name}.qcow2")).expect("the boot disk");
    assert!(defined.xml[boot..].find("sda").expect("a name") < 200, "{}", defined.xml);
}

#[tokio::test]
async fn odd_names_are_kept_and_cannot_break_out() {
    let Some(mut setup) = Setup::new().await else { return };
    setup.vm.name = "<b>&\"' \u{1f980}\n\u{1}</title>".to_owned();
    let odd = setup.names.name("<b>&\"' \u{1f980}");
    setup.options.name = Some(odd.clone());
    let defined = setup.import().await.expect("imports");
    libvirtd::validate(&defined.xml);
    assert_eq!(setup.names.domains(), std::slice::from_ref(&odd));
    assert_eq!(defined.volumes[0].name, format!("{odd}.qcow2"));
    assert!(defined.xml.contains("&lt;b&gt;&amp;"), "{}", defined.xml);
}

#[tokio::test]
async fn a_taken_name_is_refused_and_the_other_domain_stays() {
    let Some(setup) = Setup::new().await else { return };
    let first = setup.import().await.expect("imports");
    let error = setup.target.preflight(&setup.request()).await.expect_err("taken");
    assert!(matches!(error, Error::DomainExists { .. }), "{}", chain(&error));
    assert!(error.hint().expect("a hint").contains("--libvirt-name"));
    let error = setup.import().await.expect_err("taken");
    assert!(matches!(error, Error::DomainExists { .. }), "{}", chain(&error));
    let connect = libvirtd::connect();
    let still = connect.lookup_domain_by_name(&first.name).expect("it is there");
    assert_eq!(still.uuid_string().expect("known"), first.uuid);
    assert!(std::path::Path::new(&first.volumes[0].path).exists());
}

#[tokio::test]
async fn an_unknown_bridge_is_refused_with_those_that_exist() {
    let Some(mut setup) = Setup::new().await else { return };
    setup.options.bridge = "hxt-no-bridge".to_owned();
    let error = setup.target.preflight(&setup.request()).await.expect_err("unknown");
    assert!(chain(&error).contains("'hxt-no-bridge' does not exist"), "{}", chain(&error));
    assert!(error.hint().expect("a hint").contains("virbr0"));
    setup.assert_nothing_left();
}

#[tokio::test]
async fn what_libvirt_refuses_at_the_end_leaves_nothing() {
    let Some(mut setup) = Setup::new().await else { return };
    setup.add_disk(DiskFormat::Raw);
    for platform in &mut setup.host.platforms {
        platform.machine = "pc-no-such-machine".to_owned();
    }
    let error = setup.import().await.expect_err("no such machine");
    assert!(chain(&error).starts_with("defining domain '"), "{}", chain(&error));
    setup.assert_nothing_left();

    // And the next attempt succeeds.
    setup.host = setup.target.capabilities().await.expect("known");
    setup.import().await.expect("imports");
}

#[tokio::test]
async fn a_cancelled_import_leaves_nothing() {
    for transfer in [Transfer::Auto, Transfer::Stream] {
        let Some(setup) = Setup::with(transfer).await else { return };
        let cancel = CancellationToken::new();
        let at_first_bytes = cancel.clone();
        let progress = Progress::new(move |event| {
            if matches!(event, Event::TaskAdvanced { .. }) {
                at_first_bytes.cancel();
            }
        });
        let end = setup.target.import(&setup.request(), &Journal::none(), &progress, &cancel).await;
        let error = end.expect_err("cancelled");
        assert!(matches!(error, Error::Cancelled), "{}", chain(&error));
        setup.assert_nothing_left();
    }
}

#[tokio::test]
async fn what_cannot_be_taken_back_is_said_with_what_failed_first() {
    let Some(setup) = Setup::new().await else { return };
    let volume = setup.pool_dir().join(format!("{}.qcow2", setup.names.name("vm")));
    let in_the_way = volume.clone();
    let progress = Progress::new(move |event| {
        if matches!(event, Event::TaskFinished { .. }) {
            // A folder in the place of the volume: neither a volume nor a removable file.
            std::fs::remove_file(&in_the_way).expect("it was copied");
            std::fs::create_dir(&in_the_way).expect("made");
        }
    });
    let end = setup
        .target
        .import(&setup.request(), &Journal::none(), &progress, &CancellationToken::new())
        .await;
    let error = end.expect_err("no volume");
    let text = chain(&error);
    assert!(matches!(error, Error::NotUndone { .. }), "{text}");
    assert!(text.starts_with(&format!("not removed: {}", volume.display())), "{text}");
    assert!(text.contains(": volume '"), "{text}");
    assert!(setup.names.domains().is_empty());
    // The volume now in the pool belongs to someone else, so the pool stays too.
    assert!(text.contains("(it contains 1 volumes)"), "{text}");
    assert_eq!(setup.names.pools().len(), 1);
}

#[tokio::test]
async fn an_image_that_is_missing_leaves_nothing() {
    let Some(mut setup) = Setup::new().await else { return };
    setup.add_disk(DiskFormat::Raw);
    std::fs::remove_file(&setup.disks.0[1].path).expect("removed");
    setup.target.preflight(&setup.request()).await.expect("images may still be expected");
    let error = setup.import().await.expect_err("missing");
    assert!(matches!(error, Error::File { act: "opening", .. }), "{}", chain(&error));
    setup.assert_nothing_left();
}

#[tokio::test]
async fn of_two_imports_of_one_name_one_wins_whole() {
    for transfer in [Transfer::Auto, Transfer::Stream] {
        let Some(setup) = Setup::with(transfer).await else { return };
        setup.make_pool().create(0).expect("started");
        let (a, b) = tokio::join!(setup.import(), setup.import());
        let (won, lost) = match (a, b) {
            (Ok(won), Err(lost)) | (Err(lost), Ok(won)) => (won, lost),
            (a, b) => panic!("not one winner: {a:?} {b:?}"),
        };
        let taken = matches!(lost, Error::VolumeExists { .. } | Error::DomainExists { .. });
        assert!(taken, "{}", chain(&lost));
        assert_eq!(setup.names.domains(), [won.name]);
        let image = &setup.disks.0[0];
        assert_same(&image.path, Path::new(&won.volumes[0].path), image.format);
        assert_eq!(std::fs::read_dir(setup.pool_dir()).expect("reads").count(), 1);
    }
}

#[tokio::test]
async fn two_imports_share_a_pool_at_once() {
    let Some(one) = Setup::with(Transfer::Stream).await else { return };
    let Some(mut two) = Setup::with(Transfer::Stream).await else { return };
    one.make_pool().create(0).expect("started");
    two.pool = one.pool.clone();
    let (a, b) = tokio::join!(one.import(), two.import());
    a.expect("imports");
    b.expect("imports");
}

#[tokio::test]
async fn defined_guests_start() {
    let Some(mut setup) = Setup::new().await else { return };
    for firmware in [Firmware::Bios, Firmware::Efi] {
        setup.vm.firmware = firmware;
        setup.vm.memory_mib = 256;
        setup.options.name = Some(setup.names.name(&format!("{firmware:?}")));
        let defined = setup.import().await.expect("imports");
        let connect = libvirtd::connect();
        let domain = connect.lookup_domain_by_name(&defined.name).expect("it is there");
        let started = domain.create();
        let active = domain.is_active();
        if started.is_ok() {
            domain.destroy().expect("stopped");
        }
        started.expect("starts");
        assert!(active.expect("known"));
    }
}

#[tokio::test]
async fn a_pool_that_qemu_cannot_reach_is_refused_at_once() {
    let Some(setup) = Setup::new().await else { return };
    let label = libvirtd::connect().capabilities().expect("known");
    if !nix::unistd::geteuid().is_root() || label.contains(">+0:+0<") {
        return libvirtd::skip("QEMU runs as this user here");
    }
    let closed = std::fs::Permissions::from_mode(0o700);
    std::fs::set_permissions(setup.dir.path(), closed).expect("set");
    let error = setup.target.preflight(&setup.request()).await.expect_err("closed");
    let folder = setup.dir.path().display().to_string();
    let said = chain(&error);
    assert!(said.contains(&format!("may not enter {folder} on the way to storage pool")), "{said}");
    let hint = error.hint().expect("a hint");
    assert!(hint.contains("setfacl -m u:") && hint.contains(&folder), "{hint}");
    setup.assert_nothing_left();
}

#[tokio::test]
async fn hardware_that_libvirt_refuses_is_found_out_beforehand() {
    let Some(mut setup) = Setup::new().await else { return };
    setup.target.test_define(&setup.request()).await.expect("nothing to refuse");
    setup.assert_nothing_left();
    // As if the host had dropped a machine type since its capabilities were read.
    for platform in &mut setup.host.platforms {
        platform.machine = "pc-i440fx-0.1".to_owned();
    }
    let error = setup.target.test_define(&setup.request()).await.expect_err("refused");
    let name = setup.options.name.as_deref().expect("given");
    let said = chain(&error);
    assert!(
        said.starts_with(&format!("defining a domain with the hardware of '{name}': ")),
        "{said}"
    );
    assert!(said.contains("pc-i440fx-0.1"), "libvirt's own words: {said}");
    setup.assert_nothing_left();
}

#[tokio::test]
async fn a_rehearsal_takes_away_what_a_killed_one_left_and_nothing_else() {
    let Some(setup) = Setup::new().await else { return };
    let (ours, other) =
        ("2f0b5a0e-4a44-4f0e-9d9c-3f2b7a5d1c01", "2f0b5a0e-4a44-4f0e-9d9c-3f2b7a5d1c02");
    let connect = libvirtd::connect();
    let define = |name: &str, uuid: &str| {
        let xml = format!(
            "<domain type='qemu'><name>{name}</name><uuid>{uuid}</uuid><memory>65536</memory>\
             <os><type arch='x86_64'>hvm</type></os></domain>"
        );
        connect.define_domain_xml(&xml).expect("defined")
    };
    define(&format!("hyperexport-trial-{ours}"), ours);
    // A user's own domain with such a name.
    let kept = define("hyperexport-trial-mine", other);
    setup.target.test_define(&setup.request()).await.expect("nothing to refuse");
    let left = connect.lookup_domain_by_uuid_string(ours);
    kept.undefine().expect("still there");
    assert!(left.is_err(), "the leftover is gone");
}

#[tokio::test]
async fn a_daemon_that_is_not_there_is_named_with_the_remedy() {
    let settings = |uri: &str| Settings {
        uri: uri.to_owned(),
        transfer: Transfer::Auto,
        ..Settings::default()
    };
    let uri = "qemu+unix:///system?socket=/nonexistent";
    let error = Connection::connect(&settings(uri)).await.expect_err("nobody there");
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
    assert!(chain(&error).contains("/nonexistent"), "{}", chain(&error));
    assert!(error.hint().expect("a hint").contains("libvirtd"));

    let error = Connection::connect(&settings("qemu://")).await.expect_err("no URI");
    assert!(matches!(error, Error::Uri { .. }), "{error:?}");
}

#[tokio::test]
async fn the_capabilities_of_this_host_are_understood() {
    let Some(setup) = Setup::new().await else { return };
    let host = &setup.host;
    assert_eq!(host.arch, "x86_64");
    let q35 = host.platform(DomainType::Qemu, Chipset::Q35).expect("QEMU has it");
    assert!(q35.machine.starts_with("pc-q35-"), "{q35:?}");
    assert!(q35.max_vcpus >= 255 && q35.cpu_modes.iter().any(|mode| mode == "maximum"), "{q35:?}");
    assert!(q35.video.iter().any(|model| model == "vga"), "{q35:?}");
    let bridge = host.bridges.iter().find(|bridge| bridge.name == "virbr0").expect("it is there");
    assert_eq!(bridge.network.as_deref(), Some("default"));
    assert!(bridge.active);
}
