//! How VMware stores the identity of a VM, and how its guest reads it.
//!
//! A UUID is sixteen bytes. SMBIOS 2.6 and newer says that the first three groups of its text are
//! read in little-endian order; VMware's own text (`uuid.bios`, `config.uuid`) is in the order of
//! the bytes. So guests of hardware version 13 and newer, whose SMBIOS is 2.7, show another text
//! than vCenter does (VMware KB 53609). Windows always swaps; Linux swaps by the version of SMBIOS.
//! QEMU writes SMBIOS 2.8 and newer, and swaps when it writes.

use crate::model::{Board, OsFamily, SmbiosText};

/// First hardware version whose SMBIOS is newer than 2.6.
const SWAPPED_FROM: u32 = 13;

/// The bytes of a UUID, in the order of its hexadecimal digits; `None` for an invalid UUID and for
/// a placeholder (all digits equal).
fn bytes(text: &str) -> Option<[u8; 16]> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let rest = text.bytes().filter(|byte| !byte.is_ascii_hexdigit());
    let is_uuid = digits.len() == 32 && rest.into_iter().all(|byte| b" -{}\t".contains(&byte));
    if !is_uuid || digits.iter().all(|digit| digit.eq_ignore_ascii_case(&digits[0])) {
        return None;
    }
    let digits = std::str::from_utf8(&digits).ok()?;
    u128::from_str_radix(digits, 16).ok().map(u128::to_be_bytes)
}

/// The UUID with these bytes, as text.
fn uuid(bytes: [u8; 16]) -> String {
    let hex = format!("{:032x}", u128::from_be_bytes(bytes));
    let groups = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]];
    groups.join("-")
}

/// Swaps the byte order of the first three groups.
fn swapped(mut bytes: [u8; 16]) -> [u8; 16] {
    bytes[..4].reverse();
    bytes[4..6].reverse();
    bytes[6..8].reverse();
    bytes
}

/// The identity of a VM, from its BIOS UUID, its virtual hardware version, and the two numbers of
/// its generation id.
pub(super) fn board(uuid: &str, family: OsFamily, hardware: &str, low: &str, high: &str) -> Board {
    Board {
        uuid: guest_uuid(uuid, family, hardware),
        smbios: serial(uuid).into_iter().collect(),
        genid: genid(low, high),
        ..Board::default()
    }
}

/// The UUID that the guest of a VM with the BIOS UUID `own` shows. `hardware` is the version of the
/// virtual hardware: `19`, `vmx-19`.
fn guest_uuid(own: &str, family: OsFamily, hardware: &str) -> Option<String> {
    let bytes = bytes(own)?;
    let version = hardware.trim_start_matches("vmx-").trim().parse::<u32>();
    let is_old = version.is_ok_and(|version| version < SWAPPED_FROM);
    let as_written = is_old && family == OsFamily::Linux;
    Some(uuid(if as_written { bytes } else { swapped(bytes) }))
}

/// The serial number that VMware derives from the BIOS UUID.
pub(super) fn serial(own: &str) -> Option<SmbiosText> {
    let pairs = bytes(own)?.map(|byte| format!("{byte:02x}"));
    let value = format!("VMware-{}-{}", pairs[..8].join(" "), pairs[8..].join(" "));
    Some(SmbiosText { table: "system".to_owned(), name: "serial".to_owned(), value })
}

/// The VM Generation ID from `vm.genid` and `vm.genidX`: two signed 64-bit numbers, whose
/// little-endian bytes the guest reads. In the GUID's text, the first three groups are swapped.
fn genid(low: &str, high: &str) -> Option<String> {
    let number = |text: &str| text.trim().parse::<i64>().ok().map(i64::to_le_bytes);
    let (low, high) = (number(low)?, number(high)?);
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&low);
    bytes[8..].copy_from_slice(&high);
    (bytes != [0; 16]).then(|| uuid(swapped(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "56 4d 12 34 ab cd ef 01-23 45 67 89 ab cd ef 01";

    #[test]
    fn a_guest_keeps_the_uuid_that_it_shows() {
        let (as_written, swapped) =
            ("564d1234-abcd-ef01-2345-6789abcdef01", "34124d56-cdab-01ef-2345-6789abcdef01");
        for (family, hardware, shown) in [
            (OsFamily::Linux, "19", swapped),
            (OsFamily::Linux, "vmx-13", swapped),
            (OsFamily::Linux, "vmx-12", as_written),
            (OsFamily::Linux, "8", as_written),
            (OsFamily::Linux, "", swapped),
            (OsFamily::Windows, "8", swapped),
            (OsFamily::Unknown, "vmx-21", swapped),
        ] {
            for own in [OWN, as_written, &as_written.to_uppercase()] {
                let found = guest_uuid(own, family, hardware);
                assert_eq!(found.as_deref(), Some(shown), "{family:?} {hardware} {own}");
            }
        }
        for none in ["", "564d", "nonsense", &"0".repeat(32), &"f".repeat(32), &format!("{OWN} 00")]
        {
            assert_eq!(guest_uuid(none, OsFamily::Linux, "19"), None, "{none}");
        }
        let serial = serial(OWN).map(|text| text.value);
        assert_eq!(
            serial.as_deref(),
            Some("VMware-56 4d 12 34 ab cd ef 01-23 45 67 89 ab cd ef 01")
        );
    }

    #[test]
    fn two_numbers_are_a_generation_id() {
        // 0x0123456789abcdef and 0xfedcba9876543210.
        let found = genid("81985529216486895", "-81985529216486896");
        assert_eq!(found.as_deref(), Some("89abcdef-4567-0123-1032-547698badcfe"));
        for (low, high) in
            [("0", "0"), ("1", ""), ("", ""), ("x", "1"), ("1", "9223372036854775808")]
        {
            assert_eq!(genid(low, high), None, "{low} {high}");
        }
    }
}
