//! `hyperexport role`: the least role that a login at vSphere needs.

use std::io;

use anyhow::Context;
use comfy_table::{Table, presets};

use super::Exit;
use super::args::RoleArgs;
use super::render::{print_json, print_line};
use crate::exporter::{Role, RoleFor};

/// Runs the command.
///
/// # Errors
/// A role that cannot be printed.
pub fn run(args: &RoleArgs) -> anyhow::Result<Exit> {
    let uses: Vec<_> = args.uses.iter().map(|one| RoleFor::from(*one)).collect();
    let role = Role::new(&uses);
    let printed = if args.output.json { print_json(&role) } else { print(&role) };
    printed.context("printing the role")?;
    Ok(Exit::Done)
}

fn print(role: &Role) -> io::Result<()> {
    role.govc.iter().try_for_each(|command| print_line(command))?;
    print_line("")?;
    table(role).trim_fmt().lines().try_for_each(print_line)
}

fn table(role: &Role) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(["PRIVILEGE", "ON", "NEEDED FOR"]);
    for privilege in &role.privileges {
        let why = privilege.need.flag().replace('`', "");
        table.add_row([privilege.id, privilege.on.as_str(), why.as_str()]);
    }
    table
}
