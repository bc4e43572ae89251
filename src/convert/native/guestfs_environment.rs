//! The surroundings of everything that works through libguestfs.

use crate::child::{Door, Program};
use crate::convert::ConversionRun;
use crate::convert::tools::libguestfs::{self, APPLIANCE_CACHE};

/// What every program of libguestfs gets to see.
pub(super) trait GuestfsEnvironment {
    /// Nothing of the user's shell, and only folders of the run's own; behind `door`. virt-v2v and
    /// virt-customize are bounded and not confined: they want gigabytes in `/var/tmp`, and start
    /// what they like.
    fn environment(
        self,
        run: &ConversionRun<'_>,
        backend_settings: Option<&str>,
        door: Door,
    ) -> Self;
}

impl GuestfsEnvironment for Program {
    fn environment(
        self,
        run: &ConversionRun<'_>,
        backend_settings: Option<&str>,
        door: Door,
    ) -> Self {
        let program = self
            .env("PATH", &run.settings.path)
            .env("LC_ALL", "C.UTF-8")
            .env("HOME", run.work.path())
            .env("TMPDIR", run.work.tmp())
            .env("LIBGUESTFS_TMPDIR", run.work.tmp())
            .env("LIBGUESTFS_CACHEDIR", APPLIANCE_CACHE)
            // Programs that Windows runs at its first start, for virt-v2v and virt-customize.
            .envs(run.settings.windows.virt_tools.iter().map(|path| ("VIRT_TOOLS_DATA_DIR", path)))
            .envs(backend_settings.map(|given| ("LIBGUESTFS_BACKEND_SETTINGS", given)))
            .dir(run.work.path());
        libguestfs::confined(program, run.settings, Some(run.work.path()), door)
    }
}
