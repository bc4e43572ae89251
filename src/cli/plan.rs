//! `hyperexport plan` and `hyperexport apply`.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::Context;
use clap::FromArgMatches;

use super::args::{ApplyArgs, PlanArgs};
use super::render::{print_json, print_line};
use super::{Exit, block_on, chain, done, open, tell, tell_report};
use crate::pipeline::{self, PlanFile, PlanRequest};
use crate::settings::{Environment, Error, Given, LibvirtArgs};
use crate::state;

/// Largest plan read, in bytes.
const LARGEST_PLAN: u64 = 16 << 20;

/// Writes a plan.
///
/// # Errors
/// A command line that cannot be meant, or a plan that cannot be written.
pub fn plan(args: &PlanArgs, given: &Given, environment: &Environment) -> anyhow::Result<Exit> {
    given.check()?;
    let target = given.complete(args.target.resolve()?, environment);
    let arguments = words()?;
    let directory = std::env::current_dir().context("find the current folder")?;
    let asked = PlanRequest { arguments, directory };
    block_on(&args.output, |_, cancel| async move {
        let plan = match pipeline::draft(&args.manifest, &target, asked, &cancel).await {
            Ok(plan) => plan,
            Err(failure) => {
                tell(&format!("{}: {}", failure.stage, failure.message), failure.hint.as_deref());
                return Ok(Exit::Refused);
            }
        };
        let text = serde_json::to_string_pretty(&plan)?;
        write(&args.plan, &text).with_context(|| format!("write {}", args.plan.display()))?;
        done(if args.output.json { print_json(&plan) } else { print(&plan, args) });
        Ok(Exit::Done)
    })
}

/// What the plan does, for a person.
fn print(plan: &PlanFile, args: &PlanArgs) -> std::io::Result<()> {
    if args.output.quiet {
        return Ok(());
    }
    for warning in &plan.warnings {
        print_line(&format!("warning: {}", warning.message))?;
    }
    plan.steps.iter().try_for_each(|step| print_line(step))?;
    print_line(&format!("planned    do it: hyperexport apply {}", args.plan.display()))
}

/// Does what a plan says.
///
/// # Errors
/// A plan that cannot be read, or a result that cannot be printed.
pub fn apply(args: &ApplyArgs, environment: &Environment) -> anyhow::Result<Exit> {
    let path = args.plan.display();
    let text = state::read_small(&args.plan, LARGEST_PLAN)
        .map_err(|error| Error::Invalid(format!("read the plan: {}", chain(&error))))?;
    let plan: PlanFile = serde_json::from_slice(&text)
        .map_err(|error| Error::Invalid(format!("{path} is no plan: {error}")))?;
    // Relative paths among the words were meant from there.
    std::env::set_current_dir(&plan.directory)
        .map_err(|error| Error::Invalid(format!("enter {}: {error}", plan.directory.display())))?;
    let (asked, given) = target(&plan.arguments)?;
    let target = given.complete(asked.resolve()?, environment);
    pipeline::check_uri_of_plan(&target).map_err(Error::from)?;
    block_on(&args.output, |renderer, cancel| async move {
        let report = pipeline::apply(&plan, &target, &renderer.progress(), &cancel).await;
        open(&report, asked.after.open, environment);
        Ok(tell_report(&report, &args.output, true))
    })
}

/// The command line after `hyperexport plan`, for a file of text.
fn words() -> Result<Vec<String>, Error> {
    let word = |word: std::ffi::OsString| {
        let odd = |word| Error::Invalid(format!("{word:?} is no text, which a plan is made of"));
        word.into_string().map_err(odd)
    };
    std::env::args_os().skip(2).map(word).collect()
}

/// The flags about the target among the words that a plan was asked for with.
fn target(arguments: &[String]) -> Result<(LibvirtArgs, Given), Error> {
    let command = super::args::command();
    let broken = |error: clap::Error| Error::Invalid(format!("the plan's arguments: {error}"));
    let words = ["hyperexport", "plan"].into_iter().chain(arguments.iter().map(String::as_str));
    let parsed = command.clone().try_get_matches_from(words).map_err(broken)?;
    let plan = parsed.subcommand_matches("plan");
    let plan = plan.ok_or_else(|| Error::Invalid("the plan has no arguments".to_owned()))?;
    let args = LibvirtArgs::from_arg_matches(plan).map_err(broken)?;
    Ok((args, Given::of(&command, &parsed)))
}

/// Never over another file, and for nobody else: a plan tells much of the guest.
fn write(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
