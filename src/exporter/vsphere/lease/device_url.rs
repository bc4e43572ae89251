//! Maps the URLs of a lease to disks, and decides which certificates are trusted there.

use std::collections::HashMap;

use url::Url;

use super::super::soap::session::VSphere;
use super::DeviceUrl;
use crate::exporter::tls::{Client, Trust};
use crate::exporter::transfer::StreamSource;
use crate::exporter::{self, BandwidthLimit, Error, Thumbprint};
use crate::model::{DiskId, SourceDisk};

/// The lease's entry for each disk, in the order of `disks`.
///
/// A key ends in controller, bus and unit: `/vm-42/ParaVirtualSCSIController0:0`. If exactly one
/// disk and one entry are left unmatched, they belong together; the capacity of the disk detects a
/// wrong match.
///
/// # Errors
/// [`Error::NoUrl`]: without the disk, the export would be incomplete.
pub(in crate::exporter::vsphere) fn entries<'a>(
    disks: &[SourceDisk],
    urls: &'a [DeviceUrl],
) -> Result<Vec<&'a DeviceUrl>, Error> {
    let offered: Vec<&DeviceUrl> = urls.iter().filter(|url| url.disk).collect();
    let by_key = |disk: &SourceDisk| offered.iter().find(|url| last(&url.key) == device(disk));
    let mut free = offered.iter().filter(|url| !disks.iter().any(|d| last(&url.key) == device(d)));
    let left_over = match (free.next(), free.next()) {
        (Some(only), None) => Some(only),
        _ => None,
    };
    let unmatched = disks.iter().filter(|disk| by_key(disk).is_none()).count();
    disks
        .iter()
        .map(|disk| {
            let found = by_key(disk).or_else(|| left_over.filter(|_| unmatched == 1));
            found
                .copied()
                .ok_or_else(|| Error::NoUrl { disk: disk.id.clone(), device: device(disk) })
        })
        .collect()
}

fn device(disk: &SourceDisk) -> String {
    format!("{}{}:{}", disk.controller.model, disk.controller.number, disk.unit)
}

pub(in crate::exporter::vsphere) fn last(key: &str) -> &str {
    key.rsplit('/').next().unwrap_or(key)
}

/// Creates sources from entries. Disks of one host share its client.
pub(in crate::exporter::vsphere) struct Sources<'a> {
    vsphere: &'a VSphere,
    clients: HashMap<(String, Option<Thumbprint>), Client>,
}

impl<'a> Sources<'a> {
    pub(in crate::exporter::vsphere) fn new(vsphere: &'a VSphere) -> Self {
        Self { vsphere, clients: HashMap::new() }
    }

    /// Source of `disk` from `entry`, limited by `limit`.
    pub(in crate::exporter::vsphere) fn source(
        &mut self,
        disk: &DiskId,
        entry: &DeviceUrl,
        limit: BandwidthLimit,
    ) -> Result<StreamSource, Error> {
        let wrong = |fault| Error::DeviceUrl { disk: disk.clone(), fault };
        let (client, url) = self.address(entry)?.map_err(wrong)?;
        let read_timeout = self.vsphere.settings.read_timeout;
        Ok(StreamSource { client, url, read_timeout, limit })
    }

    /// The URL of `entry` and a client that trusts its host; or what is wrong with the entry.
    pub(in crate::exporter::vsphere) fn address(
        &mut self,
        entry: &DeviceUrl,
    ) -> Result<Result<(Client, Url), &'static str>, Error> {
        let mut url = match resolve(&entry.url, self.vsphere.soap.url()) {
            Ok(url) => url,
            Err(fault) => return Ok(Err(fault)),
        };
        let exporter::Settings { hosts, nfc_hosts, .. } = &self.vsphere.settings;
        let is_server = url.host_str() == self.vsphere.soap.url().host_str();
        if !is_server && !hosts.names(&url) && !nfc_hosts.allow(&url) {
            return Ok(Err("leads to a host that no --nfc-host allows"));
        }
        if let Err(fault) = hosts.apply(&mut url) {
            return Ok(Err(fault));
        }
        let pin = match entry.thumbprint.parse() {
            _ if entry.thumbprint.is_empty() => None,
            Ok(pin) => Some(pin),
            Err(_) => return Ok(Err("comes with a broken thumbprint")),
        };
        let host = format!("{}:{}", url.host_str().unwrap_or_default(), url.port().unwrap_or(443));
        let client = match self.clients.get(&(host.clone(), pin)) {
            Some(client) => client.clone(),
            None => {
                // The lease arrives over a trusted connection, so its thumbprint is trusted for the
                // host, whose own certificate seldom has an authority.
                let trust =
                    pin.map_or_else(|| self.vsphere.settings.trust.clone(), Trust::Thumbprint);
                let client = Client::new(&trust)?;
                self.clients.insert((host, pin), client.clone());
                client
            }
        };
        Ok(Ok((client, url)))
    }
}

