//! Reads all facts about one VM that the later stages need.

use super::super::inventory::inventory_names::decode_name;
use super::super::soap::args::Moref;
use super::super::soap::node::Node;
use super::super::soap::properties::Object;
use super::super::soap::session::VSphere;
use super::blocker::{self, obstacles};
use super::hardware::{self, ExtraConfig};
use super::{guest_network, snapshot, vm_board};
use crate::exporter::guest_os::{Detailed, arch, os_family};
use crate::exporter::inspected::Inspected;
use crate::exporter::{Error, NVRAM, Streaming, Transport};
use crate::model::{
    Assumed, ByteSize, CpuTopology, DiskFormat, ExportFile, Firmware, GuestOs, Origin, SourceState,
    SourceVm,
};

/// Only coarse and old paths: vCenter rejects the entire call for a single unknown path.
const PROPERTIES: [&str; 18] = [
    "name",
    "config.changeVersion",
    "config.instanceUuid",
    "config.uuid",
    "config.version",
    "config.firmware",
    "config.bootOptions",
    "config.extraConfig",
    "config.guestId",
    "config.guestFullName",
    "guest.guestId",
    "guest.guestFamily",
    "guest.guestFullName",
    "guest.toolsRunningStatus",
    "guest.net",
    "guest.ipStack",
    "runtime.bootTime",
    "snapshot",
];

impl VSphere {
    /// All facts about the VM that `selector` names: a name, inventory path or moref.
    ///
    /// # Errors
    /// [`Error::NotFound`] with similar names in its hint, [`Error::Ambiguous`] with all paths.
    pub async fn inspect(&self, selector: &str) -> Result<Inspected, Error> {
        self.in_session(async || self.inspect_once(selector).await).await
    }

    async fn inspect_once(&self, selector: &str) -> Result<Inspected, Error> {
        let found = self.find(selector).await?;
        let paths = [&PROPERTIES[..], &blocker::PROPERTIES[..]].concat();
        let object = self.properties(&found.moref, &paths).await?;
        let mut vm = facts(&object);
        vm.inventory_path = found.place.path;
        vm.datacenter = found.place.datacenter;
        vm.origin.server = self.settings.url.host_str().map(str::to_owned);
        if let Some(hardware) = object.get("config.hardware") {
            for nic in hardware::nics(hardware, ExtraConfig(object.get("config.extraConfig"))) {
                vm.nics.push(self.with_network(nic).await?);
            }
        }
        let revision = object.text("config.changeVersion").to_owned();
        let makes = makes(&vm, self.settings.transport, self.disk_format());
        let obstacles = obstacles(&object);
        let snapshots = object.get("snapshot").map(snapshot::of_ours).unwrap_or_default();
        let least = ByteSize(0);
        let (boot_time, tools) = (boot_time(&object), tools(&object));
        let rewritten = vm.disks.iter().filter(|_| self.settings.rewrite.is_some());
        let streaming = rewritten.map(|disk| (disk.id.clone(), Streaming::Yes)).collect();
        Ok(Inspected {
            vm,
            makes,
            media: Vec::new(),
            streaming,
            least,
            revision,
            boot_time,
            tools,
            snapshots,
            obstacles,
        })
    }

    /// Current state of the VM.
    ///
    /// # Errors
    /// Errors of the connection and the server.
    pub async fn state(&self, vm: &SourceVm) -> Result<SourceState, Error> {
        self.in_session(async || {
            let moref = Moref::new("VirtualMachine", &vm.id);
            let paths = ["runtime.powerState", "config.changeVersion", "runtime.bootTime"];
            let object = self.properties(&moref, &paths).await?;
            Ok(SourceState {
                power: hardware::power_state(object.text("runtime.powerState")),
                revision: object.text("config.changeVersion").to_owned(),
                boot_time: boot_time(&object),
            })
        })
        .await
    }

    /// Current value of [`Inspected::revision`].
    ///
    /// # Errors
    /// Errors of the connection and the server.
    pub async fn revision(&self, vm: &SourceVm) -> Result<String, Error> {
        let moref = Moref::new("VirtualMachine", &vm.id);
        let object = self.properties(&moref, &["config.changeVersion"]).await?;
        Ok(object.text("config.changeVersion").to_owned())
    }

