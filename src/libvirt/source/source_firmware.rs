//! Detects the firmware of a domain, which its XML may specify by a type, by a loader, or by
//! features.

use super::super::xml::source_domain::Os;

/// Substrings of paths of UEFI firmware, in lower case: those of Debian, Ubuntu, Fedora, SUSE and
/// QEMU.
const EFI: [&str; 4] = ["ovmf", "aavmf", "edk2", "qemu_efi"];

/// Whether the domain has UEFI. A loader without a type is a ROM, which may be BIOS or UEFI.
pub(super) fn is_efi(os: &Os) -> bool {
    let path = os.loader.path.to_ascii_lowercase();
    match (os.firmware.as_str(), os.loader.kind.as_str()) {
        ("efi", _) | ("", "pflash") => true,
        ("", _) => EFI.iter().any(|part| path.contains(part)) && !path.contains("seabios"),
        _ => false,
    }
}

/// Whether the firmware enforces signatures, which it does only with enrolled keys.
pub(super) fn is_secure(os: &Os) -> bool {
    let feature = |name: &str| {
        let found = os.features.feature.iter().find(|feature| feature.name == name);
        found.map(|feature| feature.enabled == "yes")
    };
    let has_keys = feature("enrolled-keys") != Some(false);
    has_keys && feature("secure-boot").unwrap_or(os.loader.secure == "yes")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::libvirt::xml;
    use crate::libvirt::xml::source_domain::SourceDomain;

    fn os(text: &str) -> Os {
        let text = format!("<domain>{text}</domain>");
        xml::read::<SourceDomain>("domain", &text).expect("reads").os
    }

    #[test]
    fn the_firmware_is_named_by_its_kind_or_its_loader() {
        for (text, expected) in [
            ("<os><type>hvm</type></os>", false),
            ("<os firmware='efi'/>", true),
            ("<os firmware='bios'><loader>/usr/share/OVMF/OVMF_CODE.fd</loader></os>", false),
            ("<os><loader readonly='yes' type='pflash'>/firmware.fd</loader></os>", true),
            ("<os><loader type='rom'>/usr/share/ovmf/OVMF.fd</loader></os>", true),
            ("<os><loader>/usr/share/AAVMF/AAVMF_CODE.fd</loader></os>", true),
            ("<os><loader> /usr/share/qemu/edk2-x86_64-code.fd </loader></os>", true),
            ("<os><loader>/usr/share/qemu-efi-aarch64/QEMU_EFI.fd</loader></os>", true),
            ("<os><loader type='rom'>/usr/share/seabios/bios.bin</loader></os>", false),
            ("<os><loader>/usr/share/qemu/bios-256k.bin</loader></os>", false),
            ("<os><loader/></os>", false),
        ] {
            assert_eq!(is_efi(&os(text)), expected, "{text}");
        }
    }

    #[test]
    fn secure_boot_is_a_feature_or_a_property_of_the_loader() {
        let features = |secure: &str, keys: &str| {
            format!(
                "<os firmware='efi'><type arch='x86_64'>hvm</type><firmware>\
                 <feature enabled='{keys}' name='enrolled-keys'/>\
                 <feature enabled='{secure}' name='secure-boot'/></firmware></os>"
            )
        };
        let loader = "<loader readonly='yes' secure='yes' type='pflash'>/x.fd</loader>";
        let without_keys = format!(
            "<os firmware='efi'><firmware><feature enabled='no' name='enrolled-keys'/></firmware>\
             {loader}</os>"
        );
        for (text, expected) in [
            (features("yes", "yes"), true),
            (features("yes", "no"), false),
            (features("no", "no"), false),
            ("<os firmware='efi'><firmware><feature enabled='yes' name='secure-boot'/></firmware></os>".to_owned(), true),
            (format!("<os>{loader}</os>"), true),
            (without_keys, false),
            ("<os firmware='efi'/>".to_owned(), false),
        ] {
            assert_eq!(is_secure(&os(&text)), expected, "{text}");
        }
    }
}
