//! The surroundings of everything that works through libguestfs.

use crate::child::Program;
use crate::convert::Run;
use crate::convert::environment::APPLIANCE_CACHE;

/// What every program of libguestfs gets to see.
pub(super) trait Environment {
    /// Nothing of the user's shell, and only folders of the run's own.
    fn environment(self, run: &Run<'_>, backend_settings: Option<&str>) -> Self;
}

impl Environment for Program {
    fn environment(self, run: &Run<'_>, backend_settings: Option<&str>) -> Self {
        let program = self
            .clear_env()
            .env("PATH", &run.settings.path)
            .env("LC_ALL", "C.UTF-8")
            .env("HOME", run.work.path())
            .env("TMPDIR", run.work.tmp())
            .env("LIBGUESTFS_TMPDIR", run.work.tmp())
            .env("LIBGUESTFS_CACHEDIR", APPLIANCE_CACHE)
            .env("LIBGUESTFS_BACKEND", "direct")
            // Programs that Windows runs at its first start, for virt-v2v and virt-customize.
            .envs(run.settings.windows.virt_tools.iter().map(|path| ("VIRT_TOOLS_DATA_DIR", path)))
            .dir(run.work.path());
        match backend_settings {
            Some(given) => program.env("LIBGUESTFS_BACKEND_SETTINGS", given),
            None => program,
        }
    }
}
