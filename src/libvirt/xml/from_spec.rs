//! From a [`DomainSpec`] and its hardware profile to `<domain>`. Nothing is decided here.

use crate::domain::{CpuMode, DiskSpec, DomainSpec, FirmwareSpec, NicSource, NicSpec};

use super::XmlError;
use super::devices::{
    Boot, Device, Devices, Disk, DiskDriver, DiskSource, DiskTarget, Interface, InterfaceModel,
    InterfaceSource, Link, Mac,
};
use super::domain::{Cpu, Domain, FirmwareFeature, FirmwareFeatures, Memory, Os, OsType, Topology};
use super::features::{Clock, Features, Switch, YesNo};
use super::profile::ProfileXml;

/// The domain XML of a plan, with an identity of its own.
pub fn domain_xml(spec: &DomainSpec, uuid: &str) -> Result<String, XmlError> {
    let profile = ProfileXml::load(spec.profile.family)?;
    super::write("domain", &domain(spec, uuid, profile))
}

fn domain(spec: &DomainSpec, uuid: &str, profile: ProfileXml) -> Domain {
    Domain {
        kind: spec.domain_type.as_str().to_owned(),
        name: spec.name.clone(),
        uuid: uuid.to_owned(),
        title: Some(spec.title.clone()).filter(|title| !title.is_empty()),
        description: spec.description.clone(),
        memory: Memory { unit: "MiB", value: spec.memory_mib },
        vcpu: spec.vcpus,
        os: os(spec),
        features: features(spec, profile.features),
        cpu: cpu(spec),
        clock: profile.clock.map(|wish| clock(spec, wish)),
        pm: profile.pm,
        devices: devices(spec, profile.devices),
    }
}

fn os(spec: &DomainSpec) -> Os {
    let feature = |name, wanted| FirmwareFeature {
        enabled: if wanted { YesNo::Yes } else { YesNo::No },
        name,
    };
    let (auto, firmware) = match spec.firmware {
        FirmwareSpec::Bios => (None, None),
        // Said in both cases: where nothing is said, distributions select a firmware that has
        // secure boot on, and a guest that never knew it does not boot.
        FirmwareSpec::Efi { secure_boot: true } => {
            (Some("efi"), Some(vec![feature("enrolled-keys", true), feature("secure-boot", true)]))
        }
        FirmwareSpec::Efi { secure_boot: false } => {
            (Some("efi"), Some(vec![feature("secure-boot", false)]))
        }
    };
    Os {
        auto,
        machine: OsType { arch: spec.arch.clone(), machine: spec.machine.clone(), kind: "hvm" },
        firmware: firmware.map(|feature| FirmwareFeatures { feature }),
    }
}

fn features(spec: &DomainSpec, mut features: Features) -> Features {
    if spec.firmware == (FirmwareSpec::Efi { secure_boot: true }) {
        features.smm = Some(Switch::on());
    }
    if let Some(hyperv) = &mut features.hyperv {
        hyperv.list.retain(|wish| spec.hyperv.iter().any(|granted| granted == wish.name()));
    }
    features.hyperv = features.hyperv.filter(|hyperv| !hyperv.list.is_empty());
    features
}

fn clock(spec: &DomainSpec, mut clock: Clock) -> Clock {
    clock.timer.retain(|timer| timer.name != "hypervclock" || spec.hyperv_clock);
    clock
}

fn cpu(spec: &DomainSpec) -> Cpu {
    Cpu {
        mode: match spec.cpu {
            CpuMode::HostPassthrough => Some("host-passthrough"),
            CpuMode::Maximum => Some("maximum"),
            CpuMode::Default => None,
        },
        topology: Topology { sockets: spec.sockets, cores: spec.cores, threads: 1 },
    }
}

fn devices(spec: &DomainSpec, profile: Devices) -> Devices {
    let mut list = vec![Device::Emulator(spec.emulator.clone())];
    list.extend(spec.disks.iter().map(|disk| Device::Disk(Box::new(self::disk(disk)))));
    list.extend(spec.nics.iter().map(|nic| Device::Interface(Box::new(interface(nic)))));
    list.extend(profile.list.into_iter().filter_map(|device| match (device, &spec.video) {
        (Device::Video(mut video), Some(model)) => {
            video.model.kind.clone_from(model);
            Some(Device::Video(video))
        }
        (Device::Video(_), None) => None,
        (other, _) => Some(other),
    }));
    Devices { list }
}

fn disk(spec: &DiskSpec) -> Disk {
    Disk {
        kind: "file".to_owned(),
        device: "disk".to_owned(),
        driver: DiskDriver {
            name: "qemu".to_owned(),
            format: spec.format.qemu_driver().to_owned(),
            cache: "writeback".to_owned(),
            discard: "unmap".to_owned(),
        },
        source: DiskSource { file: spec.path.clone() },
        target: DiskTarget { dev: spec.target.clone(), bus: "virtio".to_owned() },
        serial: spec.serial.clone(),
        boot: Boot { order: spec.boot },
    }
}

fn interface(spec: &NicSpec) -> Interface {
    let (kind, network, bridge) = match &spec.source {
        NicSource::Network(name) => ("network", Some(name.clone()), None),
        NicSource::Bridge(name) => ("bridge", None, Some(name.clone())),
    };
    Interface {
        kind: kind.to_owned(),
        mac: spec.mac.map(|mac| Mac { address: mac.to_string() }),
        source: InterfaceSource { network, bridge },
        model: InterfaceModel { kind: "virtio".to_owned() },
        link: (!spec.link_up).then(|| Link { state: "down".to_owned() }),
    }
}
