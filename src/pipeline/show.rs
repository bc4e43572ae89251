//! The console of a new domain in virt-manager.

use std::ffi::{OsStr, OsString};

use crate::child::{self, Program};
use crate::libvirt::DefinedDomain;
use crate::model::quoted;

const VIRT_MANAGER: &str = "virt-manager";

/// Opens the console of a domain in virt-manager, which keeps running. Returns the equivalent
/// command if that is impossible: virt-manager is not in `path`, or there is no display. The
/// program's environment contains only `PATH` and the variables of the user's `session`.
pub fn show(
    domain: &DefinedDomain,
    path: &OsStr,
    session: &[(OsString, OsString)],
    display: bool,
) -> Result<(), String> {
    let words = [VIRT_MANAGER, "--connect", &domain.uri, "--show-domain-console", &domain.name];
    let command = || words.map(quoted).join(" ");
    if !display {
        return Err(command());
    }
    let session = session.iter().map(|(name, value)| (name, value));
    let program = Program::new(VIRT_MANAGER).args(&words[1..]).envs(session).env("PATH", path);
    child::launch(program).map_err(|error| {
        tracing::debug!(%error, "starting virt-manager");
        command()
    })
}
