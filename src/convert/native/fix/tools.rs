//! Removes VMware's tools, which have no counterpart on KVM.

use crate::convert::Error;
use crate::convert::native::guestfs::Guestfs;
use crate::convert::native::inspect::Guest;
use crate::model::WarningCode;

use super::{Change, FixReport};

/// Packages of open-vm-tools in the distributions.
pub(in crate::convert) const PACKAGES: [&str; 4] =
    ["open-vm-tools-desktop", "open-vm-tools-sdmp", "open-vm-tools-salt-minion", "open-vm-tools"];
/// The uninstaller of VMware's own tar archive.
const UNINSTALLER: &str = "/usr/bin/vmware-uninstall-tools.pl";

/// Removes the tools. A guest that keeps them boots as well, so a failure is a warning.
pub(super) async fn remove(
    guestfs: &mut Guestfs,
    guest: &Guest,
    report: &mut FixReport<'_>,
) -> Result<(), Error> {
    let mut commands = Vec::new();
    for package in PACKAGES {
        let command = match guest.packages.as_str() {
            "apt" if guestfs.is_file(&format!("/var/lib/dpkg/info/{package}.list")).await? => {
                format!("DEBIAN_FRONTEND=noninteractive dpkg --purge {package}")
            }
            "yum" | "dnf" | "zypper" if guestfs.ask_sh(&format!("rpm -q {package}")).await?.0 => {
                format!("rpm -e {package}")
            }
            _ => continue,
        };
        commands.push((package, command));
    }
    if guestfs.is_file(UNINSTALLER).await? {
        commands.push(("VMware Tools", UNINSTALLER.to_owned()));
    }
    for (object, command) in commands {
        match guestfs.sh(&command).await? {
            (true, _) => report.changes.push(Change::new("tools", object, "installed", "removed")),
            (false, said) => {
                let last = said.last().cloned().unwrap_or_default();
                let text = format!("{object} stays in the guest: {command}: {last}");
                report.warn(WarningCode::GuestToolsNotRemoved, text);
            }
        }
    }
    Ok(())
}
