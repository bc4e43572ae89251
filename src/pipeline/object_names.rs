//! Names of libvirt's objects, for shell completion.

use std::time::Duration;

use crate::libvirt;
pub use crate::libvirt::ObjectKind;

/// Timeout: the user is waiting at a prompt.
const LONGEST: Duration = Duration::from_secs(2);

/// The names of the objects of `kind` in the local libvirt at `uri`. Empty if libvirt does not
/// answer within two seconds, or rejects the connection.
pub async fn object_names(uri: &str, kind: ObjectKind) -> Vec<String> {
    let asked = tokio::time::timeout(LONGEST, libvirt::object_names(uri, kind)).await;
    asked.ok().and_then(Result::ok).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn no_other_machine_is_asked_and_no_error_is_printed() {
        for uri in [
            "qemu+ssh://192.0.2.1/system",
            "qemu:///system?command=/bin/false",
            "qemu+unix:///system?socket=/nonexistent/socket",
            "nonsense",
        ] {
            let begun = std::time::Instant::now();
            assert_eq!(object_names(uri, ObjectKind::Pool).await, Vec::<String>::new(), "{uri}");
            assert!(begun.elapsed() < LONGEST * 2, "{uri}");
        }
    }
}
