//! A VM as VMware Workstation, Fusion and ESXi describe it: lines of `key = "value"`. The format
//! has no specification; the keys here are those that all three write.

mod board;
mod devices;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::descriptor_text;
use super::expected_sums::Expected;
use super::vm_files::{DescribedVm, DiskBytes, Nvram, WantedDisk};
use crate::exporter::guest_os::{Detailed, arch, os_family};
use crate::exporter::{Error, boot_order, nvram, uuids};
use crate::image::{self, Flaw};
use crate::model::{
    Assumed, Bus, ByteSize, Controller, CpuTopology, DiskFormat, DiskId, ExportMethod, Firmware,
    GuestOs, NicModel, Origin, PowerState, SourceDisk, SourceNic, SourceVm, chain,
};

use devices::ControllerUnit;

/// Maximum size of a VMX file, in bytes.
const LONGEST: u64 = 1 << 20;
/// Maximum number of network cards of a VM (vSphere 8, "Configuration Maximums").
const MOST_NICS: usize = 10;

/// The values of a file by their keys in lower case.
struct Vmx(BTreeMap<String, String>);

/// Reads the VM of a `.vmx` file, and inspects its disks. Blocks.
///
/// # Errors
/// [`Error::Unusable`] when the VM cannot be exported in its state, [`Error::File`].
pub(super) fn describe(path: &Path) -> Result<DescribedVm, Error> {
    let failed = |source| Error::File { action: "reading", path: path.to_owned(), source };
    if std::fs::metadata(path).map_err(failed)?.len() > LONGEST {
        return Err(unusable(path, "it is too long"));
    }
    let text = std::fs::read(path).map_err(failed)?;
    let folder = path.parent().unwrap_or(Path::new("/"));
    read(path, &text, &VmxFolder { vmx: path, folder })
}

/// Access to the files that a VMX refers to.
pub(super) trait Folder {
    /// The disk image of that name.
    ///
    /// # Errors
    /// [`Error`] when the image does not exist, or cannot be exported.
    fn image(&self, name: &str) -> Result<VmxImage, Error>;

    /// The UEFI variables of that name.
    ///
    /// # Errors
    /// [`Error`] when the file does not exist.
    fn variables(&self, name: &str) -> Result<Nvram, Error>;
}

pub(super) struct VmxImage {
    pub(super) content: DiskBytes,
    /// Size that the guest sees, in bytes.
    pub(super) capacity: u64,
    /// VMware's UUID of the disk.
    pub(super) uuid: Option<String>,
    /// Minimum number of bytes that an export writes.
    pub(super) least: u64,
}

/// The directory that contains the VMX.
struct VmxFolder<'a> {
    vmx: &'a Path,
    folder: &'a Path,
}

impl Folder for VmxFolder<'_> {
    fn image(&self, name: &str) -> Result<VmxImage, Error> {
        let image = beside(self.vmx, self.folder, name)?;
        let content = DiskBytes::of_image(&image, DiskFormat::Vmdk)?;
        let capacity = capacity(&image)?;
        Ok(VmxImage {
            content,
            capacity,
            uuid: uuids::of_image(&image, DiskFormat::Vmdk),
            least: 0,
        })
    }

    fn variables(&self, name: &str) -> Result<Nvram, Error> {
        beside(self.vmx, self.folder, name).map(Nvram::Beside)
    }
}

