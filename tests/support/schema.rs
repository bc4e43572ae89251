//! Checks the program's output for scripts against docs/schemas.
//!
//! The published schemas allow unknown fields, since later versions add some. Here unknown fields
//! are forbidden, so that an undocumented field is found.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;

use boon::{Compiler, SchemaIndex, Schemas};
use serde_json::Value;

thread_local! {
    /// Schemas used so far, by their names.
    static COMPILED: RefCell<BTreeMap<&'static str, (Schemas, SchemaIndex)>> = RefCell::default();
}

/// Asserts that `json`, which the program printed, matches the schema that its fields select.
pub fn assert_printed(json: &Value) {
    if let Some(name) = format_of(json) {
        assert_valid(name, json);
        return;
    }
    assert!(!json.is_object() && !json.is_array(), "no schema describes {json:#}");
}

/// Asserts that `json`, the content of a file, matches the schema that the file's name selects.
pub fn assert_file(path: &Path, json: &Value) {
    let is_in_runs = path.parent().is_some_and(|folder| folder.ends_with("runs"));
    match path.file_name().and_then(|name| name.to_str()) {
        _ if is_in_runs => assert_valid("result", json),
        Some("result.json") => assert_valid("result", json),
        Some("manifest.json") => assert_valid("manifest", json),
        // A report of hyper2kvm has another form.
        Some("report.json") if !is_of_hyper2kvm(json) => assert_valid("report", json),
        _ if json["hyperexport_plan"].is_number() => assert_valid("plan", json),
        _ => {}
    }
}

fn is_of_hyper2kvm(report: &Value) -> bool {
    report["converter"].as_str().is_some_and(|converter| converter.starts_with("hyper2kvm"))
}

/// Name of the schema, by a field that no other format has.
fn format_of(json: &Value) -> Option<&'static str> {
    const MARKS: [(&str, &str); 9] = [
        // Output of `cat`.
        ("manifest_version", "manifest"),
        ("hyperexport_plan", "plan"),
        ("stages", "result"),
        ("errors", "failure"),
        ("checks", "doctor"),
        ("obstacles", "info"),
        ("privileges", "role"),
        ("runs", "undo"),
        ("disks", "verify"),
    ];
    if let Some(list) = json.as_array() {
        let is_of_runs = list.iter().all(|entry| entry["run"].is_string());
        return Some(if is_of_runs && !list.is_empty() { "undo-list" } else { "list" });
    }
    MARKS.iter().find(|(mark, _)| json.get(mark).is_some()).map(|(_, name)| *name)
}

fn assert_valid(name: &'static str, json: &Value) {
    COMPILED.with_borrow_mut(|compiled| {
        let (schemas, index) = compiled.entry(name).or_insert_with(|| compile(name));
        if let Err(error) = schemas.validate(json, *index) {
            panic!("not as docs/schemas/{name}.json says: {error}\n{json:#}");
        }
    });
}

fn compile(name: &str) -> (Schemas, SchemaIndex) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("docs/schemas/{name}.json"));
    let text = std::fs::read(&path).expect("UPDATE_GOLDEN=1 cargo test --lib schemas makes it");
    let mut schema = serde_json::from_slice(&text).expect("JSON");
    close(&mut schema);
    let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
    let url = format!("https://hyperexport.invalid/{name}.json");
    compiler.add_resource(&url, schema).expect("a URL");
    let index = compiler.compile(&url, &mut schemas).expect("a schema");
    (schemas, index)
}

/// Forbids fields that the schema does not name, unless the schema allows them explicitly.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            fields.values_mut().for_each(close);
            if fields.get("properties").is_some_and(Value::is_object) {
                fields.entry("additionalProperties").or_insert(Value::Bool(false));
            }
        }
        Value::Array(list) => list.iter_mut().for_each(close),
        _ => {}
    }
}
