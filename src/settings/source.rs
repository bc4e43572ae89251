//! Where VMs come from: a vCenter, an ESXi host, or files.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::switch::Switch;
use super::{Environment, Error, NicArg, VsphereArgs, nic, size};
use crate::exporter::{FileChoice, FileSettings};
use crate::libvirt;
use crate::model::{DiskFormat, Firmware};
use crate::pipeline::{LibvirtSourceSettings, SourceSettings};

/// Flags that say where VMs come from.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Source")]
pub struct SourceArgs {
    /// OVA, OVF, VMX, disk image, or a vCenter's or libvirt URL
    ///
    /// It may be a folder with an OVF or VMX, several disk images of one VM, the
    /// URL of a vCenter or ESXi host, or of a libvirt host:
    /// libvirt+qemu+ssh://host/system?domain=NAME
    #[arg(long, value_name = "PATH", conflicts_with = "url")]
    pub source: Vec<String>,
    /// Format of the disk images, if their names do not show it
    #[arg(long, value_name = "FORMAT")]
    pub source_format: Option<FormatArg>,
    /// Export a package although its files differ from its own checksums
    #[arg(long, value_name = "BOOL", default_value_t)]
    pub ignore_checksums: Switch,
    /// vSphere flags.
    #[command(flatten)]
    pub vsphere: VsphereArgs,
}

/// Flags that say what files do not.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Source (files)")]
pub struct DescribedArgs {
    /// Name of the VM; without the flag, its own or that of the image
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Number of CPUs; without the flag, its own or 1
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub cpu: Option<u32>,
    /// Memory, such as 4G, 4GiB, 512M or 2048 (MiB); without the flag, its own
    /// or 2 GiB
    #[arg(long, value_name = "SIZE", value_parser = mebibytes)]
    pub memory: Option<u64>,
    /// Firmware; without the flag, its own or bios
    #[arg(long, value_name = "KIND")]
    pub firmware: Option<FirmwareArg>,
    /// A network card of a source that describes none; may be repeated.
    /// NETWORK is a TARGET of --network-map, or a name that it maps. MODEL is
    /// virtio, vmxnet3, e1000e, e1000, rtl8139 or pcnet. 'none': no card.
    /// Without the flag, a disk image gets one card
    #[arg(long, value_name = "[MAC@]NETWORK[,model=MODEL]")]
    pub nic: Vec<NicArg>,
}

/// An image format that can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FormatArg {
    /// VMware's.
    Vmdk,
    /// QEMU's.
    Qcow2,
    /// The bytes of the disk.
    Raw,
    /// Virtual PC's.
    Vhd,
    /// Hyper-V's.
    Vhdx,
    /// VirtualBox's.
    Vdi,
}

impl From<FormatArg> for DiskFormat {
    fn from(format: FormatArg) -> Self {
        match format {
            FormatArg::Vmdk => Self::Vmdk,
            FormatArg::Qcow2 => Self::Qcow2,
            FormatArg::Raw => Self::Raw,
            FormatArg::Vhd => Self::Vhd,
            FormatArg::Vhdx => Self::Vhdx,
            FormatArg::Vdi => Self::Vdi,
        }
    }
}

/// A firmware that can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FirmwareArg {
    /// PC BIOS.
    Bios,
    /// UEFI.
    Efi,
}

impl SourceArgs {
    /// The source; `vm` says which part of a package is meant.
    ///
    /// # Errors
    /// [`Error`] when something is missing, cannot be used, or does not fit.
    pub fn resolve(
        &self,
        environment: &Environment,
        vm: Option<&str>,
        described: &DescribedArgs,
    ) -> Result<SourceSettings, Error> {
        let is_url = |text: &String| text.starts_with("https://") || text.starts_with("http://");
        match self.source.as_slice() {
            [uri] if uri.starts_with(LIBVIRT) => {
                self.only_files(described, "a domain of libvirt")?;
                Ok(SourceSettings::Host(host(uri, vm)?))
            }
            [] => self.vsphere(environment, &self.vsphere, described),
            [url] if is_url(url) => {
                let vsphere = VsphereArgs { url: Some(url.clone()), ..self.vsphere.clone() };
                self.vsphere(environment, &vsphere, described)
            }
            paths => Ok(SourceSettings::Files(FileSettings {
                paths: paths.iter().map(|path| path_of(path)).collect::<Result<_, _>>()?,
                choice: FileChoice {
                    vm: vm.map(str::to_owned),
                    format: self.source_format.map(DiskFormat::from),
                    ignore_checksums: self.ignore_checksums,
                    name: described.name.clone(),
                    cpu: described.cpu,
                    memory_mib: described.memory,
                    firmware: described.firmware.map(|firmware| match firmware {
                        FirmwareArg::Bios => Firmware::Bios,
                        FirmwareArg::Efi => Firmware::Efi,
                    }),
                    nics: nic::cards(&described.nic).map_err(Error::Invalid)?,
                },
                rewrite: None,
            })),
        }
    }

    fn vsphere(
        &self,
        environment: &Environment,
        vsphere: &VsphereArgs,
        described: &DescribedArgs,
    ) -> Result<SourceSettings, Error> {
        self.only_files(described, "a VM of vSphere")?;
        Ok(SourceSettings::VSphere(vsphere.resolve(environment)?))
    }