/// Reads the VM of a VMX whose files are in `folder`; `path` is the path of the VMX. Blocks.
///
/// # Errors
/// As those of [`describe`].
pub(super) fn read(path: &Path, text: &[u8], folder: &dyn Folder) -> Result<DescribedVm, Error> {
    let vmx = Vmx::read(&descriptor_text::of_vmx(text));
    vmx.check(path)?;
    let mut found = vmx.disks();
    found.sort_by_key(|(disk, _)| (disk.controller.bus, disk.controller.number, disk.unit));
    let (mut disks, mut wanted) = (Vec::new(), Vec::new());
    for (index, (disk, file)) in found.into_iter().enumerate() {
        if devices::is_of_host(&file) {
            return Err(unusable(path, Flaw::IsADevice));
        }
        let VmxImage { content, capacity, uuid, least } = folder.image(&file)?;
        let id = DiskId::from_index(index);
        disks.push(SourceDisk { capacity: ByteSize(capacity), uuid, ..disk }.at(index));
        let format = DiskFormat::Vmdk;
        wanted.push(WantedDisk { least, ..WantedDisk::disk(id, format, capacity, content) });
    }
    if disks.is_empty() {
        return Err(unusable(path, "it names no disk"));
    }
    let boot_disks = vmx.boot_disks(&disks);
    let names_boot_disk = SourceDisk::order_boot(&mut disks, &boot_disks);
    let vm = vmx.vm(path, disks, names_boot_disk);
    let nvram = vmx.get("nvram").filter(|_| vm.firmware == Firmware::Efi);
    let (nvram, missed) = match nvram.map(|name| folder.variables(name)) {
        Some(Err(error)) => (None, Some(nvram::missed(chain(&error)))),
        found => (found.and_then(Result::ok), None),
    };
    Ok(DescribedVm {
        nvram,
        warnings: missed.into_iter().collect(),
        vm,
        tells_nics: true,
        disks: wanted,
        method: ExportMethod::Disk,
        store: None,
        prefix: String::new(),
        sums: Expected::None,
        media: Vec::new(),
    })
}

