//! `hyperexport info VM`: all that an export would know of a VM, and what is in its way.

use comfy_table::{Table, presets};
use serde_json::json;

use super::args::InfoArgs;
use super::render::print_line;
use super::source::ask;
use super::{Exit, block_on, tell};
use crate::exporter::Inspected;
use crate::model::{ByteSize, Firmware, SourceVm, chain};
use crate::pipeline::{Source, SourceSettings};
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
    block_on(&args.output, |_, cancel| async move {
        let facts = async |source: &Source| source.inspect(&vm).await;
        match ask(&settings, &cancel, facts).await {
            Ok(Some(inspected)) => print(&inspected, args.output.json).map(|()| Exit::Done),
            Ok(None) => Ok(Exit::Interrupted),
            Err(error) => {
                tell(&chain(&error), error.hint().as_deref());
                Ok(Exit::Failed)
            }
        }
    })
}

fn print(inspected: &Inspected, json: bool) -> anyhow::Result<()> {
    let Inspected { vm, obstacles, .. } = inspected;
    if json {
        let obstacles: Vec<_> = obstacles
            .iter()
            .map(|obstacle| json!({"obstacle": obstacle.to_string(), "remedy": obstacle.remedy()}))
            .collect();
        let whole = json!({"vm": vm, "obstacles": obstacles});
        print_line(&serde_json::to_string_pretty(&whole)?)?;
        return Ok(());
    }
    print_line(&facts(vm).trim_fmt())?;
    for obstacle in obstacles {
        print_line(&format!("not exported as it is: {obstacle}; {}", obstacle.remedy()))?;
    }
    Ok(())
}

fn facts(vm: &SourceVm) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    let mut add = |what: &str, value: String| {
        if !value.is_empty() {
            table.add_row([what.to_owned(), value]);
        }
    };
    add("name", vm.name.clone());
    add(if vm.provider == "vsphere" { "moref" } else { "id" }, vm.id.clone());
    add("path", vm.inventory_path.clone().unwrap_or_default());
    add("power", vm.power.as_str().to_owned());
    add("guest", vm.guest.full_name.clone());
    let (sockets, cores) = (vm.cpu.vcpus / vm.cpu.cores_per_socket.max(1), vm.cpu.cores_per_socket);
    add("cpu", format!("{} ({sockets} sockets, {cores} cores each)", vm.cpu.vcpus));
    add("memory", ByteSize(vm.memory_mib << 20).to_string());
    let firmware = match (vm.firmware, vm.secure_boot) {
        (Firmware::Bios, _) => "BIOS",
        (Firmware::Efi, false) => "EFI",
        (Firmware::Efi, true) => "EFI, secure boot",
    };
    add("firmware", firmware.to_owned());
    for disk in &vm.disks {
        let at = format!("{}{}:{}", disk.controller.model, disk.controller.number, disk.unit);
        add(disk.id.as_str(), format!("{} on {at}", disk.capacity));
    }
    for nic in &vm.nics {
        let mac = nic.mac.map(|mac| format!("{mac} in ")).unwrap_or_default();
        let link = if nic.connected { "" } else { ", not connected" };
        add(&nic.id, format!("{mac}{}{link}", nic.network));
    }
    for card in vm.guest.network.iter().flat_map(|network| &network.interfaces) {
        add("address", format!("{} on {}", card.addresses.join(", "), card.mac));
    }
    table
}
