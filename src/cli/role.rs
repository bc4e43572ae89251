//! `hyperexport role`: the least role that a login at vSphere needs.

use anyhow::Context;
use comfy_table::{Table, presets};

use super::Exit;
use super::args::RoleArgs;
use super::render::print_line;
use crate::exporter::{Role, RoleFor};

/// Runs the command.
///
/// # Errors
/// A role that cannot be printed.
pub fn run(args: &RoleArgs) -> anyhow::Result<Exit> {
    let uses: Vec<_> = args.uses.iter().map(|one| RoleFor::from(*one)).collect();
    let role = Role::new(&uses);
    let text = match args.output.json {
        true => serde_json::to_string_pretty(&role)?,
        false => format!("{}\n\n{}", role.govc.join("\n"), table(&role).trim_fmt()),
    };
    print_line(&text).context("print the role")?;
    Ok(Exit::Done)
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
