//! Small files of a datastore, and the URLs of all its files (vSphere Web Services Programming
//! Guide, "HTTP access to datastores").

use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use url::Url;

use super::super::soap::session::VSphere;
use super::inventory_names::decode_name;
use crate::exporter::tls::Client;
use crate::exporter::{Error, Settings};
use crate::model::{ByteSize, SourceVm, chain};

/// Characters that RFC 3986 section 2.3 leaves unencoded, and the `/` of paths.
const ENCODED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// Reason why a file could not be downloaded.
#[derive(Debug, thiserror::Error)]
pub(in crate::exporter::vsphere) enum Missing {
    /// The VM has no such file: it was never started.
    #[error("the VM has no such file")]
    None,
    /// The path of the file is not a datastore path.
    #[error("'{0}' is no datastore path")]
    Path(String),
    /// The URL in the lease is invalid: what is wrong with it, as a verb phrase.
    #[error("address of the file {0}")]
    Address(&'static str),
    /// The server returned an error, or writing the file here failed.
    #[error("{}", chain(.0))]
    Failed(#[from] Error),
    /// The connection failed.
    #[error("{}", chain(.0))]
    Http(reqwest::Error),
    /// The server returned this HTTP status instead of the file.
    #[error("server answered HTTP {0}")]
    Status(u16),
    /// The file exceeds this limit in bytes.
    #[error("the file is larger than {}", ByteSize(*.0 as u64))]
    TooLarge(usize),
}

impl From<reqwest::Error> for Missing {
    fn from(error: reqwest::Error) -> Self {
        // The URL may contain a ticket.
        Self::Http(error.without_url())
    }
}

/// URL of a VM's file, such as `[datastore] folder/file`.
pub(in crate::exporter::vsphere) fn folder_url(
    vsphere: &VSphere,
    vm: &SourceVm,
    path: &str,
) -> Option<Url> {
    let datacenter = vm.inventory_path.as_deref().zip(vm.datacenter.as_deref());
    let datacenter = datacenter.and_then(|(path, name)| datacenter_path(path, name));
    address(vsphere.soap.url(), path, &datacenter.unwrap_or_default())
}

impl Missing {
    /// Whether the same request may succeed if it is repeated.
    fn is_transient(&self) -> bool {
        match self {
            Self::Http(_) => true,
            Self::Status(status) => *status >= 500,
            _ => false,
        }
    }
}

/// Downloads a file of at most `most` bytes in this session.
pub(in crate::exporter::vsphere) async fn read_small(
    vsphere: &VSphere,
    url: Url,
    most: usize,
) -> Result<Vec<u8>, Missing> {
    read(&vsphere.soap.client(), url, &vsphere.settings, most).await
}

/// Path of the VM's datacenter without the leading slash, from the VM's path: in each datacenter,
/// VMs are below a folder `vm`.
fn datacenter_path(path: &str, name: &str) -> Option<String> {
    let parts: Vec<_> = path.trim_start_matches('/').split('/').collect();
    let at = parts.windows(2).position(|two| decode_name(two[0]) == name && two[1] == "vm")?;
    Some(parts[..=at].join("/"))
}

/// URL of `[datastore] folder/file` (vSphere Web Services Programming Guide, "HTTP access to
/// datastores"). The server decodes `dcPath` and `dsName` twice, the path once.
fn address(sdk: &Url, path: &str, datacenter: &str) -> Option<Url> {
    let (datastore, file) = path.strip_prefix('[')?.split_once("] ")?;
    let once = |text: &str| utf8_percent_encode(text, ENCODED).to_string();
    let mut url = sdk.clone();
    url.set_path(&format!("/folder/{}", once(file)));
    let names = format!("dcPath={}&dsName={}", once(&once(datacenter)), once(&once(datastore)));
    url.set_query(Some(&names));
    Some(url)
}

/// Downloads a file of at most `most` bytes, with a few retries on errors of the server.
pub(in crate::exporter::vsphere) async fn read(
    client: &Client,
    url: Url,
    settings: &Settings,
    most: usize,
) -> Result<Vec<u8>, Missing> {
    for pause in settings.retry.pauses() {
        match read_once(client, url.clone(), settings.read_timeout, most).await {
            Err(missing) if missing.is_transient() => {
                tracing::debug!(%missing, "reading a small file again");
                tokio::time::sleep(pause).await;
            }
            end => return end,
        }
    }
    read_once(client, url, settings.read_timeout, most).await
}

async fn read_once(
    client: &Client,
    url: Url,
    silence: Duration,
    most: usize,
) -> Result<Vec<u8>, Missing> {
    let mut response = client.http().get(url).timeout(silence).send().await?;
    if response.status() != 200 {
        return Err(Missing::Status(response.status().as_u16()));
    }
    let mut content = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if content.len() + chunk.len() > most {
            return Err(Missing::TooLarge(most));
        }
        content.extend_from_slice(&chunk);
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_encoded_twice_and_the_path_once() {
        let sdk = Url::parse("https://vc.example.com:8443/sdk").expect("a URL");
        let url = |path: &str, datacenter: &str| {
            address(&sdk, path, datacenter).map(|url| url.to_string())
        };
        assert_eq!(
            url("[ds 1&2] web 01/web+01.nvram", "Folder/DC0").as_deref(),
            Some(
                "https://vc.example.com:8443/folder/web%2001/web%2B01.nvram\
                 ?dcPath=Folder/DC0&dsName=ds%25201%25262"
            )
        );
        assert_eq!(url("web01/web01.nvram", "DC0"), None);
    }

    #[test]
    fn a_datacenter_is_known_by_the_folder_of_its_vms() {
        assert_eq!(datacenter_path("/DC0/vm/Prod/web01", "DC0").as_deref(), Some("DC0"));
        assert_eq!(datacenter_path("/Sites/A%2fB/vm/web01", "A/B").as_deref(), Some("Sites/A%2fB"));
        assert_eq!(datacenter_path("/elsewhere/web01", "DC0"), None);
    }
}
