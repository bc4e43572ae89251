//! Checks the hardware profiles in `vendor-xml/` and embeds them: the build fails, with file and
//! place, when one is not well-formed XML with the root `domain`.

use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs};

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

const DIRECTORY: &str = "vendor-xml";

fn main() {
    println!("cargo::rerun-if-changed={DIRECTORY}");
    if let Err(problem) = embed() {
        println!("cargo::error={problem}");
        std::process::exit(1);
    }
}

/// Writes `profiles.rs`: a table of profile name and text, in the order of the names.
fn embed() -> Result<(), String> {
    let read = |e: std::io::Error| format!("read {DIRECTORY}: {e}");
    let mut files = fs::read_dir(DIRECTORY)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>, _>>())
        .map_err(read)?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "xml"));
    files.sort();

    let mut table = String::from("/// The profiles of `vendor-xml/`, by name.\n");
    table.push_str("const PROFILES: &[(&str, &str)] = &[\n");
    for file in &files {
        let shown = file.display();
        let text = fs::read_to_string(file).map_err(|e| format!("read {shown}: {e}"))?;
        check(&text).map_err(|(line, problem)| format!("{shown}:{line}: {problem}"))?;
        let name = file.file_stem().unwrap_or_default().to_string_lossy();
        // Not by where the package is now: it may be moved before it is compiled again.
        let path = format!("/{shown}");
        writeln!(
            table,
            "    ({name:?}, include_str!(concat!(env!(\"CARGO_MANIFEST_DIR\"), {path:?}))),"
        )
        .map_err(|e| format!("write the table: {e}"))?;
    }
    table.push_str("];\n");
    let out = env::var_os("OUT_DIR").ok_or("cargo did not set OUT_DIR")?;
    fs::write(Path::new(&out).join("profiles.rs"), table).map_err(|e| format!("write table: {e}"))
}

/// Reads the whole text as XML. An error has its line, from 1.
fn check(text: &str) -> Result<(), (usize, String)> {
    let mut reader = Reader::from_str(text);
    let mut depth = 0_usize;
    let mut roots = 0;
    loop {
        let event = reader.read_event();
        let at = usize::try_from(reader.buffer_position().max(reader.error_position()))
            .unwrap_or(usize::MAX)
            .min(text.len());
        let line = text.as_bytes()[..at].iter().filter(|&&b| b == b'\n').count() + 1;
        let wrong = |problem: &str| Err((line, problem.to_owned()));
        match event.map_err(|e| (line, e.to_string()))? {
            Event::Start(element) => {
                roots += check_element(&element, depth).map_err(|e| (line, e))?;
                depth += 1;
            }
            Event::Empty(element) => {
                roots += check_element(&element, depth).map_err(|e| (line, e))?;
            }
            Event::End(_) => depth -= 1,
            Event::Text(text) if depth == 0 && !text.trim().is_empty() => {
                return wrong("text outside the root element");
            }
            Event::Eof if depth > 0 => return wrong("the file ends inside an element"),
            Event::Eof if roots != 1 => return wrong("there is not exactly one root element"),
            Event::Eof => return Ok(()),
            _ => {}
        }
    }
}

/// Checks the attributes, and at depth 0 the name; returns how many roots this element is.
fn check_element(element: &BytesStart<'_>, depth: usize) -> Result<usize, String> {
    for attribute in element.attributes() {
        attribute.map_err(|e| e.to_string())?;
    }
    let name = element.name();
    match (depth, name.as_ref()) {
        (0, "domain") => Ok(1),
        (0, other) => Err(format!("the root is '{other}', not 'domain'")),
        _ => Ok(0),
    }
}
