//! `hyperexport info VM`: all that an export would know of a VM, and what is in its way.

use comfy_table::{Table, presets};
use serde::Serialize;

use super::args::InfoArgs;
use super::render::{cell, print_json, print_line, print_table};
use super::source_query::ask;
use super::{Exit, block_on, fail, warn_of_secrets};
use crate::exporter::Inspected;
use crate::model::{ByteSize, Firmware, Hint, SourceNic, SourceVm, Stage, chain};
use crate::pipeline::{
    Failure, Source, SourceError, SourceSettings, WindowsFound, windows_drivers,
};
use crate::settings::{Environment, Error};

/// Runs the command.
///
/// # Errors
/// A command line that cannot be meant, or facts that cannot be printed.
pub fn run(args: &InfoArgs, environment: &Environment) -> anyhow::Result<Exit> {
    let settings = args.source.resolve(environment, args.vm.as_deref(), &args.described)?;
    let vm = match (&args.vm, &settings) {
        (Some(vm), _) => vm.clone(),
        (None, SourceSettings::Files(_)) => String::new(),
        (None, SourceSettings::Host(host)) => host.domain.clone().ok_or(Error::MISSING_VM)?,
        (None, _) => return Err(Error::MISSING_VM.into()),
    };
    warn_of_secrets(&args.source);
    let windows = args.windows.resolve(environment);
    block_on(&args.output, |renderer, cancel| async move {
        let progress = renderer.progress();
        let facts = async |source: &Source| {
            let inspected = source.inspect(&vm).await?;
            let sums = source.check_sums(&progress, &cancel).await;
            let drivers = windows_drivers(&inspected.vm, &windows).await;
            Ok(VmDetails { inspected, sums, drivers })
        };
        match ask(&settings, &cancel, facts).await {
            Ok(Some(known)) => print(&known, args.output.json).map(|()| Exit::Done),
            Ok(None) => Ok(Exit::Interrupted),
            Err(error) => {
                let failure = Failure::of(Stage::Preflight, &error);
                let asked = Some(vm.as_str()).filter(|vm| !vm.is_empty());
                Ok(fail(args.output.json, asked, failure, Exit::Failed))
            }
        }
    })
}

/// What `--json` prints.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct VmInfo<'a> {
    /// The VM as its source describes it.
    vm: &'a SourceVm,
    /// What prevents its export or its definition; empty where nothing does.
    obstacles: Vec<Obstacle>,
    /// How many files were compared with the checksums of their package; null where the package has
    /// none, and where a file differs.
    checksums_compared: Option<usize>,
    /// The virtio drivers for a Windows guest; absent for other guests.
    #[serde(skip_serializing_if = "Option::is_none")]
    virtio_win: Option<&'a WindowsFound>,
}

/// The schema of what `--json` prints.
#[cfg(test)]
pub(crate) fn schema(generator: schemars::SchemaGenerator) -> schemars::Schema {
    generator.into_root_schema_for::<VmInfo<'static>>()
}

/// Something that prevents the export or the definition of a VM.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Obstacle {
    /// What it is, for a person.
    obstacle: String,
    /// What to do about it.
    remedy: String,
}

/// What is known of a VM.
struct VmDetails {
    inspected: Inspected,
    /// How many files were compared with the sums of their package; nothing where it has none.
    sums: Result<Option<usize>, SourceError>,
    /// The drivers of virtio for a Windows.
    drivers: Option<WindowsFound>,
}

impl VmDetails {
    /// What is in the way: of what, why, and what to do about it.
    fn obstacles(&self) -> Vec<(&'static str, String, String)> {
        let damage = self
            .sums
            .as_ref()
            .err()
            .map(|error| ("exported", chain(error), error.hint().unwrap_or_default()));
        let of_vm = self.inspected.all_obstacles();
        let of_vm = of_vm.iter().map(|obstacle| {
            let what = if obstacle.stops_export() { "exported" } else { "defined" };
            (what, obstacle.to_string(), obstacle.remedy())
        });
        damage.into_iter().chain(of_vm).collect()
    }
}

