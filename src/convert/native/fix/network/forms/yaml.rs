//! YAML as a tree whose words record their places. Built from the parser's events, with limits on
//! depth and size; an alias shares the node that it names, so that nothing is ever expanded.

use std::collections::HashMap;
use std::ops::Range;
use std::rc::Rc;

use saphyr_parser::{Event, Parser, Span};

use super::super::claim::{Edit, Spot};

/// Deepest nesting; netplan needs six levels.
const DEEPEST: usize = 32;
/// Most nodes of a file.
const MOST: usize = 100_000;
/// Largest file, in bytes.
const LARGEST: usize = 1 << 20;

/// A value with its place.
#[derive(Debug, Clone)]
pub(super) struct YamlNode {
    /// Place of the value, with its quotes, or from the first child to the last.
    pub(super) at: Range<usize>,
    content: Rc<YamlContent>,
}

#[derive(Debug)]
enum YamlContent {
    Scalar(String),
    List(Vec<YamlNode>),
    Map { pairs: Vec<(YamlNode, YamlNode)>, is_flow: bool },
}

impl YamlNode {
    /// The text of a scalar; empty for any other node.
    pub(super) fn text(&self) -> &str {
        match &*self.content {
            YamlContent::Scalar(text) => text,
            _ => "",
        }
    }

    /// The scalar with its place; without quotes where the text contains no escapes.
    pub(super) fn spot(&self, file: &str) -> Option<Spot<String>> {
        let YamlContent::Scalar(text) = &*self.content else { return None };
        let raw = file.get(self.at.clone()).unwrap_or_default();
        let at = match raw.find(text.as_str()) {
            Some(at) => self.at.start + at..self.at.start + at + text.len(),
            None => self.at.clone(),
        };
        Some(Spot::new(text.clone(), at))
    }

    pub(super) fn list(&self) -> &[YamlNode] {
        match &*self.content {
            YamlContent::List(list) => list,
            _ => &[],
        }
    }

    /// The items of a list, or a scalar as a list of one.
    pub(super) fn scalars(&self) -> Vec<&YamlNode> {
        match &*self.content {
            YamlContent::Scalar(text) if !text.is_empty() => vec![self],
            _ => self.list().iter().collect(),
        }
    }

    pub(super) fn pairs(&self) -> &[(YamlNode, YamlNode)] {
        match &*self.content {
            YamlContent::Map { pairs, .. } => pairs,
            _ => &[],
        }
    }

    /// The value of a key. Of several the last one counts, as in libyaml.
    pub(super) fn get(&self, key: &str) -> Option<&YamlNode> {
        self.pairs().iter().rev().find(|(own, _)| own.text() == key).map(|(_, value)| value)
    }

    /// The text of a key's scalar.
    pub(super) fn get_text(&self, key: &str) -> &str {
        self.get(key).map_or("", YamlNode::text)
    }

    /// Whether the key is set to a true value of YAML 1.1.
    pub(super) fn is_on(&self, key: &str) -> bool {
        let text = self.get_text(key).to_ascii_lowercase();
        ["true", "yes", "on", "y"].contains(&text.as_str())
    }

    /// An edit that replaces a pair with `text`; `None` removes the pair.
    pub(super) fn replace_pair(&self, key: &str, text: Option<&str>, file: &str) -> Option<Edit> {
        let YamlContent::Map { pairs, is_flow } = &*self.content else { return None };
        let index = pairs.iter().position(|(own, _)| own.text() == key)?;
        let (key, value) = &pairs[index];
        let pair = key.at.start..value.at.end.max(key.at.end);
        if let Some(text) = text {
            return Some(Edit::new(pair, text));
        }
        let at = match (is_flow, index.checked_sub(1), pairs.get(index + 1)) {
            (true, _, Some((next, _))) => pair.start..next.at.start,
            (true, Some(previous), None) => pairs[previous].1.at.end..pair.end,
            (true, None, None) => pair,
            // Complete lines.
            (false, ..) => {
                let start = file[..pair.start].rfind('\n').map_or(0, |at| at + 1);
                let end = file[pair.end..].find('\n').map_or(file.len(), |at| pair.end + at + 1);
                start..end
            }
        };
        Some(Edit::new(at, ""))
    }
}

