//! The guest operating system that an OVF states.

use super::schema::OperatingSystem;
use crate::exporter::guest_os::{arch, os_family};
use crate::model::OsFamily;

/// `CIM_OperatingSystem.OSType` (CIM schema 2.38): Linux distributions with names of their own.
const LINUX: [u32; 24] = [
    36, 79, 80, 82, 83, 84, 85, 86, 87, 88, 89, 90, 91, 92, 93, 94, 95, 96, 97, 98, 99, 100, 101,
    106,
];
const MORE_LINUX: [u32; 8] = [107, 108, 109, 122, 123, 124, 125, 126];
/// … and Windows from 3.x to Server 2022. 78 among them is FreeBSD, 104 is ESXi.
const WINDOWS: [u32; 33] = [
    15, 16, 17, 18, 58, 63, 67, 69, 70, 71, 72, 73, 74, 75, 76, 77, 103, 105, 111, 112, 113, 114,
    115, 116, 117, 118, 119, 120, 121, 127, 128, 129, 130,
];

/// Id of the guest operating system: VMware's, else VirtualBox's; empty if there is none.
pub(super) fn id(os: &OperatingSystem) -> String {
    let virtual_box = os.virtual_box.as_deref().unwrap_or_default().trim();
    let id = if os.vmware.is_empty() { virtual_box } else { os.vmware.as_str() };
    id.to_owned()
}

/// Display name of the guest operating system.
pub(super) fn full_name(os: &OperatingSystem) -> String {
    let told = os.description.iter().chain(&os.virtual_box);
    let mut told = told.map(|text| text.trim()).filter(|text| !text.is_empty());
    told.next().unwrap_or_default().chars().take(200).collect()
}

/// The family: by the id of VMware or VirtualBox, else by the names, else by the number of the
/// standard.
pub(super) fn family(os: &OperatingSystem) -> OsFamily {
    let told = os_family("", &words(os));
    match os.id.trim().parse() {
        _ if told != OsFamily::Unknown => told,
        Ok(id) if LINUX.contains(&id) || MORE_LINUX.contains(&id) => OsFamily::Linux,
        Ok(id) if WINDOWS.contains(&id) => OsFamily::Windows,
        _ => OsFamily::Unknown,
    }
}

/// The architecture, by the id of VMware or VirtualBox and by the names. The numbers of the
/// standard give the word width, but not the architecture.
pub(super) fn architecture(os: &OperatingSystem) -> Option<String> {
    arch(&words(os))
}

fn words(os: &OperatingSystem) -> Vec<&str> {
    let told = os.virtual_box.iter().chain(&os.description).map(String::as_str);
    [os.vmware.as_str()].into_iter().chain(told).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn os(id: &str, vmware: &str, description: &str) -> OperatingSystem {
        OperatingSystem {
            id: id.to_owned(),
            vmware: vmware.to_owned(),
            description: vec![description.to_owned()],
            virtual_box: None,
        }
    }

    #[test]
    fn families_are_known_by_id_word_or_number() {
        assert_eq!(family(&os("1", "windows2019srv_64Guest", "")), OsFamily::Windows);
        assert_eq!(
            family(&os("1", "", "Microsoft Windows Server 2016 (64-bit)")),
            OsFamily::Windows
        );
        assert_eq!(family(&os("1", "", "Debian GNU/Linux 12 (64-bit)")), OsFamily::Linux);
        assert_eq!(family(&os("101", "", "The kind of installed guest OS")), OsFamily::Linux);
        assert_eq!(family(&os("116", "", "")), OsFamily::Windows);
        assert_eq!(family(&os("42", "", "FreeBSD")), OsFamily::Unknown);
        assert_eq!(family(&os("78", "", "")), OsFamily::Unknown, "FreeBSD, 64 bits");
        assert_eq!(architecture(&os("96", "debian12_64Guest", "")).as_deref(), Some("x86_64"));
        let arm = OperatingSystem { virtual_box: Some("Debian_arm64".into()), ..os("96", "", "") };
        assert_eq!(architecture(&arm).as_deref(), Some("aarch64"));
        assert_eq!((id(&arm), full_name(&arm)), ("Debian_arm64".into(), "Debian_arm64".into()));
        assert_eq!(architecture(&os("96", "", "")), None);
    }
}
