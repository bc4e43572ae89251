//! The screen of a new domain in virt-manager.

use std::ffi::OsStr;

use crate::child::{self, Program};
use crate::libvirt::DefinedDomain;

/// The program.
const VIRT_MANAGER: &str = "virt-manager";

/// Opens the console of a domain in virt-manager, which is left running. Returns the command that
/// does it where that is not possible: it is not in `path`, or there is no display.
pub fn show(domain: &DefinedDomain, path: &OsStr, display: bool) -> Result<(), String> {
    let words = [VIRT_MANAGER, "--connect", &domain.uri, "--show-domain-console", &domain.name];
    let command = || words.map(quoted).join(" ");
    if !display {
        return Err(command());
    }
    let program = Program::new(VIRT_MANAGER).args(&words[1..]).env("PATH", path);
    child::launch(program).map_err(|error| {
        tracing::debug!(%error, "start virt-manager");
        command()
    })
}

/// A word as a shell takes it (POSIX shell, 2.2.2).
pub(super) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:+=@".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn words_are_quoted_where_a_shell_would_take_them_apart() {
        assert_eq!(quoted("qemu:///system"), "qemu:///system");
        assert_eq!(quoted("it's <b>"), r"'it'\''s <b>'");
        assert_eq!(quoted(""), "''");
    }
}
