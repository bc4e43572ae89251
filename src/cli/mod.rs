//! The command line: parses, prints and exits. The only room that prints, and the only one that
//! listens to signals.

mod args;
mod completions;
mod convert;
mod define;
mod doctor;
mod exit;
mod export;
mod info;
mod limit_file;
mod list;
mod man;
mod plan;
mod progress;
mod rate;
mod render;
mod role;
mod screen;
mod signals;
mod source_query;
mod undo;
mod verbs;
mod verify;

pub use args::command;
#[cfg(test)]
pub(crate) use info::schema as info_schema;

use std::borrow::Cow;
use std::future::Future;
use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::Sender;

use clap::FromArgMatches;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use tokio_util::sync::CancellationToken;

use crate::model::{Stage, quoted, shown};
use crate::panics;
use crate::pipeline::{self, Failure, FailureReport, RunOutcome, RunReport};
use crate::settings::{self, Environment, Given, SourceArgs};
use crate::state;
use args::{Cli, Command, OutputArgs};
use exit::Exit;
use progress::{Loudness, Renderer};
use render::{Log, eprint_line, print_json, print_line};

/// Parses the command line, does what it says, and returns the exit code.
pub fn main() -> ExitCode {
    if let Some(answered) = completions::answer() {
        return answered;
    }
    let parsed = command().try_get_matches().and_then(|matches| {
        Ok((Cli::from_arg_matches(&matches)?, Given::of(&command(), &matches)))
    });
    let (cli, given) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => return usage_or_help(&error),
    };
    let environment = Environment::read();
    state::begin(environment.surroundings.clone());
    environment.panic_at.as_deref().into_iter().for_each(panics::want);
    pipeline::harden(&environment.path);
    let exit = match cli.command {
        None => export::run(&cli.export, &given, &environment),
        Some(Command::Migrate(args)) => export::migrate(&args, &given, &environment),
        Some(Command::Export(args)) => export::export(&args, &given, &environment),
        Some(Command::List(args)) => list::run(&args, &environment),
        Some(Command::Info(args)) => info::run(&args, &environment),
        Some(Command::Convert(args)) => convert::run(&args, &given, &environment),
        Some(Command::Define(args)) => define::run(&args, &given, &environment),
        Some(Command::Doctor(args)) => doctor::run(&args, &given, &environment),
        Some(Command::Undo(args)) => undo::run(&args, &environment),
        Some(Command::Role(args)) => role::run(&args),
        Some(Command::Verify(args)) => verify::run(&args),
        Some(Command::Completions(args)) => completions::run(&args),
        Some(Command::Man(args)) => man::run(&args),
        Some(Command::Plan(args)) => plan::plan(&args, &given, &environment),
        Some(Command::Apply(args)) => plan::apply(&args, &environment),
    };
    let exit = exit.unwrap_or_else(|error| tell_error(&error, given.is_on("json")));
    // Whatever else came of it: nobody may believe the result of a run that broke.
    if panics::happened() { Exit::Failed.into() } else { exit.into() }
}

/// `--help` and `--version` are no errors, but clap returns them as such.
fn usage_or_help(error: &clap::Error) -> ExitCode {
    let text = error.render().to_string();
    match shown::text(&text) {
        // clap's own way has colours, where a terminal takes them.
        Cow::Borrowed(_) => {
            if let Err(failed) = error.print() {
                tracing::trace!(%failed, "printing usage");
            }
        }
        Cow::Owned(safe) => safe.lines().for_each(eprint_line),
    }
    if let Some(hint) = usage_hint(error) {
        eprint_line(&format!("hint: {hint}"));
    }
    if error.use_stderr() { Exit::Usage.into() } else { Exit::Done.into() }
}

/// What to type instead of a word of other programs, or of a VM or file without a verb.
fn usage_hint(error: &clap::Error) -> Option<String> {
    let value = |kind| match error.get(kind) {
        Some(ContextValue::String(value)) => Some(value.as_str()),
        _ => None,
    };
    match error.kind() {
        ErrorKind::UnknownArgument => {
            let flag = value(ContextKind::InvalidArg)?;
            Some(match flag {
                "-k" => "pass --thumbprint HEX to trust one certificate, or --insecure to trust any".to_owned(),
                "-u" => "pass --url URL for the vCenter, and --username NAME for the user".to_owned(),
                "--password" | "-p" => {
                    "pass --password-file FILE, or set GOVC_PASSWORD: other users can read a command line"
                        .to_owned()
                }
                "--disk" => "run hyperexport migrate PATH, or pass --source PATH".to_owned(),
                _ => return None,
            })
        }
        ErrorKind::InvalidSubcommand => {
            let word = value(ContextKind::InvalidSubcommand)?;
            Some(format!("run hyperexport migrate {} to migrate a VM or file", quoted(word)))
        }
        _ => None,
    }
}

