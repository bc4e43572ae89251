//! Records of the runs that defined a domain: one file for each run, never overwritten by a later
//! run, so that each run can be undone.
//!
//! ```text
//!   result.json            the newest run, whatever it did
//!   domain.xml             the domain of the newest run that defined one
//!   runs/<ID>.json, .xml   every run that defined a domain: its result, and the domain's XML
//! ```

use std::cmp::Reverse;
use std::path::{Path, PathBuf};
use std::{fs, io};

use super::super::stage::stage_error::StageError;
use super::report::{self, RunReport};
use super::result_file::{RECORDS, folder_of, read_result};
use super::save::save;
use crate::libvirt::DefinedDomain;
use crate::state::{self, Key, is_folder};

/// Purpose of the seals.
const SEALS: &str = "record";

/// Seals the undo steps of a domain that this run has defined. The seal proves to `undo` that a run
/// of this user on this machine wrote them.
///
/// # Errors
/// [`state::Error`] when the key cannot be read or created.
pub(in crate::pipeline) fn seal(domain: &DefinedDomain) -> Result<Option<String>, state::Error> {
    let key = Key::get()?;
    Ok(sealed(domain).map(|bytes| key.seal(SEALS, &bytes)))
}

/// Whether the undo steps of a domain have the seal of this user. False if there is no key.
pub(in crate::pipeline) fn is_sealed(domain: &DefinedDomain) -> bool {
    let (seal, key) = (domain.seal.as_ref(), Key::existing().ok().flatten());
    let parts = seal.zip(key).zip(sealed(domain));
    parts.is_some_and(|((seal, key), bytes)| key.holds(SEALS, &bytes, seal))
}

fn sealed(domain: &DefinedDomain) -> Option<Vec<u8>> {
    serde_json::to_vec(&(&domain.uri, &domain.uuid, &domain.undo)).ok()
}

/// Record of a run that defined a domain.
#[derive(Debug, Clone)]
pub(in crate::pipeline) struct Record {
    /// Name of the run.
    pub id: String,
    /// Path of the record: in `runs/`, or `result.json` of an earlier version.
    pub path: PathBuf,
    /// Report of the run.
    pub report: RunReport,
}

impl Record {
    /// The record that a report has, or would have.
    pub fn of(report: RunReport) -> Self {
        let id = report.run.clone().unwrap_or_else(|| name(report.started_at));
        Self { path: file(&report.output, &id), id, report }
    }

    /// Whether the run was completely undone.
    pub fn is_undone(&self) -> bool {
        self.report.undone.as_ref().is_some_and(|undone| undone.left.is_empty())
    }

    /// Whether the domain may use its disks: `undo` has not removed all objects of the run.
    pub fn may_use_disks(&self) -> bool {
        self.report.undone.as_ref().is_none_or(|undone| undone.left.len() > undone.shared)
    }

    /// Writes the record again, and `result.json` if it describes the same run.
    ///
    /// # Errors
    /// Errors of the file system.
    pub fn rewrite(&self, output: &Path) -> io::Result<()> {
        let text = serde_json::to_vec_pretty(&self.report)?;
        save(&self.path, &text)?;
        let result = output.join(report::FILE_NAME);
        let newest = read_result(&result).ok().flatten();
        if let Some(mut newest) = newest.filter(|newest| newest.run.as_ref() == Some(&self.id)) {
            newest.undone.clone_from(&self.report.undone);
            newest.source.clone_from(&self.report.source);
            save(&result, &serde_json::to_vec_pretty(&newest)?)?;
        }
        Ok(())
    }
}

/// Records of an output directory, the newest first.
///
/// # Errors
/// [`StageError`] when a record cannot be read.
pub(in crate::pipeline) fn all(output: &Path) -> Result<Vec<Record>, StageError> {
    let mut records = Vec::new();
    for path in files(&output.join(RECORDS)) {
        let id = stem(&path);
        if let Some(report) = read_result(&path)?.filter(|report| report.domain.is_some()) {
            records.push(Record { id, path, report });
        }
    }
    let result = output.join(report::FILE_NAME);
    if let Some(report) = read_result(&result)?
        && let Some(id) = unrecorded(&report)
    {
        records.push(Record { id, path: result, report });
    }
    records.sort_by_key(|record| Reverse((record.report.started_at, record.id.clone())));
    Ok(records)
}

