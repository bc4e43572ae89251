//! Domain XML of guests of every family on hosts of every kind. `UPDATE_GOLDEN=1` rewrites the
//! files. Each file is validated by libvirt's own schema, and this host's daemon defines every
//! guest.

use std::fs;

use crate::support::guests::{Guest, guests, host, root};
use crate::support::import::Setup;
use crate::support::libvirtd;
use hyperexport::domain::{CpuChoice, DomainType, Error, HostCapabilities};
use hyperexport::model::Hint;
use virt::sys;

const UUID: &str = "11111111-2222-4333-8444-555555555555";

/// Hosts that support every guest.
const HOSTS: [&str; 3] = ["libvirt-9.0", "libvirt-11.3", "enterprise-without-qxl"];

fn guest(name: &str) -> Guest {
    guests().into_iter().find(|guest| guest.name == name).expect("a guest")
}

fn check(folder: &str, guest: &Guest, host: &HostCapabilities, domain_type: Option<DomainType>) {
    let xml = guest.xml(host, domain_type, None, UUID).expect("the host takes it");
    // A new version changes no golden file.
    let release = format!(" version=\"{}\">", env!("CARGO_PKG_VERSION"));
    assert!(xml.contains(&release), "no{release} in {xml}");
    let xml = xml.replace(&release, " version=\"VERSION\">");
    let folder = root().join("tests/golden").join(folder);
    let file = folder.join(format!("{}.xml", guest.name));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::create_dir_all(&folder).expect("made");
        fs::write(&file, &xml).expect("written");
    }
    let expected = fs::read_to_string(&file).expect("UPDATE_GOLDEN=1 makes it");
    let shown = file.display();
    assert!(xml == expected, "{shown} differs; UPDATE_GOLDEN=1 writes it anew:\n{xml}");
    libvirtd::validate(&xml);
}

#[test]
fn every_guest_on_every_host_by_kvm() {
    for name in HOSTS {
        let host = host(name);
        for guest in guests() {
            if guest.name == "windows-legacy-bios" && name == "enterprise-without-qxl" {
                let error = guest.xml(&host, None, None, UUID).expect_err("no IDE there");
                assert!(matches!(error, Error::NeedsIde { .. }), "{error}");
            } else {
                check(name, &guest, &host, None);
            }
        }
    }
}

#[test]
fn an_emulated_guest_has_nothing_of_kvm() {
    let host = host("libvirt-11.3");
    for name in ["linux-bios", "windows-efi-secureboot"] {
        check("libvirt-11.3-emulated", &guest(name), &host, Some(DomainType::Qemu));
    }
}

#[test]
fn a_cpu_model_by_name_is_one_that_the_host_can_run() {
    let mut guest = guest("linux-bios");
    guest.name = "linux-cpu-model";
    guest.hardware.cpu = CpuChoice::Named("EPYC".to_owned());
    check("libvirt-9.0", &guest, &host("libvirt-9.0"), None);
    let error = guest.xml(&host("libvirt-11.3"), None, None, UUID).expect_err("not usable");
    assert!(matches!(error, Error::CpuModel { .. }), "{error}");
}

#[test]
fn without_firmware_and_tpm_only_bios_guests_are_taken() {
    let host = host("without-ovmf");
    for mut guest in guests() {
        let xml = guest.xml(&host, None, None, UUID);
        match (guest.name.contains("efi"), guest.name) {
            (true, _) | (_, "own-profile") => {
                let error = xml.expect_err(guest.name);
                assert!(matches!(error, Error::NoEfi { .. }), "{}: {error}", guest.name);
                assert!(error.hint().expect("a hint").contains("ovmf"), "{error}");
            }
            _ => {
                check("without-ovmf", &guest, &host, None);
                guest.vm.vtpm = true;
                let error = guest.xml(&host, None, None, UUID).expect_err("no emulator");
                assert!(matches!(error, Error::NoTpm { .. }), "{}: {error}", guest.name);
            }
        }
    }
}

#[test]
fn a_host_of_another_architecture_is_refused_with_what_is_missing() {
    let arm = HostCapabilities { platforms: Vec::new(), ..host("libvirt-11.3") };
    let error = guest("linux-bios").xml(&arm, None, None, UUID).expect_err("no x86");
    assert_eq!(error.to_string(), "the host offers no qemu guests of architecture x86_64");
    assert!(error.hint().expect("a hint").contains("qemu-system-x86"));
}

#[test]
fn the_host_decides_about_video_and_enlightenments() {
    let xml = |host_name: &str| {
        guest("windows-efi").xml(&host(host_name), None, None, UUID).expect("taken")
    };
    let old = xml("libvirt-9.0");
    assert!(
        old.contains("<model type=\"qxl\"/>") && old.contains("<evmcs state=\"on\"/>"),
        "{old}"
    );
    assert!(old.contains("<stimer state=\"on\"/>"), "no direct timers are listed:\n{old}");
    let new = xml("enterprise-without-qxl");
    assert!(new.contains("<model type=\"virtio\"/>") && !new.contains("evmcs"), "{new}");
    assert!(new.contains("<direct state=\"on\"/>"), "{new}");
}

#[tokio::test]
async fn the_daemon_of_this_host_defines_every_guest() {
    let Some(mut setup) = Setup::new().await else { return };
    let platforms = setup.host.platforms.clone();
    let able = platforms.iter().any(|platform| platform.secure_boot && !platform.tpm.is_empty());
    if !able {
        return libvirtd::skip("no secure boot or no TPM (packages ovmf, swtpm, swtpm-tools)");
    }
    // Checked only at the start of a domain.
    setup.host.switches.push("ovsbr0".to_owned());
    let connect = libvirtd::connect();
    for guest in guests() {
        for kind in [DomainType::Kvm, DomainType::Qemu] {
            if !setup.host.lists(kind) {
                continue;
            }
            let mut guest = guest.clone();
            guest.bridge = "virbr0";
            guest.hardware.cpu = CpuChoice::Auto;
            let name = setup.names.name(&format!("{}-{kind}", guest.name));
            let uuid = std::fs::read_to_string("/proc/sys/kernel/random/uuid").expect("random");
            let xml = guest.xml(&setup.host, Some(kind), Some(name), uuid.trim()).expect("taken");
            let defined = connect.define_domain_xml_flags(&xml, sys::VIR_DOMAIN_DEFINE_VALIDATE);
            defined.unwrap_or_else(|error| panic!("{}: {error}\n{xml}", guest.name));
        }
    }
}
