//! The list of the guest's files that FIX changed, with the SHA-256 of each before and after.
//! `fixed_files` fills it.

use std::collections::BTreeMap;

use crate::model::{FileChange, FixedFile, Sha256Digest, Stage, Warning, WarningCode};

/// The files that FIX changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::convert) struct FixList {
    pub(in crate::convert) files: Vec<FixedFile>,
    /// Names of steps that changed files without a list: programs, and copies of complete folders.
    pub(in crate::convert) unlisted: Vec<String>,
}

impl FixList {
    /// A list without files, with the program that changed files.
    pub(in crate::convert) fn by(program: &str) -> Self {
        Self { files: Vec::new(), unlisted: vec![program.to_owned()] }
    }

    /// Adds the changes of a later step.
    pub(super) fn add(&mut self, later: Self) {
        for file in later.files {
            match self.files.iter_mut().find(|known| known.path == file.path) {
                Some(known) => known.after = file.after,
                None => self.files.push(file),
            }
        }
        self.files.retain(|file| file.before != file.after);
        for file in &mut self.files {
            file.change = change(file.before, file.after);
        }
        self.unlisted.extend(later.unlisted);
    }

    /// A warning where the list does not name all files.
    pub(in crate::convert) fn warning(&self) -> Option<Warning> {
        let by = self.unlisted.join(", ");
        (!by.is_empty()).then(|| {
            let text = format!(
                "the list of files that FIX changed is not complete: {by} changed files, too; the \
                 changed blocks are all listed"
            );
            Warning::new(Stage::Pipeline, WarningCode::FixListNotKnown, text)
        })
    }
}

/// The files written since the list was last completed.
#[derive(Debug, Default)]
pub(super) struct WrittenFiles {
    /// Paths with the checksums before the change.
    pub(super) before: BTreeMap<String, Option<Sha256Digest>>,
    pub(super) list: FixList,
    /// Device of the file system at `/` where that is not the guest's root.
    pub(super) device: Option<String>,
}

impl WrittenFiles {
    /// Records that a program changed files without a list.
    pub(super) fn unlisted(&mut self, by: &str) {
        self.list.unlisted.push(by.to_owned());
    }

    /// Sets the device whose file system is at `/`, for the paths that follow.
    pub(super) fn within(&mut self, device: &str) {
        self.device = Some(device.to_owned());
    }
}

pub(super) fn change(before: Option<Sha256Digest>, after: Option<Sha256Digest>) -> FileChange {
    match (before, after) {
        (None, _) => FileChange::Added,
        (_, None) => FileChange::Removed,
        _ => FileChange::Changed,
    }
}
