//! Which libvirt gets the result, and how the domain there is to be.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::switch::Switch;
use super::{AfterArgs, Error, HardwareArgs, absolute};
use crate::domain::{DomainType, NetworkMap, NetworkMapping};
use crate::libvirt;
use crate::pipeline::{Flags, ImportSettings};

const HEADING: &str = "Target (libvirt)";
/// What everybody calls his first storage pool.
pub(super) const DEFAULT_POOL: &str = "default";

/// Flags about the domain; `define --manifest` has them too.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = HEADING)]
pub struct LibvirtArgs {
    /// libvirt connection URI
    #[arg(long, value_name = "URI", default_value = "qemu:///system")]
    pub libvirt_uri: String,
    /// Name of the domain; without the flag, the VM's in lower case with dashes
    #[arg(long, value_name = "NAME")]
    pub libvirt_name: Option<String>,
    /// Start the domain whenever the host starts
    #[arg(long, value_name = "BOOL", default_value_t)]
    pub libvirt_autostart: Switch,
    /// Bridge of the network interfaces that --network-map does not name
    #[arg(long, value_name = "BRIDGE", default_value = "virbr0")]
    pub libvirt_bridge: String,
    /// Connect the network cards of SOURCE to TARGET; may be repeated
    ///
    /// SOURCE is a network of the VM, mac:ADDRESS for one card, or '*' for all other
    /// cards. TARGET is bridge:NAME, bridge:NAME,vlan=N, ovs:NAME,
    /// ovs:NAME,vlan=N, network:NAME, user for a network that needs no rights and
    /// no bridge, or none to leave the cards out
    #[arg(long, value_name = "SOURCE=TARGET", num_args = 1..)]
    pub network_map: Vec<NetworkMapping>,
    /// Give every network card a new MAC address, for a copy beside the VM
    #[arg(long, value_name = "BOOL", default_value_t)]
    pub new_mac: Switch,
    /// Storage pool for the disks
    ///
    /// The pool default is made where it is missing, unless it is named here
    #[arg(long, value_name = "POOL", default_value = DEFAULT_POOL)]
    pub libvirt_pool: String,
    /// Define the pool over this folder if no pool has that name
    #[arg(long, value_name = "DIR")]
    pub libvirt_pool_path: Option<PathBuf>,
    /// Define the domain although its boot disk has no boot loader and no operating
    /// system
    #[arg(long, value_name = "BOOL", default_value_t)]
    pub allow_unbootable: Switch,
    /// Read every volume back and compare its checksum with that of the image
    #[arg(long, value_name = "BOOL", default_value_t)]
    pub verify_upload: Switch,
    /// Run the domain on KVM or on emulation (auto: what the host can do)
    #[arg(long, value_name = "TYPE", default_value = "auto")]
    pub libvirt_domain_type: DomainTypeArg,
    /// Hardware flags.
    #[command(flatten)]
    pub hardware: HardwareArgs,
    /// Flags about what follows.
    #[command(flatten)]
    pub after: AfterArgs,
}

/// Choice of the domain type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DomainTypeArg {
    /// KVM when it really runs, else emulation.
    Auto,
    /// Hardware virtualization.
    Kvm,
    /// Emulation (TCG).
    Qemu,
}

impl LibvirtArgs {
    /// The target of a run.
    ///
    /// # Errors
    /// [`Error::Libvirt`] when a hardware profile cannot be used.
    pub fn resolve(&self) -> Result<ImportSettings, Error> {
        Ok(ImportSettings {
            settings: libvirt::Settings {
                uri: self.libvirt_uri.clone(),
                transfer: libvirt::Transfer::Auto,
                verify: self.verify_upload,
                scratch_pool: Some(self.libvirt_pool.clone()),
            },
            connections: libvirt::Connections::default(),
            name: self.libvirt_name.clone(),
            autostart: self.libvirt_autostart,
            bridge: self.libvirt_bridge.clone(),
            network_map: NetworkMap::new(self.network_map.clone())
                .map_err(|error| Error::Invalid(format!("--network-map: {error}")))?,
            new_mac: self.new_mac,
            pool: self.libvirt_pool.clone(),
            pool_path: self.libvirt_pool_path.as_deref().map(absolute),
            domain_type: match self.libvirt_domain_type {
                DomainTypeArg::Auto => None,
                DomainTypeArg::Kvm => Some(DomainType::Kvm),
                DomainTypeArg::Qemu => Some(DomainType::Qemu),
            },
            hardware: self.hardware.resolve()?,
            allow_unbootable: self.allow_unbootable,
            after: self.after.import(),
            start: self.after.start(),
            allow_running_source: self.after.allow_running_source,
            replace: self.after.replace.clone(),
            open: self.after.open,
            exactly: None,
            asked: Flags::default(),
            default_pool: None,
        })
    }
}
