//! Normalizes the XML of a descriptor, which writers spell in different ways.
//!
//! Serde matches elements and attributes by their names alone, and rejects duplicates. So prefixes
//! are removed from names first: `<File>` and `<ovf:File>` are then one list. Of two attributes
//! with one local name (`ovf:id`, `ovirt:id`) the standard's is used, and of two elements for one
//! value the first.
//!
//! OVF 0.9, which storage domains of oVirt and RHV still use, names its sections by a type:
//! `<Section xsi:type="ovf:DiskSection_Type">`. These are renamed to the element names used since
//! 1.0.

use std::collections::HashSet;

use quick_xml::NsReader;
use quick_xml::events::attributes::Attribute;
use quick_xml::events::{BytesStart, Event};
use quick_xml::name::{Namespace, NamespaceResolver, ResolveResult};

use super::schema::SEVERAL;
use crate::budget::Budget;

/// Maximum nesting of elements. Descriptors stay below 12. The parser of a recursive type recurses
/// as deep as the text does.
const DEEPEST: usize = 64;
/// Maximum number of elements. The largest descriptors have some thousands; an item of seven bytes
/// takes a hundred times as many in memory.
const MOST_ELEMENTS: u64 = 200_000;
/// Namespaces of attributes that describe the XML and not the VM: `xsi:type`, `xml:lang`.
const OF_XML: [&str; 2] =
    ["http://www.w3.org/2001/XMLSchema-instance", "http://www.w3.org/XML/1998/namespace"];
/// Elements of OVF 0.9 by their `xsi:type`, without its prefix and `_Type`.
const TYPED: [&str; 8] = [
    "DeploymentOptionSection",
    "DiskSection",
    "NetworkSection",
    "OperatingSystemSection",
    "ProductSection",
    "VirtualHardwareSection",
    "VirtualSystem",
    "VirtualSystemCollection",
];
/// Common part of the standard's namespaces.
const STANDARD: &str = "//schemas.dmtf.org/";

/// Rewrites a descriptor. Empty attributes are omitted: an empty reference is no reference.
///
/// # Errors
/// What is wrong with the text, as a clause.
pub(super) fn normal(text: &str) -> Result<String, String> {
    let mut reader = NsReader::from_str(text);
    let mut out = GrowingText::default();
    let mut budget = Budget::new(MOST_ELEMENTS, "elements");
    loop {
        match reader.read_event().map_err(no_xml)? {
            Event::Start(tag) => {
                budget.draw(1)?;
                let renamed = renamed(&tag)?;
                let name = renamed.unwrap_or(tag.local_name().into_inner());
                let kept = out.begins(name);
                if kept {
                    out.tag(name, &tag, reader.resolver(), ">")?;
                }
                out.open(kept, renamed)?;
            }
            Event::Empty(tag) => {
                budget.draw(1)?;
                let name = renamed(&tag)?.unwrap_or(tag.local_name().into_inner());
                if out.begins(name) {
                    out.tag(name, &tag, reader.resolver(), "/>")?;
                }
            }
            Event::End(tag) => out.close(tag.local_name().into_inner()),
            Event::Text(text) => out.push(["", &text.into_inner(), ""]),
            Event::CData(text) => out.push(["<![CDATA[", &text.into_inner(), "]]>"]),
            Event::GeneralRef(name) => out.push(["&", &name, ";"]),
            Event::Eof => return Ok(out.text),
            // Entities that a document type declares are not resolved: references to them are
            // rejected.
            Event::DocType(_) | Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
        }
    }
}

/// The output, and the state of the reader.
#[derive(Default)]
struct GrowingText {
    text: String,
    /// For each open element, its new name, and its children so far, except those that may occur
    /// several times.
    open: Vec<(Option<&'static str>, HashSet<String>)>,
    /// Number of open elements that are omitted from the output.
    left_out: usize,
}

impl GrowingText {
    /// Whether the element that starts now is part of the output.
    fn begins(&mut self, name: &str) -> bool {
        if self.left_out > 0 {
            return false;
        }
        let Some((_, had)) = self.open.last_mut() else { return true };
        SEVERAL.contains(&name) || had.insert(name.to_owned())
    }

