//! `hyperexport define --manifest FILE`: the domain alone, from the files of an export.

use super::args::DefineArgs;
use super::{Exit, block_on, open, tell_report};
use crate::pipeline;
use crate::settings::{Environment, Given};

/// Runs the command.
///
/// # Errors
/// A command line that cannot be meant, or a result that cannot be printed.
pub fn run(args: &DefineArgs, given: &Given, environment: &Environment) -> anyhow::Result<Exit> {
    given.check()?;
    let target = given.complete(args.target.resolve()?, environment);
    block_on(&args.run.output, |renderer, cancel| async move {
        let progress = renderer.progress();
        let report =
            pipeline::define(&args.manifest, &target, args.run.dry_run, &progress, &cancel).await;
        open(&report, args.target.after.open, environment);
        Ok(tell_report(&report, &args.run.output, true))
    })
}
