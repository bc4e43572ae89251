//! Sizes and rates in the spellings that people use, by one reader.

/// The spellings, for errors and help.
pub(super) const SPELLINGS: &str = "4G, 4GiB, 512M (K, M, G and T are powers of 1024), or 10MB, 4GB \
     (powers of 1000)";
/// Those that a rate has besides.
pub(super) const OF_RATES: &str = "80Mbit (powers of 1000), each also with /s";

/// A suffix in lower case and how many bytes it stands for; a bit is an eighth of one.
const BYTES: [(&str, u64); 20] = [
    ("", 1),
    ("b", 1),
    ("k", 1 << 10),
    ("kb", 1000),
    ("kib", 1 << 10),
    ("m", 1 << 20),
    ("mb", 1_000_000),
    ("mib", 1 << 20),
    ("g", 1 << 30),
    ("gb", 1_000_000_000),
    ("gib", 1 << 30),
    ("t", 1 << 40),
    ("tb", 1_000_000_000_000),
    ("tib", 1 << 40),
    ("byte", 1),
    ("bytes", 1),
    ("ki", 1 << 10),
    ("mi", 1 << 20),
    ("gi", 1 << 30),
    ("ti", 1 << 40),
];
const BITS: [(&str, u64); 4] =
    [("bit", 1), ("kbit", 1000), ("mbit", 1_000_000), ("gbit", 1_000_000_000)];

/// An amount and whether it had a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Amount {
    /// In bytes, rounded down; of a bare number that number.
    pub bytes: u64,
    /// Whether there was no unit.
    pub bare: bool,
}

/// An amount of bytes: `4G`, `1.5GiB`, `10 MB`. None where it is no amount, or too large.
pub(super) fn size(text: &str) -> Option<Amount> {
    read(text.trim(), &BYTES, 1)
}

/// An amount of bytes per second: the same, `80Mbit`, and all of them with `/s`.
pub(super) fn rate(text: &str) -> Option<u64> {
    let text = text.trim();
    let text = text.strip_suffix("/s").unwrap_or(text).trim_end();
    let text = match text.strip_suffix("ps") {
        Some(start) if is_bits(start) => start,
        _ => text,
    };
    match is_bits(text) {
        true => read(text, &BITS, 8),
        // A b behind a large letter may be a byte or a bit.
        false if ["Kb", "Mb", "Gb"].iter().any(|suffix| text.ends_with(suffix)) => None,
        false => read(text, &BYTES, 1),
    }
    .map(|amount| amount.bytes)
}

fn is_bits(text: &str) -> bool {
    text.to_ascii_lowercase().ends_with("bit")
}

fn read(text: &str, units: &[(&str, u64)], divisor: u128) -> Option<Amount> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = unit.trim_start().to_ascii_lowercase();
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| -> Option<u128> {
        let fits = (1..=20).contains(&text.len()) && text.bytes().all(|c| c.is_ascii_digit());
        fits.then(|| text.parse().ok()).flatten()
    };
    // Nothing is half a byte.
    if number.contains('.') && unit.is_empty() || fraction.len() > 9 {
        return None;
    }
    let scale = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    let scaled = digits(whole)?.checked_mul(scale)?.checked_add(digits(fraction)?)?;
    let bytes = scaled.checked_mul(u128::from(*factor))? / scale / divisor;
    Some(Amount { bytes: u64::try_from(bytes).ok()?, bare: unit.is_empty() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_in_every_usual_spelling() {
        const GIB: u64 = 1 << 30;
        for (text, bytes) in [
            ("4G", 4 * GIB),
            ("4g", 4 * GIB),
            ("4GiB", 4 * GIB),
            ("4gib", 4 * GIB),
            ("4 GiB", 4 * GIB),
            ("4Gi", 4 * GIB),
            ("1.5G", 3 * GIB / 2),
            ("4GB", 4_000_000_000),
            ("10MB", 10_000_000),
            ("512M", 512 << 20),
            ("512KiB", 512 << 10),
            ("500kB", 500_000),
            ("1T", 1 << 40),
            ("7B", 7),
        ] {
            assert_eq!(size(text), Some(Amount { bytes, bare: false }), "{text}");
        }
        assert_eq!(size(" 2048\n"), Some(Amount { bytes: 2048, bare: true }));
        for text in [
            "",
            "G",
            "-1G",
            "+1G",
            "1.5",
            "1..5G",
            ".5G",
            "4X",
            "4Mbit",
            "1e3",
            "99999999999999999999G",
            "0x10",
            "1.0000000001G",
        ] {
            assert_eq!(size(text), None, "{text}");
        }
    }

    #[test]
    fn rates_may_be_in_bits_and_per_second() {
        for (text, bytes) in [
            ("80Mbit", 10_000_000),
            ("80mbit/s", 10_000_000),
            ("80 Mbit/s", 10_000_000),
            ("80Mbitps", 10_000_000),
            ("1Gbit", 125_000_000),
            ("10MB/s", 10_000_000),
            ("10mb", 10_000_000),
            ("50M", 50 << 20),
            ("50MiB/s", 50 << 20),
            ("1000", 1000),
        ] {
            assert_eq!(rate(text), Some(bytes), "{text}");
        }
        // A megabyte or a megabit.
        for text in ["80Mb", "80Mb/s", "1Gb", "fast", "M", ""] {
            assert_eq!(rate(text), None, "{text}");
        }
    }
}
