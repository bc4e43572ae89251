//! Encrypted disks, opened with passphrases of the user.

use crate::convert::Error;
use crate::convert::settings::DiskKey;
use crate::model::SourceVm;

use super::devices::GuestDevices;
use super::guestfs::Guestfs;
use super::systems;

/// Layers that are looked for: LUKS on LVM on LUKS is nobody's disk any more.
const LAYERS: usize = 3;

/// Opens every encrypted device that a key is given for, layer by layer; returns what could not be
/// opened and why.
pub(super) async fn open(
    guestfs: &mut Guestfs,
    keys: &[DiskKey],
    vm: &SourceVm,
) -> Result<Vec<String>, Error> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let (mut failed, mut unused): (Vec<_>, Vec<_>) = (Vec::new(), keys.iter().collect());
    for _ in 0..LAYERS {
        let mut opened = false;
        // A volume inside what was opened has a name by now.
        let devices = GuestDevices::find(guestfs, vm).await?;
        for device in systems::encrypted(guestfs).await? {
            if failed.iter().any(|(known, _)| *known == device) {
                continue;
            }
            let uuid = guestfs.tags(&device).await?.remove("UUID").unwrap_or_default();
            let fits = |key: &&DiskKey| {
                key.is_for(&device, &uuid) || devices.all(&key.device).contains(&device)
            };
            let Some(key) = keys.iter().find(fits) else { continue };
            unused.retain(|other| other.device != key.device);
            let name = systems::opened_as(&uuid);
            let name = name.strip_prefix("/dev/mapper/").unwrap_or(&name);
            let doing = format!("opening the encrypted {device}");
            let words = ["cryptsetup-open", &device, name];
            match guestfs.attempt_with_key(&doing, &words, &key.passphrase).await? {
                Ok(_) => opened = true,
                Err(why) => failed.push((device, why)),
            }
        }
        if !opened {
            break;
        }
        guestfs.try_run("searching for logical volumes", &["lvm-scan", "true"]).await?;
    }
    let failed = failed.into_iter().map(|(device, why)| format!("opening {device}: {why}"));
    let unused = unused.into_iter().filter(|key| key.device != DiskKey::ALL);
    let unused =
        unused.map(|key| format!("no encrypted device is '{}', which --key names", key.device));
    Ok(failed.chain(unused).collect())
}
