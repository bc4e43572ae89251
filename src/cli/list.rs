//! `hyperexport list`: the VMs of a vCenter or ESXi host.

use anyhow::Context;
use comfy_table::{CellAlignment, Table, presets};

use super::args::ListArgs;
use super::render::{cell, eprint_line, print_json, print_table};
use super::source_query::ask;
use super::{Exit, block_on, fail, warn_of_secrets};
use crate::exporter::{Filter, VmSummary};
use crate::model::{ByteSize, Stage};
use crate::pipeline::{Failure, Source, SourceError, SourceSettings};
use crate::settings::{DescribedArgs, Environment};

/// Runs the command.
///
/// # Errors
/// A command line that cannot be meant, or a list that cannot be printed.
pub fn run(args: &ListArgs, environment: &Environment) -> anyhow::Result<Exit> {
    let settings = args.source.resolve(environment, None, &DescribedArgs::default())?;
    warn_of_secrets(&args.source);
    let filter = args.filter.resolve();
    block_on(&args.output, |_, cancel| async move {
        match ask(&settings, &cancel, async |source| list(source, &filter).await).await {
            Ok(Some(vms)) => print(&vms, id_heading(&settings), args.output.json),
            Ok(None) => Ok(Exit::Interrupted),
            Err(error) => {
                let failure = Failure::of(Stage::Preflight, &error);
                Ok(fail(args.output.json, None, failure, Exit::Failed))
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

/// What the id of a VM is called at its source; files have none but their paths.
fn id_heading(source: &SourceSettings) -> Option<&'static str> {
    match source {
        SourceSettings::VSphere(_) => Some("MOREF"),
        SourceSettings::Host(_) => Some("UUID"),
        SourceSettings::Files(_) => None,
    }
}

fn print(vms: &[VmSummary], id: Option<&str>, json: bool) -> anyhow::Result<Exit> {
    if vms.is_empty() {
        eprint_line("no VM matches");
    }
    let printed = if json { print_json(&vms) } else { print_table(&table(vms, id)) };
    printed.context("printing the list")?;
    Ok(Exit::Done)
}

/// A fact that the source may not tell.
fn shown(fact: Option<impl ToString>) -> String {
    fact.map_or_else(|| "-".to_owned(), |fact| cell(&fact.to_string()))
}

fn table(vms: &[VmSummary], id: Option<&str>) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    let facts = ["POWER", "CPU", "MEMORY", "DISKS", "SIZE", "GUEST"];
    let place = if id.is_some() { "PATH" } else { "SOURCE" };
    let heading = ["NAME"].into_iter().chain(id).chain(facts).chain([place]);
    table.set_header(heading.collect::<Vec<_>>());
    for vm in vms {
        let place = vm.path.as_ref().or(Some(&vm.moref).filter(|_| id.is_none()));
        let facts = [
            vm.power.as_str().to_owned(),
            shown(vm.cpu),
            shown(vm.memory_mib.map(ByteSize::of_mib)),
            shown(vm.disks),
            shown(vm.size.map(ByteSize)),
            shown(vm.guest.clone()),
            shown(place),
        ];
        let id = id.map(|_| cell(&vm.moref));
        table.add_row([cell(&vm.name)].into_iter().chain(id).chain(facts).collect::<Vec<_>>());
    }
    let first = if id.is_some() { 3 } else { 2 };
    for column in first..first + 4 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}
