//! Values with a unit or a shape: sizes, digests, MAC addresses, disk ids.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::DiskFormat;

/// A text that its type cannot parse.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{value}' is not {expected}")]
pub struct InvalidValue {
    /// The rejected text, cut at 80 characters.
    pub value: String,
    /// What the type requires, as a noun phrase.
    pub expected: &'static str,
}

impl InvalidValue {
    fn new(value: &str, expected: &'static str) -> Self {
        Self { value: value.chars().take(80).collect(), expected }
    }
}

/// A number of bytes. Displayed with a binary unit: `1.5 GiB`.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct ByteSize(pub u64);

impl ByteSize {
    /// The size of `mib` MiB; saturates at the largest number.
    pub const fn of_mib(mib: u64) -> Self {
        Self(mib.saturating_mul(1 << 20))
    }
}

/// Sizes come from other systems: a total beyond `u64` saturates and never wraps to a small number.
impl std::iter::Sum for ByteSize {
    fn sum<I: Iterator<Item = Self>>(sizes: I) -> Self {
        Self(sizes.fold(0, |sum, size| sum.saturating_add(size.0)))
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
        if self.0 < 1024 {
            return write!(f, "{} B", self.0);
        }
        let mut value = self.0 as f64 / 1024.0;
        let mut unit = 0;
        while value >= 1024.0 && unit + 1 < UNITS.len() {
            value /= 1024.0;
            unit += 1;
        }
        write!(f, "{value:.1} {}", UNITS[unit])
    }
}

/// A SHA-256 checksum. Written as 64 lower-case hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Sha256Digest(
    #[cfg_attr(test, schemars(with = "String", regex(pattern = "^[0-9a-f]{64}$")))] pub [u8; 32],
);

impl fmt::Display for Sha256Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for Sha256Digest {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let wrong =
            || InvalidValue::new(text, "a SHA-256 checksum of 64 lower-case hexadecimal digits");
        let digits = text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if text.len() != 64 || !digits {
            return Err(wrong());
        }
        let mut sum = [0; 32];
        for (i, byte) in sum.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).map_err(|_| wrong())?;
        }
        Ok(Self(sum))
    }
}

/// A 48-bit MAC address. Written in lower case with colons, as libvirt does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct MacAddress(
    #[cfg_attr(test, schemars(with = "String", regex(pattern = "^([0-9a-f]{2}:){5}[0-9a-f]{2}$")))]
    pub [u8; 6],
);

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl FromStr for MacAddress {
    type Err = InvalidValue;

    /// Accepts six pairs of hexadecimal digits with `:` or `-` between them, three groups of four
    /// with `.` (Cisco) and twelve digits alone (VirtualBox), in either case.
    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let wrong = || InvalidValue::new(text, "a MAC address such as 00:50:56:aa:bb:01");
        let groups: Vec<&str> = text.split([':', '-', '.']).collect();
        let digits = match (groups.len(), text.contains('.')) {
            (6, false) => 2,
            (3, true) if !text.contains([':', '-']) => 4,
            (1, false) => 12,
            _ => return Err(wrong()),
        };
        let is_group = |group: &&str| {
            group.len() == digits && group.bytes().all(|byte| byte.is_ascii_hexdigit())
        };
        if !groups.iter().all(is_group) {
            return Err(wrong());
        }
        let all = groups.concat();
        let mut address = [0; 6];
        for (index, byte) in address.iter_mut().enumerate() {
            let pair = &all[2 * index..2 * index + 2];
            *byte = u8::from_str_radix(pair, 16).map_err(|_| wrong())?;
        }
        Ok(Self(address))
    }
}

/// Identifier of a disk within one export: `disk-0`, `disk-1`, …
///
/// Always matches `^[a-zA-Z0-9_-]{1,64}$` (Artifact Manifest v1.0, `disks[].id`), so it is safe as
/// part of a file name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DiskId(#[cfg_attr(test, schemars(regex(pattern = "^[a-zA-Z0-9_-]{1,64}$")))] String);

impl DiskId {
    /// The id of the disk at `index`, counted from 0.
    pub fn from_index(index: usize) -> Self {
        Self(format!("disk-{index}"))
    }

    /// The id of the medium in the CD-ROM drive at `index`, counted from 0.
    pub fn of_medium(index: usize) -> Self {
        Self(format!("cdrom-{index}"))
    }

    /// Whether the id is one of [`DiskId::of_medium`].
    pub fn is_of_medium(&self) -> bool {
        self.0.starts_with("cdrom-")
    }

    /// The id as text, such as `disk-0`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Name of the disk's image file in an export: `disk-0.vmdk`.
    pub fn file_name(&self, format: DiskFormat) -> String {
        format!("{self}.{format}")
    }
}

impl fmt::Display for DiskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for DiskId {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let fits = text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
        if fits && (1..=64).contains(&text.len()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidValue::new(text, "a disk id of 1 to 64 letters, digits, '_' and '-'"))
        }
    }
}

/// Implements `Serialize` and `Deserialize` of a type with its `Display` and `FromStr`.
macro_rules! serde_as_text {
    ($($name:ty),+) => {$(
        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )+};
}
serde_as_text!(Sha256Digest, MacAddress, DiskId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_shown_with_binary_units() {
        assert_eq!(ByteSize(1023).to_string(), "1023 B");
        assert_eq!(ByteSize(1536 * 1024 * 1024).to_string(), "1.5 GiB");
        assert_eq!(ByteSize::of_mib(u64::MAX), ByteSize(u64::MAX));
        let sum: ByteSize = [ByteSize(u64::MAX), ByteSize(2)].into_iter().sum();
        assert_eq!(sum, ByteSize(u64::MAX));
    }

    #[test]
    fn mac_addresses_are_normalised_and_checked() {
        for spelling in ["00-50-56-AA-bb-01", "00:50:56:aa:bb:01", "0050.56aa.BB01", "005056AABB01"]
        {
            let mac: MacAddress = spelling.parse().expect(spelling);
            assert_eq!(mac.to_string(), "00:50:56:aa:bb:01");
        }
        for wrong in [
            "",
            "00:50:56:aa:bb",
            "00:50:56:aa:bb:01:02",
            "0:50:56:aa:bb:01",
            "zz:50:56:aa:bb:01",
            "00.50.56.aa.bb.01",
            "0050:56aa:bb01",
            "0050.56aa-bb01",
            "+5:50:56:aa:bb:01",
            "00505\u{fc}aabb01",
        ] {
            assert!(wrong.parse::<MacAddress>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn disk_ids_cannot_leave_their_folder() {
        for wrong in ["", "..", "a/b", "disk 0", "dísk"] {
            assert!(wrong.parse::<DiskId>().is_err(), "{wrong}");
        }
        assert_eq!("disk_0-A".parse::<DiskId>().expect("valid").as_str(), "disk_0-A");
    }

    #[test]
    fn digests_are_lower_case_hex_of_full_length() {
        let text = "0f".repeat(32);
        assert_eq!(text.parse::<Sha256Digest>().expect("valid").to_string(), text);
        assert!(text.to_uppercase().parse::<Sha256Digest>().is_err());
        assert!(text[2..].parse::<Sha256Digest>().is_err());
    }
}
