//! Writes journals like those of killed runs of this user.

use std::path::Path;

use hyperexport::libvirt::FileId;
use hyperexport::state::{Chain, Key};
use serde_json::{Value, json};

/// Writes the journal of a run by way of `uri` into `output`. The run has done the work of
/// `report`.
pub fn write(output: &Path, uri: &str, report: Option<&Value>, steps: &[Value]) {
    let found = output.metadata().expect("a folder");
    let place = json!({
        "path": output.canonicalize().expect("there"),
        "id": FileId::from(&found),
    });
    let mut head = json!({"uri": uri, "place": place});
    if let Some(report) = report {
        head["report"] = report.clone();
    }
    let mut chain = Chain::new(&Key::get().expect("a key"), "journal");
    let mut text = String::new();
    for line in std::iter::once(&head).chain(steps) {
        let line = line.to_string();
        let seal = chain.seal(line.as_bytes());
        text += &format!("{line}\t{seal}\n");
    }
    std::fs::write(output.join(".hyperexport-undo"), text).expect("written");
}
