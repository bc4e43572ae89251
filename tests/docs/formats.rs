//! docs/formats.md: its tables of fields are generated from docs/schemas, and it names every
//! schema.

use std::fmt::Write as _;
use std::fs;

use serde_json::Value;

const PAGE: &str = "docs/formats.md";

fn schema(name: &str) -> Value {
    let text = fs::read(super::path(&format!("docs/schemas/{name}.json"))).expect("a schema");
    serde_json::from_slice(&text).expect("JSON")
}

/// A table row for each top-level field of a format.
fn table(schema: &Value) -> String {
    let mut table = "| field | present | what it is |\n|---|---|---|\n".to_owned();
    let required = schema["required"].as_array().expect("a list");
    for (name, field) in schema["properties"].as_object().expect("fields") {
        let present = if required.contains(&Value::from(name.as_str())) { "always" } else { "" };
        let text = field["description"].as_str().expect("a description").trim_end_matches('.');
        writeln!(table, "| `{name}` | {present} | {text} |").expect("to memory");
    }
    table
}

#[test]
fn the_tables_of_fields_are_those_of_the_schemas() {
    let mut page = fs::read_to_string(super::path(PAGE)).expect("a page");
    for name in ["result", "failure", "report", "plan"] {
        let begin = format!("<!-- fields of {name} -->\n");
        let (head, rest) = page.split_once(&begin).expect("where it begins");
        let (_, tail) = rest.split_once("<!-- end -->").expect("where it ends");
        page = format!("{head}{begin}{}<!-- end -->{tail}", table(&schema(name)));
    }
    super::assert_golden(PAGE, &page);
}

#[test]
fn the_page_names_every_schema() {
    let page = fs::read_to_string(super::path(PAGE)).expect("a page");
    for entry in fs::read_dir(super::path("docs/schemas")).expect("a folder") {
        let name = entry.expect("an entry").file_name().into_string().expect("UTF-8");
        assert!(page.contains(&format!("(schemas/{name})")), "{name} is missing");
    }
}
