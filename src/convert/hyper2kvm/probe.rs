//! Reads the version of an installed hyper2kvm and checks whether it can be imported. `--version`
//! is not enough: 0.2.1 prints 0.2.0, and fails with an import error when `rich` or `requests` is
//! missing. So the Python of its first line reads the package's metadata.

use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use crate::child::{self, Limits, Output, Program};
use crate::model::{Stage, Warning, WarningCode};

use super::super::tools::qemu_img::Tools;
use super::super::{Error, Settings};
use super::environment::python_environment;
use super::shebang;

/// The versions whose behaviour this program was written against.
const TRIED: [&str; 1] = ["0.2.1"];
/// Longest time that the probe may take; an import takes some 0.3 s.
const PATIENCE: Duration = Duration::from_secs(60);
/// Prints one line of JSON, whatever fails.
const QUESTION: &str = "
import importlib.metadata as metadata, importlib.util as util, json
answer = {'guestfs': util.find_spec('guestfs') is not None}
try:
    answer['version'] = metadata.version('hyper2kvm')
    import hyper2kvm.__main__
except BaseException as error:
    answer['error'] = type(error).__name__ + ': ' + str(error)
print('\\nhyper2kvm-probe ' + json.dumps(answer))
";
const ANSWER: &str = "hyper2kvm-probe ";

/// What the probe of an installed hyper2kvm returned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::convert) struct Installed {
    /// Name and version: `hyper2kvm 0.2.1`.
    pub(in crate::convert) name: String,
    /// A warning where the version is unknown or none of the tested ones.
    pub(in crate::convert) warnings: Vec<Warning>,
}

#[derive(Debug, Deserialize)]
struct ProbeAnswer {
    guestfs: bool,
    version: Option<String>,
    error: Option<String>,
}

/// Probes the program at `path`. A program that is no Python script has no known version.
///
/// # Errors
/// [`Error::NotImportable`], or [`Error::NoGuestfs`] when FIX is wanted; the errors of running it.
pub(in crate::convert) async fn ask(
    path: &Path,
    settings: &Settings,
    tools: &Tools,
) -> Result<Installed, Error> {
    let python = shebang::python(path).map_err(Error::io(format!("reading {}", path.display())))?;
    let Some(python) = python else {
        return Ok(installed(None));
    };
    let answer = run(&python, settings, tools).await?;
    let what = match &answer {
        Ok(ProbeAnswer { error: None, guestfs, version }) => {
            if settings.stages.fix && !guestfs {
                return Err(Error::NoGuestfs { path: path.to_owned() });
            }
            return Ok(installed(version.as_deref()));
        }
        Ok(ProbeAnswer { error: Some(error), .. }) => error.clone(),
        Err(last) => last.clone(),
    };
    Err(Error::NotImportable { path: path.to_owned(), what })
}

/// Runs the probe; the inner error is Python's last line when there was no answer.
async fn run(
    python: &[String],
    settings: &Settings,
    tools: &Tools,
) -> Result<Result<ProbeAnswer, String>, Error> {
    // In `/`, because Python searches the current directory for modules first.
    let program = Program::new(&python[0])
        .args(&python[1..])
        .args(["-c", QUESTION])
        .envs(python_environment(settings))
        .dir("/");
    let limits = Limits { timeout: Some(PATIENCE), cancel: tools.cancel.clone() };
    let (mut answer, mut last) = (None, String::new());
    let doing = "asking hyper2kvm for its version";
    child::run(program, &limits, |output, line| match output {
        Output::Stdout => {
            if let Some(json) = line.strip_prefix(ANSWER) {
                answer = serde_json::from_str(json).ok();
            }
        }
        Output::Stderr => last = line.to_owned(),
    })
    .await
    .map_err(|source| match source {
        child::Error::Cancelled { .. } => Error::Cancelled,
        source => Error::Child { doing: doing.to_owned(), source },
    })?;
    Ok(answer.ok_or(last))
}

fn installed(version: Option<&str>) -> Installed {
    let tried = version.is_some_and(|version| TRIED.contains(&version));
    let version = version.unwrap_or("of unknown version");
    let warning = || {
        let tried = TRIED.join(", ");
        let message =
            format!("hyper2kvm {version} has not been tried with hyperexport: {tried} has");
        Warning::new(Stage::Pipeline, WarningCode::Hyper2kvmUntriedVersion, message)
    };
    Installed {
        name: format!("hyper2kvm {version}"),
        warnings: if tried { Vec::new() } else { vec![warning()] },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_untried_version_is_a_warning() {
        assert!(installed(Some("0.2.1")).warnings.is_empty());
        let newer = installed(Some("0.3.0"));
        assert_eq!(newer.warnings[0].code, "hyper2kvm-untried-version");
        assert_eq!(newer.name, "hyper2kvm 0.3.0");
        assert_eq!(installed(None).warnings.len(), 1);
    }
}
