//! What is done about a VM that runs.

use std::time::Duration;

use clap::{ArgAction, Args};

use super::pipeline::duration;
use crate::exporter::Quiesce;

/// Flags about running VMs.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Running VMs")]
pub struct RunningArgs {
    /// Shut the guest down, or else power the VM off, before exporting
    #[arg(long, value_name = "BOOL", default_value_t = false, action = ArgAction::Set,
          hide_default_value = true)]
    pub power_off: bool,
    /// Longest time that the guest may take to shut down
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = duration)]
    pub shutdown_timeout: Duration,
    /// Export a running VM from a snapshot, which is removed at the end
    #[arg(long, value_name = "BOOL", default_value_t = false, action = ArgAction::Set,
          hide_default_value = true)]
    pub snapshot: bool,
    /// Bring the guest to rest for the snapshot: try, yes (or fail), no
    #[arg(long, value_name = "HOW", default_value = "try", value_parser = quiesce)]
    pub quiesce: Quiesce,
}

fn quiesce(text: &str) -> Result<Quiesce, String> {
    match text {
        "try" => Ok(Quiesce::Try),
        "yes" => Ok(Quiesce::Yes),
        "no" => Ok(Quiesce::No),
        _ => Err("write it as try, yes or no".to_owned()),
    }
}
