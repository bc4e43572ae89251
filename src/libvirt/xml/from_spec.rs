//! Converts a [`DomainSpec`] and its hardware profile to `<domain>`. This module decides nothing.

use crate::domain::{
    CdromSpec, CpuMode, DiskBus, DiskKind, DiskSpec, DomainSpec, FirmwareSpec, GenId, NicKind,
    NicSource, NicSpec, ScsiModel, TpmModel, UserNetwork,
};

use super::XmlError;
use super::devices::{
    Boot, Controller, ControllerDriver, Device, Devices, Disk, DiskDriver, DiskSource, DiskTarget,
    DriveAddress, Interface, InterfaceBackend, InterfaceModel, InterfaceSource, Link, Mac, Model,
    Rng, Tpm, TpmBackend, VirtualPort, Vlan, VlanTag,
};
use super::domain::{Cpu, Domain, FirmwareFeature, FirmwareFeatures, Memory, Os, OsType, Topology};
use super::features::{Clock, Empty, Features, Switch, YesNo};
use super::metadata::{
    ExportMetadata, ExportSource, HYPEREXPORT, Hyperexport, LIBOSINFO, Libosinfo, Metadata, OsId,
};
use super::profile::ProfileXml;
use super::sysinfo::{Smbios, Sysinfo};

/// Model of virtio devices that also support the version before 1.0.
const TRANSITIONAL: &str = "virtio-transitional";

/// The domain XML of a plan, with its UUID and its mark.
pub fn domain_xml(spec: &DomainSpec, uuid: &str, mark: Option<&str>) -> Result<String, XmlError> {
    let profile = ProfileXml::of(&spec.profile)?;
    super::write("domain", &domain(spec, uuid, mark, profile))
}

fn domain(spec: &DomainSpec, uuid: &str, mark: Option<&str>, profile: ProfileXml) -> Domain {
    Domain {
        kind: spec.domain_type.as_str().to_owned(),
        name: spec.name.clone(),
        uuid: uuid.to_owned(),
        genid: spec.identity.genid.as_ref().map(|id| match id {
            GenId::Kept(id) => id.clone(),
            GenId::New => String::new(),
        }),
        title: Some(spec.title.clone()).filter(|title| !title.is_empty()),
        description: spec.description.clone(),
        metadata: metadata(spec, mark),
        memory: Memory { unit: "MiB", value: spec.memory_mib },
        vcpu: spec.vcpus,
        iothreads: Some(spec.iothreads).filter(|count| *count > 0),
        sysinfo: Sysinfo::of(&spec.identity.smbios),
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
        // Both settings are explicit: without them, distributions select a firmware with secure
        // boot. A guest that does not support secure boot then fails to boot.
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
        smbios: Sysinfo::of(&spec.identity.smbios).map(|_| Smbios { mode: "sysinfo".to_owned() }),
        nvram: spec.nvram.clone(),
    }
}

fn features(spec: &DomainSpec, mut features: Features) -> Features {
    if spec.firmware == (FirmwareSpec::Efi { secure_boot: true }) {
        features.smm = Some(Switch::on());
    }
    if let Some(hyperv) = &mut features.hyperv {
        hyperv.list.retain(|wish| spec.hyperv.iter().any(|granted| granted == wish.name()));
        hyperv.list.iter_mut().for_each(|wish| wish.restrict(&spec.hyperv));
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
        mode: Some(spec.cpu.as_str()).filter(|_| spec.cpu != CpuMode::Default),
        model: match &spec.cpu {
            CpuMode::Custom(model) => Some(model.clone()),
            _ => None,
        },
        topology: Topology { sockets: spec.sockets, cores: spec.cores, threads: spec.threads },
    }
}

fn metadata(spec: &DomainSpec, mark: Option<&str>) -> Metadata {
    let from = spec.provenance.clone();
    let os = |id: &String| Libosinfo { namespace: LIBOSINFO, os: OsId { id: id.clone() } };
    Metadata {
        libosinfo: spec.osinfo.as_ref().map(os),
        hyperexport: Hyperexport {
            namespace: HYPEREXPORT,
            version: env!("CARGO_PKG_VERSION"),
            definition: mark.map(str::to_owned),
            source: ExportSource {
                provider: from.provider,
                server: from.server,
                moref: from.id,
                path: from.path,
                instance_uuid: from.instance_uuid,
            },
            export: from.exported_at.map(|time| ExportMetadata { time }),
        },
    }
}

fn devices(spec: &DomainSpec, profile: Devices) -> Devices {
    let mut list = vec![Device::Emulator(spec.emulator.clone())];
    list.extend(controllers(spec).into_iter().map(Device::Controller));
    let old = spec.transitional;
    list.extend(spec.disks.iter().map(|disk| Device::Disk(Box::new(self::disk(disk, old)))));
    list.extend(spec.cdroms.iter().map(|drive| Device::Disk(Box::new(cdrom(drive)))));
    list.extend(spec.nics.iter().map(|nic| Device::Interface(Box::new(interface(nic, old)))));
    list.extend(spec.tpm.map(|model| Device::Tpm(tpm(model))));
    // A user's own profile may contain a sound card.
    let has_sound = profile.list.iter().any(|device| matches!(device, Device::Sound(_)));
    let sound = spec.sound.filter(|_| !has_sound);
    list.extend(sound.map(|model| Device::Sound(Model { model: model.as_str().to_owned() })));
    list.extend(profile.list.into_iter().filter_map(|device| granted(device, spec)));
    Devices { list }
}

