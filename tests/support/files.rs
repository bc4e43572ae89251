//! Packages and images like those of other programs, and runs of hyperexport on them.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use serde_json::Value;
use sha2::Digest;
use tempfile::TempDir;

use super::guest;
use super::job::{Ended, read_json};
use super::vcsim::raw_disk;

/// A folder with sources, in which hyperexport runs.
pub struct Desk {
    pub dir: TempDir,
}

impl Desk {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o711)).expect("set");
        Self { dir }
    }

    /// Path of a file in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A raw disk of `mib` MiB with data in two thirds of them.
    pub fn raw(&self, name: &str, mib: u64) -> PathBuf {
        let path = self.path(name);
        raw_disk(&path, mib, name.len() as u64 + mib);
        path
    }

    /// Converts a raw disk with `qemu-img convert`.
    pub fn image(&self, raw: &Path, name: &str, format: &str, options: &[&str]) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        let mut command = Command::new("qemu-img");
        command.args(["convert", "-q", "-f", "raw", "-O", format]);
        options.iter().for_each(|option| {
            command.args(["-o", option]);
        });
        assert!(command.arg(raw).arg(&path).status().expect("qemu-img runs").success());
        path
    }

    /// `hyperexport ARGS` in the folder.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hyperexport"));
        command.args(args).env_clear().current_dir(self.dir.path());
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", self.dir.path()).stdin(Stdio::null());
        command.env("LIBGUESTFS_BACKEND_SETTINGS", "force_tcg").envs(guest::appliance_variable());
        command
    }

    /// Runs hyperexport to its end.
    pub fn run(&self, args: &[&str]) -> Ended {
        Ended::from(self.command(args).output().expect("hyperexport runs"))
    }

    /// Exports a source into the folder `out`, with its manifest.
    pub fn export(&self, source: &str, args: &[&str]) -> Ended {
        let whole = ["--source", source, "--output", "out", "--manifest", "--json"];
        self.run(&[&whole[..], args].concat())
    }

    /// Manifest of [`Self::export`].
    pub fn manifest(&self) -> Value {
        read_json(&self.path("out/manifest.json"))
    }

    /// Names of the files in a folder, sorted.
    pub fn files(&self, folder: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.path(folder)) else { return Vec::new() };
        let mut names: Vec<_> = entries
            .map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"))
            .collect();
        names.sort();
        names
    }

    /// Asserts that disk `index` of the manifest has the content of `raw`, and the right checksum
    /// and size.
    pub fn assert_disk(&self, index: usize, raw: &Path) {
        let manifest = self.manifest();
        let disk = &manifest["disks"][index];
        let path = disk["local_path"].as_str().expect("a path");
        let format = match disk["source_format"].as_str().expect("a format") {
            "vhd" => "vpc",
            format => format,
        };
        let mut compare = Command::new("qemu-img");
        compare.args(["compare", "-f", format, "-F", "raw", path]).arg(raw);
        let compared = compare.output().expect("qemu-img runs");
        let said = String::from_utf8_lossy(&compared.stdout).into_owned();
        assert!(compared.status.success(), "{path}: {said}");
        let bytes = fs::read(path).expect("readable");
        assert_eq!(disk["bytes"], bytes.len());
        assert_eq!(disk["checksum"], format!("sha256:{}", hex(&sha2::Sha256::digest(&bytes))));
    }
}

/// Name and content of a file of a package.
#[derive(Debug, Clone)]
pub struct Packed {
    pub name: String,
    pub bytes: Vec<u8>,
}

/// Makes a file of a package.
pub fn packed(name: &str, bytes: impl Into<Vec<u8>>) -> Packed {
    Packed { name: name.to_owned(), bytes: bytes.into() }
}

/// Form of a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Tar,
    TarGz,
    TarXz,
    Zip,
    Folder,
}

impl Form {
    pub const ALL: [Self; 5] = [Self::Tar, Self::TarGz, Self::TarXz, Self::Zip, Self::Folder];
}

/// Packs files and returns the path of the source.
pub fn pack(desk: &Desk, form: Form, files: &[Packed]) -> PathBuf {
    let path = desk.path("vm.ova");
    let create = || File::create(&path).expect("created");
    match form {
        Form::Tar => drop(tar_into(create(), files)),
        Form::TarGz => {
            let out = flate2::write::GzEncoder::new(create(), flate2::Compression::fast());
            drop(tar_into(out, files).finish().expect("written"));
        }
        Form::TarXz => {
            let out = liblzma::write::XzEncoder::new(create(), 1);
            drop(tar_into(out, files).finish().expect("written"));
        }
        Form::Zip => {
            let mut out = zip::ZipWriter::new(create());
            for file in files {
                let options = zip::write::SimpleFileOptions::default();
                out.start_file(&*file.name, options).expect("written");
                out.write_all(&file.bytes).expect("written");
            }
            drop(out.finish().expect("written"));
        }
        Form::Folder => {
            let folder = desk.path("vm");
            for file in files {
                let path = folder.join(&file.name);
                fs::create_dir_all(path.parent().expect("a folder")).expect("made");
                fs::write(path, &file.bytes).expect("written");
            }
            return folder;
        }
    }
    path
}

fn tar_into<W: Write>(out: W, files: &[Packed]) -> W {
    let mut tar = tar::Builder::new(out);
    for file in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(file.bytes.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, &file.name, file.bytes.as_slice()).expect("written");
    }
    tar.into_inner().expect("written")
}

