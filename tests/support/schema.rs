//! Whether what the program writes for scripts has the form that docs/schemas describe.
//!
//! The schemas are open for their users, since later versions add fields. Here they are closed: a
//! field without a description is found.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;

use boon::{Compiler, SchemaIndex, Schemas};
use serde_json::Value;

thread_local! {
    /// The schemas that were needed so far, by their names.
    static COMPILED: RefCell<BTreeMap<&'static str, (Schemas, SchemaIndex)>> = RefCell::default();
}

/// Asserts that `json`, which the program printed, has the form of what its content shows it to be.
pub fn assert_printed(json: &Value) {
    if let Some(name) = format_of(json) {
        assert_valid(name, json);
        return;
    }
    assert!(!json.is_object() && !json.is_array(), "no schema describes {json:#}");
}

/// Asserts that `json`, the content of this file, has the form of what its name says it to be.
pub fn assert_file(path: &Path, json: &Value) {
    let is_in_runs = path.parent().is_some_and(|folder| folder.ends_with("runs"));
    match path.file_name().and_then(|name| name.to_str()) {
        _ if is_in_runs => assert_valid("result", json),
        Some("result.json") => assert_valid("result", json),
        Some("manifest.json") => assert_valid("manifest", json),
        // hyper2kvm's own has its form.
        Some("report.json") if !is_of_hyper2kvm(json) => assert_valid("report", json),
        _ if json["hyperexport_plan"].is_number() => assert_valid("plan", json),
        _ => {}
    }
}

fn is_of_hyper2kvm(report: &Value) -> bool {
    report["converter"].as_str().is_some_and(|converter| converter.starts_with("hyper2kvm"))
}

/// The name of the schema, by a field that no other format has.
fn format_of(json: &Value) -> Option<&'static str> {
    const MARKS: [(&str, &str); 9] = [
        // What `cat` shows.
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

/// Forbids fields that the schema does not name, where it does not say that there may be any.
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
