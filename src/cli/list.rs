//! `hyperexport list`: the VMs of a vCenter or ESXi host.

use anyhow::Context;
use comfy_table::{CellAlignment, Table, presets};

use super::args::ListArgs;
use super::render::{cell, print_json, print_table};
use super::source_query::ask;
use super::{Exit, block_on, tell};
use crate::exporter::{Filter, VmSummary};
use crate::model::{ByteSize, chain};
use crate::pipeline::{Source, SourceError};
use crate::settings::{DescribedArgs, Environment};

/// Runs the command.
///
/// # Errors
/// A command line that cannot be meant, or a list that cannot be printed.
pub fn run(args: &ListArgs, environment: &Environment) -> anyhow::Result<Exit> {
    let settings = args.source.resolve(environment, None, &DescribedArgs::default())?;
    let filter = args.filter.resolve();
    block_on(&args.output, |_, cancel| async move {
        match ask(&settings, &cancel, async |source| list(source, &filter).await).await {
            Ok(Some(vms)) => print(&vms, args.output.json),
            Ok(None) => Ok(Exit::Interrupted),
            Err(error) => {
                tell(&chain(&error), error.hint().as_deref());
                Ok(Exit::Failed)
            }
        }
    })
}

async fn list(source: &Source, filter: &Filter) -> Result<Vec<VmSummary>, SourceError> {
    let mut vms = source.list().await?;
    if !filter.tags.is_empty() {
        source.add_tags(&mut vms).await?;
    }
    vms.retain(|vm| filter.takes(vm));
    Ok(vms)
}

fn print(vms: &[VmSummary], json: bool) -> anyhow::Result<Exit> {
    let printed = if json { print_json(&vms) } else { print_table(&table(vms)) };
    printed.context("print the list")?;
    Ok(Exit::Done)
}

/// A fact that the source may not tell.
fn shown(fact: Option<impl ToString>) -> String {
    fact.map_or_else(|| "-".to_owned(), |fact| cell(&fact.to_string()))
}

fn table(vms: &[VmSummary]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(["NAME", "MOREF", "POWER", "CPU", "MEMORY", "DISKS", "SIZE", "GUEST", "PATH"]);
    for vm in vms {
        table.add_row([
            cell(&vm.name),
            cell(&vm.moref),
            vm.power.as_str().to_owned(),
            shown(vm.cpu),
            shown(vm.memory_mib.map(ByteSize::of_mib)),
            shown(vm.disks),
            shown(vm.size.map(ByteSize)),
            shown(vm.guest.clone()),
            shown(vm.path.clone()),
        ]);
    }
    for column in 3..=6 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}
