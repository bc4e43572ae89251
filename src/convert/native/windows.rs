//! Finds out from its registry what a Windows can boot from. A controller counts when its driver
//! starts with the kernel (`Start` 0) and the driver's file exists.

use crate::convert::Error;
use crate::convert::virtio_win::SHUT_DOWN;
use crate::model::{GuestBus, GuestCard, GuestDrivers, Stage, Warning, WarningCode};

use super::guestfs::Guestfs;
use super::inspect::Guest;

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
/// Service of virtio's network card.
const CARD: &str = "netkvm";
/// The class of a controller of virtio 1.0 below `CriticalDeviceDatabase`, in Windows 7 and older.
/// Without it, Windows finds the disk of such a controller too late to boot from.
const CRITICAL: [&str; 2] =
    ["PCI#VEN_1AF4&DEV_1042&SUBSYS_11001AF4&REV_01", "PCI#VEN_1AF4&DEV_1042"];
/// Version of Windows 8, which installs drivers for any supported device, whether or not it has
/// seen the device.
const WINDOWS_8: (u32, u32) = (6, 2);
/// Folder into which virt-v2v copies drivers.
const BY_V2V: &str = r"%SystemRoot%\Drivers\VirtIO";

/// The drivers of the mounted Windows; none when its registry cannot be read.
pub(super) async fn drivers(
    guestfs: &mut Guestfs,
    guest: &Guest,
) -> Result<Option<GuestDrivers>, Error> {
    let folder = system_root(guestfs, &guest.root).await?;
    let words = ["inspect-get-windows-current-control-set", &guest.root];
    let set = first(guestfs.attempt("finding Windows", &words).await?);
    let hive = hive(guestfs, &folder, "SYSTEM").await?;
    let (Some(hive), false) = (hive, set.is_empty()) else { return Ok(None) };
    let Some(top) = open(guestfs, &hive).await? else { return Ok(None) };
    let mut found = GuestDrivers::default();
    let services = node(guestfs, &top, &[&set, "Services"]).await?.unwrap_or_default();
    for (bus, service) in BUSES {
        let Some(key) = service_key(guestfs, &services, service).await? else { continue };
        let starts = starts_with_kernel(guestfs, &key).await?;
        if starts && has_file(guestfs, &folder, &key, service).await? && !found.boots_from(bus) {
            found.buses.push(bus);
        }
    }
    if let Some(key) = service_key(guestfs, &services, CARD).await?
        && has_file(guestfs, &folder, &key, CARD).await?
    {
        found.cards.push(GuestCard::Virtio);
    }
    let critical = node(guestfs, &top, &[&set, "Control", "CriticalDeviceDatabase"]).await?;
    found.virtio_1 = (guest.major, guest.minor) >= WINDOWS_8
        || has_any(guestfs, critical.as_deref(), &CRITICAL).await?;
    guestfs.run("closing the registry", &["hivex-close"]).await?;
    if found.cards.is_empty() && is_at_hand(guestfs, &folder).await? {
        found.cards.push(GuestCard::Virtio);
    }
    Ok(Some(found))
}

