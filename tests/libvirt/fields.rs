//! Every element and attribute that the XML types of `src/libvirt/xml` can write occurs in a golden
//! file. Otherwise no test would cover it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Files whose types write domains.
const FILES: [&str; 4] = ["domain.rs", "devices.rs", "features.rs", "metadata.rs"];

/// Fields that no golden file contains, each with the reason.
const UNSEEN: [(&str, &str); 3] = [
    (
        "<hyperexport:hyperexport definition>",
        "it differs in each definition, and tests/libvirt/hardware.rs has it",
    ),
    (
        "<nvram> in <os>",
        "it is named beside a predecessor only, which tests/libvirt/heavy/after.rs has",
    ),
    ("<transient> in <disk>", "it is of a boot test only, which tests/libvirt/heavy/after.rs has"),
];

/// XML form of a field.
#[derive(Debug, PartialEq)]
enum Written {
    Attribute(String),
    Element(String),
}

/// A field of a type: its element, and its XML form.
#[derive(Debug, PartialEq)]
struct Field {
    of: Option<String>,
    written: Written,
}

fn golden_texts() -> Vec<String> {
    let mut folders = vec![root().join("tests/golden")];
    let mut texts = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            match path.is_dir() {
                true => folders.push(path),
                false => texts.push(fs::read_to_string(path).expect("readable")),
            }
        }
    }
    texts
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// Text between the first `from` and the next `to`.
fn between<'a>(text: &'a str, from: &str, to: &str) -> Option<&'a str> {
    text.split_once(from)?.1.split_once(to).map(|(inner, _)| inner)
}

/// Fields of the types in a source file. A type's element comes first in its doc comment.
fn fields(source: &str) -> Vec<Field> {
    let mut fields = Vec::new();
    let (mut of, mut rename, mut inside) = (None, None, None);
    for line in source.lines().map(str::trim) {
        if let Some(comment) = line.strip_prefix("/// ").filter(|_| inside.is_none()) {
            let named = comment.strip_prefix("`<").and_then(|rest| rest.split_once([' ', '>']));
            of = named.map(|(name, _)| name.to_owned()).or(of);
        } else if line.starts_with("pub struct ") || line.starts_with("pub enum ") {
            inside = Some(line.starts_with("pub enum "));
        } else if line == "}" {
            (of, rename, inside) = (None, None, None);
        } else if line.starts_with("#[serde(") && inside.is_some() {
            rename = between(line, "rename = \"", "\"").map(str::to_owned).or(rename);
        } else if let Some(is_enum) = inside {
            let name = match is_enum {
                true => line.split_once('(').map(|(variant, _)| snake(variant)),
                false => line
                    .strip_prefix("pub ")
                    .and_then(|f| f.split_once(':'))
                    .map(|f| f.0.to_owned()),
            };
            let Some(name) = name else { continue };
            let written = match rename.take().unwrap_or(name) {
                text if text.starts_with('$') => continue,
                text => match text.strip_prefix('@') {
                    Some(attribute) => Written::Attribute(attribute.to_owned()),
                    None => Written::Element(text.replace("suspend_to_", "suspend-to-")),
                },
            };
            fields.push(Field { of: of.clone(), written });
        }
    }
    fields
}

/// Name of a variant such as `EmsrBitmap` as the serializer writes it.
fn snake(variant: &str) -> String {
    let mut name = String::new();
    for c in variant.chars() {
        if c.is_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.extend(c.to_lowercase());
    }
    name
}

/// Whether the field occurs in the text.
fn stands_in(field: &Field, text: &str) -> bool {
    let tags = text.split('<').map(|rest| rest.split('>').next().unwrap_or_default());
    let name = |tag: &str| tag.split([' ', '/']).next().unwrap_or_default().to_owned();
    tags.into_iter().any(|tag| match &field.written {
        Written::Element(element) => name(tag) == *element,
        Written::Attribute(attribute) => {
            field.of.as_ref().is_none_or(|of| name(tag) == *of)
                && tag.contains(&format!(" {attribute}=\""))
        }
    })
}

#[test]
fn every_field_stands_in_a_golden_or_has_a_reason() {
    let goldens = golden_texts();
    let mut unseen = BTreeSet::new();
    for file in FILES {
        let source = fs::read_to_string(root().join("src/libvirt/xml").join(file)).expect("there");
        let fields = fields(&source);
        assert!(fields.len() > 5, "{file} is not understood");
        for field in fields {
            if !goldens.iter().any(|golden| stands_in(&field, golden)) {
                let of = field.of.clone().unwrap_or_default();
                unseen.insert(match &field.written {
                    Written::Attribute(name) => format!("<{of} {name}>"),
                    Written::Element(name) => format!("<{name}> in <{of}>"),
                });
            }
        }
    }
    let excused: BTreeSet<_> = UNSEEN.iter().map(|(field, _)| (*field).to_owned()).collect();
    assert_eq!(unseen, excused, "give tests/support/guests.rs a guest that has them");
}

#[test]
fn fields_are_found_with_the_names_that_they_are_written_by() {
    let source = "/// `<disk>`.\npub struct Disk {\n/// `file`.\n#[serde(rename = \"@type\")]\n\
        pub kind: String,\n#[serde(skip)]\npub boot: Boot,\n}\npub enum Device {\nEmsrBitmap(X),\n}\n";
    let attribute = |name: &str| Written::Attribute(name.to_owned());
    let found = fields(source);
    assert_eq!(found[0], Field { of: Some("disk".to_owned()), written: attribute("type") });
    assert_eq!(found[1].written, Written::Element("boot".to_owned()));
    assert_eq!(found[2], Field { of: None, written: Written::Element("emsr_bitmap".to_owned()) });
    let disk = "<a type=\"x\"><disk kind='y'/></a>";
    assert!(!stands_in(&found[0], disk) && !stands_in(&found[1], disk));
    assert!(stands_in(&found[0], "<disk a=\"b\" type=\"file\">"));
}
