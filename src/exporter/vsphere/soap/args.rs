//! Contents of a request: references, arguments and the envelope around them.

use std::borrow::Cow;
use std::fmt;

use quick_xml::escape::escape;

use super::node::Node;

/// A reference to a managed object: its type and the server's opaque id of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::exporter::vsphere) struct Moref {
    /// `VirtualMachine`.
    pub(in crate::exporter::vsphere) kind: String,
    /// `vm-42`; may contain any character.
    pub(in crate::exporter::vsphere) id: String,
}

impl Moref {
    pub(in crate::exporter::vsphere) fn new(kind: &str, id: &str) -> Self {
        Self { kind: kind.to_owned(), id: id.to_owned() }
    }
}

/// The arguments of a call, in the order of the WSDL.
#[derive(Clone, Default)]
pub(in crate::exporter::vsphere) struct Args(zeroize::Zeroizing<String>);

impl Args {
    /// Adds `<name>text</name>`.
    pub(in crate::exporter::vsphere) fn text(mut self, name: &str, text: &str) -> Self {
        self.push(format_args!("<{name}>{}</{name}>", xml_text(text)));
        self
    }

    /// Adds a reference called `name`.
    pub(in crate::exporter::vsphere) fn moref(mut self, name: &str, to: &Moref) -> Self {
        self.push(format_args!(
            r#"<{name} type="{}">{}</{name}>"#,
            xml_text(&to.kind),
            xml_text(&to.id)
        ));
        self
    }

    /// Adds an element called `name` with `inner` inside.
    pub(in crate::exporter::vsphere) fn nested(self, name: &str, inner: Args) -> Self {
        self.typed(name, None, inner)
    }

    /// Adds an element called `name` of the type `xsi_type`, for a declared type that is abstract.
    pub(in crate::exporter::vsphere) fn typed(
        mut self,
        name: &str,
        xsi_type: Option<&str>,
        inner: Args,
    ) -> Self {
        let of_type = xsi_type.map(|t| format!(r#" xsi:type="{t}""#)).unwrap_or_default();
        self.push(format_args!("<{name}{of_type}>{}</{name}>", *inner.0));
        self
    }

    /// Adds an element of a reply as an element called `name`.
    pub(in crate::exporter::vsphere) fn node(mut self, name: &str, node: &Node) -> Self {
        let attribute = |key: &str, value: &Option<String>| {
            let value = value.as_deref().map(|value| format!(" {key}=\"{}\"", xml_text(value)));
            value.unwrap_or_default()
        };
        let (of_type, kind) =
            (attribute("xsi:type", &node.xsi_type), attribute("type", &node.kind));
        let all = node.children.iter();
        let inner = all.fold(Self::default(), |inner, child| inner.node(&child.name, child));
        let text = if node.children.is_empty() { xml_text(&node.text) } else { Cow::Borrowed("") };
        self.push(format_args!("<{name}{of_type}{kind}>{text}{}</{name}>", *inner.0));
        self
    }

    fn push(&mut self, piece: fmt::Arguments<'_>) {
        // The buffer is grown manually: a reallocation would leave copies of a password in memory.
        let piece = zeroize::Zeroizing::new(piece.to_string());
        let mut whole = String::with_capacity(self.0.len() + piece.len());
        whole.push_str(&self.0);
        whole.push_str(&piece);
        self.0 = zeroize::Zeroizing::new(whole);
    }
}

/// Escapes special characters, and drops control characters that XML 1.0 cannot represent.
fn xml_text(text: &str) -> Cow<'_, str> {
    let forbidden = |c: char| c.is_control() && !matches!(c, '\t' | '\n' | '\r');
    if text.contains(forbidden) {
        Cow::Owned(escape(text.replace(forbidden, "")).into_owned())
    } else {
        escape(text)
    }
}

/// The complete request: `method` of `this`.
pub(in crate::exporter::vsphere) fn envelope(method: &str, this: &Moref, args: &Args) -> String {
    let this = Args::default().moref("_this", this);
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <soapenv:Envelope xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\" \
         xmlns:xsd=\"http://www.w3.org/2001/XMLSchema\" \
         xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\"><soapenv:Body>\
         <{method} xmlns=\"urn:vim25\">{}{}</{method}></soapenv:Body></soapenv:Envelope>",
        *this.0, *args.0
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_is_sent_as_it_was() {
        let text = "<device xsi:type=\"VirtualE1000\"><key>4000</key><backing \
                    xsi:type=\"VirtualEthernetCardNetworkBackingInfo\"><deviceName>a &amp; b\
                    </deviceName><network type=\"Network\">network-7</network></backing></device>";
        let xsi = "xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\"";
        let read = Node::parse(&text.replacen("<device", &format!("<device {xsi}"), 1));
        let sent = Args::default().node("device", &read.expect("well-formed"));
        assert_eq!(*sent.0, text);
    }

    #[test]
    fn arguments_are_escaped() {
        let args = Args::default().text("password", "a<b>&'\"\u{1}").nested(
            "spec",
            Args::default().moref("obj", &Moref::new("Datastore", "/a&b@folder-5")),
        );
        assert_eq!(
            *args.0,
            "<password>a&lt;b&gt;&amp;&apos;&quot;</password>\
             <spec><obj type=\"Datastore\">/a&amp;b@folder-5</obj></spec>"
        );
    }
}
