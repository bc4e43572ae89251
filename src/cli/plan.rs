//! `hyperexport plan` and `hyperexport apply`.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::FromArgMatches;

use super::args::{ApplyArgs, PlanArgs};
use super::render::{print_json, print_line};
use super::verbs::Request;
use super::{Exit, block_on, done, export, fail, open, tell_report};
use crate::model::chain;
use crate::pipeline::{self, PlanFile, PlanRequest};
use crate::settings::{Environment, Error, Given, LibvirtArgs};
use crate::state;

/// Largest plan read, in bytes.
const LARGEST_PLAN: u64 = 16 << 20;

/// Prints the plan of a VM's migration, or the plan of a converted export, which may go to a file.
///
/// # Errors
/// A usage error, or a plan that cannot be written.
pub fn plan(args: &PlanArgs, given: &Given, environment: &Environment) -> anyhow::Result<Exit> {
    if let Some(manifest) = manifest(args) {
        return of_export(args, &manifest, given, environment);
    }
    if args.plan.is_some() {
        let text =
            "--plan needs a converted export: --manifest FILE, or the output directory as PATH";
        return Err(Error::Invalid(text.to_owned()).into());
    }
    export::start(&Request::of_plan(args, environment)?, given, environment)
}

/// The manifest that is meant: an output directory stands for the one in it.
fn manifest(args: &PlanArgs) -> Option<PathBuf> {
    let of_word = || {
        let [word] = args.named.what.as_slice() else { return None };
        let path = Path::new(word);
        let inside = path.join(pipeline::MANIFEST);
        if inside.is_file() {
            return Some(inside);
        }
        let is_json = path.extension().is_some_and(|extension| extension == "json");
        (is_json && path.is_file()).then(|| path.to_owned())
    };
    args.manifest.clone().or_else(of_word)
}

fn of_export(
    args: &PlanArgs,
    manifest: &Path,
    given: &Given,
    environment: &Environment,
) -> anyhow::Result<Exit> {
    given.check()?;
    given.refuse_source()?;
    let target = given.complete(args.target.resolve()?, environment);
    let arguments = words()?;
    let directory = std::env::current_dir().context("finding the current folder")?;
    let asked = PlanRequest { arguments, directory };
    block_on(&args.output, |_, cancel| async move {
        let plan = match pipeline::draft(manifest, &target, asked, &cancel).await {
            Ok(plan) => plan,
            Err(failure) => {
                return Ok(fail(args.output.json, None, failure, Exit::Refused));
            }
        };
        let text = serde_json::to_string_pretty(&plan)?;
        if let Some(path) = &args.plan {
            write(path, &text).with_context(|| format!("writing {}", path.display()))?;
        }
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
    match &args.plan {
        Some(path) => {
            print_line(&format!("planned    do it: hyperexport apply {}", path.display()))
        }
        None => print_line("planned    --plan FILE writes the plan for hyperexport apply"),
    }
}

/// Does what a plan says.
///
/// # Errors
/// A plan that cannot be read, or a result that cannot be printed.
pub fn apply(args: &ApplyArgs, environment: &Environment) -> anyhow::Result<Exit> {
    let path = args.plan.display();
    let text = state::read_small(&args.plan, LARGEST_PLAN)
        .map_err(|error| Error::Invalid(format!("reading the plan: {}", chain(&error))))?;
    let plan: PlanFile = serde_json::from_slice(&text)
        .map_err(|error| Error::Invalid(format!("{path} is no plan: {error}")))?;
    // Relative paths among the words were meant from there.
    std::env::set_current_dir(&plan.directory).map_err(|error| {
        Error::Invalid(format!("entering {}: {error}", plan.directory.display()))
    })?;
    let (asked, given) = target(&plan.arguments)?;
    let target = given.complete(asked.resolve()?, environment);
    pipeline::check_uri_of_plan(&target).map_err(Error::from)?;
    block_on(&args.output, |renderer, cancel| async move {
        let report =
            pipeline::apply(&plan, args.dry_run, &target, &renderer.progress(), &cancel).await;
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
