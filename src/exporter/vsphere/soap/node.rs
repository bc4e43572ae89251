//! A reply as a small tree. Names are resolved by namespace, never compared as written: vCenter
//! writes `xsi:type`, the simulator `XMLSchema-instance:type`, and a reference also has a plain
//! `type`. Unknown elements stay in the tree and are ignored.

use quick_xml::NsReader;
use quick_xml::XmlVersion;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesStart, Event};
use quick_xml::name::{Namespace, ResolveResult};

use super::args::Moref;
use crate::budget::Budget;

/// W3C XML Schema, part 1, §3.15: the namespace of `xsi:type`.
const XSI: Namespace<'static> = Namespace("http://www.w3.org/2001/XMLSchema-instance");
/// Maximum nesting of elements. Replies of vSphere stay below 30.
const DEEPEST: usize = 100;
/// Maximum number of elements in a reply. An element of four bytes takes a hundred bytes here. A
/// page of a hundred VMs has some thirty thousand elements.
const MOST_NODES: u64 = 1_000_000;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::exporter::vsphere) struct Node {
    /// Local name of the element.
    pub(in crate::exporter::vsphere) name: String,
    /// Local part of `xsi:type`: the actual type, if the declared type is abstract.
    pub(in crate::exporter::vsphere) xsi_type: Option<String>,
    /// The plain attribute `type`: the type of the object that a reference points to.
    pub(in crate::exporter::vsphere) kind: Option<String>,
    /// All text directly inside the element.
    pub(in crate::exporter::vsphere) text: String,
    /// Child elements in their order.
    pub(in crate::exporter::vsphere) children: Vec<Node>,
}

impl Node {
    /// Parses a complete document.
    ///
    /// # Errors
    /// What is wrong with the document, as a phrase.
    pub(in crate::exporter::vsphere) fn parse(xml: &str) -> Result<Self, String> {
        let mut reader = NsReader::from_str(xml);
        let mut open: Vec<Node> = Vec::new();
        let mut budget = Budget::new(MOST_NODES, "elements");
        loop {
            let event = reader.read_event().map_err(|error| error.to_string())?;
            match event {
                Event::Start(start) => {
                    if open.len() == DEEPEST {
                        return Err(format!("it is nested deeper than {DEEPEST} levels"));
                    }
                    budget.draw(1)?;
                    open.push(Self::begin(&reader, &start)?);
                }
                Event::Empty(start) => {
                    budget.draw(1)?;
                    let node = Self::begin(&reader, &start)?;
                    match open.last_mut() {
                        Some(parent) => parent.children.push(node),
                        None => return Ok(node),
                    }
                }
                Event::End(_) => {
                    let node = open.pop().ok_or("an element ends that never began")?;
                    match open.last_mut() {
                        Some(parent) => parent.children.push(node),
                        None => return Ok(node),
                    }
                }
                Event::Eof => return Err("it ends in the middle".to_owned()),
                text => {
                    if let Some(node) = open.last_mut() {
                        node.add_text(&text)?;
                    }
                }
            }
        }
    }

    fn begin(reader: &NsReader<&[u8]>, start: &BytesStart<'_>) -> Result<Self, String> {
        let name = start.local_name().into_inner().to_owned();
        let mut node = Self { name, ..Self::default() };
        for attribute in start.attributes() {
            let attribute = attribute.map_err(|error| error.to_string())?;
            let (namespace, local) = reader.resolver().resolve_attribute(attribute.key);
            if local.into_inner() != "type" {
                continue;
            }
            let value = attribute
                .normalized_value(XmlVersion::Implicit1_0)
                .map_err(|error| error.to_string())?;
            match namespace {
                ResolveResult::Bound(namespace) if namespace == XSI => {
                    let local = value.rsplit_once(':').map_or(&*value, |(_, local)| local);
                    node.xsi_type = Some(local.to_owned());
                }
                ResolveResult::Unbound => node.kind = Some(value.into_owned()),
                _ => {}
            }
        }
        Ok(node)
    }

