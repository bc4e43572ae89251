//! Which operating system an OVF says the guest has.

use super::schema::OperatingSystem;
use crate::exporter::guest_os::os_family;
use crate::model::OsFamily;

/// `CIM_OperatingSystem.OSType` (CIM schema 2.38): Linux distributions with names of their own.
const LINUX: [u32; 24] = [
    36, 79, 80, 82, 83, 84, 85, 86, 87, 88, 89, 90, 91, 92, 93, 94, 95, 96, 97, 98, 99, 100, 101,
    106,
];
const MORE_LINUX: [u32; 8] = [107, 108, 109, 122, 123, 124, 125, 126];
/// … and Windows from 3.x to Server 2022.
const WINDOWS: [u32; 34] = [
    15, 16, 17, 18, 58, 63, 67, 69, 70, 71, 72, 73, 74, 75, 76, 77, 78, 103, 105, 111, 112, 113,
    114, 115, 116, 117, 118, 119, 120, 121, 127, 128, 129, 130,
];

/// The name for people.
pub(super) fn full_name(os: &OperatingSystem) -> String {
    let told = os.description.iter().chain(&os.virtual_box);
    let mut told = told.map(|text| text.trim()).filter(|text| !text.is_empty());
    told.next().unwrap_or_default().chars().take(200).collect()
}

/// The family: by VMware's id, by the words, by the number of the standard.
pub(super) fn family(os: &OperatingSystem) -> OsFamily {
    let words = os.virtual_box.iter().chain(&os.description).map(|text| of_words(text));
    let told = [os_family("", &os.vmware)].into_iter().chain(words);
    let known = told.into_iter().find(|family| *family != OsFamily::Unknown);
    known.unwrap_or_else(|| match os.id.trim().parse() {
        Ok(id) if LINUX.contains(&id) || MORE_LINUX.contains(&id) => OsFamily::Linux,
        Ok(id) if WINDOWS.contains(&id) => OsFamily::Windows,
        _ => OsFamily::Unknown,
    })
}

fn of_words(text: &str) -> OsFamily {
    let text = text.to_lowercase();
    os_family("", text.trim().trim_start_matches("microsoft").trim_start())
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
    }
}
