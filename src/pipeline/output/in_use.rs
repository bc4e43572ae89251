//! Files that domains of an output directory use in place. Such a file changes while its guest is
//! running, and no run may replace or remove it.

use std::path::{Path, PathBuf};

use super::super::job::real;
use super::super::stage::stage_error::{At, StageError};
use super::journal;
use super::records::{self, Record};
use crate::libvirt::{RegisteredVolume, Undo};
use crate::model::Stage;

/// Paths of the files with links resolved, each with its domain. libvirt names the files by the
/// path of the pool, and the user may reach the same folder by another path.
#[derive(Debug, Clone, Default)]
pub struct InUse(Vec<(PathBuf, String)>);

impl InUse {
    /// The files of the recorded runs in `output` that were not undone, and those of a killed run.
    ///
    /// # Errors
    /// [`StageError`] when the journal of that run cannot be read.
    pub fn of(records: &[Record], output: &Path) -> Result<Self, StageError> {
        let mut found = Vec::new();
        let mut add = |name: &str, volume: &RegisteredVolume| {
            if !volume.created {
                found.push((real(volume.path.as_ref()), name.to_owned()));
            }
        };
        for record in records.iter().filter(|record| record.may_use_disks()) {
            let Some(domain) = &record.report.domain else { continue };
            domain.volumes.iter().for_each(|volume| add(&domain.name, volume));
        }
        let pending = match journal::pending(output) {
            // A working run has locked the directory.
            Err(journal::Error::Busy(_)) => None,
            read => read.at(Stage::Preflight)?,
        };
        for step in pending.iter().flat_map(|pending| &pending.steps) {
            if let Undo::Defined { name, disks, .. } = step {
                disks.iter().for_each(|disk| add(name, &disk.volume));
            }
        }
        Ok(Self(found))
    }

    /// As [`Self::of`], with the records as they are now.
    ///
    /// # Errors
    /// [`StageError`] when the records or the journal cannot be read.
    pub fn read(output: &Path) -> Result<Self, StageError> {
        Self::of(&records::all(output)?, output)
    }

    /// Name of the domain that uses the file at `path`.
    pub fn by(&self, path: &Path) -> Option<&str> {
        let path = real(path);
        self.0.iter().find(|(used, _)| *used == path).map(|(_, domain)| domain.as_str())
    }

    /// Names of the used files that are in `output`.
    pub fn names(&self, output: &Path) -> Vec<String> {
        let output = real(output);
        let here = self.0.iter().filter(|(path, _)| path.parent() == Some(&output));
        let names = here.filter_map(|(path, _)| path.file_name());
        names.map(|name| name.to_string_lossy().into_owned()).collect()
    }

    /// Refuses to replace a file that a domain uses.
    ///
    /// # Errors
    /// [`StageError`] naming the file and the domain.
    pub fn refuse(&self, path: &Path, output: &Path) -> Result<(), StageError> {
        let Some(domain) = self.by(path) else { return Ok(()) };
        let text = format!("domain '{domain}' uses {} where it is", path.display());
        let hint =
            format!("run 'hyperexport undo {}' first, or use another --output", output.display());
        Err(StageError::because(Stage::Preflight, text, hint).coded("export-in-use"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_in_use_whatever_path_leads_to_it() {
        let dir = tempfile::tempdir().expect("a folder");
        let (pool, link) = (dir.path().join("pool"), dir.path().join("link"));
        std::fs::create_dir(&pool).expect("made");
        std::fs::write(pool.join("a.qcow2"), "a").expect("written");
        std::os::unix::fs::symlink(&pool, &link).expect("linked");
        let used = InUse(vec![(real(&pool.join("a.qcow2")), "vm".to_owned())]);
        assert_eq!(used.by(&link.join("a.qcow2")), Some("vm"));
        assert_eq!(used.by(&link.join("b.qcow2")), None);
        assert_eq!(used.names(&link), ["a.qcow2"]);
        let stopped = used.refuse(&link.join("a.qcow2"), &link).expect_err("in use");
        assert_eq!(stopped.failure.code, "export-in-use");
    }
}
