//! Additional changes in the guest that the user asks for, made by virt-customize(1).

use std::ffi::OsString;
use std::path::PathBuf;

use crate::child::{self, Door, Output, Program};
use crate::convert::{ConversionRun, Customize, Error};
use crate::progress::Event;

use super::failure_reason::FailureReason;
use super::guestfs_environment::GuestfsEnvironment;

pub(in crate::convert) const PROGRAM: &str = "virt-customize";

/// Applies the user's changes and the `first_boot` scripts to the guest on `overlays`, qcow2
/// images. Returns whether there was anything to do.
///
/// # Errors
/// [`Error::Guestfs`] with the first error of virt-customize.
pub(super) async fn customize(
    run: &ConversionRun<'_>,
    overlays: &[PathBuf],
    first_boot: &[PathBuf],
    backend_settings: Option<&str>,
) -> Result<bool, Error> {
    let mut wishes = words(&run.settings.customize);
    for script in first_boot {
        wishes.extend(["--firstboot".into(), script.into()]);
    }
    if wishes.is_empty() {
        return Ok(false);
    }
    let mut program = Program::new(PROGRAM).args(["--no-network", "--format", "qcow2"]);
    for overlay in overlays {
        program = program.arg("-a").arg(overlay);
    }
    let program = program.args(wishes).environment(run, backend_settings, Door::None);
    let doing = "customizing the guest with virt-customize";
    let (mut reason, limits) = (FailureReason::default(), run.tools.limits());
    let status = child::run(program, &limits, |output, line| {
        if run.settings.stream_output {
            run.progress.send(Event::Output { program: PROGRAM, line: line.to_owned() });
        }
        if output == Output::Stderr {
            reason.read(line);
        }
    });
    match status.await.map_err(run.tools.child_error(doing))? {
        status if status.success() => Ok(true),
        _ => Err(Error::Guestfs { doing: doing.to_owned(), message: reason.into_message() }),
    }
}

fn words(wishes: &Customize) -> Vec<OsString> {
    let mut words: Vec<OsString> = Vec::new();
    if let Some(name) = &wishes.hostname {
        words.extend(["--hostname".into(), name.into()]);
    }
    for (user, key) in &wishes.ssh_keys {
        let mut injected = OsString::from(format!("{user}:file:"));
        injected.push(key);
        words.extend(["--ssh-inject".into(), injected]);
    }
    for script in &wishes.firstboot {
        words.extend(["--firstboot".into(), script.into()]);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wishes_are_in_its_own_words() {
        let wishes = Customize {
            hostname: Some("web01".to_owned()),
            ssh_keys: vec![("root".to_owned(), "/k.pub".into())],
            firstboot: vec!["/s.sh".into()],
        };
        let expected =
            ["--hostname", "web01", "--ssh-inject", "root:file:/k.pub", "--firstboot", "/s.sh"];
        assert_eq!(words(&wishes), expected);
        assert!(words(&Customize::default()).is_empty());
    }
}
