//! Reconstructs the VM that a manifest describes.

use std::path::{Path, PathBuf};

use crate::model::{
    Assumed, Board, Bus, ByteSize, Controller, CpuTopology, DiskFormat, DiskId, ExportState,
    ExportedMedium, ExportedNvram, Firmware, GuestOs, Origin, OsFamily, PowerState, ReceivedStream,
    Sha256Digest, SourceDisk, SourceNic, SourceVm, shown,
};

use super::types::{Disk, Manifest, ManifestFirmware, Nic, Vm};

/// Memory of a VM whose manifest has no `mem_gb`, in GiB.
const DEFAULT_MEM_GB: u64 = 2;

impl Manifest {
    /// Images in the VM's CD-ROM drives, as far as they were exported. Empty for a manifest of
    /// another program.
    pub fn media(&self) -> &[ExportedMedium] {
        let exact = self.metadata.as_ref().and_then(|metadata| metadata.hyperexport.as_ref());
        exact.map_or(&[], |exact| &exact.media)
    }

    /// Replaces the path of every file that the manifest names: disks, media and EFI variables.
    pub fn each_path(&mut self, place: impl Fn(&Path) -> PathBuf) {
        let exact = self.metadata.as_mut().and_then(|metadata| metadata.hyperexport.as_mut());
        let beside = exact.into_iter().flat_map(|exact| {
            let media = exact.media.iter_mut().map(|medium| &mut medium.path);
            media.chain(exact.nvram.iter_mut().map(|nvram| &mut nvram.path))
        });
        for path in self.disks.iter_mut().map(|disk| &mut disk.local_path).chain(beside) {
            *path = place(path);
        }
    }

    /// The variables of the VM's EFI firmware, if they were exported.
    pub fn nvram(&self) -> Option<&ExportedNvram> {
        self.metadata.as_ref()?.hyperexport.as_ref()?.nvram.as_ref()
    }

    /// The stream from which a disk's image was written during the download, if it was recorded.
    pub fn received(&self, disk: &DiskId) -> Option<&ReceivedStream> {
        self.metadata.as_ref()?.hyperexport.as_ref()?.received.get(disk)
    }

    /// Hash of the content of a disk as it was exported, if the manifest records the hash.
    pub fn content(&self, disk: &DiskId) -> Option<Sha256Digest> {
        self.metadata.as_ref()?.hyperexport.as_ref()?.content.get(disk).copied()
    }

    /// Records the hash of the content of a disk, or removes the hash. Does nothing for a manifest
    /// of another program, which has no field for the hash.
    pub fn set_content(&mut self, disk: &DiskId, content: Option<Sha256Digest>) {
        if let Some(exact) = self.metadata.as_mut().and_then(|m| m.hyperexport.as_mut()) {
            exact.content.remove(disk);
            exact.content.extend(content.map(|content| (disk.clone(), content)));
        }
    }

    /// State of the VM (running, powered off, …) in which its disks were read, if recorded.
    pub fn state(&self) -> Option<&ExportState> {
        self.metadata.as_ref()?.hyperexport.as_ref()?.state.as_ref()
    }

    /// Records the state of the VM in which its disks were read. Does nothing for a manifest of
    /// another program, which has no field for the state.
    pub fn set_state(&mut self, state: ExportState) {
        if let Some(exact) = self.metadata.as_mut().and_then(|m| m.hyperexport.as_mut()) {
            exact.state = Some(state);
        }
    }

    /// The VM that the manifest describes: exactly, if hyperexport wrote the manifest. Otherwise
    /// the VM is derived from the contract's fields: memory in GiB, no controllers, no NIC models.
    pub fn source_vm(&self) -> SourceVm {
        let mut vm = match self.metadata.as_ref().and_then(|m| m.hyperexport.as_ref()) {
            Some(exact) => exact.source_vm.clone(),
            None => self.derived_vm(),
        };
        vm.origin.exported_at = self.source.as_ref().and_then(|s| s.export_timestamp.clone());
        vm.name = shown::name(&vm.name);
        vm
    }

    /// Replaces the described VM by `vm` and returns true. Returns false, without a change, for a
    /// manifest of another program.
    pub fn describe(&mut self, vm: &SourceVm) -> bool {
        let Some(exact) = self.metadata.as_mut().and_then(|m| m.hyperexport.as_mut()) else {
            return false;
        };
        exact.source_vm.clone_from(vm);
        let extra = self.vm.take().map(|vm| vm.extra).unwrap_or_default();
        self.vm = Some(Vm { extra, ..super::build::hardware(vm) });
        true
    }