    fn open(&mut self, kept: bool, renamed: Option<&'static str>) -> Result<(), String> {
        if !kept {
            self.left_out += 1;
        } else {
            self.open.push((renamed, HashSet::new()));
        }
        if self.open.len() + self.left_out > DEEPEST {
            return Err(format!("its elements are nested deeper than {DEEPEST} levels"));
        }
        Ok(())
    }

    fn close(&mut self, name: &str) {
        if self.left_out > 0 {
            self.left_out -= 1;
        } else {
            let renamed = self.open.pop().and_then(|(renamed, _)| renamed);
            self.push(["</", renamed.unwrap_or(name), ">"]);
        }
    }

    fn push(&mut self, parts: [&str; 3]) {
        if self.left_out == 0 {
            self.text.extend(parts);
        }
    }

    fn tag(
        &mut self,
        name: &str,
        tag: &BytesStart<'_>,
        names: &NamespaceResolver,
        end: &str,
    ) -> Result<(), String> {
        self.push(["<", name, ""]);
        for attribute in attributes(tag, names)? {
            let quote = if attribute.value.contains('"') { "'" } else { "\"" };
            self.push([" ", attribute.key.local_name().into_inner(), "="]);
            self.push([quote, &attribute.value, quote]);
        }
        self.push(["", end, ""]);
        Ok(())
    }
}

/// The name since OVF 1.0 of an element that OVF 0.9 names by its type.
fn renamed(tag: &BytesStart<'_>) -> Result<Option<&'static str>, String> {
    match tag.local_name().into_inner() {
        "InstanceId" => return Ok(Some("InstanceID")),
        "Section" | "Content" => {}
        _ => return Ok(None),
    }
    for attribute in tag.attributes().with_checks(false) {
        let attribute = attribute.map_err(no_xml)?;
        let has_prefix = attribute.key.prefix().is_some();
        if has_prefix && attribute.key.local_name().into_inner() == "type" {
            let kind = attribute.value.trim();
            let kind = kind.rsplit(':').next().unwrap_or(kind);
            let known = |name: &&&str| kind.strip_suffix("_Type") == Some(**name);
            return Ok(TYPED.iter().find(known).copied());
        }
    }
    Ok(None)
}

/// The attributes to write: one of each local name.
fn attributes<'a>(
    tag: &'a BytesStart<'_>,
    names: &NamespaceResolver,
) -> Result<Vec<Attribute<'a>>, String> {
    let (own, _) = names.resolve_element(tag.name());
    let mut kept: Vec<(u8, Attribute<'a>)> = Vec::new();
    for attribute in tag.attributes().with_checks(false) {
        let attribute = attribute.map_err(no_xml)?;
        let (of, name) = names.resolve_attribute(attribute.key);
        let is_binding = attribute.key.as_namespace_binding().is_some();
        let Some(rank) = rank(&of, &own).filter(|_| !is_binding) else { continue };
        if attribute.value.trim().is_empty() {
            continue;
        }
        match kept.iter_mut().find(|(_, known)| known.key.local_name() == name) {
            Some((known, place)) if rank < *known => (*known, *place) = (rank, attribute),
            Some(_) => {}
            None => kept.push((rank, attribute)),
        }
    }
    Ok(kept.into_iter().map(|(_, attribute)| attribute).collect())
}

/// Rank among attributes of one name: the lowest is used. `None` for attributes that are never
/// used.
fn rank(of: &ResolveResult<'_>, own: &ResolveResult<'_>) -> Option<u8> {
    match of {
        ResolveResult::Unbound => Some(0),
        ResolveResult::Bound(Namespace(uri)) if OF_XML.contains(uri) => None,
        ResolveResult::Bound(Namespace(uri)) if uri.contains(STANDARD) => Some(0),
        ResolveResult::Bound(_) if of == own => Some(0),
        // A writer that declares no namespaces uses the usual prefixes at least.
        ResolveResult::Unknown(prefix) => match prefix.as_str() {
            "xsi" | "xml" => None,
            "ovf" => Some(0),
            _ => Some(1),
        },
        ResolveResult::Bound(_) => Some(1),
    }
}

fn no_xml(error: impl std::fmt::Display) -> String {
    format!("it is not XML: {error}")
}

#[cfg(test)]
mod tests {
    use super::normal;