/// Sets a unique modification time, by which a reused file is recognized.
pub fn set_apart(path: &Path) -> SystemTime {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    File::options().append(true).open(path).expect("there").set_modified(time).expect("set");
    time
}

/// Modification time of a file.
pub fn modified(path: &Path) -> SystemTime {
    path.metadata().and_then(|found| found.modified()).expect("there")
}

/// Bytes in lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Parts of an OVF descriptor in which tests differ.
pub struct Ovf {
    /// Elements inside `References`.
    pub files: String,
    /// Elements inside `DiskSection`.
    pub disks: String,
    /// Further items of the hardware section.
    pub items: String,
    /// Further elements of the virtual system.
    pub more: String,
}

impl Ovf {
    /// One disk of `mib` MiB in the file `href`.
    pub fn one(href: &str, mib: u64) -> Self {
        Self {
            files: format!("<File ovf:id='file1' ovf:href='{href}'/>"),
            disks: format!(
                "<Disk ovf:diskId='d1' ovf:fileRef='file1' ovf:capacity='{mib}' \
                 ovf:capacityAllocationUnits='byte * 2^20' ovf:format='http://www.vmware.com/\
                 interfaces/specifications/vmdk.html#streamOptimized'/>"
            ),
            items: item(
                17,
                "<rasd:InstanceID>10</rasd:InstanceID><rasd:Parent>3</rasd:Parent>\
                 <rasd:AddressOnParent>0</rasd:AddressOnParent>\
                 <rasd:HostResource>ovf:/disk/d1</rasd:HostResource>",
            ),
            more: String::new(),
        }
    }

    /// Adds a second disk of `mib` MiB in the file `href`, on the same controller.
    pub fn and(mut self, href: &str, mib: u64) -> Self {
        self.files += &format!("<File ovf:id='file2' ovf:href='{href}'/>");
        self.disks += &format!(
            "<Disk ovf:diskId='d2' ovf:fileRef='file2' ovf:capacity='{mib}' \
             ovf:capacityAllocationUnits='byte * 2^20' ovf:format='vmdk'/>"
        );
        self.items += &item(
            17,
            "<rasd:InstanceID>11</rasd:InstanceID><rasd:Parent>3</rasd:Parent>\
             <rasd:AddressOnParent>1</rasd:AddressOnParent>\
             <rasd:HostResource>ovf:/disk/d2</rasd:HostResource>",
        );
        self
    }

    /// Text of the complete descriptor.
    pub fn text(&self) -> String {
        let hardware = [
            item(
                3,
                "<rasd:VirtualQuantity>4</rasd:VirtualQuantity>\
                 <vmw:CoresPerSocket>2</vmw:CoresPerSocket>",
            ),
            item(
                4,
                "<rasd:AllocationUnits>byte * 2^20</rasd:AllocationUnits>\
                 <rasd:VirtualQuantity>1536</rasd:VirtualQuantity>",
            ),
            item(
                6,
                "<rasd:InstanceID>3</rasd:InstanceID><rasd:Address>0</rasd:Address>\
                 <rasd:ResourceSubType>VirtualSCSI</rasd:ResourceSubType>",
            ),
            item(
                10,
                "<rasd:InstanceID>5</rasd:InstanceID>\
                 <rasd:Address>00:50:56:aa:bb:07</rasd:Address>\
                 <rasd:Connection>VM Network</rasd:Connection>\
                 <rasd:ResourceSubType>VmxNet3</rasd:ResourceSubType>",
            ),
        ]
        .concat();
        let Self { files, disks, items, more } = self;
        format!(
            "<?xml version='1.0' encoding='UTF-8'?>\n<Envelope \
             xmlns='http://schemas.dmtf.org/ovf/envelope/1' \
             xmlns:ovf='http://schemas.dmtf.org/ovf/envelope/1' \
             xmlns:rasd='http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/\
             CIM_ResourceAllocationSettingData' \
             xmlns:vssd='http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/\
             CIM_VirtualSystemSettingData' \
             xmlns:vbox='http://www.virtualbox.org/ovf/machine' \
             xmlns:vmw='http://www.vmware.com/schema/ovf'>\n\
             <References>{files}</References>\n<DiskSection><Info/>{disks}</DiskSection>\n\
             <VirtualSystem ovf:id='web01'><Info/><Name>web &lt;01&gt;</Name>\n\
             <OperatingSystemSection ovf:id='96' vmw:osType='debian12_64Guest'><Info/>\
             <Description>Debian GNU/Linux 12 (64-bit)</Description></OperatingSystemSection>\n\
             <VirtualHardwareSection><Info/>{hardware}{items}</VirtualHardwareSection>\n\
             {more}</VirtualSystem></Envelope>\n"
        )
    }
}

/// Writes VMware's line with the UUID of the disk into the descriptor of a sparse VMDK, which
/// begins in the second sector.
pub fn write_uuid(vmdk: &mut [u8], uuid: &str) {
    let line = format!("ddb.uuid = \"{uuid}\"\n");
    let end = vmdk[512..].iter().position(|byte| *byte == 0).expect("a descriptor") + 512;
    vmdk[end..end + line.len()].copy_from_slice(line.as_bytes());
}

/// An item of the hardware section.
pub fn item(kind: u32, inner: &str) -> String {
    format!(
        "<Item><rasd:ResourceType>{kind}</rasd:ResourceType>\
         <rasd:ElementName>of kind {kind}</rasd:ElementName>{inner}</Item>\n"
    )
}

/// Bytes, gzip-compressed.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    out.write_all(bytes).expect("written");
    out.finish().expect("written")
}
