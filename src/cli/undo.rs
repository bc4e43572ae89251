//! `hyperexport undo DIR`: undoes what runs made in libvirt.

use super::args::UndoArgs;
use super::render::{print_json, print_line};
use super::{Exit, block_on, done, fail, warn_of_secrets};
use crate::model::Stage;
use crate::pipeline::{
    self, AtSource, Failure, RecordedRun, TakenBackRuns, UndoError, UndoOptions, UndoScope,
    WhichRuns,
};
use crate::settings::{DescribedArgs, Environment, Error};

/// Runs the command.
///
/// # Errors
/// A result that cannot be printed.
pub fn run(args: &UndoArgs, environment: &Environment) -> anyhow::Result<Exit> {
    let place = place(args);
    if args.list {
        return list(args, &place);
    }
    let source = at_source(args, environment)?;
    warn_of_secrets(&args.source);
    let (uri, even_if_used) = (args.libvirt_uri.clone(), args.even_if_used);
    let how = UndoOptions { uri, dry_run: args.dry_run, even_if_used };
    block_on(&args.output, |_, _| async move {
        let undone = match pipeline::undo(&place, &how, &source).await {
            Ok(undone) => undone,
            Err(error) => {
                return Ok(refused(&error, args.output.json));
            }
        };
        let exit =
            if undone.taken.left.is_empty() || args.dry_run { Exit::Done } else { Exit::Failed };
        done(if args.output.json {
            print_json(&undone)
        } else {
            lines(&undone).iter().try_for_each(|line| print_line(line))
        });
        Ok(exit)
    })
}

/// The source, if there is a login for it.
fn at_source(args: &UndoArgs, environment: &Environment) -> Result<AtSource, Error> {
    let given = !args.source.source.is_empty()
        || args.source.vsphere.url.is_some()
        || environment.govc_url.is_some();
    let resolve = || args.source.resolve(environment, None, &DescribedArgs::default());
    let settings = (given || args.power_on_source).then(resolve).transpose()?;
    Ok(AtSource { settings, power_on: args.power_on_source })
}

fn place(args: &UndoArgs) -> UndoScope {
    let which = match (&args.run, args.all) {
        (Some(run), _) => WhichRuns::Named(run.clone()),
        (None, true) => WhichRuns::All,
        (None, false) => WhichRuns::Newest,
    };
    match (&args.result, &args.output_dir) {
        (Some(file), _) => UndoScope::File(file.clone()),
        (None, path) => UndoScope::of(path.clone().unwrap_or_default(), which),
    }
}

fn lines(undone: &TakenBackRuns) -> Vec<String> {
    let taken = &undone.taken;
    let mut lines: Vec<_> =
        undone.runs.iter().map(|run| format!("run        {} ({})", run.run, domain(run))).collect();
    for (what, things) in [
        ("would go", &taken.would_go),
        ("would rename", &taken.would_rename),
        ("gone", &taken.done),
        ("renamed", &taken.renamed),
        ("already gone", &taken.gone),
        ("stays", &taken.left),
        ("note", &undone.notes),
    ] {
        lines.extend(things.iter().map(|thing| format!("{what:<9} {thing}")));
    }
    if undone.runs.is_empty() && lines.is_empty() {
        lines.push("nothing to do: all runs are undone".to_owned());
    }
    lines
}

fn list(args: &UndoArgs, place: &UndoScope) -> anyhow::Result<Exit> {
    let runs = match pipeline::runs(place) {
        Ok(runs) => runs,
        Err(error) => {
            return Ok(refused(&error, args.output.json));
        }
    };
    if args.output.json {
        print_json(&runs)?;
        return Ok(Exit::Done);
    }
    for run in runs {
        let undone = run.undone_at.map(|at| format!(", undone {at}")).unwrap_or_default();
        print_line(&format!("{}  {} at {}{undone}", run.run, domain(&run), run.uri))?;
    }
    Ok(Exit::Done)
}

fn refused(error: &UndoError, json: bool) -> Exit {
    fail(json, None, Failure::of(Stage::Libvirt, error), Exit::Refused)
}

/// Its domain, for people.
fn domain(run: &RecordedRun) -> &str {
    run.domain.as_deref().unwrap_or("no domain yet")
}