/// Whether Windows would find the driver of virtio's network card when it first detects one. The
/// driver must be in the Driver Store, or in a folder that Windows searches for drivers.
async fn is_at_hand(guestfs: &mut Guestfs, folder: &str) -> Result<bool, Error> {
    let store = format!("{folder}/System32/DriverStore/FileRepository");
    let words = ["case-sensitive-path", &store];
    let store = first(guestfs.attempt("finding the Driver Store", &words).await?);
    if !store.is_empty() {
        let stored = format!("{store}/{CARD}.inf_*/{CARD}.sys");
        if !guestfs.glob(&stored).await?.is_empty() {
            return Ok(true);
        }
    }
    for place in device_path(guestfs, folder).await? {
        let place = image_path(&place, folder);
        let (driver, setup) = (format!("{place}/{CARD}.sys"), format!("{place}/{CARD}.inf"));
        if path(guestfs, &driver).await?.is_some() && path(guestfs, &setup).await?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The folders that Windows searches for drivers of new devices.
async fn device_path(guestfs: &mut Guestfs, folder: &str) -> Result<Vec<String>, Error> {
    let Some(hive) = hive(guestfs, folder, "SOFTWARE").await? else { return Ok(Vec::new()) };
    let Some(top) = open(guestfs, &hive).await? else { return Ok(Vec::new()) };
    let key = node(guestfs, &top, &["Microsoft", "Windows", "CurrentVersion"]).await?;
    let value = match key {
        Some(key) => text(guestfs, &key, "DevicePath").await?,
        None => None,
    };
    guestfs.run("closing the registry", &["hivex-close"]).await?;
    let value = value.unwrap_or_else(|| BY_V2V.to_owned());
    Ok(value.split(';').filter(|part| !part.is_empty()).map(str::to_owned).collect())
}

/// Warnings about a Windows that was not shut down, whatever is done to it.
pub(super) async fn not_shut_down(
    guestfs: &mut Guestfs,
    root: &str,
) -> Result<Vec<Warning>, Error> {
    let warn =
        |code, text: String| Warning::new(Stage::Pipeline, code, format!("{text}: {SHUT_DOWN}"));
    let mut warnings = Vec::new();
    if is_hibernated(guestfs).await? {
        let text = "Windows is hibernated, as fast startup leaves it at each shutdown. It cannot be \
                    changed, and would wake up on hardware that it does not expect";
        warnings.push(warn(WarningCode::GuestHibernated, text.to_owned()));
    }
    if let Some(name) = unsaved(guestfs, root).await? {
        let text = format!(
            "Windows was not shut down. Changes of its registry are in the log of {name} alone, and may \
             be lost"
        );
        warnings.push(warn(WarningCode::GuestRegistryUnsaved, text));
    }
    Ok(warnings)
}

/// Whether a hibernation image exists. Windows clears its header after a resume (ntfs-3g(8),
/// "Windows hibernation and fast restarting").
async fn is_hibernated(guestfs: &mut Guestfs) -> Result<bool, Error> {
    let Some(image) = path(guestfs, "/hiberfil.sys").await? else { return Ok(false) };
    Ok(guestfs.head(&image, 4).await?.eq_ignore_ascii_case(b"hibr"))
}

/// A hive whose changes are only in its log, as in a Windows that was not shut down: its two
/// sequence numbers differ. A change of the hive would discard the logged changes.
async fn unsaved(guestfs: &mut Guestfs, root: &str) -> Result<Option<&'static str>, Error> {
    let folder = system_root(guestfs, root).await?;
    for name in ["SYSTEM", "SOFTWARE"] {
        let Some(hive) = hive(guestfs, &folder, name).await? else { continue };
        let head = guestfs.head(&hive, 12).await?;
        let is_hive = head.len() == 12 && head.starts_with(b"regf");
        if is_hive && head[4..8] != head[8..12] {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

/// The folder of Windows, from `/`.
async fn system_root(guestfs: &mut Guestfs, root: &str) -> Result<String, Error> {
    let words = ["inspect-get-windows-systemroot", root];
    Ok(first(guestfs.attempt("finding Windows", &words).await?))
}

/// A hive of the registry, by its path as the file system spells it.
async fn hive(guestfs: &mut Guestfs, folder: &str, name: &str) -> Result<Option<String>, Error> {
    match folder {
        "" => Ok(None),
        folder => path(guestfs, &format!("{folder}/System32/config/{name}")).await,
    }
}

/// Opens a hive; returns its root.
async fn open(guestfs: &mut Guestfs, hive: &str) -> Result<Option<String>, Error> {
    if !guestfs.try_run("opening the registry", &["hivex-open", hive]).await? {
        return Ok(None);
    }
    Ok(Some(first(guestfs.attempt("reading the registry", &["hivex-root"]).await?)))
}

/// Whether a key has one of these below it.
async fn has_any(guestfs: &mut Guestfs, key: Option<&str>, names: &[&str]) -> Result<bool, Error> {
    let Some(key) = key else { return Ok(false) };
    for name in names {
        if node(guestfs, key, &[name]).await?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether QEMU's guest agent is installed.
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
    let found = guestfs.attempt("finding a file of Windows", &["case-sensitive-path", any]).await?;
    let found = first(found);
    // The last part may be missing, and is then returned as it was given.
    Ok(if !found.is_empty() && guestfs.is_file(&found).await? { Some(found) } else { None })
}

async fn service_key(
    guestfs: &mut Guestfs,
    services: &str,
    service: &str,
) -> Result<Option<String>, Error> {
    match services {
        "" => Ok(None),
        services => node(guestfs, services, &[service]).await,
    }
}

/// Whether the file of a driver exists: the file in `ImagePath`, which may be in the Driver Store,
/// or else the file in `System32\drivers`.
async fn has_file(
    guestfs: &mut Guestfs,
    folder: &str,
    key: &str,
    service: &str,
) -> Result<bool, Error> {
    let image = text(guestfs, key, "ImagePath").await?;
    let image = image.unwrap_or_else(|| format!("System32/drivers/{service}.sys"));
    Ok(path(guestfs, &image_path(&image, folder)).await?.is_some())
}

/// The path of a driver in the guest, as the kernel of Windows resolves `ImagePath`. A path without
/// a drive is relative to the folder of Windows.
fn image_path(image: &str, folder: &str) -> String {
    let image = image.trim_matches(['"', ' ', '\0']).replace('\\', "/");
    let image = image.strip_prefix("/??/").unwrap_or(&image);
    let lower = image.to_lowercase();
    for windows in ["/systemroot/", "%systemroot%/", "%windir%/"] {
        if lower.starts_with(windows) {
            return format!("{folder}/{}", &image[windows.len()..]);
        }
    }
    // A driver that starts with the kernel is on the drive of Windows.
    match image.split_once(":/") {
        Some((_, rest)) => format!("/{rest}"),
        None => format!("{folder}/{}", image.trim_start_matches('/')),
    }
}

/// Whether `Start` is 0, and no value in `StartOverride` (Windows 8 and later) overrides it.
async fn starts_with_kernel(guestfs: &mut Guestfs, key: &str) -> Result<bool, Error> {
    if number(guestfs, key, "Start").await? != Some(0) {
        return Ok(false);
    }
    let Some(overridden) = node(guestfs, key, &["StartOverride"]).await? else { return Ok(true) };
    Ok(number(guestfs, &overridden, "0").await?.is_none_or(|start| start == 0))
}

/// The key at this path of names below another key.
async fn node(guestfs: &mut Guestfs, top: &str, names: &[&str]) -> Result<Option<String>, Error> {
    let mut node = top.to_owned();
    for name in names {
        let words = ["hivex-node-get-child", &node, name];
        node = first(guestfs.attempt("reading the registry", &words).await?);
        if node.is_empty() || node == "0" {
            return Ok(None);
        }
    }
    Ok(Some(node))
}

/// A DWORD value of a key.
async fn number(guestfs: &mut Guestfs, key: &str, name: &str) -> Result<Option<u32>, Error> {
    let bytes = value(guestfs, key, name).await?;
    Ok(bytes.and_then(|bytes| bytes.try_into().ok()).map(u32::from_le_bytes))
}

/// A string value of a key.
async fn text(guestfs: &mut Guestfs, key: &str, name: &str) -> Result<Option<String>, Error> {
    let bytes = value(guestfs, key, name).await?.unwrap_or_default();
    let units = bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
    let text: String = char::decode_utf16(units).map(|c| c.unwrap_or('\u{fffd}')).collect();
    let text = text.trim_end_matches('\0');
    Ok((!text.is_empty()).then(|| text.to_owned()))
}

/// The bytes of a value of a key.
async fn value(guestfs: &mut Guestfs, key: &str, name: &str) -> Result<Option<Vec<u8>>, Error> {
    let words = ["hivex-node-get-value", key, name];
    let value = first(guestfs.attempt("reading the registry", &words).await?);
    if value.is_empty() || value == "0" {
        return Ok(None);
    }
    // A value is binary and no line: od(1) converts it to one.
    let words = ["hivex-value-value", &value];
    let digits = guestfs.piped("reading the registry", &words, "od -An -v -tx1").await?;
    Ok(digits.ok().and_then(|lines| bytes(&lines)))
}

/// Parses od(1)'s output: ` 03 00 00 00`.
fn bytes(lines: &[String]) -> Option<Vec<u8>> {
    let digits = lines.iter().flat_map(|line| line.split_whitespace());
    digits.map(|byte| u8::from_str_radix(byte, 16)).collect::<Result<_, _>>().ok()
}

fn first(answer: Result<Vec<String>, String>) -> String {
    answer.unwrap_or_default().into_iter().next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::convert::native::played::Played;

    #[test]
    fn bytes_are_read_and_nothing_else() {
        let lines = |text: &str| vec![text.to_owned()];
        assert_eq!(bytes(&lines(" 03 00")), Some(vec![3, 0]));
        assert_eq!(bytes(&lines(" zz")), None);
        assert_eq!(bytes(&[]), Some(Vec::new()));
    }

    #[test]
    fn paths_of_drivers_are_those_of_the_kernel() {
        for (image, path) in [
            (r"\SystemRoot\System32\drivers\a.sys", "/Windows/System32/drivers/a.sys"),
            (r"System32\drivers\a.sys", "/Windows/System32/drivers/a.sys"),
            (r"%SystemRoot%\a.sys", "/Windows/a.sys"),
            (r"\??\C:\Windows\a.sys", "/Windows/a.sys"),
            (r"\??\C:\vendor\a.sys", "/vendor/a.sys"),
        ] {
            assert_eq!(image_path(image, "/Windows"), path, "{image}");
        }
    }

    /// A number in the registry's encoding, in hexadecimal digits.
    fn start(number: u32) -> String {
        number.to_le_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// A string in the registry's encoding.
    fn string(text: &str) -> String {
        text.encode_utf16()
            .chain([0])
            .flat_map(u16::to_le_bytes)
            .map(|b| format!("{b:02x}"))
            .collect()
    }

    /// The drivers of a Windows with these services and files.
    async fn drivers_of(services: Value, files: &[&str]) -> GuestDrivers {
        drivers_with(json!({"Services": services}), (10, 0), files).await
    }

    /// [`drivers_of`] with a complete control set, and of a release by its number.
    async fn drivers_with(set: Value, (major, minor): (u32, u32), files: &[&str]) -> GuestDrivers {
        let hives = ["SYSTEM", "SOFTWARE"].map(|name| format!("Windows/System32/config/{name}"));
        let mut all: Vec<_> =
            hives.iter().map(|path| (path.as_str(), b"hive".as_slice())).collect();
        all.extend(files.iter().map(|path| (*path, b"MZ".as_slice())));
        let said = json!({
            "hive": {
                "ControlSet001": set,
                "Microsoft": {"Windows": {"CurrentVersion": {
                    "DevicePath": string(r"%SystemRoot%\inf;%systemroot%\Drivers\VirtIO"),
                }}},
            },
            "answers": {
                "inspect-get-windows-systemroot": ["/WINDOWS"],
                "inspect-get-windows-current-control-set": ["ControlSet001"],
            },
        });
        let mut guestfs = Played::new(&all, said).started().await;
        let guest = Guest { root: "/dev/sda2".to_owned(), major, minor, ..Guest::default() };
        drivers(&mut guestfs, &guest).await.expect("read").expect("a registry")
    }

    const DRIVERS: &str = "Windows/System32/drivers";

    #[tokio::test]
    async fn a_driver_counts_when_it_starts_with_the_kernel_and_its_file_is_there() {
        let services = json!({
            "viostor": {"Start": start(0)},
            "vioscsi": {"Start": start(0)},
            "LSI_SAS": {"Start": start(3)},
            "storahci": {"Start": start(0), "StartOverride": {"0": start(3)}},
            "intelide": {"Start": start(0)},
            "netkvm": {"Start": start(3)},
        });
        let names = ["viostor", "lsi_sas", "storahci", "IntelIde", "netkvm"];
        let files: Vec<_> = names.iter().map(|name| format!("{DRIVERS}/{name}.sys")).collect();
        let files: Vec<_> = files.iter().map(String::as_str).collect();
        let found = drivers_of(services, &files).await;
        assert_eq!(found.buses, [GuestBus::VirtioBlk, GuestBus::Ide]);
        assert_eq!(found.cards, [GuestCard::Virtio]);
        let none = GuestDrivers { virtio_1: true, ..GuestDrivers::default() };
        assert_eq!(drivers_of(json!({}), &[]).await, none);
    }

    #[tokio::test]
    async fn a_driver_may_run_from_the_driver_store() {
        let store = r"System32\DriverStore\FileRepository\viostor.inf_amd64_1f\viostor.sys";
        let in_store = format!("Windows/{}", store.replace('\\', "/"));
        let services = json!({
            "viostor": {"Start": start(0), "ImagePath": string(&format!(r"\SystemRoot\{store}"))},
            "netkvm": {"Start": start(3), "ImagePath": string(r"\SystemRoot\System32\netkvm.sys")},
        });
        let netkvm = "Windows/System32/netkvm.sys";
        let found = drivers_of(services.clone(), &[&in_store, netkvm]).await;
        assert_eq!(found.buses, [GuestBus::VirtioBlk]);
        assert_eq!(found.cards, [GuestCard::Virtio]);
        // The named file is missing; another file of that name does not count.
        let other = format!("{DRIVERS}/viostor.sys");
        assert_eq!(drivers_of(services, &[&other]).await.buses, []);
    }

    #[tokio::test]
    async fn a_card_that_windows_has_not_seen_has_its_driver_at_hand() {
        let by_v2v = ["Windows/Drivers/VirtIO/netkvm.inf", "Windows/Drivers/VirtIO/netkvm.sys"];
        assert_eq!(drivers_of(json!({}), &by_v2v).await.cards, [GuestCard::Virtio]);
        assert_eq!(drivers_of(json!({}), &by_v2v[..1]).await.cards, [], "no driver");
        let elsewhere = ["Windows/Drivers/netkvm.inf", "Windows/Drivers/netkvm.sys"];
        assert_eq!(drivers_of(json!({}), &elsewhere).await.cards, [], "no place to look at");
        let store = "Windows/System32/DriverStore/FileRepository/netkvm.inf_amd64_1f/netkvm.sys";
        assert_eq!(drivers_of(json!({}), &[store]).await.cards, [GuestCard::Virtio]);
    }

    #[tokio::test]
    async fn an_old_windows_starts_from_the_controllers_alone_that_it_has_noted() {
        let knows = async |release, noted: &str| {
            let set = json!({"Control": {"CriticalDeviceDatabase": {noted: {}}}});
            drivers_with(set, release, &[]).await.virtio_1
        };
        let (old, new) = ("PCI#VEN_1AF4&DEV_1001", CRITICAL[0]);
        assert!(knows((6, 1), new).await && knows((6, 1), &new.to_lowercase()).await);
        assert!(!knows((6, 1), old).await);
        assert!(knows((6, 2), old).await, "Windows 8 goes by its database of drivers");
    }

    #[tokio::test]
    async fn a_windows_that_was_not_shut_down_is_told() {
        let told = async |second: u8, image: &[u8]| {
            let mut hive = b"regf\x02\0\0\0\x02\0\0\0rest".to_vec();
            hive[8] = second;
            let said = json!({"answers": {"inspect-get-windows-systemroot": ["/WINDOWS"]}});
            let files: [(_, &[u8]); 2] =
                [("Windows/System32/config/SOFTWARE", &hive), ("hiberfil.sys", image)];
            let mut guestfs = Played::new(&files, said).started().await;
            not_shut_down(&mut guestfs, "/dev/sda2").await.expect("read")
        };
        let codes = |warnings: Vec<Warning>| {
            let hints = warnings.iter().all(|warning| warning.message.contains("shutdown /s /f"));
            assert!(hints, "{warnings:?}");
            warnings.into_iter().map(|warning| warning.code).collect::<Vec<_>>()
        };
        assert_eq!(codes(told(2, b"\0\0\0\0\0").await), [""; 0]);
        assert_eq!(codes(told(1, b"").await), ["guest-registry-unsaved"]);
        assert_eq!(codes(told(2, b"HIBR....").await), ["guest-hibernated"]);
        assert_eq!(codes(told(1, b"hibr....").await).len(), 2);
    }
}
