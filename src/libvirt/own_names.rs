//! Names and UUIDs for objects that hyperexport creates.

use std::fs;

use super::Error;

/// The kernel's source of random UUIDs (`random(4)`).
const UUIDS: &str = "/proc/sys/kernel/random/uuid";
/// Prefix of names of temporary domains and volumes. A temporary domain's name ends with its UUID;
/// only the two together identify such a domain.
pub(in crate::libvirt) const TRIAL_PREFIX: &str = "hyperexport-trial-";

/// A random UUID.
pub(in crate::libvirt) fn fresh_uuid() -> Result<String, Error> {
    let text = fs::read_to_string(UUIDS).map_err(Error::file("reading", UUIDS))?;
    Ok(text.trim().to_owned())
}
