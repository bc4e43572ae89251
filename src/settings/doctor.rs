//! What the doctor is to examine.

use std::path::PathBuf;

use clap::Args;

use super::libvirt::DEFAULT_POOL;
use super::{Environment, WindowsArgs};
use crate::convert;
use crate::libvirt::{self, DefaultPool};

/// Flags of `doctor`.
#[derive(Debug, Clone, Args)]
pub struct ExaminedArgs {
    /// Which libvirt
    #[arg(long, value_name = "URI", default_value = "qemu:///system")]
    pub libvirt_uri: String,
    /// The hyper2kvm to ask [default: searched in the usual places and PATH]
    #[arg(long, value_name = "PATH")]
    pub hyper2kvm_path: Option<PathBuf>,
    /// What Windows guests get.
    #[command(flatten)]
    pub windows: WindowsArgs,
}

impl ExaminedArgs {
    /// The libvirt, the pool of a user who names none, and the converter's surroundings.
    pub fn resolve(
        &self,
        environment: &Environment,
    ) -> (libvirt::Settings, DefaultPool, convert::Settings) {
        let target = libvirt::Settings {
            uri: self.libvirt_uri.clone(),
            scratch_pool: Some(DEFAULT_POOL.to_owned()),
            ..libvirt::Settings::default()
        };
        let conversion = convert::Settings {
            hyper2kvm_path: self.hyper2kvm_path.clone(),
            windows: self.windows.resolve(environment),
            guestfs_backend: environment.libguestfs_backend.clone(),
            guestfs_backend_settings: environment.libguestfs_backend_settings.clone(),
            path: environment.path.clone(),
            home: environment.home.clone(),
            ..convert::Settings::default()
        };
        (target, DefaultPool { data_home: environment.data_home.clone() }, conversion)
    }
}
