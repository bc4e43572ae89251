//! Opens encrypted disks with the user's passphrases.

use crate::convert::Error;
use crate::convert::settings::DiskKey;
use crate::model::SourceVm;

use super::devices::GuestDevices;
use super::guestfs::Guestfs;
use super::systems;

/// Most layers that are opened: LUKS on LVM on LUKS is deeper than any real disk.
const LAYERS: usize = 3;

/// Opens every encrypted device with a matching key, layer by layer; returns the devices that stay
/// locked and the reasons.
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
        let mut locked = systems::encrypted(guestfs).await?;
        locked.retain(|device| failed.iter().all(|(known, _)| known != device));
        if locked.is_empty() {
            break;
        }
        // A volume inside an opened device has a name now.
        let devices = GuestDevices::find(guestfs, vm).await?;
        for device in locked {
            let uuid = devices.tag(&device, "UUID").unwrap_or_default();
            let fits = |key: &&DiskKey| is_for(key, &device, &devices);
            let Some(key) = keys.iter().find(fits) else { continue };
            unused.retain(|other| other.device != key.device);
            let name = systems::opened_as(uuid);
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

/// Whether a key is meant for this device, by a name in libguestfs or in the guest, or by its LUKS
/// UUID.
fn is_for(key: &DiskKey, device: &str, devices: &GuestDevices) -> bool {
    let wanted = key.device.as_str();
    let own = devices.tag(device, "UUID").filter(|uuid| !uuid.is_empty());
    let is_uuid = own.is_some_and(|uuid| wanted.eq_ignore_ascii_case(uuid));
    let is_named = || systems::in_appliance(wanted) == device;
    let is_meant = || devices.all(wanted).iter().any(|meant| meant == device);
    wanted == DiskKey::ALL || is_uuid || is_named() || is_meant()
}

#[cfg(test)]
mod tests {
    use super::super::devices::devices;
    use super::*;
    use crate::model::Secret;

    #[test]
    fn a_key_is_for_a_device_by_any_of_its_names() {
        let devices = devices(&[("/dev/sda2", "5eed"), ("/dev/vg/root", "da7a")]);
        let fits = |named: &str, device: &str| {
            let key = DiskKey { device: named.to_owned(), passphrase: Secret::new("x".to_owned()) };
            is_for(&key, device, &devices)
        };
        for named in ["/dev/sda2", "/dev/vda2", "5EED", "UUID=5eed", "PARTUUID=part-5eed", "all"] {
            assert!(fits(named, "/dev/sda2"), "{named}");
        }
        for named in ["/dev/sda1", "da7a", "UUID=da7a", "", "/dev/vg/root"] {
            assert!(!fits(named, "/dev/sda2"), "{named}");
        }
        assert!(fits("/dev/mapper/vg-root", "/dev/vg/root"));
    }
}