    const NAMES: &str = "xmlns='http://schemas.dmtf.org/ovf/envelope/1' \
        xmlns:o='http://schemas.dmtf.org/ovf/envelope/1/' xmlns:v='http://www.ovirt.org/ovf' \
        xmlns:xsi='http://www.w3.org/2001/XMLSchema-instance'";

    fn inside(text: &str) -> String {
        let text = normal(&format!("<?xml version='1.0'?><o:E {NAMES}>{text}</o:E>"));
        let text = text.expect("it is XML");
        let text = text.strip_prefix("<E>").and_then(|text| text.strip_suffix("</E>"));
        text.expect("an E").to_owned()
    }

    #[test]
    fn names_lose_their_prefixes_and_the_attribute_of_the_standard_counts() {
        for (text, expected) in [
            ("<File o:id='1'/><o:File id=\"2\"/>", "<File id=\"1\"/><File id=\"2\"/>"),
            ("<a v:id='1' o:id='2'/>", "<a id=\"2\"/>"),
            ("<a o:id='2' v:id='1'/>", "<a id=\"2\"/>"),
            ("<a v:id='1'/>", "<a id=\"1\"/>"),
            ("<v:a v:id='1'/>", "<a id=\"1\"/>"),
            ("<a xsi:type='x' xml:lang='en' type='y'/>", "<a type=\"y\"/>"),
            ("<a ovf:id='1' x:id='2' nope:key='\"'/>", "<a id=\"1\" key='\"'/>"),
            ("<a o:parentRef='' o:fileRef=' '/>", "<a/>"),
            (
                "<a xmlns:z='urn:z' z:b='1'>&lt;&#65;<![CDATA[<]]></a>",
                "<a b=\"1\">&lt;&#65;<![CDATA[<]]></a>",
            ),
        ] {
            assert_eq!(inside(text), expected, "{text}");
        }
    }

    #[test]
    fn what_comes_twice_counts_once_unless_it_is_a_list() {
        let text =
            "<Item><v:Parent>3</v:Parent><o:Parent><b>4</b></o:Parent></Item><!-- --><Item/>";
        assert_eq!(inside(text), "<Item><Parent>3</Parent></Item><Item/>");
    }

    #[test]
    fn typed_elements_of_ovf_0_9_have_the_names_of_today() {
        for (text, expected) in [
            (
                "<Section xsi:type='o:DiskSection_Type'><Disk/></Section>",
                "<DiskSection><Disk/></DiskSection>",
            ),
            (
                "<Content xsi:type='o:VirtualSystem_Type' o:id='1'><Section><a/></Section></Content>",
                "<VirtualSystem id=\"1\"><Section><a/></Section></VirtualSystem>",
            ),
            ("<o:Content xsi:type='VirtualSystem_Type'/>", "<VirtualSystem/>"),
            ("<Section xsi:type='v:SnapshotsSection_Type'/>", "<Section/>"),
            ("<Section type='o:DiskSection_Type'/>", "<Section type=\"o:DiskSection_Type\"/>"),
            ("<InstanceId>3</InstanceId>", "<InstanceID>3</InstanceID>"),
            ("<InstanceID>2</InstanceID><InstanceId>3</InstanceId>", "<InstanceID>2</InstanceID>"),
        ] {
            assert_eq!(inside(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_xml_or_too_deep_is_refused() {
        let deep = |levels: usize| format!("{}{}", "<a>".repeat(levels), "</a>".repeat(levels));
        assert!(normal(&deep(64)).is_ok());
        assert!(normal(&deep(65)).expect_err("too deep").contains("deeper than 64"));
        // The limit applies to omitted elements, too.
        let hidden = format!("<a><b/><b>{}</b></a>", deep(63));
        assert!(normal(&hidden).expect_err("too deep").contains("deeper than 64"));
        assert!(normal("<a></b>").expect_err("no XML").starts_with("it is not XML"));
        assert!(normal("<a b=1/>").is_err());
    }
}
