//! QEMU's guest agent: whether the guest has one, and packages of it that the user gives.

use std::path::{Path, PathBuf};

use crate::convert::Error;
use crate::convert::native::guestfs::Guestfs;
use crate::convert::native::inspect::Guest;
use crate::model::WarningCode;

use super::{Change, FixReport};

/// Paths at which distributions install the agent.
const PROGRAMS: [&str; 4] =
    ["/usr/bin/qemu-ga", "/usr/sbin/qemu-ga", "/usr/local/bin/qemu-ga", "/sbin/qemu-ga"];

/// Script for the guest's first start, which installs the agent with any package manager.
pub(in crate::convert::native) const FIRST_BOOT: &str = "\
#!/bin/sh
# Written by hyperexport: installs QEMU's guest agent from the guest's own package sources.
if command -v apt-get >/dev/null; then
  apt-get -q update && DEBIAN_FRONTEND=noninteractive apt-get -q -y install qemu-guest-agent
elif command -v dnf >/dev/null; then dnf -y install qemu-guest-agent
elif command -v yum >/dev/null; then yum -y install qemu-guest-agent
elif command -v zypper >/dev/null; then zypper --non-interactive install qemu-guest-agent
elif command -v pacman >/dev/null; then pacman -Sy --noconfirm qemu-guest-agent
elif command -v apk >/dev/null; then apk add qemu-guest-agent && rc-update add qemu-guest-agent
fi
command -v systemctl >/dev/null && systemctl enable --now qemu-guest-agent
exit 0
";

/// Whether a Linux has the agent.
pub(in crate::convert::native) async fn is_installed(guestfs: &mut Guestfs) -> Result<bool, Error> {
    for program in PROGRAMS {
        if guestfs.is_file(program).await? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Installs the user's packages. The package manager is asked first, and nothing changes when it
/// rejects them.
pub(super) async fn install(
    guestfs: &mut Guestfs,
    guest: &Guest,
    packages: &[PathBuf],
    report: &mut FixReport<'_>,
) -> Result<(), Error> {
    if packages.is_empty() {
        return Ok(());
    }
    let (ask, install) = match guest.packages.as_str() {
        "apt" => ("dpkg --dry-run -i", "DEBIAN_FRONTEND=noninteractive dpkg -i"),
        "yum" | "dnf" | "zypper" => ("rpm -U --test", "rpm -U"),
        other => {
            let text = format!("--agent-package: guest's packages ({other}) are not .deb or .rpm");
            report.warn(WarningCode::GuestAgentNotInstalled, text);
            return Ok(());
        }
    };
    let doing = "copying packages into the guest";
    let made = guestfs.attempt(doing, &["mkdtemp", "/tmp/hyperexport-XXXXXX"]).await?;
    let made = made.map_err(|why| Error::Refused { doing: doing.to_owned(), why })?;
    let folder = made.into_iter().next().unwrap_or_default();
    let copied = copy(guestfs, &folder, packages).await;
    let ran = match copied {
        Ok(copies) => guestfs.sh(&format!("{ask} {copies} && {install} {copies}")).await,
        Err(error) => Err(error),
    };
    guestfs.try_run("removing the copies of packages", &["rm-rf", &folder]).await?;
    let (well, said) = ran?;
    let names: Vec<_> = packages.iter().filter_map(|path| path.file_name()).collect();
    let names: Vec<_> = names.iter().map(|name| name.to_string_lossy()).collect();
    if well && is_installed(guestfs).await? {
        report.changes.push(Change::new("guest agent", &names.join(", "), "missing", "installed"));
    } else {
        let last = said.last().cloned().unwrap_or_default();
        let text = format!("installing {} in the guest: {last}", names.join(", "));
        report.warn(WarningCode::GuestAgentNotInstalled, text);
    }
    Ok(())
}

/// Copies the packages into a folder of the guest; returns their paths as words of a command.
async fn copy(guestfs: &mut Guestfs, folder: &str, packages: &[PathBuf]) -> Result<String, Error> {
    let mut copies = Vec::new();
    for (index, package) in packages.iter().enumerate() {
        let copy = format!("{folder}/{index}.{}", extension(package));
        let from = package.to_string_lossy();
        guestfs.modify("copying a package into the guest", &["upload", &from, &copy]).await?;
        copies.push(format!("'{copy}'"));
    }
    Ok(copies.join(" "))
}

fn extension(path: &Path) -> &str {
    let extension = path.extension().and_then(|extension| extension.to_str());
    let is_plain = |text: &&str| text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    extension.filter(is_plain).unwrap_or("pkg")
}