/// The record name for a result that an earlier version left only in `result.json`.
fn unrecorded(report: &RunReport) -> Option<String> {
    let made = report.domain.as_ref().is_some_and(|domain| !domain.undo.is_empty());
    (made && report.run.is_none()).then(|| name(report.started_at))
}

/// Records the run of `report`, which has just defined a domain, under a new name.
///
/// # Errors
/// Errors of the file system.
pub(in crate::pipeline) fn begin(report: &mut RunReport) -> io::Result<()> {
    let recorded = record(report);
    if recorded.is_err() {
        // In this case, only `result.json` has the undo steps.
        report.run = None;
    }
    recorded
}

/// Creates the folder of the records, before a run creates anything else.
///
/// # Errors
/// Errors of the file system.
pub(in crate::pipeline) fn prepare(output: &Path) -> io::Result<()> {
    let folder = output.join(RECORDS);
    state::make_folder(&folder)
}

fn record(report: &mut RunReport) -> io::Result<()> {
    prepare(&report.output)?;
    keep_unrecorded(&report.output)?;
    let base = name(report.started_at);
    let numbered = (2_u32..).map(|number| format!("{base}-{number}"));
    let mut ids = std::iter::once(base.clone()).chain(numbered);
    let id = ids.find(|id| !file(&report.output, id).exists());
    report.run = id;
    write(report)
}

/// Writes the current report of a recorded run.
///
/// # Errors
/// Errors of the file system.
pub(in crate::pipeline) fn write(report: &RunReport) -> io::Result<()> {
    let Some(id) = &report.run else { return Ok(()) };
    save(&file(&report.output, id), &serde_json::to_vec_pretty(report)?)?;
    match &report.domain {
        Some(domain) => {
            save(&file(&report.output, id).with_extension("xml"), domain.xml.as_bytes())
        }
        None => Ok(()),
    }
}

/// Records that the domain of an earlier run was started.
///
/// # Errors
/// Errors of the file system.
pub(in crate::pipeline) fn started(report: &RunReport) -> io::Result<()> {
    let Some(id) = &report.run else { return Ok(()) };
    let path = file(&report.output, id);
    let Ok(Some(mut recorded)) = read_result(&path) else { return Ok(()) };
    recorded.domain.clone_from(&report.domain);
    recorded.source.clone_from(&report.source);
    save(&path, &serde_json::to_vec_pretty(&recorded)?)
}

/// Records changes to the source of an earlier run.
///
/// # Errors
/// Errors of the file system.
pub(in crate::pipeline) fn of_source(report: &RunReport) -> io::Result<()> {
    let Some(id) = &report.run else { return Ok(()) };
    let path = file(&report.output, id);
    let Ok(Some(mut recorded)) = read_result(&path) else { return Ok(()) };
    recorded.source.clone_from(&report.source);
    save(&path, &serde_json::to_vec_pretty(&recorded)?)
}

/// Moves the result of an earlier version, which is only in `result.json`, to a record of its own
/// before that file is replaced.
///
/// # Errors
/// Errors of the file system.
pub(in crate::pipeline) fn keep_unrecorded(output: &Path) -> io::Result<()> {
    let Ok(Some(mut earlier)) = read_result(&output.join(report::FILE_NAME)) else {
        return Ok(());
    };
    let Some(id) = unrecorded(&earlier) else { return Ok(()) };
    prepare(output)?;
    earlier.run = Some(id);
    // The folder may have been moved since.
    output.clone_into(&mut earlier.output);
    write(&earlier)
}

