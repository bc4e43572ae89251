//! A libvirt host as a source of VMs: reads domains and volumes, and changes nothing.

pub(super) mod source_after;
pub(super) mod source_board;
mod source_disks;
mod source_firmware;
pub(super) mod source_power;

use std::io;

use virt::connect::Connect;
use virt::domain::Domain;
use virt::error::ErrorNumber;

use super::storage::download::{self, Chunk};
use super::xml::source_domain::{DomainDisk, Interface, SourceDomain};
use super::xml::sources;
use super::{Connection, Error, xml};
use crate::model::{
    Assumed, ByteSize, DiskId, Firmware, GuestOs, NicModel, Origin, OsFamily, PowerState,
    SourceDisk, SourceNic, SourceVm, normal_arch, revision,
};
use crate::progress::{Control, Unit};

pub use source_disks::FoundVolume;
use source_disks::{Lack, boot_disks, controller_model, source_disk};

/// A domain that can be exported.
#[derive(Debug, Clone)]
pub struct FoundDomain {
    /// Description of the VM.
    pub vm: SourceVm,
    /// Volumes of the disks, in the order of [`SourceVm::disks`].
    pub volumes: Vec<FoundVolume>,
    /// Images in the CD-ROM drives that are volumes.
    pub media: Vec<FoundVolume>,
    /// Path of the file of UEFI variables on the source host, if an EFI guest names one.
    pub nvram: Option<String>,
}

impl FoundDomain {
    /// Fingerprint of the volumes and media: it changes when a volume is written to or a medium is
    /// exchanged. Empty if that cannot be detected. The hardware is compared separately.
    pub fn revision(&self) -> String {
        let disks = self.volumes.iter().map(|volume| volume.changed.clone());
        let medium = |volume: &FoundVolume| {
            Some(format!("{}@{}", volume.path, volume.changed.as_deref().unwrap_or_default()))
        };
        let changed: Option<Vec<String>> = disks.chain(self.media.iter().map(medium)).collect();
        let Some(changed) = changed else { return String::new() };
        revision::of_volumes(&changed.iter().map(String::as_str).collect::<Vec<_>>())
    }
}

