//! What the doctor is to examine.

use std::path::PathBuf;

use clap::Args;

use super::libvirt::DEFAULT_POOL;
use super::pipeline::{ConverterArg, converter};
use super::{DescribedArgs, Environment, Error, Given, SourceArgs, WindowsArgs, absolute};
use crate::convert;
use crate::domain::{NetworkMap, NetworkMapping};
use crate::libvirt::{self, DefaultPool, Examined};
use crate::pipeline::SourceSettings;

/// Flags of `doctor`: those of a run that say what it uses.
#[derive(Debug, Clone, Args)]
pub struct ExaminedArgs {
    /// libvirt connection URI
    #[arg(
        long,
        value_name = "URI",
        default_value = "qemu:///system",
        help_heading = "Target (libvirt)"
    )]
    pub libvirt_uri: String,
    /// Storage pool that gets the disks
    #[arg(long, value_name = "POOL", default_value = DEFAULT_POOL,
          help_heading = "Target (libvirt)")]
    pub libvirt_pool: String,
    /// Folder that the pool is made over if there is none of that name
    #[arg(long, value_name = "DIR", help_heading = "Target (libvirt)")]
    pub libvirt_pool_path: Option<PathBuf>,
    /// Bridge that the network interfaces join
    #[arg(
        long,
        value_name = "BRIDGE",
        default_value = "virbr0",
        help_heading = "Target (libvirt)"
    )]
    pub libvirt_bridge: String,
    /// What network cards are connected to; may be repeated
    #[arg(long, value_name = "SOURCE=TARGET", num_args = 1.., help_heading = "Target (libvirt)")]
    pub network_map: Vec<NetworkMapping>,
    /// Converter that a run is to use
    #[arg(
        long,
        value_name = "CONVERTER",
        default_value = "auto",
        value_enum,
        help_heading = "Conversion"
    )]
    pub converter: ConverterArg,
    /// The hyper2kvm to check; without the flag, the first one found in the
    /// usual places and PATH
    #[arg(long, value_name = "PATH", help_heading = "Conversion")]
    pub hyper2kvm_path: Option<PathBuf>,
    /// What Windows guests get.
    #[command(flatten)]
    pub windows: WindowsArgs,
    /// Source flags.
    #[command(flatten)]
    pub source: SourceArgs,
}

/// What is examined.
#[derive(Debug)]
pub struct ToExamine {
    /// The libvirt.
    pub libvirt: libvirt::Settings,
    /// What a run would use of it.
    pub asked: Examined,
    /// The converter and its surroundings.
    pub conversion: convert::Settings,
    /// The source, if one is named.
    pub source: Option<SourceSettings>,
}

impl ExaminedArgs {
    /// What the flags lead to.
    ///
    /// # Errors
    /// [`Error`] where they do not fit together.
    pub fn resolve(&self, given: &Given, environment: &Environment) -> Result<ToExamine, Error> {
        let libvirt = libvirt::Settings {
            uri: self.libvirt_uri.clone(),
            scratch_pool: Some(self.libvirt_pool.clone()),
            ..libvirt::Settings::default()
        };
        let path = self.libvirt_pool_path.as_deref().map(absolute);
        let is_named = given.is_typed("libvirt_pool") || path.is_some();
        let asked = Examined {
            default_pool: DefaultPool { data_home: environment.data_home.clone() },
            pool: is_named.then(|| (self.libvirt_pool.clone(), path)),
            bridge: self.libvirt_bridge.clone(),
            is_bridge_named: given.is_typed("libvirt_bridge"),
            network_map: NetworkMap::new(self.network_map.clone())
                .map_err(|error| Error::Invalid(format!("--network-map: {error}")))?,
        };
        let conversion = convert::Settings {
            converter: converter(self.converter, self.hyper2kvm_path.is_some()),
            hyper2kvm_path: self.hyper2kvm_path.clone(),
            windows: self.windows.resolve(environment),
            guestfs: environment.guestfs.clone(),
            path: environment.path.clone(),
            home: environment.home.clone(),
            ..convert::Settings::default()
        };
        Ok(ToExamine { libvirt, asked, conversion, source: self.source(environment)? })
    }

    /// A source that flags name must be complete; one that the environment alone names need not.
    fn source(&self, environment: &Environment) -> Result<Option<SourceSettings>, Error> {
        let resolve = || self.source.resolve(environment, None, &DescribedArgs::default());
        let is_named = !self.source.source.is_empty() || self.source.vsphere.url.is_some();
        match (is_named, &environment.govc_url) {
            (true, _) => resolve().map(Some),
            (false, Some(_)) => Ok(resolve().ok()),
            (false, None) => Ok(None),
        }
    }
}