/// The output directory and the record to which a file belongs: `result.json`, or a file in
/// `runs/`.
///
/// # Errors
/// [`StageError`] when the file cannot be read.
pub(in crate::pipeline) fn of_file(path: &Path) -> Result<Option<(PathBuf, Record)>, StageError> {
    let Some(report) = read_result(path)? else { return Ok(None) };
    let output = folder_of(path);
    let id = report.run.clone().unwrap_or_else(|| name(report.started_at));
    let recorded = file(output, &id);
    // The record counts, since `undo` updates it.
    match read_result(&recorded)? {
        Some(report) => Ok(Some((output.to_owned(), Record { id, path: recorded, report }))),
        None => Ok(Some((output.to_owned(), Record { id, path: path.to_owned(), report }))),
    }
}

fn file(output: &Path, id: &str) -> PathBuf {
    output.join(RECORDS).join(format!("{id}.json"))
}

/// Record name of a start time: `20261126T062538Z`.
fn name(started_at: jiff::Timestamp) -> String {
    started_at.strftime("%Y%m%dT%H%M%SZ").to_string()
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    if !is_folder(folder) {
        return Vec::new();
    }
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let files = entries.map(|entry| entry.path());
    files.filter(|path| path.extension().is_some_and(|extension| extension == "json")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::libvirt::Undo;

    fn defined(output: &Path, name: &str) -> RunReport {
        let mut report = RunReport::begin("web01", output);
        report.domain = Some(DefinedDomain {
            uri: "qemu:///system".to_owned(),
            name: name.to_owned(),
            uuid: name.to_owned(),
            xml: format!("<domain>{name}</domain>"),
            autostart: false,
            pool: "default".to_owned(),
            volumes: Vec::new(),
            snapshot: None,
            boot_test: None,
            boot_proof: None,
            started: None,
            undo: vec![Undo::Undefine { name: name.to_owned(), uuid: name.to_owned(), mark: None }],
            seal: None,
            warnings: Vec::new(),
        });
        report
    }

    fn names(output: &Path) -> Vec<String> {
        let records = all(output).unwrap_or_else(|stopped| panic!("{}", stopped.failure.message));
        let domain = |record: Record| record.report.domain.map(|domain| domain.name);
        records.into_iter().filter_map(domain).collect()
    }

    #[test]
    fn runs_of_one_second_have_records_of_their_own() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut first = defined(dir.path(), "a");
        let mut second = RunReport { started_at: first.started_at, ..defined(dir.path(), "b") };
        begin(&mut first).expect("recorded");
        begin(&mut second).expect("recorded");
        assert_ne!(first.run, second.run);
        let mut found = names(dir.path());
        found.sort();
        assert_eq!(found, ["a", "b"]);
        let xml = dir.path().join(RECORDS).join(format!("{}.xml", first.run.expect("named")));
        assert_eq!(fs::read_to_string(xml).expect("there"), "<domain>a</domain>");
    }

    #[test]
    fn what_an_earlier_version_left_in_the_result_alone_is_kept() {
        let dir = tempfile::tempdir().expect("a folder");
        let result = dir.path().join(report::FILE_NAME);
        let old = serde_json::to_vec(&defined(dir.path(), "old")).expect("JSON");
        fs::write(&result, &old).expect("written");
        assert_eq!(names(dir.path()), ["old"]);
        let mut new = defined(dir.path(), "new");
        begin(&mut new).expect("recorded");
        fs::write(&result, serde_json::to_vec(&new).expect("JSON")).expect("written");
        assert_eq!(names(dir.path()), ["new", "old"]);
    }

    #[test]
    fn what_was_undone_stands_in_record_and_result() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut report = defined(dir.path(), "a");
        begin(&mut report).expect("recorded");
        let result = dir.path().join(report::FILE_NAME);
        fs::write(&result, serde_json::to_vec(&report).expect("JSON")).expect("written");
        let undone =
            super::super::made::Undone { at: report.started_at, left: Vec::new(), shared: 0 };
        let (_, mut record) = of_file(&result).unwrap_or_else(|_| panic!("readable")).expect("one");
        assert!(!record.is_undone());
        record.report.undone = Some(undone.clone());
        record.rewrite(dir.path()).expect("written");
        let now = read_result(&result).unwrap_or_else(|_| panic!("readable")).expect("there");
        assert_eq!(now.undone, Some(undone));
        assert!(all(dir.path()).unwrap_or_else(|_| panic!("readable"))[0].is_undone());
    }
}
