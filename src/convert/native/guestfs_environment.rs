//! The environment of every program that works through libguestfs.

use crate::child::{Door, Program};
use crate::convert::ConversionRun;
use crate::convert::tools::libguestfs::{self, APPLIANCE_CACHE};

pub(super) trait GuestfsEnvironment {
    /// Sets an environment without variables of the user's shell, with the run's own folders, and
    /// the confinement `door`. virt-v2v and virt-customize are limited but not confined: they need
    /// gigabytes in `/var/tmp`, and start other programs.
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
            // Programs for Windows' first start, which virt-v2v and virt-customize install.
            .envs(run.settings.windows.virt_tools.iter().map(|path| ("VIRT_TOOLS_DATA_DIR", path)))
            .envs(backend_settings.map(|given| ("LIBGUESTFS_BACKEND_SETTINGS", given)))
            .dir(run.work.path());
        libguestfs::confined(program, run.settings, Some(run.work.path()), door)
    }
}
