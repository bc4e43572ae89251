//! Programmatic units (DMTF DSP0004, annex C): `byte * 2^20`; and the older spellings.

/// Bytes of one unit; `None` for a unit that does not count bytes.
pub(super) fn bytes(units: &str) -> Option<u64> {
    let text: String = units.to_ascii_lowercase().split_whitespace().collect();
    let (unit, power) = text.split_once('*').map_or((text.as_str(), None), |(u, p)| (u, Some(p)));
    let unit: u64 = match unit {
        "" | "byte" | "bytes" | "b" => 1,
        "kb" | "kib" | "kilobytes" | "kilobyte" | "kibibytes" | "kibibyte" => 1 << 10,
        "mb" | "mib" | "megabytes" | "megabyte" | "mebibytes" | "mebibyte" => 1 << 20,
        "gb" | "gib" | "gigabytes" | "gigabyte" | "gibibytes" | "gibibyte" => 1 << 30,
        "tb" | "tib" | "terabytes" | "terabyte" | "tebibytes" | "tebibyte" => 1 << 40,
        _ => return None,
    };
    let Some(power) = power else { return Some(unit) };
    let (base, exponent) = power.split_once('^').unwrap_or((power, "1"));
    let factor = base.parse::<u64>().ok()?.checked_pow(exponent.parse().ok()?)?;
    unit.checked_mul(factor)
}

/// Converts `number` of `units` to bytes.
pub(super) fn amount(number: &str, units: &str) -> Option<u64> {
    number.trim().parse::<u64>().ok()?.checked_mul(bytes(units)?)
}

#[cfg(test)]
mod tests {
    use super::amount;

    #[test]
    fn every_writer_counts_in_its_own_way() {
        for (number, units, expected) in [
            ("8", "byte * 2^30", Some(8 << 30)),
            ("8", "byte*2^30", Some(8 << 30)),
            ("512", "MegaBytes", Some(512 << 20)),
            ("5", "byte * 10^9", Some(5_000_000_000)),
            ("512", "byte * 1048576", Some(512 << 20)),
            ("512", "MiB", Some(512 << 20)),
            ("4194304", "", Some(4_194_304)),
            (" 2 ", "GB", Some(2 << 30)),
            ("x", "byte", None),
            ("1", "hertz * 10^6", None),
            ("99999999999999", "byte * 2^30", None),
            ("1", "byte * 2^99", None),
        ] {
            assert_eq!(amount(number, units), expected, "{number} {units}");
        }
    }
}