/// Receives the content of a volume in order.
pub type VolumeSink = Box<dyn FnMut(Chunk<'_>) -> io::Result<()> + Send>;

impl Connection {
    /// All domains of the host, running or not.
    ///
    /// # Errors
    /// [`Error::Call`], [`Error::Xml`].
    pub async fn domains(&self) -> Result<Vec<SourceVm>, Error> {
        let host = self.uri().to_owned();
        self.call(move |connect| {
            let all = connect.list_all_domains(0).map_err(Error::call("listing the domains"))?;
            all.iter().map(|domain| Ok(describe(connect, domain, &host)?.vm)).collect()
        })
        .await
    }

    /// The domain of that name or UUID, with the volumes of its disks.
    ///
    /// # Errors
    /// [`Error::DiskInNoPool`], [`Error::NotTaken`], [`Error::Call`].
    pub async fn domain(&self, name: &str) -> Result<FoundDomain, Error> {
        let (host, name) = (self.uri().to_owned(), name.to_owned());
        self.call(move |connect| {
            let found = connect
                .lookup_domain_by_name(&name)
                .or_else(|error| connect.lookup_domain_by_uuid_string(&name).map_err(|_| error));
            let domain = found.map_err(Error::call(format!("looking up domain '{name}'")))?;
            let found = describe(connect, &domain, &host)?;
            match found.missing {
                Some(lack) => Err(lack.of(found.vm.name)),
                None => {
                    let DescribedDomain { vm, volumes, media, nvram, .. } = found;
                    Ok(FoundDomain { vm, volumes, media, nvram })
                }
            }
        })
        .await
    }

    /// Content of the small file at `path` of the host, at most `most` bytes. `None` if the file
    /// does not exist or is not in an active storage pool.
    ///
    /// # Errors
    /// [`Error::Call`]; [`Error::NotTaken`] for a larger file.
    pub async fn read_small(&self, path: &str, most: u64) -> Result<Option<Vec<u8>>, Error> {
        let path = path.to_owned();
        self.call(move |connect| {
            let found = match connect.lookup_storage_vol_by_path(&path) {
                Err(error) if error.code().is(ErrorNumber::NoStorageVolume) => return Ok(None),
                found => found.map_err(Error::call(format!("looking up the volume {path}")))?,
            };
            let content = download::beginning(connect, &found, most + 1)?;
            if content.len() as u64 > most {
                let reason = format!("it is larger than {}", ByteSize(most));
                return Err(Error::NotTaken { name: path, reason });
            }
            Ok(Some(content))
        })
        .await
    }

    /// Reads a volume to its end.
    ///
    /// # Errors
    /// [`Error::Call`], errors of the sink as [`Error::File`], [`Error::Cancelled`].
    pub async fn read_volume(
        &self,
        volume: &FoundVolume,
        mut sink: VolumeSink,
        Control { progress, cancel }: Control<'_>,
    ) -> Result<(), Error> {
        let task =
            progress.task(format!("take {}", volume.id), Some(volume.allocation), Unit::Bytes);
        let (path, cancel) = (volume.path.clone(), cancel.clone());
        self.call(move |connect| {
            let found = connect.lookup_storage_vol_by_path(&path);
            let found = found.map_err(Error::call(format!("looking up the volume {path}")))?;
            let mut position = 0;
            download::each(connect, &found, 0, &cancel, &mut |chunk| {
                if let Chunk::Data(bytes) = chunk {
                    position += bytes.len() as u64;
                    task.at(position);
                }
                sink(chunk).map_err(Error::file("writing what was read of", &path))
            })
        })
        .await
    }
}

/// A domain, and the reasons why it cannot be exported.
struct DescribedDomain {
    vm: SourceVm,
    volumes: Vec<FoundVolume>,
    media: Vec<FoundVolume>,
    nvram: Option<String>,
    missing: Option<Lack>,
}

fn describe(connect: &Connect, domain: &Domain, host: &str) -> Result<DescribedDomain, Error> {
    let call = || Error::call("reading a domain");
    // The inactive XML: without the parts that libvirt adds while the domain runs.
    let text = domain.xml_desc(virt::sys::VIR_DOMAIN_XML_INACTIVE).map_err(call())?;
    let read = xml::read("domain", &text);
    let found: SourceDomain =
        read.map_err(|source| Error::Xml { what: "the source's domain".to_owned(), source })?;
    let power = if domain.is_active().map_err(call())? {
        PowerState::On
    } else if domain.has_managed_save(0).map_err(call())? {
        PowerState::Suspended
    } else {
        PowerState::Off
    };
    let (mut disks, mut volumes, mut missing) = (Vec::new(), Vec::new(), None);
    let is_disk = |disk: &&DomainDisk| matches!(disk.device.as_str(), "" | "disk");
    let all: Vec<&DomainDisk> = found.devices.disk.iter().filter(is_disk).collect();
    for (index, disk) in all.iter().enumerate() {
        let id = DiskId::from_index(index);
        let mut capacity = ByteSize(0);
        match source_disks::volume(connect, disk, &id) {
            Ok(found) => {
                capacity = found.capacity;
                volumes.push(found);
            }
            Err(reason) => missing = missing.or(Some(reason)),
        }
        let model = controller_model(disk, &found.devices.controller);
        disks.push(source_disk(disk, id, model, index, capacity));
    }
    if disks.is_empty() {
        missing = Some("it has no disk".to_owned().into());
    }
    let names_boot_disk = SourceDisk::order_boot(&mut disks, &boot_disks(&all));
    let mut vm = facts(&found, power, disks, host);
    vm.assumed.boot_disk = !names_boot_disk;
    let (drives, media) = source_disks::media(connect, &found.devices.disk);
    vm.board.not_kept = source_board::not_kept(&found, &drives);
    let nvram = sources::nvram(&text).filter(|_| vm.firmware == Firmware::Efi);
    Ok(DescribedDomain { vm, volumes, media, nvram, missing })
}

fn facts(found: &SourceDomain, power: PowerState, disks: Vec<SourceDisk>, host: &str) -> SourceVm {
    let is_efi = source_firmware::is_efi(&found.os);
    let cdroms = found.devices.disk.iter().filter(|disk| disk.device == "cdrom").count();
    SourceVm {
        provider: "libvirt".to_owned(),
        id: found.uuid.clone(),
        name: found.name.clone(),
        instance_uuid: Some(found.uuid.clone()),
        inventory_path: None,
        datacenter: None,
        power,
        arch: Some(normal_arch(&found.os.kind.arch)).filter(|arch| !arch.is_empty()),
        cpu: source_board::topology(found),
        memory_mib: mebibytes(found.memory.value, found.memory.unit.as_deref()),
        firmware: if is_efi { Firmware::Efi } else { Firmware::Bios },
        secure_boot: is_efi && source_firmware::is_secure(&found.os),
        vtpm: !found.devices.tpm.is_empty(),
        cdroms: u32::try_from(cdroms).unwrap_or(u32::MAX),
        board: source_board::board(found),
        origin: Origin { server: Some(host.to_owned()), exported_at: None },
        assumed: Assumed::default(),
        guest: GuestOs {
            id: String::new(),
            full_name: found.metadata.libosinfo.os.id.clone(),
            family: family(&found.metadata.libosinfo.os.id),
            network: None,
        },
        disks,
        nics: found
            .devices
            .interface
            .iter()
            .enumerate()
            .map(|(at, found)| nic(at, found))
            .collect(),
        facts: None,
    }
}

/// OS family from a libosinfo ID such as `http://debian.org/debian/12`.
fn family(id: &str) -> OsFamily {
    const OTHERS: [&str; 5] = ["bsd", "solaris", "apple", "haiku", "dos"];
    match id {
        "" => OsFamily::Unknown,
        id if id.contains("microsoft.com/win") => OsFamily::Windows,
        id if OTHERS.iter().any(|other| id.contains(other)) => OsFamily::Unknown,
        _ => OsFamily::Linux,
    }
}

/// MiB from one of libvirt's scaled integers; libvirt itself always writes KiB.
fn mebibytes(value: u64, unit: Option<&str>) -> u64 {
    match unit {
        Some("b" | "bytes") => value >> 20,
        Some("M" | "MiB") => value,
        Some("G" | "GiB") => value.saturating_mul(1024),
        _ => value >> 10,
    }
}

fn nic(index: usize, interface: &Interface) -> SourceNic {
    let source = &interface.source;
    let network = source.network.as_ref().or(source.bridge.as_ref()).or(source.dev.as_ref());
    SourceNic {
        mac: interface.mac.address.parse().ok(),
        model: match interface.model.kind.as_str() {
            "e1000" => NicModel::E1000,
            "e1000e" => NicModel::E1000e,
            "pcnet" => NicModel::Pcnet,
            "vmxnet3" => NicModel::Vmxnet,
            "rtl8139" => NicModel::Rtl8139,
            kind if kind.starts_with("virtio") => NicModel::Virtio,
            _ => NicModel::Other,
        },
        network: network.cloned().unwrap_or_default(),
        connected: interface.link.state != "down",
        ..SourceNic::at(index)
    }
}

/// Parses a domain, a volume and a pool from XML of a host.
#[cfg(fuzzing)]
pub(super) fn fuzz(text: &str) {
    xml::read::<xml::storage::Volume>("volume", text).ok();
    sources::nvram(text);
    let Ok(found) = xml::read::<SourceDomain>("domain", text) else { return };
    let all: Vec<&DomainDisk> = found.devices.disk.iter().collect();
    let disk = |(at, disk): (usize, &&DomainDisk)| {
        let model = controller_model(disk, &found.devices.controller);
        source_disk(disk, DiskId::from_index(at), model, at, ByteSize(1))
    };
    let mut disks: Vec<_> = all.iter().enumerate().map(disk).collect();
    SourceDisk::order_boot(&mut disks, &boot_disks(&all));
    facts(&found, PowerState::Off, disks, "qemu:///system");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A domain with these disks and this content of `<os>`.
    fn read(os: &str, disks: &[&str]) -> SourceDomain {
        let disks: String = disks
            .iter()
            .map(|boot| {
                format!("<disk device='disk'><target dev='vda' bus='virtio'/>{boot}</disk>")
            })
            .collect();
        let text = format!(
            "<domain><os>{os}</os><devices>{disks}<disk device='cdrom'/></devices></domain>"
        );
        xml::read("domain", &text).expect("reads")
    }

    #[test]
    fn a_disk_with_a_place_in_the_boot_order_is_named() {
        let named = |os: &str, disks: &[&str]| {
            let found = read(os, disks);
            boot_disks(&found.devices.disk.iter().take(disks.len()).collect::<Vec<_>>())
        };
        assert_eq!(named("", &["", "<boot order='1'/>"]), [1]);
        assert_eq!(named("", &["<boot order='3'/>", "<boot order='2'/>"]), [1, 0]);
        assert_eq!(named("<boot dev='network'/><boot dev='hd'/>", &["", ""]), [0; 0]);
    }

    #[test]
    fn the_architecture_is_that_of_the_type() {
        let arch = |os: &str| {
            let found = read(os, &[""]);
            facts(&found, PowerState::Off, Vec::new(), "qemu:///system").arch
        };
        assert_eq!(
            arch("<type arch='aarch64' machine='virt'>hvm</type>").as_deref(),
            Some("aarch64")
        );
        assert_eq!(arch("<type arch='i686'>hvm</type>").as_deref(), Some("i686"));
        assert_eq!(arch("<type>hvm</type>"), None);
    }
}