    /// Refuses what is said about files where there are none.
    fn only_files(&self, described: &DescribedArgs, what: &str) -> Result<(), Error> {
        let given = [
            ("--name", described.name.is_some()),
            ("--cpu", described.cpu.is_some()),
            ("--memory", described.memory.is_some()),
            ("--firmware", described.firmware.is_some()),
            ("--nic", !described.nic.is_empty()),
            ("--source-format", self.source_format.is_some()),
            ("--ignore-checksums", self.ignore_checksums),
        ];
        match given.into_iter().find(|(_, given)| *given) {
            Some((flag, _)) => {
                Err(Error::Invalid(format!("{flag} is for files: {what} is exported as it is")))
            }
            None => Ok(()),
        }
    }
}

/// What a source's URI begins with when the rest of it is libvirt's.
const LIBVIRT: &str = "libvirt+";

/// The host and domain of `libvirt+qemu+ssh://host/system?domain=NAME`: what is not ours in the
/// query is libvirt's.
fn host(uri: &str, vm: Option<&str>) -> Result<LibvirtSourceSettings, Error> {
    let wrong = || Error::Invalid(format!("--source {uri}: not a libvirt URI"));
    let mut url = url::Url::parse(uri.trim_start_matches(LIBVIRT)).map_err(|_| wrong())?;
    let domain = url.query_pairs().find(|(key, _)| key == "domain");
    let domain = domain.map(|(_, name)| name.into_owned());
    let query = url.query().unwrap_or_default().to_owned();
    let theirs: Vec<_> = query.split('&').filter(|pair| !pair.starts_with("domain=")).collect();
    url.set_query(Some(theirs.join("&")).as_deref().filter(|query| !query.is_empty()));
    let libvirt = libvirt::Settings { uri: url.to_string(), ..libvirt::Settings::default() };
    Ok(LibvirtSourceSettings { libvirt, domain: domain.or_else(|| vm.map(str::to_owned)) })
}

/// A path, or a `file:` URL.
fn path_of(text: &str) -> Result<PathBuf, Error> {
    let wrong = |reason: &str| Error::Invalid(format!("--source {text}: {reason}"));
    match text.split_once("://") {
        None => Ok(PathBuf::from(text)),
        Some(("file", _)) => url::Url::parse(text)
            .ok()
            .and_then(|url| url.to_file_path().ok())
            .ok_or_else(|| wrong("it names no file of this machine")),
        Some((scheme, _)) => Err(wrong(&format!("no kind of source is called '{scheme}'"))),
    }
}

/// Smallest amount of memory that may be given as a bare number, in MiB. A user who gives less
/// means GiB.
const LEAST_BARE: u64 = 16;

/// An amount of memory in MiB; a part of one counts as one.
fn mebibytes(text: &str) -> Result<u64, String> {
    let wrong = || format!("write it as 2048 (MiB), {}", size::SPELLINGS);
    let amount = size::size(text).ok_or_else(wrong)?;
    let mib = match amount.bare {
        true => amount.bytes,
        false => amount.bytes.div_ceil(1 << 20),
    };
    if amount.bare && (1..LEAST_BARE).contains(&mib) {
        return Err(format!("a bare number is in MiB: write {mib}G, or {mib}M if that is meant"));
    }
    (1..=1 << 30).contains(&mib).then_some(mib).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_as_people_write_it() {
        for (text, mib) in [
            ("2048", 2048),
            ("512M", 512),
            ("4g", 4096),
            ("8M", 8),
            ("16", 16),
            ("2GiB", 2048),
            ("1.5G", 1536),
            ("1T", 1 << 20),
            ("2000MB", 1908),
        ] {
            assert_eq!(mebibytes(text), Ok(mib));
        }
        for text in ["", "0", "0G", "-1", "1.5", "80Mbit", "2048T", "99999999999G"] {
            assert!(mebibytes(text).is_err(), "{text}");
        }
        assert!(mebibytes("4X").is_err_and(|why| why.contains("4GiB") && why.contains("10MB")));
        assert!(mebibytes("4").is_err_and(|why| why.contains("write 4G")));
    }

    #[test]
    fn a_libvirt_host_keeps_what_is_its_own_of_the_uri() {
        let uri = "libvirt+qemu+ssh://me@kvm2:22/system?keyfile=/k%20y&domain=web%2F01";
        let found = host(uri, None).expect("understood");
        assert_eq!(found.domain.as_deref(), Some("web/01"));
        assert_eq!(found.libvirt.uri, "qemu+ssh://me@kvm2:22/system?keyfile=/k%20y");
        let local = host("libvirt+qemu:///system", Some("db")).expect("understood");
        assert_eq!(
            (local.libvirt.uri.as_str(), local.domain.as_deref()),
            ("qemu:///system", Some("db"))
        );
    }

    #[test]
    fn a_source_is_a_path_or_a_url() {
        let path = |text: &str| path_of(text).map_err(|error| error.to_string());
        assert_eq!(path("a b.ova"), Ok(PathBuf::from("a b.ova")));
        assert_eq!(path("file:///tmp/a%20b.ova"), Ok(PathBuf::from("/tmp/a b.ova")));
        let error = path("ftp://host/a.ova").expect_err("refused");
        assert!(error.contains("no kind of source is called 'ftp'"), "{error}");
    }
}
