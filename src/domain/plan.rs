//! Plans a domain: applies all rules to one VM.

use crate::model::{Lack, OsFamily, SourceVm, emulates};

use super::boot_bus::{self, Load};
use super::disks::{self, PlannedDisk};
use super::family::Family;
use super::hardware::{DiskBus, Hardware};
use super::host::{DomainType, HostCapabilities};
use super::name::{check_name, domain_name};
use super::network_map::NetworkMap;
use super::nic_model::Cards;
use super::profile::{self, Profile};
use super::spec::{Decisions, DomainSpec, Provenance};
use super::storage::{self, BusCriteria};
use super::{
    Error, cpu, firmware, guest, identity, machine, network, ports, sound, text, tpm, virtio,
};

/// Options of the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanOptions {
    /// Name of the domain; by default derived from the display name.
    pub name: Option<String>,
    /// Domain type; by default `kvm` if KVM runs guests, else `qemu`.
    pub domain_type: Option<DomainType>,
    /// Bridge of the network interfaces that `network_map` does not connect.
    pub bridge: String,
    /// Connections for networks of the source.
    pub network_map: NetworkMap,
    /// Hardware settings of the user.
    pub hardware: Hardware,
    /// Whether to plan a domain even if its disks contain nothing to boot.
    pub allow_unbootable: bool,
}

impl PlanOptions {
    /// Name of the domain: the chosen name, or else one derived from the display name of the VM.
    pub fn domain_name(&self, vm: &SourceVm) -> String {
        self.name.clone().unwrap_or_else(|| domain_name(&vm.name))
    }

    /// Hardware profile of the domain.
    pub fn family(&self, vm: &SourceVm) -> Family {
        Family::of(&vm.guest)
    }
}

/// Plans the domain for `vm`.
///
/// # Errors
/// The first violated rule. The plan uses only features that the host lists.
pub fn plan(
    vm: &SourceVm,
    disks: &[PlannedDisk],
    profile: Profile,
    host: &HostCapabilities,
    options: &PlanOptions,
) -> Result<DomainSpec, Error> {
    let name = options.domain_name(vm);
    check_name(&name)?;
    if vm.memory_mib == 0 {
        return Err(Error::NoMemory);
    }
    if let Some(guest) = vm.arch.as_ref().filter(|arch| !emulates(&host.arch, arch)) {
        return Err(Error::Architecture { guest: guest.clone(), host: host.arch.clone() });
    }
    let (mediums, disks): (Vec<_>, Vec<_>) = disks.iter().cloned().partition(|disk| disk.medium);
    let disks = disks.as_slice();
    let hardware = &options.hardware;
    let express = virtio::on_express(vm, hardware.disk_bus);
    let platform = machine::choose(host, options.domain_type, vm.firmware, express)?;
    let topology = cpu::topology(vm.cpu, platform)?;
    bootable(vm, options)?;
    // By the guest, not by its profile, which the user may have replaced.
    let (family, fixed) = (options.family(vm), disks::fixed(disks));
    // The converter has decided which controller a prepared Windows or Linux boots from.
    let changed = fixed && (family.is_windows() || family == Family::Linux);
    let drivers = vm.facts.as_ref().and_then(|facts| facts.drivers.as_ref());
    let load = Load { disks: disks.len(), drives: vm.cdroms as usize };
    let knows_sata = guest::knows_sata(&vm.guest);
    let kept = boot_bus::unchanged(vm, load, platform).filter(|_| !changed);
    let wanted = BusCriteria {
        bus: hardware.disk_bus,
        family,
        fixed,
        proven: drivers.and_then(|drivers| boot_bus::choose(drivers, vm, load, platform)),
        kept: kept.filter(|kept| kept.bus != DiskBus::Sata || knows_sata),
        knows_sata,
        iothreads: hardware.iothreads,
    };
    let storage = storage::arrange(disks, &mediums, vm.cdroms, wanted, platform)?;
    let cards = Cards { family, guest: &vm.guest, fixed, drivers, platform };
    let nics = network::plug(&vm.nics, options, host, platform, cards)?;
    Ok(DomainSpec::new(Decisions {
        name,
        identity: identity::choose(vm, hardware),
        title: text::one_line(&vm.name),
        description: description(vm),
        osinfo: guest::osinfo(&vm.guest),
        provenance: provenance(vm),
        domain_type: platform.domain_type,
        arch: host.arch.clone(),
        machine: platform.machine.clone(),
        emulator: platform.emulator.clone(),
        memory_mib: vm.memory_mib,
        vcpus: topology.vcpus,
        sockets: topology.sockets(),
        cores: topology.cores_per_socket / topology.threads(),
        threads: topology.threads(),
        cpu: cpu::mode(&hardware.cpu, vm.board.cpu_model.as_deref(), platform)?,
        iothreads: hardware.iothreads,
        firmware: firmware::choose(vm.firmware, vm.secure_boot, platform)?,
        nvram: None,
        video: profile::video(profile.video.as_deref(), platform),
        hyperv: profile::hyperv(&profile.hyperv, platform),
        hyperv_clock: profile::hyperv_clock(platform),
        panic: profile::panic(profile.panic.as_deref(), platform),
        tpm: tpm::choose(hardware.tpm, vm, platform)?,
        sound: sound::choose(vm, family, platform),
        fixed: fixed_by(vm, &storage, fixed),
        transitional: virtio::transitional(vm, platform),
        scsi_model: storage.scsi_model,
        scsi_controllers: storage.scsi_controllers,
        root_ports: ports::planned(&storage, nics.len(), platform),
        profile,
        disks: storage.disks,
        cdroms: storage.cdroms,
        nics,
    }))
}

