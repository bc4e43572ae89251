//! Edits the network interfaces of a running domain, and preserves the rest of libvirt's XML:
//! structs would lose elements that they do not know.

use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, Writer};

use super::XmlError;

const INTERFACE: &str = "interface";
const LINK: &str = "link";

/// Every `<interface>` of a domain's XML, with its link set down
/// (<https://libvirt.org/formatdomain.html#modifying-virtual-link-state>).
pub fn with_links_down(domain: &str) -> Result<Vec<String>, XmlError> {
    with_links(domain, "down")
}

/// Every `<interface>` of a domain's XML, with its link set to `state`: `up` or `down`.
pub fn with_links(domain: &str, state: &str) -> Result<Vec<String>, XmlError> {
    let mut reader = Reader::from_str(domain);
    let mut found = Vec::new();
    let mut open: Option<Writer<Vec<u8>>> = None;
    loop {
        let event = reader.read_event().map_err(XmlError::Edit)?;
        if matches!(event, Event::Eof) {
            return Ok(found);
        }
        if matches!(&event, Event::Start(start) if start.name().as_ref() == INTERFACE) {
            open = Some(Writer::new(Vec::new()));
        }
        let Some(writer) = &mut open else { continue };
        match &event {
            Event::Empty(link) if link.name().as_ref() == LINK => continue,
            Event::End(end) if end.name().as_ref() == INTERFACE => {
                let link = BytesStart::new("link").with_attributes([("state", state)]);
                writer.write_event(Event::Empty(link)).map_err(written)?;
                writer.write_event(event).map_err(written)?;
                let bytes = open.take().map(Writer::into_inner).unwrap_or_default();
                found.push(String::from_utf8_lossy(&bytes).into_owned());
            }
            _ => writer.write_event(event).map_err(written)?,
        }
    }
}

fn written(error: std::io::Error) -> XmlError {
    XmlError::Edit(error.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_go_down_and_nothing_else_changes() {
        let xml = "<domain><devices><interface type='network'><mac address='52:54:00:00:00:01'/>\
                   <source network='default' portid='x'/><link state='up'/><alias name='net0'/>\
                   </interface><disk/><interface type='bridge'><source bridge='br&amp;0'/>\
                   </interface></devices></domain>";
        assert_eq!(
            with_links_down(xml).expect("XML"),
            [
                "<interface type='network'><mac address='52:54:00:00:00:01'/>\
                 <source network='default' portid='x'/><alias name='net0'/>\
                 <link state=\"down\"/></interface>",
                "<interface type='bridge'><source bridge='br&amp;0'/>\
                 <link state=\"down\"/></interface>",
            ]
        );
        assert!(with_links_down("<domain/>").expect("XML").is_empty());
        assert!(with_links_down("<interface><mac></interface>").is_err());
    }
}