/// A collection that is still open.
struct Open {
    anchor: usize,
    start: usize,
    /// For a map, keys and values in turn.
    children: Vec<YamlNode>,
    is_map: bool,
}

/// All documents of a text.
///
/// # Errors
/// The reason why the text is not valid YAML, or exceeds the limits.
pub(super) fn documents(text: &str) -> Result<Vec<YamlNode>, String> {
    if text.len() > LARGEST {
        return Err(format!("{} bytes are too many", text.len()));
    }
    // The parser counts characters.
    let bytes: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
    let range = |span: &Span| {
        let byte = |index: usize| bytes.get(index).copied().unwrap_or(text.len());
        byte(span.start.index())..byte(span.end.index())
    };
    let mut tree = YamlTree { text, ..YamlTree::default() };
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|error| error.to_string())?;
        tree.take(event, range(&span))?;
    }
    Ok(tree.documents)
}

#[derive(Default)]
struct YamlTree<'a> {
    text: &'a str,
    open: Vec<Open>,
    documents: Vec<YamlNode>,
    anchors: HashMap<usize, YamlNode>,
    nodes: usize,
}

impl YamlTree<'_> {
    fn take(&mut self, event: Event<'_>, at: Range<usize>) -> Result<(), String> {
        self.nodes += 1;
        if self.open.len() > DEEPEST || self.nodes > MOST {
            return Err("the nesting is too deep, or there are too many values".to_owned());
        }
        match event {
            Event::Scalar(text, _, anchor, _) => {
                let content = Rc::new(YamlContent::Scalar(text.into_owned()));
                self.add(YamlNode { at, content }, anchor);
            }
            Event::Alias(anchor) => {
                let empty = || Rc::new(YamlContent::Scalar(String::new()));
                let named = self.anchors.get(&anchor).map(|node| Rc::clone(&node.content));
                self.add(YamlNode { at, content: named.unwrap_or_else(empty) }, 0);
            }
            Event::SequenceStart(anchor, _) => self.begin(anchor, at.start, false),
            Event::MappingStart(anchor, _) => self.begin(anchor, at.start, true),
            Event::SequenceEnd | Event::MappingEnd => self.end(&at),
            _ => {}
        }
        Ok(())
    }

    fn begin(&mut self, anchor: usize, start: usize, is_map: bool) {
        self.open.push(Open { anchor, start, children: Vec::new(), is_map });
    }

    fn end(&mut self, at: &Range<usize>) {
        let Some(open) = self.open.pop() else { return };
        let is_flow = self.text[open.start..].starts_with(['{', '[']);
        let last = open.children.last().map_or(open.start, |child| child.at.end);
        // The end of a block is where the next node begins.
        let end = if is_flow { at.end.max(last) } else { last };
        let content = match open.is_map {
            false => YamlContent::List(open.children),
            true => {
                let mut pairs = Vec::new();
                let mut children = open.children.into_iter();
                while let (Some(key), Some(value)) = (children.next(), children.next()) {
                    pairs.push((key, value));
                }
                YamlContent::Map { pairs, is_flow }
            }
        };
        let at = open.start..end.max(open.start);
        self.add(YamlNode { at, content: Rc::new(content) }, open.anchor);
    }

    fn add(&mut self, node: YamlNode, anchor: usize) {
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut() {
            Some(open) => open.children.push(node),
            None => self.documents.push(node),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> YamlNode {
        documents(text).expect("YAML").into_iter().next().expect("a document")
    }

    fn edited(text: &str, edit: &Edit) -> String {
        format!("{}{}{}", &text[..edit.at.start], edit.text, &text[edit.at.end..])
    }

    #[test]
    fn words_keep_their_places_in_every_style() {
        let text =
            "# é\nnetwork: {ethernets: {\"ens192\": {dhcp4: yes}}} \nother:\n- 'a b'\n- c # note\n";
        let node = read(text);
        let ethernets = node.get("network").and_then(|n| n.get("ethernets")).expect("there");
        let (key, value) = &ethernets.pairs()[0];
        let spot = key.spot(text).expect("a scalar");
        assert_eq!((spot.value.as_str(), &text[spot.at]), ("ens192", "ens192"));
        assert_eq!(&text[key.at.clone()], "\"ens192\"");
        assert!(value.is_on("dhcp4"));
        let list = node.get("other").expect("there").list();
        let found: Vec<_> = list.iter().map(|item| &text[item.at.clone()]).collect();
        assert_eq!(found, ["'a b'", "c"]);
    }

    #[test]
    fn pairs_are_replaced_or_removed_in_place() {
        let block = "lan:\n  match:\n    driver: vmxnet3 # all\n    name: ens*\n  dhcp4: true\n";
        let node = read(block);
        let matched = node.get("lan").and_then(|lan| lan.get("match")).expect("there");
        let edit = matched.replace_pair("driver", None, block).expect("a pair");
        assert_eq!(edited(block, &edit), "lan:\n  match:\n    name: ens*\n  dhcp4: true\n");
        let edit =
            matched.replace_pair("driver", Some("macaddress: \"x\""), block).expect("a pair");
        assert!(edited(block, &edit).contains("    macaddress: \"x\" # all\n"));
        for (flow, left) in [
            ("m: {driver: [vmxnet3, e1000], name: a}\n", "m: {name: a}\n"),
            ("m: {name: a, driver: vmxnet3 }\n", "m: {name: a }\n"),
            ("m: { driver: vmxnet3 }\n", "m: {  }\n"),
        ] {
            let node = read(flow);
            let edit = node.get("m").and_then(|m| m.replace_pair("driver", None, flow));
            assert_eq!(edited(flow, &edit.expect("a pair")), left);
        }
    }

    #[test]
    fn aliases_share_and_the_last_key_counts() {
        let node = read("a: &x {b: c}\nd: *x\ne: 1\ne: 2\n");
        assert_eq!(node.get("d").map(|d| d.get_text("b")), Some("c"));
        assert_eq!(node.get_text("e"), "2");
    }

    #[test]
    fn hostile_texts_end_soon() {
        let begin = std::time::Instant::now();
        let laughs: String = (1..30)
            .map(|n| format!("a{n}: &a{n} [*a{p}, *a{p}, *a{p}, *a{p}]\n", p = n - 1))
            .collect();
        assert!(documents(&format!("a0: &a0 lol\n{laughs}")).is_ok(), "shared and not expanded");
        for text in [
            "[".repeat(500_000),
            "{a: ".repeat(200_000),
            "- ".repeat(400_000),
            "a:\n".repeat(200_000),
            (0..5_000).map(|n| format!("{}a:\n", " ".repeat(n % 200))).collect(),
            "x".repeat(LARGEST + 1),
            "&a [*a]".to_owned(),
            "\"".repeat(100_000),
            "!<tag:".repeat(10_000),
            "? ".repeat(100_000),
            "%YAML 9\n".repeat(10_000),
        ] {
            drop(documents(&text));
        }
        assert!(begin.elapsed() < std::time::Duration::from_secs(20), "{:?}", begin.elapsed());
    }

    #[test]
    fn what_is_no_yaml_is_told() {
        for text in ["a: [", "a: b: c", "a: 'b"] {
            assert!(documents(text).is_err(), "{text:?}");
        }
        assert!(documents("").expect("nothing").is_empty());
    }
}
