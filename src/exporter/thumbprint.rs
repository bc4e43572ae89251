//! Thumbprints of certificates.

use std::fmt;
use std::str::FromStr;

use sha1::Digest;

use super::Error;

/// The digest of a certificate (of its DER form). Displayed as upper-case pairs with colons, as
/// vSphere and openssl do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Thumbprint {
    /// 20 bytes, vSphere's default.
    Sha1([u8; 20]),
    /// 32 bytes, the length of an `openssl x509 -fingerprint -sha256` digest.
    Sha256([u8; 32]),
}

impl Thumbprint {
    /// The thumbprint of `certificate`, by the same algorithm as `self`.
    pub(super) fn of_same_kind(&self, certificate: &[u8]) -> Self {
        match self {
            Self::Sha1(_) => Self::Sha1(sha1::Sha1::digest(certificate).into()),
            Self::Sha256(_) => Self::sha256(certificate),
        }
    }

    /// The SHA-256 thumbprint of `certificate`.
    pub(super) fn sha256(certificate: &[u8]) -> Self {
        Self::Sha256(sha2::Sha256::digest(certificate).into())
    }
}

impl fmt::Display for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes: &[u8] = match self {
            Self::Sha1(sum) => sum,
            Self::Sha256(sum) => sum,
        };
        for (i, byte) in bytes.iter().enumerate() {
            write!(f, "{}{byte:02X}", if i == 0 { "" } else { ":" })?;
        }
        Ok(())
    }
}

impl FromStr for Thumbprint {
    type Err = Error;

    /// Accepts pairs of hexadecimal digits in any case, with or without colons.
    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = || Error::Thumbprint { text: text.chars().take(120).collect() };
        let digits: Vec<u8> = text.trim().bytes().filter(|byte| *byte != b':').collect();
        if !digits.iter().all(u8::is_ascii_hexdigit) || !digits.len().is_multiple_of(2) {
            return Err(wrong());
        }
        let bytes: Option<Vec<u8>> = digits
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
            .collect();
        let bytes = bytes.ok_or_else(wrong)?;
        if let Ok(sum) = <[u8; 20]>::try_from(bytes.as_slice()) {
            return Ok(Self::Sha1(sum));
        }
        <[u8; 32]>::try_from(bytes.as_slice()).map(Self::Sha256).map_err(|_| wrong())
    }
}

#[cfg(test)]
mod tests {
    use super::Thumbprint;

    #[test]
    fn thumbprints_are_read_in_every_usual_form() {
        let colons = "2B:0F:".repeat(10);
        let sha1: Thumbprint = colons.trim_end_matches(':').parse().expect("valid");
        assert_eq!(sha1, "2b0f".repeat(10).parse().expect("valid"));
        assert_eq!(sha1.to_string(), colons.trim_end_matches(':'));
        assert!(matches!("00".repeat(32).parse(), Ok(Thumbprint::Sha256(_))));
    }

    #[test]
    fn what_is_no_thumbprint_is_refused() {
        for text in ["", "2B:0F", &"0".repeat(41), &"zz".repeat(20), &"00".repeat(33)] {
            assert!(text.parse::<Thumbprint>().is_err(), "{text}");
        }
    }
}
