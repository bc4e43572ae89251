//! What to type or do next after an error, apart from the errors themselves: they say what is so,
//! this says what helps.

use std::io::ErrorKind;

use super::{Error, Fault};
use crate::image::{self, Kind};
use crate::model::DiskFormat;

impl Error {
    /// What to type or do next, where that is known.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Address { fault: "holds a password" } => {
                "leave the password out of --url; use --password-file or GOVC_PASSWORD".into()
            }
            Self::Address { .. } => "write it like https://vc.example.com/sdk".into(),
            Self::Thumbprint { .. } => "write 20 or 32 pairs of hexadecimal digits, as \
                 `openssl x509 -noout -fingerprint -sha256` prints them"
                .into(),
            Self::WrongThumbprint { seen, .. } => format!(
                "somebody may be in between; if the certificate was renewed on purpose, use \
                 --thumbprint {seen}"
            ),
            Self::Untrusted { seen, .. } => format!(
                "if the server's certificate really has SHA-256 thumbprint {seen}, use \
                 --thumbprint with it, or --ca-file with the authority that signed it"
            ),
            Self::Call { source, .. } if source.is_connect() => {
                "check the address, and that port 443 is reachable from here".into()
            }
            Self::Status { status: 404, .. } => "the address should end in /sdk".into(),
            Self::Status { status: 502..=504, .. } => {
                "the server is starting or overloaded; try again in a few minutes".into()
            }
            Self::Login { .. } => "check the user name, with its domain \
                 (administrator@vsphere.local), and the password"
                .into(),
            Self::NotFound { near, .. } if near.is_empty() => {
                "`hyperexport list` shows all VMs that this user may see".into()
            }
            Self::LacksPrivileges { uses, .. } => {
                format!("hyperexport role --for {uses} prints the role that is needed")
            }
            Self::CannotFollow { .. } => {
                "make what is missing in the vSphere client, or leave that --source-after out"
                    .into()
            }
            Self::NotFound { near, .. } => format!("is it {}?", near.join(" or ")),
            Self::Ambiguous { .. } => {
                "use the inventory path or the moref instead of the name".into()
            }
            Self::Obstacle { obstacle, .. } => return Some(obstacle.remedy()),
            Self::WrongSum { .. } => {
                "the package was damaged or changed on its way: fetch it again; \
                 --ignore-checksums takes it as it is"
                    .into()
            }
            Self::Sums { .. } => {
                "--ignore-checksums takes the package as it is, without its sums".into()
            }
            Self::NoTags { .. } => {
                "only a vCenter has tags, from 6.5 on: give its address, not an ESXi host's".into()
            }
            Self::HasNics { .. } => "connect its cards by --network-map, of which '*=none' leaves \
                 them out, and leave --nic out"
                .into(),
            Self::File { source, .. } if source.kind() == ErrorKind::StorageFull => {
                "free some space, or choose another --output".into()
            }
            Self::NotFlat { .. } => "use --transport nfc; the datastore takes the privileges \
                 Datastore.Browse and Datastore.FileManagement, and VMs without snapshots"
                .into(),
            Self::Changed { .. } => "run it again while the VM stays off".into(),
            Self::Exists { .. } => "choose another --output, or move that file away".into(),
            Self::Busy { .. } => "wait for the other run, or choose another --output".into(),
            Self::SessionEnded { .. } => "run it again to log in anew".into(),
            Self::NoUrl { .. } => "the disk may be independent or a raw device; make it a \
                 dependent virtual disk, or remove it from the VM"
                .into(),
            Self::NoTools { .. } | Self::CannotRest { .. } | Self::StillOn { .. } => {
                self.of_running_guest().into()
            }
            Self::TimedOut { .. } => "look at the VM's recent tasks in the vSphere client".into(),
            Self::Refused { source, .. } | Self::Task { source, .. } | Self::Lease(source) => {
                return source.hint();
            }
            Self::Download { source, .. } => return source.hint(),
            error => return error.of_files(),
        };
        Some(hint)
    }
}

