//! What a Windows can start from, by its registry: a controller counts when its driver starts with
//! the kernel (`Start` 0) and its file is there.

use crate::convert::Error;
use crate::model::{GuestBus, GuestCard, GuestDrivers};

use super::guestfs::Guestfs;

/// Services and files of the drivers of each controller; one of several is enough.
const BUSES: [(GuestBus, &str); 11] = [
    (GuestBus::VirtioBlk, "viostor"),
    (GuestBus::VirtioScsi, "vioscsi"),
    (GuestBus::Pvscsi, "pvscsi"),
    (GuestBus::LsiSas, "LSI_SAS"),
    (GuestBus::Sata, "storahci"),
    (GuestBus::Sata, "msahci"),
    (GuestBus::Sata, "iaStorV"),
    (GuestBus::Ide, "intelide"),
    (GuestBus::Ide, "pciide"),
    (GuestBus::Nvme, "stornvme"),
    (GuestBus::Nvme, "nvme"),
];
/// virtio's network card.
const CARD: &str = "netkvm";

/// The drivers of the Windows that is mounted; none when its registry cannot be read.
pub(super) async fn drivers(
    guestfs: &mut Guestfs,
    root: &str,
) -> Result<Option<GuestDrivers>, Error> {
    let words = ["inspect-get-windows-systemroot", root];
    let folder = first(guestfs.attempt("find Windows", &words).await?);
    let words = ["inspect-get-windows-current-control-set", root];
    let set = first(guestfs.attempt("find Windows", &words).await?);
    let hive = path(guestfs, &format!("{folder}/System32/config/SYSTEM")).await?;
    let (Some(hive), false) = (hive, folder.is_empty() || set.is_empty()) else {
        return Ok(None);
    };
    if !guestfs.try_run("open the registry", &["hivex-open", &hive]).await? {
        return Ok(None);
    }
    let mut found = GuestDrivers::default();
    let top = first(guestfs.attempt("read the registry", &["hivex-root"]).await?);
    let services = node(guestfs, &top, &[&set, "Services"]).await?;
    for (bus, service) in BUSES {
        let starts = starts_with_kernel(guestfs, services.as_deref(), service).await?;
        if starts && is_there(guestfs, &folder, service).await? && !found.boots_from(bus) {
            found.buses.push(bus);
        }
    }
    let card = match &services {
        Some(services) => node(guestfs, services, &[CARD]).await?,
        None => None,
    };
    if card.is_some() && is_there(guestfs, &folder, CARD).await? {
        found.cards.push(GuestCard::Virtio);
    }
    guestfs.run("close the registry", &["hivex-close"]).await?;
    Ok(Some(found))
}

/// Whether the guest agent of QEMU is installed.
pub(super) async fn has_agent(guestfs: &mut Guestfs) -> Result<bool, Error> {
    for folder in ["/Program Files/Qemu-ga", "/Program Files (x86)/Qemu-ga"] {
        if path(guestfs, &format!("{folder}/qemu-ga.exe")).await?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A path as the file system spells it.
async fn path(guestfs: &mut Guestfs, any: &str) -> Result<Option<String>, Error> {
    let found = guestfs.attempt("find a file of Windows", &["case-sensitive-path", any]).await?;
    let found = first(found);
    // The last part may be missing, and is then returned as it was given.
    Ok(if !found.is_empty() && guestfs.is_file(&found).await? { Some(found) } else { None })
}

async fn is_there(guestfs: &mut Guestfs, folder: &str, service: &str) -> Result<bool, Error> {
    Ok(path(guestfs, &format!("{folder}/System32/drivers/{service}.sys")).await?.is_some())
}

/// `Start` is 0, and nothing in `StartOverride` (Windows 8 and later) says otherwise.
async fn starts_with_kernel(
    guestfs: &mut Guestfs,
    services: Option<&str>,
    service: &str,
) -> Result<bool, Error> {
    let Some(services) = services else { return Ok(false) };
    let Some(key) = node(guestfs, services, &[service]).await? else { return Ok(false) };
    if number(guestfs, &key, "Start").await? != Some(0) {
        return Ok(false);
    }
    let Some(overridden) = node(guestfs, &key, &["StartOverride"]).await? else { return Ok(true) };
    Ok(number(guestfs, &overridden, "0").await?.is_none_or(|start| start == 0))
}

/// The key below another, by its names.
async fn node(guestfs: &mut Guestfs, top: &str, names: &[&str]) -> Result<Option<String>, Error> {
    let mut node = top.to_owned();
    for name in names {
        let words = ["hivex-node-get-child", &node, name];
        node = first(guestfs.attempt("read the registry", &words).await?);
        if node.is_empty() || node == "0" {
            return Ok(None);
        }
    }
    Ok(Some(node))
}

/// A DWORD of a key.
async fn number(guestfs: &mut Guestfs, key: &str, name: &str) -> Result<Option<u32>, Error> {
    let words = ["hivex-node-get-value", key, name];
    let value = first(guestfs.attempt("read the registry", &words).await?);
    if value.is_empty() || value == "0" {
        return Ok(None);
    }
    // A value is bytes, and no line: od(1) makes one of them.
    let words = ["hivex-value-value", &value];
    let bytes = guestfs.piped("read the registry", &words, "od -An -v -tx1").await?;
    Ok(bytes.ok().and_then(|lines| dword(&lines)))
}

/// ` 03 00 00 00`.
fn dword(lines: &[String]) -> Option<u32> {
    let bytes: Vec<u8> = lines
        .iter()
        .flat_map(|line| line.split_whitespace())
        .map(|byte| u8::from_str_radix(byte, 16))
        .collect::<Result<_, _>>()
        .ok()?;
    Some(u32::from_le_bytes(bytes.try_into().ok()?))
}

fn first(answer: Result<Vec<String>, String>) -> String {
    answer.unwrap_or_default().into_iter().next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_become_a_number() {
        let lines = |text: &str| vec![text.to_owned()];
        assert_eq!(dword(&lines(" 03 00 00 00")), Some(3));
        assert_eq!(dword(&lines(" 03")), None);
        assert_eq!(dword(&[]), None);
    }
}