    fn add_text(&mut self, event: &Event<'_>) -> Result<(), String> {
        match event {
            Event::Text(text) => self.text.push_str(text),
            Event::CData(text) => self.text.push_str(text),
            Event::GeneralRef(reference) => {
                match reference.resolve_char_ref().map_err(|error| error.to_string())? {
                    Some(character) => self.text.push(character),
                    None => {
                        let known = resolve_predefined_entity(reference);
                        self.text.push_str(known.ok_or("it uses an unknown entity")?);
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Number of elements in the tree, including this one.
    pub(in crate::exporter::vsphere) fn size(&self) -> u64 {
        1 + self.children.iter().map(Node::size).sum::<u64>()
    }

    /// The first child called `name`.
    pub(in crate::exporter::vsphere) fn child(&self, name: &str) -> Option<&Node> {
        self.children.iter().find(|child| child.name == name)
    }

    /// All children called `name`.
    pub(in crate::exporter::vsphere) fn all<'a>(
        &'a self,
        name: &'a str,
    ) -> impl Iterator<Item = &'a Node> {
        self.children.iter().filter(move |child| child.name == name)
    }

    /// The descendant at the `path` of names.
    pub(in crate::exporter::vsphere) fn at(&self, path: &[&str]) -> Option<&Node> {
        path.iter().try_fold(self, |node, name| node.child(name))
    }

    /// Text of the first child called `name`; empty if there is none.
    pub(in crate::exporter::vsphere) fn text_of(&self, name: &str) -> &str {
        self.child(name).map_or("", |child| child.text.as_str())
    }

    /// Number in the first child called `name`.
    pub(in crate::exporter::vsphere) fn number<T: std::str::FromStr>(
        &self,
        name: &str,
    ) -> Option<T> {
        self.child(name)?.text.trim().parse().ok()
    }

    /// Whether the text is a true boolean: `true` and `1` (XML Schema, part 2, §3.2.2).
    pub(in crate::exporter::vsphere) fn is_true(&self) -> bool {
        matches!(self.text.trim(), "true" | "1")
    }

    /// Boolean value of the first child called `name`; false if absent.
    pub(in crate::exporter::vsphere) fn flag(&self, name: &str) -> bool {
        self.child(name).is_some_and(Node::is_true)
    }

    /// Whether the actual type of the element is `kind`.
    pub(in crate::exporter::vsphere) fn is(&self, kind: &str) -> bool {
        self.xsi_type.as_deref() == Some(kind)
    }

    /// The object that this reference points to.
    pub(in crate::exporter::vsphere) fn moref(&self) -> Option<Moref> {
        Some(Moref::new(self.kind.as_deref()?, self.text.trim()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_told_apart_by_namespace() {
        let xml = r#"<a xmlns="urn:vim25" xmlns:x="http://www.w3.org/2001/XMLSchema-instance">
            <v x:type="ManagedObjectReference" type="Folder">group-v3</v>
            <w xmlns:XMLSchema-instance="http://www.w3.org/2001/XMLSchema-instance"
               XMLSchema-instance:type="xsd:string">s</w><e/></a>"#;
        let a = Node::parse(xml).expect("well-formed");
        let v = a.child("v").expect("there");
        assert!(v.is("ManagedObjectReference"));
        assert_eq!(v.moref(), Some(Moref::new("Folder", "group-v3")));
        assert!(a.child("w").expect("there").is("string"));
        assert!(a.child("w").expect("there").moref().is_none());
        assert_eq!(a.children.len(), 3);
    }

    #[test]
    fn text_comes_unescaped() {
        let a = Node::parse("<a>x &lt;b&gt; &amp; &#252;&#x1F980;<![CDATA[<raw>]]></a>");
        assert_eq!(a.expect("well-formed").text, "x <b> & ü\u{1f980}<raw>");
    }

    #[test]
    fn hostile_documents_are_refused() {
        let deep = "<a>".repeat(200_000);
        for xml in ["", "<a>", "<a>&x;</a>", "<a></b>", "no xml", &deep] {
            assert!(Node::parse(xml).is_err(), "{}", &xml[..xml.len().min(20)]);
        }
        let many = format!("<a>{}</a>", "<b/>".repeat(MOST_NODES as usize));
        let error = Node::parse(&many).expect_err("too many");
        assert_eq!(error, "more than 1000000 elements");
    }
}