/// A device of the profile, with the model that the host offers; `None` if the host offers none.
fn granted(device: Device, spec: &DomainSpec) -> Option<Device> {
    match device {
        Device::Video(mut video) => {
            video.model.kind = spec.video.clone()?;
            Some(Device::Video(video))
        }
        Device::Panic(_) => Some(Device::Panic(Model { model: spec.panic.clone()? })),
        Device::Rng(rng) if spec.transitional && rng.model == "virtio" => {
            Some(Device::Rng(Rng { model: TRANSITIONAL.to_owned(), ..rng }))
        }
        Device::Memballoon(balloon) if spec.transitional && balloon.model == "virtio" => {
            Some(Device::Memballoon(Model { model: TRANSITIONAL.to_owned() }))
        }
        other => Some(other),
    }
}

fn controllers(spec: &DomainSpec) -> Vec<Controller> {
    let controller = |kind: &str, index, model: &str, iothread: Option<u32>| Controller {
        kind: kind.to_owned(),
        index: Some(index),
        model: Some(model.to_owned()),
        driver: iothread.map(|iothread| ControllerDriver { iothread }),
    };
    let thread = |index: u32| (spec.iothreads > 0).then(|| index % spec.iothreads + 1);
    let scsi_model = match spec.scsi_model {
        ScsiModel::Virtio if spec.transitional => TRANSITIONAL,
        model => model.as_str(),
    };
    // Controller for the agent's channel; libvirt would create one that is not transitional.
    let serial = spec.transitional.then(|| controller("virtio-serial", 0, TRANSITIONAL, None));
    let scsi = (0..spec.scsi_controllers)
        .map(|index| controller("scsi", index, scsi_model, thread(index)));
    let root = (spec.root_ports > 0).then(|| controller("pci", 0, "pcie-root", None));
    let ports = (1..=spec.root_ports).map(|index| controller("pci", index, "pcie-root-port", None));
    root.into_iter().chain(ports).chain(serial).chain(scsi).collect()
}

fn tpm(model: TpmModel) -> Tpm {
    Tpm {
        model: model.as_str().to_owned(),
        backend: TpmBackend { kind: "emulator".to_owned(), version: "2.0".to_owned() },
    }
}

fn cdrom(spec: &CdromSpec) -> Disk {
    let (kind, source) = match spec.medium.clone() {
        None => ("file", None),
        Some((DiskKind::File, path)) => ("file", Some(DiskSource { file: Some(path), dev: None })),
        Some((DiskKind::Block, path)) => {
            ("block", Some(DiskSource { file: None, dev: Some(path) }))
        }
    };
    Disk {
        kind: kind.to_owned(),
        device: "cdrom".to_owned(),
        model: None,
        driver: DiskDriver {
            name: "qemu".to_owned(),
            format: "raw".to_owned(),
            cache: None,
            io: None,
            discard: None,
            detect_zeroes: None,
            iothread: None,
        },
        source,
        target: DiskTarget { dev: spec.target.clone(), bus: spec.bus.as_str().to_owned() },
        readonly: Some(Empty {}),
        transient: None,
        serial: None,
        address: None,
        boot: spec.boot.map(|order| Boot { order }),
    }
}

fn disk(spec: &DiskSpec, transitional: bool) -> Disk {
    let path = || Some(spec.path.clone());
    // A file uses the host's page cache, which the guest's flushes write out: this works on every
    // file system. Native I/O needs a file system that supports direct I/O. Every device does.
    let (kind, cache, io, source) = match spec.kind {
        DiskKind::File => ("file", "writeback", "threads", DiskSource { file: path(), dev: None }),
        DiskKind::Block => ("block", "none", "native", DiskSource { file: None, dev: path() }),
    };
    Disk {
        kind: kind.to_owned(),
        device: "disk".to_owned(),
        model: (transitional && spec.bus == DiskBus::Virtio).then(|| TRANSITIONAL.to_owned()),
        driver: DiskDriver {
            name: "qemu".to_owned(),
            format: spec.format.qemu_driver().to_owned(),
            cache: Some(cache.to_owned()),
            io: Some(io.to_owned()),
            discard: Some("unmap".to_owned()),
            detect_zeroes: Some("unmap".to_owned()),
            iothread: spec.iothread,
        },
        source: Some(source),
        target: DiskTarget { dev: spec.target.clone(), bus: spec.bus.as_str().to_owned() },
        readonly: None,
        transient: spec.transient.then_some(Empty {}),
        serial: spec.serial.clone(),
        address: spec.scsi_target.map(|target| DriveAddress {
            kind: "drive".to_owned(),
            controller: 0,
            bus: 0,
            target,
            unit: 0,
        }),
        boot: Some(Boot { order: spec.boot }),
    }
}

fn interface(spec: &NicSpec, transitional: bool) -> Interface {
    let (kind, network, bridge) = match &spec.source {
        NicSource::Network(name) => ("network", Some(name.clone()), None),
        NicSource::Bridge(name) | NicSource::Ovs(name) => ("bridge", None, Some(name.clone())),
        NicSource::User(_) => ("user", None, None),
    };
    let model = match spec.model {
        NicKind::Virtio if transitional => TRANSITIONAL,
        model => model.as_str(),
    };
    Interface {
        kind: kind.to_owned(),
        mac: spec.mac.map(|mac| Mac { address: mac.to_string() }),
        backend: (spec.source == NicSource::User(UserNetwork::Passt))
            .then(|| InterfaceBackend { kind: "passt".to_owned() }),
        source: (kind != "user").then_some(InterfaceSource { network, bridge }),
        virtualport: matches!(spec.source, NicSource::Ovs(_))
            .then(|| VirtualPort { kind: "openvswitch".to_owned() }),
        vlan: spec.vlan.map(|id| Vlan { tag: VlanTag { id } }),
        model: InterfaceModel { kind: model.to_owned() },
        link: (!spec.link_up).then(|| Link { state: "down".to_owned() }),
    }
}