    /// The same manifest with the network cards of `vm`; `vm` equals the manifest's VM in all else.
    #[must_use]
    pub fn with_nics(mut self, vm: &SourceVm) -> Self {
        for (nic, card) in self.nics.iter_mut().zip(&vm.nics) {
            nic.mac = card.mac;
        }
        if let Some(exact) = self.metadata.as_mut().and_then(|m| m.hyperexport.as_mut()) {
            exact.source_vm.nics.clone_from(&vm.nics);
            exact.source_vm.guest.network.clone_from(&vm.guest.network);
        }
        self
    }

    /// Size of a disk as the guest sees it: from the exact facts, or the file's size for a raw
    /// image. `None` if the manifest does not record the size; the image's header has it.
    pub fn capacity(&self, disk: &Disk) -> Option<ByteSize> {
        let exact = self.metadata.as_ref().and_then(|m| m.hyperexport.as_ref());
        exact
            .and_then(|e| e.capacities.get(&disk.id).copied())
            .or((disk.source_format == DiskFormat::Raw).then_some(ByteSize(disk.bytes)))
    }

    /// The disks in boot order, the boot disk first. Equal hints keep the manifest's order, as the
    /// consumer does.
    pub fn disks_in_boot_order(&self) -> Vec<&Disk> {
        let mut disks: Vec<_> = self.disks.iter().collect();
        disks.sort_by_key(|disk| disk.boot_order());
        disks
    }

    /// Display name of the VM; `vm` when the manifest names none.
    pub fn vm_name(&self) -> &str {
        let name = self.source.as_ref().and_then(|s| s.vm_name.as_deref());
        name.filter(|name| !name.trim().is_empty()).unwrap_or("vm")
    }

    fn derived_vm(&self) -> SourceVm {
        let source = self.source.clone().unwrap_or_default();
        let vm = self.vm.clone().unwrap_or_default();
        let order = self.disks_in_boot_order();
        let disks = self.disks.iter().enumerate().map(|(i, disk)| {
            let rank = order.iter().position(|d| d.id == disk.id).unwrap_or(i);
            derived_disk(disk, i, rank, self.capacity(disk))
        });
        SourceVm {
            provider: source.provider.unwrap_or_else(|| "unknown".to_owned()),
            id: source.vm_id.unwrap_or_default(),
            name: self.vm_name().to_owned(),
            instance_uuid: None,
            inventory_path: None,
            datacenter: source.datacenter,
            power: PowerState::Unknown,
            arch: None,
            cpu: CpuTopology::new(vm.cpu.unwrap_or(1), 1),
            memory_mib: vm.mem_gb.unwrap_or(DEFAULT_MEM_GB).saturating_mul(1024),
            firmware: match vm.firmware {
                Some(ManifestFirmware::Uefi) => Firmware::Efi,
                _ => Firmware::Bios,
            },
            secure_boot: vm.secureboot.unwrap_or(false),
            vtpm: false,
            cdroms: 0,
            board: Board::default(),
            origin: Origin::default(),
            assumed: Assumed {
                firmware: !matches!(
                    vm.firmware,
                    Some(ManifestFirmware::Bios | ManifestFirmware::Uefi)
                ),
                boot_disk: self.disks.iter().all(|disk| disk.boot_order_hint.is_none()),
            },
            guest: GuestOs {
                id: String::new(),
                full_name: vm.os_version.unwrap_or_default(),
                family: vm.os_hint.unwrap_or(OsFamily::Unknown),
                network: None,
            },
            disks: disks.collect(),
            nics: self.nics.iter().enumerate().map(|(i, nic)| derived_nic(nic, i)).collect(),
            facts: None,
        }
    }
}

/// A disk whose controller is not known. A capacity that is not known becomes 0.
fn derived_disk(disk: &Disk, index: usize, rank: usize, capacity: Option<ByteSize>) -> SourceDisk {
    let small = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    SourceDisk {
        id: disk.id.clone(),
        key: i32::try_from(index).unwrap_or(i32::MAX),
        label: disk.label.clone().unwrap_or_default(),
        controller: Controller { bus: Bus::Other, model: String::new(), number: 0, slot: None },
        unit: small(index),
        capacity: capacity.unwrap_or_default(),
        boot_order: small(rank),
        backing: None,
        uuid: None,
    }
}

fn derived_nic(nic: &Nic, index: usize) -> SourceNic {
    let card = SourceNic::at(index);
    SourceNic {
        id: nic.id.clone().unwrap_or(card.id),
        mac: nic.mac,
        network: nic.network.clone().unwrap_or_default(),
        ..card
    }
}
