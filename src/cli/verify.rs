//! `hyperexport verify --result FILE`: proves that the disks of a run hold what was exported.

use super::args::VerifyArgs;
use super::render::{print_json, print_line};
use super::{Exit, block_on, done, fail};
use crate::model::Stage;
use crate::pipeline::{self, Failure, Verified, VerifyError};

/// Runs the command.
///
/// # Errors
/// When no runtime can be started.
pub fn run(args: &VerifyArgs) -> anyhow::Result<Exit> {
    block_on(&args.output, |renderer, cancel| async move {
        let uri = args.libvirt_uri.as_deref();
        match pipeline::verify(&args.result, uri, &renderer.progress(), &cancel).await {
            Ok(verified) => {
                done(if args.output.json {
                    print_json(&verified)
                } else {
                    lines(&verified).iter().try_for_each(|line| print_line(line))
                });
                Ok(Exit::Done)
            }
            Err(error) => {
                let failure = Failure::of(Stage::Libvirt, &error);
                let exit = match error {
                    VerifyError::Cancelled => Exit::Interrupted,
                    error if error.is_difference() => Exit::Failed,
                    _ => Exit::Refused,
                };
                Ok(fail(args.output.json, None, failure, exit))
            }
        }
    })
}

fn lines(verified: &Verified) -> Vec<String> {
    let mut lines = Vec::new();
    for disk in &verified.disks {
        let but = match disk.changed_blocks {
            0 => String::new(),
            1 => " but for 1 block of 4 MiB that FIX changed".to_owned(),
            blocks => format!(" but for {blocks} blocks of 4 MiB that FIX changed"),
        };
        let place = disk.place.display();
        lines.push(format!("same  {} ({place}) is what was exported{but}", disk.id));
    }
    for file in verified.files.iter().flatten() {
        let change = match (file.before, file.after) {
            (None, _) => "added",
            (_, None) => "removed",
            _ => "changed",
        };
        lines.push(format!("FIX   {change} {}", file.path));
    }
    if verified.files.is_none() {
        lines.push("note  the files that FIX changed are not listed".to_owned());
    }
    lines
}