/// Whether the guest is known to boot from its planned disks: by the drivers found in it, else by
/// the converter's result.
fn fixed_by(vm: &SourceVm, storage: &storage::Storage, fixed: bool) -> bool {
    let drivers = vm.facts.as_ref().and_then(|facts| facts.drivers.as_ref());
    match (drivers, storage.disks.first()) {
        (Some(drivers), Some(boot)) => boot_bus::known_as(boot.bus, storage.scsi_model)
            // No driver is searched for the controller that the guest has kept.
            .is_none_or(|bus| drivers.boots_from(bus)),
        _ => fixed,
    }
}

/// Refuses a VM whose boot disk contains nothing to boot. If the guest was not inspected, only the
/// structure of the disk counts.
fn bootable(vm: &SourceVm, options: &PlanOptions) -> Result<(), Error> {
    let facts = vm.facts.as_ref().filter(|_| !options.allow_unbootable);
    let Some((facts, disk)) = facts.and_then(|facts| Some((facts, facts.boot_disk.as_ref()?)))
    else {
        return Ok(());
    };
    let has_system = facts.family != OsFamily::Unknown;
    let holds = match facts.lacks {
        Some(_) if facts.inspected && !has_system => "no boot loader and no operating system",
        // No firmware boots a system on such a disk.
        Some(Lack::PartitionTable) => "neither a boot sector nor a partition table",
        Some(Lack::EfiPartition) if !has_system => {
            "neither a boot sector nor an EFI system partition"
        }
        None if facts.inspected && !has_system && facts.firmware.is_empty() => {
            "no boot loader and no operating system"
        }
        _ => return Ok(()),
    };
    Err(Error::Unbootable { disk: disk.to_string(), holds })
}

/// Origin of the VM, for programs that find the domain later.
fn provenance(vm: &SourceVm) -> Provenance {
    let line =
        |text: &Option<String>| text.as_deref().map(text::one_line).filter(|line| !line.is_empty());
    Provenance {
        provider: text::one_line(&vm.provider),
        server: line(&vm.origin.server),
        id: text::one_line(&vm.id),
        path: line(&vm.inventory_path),
        instance_uuid: line(&vm.instance_uuid),
        exported_at: line(&vm.origin.exported_at),
    }
}

