//! Configurations that select a network card by what it will no longer have on KVM: VMware's driver
//! or a slot of its bus.

use crate::model::MacAddress;

/// The drivers of VMware's cards (Linux, drivers/net): none of them will be there.
const DRIVERS: [&str; 4] = ["vmxnet3", "e1000", "e1000e", "pcnet32"];

/// The text with such a selection by the MAC address instead, where `only` one card is there; and
/// what was found and could not be helped.
pub(super) fn mac(path: &str, text: &str, only: Option<MacAddress>) -> (String, Vec<String>) {
    let mut lost = Vec::new();
    let line = |line: &str| {
        let Some((indent, by, value)) = selection(path, line) else { return line.to_owned() };
        match only {
            Some(mac) => format!("{indent}{}\n", by.replace(mac)),
            None => {
                lost.push(value);
                line.to_owned()
            }
        }
    };
    let mended = text.split_inclusive('\n').map(line).collect();
    (mended, lost)
}

/// How a MAC address is written in its place.
enum By {
    Netplan,
    Systemd,
}

impl By {
    fn replace(&self, mac: MacAddress) -> String {
        match self {
            Self::Netplan => format!("macaddress: \"{mac}\""),
            Self::Systemd => format!("MACAddress={mac}"),
        }
    }
}

/// The indentation, the form and the words of a line that selects by driver or slot.
fn selection<'a>(path: &str, line: &'a str) -> Option<(&'a str, By, String)> {
    let content = line.trim();
    let indent = &line[..line.len() - line.trim_start().len()];
    let is_driver = |value: &str| DRIVERS.contains(&value.trim().trim_matches(['"', '\'']));
    let by = if path.starts_with("/etc/netplan/") {
        let value = content.strip_prefix("driver:")?;
        is_driver(value).then_some(By::Netplan)
    } else if path.ends_with(".network") || path.ends_with(".link") {
        let driver = content.strip_prefix("Driver=").is_some_and(is_driver);
        (driver || content.starts_with("Path=pci-")).then_some(By::Systemd)
    } else {
        None
    }?;
    Some((indent, by, content.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_driver_gives_way_to_the_address() {
        let only = Some("00:50:56:AA:BB:01".parse().expect("an address"));
        let netplan = "    lan:\n      match:\n        driver: vmxnet3\n      dhcp4: true\n";
        let (mended, lost) = mac("/etc/netplan/a.yaml", netplan, only);
        assert_eq!(
            mended,
            "    lan:\n      match:\n        macaddress: \"00:50:56:aa:bb:01\"\n      dhcp4: true\n"
        );
        assert!(lost.is_empty());
        let networkd = "[Match]\nPath=pci-0000:0b:00.0\n[Network]\nDHCP=yes\n";
        let (mended, _) = mac("/etc/systemd/network/a.network", networkd, only);
        assert_eq!(mended, "[Match]\nMACAddress=00:50:56:aa:bb:01\n[Network]\nDHCP=yes\n");
        let (same, lost) = mac("/etc/systemd/network/a.network", networkd, None);
        assert_eq!(
            (same.as_str(), lost.as_slice()),
            (networkd, ["Path=pci-0000:0b:00.0".to_owned()].as_slice())
        );
    }

    #[test]
    fn other_drivers_stay() {
        let text = "match:\n  driver: virtio_net\n";
        assert_eq!(mac("/etc/netplan/a.yaml", text, None), (text.to_owned(), Vec::new()));
    }
}
