//! `hyperexport --vm NAME …`: one VM through all its stages.

use super::args::ExportArgs;
use super::{Exit, block_on, tell_report};
use crate::pipeline::{self, Job};
use crate::settings::{Environment, Error};

/// Runs the command.
///
/// # Errors
/// A command line that cannot be meant, or a result that cannot be printed.
pub fn run(args: &ExportArgs, environment: &Environment) -> anyhow::Result<Exit> {
    let job = job(args, environment)?;
    block_on(&args.run.output, |renderer, cancel| async move {
        let report = pipeline::run(job, &renderer.progress(), &cancel).await;
        tell_report(&report, &args.run.output, args.run.strict)
    })
}

fn job(args: &ExportArgs, environment: &Environment) -> Result<Job, Error> {
    let vm = args.vm.clone().ok_or(Error::Missing {
        what: "the VM",
        hint: "give it by --vm NAME; `hyperexport list` shows what there is",
    })?;
    if args.libvirt && !args.pipeline.pipeline {
        return Err(Error::Invalid(
            "--libvirt needs --pipeline: libvirt gets converted disks".to_owned(),
        ));
    }
    if args.libvirt && !args.pipeline.stages.pipeline_convert {
        return Err(Error::Invalid(
            "--libvirt cannot go with --pipeline-convert=false: there would be no disk to define"
                .to_owned(),
        ));
    }
    Ok(Job {
        source: args.vsphere.resolve(environment)?,
        vm,
        output: args.output.clone(),
        manifest: args.manifest,
        power_off: args.power_off,
        conversion: args.pipeline.resolve(environment)?,
        target: args.libvirt.then(|| args.target.resolve()).transpose()?,
        dry_run: args.run.dry_run,
    })
}
