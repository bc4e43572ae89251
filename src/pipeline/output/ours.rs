//! Decides which files of an output directory belong to hyperexport, besides the disks. A name
//! proves nothing: the user may have their own `report.json` or `domain.xml` there.

use std::path::Path;

use super::super::DOMAIN_XML;
use super::super::stage::stage_error::{At, StageError};
use super::output_lock::OutputDir;
use super::records::{self, Record};
use super::report::{self, RunReport};
use super::result_file::read_result;
use crate::convert;
use crate::model::Stage;

/// Names of the files in `output` that a conversion or the end of a run has written. The XML of a
/// domain is not included.
pub(in crate::pipeline) fn names(output: &Path, result: Option<&RunReport>) -> Vec<String> {
    let converted = result.is_some_and(has_converted);
    let is_log = |name: &&str| converted || convert::is_log(&output.join(name));
    let mut names: Vec<_> = convert::LOGS.into_iter().filter(is_log).collect();
    if converted {
        names.push(convert::REPORT);
    }
    if result.is_some() {
        names.push(report::FILE_NAME);
    }
    names.retain(|name| is_there(output, name));
    names.into_iter().map(str::to_owned).collect()
}

/// Name of the domain's XML, if a run of this directory has defined a domain.
pub(in crate::pipeline) fn domain_xml(
    result: Option<&RunReport>,
    records: &[Record],
) -> Option<String> {
    let defined = result.is_some_and(|result| result.domain.is_some());
    (defined || !records.is_empty()).then(|| DOMAIN_XML.to_owned())
}

/// Whether a run made the conversion that its result reports: `define` also reports disks that
/// another program may have converted.
pub(in crate::pipeline) fn has_converted(result: &RunReport) -> bool {
    // Earlier versions recorded only the converter.
    result.conversion.is_some() || result.converted.is_some() && result.converter.is_some()
}

/// Refuses to overwrite a file named in `needed` that is not in `ours`.
///
/// # Errors
/// [`StageError`] naming the first such file.
pub(in crate::pipeline) fn refuse_others(
    output: &Path,
    needed: &[String],
    ours: &[String],
) -> Result<(), StageError> {
    let stranger = needed.iter().find(|name| !ours.contains(name) && is_there(output, name));
    let Some(name) = stranger else { return Ok(()) };
    let text = format!("{} is in the way", output.join(name).display());
    let hint = "move it away, or use another --output";
    Err(StageError::because(Stage::Preflight, text, hint).coded("file-in-the-way"))
}

/// Refuses to overwrite a file named in `needed` that no run into `output` has written, killed runs
/// included.
///
/// # Errors
/// [`StageError`] naming the first such file.
pub(in crate::pipeline) fn refuse_strangers(
    output: &Path,
    needed: &[&str],
) -> Result<(), StageError> {
    let result = read_result(&output.join(report::FILE_NAME))?;
    let left = OutputDir::leftovers(output).at(Stage::Preflight)?;
    let domain = domain_xml(result.as_ref(), &records::all(output)?);
    let ours: Vec<_> =
        names(output, result.as_ref()).into_iter().chain(left).chain(domain).collect();
    let needed: Vec<_> = needed.iter().map(|name| (*name).to_owned()).collect();
    refuse_others(output, &needed, &ours)
}

pub(in crate::pipeline) fn is_there(output: &Path, name: &str) -> bool {
    output.join(name).symlink_metadata().is_ok()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::model::ConvertedDisks;

    #[test]
    fn files_of_the_user_under_names_of_ours_are_not_ours() {
        let dir = tempfile::tempdir().expect("a folder");
        let output = dir.path();
        for name in ["report.json", "convert.log", "hyper2kvm.log", "domain.xml"] {
            fs::write(output.join(name), "the user's").expect("written");
        }
        let mut result = RunReport::begin("web01", output);
        let text = serde_json::to_vec(&result).expect("JSON");
        fs::write(output.join("result.json"), text).expect("written");
        assert!(names(output, None).is_empty());
        assert_eq!(names(output, Some(&result)), ["result.json"]);
        // As `define` reports the disks of another converter.
        result.converted = Some(ConvertedDisks(Vec::new()));
        assert_eq!(names(output, Some(&result)), ["result.json"]);
        result.converter = Some("native".to_owned());
        let all = ["hyper2kvm.log", "convert.log", "report.json", "result.json"];
        assert_eq!(names(output, Some(&result)), all);
        assert_eq!(domain_xml(Some(&result), &[]), None);
        let refused = refuse_others(output, &["domain.xml".to_owned()], &[]);
        assert_eq!(refused.expect_err("in the way").failure.code, "file-in-the-way");
    }

    #[test]
    fn a_log_of_ours_shows_that_it_is() {
        let dir = tempfile::tempdir().expect("a folder");
        fs::write(dir.path().join("convert.log"), "--- 2026-11-26T05:12:30Z ---\n")
            .expect("written");
        assert_eq!(names(dir.path(), None), ["convert.log"]);
    }
}
