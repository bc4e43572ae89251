//! JSON Schemas of docs/schemas, which docs/formats.md explains. They are generated from the types
//! that the program writes, only in tests. `UPDATE_GOLDEN=1 cargo test --lib schemas` regenerates
//! them.
//!
//! These tests are inside the crate so that types used by no other program stay private. The
//! derives are `cfg(test)`, so that neither the program nor its build contains them.

use std::path::{Path, PathBuf};

use schemars::generate::SchemaSettings;
use schemars::transform::{RecursiveTransform, Transform};
use schemars::{JsonSchema, Schema, SchemaGenerator};

use crate::exporter::{Role, VmSummary};
use crate::manifest::Manifest;
use crate::pipeline::{
    Diagnosis, FailureReport, PlanFile, RecordedRun, RunReport, TakenBackRuns, Verified,
};
use crate::{cli, convert};

/// File name of a schema, what it describes, and its generator.
type Format = (&'static str, &'static str, fn(SchemaGenerator) -> Schema);

/// All formats that the program writes for other programs.
const FORMATS: &[Format] = &[
    ("doctor", "doctor --json", of::<Diagnosis>),
    ("failure", "--json of a failed command that is no run", of::<FailureReport>),
    ("info", "info --json", cli::info_schema),
    ("list", "list --json", of::<Vec<VmSummary>>),
    ("manifest", "manifest.json", of::<Manifest>),
    ("plan", "plan files, and plan --json of a converted export", of::<PlanFile>),
    ("report", "report.json", convert::report_schema),
    ("result", "result.json, the files of runs/, and --json of a run", of::<RunReport>),
    ("role", "role --json", of::<Role>),
    ("undo", "undo --json", of::<TakenBackRuns>),
    ("undo-list", "undo --list --json", of::<Vec<RecordedRun>>),
    ("verify", "verify --json", of::<Verified>),
];

fn of<T: JsonSchema>(generator: SchemaGenerator) -> Schema {
    generator.into_root_schema_for::<T>()
}

/// Folder of the schemas.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/schemas")
}

/// JSON text of a schema. It describes the current format, not the older ones that are also read.
fn text(format: &Format) -> String {
    let (_, title, generate) = format;
    let mut schema = generate(SchemaSettings::draft2020_12().for_serialize().into_generator());
    schema.insert("title".to_owned(), format!("hyperexport: {title}").into());
    RecursiveTransform(in_one_line).transform(&mut schema);
    let text = serde_json::to_string_pretty(&schema).expect("JSON");
    format!("{text}\n")
}

/// Removes line breaks and rustdoc links from descriptions, which are doc comments of the code.
fn in_one_line(schema: &mut Schema) {
    if let Some(description) = schema.get_mut("description")
        && let Some(text) = description.as_str()
    {
        *description = text.replace('\n', " ").replace("[`", "`").replace("`]", "`").into();
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn every_format_has_the_schema_of_its_type() {
        let update = std::env::var_os("UPDATE_GOLDEN").is_some();
        for format in FORMATS {
            let path = folder().join(format!("{}.json", format.0));
            let found = text(format);
            if update {
                fs::create_dir_all(folder()).expect("made");
                fs::write(&path, &found).expect("written");
            }
            let page = fs::read_to_string(&path).unwrap_or_default();
            let path = path.display();
            assert!(page == found, "{path} is old: UPDATE_GOLDEN=1 cargo test --lib schemas");
        }
    }

    #[test]
    fn no_schema_is_left_of_a_format_that_is_gone() {
        for entry in fs::read_dir(folder()).expect("UPDATE_GOLDEN=1 makes it") {
            let path = entry.expect("an entry").path();
            let name = path.file_stem().and_then(|name| name.to_str()).expect("UTF-8");
            assert!(FORMATS.iter().any(|(file, ..)| *file == name), "{} is left", path.display());
        }
    }
}
