//! Finds the files of a domain's disks, including those below a snapshot.

use quick_xml::Reader;
use quick_xml::events::Event;

/// Values of `<source file=… dev=…>` anywhere in a domain's XML.
pub fn files(domain: &str) -> Vec<String> {
    let mut reader = Reader::from_str(domain);
    let mut found = Vec::new();
    // libvirt wrote the XML. A syntax error would only truncate the list.
    while let Ok(event) = reader.read_event() {
        match event {
            Event::Eof => break,
            Event::Start(element) | Event::Empty(element)
                if element.name().as_ref() == "source" =>
            {
                for attribute in element.attributes().flatten() {
                    let names_file = matches!(attribute.key.as_ref(), "file" | "dev");
                    if names_file && let Ok(value) = attribute.normalized_value(Default::default())
                    {
                        found.push(value.into_owned());
                    }
                }
            }
            _ => {}
        }
    }
    found
}

/// Text of `<nvram>`: path of the file of UEFI variables.
pub fn nvram(domain: &str) -> Option<String> {
    let mut reader = Reader::from_str(domain);
    loop {
        match reader.read_event().ok()? {
            Event::Eof => return None,
            Event::Start(element) if element.name().as_ref() == "nvram" => {
                let text = reader.read_text(element.name()).ok()?;
                return quick_xml::escape::unescape(&text).ok().map(|text| text.trim().to_owned());
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{files, nvram};

    #[test]
    fn the_file_of_variables_is_found() {
        let xml = "<domain><os firmware='efi'><nvram template='/t' format='raw'>/a&amp;b_VARS.fd\
                   </nvram></os></domain>";
        assert_eq!(nvram(xml).as_deref(), Some("/a&b_VARS.fd"));
        assert_eq!(nvram("<domain><os><nvram/></os></domain>"), None);
    }

    #[test]
    fn all_files_are_found() {
        let xml = "<domain><devices><disk><source file='/a&amp;b.qcow2'/><backingStore><source \
                   file='/base'/></backingStore></disk><disk><source dev='/dev/vg/lv'/></disk>\
                   <interface><source network='default'/></interface></devices></domain>";
        assert_eq!(files(xml), ["/a&b.qcow2", "/base", "/dev/vg/lv"]);
    }
}
