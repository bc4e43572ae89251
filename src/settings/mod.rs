//! Flags and environment, resolved once into the settings of each room.
//!
//! The groups of flags live here, so that a flag and what it means stand in one file; `cli` puts
//! the groups together. This is the only room that reads the environment.

mod after;
mod doctor;
mod environment;
mod filter;
mod given;
mod hardware;
mod hostname;
mod libvirt;
mod nic;
mod pipeline;
mod role;
mod running;
mod size;
mod source;
mod switch;
mod transfer;
mod vsphere;
mod windows;

pub use after::AfterArgs;
pub use doctor::ExaminedArgs;
pub use environment::Environment;
pub use filter::FilterArgs;
pub use given::Given;
pub use hardware::HardwareArgs;
pub use libvirt::LibvirtArgs;
pub use nic::{NicArg, NicCard};
pub use pipeline::{ConversionArgs, PipelineArgs, StageArgs};
pub use role::RoleForArg;
pub use running::{PowerOffArg, RunningArgs, SourceAfterArg};
pub use source::{DescribedArgs, SourceArgs};
pub use switch::{Switch, switches};
pub use transfer::{PackageArg, TransferArgs, TransportArg, read_rate};
pub use vsphere::VsphereArgs;
pub use windows::WindowsArgs;

use std::io;
use std::path::{Path, PathBuf};

use crate::model::Hint;

/// A usage error of the command line or the environment: exit code 2.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Something needed was not given.
    #[error("{what} is missing")]
    Missing {
        /// What.
        what: &'static str,
        /// How to give it.
        hint: &'static str,
    },
    /// Something does not fit.
    #[error("{0}")]
    Invalid(String),
    /// A flag that nothing would come of.
    #[error("{flag} has no effect without {needs}")]
    NoEffect {
        /// The flag.
        flag: String,
        /// What it is for.
        needs: String,
    },
    /// A password in the command line can be read by every user of the machine.
    #[error("the URL contains a password")]
    PasswordInUrl,
    /// The password file cannot be read.
    #[error("reading the password from {}", path.display())]
    PasswordFile {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The vCenter's address or trust cannot be used.
    #[error(transparent)]
    Vsphere(#[from] crate::exporter::Error),
    /// What is meant for libvirt cannot be used.
    #[error(transparent)]
    Libvirt(#[from] crate::libvirt::Error),
}

impl Error {
    /// No VM was named where there are many.
    pub const MISSING_VM: Self = Self::Missing {
        what: "VM",
        hint: "name it: `hyperexport migrate NAME` or --vm NAME; `hyperexport list` prints the names; \
               or give a file by --source",
    };
}

impl Hint for Error {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Missing { hint, .. } => Some((*hint).to_owned()),
            Self::NoEffect { flag, needs } => Some(format!("add {needs}, or leave {flag} out")),
            Self::PasswordInUrl => Some(
                "pass the password with --password-file FILE, --password-file - or GOVC_PASSWORD"
                    .to_owned(),
            ),
            Self::Vsphere(error) => error.hint(),
            Self::Libvirt(error) => error.hint(),
            Self::Invalid(_) | Self::PasswordFile { .. } => None,
        }
    }
}

/// The path from the root. Libraries and other programs may work in other folders, and a relative
/// path can only be meant from here.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
