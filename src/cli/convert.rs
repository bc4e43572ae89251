//! `hyperexport convert --manifest FILE`: the conversion alone, from the files of an export.

use super::args::ConvertArgs;
use super::{Exit, block_on, tell_report};
use crate::pipeline;
use crate::settings::{Environment, Given};

/// Runs the command.
///
/// # Errors
/// A command line that cannot be meant, or a result that cannot be printed.
pub fn run(args: &ConvertArgs, given: &Given, environment: &Environment) -> anyhow::Result<Exit> {
    given.check()?;
    let mut conversion = args.stages.resolve(environment)?;
    conversion.dry_run |= args.run.dry_run;
    block_on(&args.run.output, |renderer, cancel| async move {
        let progress = renderer.progress();
        let asked = given.conversion();
        let converted = pipeline::convert(&args.manifest, &conversion, asked, &progress, &cancel);
        let report = converted.await;
        Ok(tell_report(&report, &args.run.output, true))
    })
}