fn print(known: &VmDetails, json: bool) -> anyhow::Result<()> {
    let (vm, obstacles) = (&known.inspected.vm, known.obstacles());
    if json {
        let obstacles = obstacles.into_iter();
        print_json(&VmInfo {
            vm,
            obstacles: obstacles
                .map(|(_, obstacle, remedy)| Obstacle { obstacle, remedy })
                .collect(),
            checksums_compared: known.sums.as_ref().ok().copied().flatten(),
            virtio_win: known.drivers.as_ref(),
        })?;
        return Ok(());
    }
    let mut table = facts(vm);
    if let Ok(Some(count)) = known.sums {
        let files = if count == 1 { "file matches" } else { "files match" };
        table.add_row(["checksums".to_owned(), format!("{count} {files}")]);
    }
    if let Some(drivers) = &known.drivers {
        table.add_row(["virtio drivers", &cell(&drivers.line)]);
    }
    print_table(&table)?;
    for (what, obstacle, remedy) in obstacles {
        print_line(&format!("not {what} as it is: {obstacle}; {remedy}"))?;
    }
    Ok(())
}

/// A network card: its address and network. An address that the source has not made is made by the
/// export, for its output directory.
fn card(nic: &SourceNic) -> String {
    let mac =
        nic.mac.map_or_else(|| "MAC address made at export".to_owned(), |mac| mac.to_string());
    let network = match nic.network.as_str() {
        "" => String::new(),
        network => format!(" in {network}"),
    };
    let slot = nic.slot.map(|slot| format!(", PCI slot {slot}")).unwrap_or_default();
    let link = if nic.connected { "" } else { ", not connected" };
    format!("{mac}{network}{slot}{link}")
}

fn facts(vm: &SourceVm) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    let mut add = |what: &str, value: String| {
        if !value.is_empty() {
            table.add_row([cell(what), cell(&value)]);
        }
    };
    add("name", vm.name.clone());
    add(if vm.provider == "vsphere" { "moref" } else { "id" }, vm.id.clone());
    add("path", vm.inventory_path.clone().unwrap_or_default());
    add("power", vm.power.as_str().to_owned());
    let guest = [&vm.guest.full_name, &vm.guest.id].into_iter().find(|name| !name.is_empty());
    add("guest", guest.cloned().unwrap_or_default());
    add("architecture", vm.arch.clone().unwrap_or_default());
    let (sockets, cores) = (vm.cpu.vcpus / vm.cpu.cores_per_socket.max(1), vm.cpu.cores_per_socket);
    add("cpu", format!("{} ({sockets} sockets, {cores} cores each)", vm.cpu.vcpus));
    add("memory", ByteSize::of_mib(vm.memory_mib).to_string());
    let firmware = match (vm.firmware, vm.secure_boot) {
        (Firmware::Bios, _) => "BIOS",
        (Firmware::Efi, false) => "EFI",
        (Firmware::Efi, true) => "EFI, secure boot",
    };
    let assumed = if vm.assumed.firmware { " (assumed)" } else { "" };
    add("firmware", format!("{firmware}{assumed}"));
    add("uuid", vm.board.uuid.clone().unwrap_or_default());
    for disk in &vm.disks {
        let at = format!("{}{}:{}", disk.controller.model, disk.controller.number, disk.unit);
        let named = disk.boot_order == 0 && !vm.assumed.boot_disk && vm.disks.len() > 1;
        let boots = if named { ", boot disk" } else { "" };
        add(disk.id.as_str(), format!("{} on {at}{boots}", disk.capacity));
    }
    vm.nics.iter().for_each(|nic| add(&nic.id, card(nic)));
    for card in vm.guest.network.iter().flat_map(|network| &network.interfaces) {
        add("address", format!("{} on {}", card.addresses.join(", "), card.mac));
    }
    vm.board.not_kept.iter().for_each(|lost| add("not kept", lost.text.clone()));
    table
}
