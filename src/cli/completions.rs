//! `hyperexport completions SHELL`, and the answers to the shell's questions: the printed script
//! calls this program for every completion, so flags and verbs follow the command line.

use std::ffi::{OsStr, OsString};
use std::process::ExitCode;

use anyhow::Context;
use clap::Arg;
use clap::builder::ValueHint;
use clap_complete::engine::{ArgValueCandidates, ArgValueCompleter, CompletionCandidate};
use clap_complete::env::{Bash, CompleteEnv, EnvCompleter, Fish, Shells, Zsh};

use super::Exit;
use super::args::{CompletionsArgs, ShellArg};
use super::render::print_line;
use crate::pipeline::{self, ObjectKind};
use crate::settings::Environment;

/// Set by the scripts to the name of their shell; a variable of our own, since others may set
/// clap's `COMPLETE`.
const VARIABLE: &str = "HYPEREXPORT_COMPLETE";
const NAME: &str = "hyperexport";
const SHELLS: Shells<'static> = Shells(&[&Bash, &Fish, &Zsh]);
/// libvirt of a command line that names none.
const DEFAULT_URI: &str = "qemu:///system";
/// What a URI of libvirt begins with where `--source` has it.
const LIBVIRT_SOURCE: &str = "libvirt+";
/// zsh loads a file of `$fpath` as the body of the function that completes: the script defines that
/// function, so the first call has to be passed on.
const ZSH_AUTOLOAD: &str = "\
if [ \"$funcstack[1]\" = _hyperexport ]; then
    _clap_dynamic_completer_hyperexport \"$@\"
fi";

/// Prints the script of a shell.
///
/// # Errors
/// A script that cannot be printed.
pub fn run(args: &CompletionsArgs) -> anyhow::Result<Exit> {
    let shell: &dyn EnvCompleter = match args.shell {
        ShellArg::Bash => &Bash,
        ShellArg::Zsh => &Zsh,
        ShellArg::Fish => &Fish,
    };
    let mut script = Vec::new();
    shell
        .write_registration(VARIABLE, NAME, NAME, NAME, &mut script)
        .context("writing a script")?;
    let script = String::from_utf8(script).context("writing a script")?;
    let autoload = (args.shell == ShellArg::Zsh).then_some(ZSH_AUTOLOAD);
    script
        .lines()
        .chain(autoload.into_iter().flat_map(str::lines))
        .try_for_each(print_line)
        .context("printing the script")?;
    Ok(Exit::Done)
}

/// Answers a shell that completes a command line; `None` where no shell asks. Errors are silent,
/// since a person is typing.
pub fn answer() -> Option<ExitCode> {
    let folder = std::env::current_dir().ok();
    let answered = CompleteEnv::with_factory(command)
        .var(VARIABLE)
        .shells(SHELLS)
        .try_complete(std::env::args_os(), folder.as_deref());
    match answered {
        Ok(false) => None,
        Ok(true) => Some(ExitCode::SUCCESS),
        Err(_) => Some(ExitCode::FAILURE),
    }
}

/// The command line, with those values that only this machine knows.
fn command() -> clap::Command {
    let values = |command: clap::Command| command.mut_args(with_values);
    values(super::command()).mut_subcommands(values)
}

fn with_values(arg: Arg) -> Arg {
    match arg.get_id().as_str() {
        "libvirt_pool" => arg.add(ArgValueCandidates::new(|| target_names(ObjectKind::Pool))),
        "replace" => arg.add(ArgValueCandidates::new(|| target_names(ObjectKind::Domain))),
        "network_map" => arg.add(ArgValueCompleter::new(network_mappings)),
        "vm" => arg.add(ArgValueCandidates::new(source_domains)),
        "source" => arg.value_hint(ValueHint::AnyPath),
        _ => arg,
    }
}

/// Objects of the libvirt that `--libvirt-uri` names.
fn target_names(kind: ObjectKind) -> Vec<CompletionCandidate> {
    let uri = typed("--libvirt-uri").unwrap_or_else(|| DEFAULT_URI.to_owned());
    names(&uri, kind).into_iter().map(CompletionCandidate::new).collect()
}

/// Domains of a `--source libvirt+URI`. A vCenter is not asked: a login takes seconds.
fn source_domains() -> Vec<CompletionCandidate> {
    let source = typed("--source").unwrap_or_default();
    let Some(uri) = source.strip_prefix(LIBVIRT_SOURCE) else { return Vec::new() };
    names(uri, ObjectKind::Domain).into_iter().map(CompletionCandidate::new).collect()
}

/// Targets behind the `=` of a `SOURCE=TARGET`.
fn network_mappings(current: &OsStr) -> Vec<CompletionCandidate> {
    let Some((source, target)) = current.to_str().and_then(|text| text.split_once('=')) else {
        return Vec::new();
    };
    let kinds = ["bridge:", "ovs:", "network:", "user", "none"].map(str::to_owned);
    let mut targets = Vec::from(kinds);
    if target.starts_with("network:") {
        let uri = typed("--libvirt-uri").unwrap_or_else(|| DEFAULT_URI.to_owned());
        let networks = names(&uri, ObjectKind::Network);
        targets = networks.iter().map(|name| format!("network:{name}")).collect();
    }
    targets.retain(|word| word.starts_with(target));
    targets.iter().map(|word| CompletionCandidate::new(format!("{source}={word}"))).collect()
}

/// Asks libvirt. The environment is read first, since that removes secrets from what libvirt's own
/// children inherit.
fn names(uri: &str, kind: ObjectKind) -> Vec<String> {
    Environment::read();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let Ok(runtime) = runtime else { return Vec::new() };
    let names = runtime.block_on(pipeline::object_names(uri, kind));
    runtime.shutdown_background();
    names
}

/// The value of `flag` on the command line that is being completed.
fn typed(flag: &str) -> Option<String> {
    value_of(flag, std::env::args_os())
}

fn value_of(flag: &str, words: impl Iterator<Item = OsString>) -> Option<String> {
    let words: Vec<_> = words.filter_map(|word| word.into_string().ok()).collect();
    let at = words.iter().rposition(|word| {
        word.strip_prefix(flag).is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
    })?;
    match words[at].split_once('=') {
        Some((_, value)) => Some(value.to_owned()),
        // bash makes a word of its own of the `=`.
        None => words[at + 1..].iter().find(|word| *word != "=").cloned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_uri_is_read_in_every_spelling_that_shells_pass_on() {
        let value = |line: &str| value_of("--libvirt-uri", line.split(' ').map(OsString::from));
        let uri = Some("qemu:///session".to_owned());
        assert_eq!(value("define --libvirt-uri qemu:///session --libvirt-pool"), uri);
        assert_eq!(value("define --libvirt-uri=qemu:///session --libvirt-pool"), uri);
        assert_eq!(value("define --libvirt-uri = qemu:///session --libvirt-pool"), uri);
        assert_eq!(value("define --libvirt-uri-x a --libvirt-pool"), None);
        assert_eq!(value("define --libvirt-uri"), None);
    }

    #[test]
    fn kinds_of_networks_are_offered_behind_the_source() {
        let offered = |current: &str| -> Vec<String> {
            let all = network_mappings(OsStr::new(current));
            all.iter().map(|one| one.get_value().to_string_lossy().into_owned()).collect()
        };
        assert_eq!(offered("VM Network=n"), ["VM Network=network:", "VM Network=none"]);
        assert_eq!(offered("VM Network"), Vec::<String>::new());
    }
}