/// Resolves a URL of a lease. An ESXi host writes `*` for itself, by whatever name it was reached;
/// an explicit port stays (vim25 reference, `HttpNfcLeaseDeviceUrl.url`).
fn resolve(text: &str, sdk: &Url) -> Result<Url, &'static str> {
    let mut url = Url::parse(text).map_err(|_| "is not a URL")?;
    if url.scheme() != "https" {
        return Err("does not begin with https://");
    }
    if url.host_str() == Some("*") {
        url.set_host(sdk.host_str()).map_err(|_| "has no usable host")?;
        if url.port().is_none() {
            url.set_port(sdk.port()).map_err(|()| "has no usable port")?;
        }
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Bus, ByteSize, Controller};

    fn disk(index: usize, model: &str, unit: u32) -> SourceDisk {
        SourceDisk {
            id: DiskId::from_index(index),
            key: 2000,
            label: String::new(),
            controller: Controller {
                bus: Bus::Scsi,
                model: model.to_owned(),
                number: 0,
                slot: None,
            },
            unit,
            capacity: ByteSize(0),
            boot_order: 0,
            backing: None,
            uuid: None,
        }
    }

    fn url(key: &str, disk: bool) -> DeviceUrl {
        let key = key.to_owned();
        DeviceUrl { url: format!("https://h/{key}"), key, thumbprint: String::new(), disk }
    }

    #[test]
    fn entries_are_joined_by_controller_and_unit() {
        let disks = [disk(0, "ParaVirtualSCSIController", 0), disk(1, "VirtualNVMEController", 0)];
        let urls = [
            url("/vm-5/nvram", false),
            url("/vm-5/VirtualNVMEController0:0", true),
            url("/vm-5/ParaVirtualSCSIController0:0", true),
        ];
        let keys: Vec<_> =
            entries(&disks, &urls).expect("both").iter().map(|url| last(&url.key)).collect();
        assert_eq!(keys, ["ParaVirtualSCSIController0:0", "VirtualNVMEController0:0"]);
    }

    #[test]
    fn the_last_disk_and_the_last_entry_belong_together() {
        let disks = [disk(0, "VirtualAHCIController", 0), disk(1, "VirtualAHCIController", 1)];
        let urls = [url("/vm-5/VirtualAHCIController0:0", true), url("/vm-5/sata-1", true)];
        assert_eq!(entries(&disks, &urls).expect("both")[1].key, "/vm-5/sata-1");
    }

    #[test]
    fn a_disk_without_an_address_is_an_error() {
        let disks = [disk(0, "VirtualAHCIController", 0), disk(1, "VirtualAHCIController", 1)];
        let urls = [url("/vm-5/VirtualAHCIController0:0", true), url("/vm-5/iso", false)];
        let error = entries(&disks, &urls).expect_err("one is missing").to_string();
        assert_eq!(
            error,
            "exporting disk-1 (VirtualAHCIController0:1): the server offers no download of this disk"
        );
        assert!(entries(&disks, &[url("x", true), url("y", true)]).is_err());
    }

    #[test]
    fn a_star_stands_for_the_host_that_was_reached() {
        let sdk = Url::parse("https://[fd00::1]:8443/sdk").expect("valid");
        for (text, url) in [
            ("https://*/ha-nfc/1/disk-0.vmdk", "https://[fd00::1]:8443/ha-nfc/1/disk-0.vmdk"),
            ("https://*:902/x", "https://[fd00::1]:902/x"),
            ("https://esx/nfc/x", "https://esx/nfc/x"),
        ] {
            assert_eq!(resolve(text, &sdk).expect("valid").as_str(), url);
        }
        assert!(resolve("http://esx/nfc/x", &sdk).is_err());
        assert!(resolve("nfc/x", &sdk).is_err());
    }
}