/// An error that is not part of a run's report: a command line that parses but cannot be meant, or
/// a result that cannot be printed.
fn tell_error(error: &anyhow::Error, json: bool) -> Exit {
    let Some(usage) = error.downcast_ref::<settings::Error>() else {
        let failure = Failure::new(Stage::Preflight, error.as_ref(), None);
        return fail(json, None, failure, Exit::Failed);
    };
    let failure = Failure::of(Stage::Preflight, usage);
    fail(json, None, failure, Exit::Usage)
}

/// Reports the failure of a command that is no run: the error and its hint, and with `json` the
/// same as a report.
fn fail(json: bool, vm: Option<&str>, failure: Failure, exit: Exit) -> Exit {
    tell(&failure.message, failure.hint.as_deref());
    if json {
        let outcome = match exit {
            Exit::Usage | Exit::Refused => RunOutcome::Refused,
            Exit::Interrupted => RunOutcome::Interrupted,
            Exit::Done | Exit::Failed | Exit::LaterStage => RunOutcome::Failed,
        };
        done(print_json(&FailureReport::new(outcome, vm, failure)));
    }
    exit
}

/// Warns of a secret that others can read, for commands that are no run.
fn warn_of_secrets(source: &SourceArgs) {
    if let Some(warning) = source.vsphere.warnings() {
        eprint_line(&format!("warning: {}", warning.message));
    }
}

/// A mistake in this program, which ends the run.
fn tell_panic(line: &str) {
    eprint_line(&format!("bug in hyperexport, cleaning up: {line}"));
}

/// An error and what to type next.
fn tell(message: &str, hint: Option<&str>) {
    eprint_line(&format!("error: {message}"));
    if let Some(hint) = hint {
        eprint_line(&format!("hint: {hint}"));
    }
}

/// Runs `work` on a runtime, with a renderer for its progress and a token that the first signal
/// that ends a program cancels. The second one exits at once.
fn block_on<F>(
    output: &OutputArgs,
    work: impl FnOnce(Arc<Renderer>, CancellationToken) -> F,
) -> anyhow::Result<Exit>
where
    F: Future<Output = anyhow::Result<Exit>>,
{
    block_on_rereading(None, output, work)
}

/// The same where signals may also ask, through `rereads`, for a file to be read again.
fn block_on_rereading<F>(
    rereads: Option<Sender<()>>,
    output: &OutputArgs,
    work: impl FnOnce(Arc<Renderer>, CancellationToken) -> F,
) -> anyhow::Result<Exit>
where
    F: Future<Output = anyhow::Result<Exit>>,
{
    listen_to_tracing(output);
    let loudness = if output.quiet { Loudness::Quiet } else { Loudness::Normal };
    let renderer = Renderer::start(loudness);
    let cancel = CancellationToken::new();
    signals::listen(cancel.clone(), rereads);
    // One thread carries all that waits: it takes in some 2 GB of TLS a second, more than a host
    // sends. What computes or blocks has threads of its own, and a second thread here would cost a
    // fifth of a download's CPU for passing chunks to and fro.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("the system has threads for a runtime");
    let end = runtime.block_on(async {
        panics::cancel_on_panic(&cancel, tell_panic);
        panics::caught(work(renderer, cancel)).await
    });
    // Without this a call that a hanging libvirtd never answers would keep the program.
    runtime.shutdown_background();
    end
}

fn listen_to_tracing(output: &OutputArgs) {
    let level = match (output.quiet, output.verbose) {
        (true, _) => "error",
        (false, 0) => "warn",
        (false, 1) => "hyperexport=info,warn",
        (false, 2) => "hyperexport=debug,info",
        (false, _) => "hyperexport=trace,debug",
    };
    let set = tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::new(level))
        .with_writer(|| Log)
        .log_internal_errors(false)
        .with_ansi(false)
        .with_target(false)
        .try_init();
    if let Err(error) = set {
        eprint_line(&format!("warning: {error}"));
    }
}

/// Shows the console of the run's domain, or says how to.
fn open(report: &RunReport, asked: bool, environment: &Environment) {
    let Some(domain) = report.domain.as_ref().filter(|_| asked) else { return };
    let Environment { path, session, display, .. } = environment;
    if let Err(command) = pipeline::show(domain, path, session, *display) {
        eprint_line(&format!("to see its console: {command}"));
    }
}

/// Prints the result of a run: one JSON object, or its errors and a summary for a person.
fn tell_report(report: &RunReport, output: &OutputArgs, strict: bool) -> Exit {
    for error in &report.errors {
        let of = if report.vm.is_empty() { String::new() } else { format!(" {}", report.vm) };
        let message = format!("{}{of}: {}", error.stage, error.message);
        tell(&message, error.hint.as_deref());
    }
    done(if output.json {
        print_json(report)
    } else if output.quiet {
        Ok(())
    } else {
        report.summary(strict).iter().try_for_each(|line| print_line(line))
    });
    Exit::of(report.outcome, strict)
}

/// What was done is done, whether or not its result could be printed.
fn done(printed: io::Result<()>) {
    if let Err(error) = printed {
        eprint_line(&format!("warning: printing the result: {error}"));
    }
}