impl Vmx {
    fn read(text: &str) -> Self {
        let line = |line: &str| {
            let (key, value) = line.split_once('=')?;
            Some((key.trim().to_ascii_lowercase(), unescape(plain_value(value))))
        };
        Self(text.lines().filter_map(line).collect())
    }

    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str).filter(|value| !value.is_empty())
    }

    fn is(&self, key: &str) -> bool {
        self.get(key).is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    fn number<T: std::str::FromStr>(&self, key: &str) -> Option<T> {
        self.get(key)?.trim().parse().ok()
    }

    /// Rejects a VM that cannot be exported in its state.
    fn check(&self, path: &Path) -> Result<(), Error> {
        if self.0.keys().any(|key| key.starts_with("encryption.")) {
            return Err(unusable(path, "the VM is encrypted: decrypt it in VMware first"));
        }
        if self.get("checkpoint.vmstate").is_some() {
            return Err(unusable(path, "the VM is suspended: resume it and shut it down first"));
        }
        let mut lock = path.as_os_str().to_owned();
        lock.push(".lck");
        if Path::new(&lock).exists() {
            let reason = "the VM runs, or is open in VMware: shut it down and close it first";
            return Err(unusable(path, reason));
        }
        Ok(())
    }

    fn vm(&self, path: &Path, disks: Vec<SourceDisk>, names_boot_disk: bool) -> SourceVm {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let memory = self.number("memsize").filter(|mib| *mib > 0);
        let firmware = match self.get("firmware") {
            Some(value) if value.eq_ignore_ascii_case("efi") => Firmware::Efi,
            _ => Firmware::Bios,
        };
        let id = guest_id(self.get("guestos").unwrap_or_default());
        let detailed =
            self.get("guestos.detailed.data").or_else(|| self.get("guestinfo.detailed.data"));
        let detailed = Detailed::read(detailed.unwrap_or_default());
        let family = os_family("", &[&id, detailed.family, detailed.pretty_name]);
        let vcpus = self.number("numvcpus").unwrap_or(1).min(4096);
        SourceVm {
            provider: "local".to_owned(),
            id: String::new(),
            name: self.get("displayname").map_or(stem, str::to_owned),
            instance_uuid: None,
            inventory_path: None,
            datacenter: None,
            power: PowerState::Off,
            arch: detailed.arch().or_else(|| arch(&[&id])),
            cpu: CpuTopology::new(vcpus, self.number("cpuid.corespersocket").unwrap_or(1)),
            memory_mib: memory.unwrap_or(0),
            firmware,
            secure_boot: firmware == Firmware::Efi && self.is("uefi.secureboot.enabled"),
            vtpm: self.is("vtpm.present"),
            cdroms: self.cdroms(),
            board: self.board(family),
            origin: Origin::default(),
            // VMware defaults to BIOS if the VMX does not state the firmware.
            assumed: Assumed { firmware: false, boot_disk: !names_boot_disk },
            guest: GuestOs {
                family,
                full_name: detailed.pretty_name.to_owned(),
                id,
                network: None,
            },
            disks,
            nics: (0..MOST_NICS).filter_map(|index| self.nic(index)).collect(),
            facts: None,
        }
    }

    /// All possible devices of all controllers: key prefix, bus, number, unit.
    fn units(&self) -> impl Iterator<Item = (String, Bus, u32, u32)> {
        self.0.keys().filter_map(|key| {
            let prefix = key.strip_suffix(".present").filter(|_| self.is(key))?;
            let (controller, unit) = prefix.split_once(':')?;
            let at = controller.find(|c: char| c.is_ascii_digit())?;
            let bus = match &controller[..at] {
                "ide" => Bus::Ide,
                "scsi" => Bus::Scsi,
                "sata" => Bus::Sata,
                "nvme" => Bus::Nvme,
                _ => return None,
            };
            let number = controller[at..].parse().ok()?;
            Some((prefix.to_owned(), bus, number, unit.parse().ok()?))
        })
    }

    fn controller(&self, bus: Bus, number: u32) -> Controller {
        let name = match bus {
            Bus::Ide => "ide",
            Bus::Sata => "sata",
            Bus::Nvme => "nvme",
            Bus::Scsi | Bus::Other => "scsi",
        };
        let slot = self.number(&format!("{name}{number}.pcislotnumber"));
        Controller { bus, model: self.model(bus, number).to_owned(), number, slot }
    }

    /// The disks with the names of their files.
    fn disks(&self) -> Vec<(SourceDisk, String)> {
        let disks = self.units().filter(|(prefix, ..)| self.unit(prefix) == ControllerUnit::Disk);
        let disks = disks.filter_map(|(prefix, bus, number, unit)| {
            let file = self.get(&format!("{prefix}.filename"))?.to_owned();
            let disk = SourceDisk {
                id: DiskId::from_index(0),
                key: 0,
                label: prefix,
                controller: self.controller(bus, number),
                unit,
                capacity: ByteSize(0),
                boot_order: 0,
                backing: Some(file.clone()),
                uuid: None,
            };
            Some((disk, file))
        });
        disks.collect()
    }

    /// The disks in the firmware's boot order, as indices of `disks`.
    fn boot_disks(&self, disks: &[SourceDisk]) -> Vec<usize> {
        let line = |key: &str| self.get(&key.to_ascii_lowercase());
        boot_order::boot_disks(line, &disks.iter().collect::<Vec<_>>())
    }

    /// The controller by vSphere's name, from which the domain is planned.
    fn model(&self, bus: Bus, number: u32) -> &'static str {
        match (bus, self.get(&format!("scsi{number}.virtualdev")).unwrap_or_default()) {
            (Bus::Scsi, "pvscsi") => "ParaVirtualSCSIController",
            (Bus::Scsi, "lsisas1068") => "VirtualLsiLogicSASController",
            (Bus::Scsi, "buslogic") => "VirtualBusLogicController",
            (Bus::Scsi, _) => "VirtualLsiLogicController",
            (Bus::Ide, _) => "VirtualIDEController",
            (Bus::Sata, _) => "VirtualAHCIController",
            (Bus::Nvme, _) => "VirtualNVMEController",
            (Bus::Other, _) => "",
        }
    }

    fn nic(&self, index: usize) -> Option<SourceNic> {
        let get = |key: &str| self.get(&format!("ethernet{index}.{key}"));
        if !self.is(&format!("ethernet{index}.present")) {
            return None;
        }
        let model = match get("virtualdev").map(str::to_ascii_lowercase).as_deref() {
            Some("vmxnet3") => NicModel::Vmxnet,
            Some("vmxnet" | "vmxnet2") => NicModel::Vmxnet2,
            Some("e1000") => NicModel::E1000,
            Some("e1000e") => NicModel::E1000e,
            Some("vlance") | None => NicModel::Pcnet,
            Some(_) => NicModel::Other,
        };
        let (own, generated) = (get("address"), get("generatedaddress"));
        // The other address may be a leftover.
        let mac = match get("addresstype").map(str::to_ascii_lowercase).as_deref() {
            Some("generated" | "vpx") => generated.or(own),
            _ => own.or(generated),
        };
        let connected = get("startconnected");
        Some(SourceNic {
            mac: mac.and_then(|text| text.trim().parse().ok()),
            slot: self.number(&format!("ethernet{index}.pcislotnumber")),
            model,
            network: get("networkname")
                .or_else(|| get("connectiontype"))
                .unwrap_or_default()
                .to_owned(),
            connected: connected.is_none_or(|text| !text.eq_ignore_ascii_case("false")),
            ..SourceNic::at(index)
        })
    }
}

