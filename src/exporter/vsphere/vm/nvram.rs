//! The firmware's variables of an EFI guest: its boot entries, and keys enrolled by hand. VMware's
//! format is not OVMF's, so nothing reads the file here; it is kept for the user.

use std::path::Path;

use url::Url;

use super::super::inventory::folder::{Missing, folder_url, read};
use super::super::lease::DeviceUrl;
use super::super::lease::device_url::{Sources, last};
use super::super::soap::args::Moref;
use super::super::soap::session::VSphere;
use crate::exporter::blocking::blocking;
use crate::exporter::nvram::{LARGEST, lost, missed, write};
use crate::model::{ExportedNvram, Firmware, SourceVm, Warning};

impl VSphere {
    /// The variables of `vm` if it is an EFI guest. The disks are worth having without them.
    pub(in crate::exporter::vsphere) async fn nvram(
        &self,
        vm: &SourceVm,
        offered: &[DeviceUrl],
        directory: &Path,
        warnings: &mut Vec<Warning>,
    ) -> Option<ExportedNvram> {
        if vm.firmware != Firmware::Efi {
            return None;
        }
        match self.export_nvram(vm, offered, directory).await {
            Ok((nvram, lost)) => {
                warnings.extend(lost);
                Some(nvram)
            }
            Err(why) => {
                warnings.push(missed(why));
                None
            }
        }
    }

    /// Writes the variables of `vm` into `directory`. They come by the lease where the server puts
    /// them there, and from the datastore elsewhere, which is the rule for a vCenter. With them
    /// comes what the domain will miss.
    async fn export_nvram(
        &self,
        vm: &SourceVm,
        offered: &[DeviceUrl],
        directory: &Path,
    ) -> Result<(ExportedNvram, Option<Warning>), Missing> {
        let (client, url) = match offered.iter().find(|entry| is_nvram(entry)) {
            Some(entry) => Sources::new(self).address(entry)?.map_err(Missing::Address)?,
            None => (self.soap.client(), self.in_datastore(vm).await?),
        };
        let content = read(&client, url, &self.settings, LARGEST).await?;
        let lost = lost(&content);
        let directory = directory.to_owned();
        let written = blocking(&directory.clone(), move || write(&directory, &content)).await?;
        Ok((written, lost))
    }

    /// Its address on the datastore that the VM's layout names.
    async fn in_datastore(&self, vm: &SourceVm) -> Result<Url, Missing> {
        const FILES: &str = "layoutEx.file";
        let moref = Moref::new("VirtualMachine", &vm.id);
        let object = self.properties(&moref, &[FILES]).await?;
        let files = object.get(FILES);
        let file = files
            .and_then(|files| files.children.iter().find(|file| file.text_of("type") == "nvram"));
        let path = file.map(|file| file.text_of("name")).ok_or(Missing::None)?;
        folder_url(self, vm, path).ok_or_else(|| Missing::Path(path.to_owned()))
    }
}

/// Whether an entry of a lease holds the variables.
pub(in crate::exporter::vsphere) fn is_nvram(entry: &DeviceUrl) -> bool {
    !entry.disk && last(&entry.key) == "nvram"
}
