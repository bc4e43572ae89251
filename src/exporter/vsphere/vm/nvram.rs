//! The firmware's variables of an EFI guest: boot entries, and manually enrolled keys. VMware's
//! format differs from OVMF's, so no code here converts the file; the file is exported for the
//! user.

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
    /// Exports the variables of `vm`, if it is an EFI guest. A failure is only a warning: the disks
    /// are usable without them.
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

    /// Writes the variables of `vm` into `directory`, with a warning about those that the domain
    /// will lack. The variables are downloaded by the lease if it contains them, otherwise from the
    /// datastore, as is usual with a vCenter.
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

    /// URL of the file on the datastore, from the VM's `layoutEx`.
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

/// Whether an entry of a lease is the file of the variables.
pub(in crate::exporter::vsphere) fn is_nvram(entry: &DeviceUrl) -> bool {
    !entry.disk && last(&entry.key) == "nvram"
}
