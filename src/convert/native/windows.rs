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
    let services = node(guestfs, &top, &[&set, "Services"]).await?.unwrap_or_default();
    for (bus, service) in BUSES {
        let Some(key) = service_key(guestfs, &services, service).await? else { continue };
        let starts = starts_with_kernel(guestfs, &key).await?;
        if starts && has_file(guestfs, &folder, (&key, service)).await? && !found.boots_from(bus) {
            found.buses.push(bus);
        }
    }
    if let Some(key) = service_key(guestfs, &services, CARD).await?
        && has_file(guestfs, &folder, (&key, CARD)).await?
    {
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

/// Whether the file of a driver is there: the one that `ImagePath` names, which may lie in the Driver
/// Store, else the one in `System32\drivers`.
async fn has_file(
    guestfs: &mut Guestfs,
    folder: &str,
    (key, service): (&str, &str),
) -> Result<bool, Error> {
    let image = text(guestfs, key, "ImagePath").await?;
    let image = image.unwrap_or_else(|| format!("System32/drivers/{service}.sys"));
    Ok(path(guestfs, &image_path(&image, folder)).await?.is_some())
}

/// The path of a driver in the guest, as the kernel of Windows reads `ImagePath`: below the folder of
/// Windows, where the path does not begin with a drive.
fn image_path(image: &str, folder: &str) -> String {
    let image = image.trim_matches(['"', ' ', '\0']).replace('\\', "/");
    let image = image.strip_prefix("/??/").unwrap_or(&image);
    let lower = image.to_lowercase();
    for windows in ["/systemroot/", "%systemroot%/", "%windir%/"] {
        if lower.starts_with(windows) {
            return format!("{folder}/{}", &image[windows.len()..]);
        }
    }
    // What starts with the kernel lies on the drive of Windows.
    match image.split_once(":/") {
        Some((_, rest)) => format!("/{rest}"),
        None => format!("{folder}/{}", image.trim_start_matches('/')),
    }
}

/// `Start` is 0, and nothing in `StartOverride` (Windows 8 and later) says otherwise.
async fn starts_with_kernel(guestfs: &mut Guestfs, key: &str) -> Result<bool, Error> {
    if number(guestfs, key, "Start").await? != Some(0) {
        return Ok(false);
    }
    let Some(overridden) = node(guestfs, key, &["StartOverride"]).await? else { return Ok(true) };
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
    let bytes = value(guestfs, key, name).await?;
    Ok(bytes.and_then(|bytes| bytes.try_into().ok()).map(u32::from_le_bytes))
}

/// A string of a key.
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
    let value = first(guestfs.attempt("read the registry", &words).await?);
    if value.is_empty() || value == "0" {
        return Ok(None);
    }
    // A value is bytes, and no line: od(1) makes one of them.
    let words = ["hivex-value-value", &value];
    let digits = guestfs.piped("read the registry", &words, "od -An -v -tx1").await?;
    Ok(digits.ok().and_then(|lines| bytes(&lines)))
}

/// ` 03 00 00 00`.
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

    /// A number as the registry holds it, in hexadecimal digits.
    fn start(number: u32) -> String {
        number.to_le_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// A string as the registry holds it.
    fn string(text: &str) -> String {
        text.encode_utf16()
            .chain([0])
            .flat_map(u16::to_le_bytes)
            .map(|b| format!("{b:02x}"))
            .collect()
    }

    /// The drivers of a Windows with these services and files.
    async fn drivers_of(services: Value, files: &[&str]) -> GuestDrivers {
        let mut all = vec![("Windows/System32/config/SYSTEM", b"hive".as_slice())];
        all.extend(files.iter().map(|path| (*path, b"MZ".as_slice())));
        let said = json!({
            "hive": {"ControlSet001": {"Services": services}},
            "answers": {
                "inspect-get-windows-systemroot": ["/WINDOWS"],
                "inspect-get-windows-current-control-set": ["ControlSet001"],
            },
        });
        let mut guestfs = Played::new(&all, said).started().await;
        drivers(&mut guestfs, "/dev/sda2").await.expect("read").expect("a registry")
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
        assert_eq!(drivers_of(json!({}), &[]).await, GuestDrivers::default());
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
        // The file that is named is missing, another of that name is nobody's.
        let other = format!("{DRIVERS}/viostor.sys");
        assert_eq!(drivers_of(services, &[&other]).await.buses, []);
    }
}