/// Guest ids of VMX files whose vSphere ids do not follow the rule (open-vm-tools,
/// `lib/include/guest_os_tables.h`), in lower case.
const OTHER_IDS: [(&str, &str); 14] = [
    ("longhorn", "winLonghornGuest"),
    ("longhorn-64", "winLonghorn64Guest"),
    ("windows7srv-64", "windows7Server64Guest"),
    ("windows8srv-64", "windows8Server64Guest"),
    ("windows9srv-64", "windows9Server64Guest"),
    ("winhyperv", "windowsHyperVGuest"),
    ("whistler", "winXPHomeGuest"),
    ("nt4", "winNTGuest"),
    ("win2000", "win2000ProGuest"),
    ("linux", "otherLinuxGuest"),
    ("other-64", "otherGuest64"),
    ("vmware-photon-64", "vmwarePhoton64Guest"),
    ("crxpod1-64", "crxPod1Guest"),
    ("crxsys1-64", "crxSys1Guest"),
];

/// vSphere's guest id for a VMX's: `windows2019srv-64` is `windows2019srv_64Guest`, `ubuntu-64`
/// `ubuntu64Guest`.
fn guest_id(name: &str) -> String {
    let lower = name.to_ascii_lowercase();
    if let Some((_, id)) = OTHER_IDS.iter().find(|(vmx, _)| *vmx == lower) {
        return (*id).to_owned();
    }
    // Each edition has a name in the VMX, but no vSphere id of its own.
    if lower.starts_with("winserver2008") {
        let wide = if lower.ends_with("-64") { "64" } else { "" };
        return format!("winLonghorn{wide}Guest");
    }
    if lower.starts_with("winvista") {
        let wide = if lower.ends_with("-64") { "64" } else { "" };
        return format!("winVista{wide}Guest");
    }
    match name.strip_suffix("-64") {
        None if name.is_empty() => String::new(),
        None => format!("{name}Guest"),
        Some(name) if name.contains(|c: char| c.is_ascii_digit()) => format!("{name}_64Guest"),
        Some(name) => format!("{name}64Guest"),
    }
}

/// A value without its quotes and its trailing comment.
fn plain_value(value: &str) -> &str {
    let value = value.trim();
    match value.strip_prefix('"') {
        Some(quoted) => quoted.split_once('"').map_or(quoted, |(inside, _)| inside),
        None => value.split_once('#').map_or(value, |(before, _)| before).trim_end(),
    }
}

/// Replaces `|22` by the character with that hexadecimal code.
fn unescape(value: &str) -> String {
    let mut text = String::new();
    let mut rest = value;
    while let Some((before, after)) = rest.split_once('|') {
        text.push_str(before);
        // `from_str_radix` accepts a sign, too.
        let digits = after.get(..2).filter(|two| two.bytes().all(|c| c.is_ascii_hexdigit()));
        let code = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match code {
            Some(code) => {
                text.push(char::from(code));
                rest = &after[2..];
            }
            None => {
                text.push('|');
                rest = after;
            }
        }
    }
    text + rest
}

/// A file that the VMX names, which must be in the directory of the VMX.
fn beside(vmx: &Path, folder: &Path, name: &str) -> Result<PathBuf, Error> {
    let failed = |source| Error::File { action: "reading", path: folder.to_owned(), source };
    let found = image::beside(folder, name).map_err(failed)?;
    found.ok_or_else(|| unusable(vmx, format!("its file '{name}' is not in its folder")))
}