    /// Queries the name of a distributed port group, since the device only has its key. If the name
    /// is not readable, the key stays the name.
    async fn with_network(
        &self,
        nic: hardware::HardwareNic,
    ) -> Result<crate::model::SourceNic, Error> {
        let hardware::HardwareNic { mut nic, port_group } = nic;
        let Some(port_group) = port_group else { return Ok(nic) };
        match self.properties(&port_group, &["name"]).await {
            Ok(object) if object.get("name").is_some() => {
                nic.network = decode_name(object.text("name"));
            }
            Ok(_) | Err(Error::Refused { .. }) => {
                tracing::warn!(nic = nic.id, key = port_group.id, "port group without a name");
            }
            Err(error) => return Err(error),
        }
        Ok(nic)
    }
}

fn boot_time(object: &Object) -> Option<String> {
    Some(object.text("runtime.bootTime").to_owned()).filter(|time| !time.is_empty())
}

/// VMware Tools report `guestToolsExecutingScripts` while they start or stop.
fn tools(object: &Object) -> Option<bool> {
    match object.text("guest.toolsRunningStatus") {
        "" => None,
        status => Some(status != "guestToolsNotRunning"),
    }
}

/// The files that an export of `vm` may write.
fn makes(vm: &SourceVm, transport: Transport, of_lease: DiskFormat) -> Vec<ExportFile> {
    let formats: &[DiskFormat] = match transport {
        Transport::Nfc => &[of_lease],
        Transport::Datastore => &[DiskFormat::Raw],
        Transport::Auto => &[of_lease, DiskFormat::Raw],
    };
    let nvram = (vm.firmware == Firmware::Efi).then(|| ExportFile::other(NVRAM));
    let of = |format: &DiskFormat| {
        vm.disks.iter().map(|disk| ExportFile::of_disk(&disk.id, *format)).collect::<Vec<_>>()
    };
    formats.iter().flat_map(of).chain(nvram).collect()
}

fn facts(object: &Object) -> SourceVm {
    let hardware = object.get("config.hardware");
    let boot_options = object.get("config.bootOptions");
    let extra = hardware::ExtraConfig(object.get("config.extraConfig"));
    let disks = hardware.map(|hardware| hardware::disks(hardware, boot_options, extra));
    let (disks, names_boot_disk) = disks.unwrap_or_default();
    let instance_uuid = Some(object.text("config.instanceUuid")).filter(|uuid| !uuid.is_empty());
    let guest = guest(object);
    SourceVm {
        provider: "vsphere".to_owned(),
        id: object.moref.id.clone(),
        name: decode_name(object.text("name")),
        instance_uuid: instance_uuid.map(str::to_owned),
        inventory_path: None,
        datacenter: None,
        power: hardware::power_state(object.text("runtime.powerState")),
        arch: architecture(object),
        cpu: hardware.map_or_else(|| CpuTopology::new(1, 1), hardware::cpu),
        memory_mib: hardware.and_then(|hardware| hardware.number("memoryMB")).unwrap_or(0),
        firmware: match object.text("config.firmware") {
            "efi" => Firmware::Efi,
            _ => Firmware::Bios,
        },
        secure_boot: boot_options.is_some_and(|options| options.flag("efiSecureBootEnabled")),
        vtpm: hardware.is_some_and(hardware::vtpm),
        cdroms: hardware.map_or(0, hardware::cdroms),
        board: vm_board::board(object, guest.family),
        origin: Origin::default(),
        assumed: Assumed { firmware: false, boot_disk: !names_boot_disk },
        guest,
        disks,
        nics: Vec::new(),
        facts: None,
    }
}

/// The architecture: as VMware Tools wrote it when they last ran, else by the guest ids.
fn architecture(object: &Object) -> Option<String> {
    let extra = ExtraConfig(object.get("config.extraConfig"));
    let keys = ["guestInfo.detailed.data", "guestOS.detailed.data"];
    let detailed = keys.into_iter().find_map(|key| extra.get(key)).map(Detailed::read);
    let words = ["config.guestId", "guest.guestId", "config.guestFullName"];
    let by_id = || arch(&words.map(|path| object.text(path)));
    detailed.and_then(Detailed::arch).or_else(by_id)
}

/// The report of VMware Tools in the running guest is more reliable than the configured guest OS.
fn guest(object: &Object) -> GuestOs {
    let told = |in_guest: &str, configured: &str| {
        let text = |path| object.get(path).map(|node: &Node| node.text.trim().to_owned());
        let in_guest = text(in_guest).filter(|text| !text.is_empty());
        in_guest.or_else(|| text(configured)).unwrap_or_default()
    };
    let id = told("guest.guestId", "config.guestId");
    let full_name = told("guest.guestFullName", "config.guestFullName");
    GuestOs {
        family: os_family(object.text("guest.guestFamily"), &[&id, &full_name]),
        full_name,
        network: guest_network::told(object.get("guest.net"), object.get("guest.ipStack")),
        id,
    }
}
