//! Names and UUIDs of objects that are ours alone.

use std::fs;

use super::Error;

/// The kernel's source of random UUIDs (`random(4)`).
const UUIDS: &str = "/proc/sys/kernel/random/uuid";
/// Names of such domains begin so and end with their own UUID: by that alone they are known.
pub(in crate::libvirt) const TRIAL_PREFIX: &str = "hyperexport-trial-";

/// A UUID that nothing else has.
pub(in crate::libvirt) fn fresh_uuid() -> Result<String, Error> {
    let text = fs::read_to_string(UUIDS).map_err(Error::file("reading", UUIDS))?;
    Ok(text.trim().to_owned())
}
