//! `hyperexport doctor`: what a migration would miss here, and what to do about it.

use super::args::DoctorArgs;
use super::render::{print_json, print_line};
use super::{Exit, block_on, warn_of_secrets};
use crate::model::{Check, Health};
use crate::pipeline;
use crate::settings::{Environment, Given};

/// Runs the command.
///
/// # Errors
/// A command line that cannot be meant, or a result that cannot be printed.
pub fn run(args: &DoctorArgs, given: &Given, environment: &Environment) -> anyhow::Result<Exit> {
    let what = args.examined.resolve(given, environment)?;
    warn_of_secrets(&args.examined.source);
    block_on(&args.output, |renderer, cancel| async move {
        renderer.progress().note("checking; libguestfs takes a while if KVM is missing");
        let (source, conversion) = (what.source.as_ref(), &what.conversion);
        let examined = pipeline::examine(&what.libvirt, &what.asked, conversion, source, &cancel);
        let diagnosis = examined.await;
        if cancel.is_cancelled() {
            return Ok(Exit::Interrupted);
        }
        if args.output.json {
            print_json(&diagnosis)?;
        } else {
            diagnosis.checks.iter().flat_map(lines).try_for_each(|line| print_line(&line))?;
        }
        Ok(if diagnosis.ok { Exit::Done } else { Exit::Failed })
    })
}

fn lines(check: &Check) -> Vec<String> {
    let mark = match check.health {
        Health::Ok => "ok",
        Health::Note => "note",
        Health::Warning => "warn",
        Health::Failed => "FAIL",
    };
    let about = check.about.as_ref().map(|about| format!("{about}: ")).unwrap_or_default();
    let first = format!("{mark:<4}  {:<12}  {about}{}", check.name, check.found);
    let remedy = check.remedy.as_ref().filter(|remedy| !remedy.is_empty());
    std::iter::once(first).chain(remedy.map(|remedy| format!("{:20}→ {remedy}", ""))).collect()
}