/// Origin of the VM, for people who find the domain later.
fn description(vm: &SourceVm) -> String {
    let mut text = format!("Imported from {} {}", vm.provider, vm.id);
    if let Some(path) = &vm.inventory_path {
        text.push_str(&format!(", {path}"));
    }
    if vm.guest.family != OsFamily::Unknown && !vm.guest.full_name.is_empty() {
        text.push_str(&format!(" ({})", vm.guest.full_name));
    }
    text::one_line(&text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::FirmwareSpec;
    use crate::domain::fixture::{disk, host, linux_profile, options, vm};
    use crate::model::Hint;
    use crate::model::{DiskId, Firmware, GuestBus, GuestDrivers, GuestFacts};

    #[test]
    fn the_facts_of_the_source_arrive() {
        let spec = plan(&vm(), &[disk(0)], linux_profile(), &host(), &options()).expect("valid");
        assert_eq!(spec.name, "ubuntu-server");
        assert_eq!(spec.title, "Ubuntu-Server");
        assert_eq!((spec.memory_mib, spec.vcpus, spec.sockets, spec.cores), (2049, 4, 2, 2));
        assert_eq!(spec.firmware, FirmwareSpec::Bios);
        assert_eq!(spec.nics.len(), 2);
        assert_eq!(
            spec.description,
            "Imported from vsphere vm-42, /DC0/vm/Ubuntu-Server (Ubuntu Linux (64-bit))"
        );
    }

    #[test]
    fn every_broken_rule_is_its_own_error() {
        let try_with = |change: fn(&mut SourceVm, &mut PlanOptions, &mut HostCapabilities)| {
            let (mut vm, mut options, mut host) = (vm(), options(), host());
            change(&mut vm, &mut options, &mut host);
            plan(&vm, &[disk(0)], linux_profile(), &host, &options).expect_err("broken")
        };
        assert_eq!(try_with(|vm, _, _| vm.memory_mib = 0), Error::NoMemory);
        let error = try_with(|vm, _, _| vm.arch = Some("aarch64".to_owned()));
        assert_eq!(
            error.to_string(),
            "the guest is for aarch64 processors, and the host emulates x86_64"
        );
        assert!(error.hint().is_some());
        assert_eq!(try_with(|vm, _, _| vm.secure_boot = true), Error::SecureBootOnBios);
        assert!(matches!(
            try_with(|_, options, _| options.name = Some("a/b".to_owned())),
            Error::Name { .. }
        ));
        assert!(matches!(try_with(|vm, _, _| vm.cpu.vcpus = 300), Error::TooManyVcpus { .. }));
        assert!(matches!(
            try_with(|_, options, _| options.bridge = "br9".to_owned()),
            Error::NoBridge { .. }
        ));
        assert!(matches!(
            try_with(|vm, _, host| {
                vm.firmware = Firmware::Efi;
                host.platforms.iter_mut().for_each(|p| p.efi = false);
            }),
            Error::NoEfi { .. }
        ));
        assert!(matches!(try_with(|_, _, host| host.platforms.clear()), Error::DomainType { .. }));
    }

    #[test]
    fn guests_of_the_host_s_architecture_are_planned() {
        for arch in [None, Some("x86_64"), Some("i686"), Some("i386")] {
            let vm = SourceVm { arch: arch.map(str::to_owned), ..vm() };
            let spec = plan(&vm, &[disk(0)], linux_profile(), &host(), &options());
            assert_eq!(spec.expect("planned").arch, "x86_64", "{arch:?}");
        }
    }

    #[test]
    fn hostile_display_names_give_a_plain_name_and_a_title_on_one_line() {
        let mut vm = vm();
        vm.name = "<b>&\"' \n\u{1}\u{1f980}".to_owned();
        let spec = plan(&vm, &[disk(0)], linux_profile(), &host(), &options()).expect("valid");
        assert_eq!(spec.name, "b");
        assert_eq!(spec.title, "<b>&\"' \u{1f980}");
    }

    #[test]
    fn a_boot_disk_that_starts_nothing_is_refused() {
        let refused = |facts: GuestFacts, allow_unbootable| {
            let facts = GuestFacts { boot_disk: Some(DiskId::from_index(0)), ..facts };
            let vm = SourceVm { facts: Some(facts), ..vm() };
            let options = PlanOptions { allow_unbootable, ..options() };
            let planned = plan(&vm, &[disk(0)], linux_profile(), &host(), &options);
            planned.err().map(|error| error.to_string())
        };
        let (unread, linux) = (
            GuestFacts::default(),
            GuestFacts { inspected: true, family: OsFamily::Linux, ..GuestFacts::default() },
        );
        let without = |facts: &GuestFacts, lack| GuestFacts { lacks: Some(lack), ..facts.clone() };
        for (facts, said) in [
            (without(&unread, Lack::PartitionTable), Some("nor a partition table")),
            (without(&unread, Lack::EfiPartition), Some("nor an EFI system partition")),
            (without(&linux, Lack::PartitionTable), Some("nor a partition table")),
            (without(&linux, Lack::EfiPartition), None),
            (GuestFacts { inspected: true, ..unread.clone() }, Some("no operating system")),
            (unread, None),
            (linux, None),
        ] {
            let why = refused(facts.clone(), false);
            assert_eq!(why.is_some(), said.is_some(), "{facts:?}: {why:?}");
            assert!(why.is_none_or(|why| said.is_some_and(|said| why.contains(said))), "{facts:?}");
            assert_eq!(refused(facts, true), None);
        }
    }

    #[test]
    fn virtio_scsi_is_virtio() {
        let drivers = |buses: &[GuestBus]| {
            let drivers =
                Some(GuestDrivers { buses: buses.to_vec(), cards: Vec::new(), virtio_1: false });
            SourceVm { facts: Some(GuestFacts { drivers, ..GuestFacts::default() }), ..vm() }
        };
        let starts = |vm: &SourceVm| {
            let spec = plan(vm, &[disk(0)], linux_profile(), &host(), &options()).expect("valid");
            (spec.disks[0].bus, spec.starts_from_virtio())
        };
        assert_eq!(starts(&drivers(&[GuestBus::VirtioBlk])), (DiskBus::Virtio, true));
        assert_eq!(starts(&drivers(&[GuestBus::VirtioScsi])), (DiskBus::Scsi, true));
        assert!(!starts(&drivers(&[GuestBus::Sata])).1);
    }
}
