//! Where the drivers for Windows guests are.

use std::path::PathBuf;

use clap::Args;

use super::{Environment, absolute};
use crate::convert::WindowsSources;

/// The flag of the conversion, and of the commands that say what there is.
#[derive(Debug, Clone, Args)]
pub struct WindowsArgs {
    /// virtio drivers for Windows guests: virtio-win.iso, or a folder with its
    /// files; without the flag, $VIRTIO_WIN or else /usr/share/virtio-win
    #[arg(long, value_name = "PATH", help_heading = "Conversion")]
    pub virtio_win: Option<PathBuf>,
}

impl WindowsArgs {
    /// Flag and environment, with absolute paths. Whether there is something, preflight sees.
    pub fn resolve(&self, environment: &Environment) -> WindowsSources {
        WindowsSources {
            virtio_win: self.virtio_win.as_deref().map(absolute),
            virtio_win_variable: environment.virtio_win.clone(),
            virt_tools: environment.virt_tools.clone(),
        }
    }
}
