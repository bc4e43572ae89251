//! The ways to fix a guest, in the order in which they are tried.

use std::fmt;

use crate::convert::Engine;

use super::inspect::SystemFamily;
use super::v2v;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// By hyperexport itself.
    Own,
    /// As `Own`, without steps that only tidy up: removing VMware's tools, installing packages.
    OwnLeast,
    /// By virt-v2v-in-place, and by hyperexport what virt-v2v-in-place leaves out.
    VirtV2v,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Own => "fixing the guest by libguestfs",
            Self::OwnLeast => "fixing what the guest needs to start",
            Self::VirtV2v => v2v::PROGRAM,
        })
    }
}

/// The ways for a guest of that family. Windows needs virt-v2v for its drivers. Linux is fixed by
/// hyperexport first; virt-v2v comes second, since it knows more about Red Hat's and SUSE's guests.
pub(super) fn ways(engine: &Engine, family: SystemFamily, has_v2v: bool) -> Vec<Way> {
    let v2v = has_v2v.then_some(Way::VirtV2v);
    match family {
        SystemFamily::Windows => v2v.into_iter().collect(),
        SystemFamily::Other => Vec::new(),
        _ if *engine == Engine::VirtV2v => {
            v2v.into_iter().chain([Way::Own, Way::OwnLeast]).collect()
        }
        SystemFamily::RedHat | SystemFamily::Suse => {
            [Way::Own, Way::OwnLeast].into_iter().chain(v2v).collect()
        }
        SystemFamily::OtherLinux => vec![Way::Own, Way::OwnLeast],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_linux_never_depends_on_virt_v2v() {
        for family in [SystemFamily::RedHat, SystemFamily::Suse, SystemFamily::OtherLinux] {
            for (engine, has_v2v) in
                [(Engine::Native, true), (Engine::VirtV2v, true), (Engine::Native, false)]
            {
                assert!(ways(&engine, family, has_v2v).contains(&Way::Own), "{family:?}");
            }
        }
        assert_eq!(ways(&Engine::Native, SystemFamily::RedHat, true)[0], Way::Own);
        assert_eq!(ways(&Engine::VirtV2v, SystemFamily::OtherLinux, true)[0], Way::VirtV2v);
        assert!(ways(&Engine::Native, SystemFamily::Windows, false).is_empty());
    }
}
