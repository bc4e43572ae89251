//! Explains in plain words why a server's certificate is rejected.

use std::fmt;

use rustls::pki_types::UnixTime;
use rustls::{CertificateError, OtherError};

/// Reason why a certificate was rejected.
#[derive(Debug, Clone, PartialEq)]
pub struct CertificateFault(pub(super) rustls::Error);

impl std::error::Error for CertificateFault {}

impl fmt::Display for CertificateFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            rustls::Error::InvalidCertificate(error) => f.write_str(&of_certificate(error)),
            rustls::Error::General(text) => f.write_str(text),
            other => write!(f, "the certificate cannot be checked: {other}"),
        }
    }
}

fn of_certificate(error: &CertificateError) -> String {
    use CertificateError as E;
    let words = match error {
        E::UnknownIssuer => "no authority that this machine trusts has signed it",
        E::Expired => "it has expired",
        E::ExpiredContext { not_after, .. } => {
            return format!("it expired on {}", day(*not_after));
        }
        E::NotValidYet => "it is not valid yet",
        E::NotValidYetContext { not_before, .. } => {
            return format!("it is not valid before {}", day(*not_before));
        }
        E::NotValidForName => "it is for a server of another name",
        E::NotValidForNameContext { expected, presented } => {
            let names: Vec<_> = presented.iter().map(|name| bare(name)).collect();
            let names = if names.is_empty() { "no name at all".into() } else { names.join(", ") };
            return format!("it is for {names}, and not for {}", expected.to_str());
        }
        E::BadSignature => "its signature is wrong",
        E::BadEncoding => "it is damaged",
        E::Revoked => "its authority has revoked it",
        E::UnknownRevocationStatus => "whether it was revoked is not known",
        E::ExpiredRevocationList | E::ExpiredRevocationListContext { .. } => {
            "the list of revoked certificates has expired"
        }
        E::InvalidPurpose | E::InvalidPurposeContext { .. } => "it is not made for a server",
        E::UnhandledCriticalExtension => "it demands an extension that is not known here",
        E::UnsupportedSignatureAlgorithmContext { .. }
        | E::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "it is signed by a method that is too old or not known, such as SHA-1"
        }
        E::Other(OtherError(other)) => match other.downcast_ref::<webpki::Error>() {
            Some(error) => of_webpki(error),
            None => OTHER,
        },
        _ => OTHER,
    };
    words.to_owned()
}

const OTHER: &str = "it does not follow the rules for certificates of servers";

/// Errors for which rustls has no variant.
fn of_webpki(error: &webpki::Error) -> &'static str {
    use webpki::Error as E;
    match error {
        E::CaUsedAsEndEntity => {
            "it is the certificate of an authority and not of a server, as self-signed ones often are"
        }
        E::EndEntityUsedAsCa => "it is signed by a certificate that is not an authority's",
        E::NameConstraintViolation => "its authority may not sign for servers of its name",
        E::PathLenConstraintViolated | E::MaximumPathDepthExceeded => {
            "there are too many authorities between it and a trusted one"
        }
        E::InvalidCertValidity => "it expires before it becomes valid",
        E::UnsupportedCertVersion => "its X.509 version is not 3",
        _ => OTHER,
    }
}

/// Date of a time, in UTC.
fn day(time: UnixTime) -> String {
    let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    jiff::Timestamp::from_second(seconds).map_or_else(
        |_| "a day beyond the calendar".to_owned(),
        |time| time.strftime("%Y-%m-%d").to_string(),
    )
}

/// A name as it is in the certificate: rustls shows `DnsName("vc.example.com")`.
fn bare(name: &str) -> &str {
    let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    inner.unwrap_or(name).trim_matches('"')
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use rustls::pki_types::ServerName;

    use super::*;

    fn said(error: CertificateError) -> String {
        CertificateFault(rustls::Error::InvalidCertificate(error)).to_string()
    }

    #[test]
    fn faults_are_told_without_names_of_types() {
        let time = |seconds| UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let other = |error: webpki::Error| CertificateError::Other(OtherError(Arc::new(error)));
        let expected = ServerName::try_from("vc.example.com").expect("a name");
        let presented = vec!["DnsName(\"esx1\")".to_owned(), "IpAddress(10.0.0.7)".to_owned()];
        let cases = [
            (CertificateError::UnknownIssuer, "no authority that this machine trusts"),
            (
                CertificateError::ExpiredContext { time: time(2), not_after: time(86_400) },
                "it expired on 1970-01-02",
            ),
            (
                CertificateError::NotValidForNameContext { expected, presented },
                "it is for esx1, 10.0.0.7, and not for vc.example.com",
            ),
            (other(webpki::Error::CaUsedAsEndEntity), "the certificate of an authority"),
            (other(webpki::Error::UnsupportedCertVersion), "X.509 version"),
            (other(webpki::Error::BadDerTime), "does not follow the rules"),
            (CertificateError::ApplicationVerificationFailure, "does not follow the rules"),
        ];
        for (error, words) in cases {
            let said = said(error);
            assert!(said.contains(words), "no '{words}' in {said}");
            let innards = ["Error", "(", "::", "Context", "{"];
            assert!(!innards.iter().any(|part| said.contains(part)), "{said}");
        }
    }
}
