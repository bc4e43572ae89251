//! What happens to the disks between export and libvirt.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args};

use super::{Environment, Error};
use crate::convert;

const HEADING: &str = "Conversion (hyper2kvm)";

/// Flags of the conversion itself; `convert --manifest` has them too.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = HEADING)]
pub struct StageArgs {
    /// The hyper2kvm to run [default: searched in the usual places and PATH]
    #[arg(long, value_name = "PATH")]
    pub hyper2kvm_path: Option<PathBuf>,
    /// Longest time hyper2kvm may take, such as 90s, 30m or 1h
    #[arg(long, value_name = "DURATION", default_value = "30m", value_parser = duration)]
    pub pipeline_timeout: Duration,
    /// Show hyper2kvm's output while it runs
    #[arg(long, value_name = "BOOL", default_value_t = true, action = ArgAction::Set)]
    pub stream_pipeline: bool,
    /// Say what would run and convert nothing
    #[arg(long, value_name = "BOOL", default_value_t = false, action = ArgAction::Set, hide_default_value = true)]
    pub pipeline_dry_run: bool,
    /// Look at the disks
    #[arg(long, value_name = "BOOL", default_value_t = true, action = ArgAction::Set)]
    pub pipeline_inspect: bool,
    /// Make the guest boot on virtio
    #[arg(long, value_name = "BOOL", default_value_t = true, action = ArgAction::Set)]
    pub pipeline_fix: bool,
    /// Write the disks as qcow2
    #[arg(long, value_name = "BOOL", default_value_t = true, action = ArgAction::Set)]
    pub pipeline_convert: bool,
    /// Check the converted disks
    #[arg(long, value_name = "BOOL", default_value_t = true, action = ArgAction::Set)]
    pub pipeline_validate: bool,
    /// Compress the converted disks
    #[arg(long, value_name = "BOOL", default_value_t = true, action = ArgAction::Set)]
    pub pipeline_compress: bool,
    /// How hard to compress, from 1 (quick) to 9 (small)
    #[arg(long, value_name = "1-9", default_value_t = 6,
          value_parser = clap::value_parser!(u8).range(1..=9))]
    pub compress_level: u8,
}

/// Flags that switch the conversion on.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = HEADING)]
pub struct PipelineArgs {
    /// Convert the exported disks for KVM
    #[arg(long, value_name = "BOOL", default_value_t = false, action = ArgAction::Set, hide_default_value = true)]
    pub pipeline: bool,
    /// How.
    #[command(flatten)]
    pub stages: StageArgs,
}

impl StageArgs {
    /// The converter's settings.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the stages do not fit together.
    pub fn resolve(&self, environment: &Environment) -> Result<convert::Settings, Error> {
        if self.pipeline_timeout.is_zero() {
            return Err(Error::Invalid("--pipeline-timeout must be longer than 0s".to_owned()));
        }
        Ok(convert::Settings {
            hyper2kvm_path: self.hyper2kvm_path.clone(),
            timeout: self.pipeline_timeout,
            stream_output: self.stream_pipeline,
            dry_run: self.pipeline_dry_run,
            stages: convert::Stages {
                inspect: self.pipeline_inspect,
                fix: self.pipeline_fix,
                convert: self.pipeline_convert,
                validate: self.pipeline_validate,
            },
            compression: self.pipeline_compress.then_some(self.compress_level),
            guestfs_backend_settings: environment.libguestfs_backend_settings.clone(),
            path: environment.path.clone(),
            home: environment.home.clone(),
        })
    }
}

impl PipelineArgs {
    /// The conversion of a run, if it is to have one.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the stages do not fit together.
    pub fn resolve(&self, environment: &Environment) -> Result<Option<convert::Settings>, Error> {
        if !self.pipeline {
            return Ok(None);
        }
        self.stages.resolve(environment).map(Some)
    }
}

/// A duration as people write it.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| format!("{error}: write it as 90s, 30m or 1h"))
}
