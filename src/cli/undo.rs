//! `hyperexport undo --result FILE`: takes back what a run made in libvirt.

use super::args::UndoArgs;
use super::{Exit, block_on, chain, print_line, tell};
use crate::pipeline;

/// Runs the command.
///
/// # Errors
/// A result that cannot be printed.
pub fn run(args: &UndoArgs) -> anyhow::Result<Exit> {
    block_on(&args.output, |_, _| async move {
        let taken = match pipeline::undo(&args.result, args.dry_run).await {
            Ok(taken) => taken,
            Err(error) => {
                tell(&chain(&error), error.hint().as_deref());
                return Ok(Exit::Refused);
            }
        };
        let exit = if taken.left.is_empty() || args.dry_run { Exit::Done } else { Exit::Failed };
        if args.output.json {
            print_line(&serde_json::to_string_pretty(&taken)?)?;
            return Ok(exit);
        }
        let rest = if args.dry_run { "would go" } else { "stays" };
        for (what, things) in
            [("gone", &taken.done), ("was gone", &taken.gone), (rest, &taken.left)]
        {
            for thing in things {
                print_line(&format!("{what:<9} {thing}"))?;
            }
        }
        Ok(exit)
    })
}