impl Error {
    /// What to do about what lies in files.
    fn of_files(&self) -> Option<String> {
        let hint = match self {
            Self::Unusable { reason, .. } => return of_image(reason).map(str::to_owned),
            Self::PartOfDisk { descriptor: Some(path), .. } => {
                format!("give the descriptor: --source {}", path.display())
            }
            Self::PartOfDisk { .. } => "copy all files of the disk into one folder, and give its \
                 descriptor (the VMDK without -flat, -s001 or -delta in its name); a -flat file \
                 alone goes with --source-format raw"
                .into(),
            Self::OtherFormat { told, found, .. } => of_format(*told, *found),
            Self::TooLong { .. } => "unpack the package into a folder and give its OVF: there the \
                 image itself says how long it is"
                .into(),
            Self::Packed { name, .. } => format!(
                "unpack it into an empty folder (`tar -xf`, or `unzip`), and give '{name}' there with \
                 --source"
            ),
            Self::NotStreamable { .. } => {
                "give --stream-convert=false: the disk is then exported as it is".into()
            }
            Self::WhichVm { .. } => "say which one by --vm NAME, or by its id".into(),
            Self::UnknownFormat { .. } => {
                "say the format by --source-format: vmdk, qcow2, raw, vhd, vhdx or vdi".into()
            }
            _ => return None,
        };
        Some(hint)
    }
}

/// What to do about an image that cannot be taken as it is.
fn of_image(reason: &str) -> Option<&'static str> {
    Some(match reason {
        image::NAMES_A_PARENT => {
            "delete or consolidate the VM's snapshots where it came from first"
        }
        image::IS_A_DEVICE => {
            "copy the device into a virtual disk first, or take it out of the VM and copy it by \
             other means"
        }
        image::HAS_A_LOG => {
            "shut the VM down in Hyper-V and copy the file again, or repair a copy of it: \
             qemu-img check -r all COPY.vhdx"
        }
        image::HAS_LARGE_SECTORS => {
            "in Hyper-V, copy the guest onto a disk that New-VHD -LogicalSectorSizeBytes 512 has made"
        }
        _ => return None,
    })
}

/// How to say what an image is whose name says something else than its content.
fn of_format(told: DiskFormat, found: Kind) -> String {
    let raw = "if the disk itself holds these bytes, say --source-format raw";
    match found {
        Kind::Disk(format) if told == DiskFormat::Raw => {
            format!("if it is a {format} image, say --source-format {format}; {raw}")
        }
        Kind::Disk(format) => format!("if it is a {format} image, say --source-format {format}"),
        Kind::Iso => format!("an installation medium holds no VM; {raw}"),
        Kind::Other(_) => format!("unpack or convert it first; {raw}"),
    }
}

impl Error {
    /// What to do about a guest that does not shut down, or come to rest.
    fn of_running_guest(&self) -> &'static str {
        match self {
            Self::CannotRest { .. } => {
                "start VMware Tools in the guest, or use --quiesce try or no: the disks are then as \
                 after a power failure"
            }
            Self::NoTools { .. } => {
                "shut the guest down from inside, or cut the power of the VM with \
                 --power-off=force: its disks are then as after a power failure"
            }
            _ => {
                "the VM is still on, and its guest may yet shut down; give it longer with \
                 --shutdown-timeout, or cut the power with --power-off=force"
            }
        }
    }
}

impl Fault {
    fn hint(&self) -> Option<String> {
        let hint = match self.kind.as_str() {
            "NoPermission" => {
                "the user needs the privilege VApp.Export on the VM, and \
                 VirtualMachine.Interact.PowerOff for --power-off, \
                 VirtualMachine.State.CreateSnapshot and RemoveSnapshot for --snapshot"
            }
            "InvalidPowerState" => {
                "power the VM off first, let --power-off do it, or use --snapshot"
            }
            "TaskInProgress" => {
                "the VM is busy; an export that was cut off frees it after five minutes"
            }
            "FileLocked" | "FileFault" => "something else uses the VM's files: a backup, a clone?",
            "ApplicationQuiesceFault" | "FilesystemQuiesceFault" => {
                "look at VMware Tools in the guest, or use --quiesce try or no"
            }
            "RestrictedVersion" => "the free ESXi licence does not allow this call",
            "HostCommunication" | "HostNotConnected" => "reconnect the VM's host in vCenter",
            "Timedout" => "the link to the host may be too slow or cut; run it again",
            _ => return None,
        };
        Some(hint.to_owned())
    }
}