fn capacity(path: &Path) -> Result<u64, Error> {
    let failed = |source| Error::File { action: "reading", path: path.to_owned(), source };
    let file = std::fs::File::open(path).map_err(failed)?;
    let found = image::capacity(&file, DiskFormat::Vmdk).map_err(failed)?;
    found.ok_or_else(|| unusable(path, "it is not a VMDK"))
}

fn unusable(path: &Path, reason: impl Into<Flaw>) -> Error {
    Error::Unusable { path: path.to_owned(), reason: reason.into() }
}

/// Parses a VMX, without the files of its disks.
#[cfg(fuzzing)]
pub(super) fn fuzz(text: &str) {
    let vmx = Vmx::read(text);
    let path = Path::new("/fuzz.vmx");
    vmx.check(path).ok();
    let disks: Vec<_> = vmx.disks().into_iter().map(|(disk, _)| disk).collect();
    vmx.boot_disks(&disks);
    vmx.vm(path, disks, false);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_in_any_case_and_values_unescaped() {
        let vmx = Vmx::read(
            ".encoding = \"UTF-8\"\r\ndisplayName = \"my |22web|22 \u{1f980}\"\nSCSI0:0.present = \"TRUE\"\n\
             scsi0:0.fileName = \"a b.vmdk\"\nscsi0.virtualDev = \"pvscsi\"\nnonsense\n\
             sata0:1.present = \"TRUE\"\nsata0:1.deviceType = \"cdrom-image\"\nsata0:1.fileName = \"x.iso\"\n\
             ide1:0.present = \"FALSE\"\nide1:0.fileName = \"old.vmdk\"\n",
        );
        assert_eq!(vmx.get("displayname"), Some("my \"web\" \u{1f980}"));
        let disks = vmx.disks();
        assert_eq!(disks.len(), 1);
        assert_eq!(disks[0].1, "a b.vmdk");
        assert_eq!(disks[0].0.controller.model, "ParaVirtualSCSIController");
    }

    #[test]
    fn what_stands_behind_a_value_is_no_part_of_it() {
        for (line, value) in [
            ("memsize = \"2048\"   # two GiB", "2048"),
            ("memsize = \"2048\"\t# \"4096\"", "2048"),
            ("memsize=\"2048\"#", "2048"),
            ("MemSize = 2048 # two", "2048"),
            ("memsize = 2048", "2048"),
            ("memsize = \"2048", "2048"),
            ("memsize = \"a # b\"", "a # b"),
            ("memsize = \"a |22b|22 # c\" # d", "a \"b\" # c"),
        ] {
            assert_eq!(Vmx::read(line).get("memsize"), Some(value), "{line}");
        }
        assert_eq!(Vmx::read("# memsize = \"1\"\n").get("memsize"), None);
    }

    #[test]
    fn guest_ids_become_those_of_vsphere() {
        for (vmx, vsphere) in [
            ("windows2019srv-64", "windows2019srv_64Guest"),
            ("ubuntu-64", "ubuntu64Guest"),
            ("debian12-64", "debian12_64Guest"),
            ("winxppro", "winxpproGuest"),
            ("longhorn", "winLonghornGuest"),
            ("Longhorn-64", "winLonghorn64Guest"),
            ("winvista-64", "winVista64Guest"),
            ("winvista", "winVistaGuest"),
            ("winServer2008Enterprise-32", "winLonghornGuest"),
            ("winServer2008Web-64", "winLonghorn64Guest"),
            ("windows7srv-64", "windows7Server64Guest"),
            ("windows2022srvnext-64", "windows2022srvnext_64Guest"),
            ("other-64", "otherGuest64"),
            ("linux", "otherLinuxGuest"),
            ("vmware-photon-64", "vmwarePhoton64Guest"),
            ("arm-debian12-64", "arm-debian12_64Guest"),
            ("", ""),
        ] {
            assert_eq!(guest_id(vmx), vsphere);
        }
    }

    /// The boot order of a VM with disks at scsi0:0, scsi0:1 and nvme0:0, and these lines.
    fn boots(lines: &str) -> (Vec<u32>, bool) {
        let disks = ["scsi0:0", "scsi0:1", "nvme0:0"]
            .map(|at| format!("{at}.present = \"TRUE\"\n{at}.fileName = \"d.vmdk\"\n"));
        let vmx = Vmx::read(&(disks.concat() + lines));
        let mut found: Vec<_> = vmx.disks().into_iter().map(|(disk, _)| disk).collect();
        found.sort_by_key(|disk| (disk.controller.bus, disk.unit));
        let named = vmx.boot_disks(&found);
        let told = SourceDisk::order_boot(&mut found, &named);
        (found.iter().map(|disk| disk.boot_order).collect(), told)
    }

    #[test]
    fn the_firmware_s_order_names_the_boot_disk() {
        for (lines, order, told) in [
            ("", [0, 1, 2], false),
            ("bios.bootOrder = \"hdd,cdrom\"\n", [0, 1, 2], false),
            ("bios.hddOrder = \"scsi0:1,scsi0:0\"\n", [1, 0, 2], true),
            ("BIOS.HDDORDER = \"SCSI0:1\"\n", [1, 0, 2], true),
            ("bios.hddOrder = \"nvme0:0; scsi0:1\"\n", [2, 1, 0], true),
            ("bios.bootOrder = \"cdrom,HDD\"\nbios.hddOrder = \"scsi0:1\"\n", [1, 0, 2], true),
            ("bios.bootOrder = \"nvme0:0,hdd\"\nbios.hddOrder = \"scsi0:1\"\n", [2, 1, 0], true),
            ("bios.hddOrder = \"sata0:0\"\n", [0, 1, 2], false),
            ("bios.hddOrder = \"\"\n", [0, 1, 2], false),
        ] {
            assert_eq!(boots(lines), (order.to_vec(), told), "{lines}");
        }
    }

    #[test]
    fn a_card_has_the_slot_that_is_told() {
        let vmx = Vmx::read(
            "ethernet0.present = \"TRUE\"\nethernet0.pciSlotNumber = \"192\"\n\
             ethernet1.present = \"TRUE\"\nethernet1.pciSlotNumber = \"-1\"\n\
             ethernet2.present = \"TRUE\"\nETHERNET2.PCISLOTNUMBER = \" 1184 \"\n\
             ethernet3.present = \"TRUE\"\nethernet3.address = \"00:50:56:AA:BB:03\"\n\
             ethernet4.present = \"TRUE\"\nethernet4.addressType = \"generated\"\n\
             ethernet4.address = \"00:50:56:00:00:01\"\n\
             ethernet4.generatedAddress = \"00:0c:29:aa:bb:04\"\n",
        );
        let cards: Vec<_> = (0..MOST_NICS).filter_map(|index| vmx.nic(index)).collect();
        let slots: Vec<_> = cards.iter().map(|card| card.slot).collect();
        assert_eq!(slots, [Some(192), None, Some(1184), None, None]);
        let mac = |card: &SourceNic| card.mac.map(|mac| mac.to_string());
        assert_eq!(mac(&cards[3]).as_deref(), Some("00:50:56:aa:bb:03"));
        assert_eq!(mac(&cards[4]).as_deref(), Some("00:0c:29:aa:bb:04"));
    }

    #[test]
    fn a_controller_has_the_slot_that_is_told() {
        let vmx = Vmx::read("scsi0.pciSlotNumber = \"160\"\nnvme1.pciSlotNumber = \"-1\"\n");
        assert_eq!(vmx.controller(Bus::Scsi, 0).slot, Some(160));
        assert_eq!(vmx.controller(Bus::Scsi, 1).slot, None);
        assert_eq!(vmx.controller(Bus::Nvme, 1).slot, None);
    }

    #[test]
    fn the_architecture_is_that_of_the_guest_or_what_its_tools_told() {
        let arch = |lines: &str| {
            Vmx::read(lines).vm(Path::new("/vm.vmx"), Vec::new(), false).arch.unwrap_or_default()
        };
        assert_eq!(arch("guestOS = \"arm-debian12-64\"\n"), "aarch64");
        assert_eq!(arch("guestOS = \"debian12-64\"\n"), "x86_64");
        assert_eq!(arch("guestOS = \"debian12\"\n"), "");
        let tools =
            "guestOS = \"other\"\nguestInfo.detailed.data = \"architecture='Arm' bitness='64'\"\n";
        assert_eq!(arch(tools), "aarch64");
    }
}
