//! What is done with a domain once it is defined.

use std::time::Duration;

use clap::Args;

use super::pipeline::duration;
use super::switch::Switch;
use crate::libvirt::{AfterDefine, Sign, Wait};
use crate::pipeline::Start;

/// Name of a snapshot that was asked for without one.
const SNAPSHOT: &str = "migrated";

/// Flags about what follows the definition.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "After the definition")]
pub struct AfterArgs {
    /// Rename the domain of this name to NAME-replaced, if hyperexport has defined
    /// it; it keeps its disks
    #[arg(long, value_name = "NAME")]
    pub replace: Option<String>,
    /// Take a snapshot of the new domain before its first start
    #[arg(long, value_name = "NAME", num_args = 0..=1, require_equals = true,
          default_missing_value = SNAPSHOT)]
    pub libvirt_snapshot: Option<String>,
    /// Start the guest once on overlays of its disks and without a network, before
    /// it is defined; it must reach its login prompt or its guest agent
    #[arg(long, value_name = "BOOL", default_value_t)]
    pub boot_test: Switch,
    /// Start the domain once with all its links down; it must reach its login
    /// prompt or its guest agent, or the domain is removed
    #[arg(long, value_name = "BOOL", default_value_t)]
    pub boot_proof: Switch,
    /// Longest time for --boot-test or --boot-proof, such as 90s or 10m
    #[arg(long, value_name = "DURATION", default_value = "10m",
          value_parser = duration)]
    pub boot_proof_timeout: Duration,
    /// Start the domain
    ///
    /// Refused while the source VM is powered on
    #[arg(long, value_name = "BOOL", default_value_t)]
    pub libvirt_start: Switch,
    /// Wait until the guest is up: running, agent or console:REGEX
    #[arg(long, value_name = "SIGN", default_value = "running", value_parser = Sign::parse)]
    pub wait_for: Sign,
    /// Longest time for --wait-for, such as 90s or 10m
    #[arg(long, value_name = "DURATION", default_value = "10m",
          value_parser = duration)]
    pub wait_timeout: Duration,
    /// Show the domain's console in virt-manager, or print the command for it
    #[arg(long, value_name = "BOOL", default_value_t)]
    pub open: Switch,
    /// Start the domain, now or with its host, although the source VM may be
    /// running
    #[arg(long, value_name = "BOOL", default_value_t)]
    pub allow_running_source: Switch,
}

impl AfterArgs {
    /// What belongs to the import.
    pub(super) fn import(&self) -> AfterDefine {
        AfterDefine {
            snapshot: self.libvirt_snapshot.clone(),
            boot_test: self.boot_test.then_some(self.boot_proof_timeout),
            boot_proof: self.boot_proof.then_some(self.boot_proof_timeout),
        }
    }

    /// What follows it.
    pub(super) fn start(&self) -> Option<Start> {
        self.libvirt_start.then(|| Start {
            wait: Wait { sign: self.wait_for.clone(), timeout: self.wait_timeout },
        })
    }
}
