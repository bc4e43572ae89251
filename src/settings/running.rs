//! What is done about a VM that runs.

use std::time::Duration;

use clap::Args;

use super::Error;
use super::pipeline::duration;
use super::switch::Switch;
use crate::exporter::{Quiesce, Shutdown};
use crate::model::SourceAfter;

/// Flags about running VMs.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Running VMs")]
pub struct RunningArgs {
    /// Shut a running guest down before the export
    ///
    /// With =force the power is cut where no VMware Tools run or the guest takes
    /// too long
    #[arg(long, value_name = "BOOL|force", default_value = "false", value_parser = power_off)]
    pub power_off: PowerOffArg,
    /// Longest time for the guest's shutdown, such as 90s or 10m
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = duration)]
    pub shutdown_timeout: Duration,
    /// Leave a VM off that --power-off has shut down, even if the run fails
    #[arg(long, value_name = "BOOL", default_value_t)]
    pub keep_source_off: Switch,
    /// Power the VM on again after a successful run, too
    #[arg(long, value_name = "BOOL", default_value_t)]
    pub power_on_after: Switch,
    /// What to do to the VM after a run that succeeds, repeated or with commas:
    /// leave, disconnect-nics, rename:SUFFIX, folder:PATH, tag:CATEGORY/NAME,
    /// note. `undo` undoes it. Without the flag the VM is left as it is
    #[arg(long, value_name = "WHAT", value_delimiter = ',', value_parser = source_after)]
    pub source_after: Vec<SourceAfterArg>,
    /// Export a running VM from a snapshot
    ///
    /// The snapshot is removed at the end
    #[arg(long, value_name = "BOOL", default_value_t)]
    pub snapshot: Switch,
    /// Quiesce the guest for the snapshot: try, yes (or fail), no
    #[arg(long, value_name = "HOW", default_value = "try", value_parser = quiesce)]
    pub quiesce: Quiesce,
}

/// A value of `--source-after`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceAfterArg {
    /// Nothing.
    Leave,
    /// A step.
    Step(SourceAfter),
}

/// `--power-off`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PowerOffArg {
    /// A running VM is refused.
    No,
    /// Its guest is shut down.
    Shutdown,
    /// Its guest is shut down, or else the power is cut.
    Force,
}

impl RunningArgs {
    /// What follows a migration that succeeds, in its order.
    ///
    /// # Errors
    /// [`Error::Invalid`] where `leave` stands beside something else.
    pub fn source_after(&self) -> Result<Vec<SourceAfter>, Error> {
        let steps = self.source_after.iter().filter_map(|given| match given {
            SourceAfterArg::Leave => None,
            SourceAfterArg::Step(step) => Some(step.clone()),
        });
        let steps: Vec<_> = steps.collect();
        match steps.is_empty() || steps.len() == self.source_after.len() {
            true => Ok(steps),
            false => Err(Error::Invalid(
                "--source-after leave cannot go with other values of it".to_owned(),
            )),
        }
    }

    /// How a running VM is switched off, if it may be.
    pub fn shutdown(&self) -> Option<Shutdown> {
        let shutdown = |force| Shutdown { timeout: self.shutdown_timeout, force };
        match self.power_off {
            PowerOffArg::No => None,
            PowerOffArg::Shutdown => Some(shutdown(false)),
            PowerOffArg::Force => Some(shutdown(true)),
        }
    }
}

fn source_after(text: &str) -> Result<SourceAfterArg, String> {
    match text {
        "leave" => Ok(SourceAfterArg::Leave),
        step => step.parse().map(SourceAfterArg::Step),
    }
}

fn power_off(text: &str) -> Result<PowerOffArg, String> {
    match text {
        "false" => Ok(PowerOffArg::No),
        "true" => Ok(PowerOffArg::Shutdown),
        "force" => Ok(PowerOffArg::Force),
        _ => Err("write it as true, false or force".to_owned()),
    }
}

fn quiesce(text: &str) -> Result<Quiesce, String> {
    match text {
        "try" => Ok(Quiesce::Try),
        "yes" => Ok(Quiesce::Yes),
        "no" => Ok(Quiesce::No),
        _ => Err("write it as try, yes or no".to_owned()),
    }
}
