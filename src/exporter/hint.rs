//! Hints: commands and steps that fix an error. The error itself only states the cause.

use std::io::ErrorKind;

use super::{Error, Fault};
use crate::image::{Flaw, Kind};
use crate::model::{DiskFormat, Hint};

impl Hint for Error {
    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Login { .. } => "check the user name, with its domain \
                 (administrator@vsphere.local), and the password"
                .into(),
            Self::NotFound { near, .. } if near.is_empty() => {
                "run `hyperexport list`, which shows all VMs that this user may see".into()
            }
            Self::LacksPrivileges { uses, .. } => {
                format!("run `hyperexport role --for {uses}`, which prints the role that is needed")
            }
            Self::CannotFollow { .. } => {
                "create what is missing in the vSphere client, or leave that --source-after out"
                    .into()
            }
            Self::NotFound { near, .. } => {
                format!("use one of the similar names: {}", near.join(", "))
            }
            Self::Ambiguous { .. } => {
                "use the inventory path or the moref instead of the name".into()
            }
            Self::Obstacle { obstacle, .. } => return Some(obstacle.remedy()),
            Self::WrongSum { .. } => {
                "copy or download the package again: it was damaged or changed on its way; or pass \
                 --ignore-checksums"
                    .into()
            }
            Self::Sums { .. } => {
                "pass --ignore-checksums to export the package without verification".into()
            }
            Self::NoTags { .. } => {
                "use the address of a vCenter from 6.5 on: an ESXi host has no tags".into()
            }
            Self::HasNics { .. } => {
                "leave --nic out and connect the cards with --network-map, where \
                 '*=none' leaves them out"
                    .into()
            }
            Self::File { source, .. } if source.kind() == ErrorKind::StorageFull => {
                "free some space, or use another --output".into()
            }
            Self::NotFlat { .. } => "use --transport nfc; the datastore needs the privileges \
                 Datastore.Browse and Datastore.FileManagement, and a VM without snapshots"
                .into(),
            Self::Changed { .. } => "run the same command again while the VM stays off".into(),
            Self::Exists { .. } => "use another --output, or move that file away".into(),
            Self::Busy { .. } => "wait for the other run, or use another --output".into(),
            Self::SessionEnded { .. } => "run the same command again: it logs in anew".into(),
            Self::NoUrl { .. } => {
                "make the disk a dependent virtual disk, or remove it from the VM: it may \
                 be independent or a raw device"
                    .into()
            }
            Self::NoTools { .. } | Self::CannotRest { .. } | Self::StillOn { .. } => {
                self.of_running_guest().into()
            }
            Self::TimedOut { .. } => "check the VM's recent tasks in the vSphere client".into(),
            Self::Refused { source, .. } | Self::Task { source, .. } | Self::Lease(source) => {
                return source.hint();
            }
            Self::Download { source, .. } => return source.hint(),
            error => return error.of_connection().or_else(|| error.of_files()),
        };
        Some(hint)
    }
}

impl Error {
    /// Hint for errors of a server's address or certificate.
    fn of_connection(&self) -> Option<String> {
        let hint = match self {
            Self::PasswordInAddress => {
                "leave the password out of --url; use --password-file or GOVC_PASSWORD".into()
            }
            Self::Address { .. } => "write the address like https://vc.example.com/sdk".into(),
            Self::Thumbprint { .. } => "write 20 or 32 pairs of hexadecimal digits, as \
                 `openssl x509 -noout -fingerprint -sha256` prints them"
                .into(),
            Self::WrongThumbprint { seen, .. } => format!(
                "check whether the certificate was renewed on purpose, and then use --thumbprint \
                 {seen}; otherwise somebody may intercept the connection"
            ),
            Self::Untrusted { seen, .. } => format!(
                "pass --ca-file with the authority that signed the certificate; or compare its SHA-256 \
                 thumbprint on the server and use --thumbprint {seen}"
            ),
            Self::Call { source, .. } if source.is_connect() => {
                "check the address, and whether port 443 is reachable from here".into()
            }
            Self::Status { status: 404, .. } => "use an address that ends in /sdk".into(),
            Self::Status { status: 502..=504, .. } => {
                "try again in a few minutes: the server is starting or overloaded".into()
            }
            _ => return None,
        };
        Some(hint)
    }

    /// Hint for errors of files.
    fn of_files(&self) -> Option<String> {
        let hint = match self {
            Self::Unusable { reason, .. } => return of_image(reason).map(str::to_owned),
            Self::PartOfDisk { descriptor: Some(path), .. } => {
                format!("pass the descriptor: --source {}", path.display())
            }
            Self::PartOfDisk { .. } => "copy all files of the disk into one folder, and pass its \
                 descriptor (the VMDK without -flat, -s001 or -delta in its name); a -flat file \
                 alone goes with --source-format raw"
                .into(),
            Self::OtherFormat { told, found, .. } => of_format(*told, *found),
            Self::TooLong { .. } => "unpack the package into a folder and pass its OVF: there the \
                 size is read from the image itself"
                .into(),
            Self::Packed { name, .. } => format!(
                "unpack it into an empty folder (`tar -xf`, or `unzip`), and pass '{name}' there with \
                 --source"
            ),
            Self::NotStreamable { .. } => {
                "pass --stream-convert=false: the disk is then exported as it is".into()
            }
            Self::WhichVm { .. } => "name one with --vm NAME, or by its id".into(),
            Self::UnknownFormat { .. } => {
                "pass --source-format: vmdk, qcow2, raw, vhd, vhdx or vdi".into()
            }
            _ => return None,
        };
        Some(hint)
    }
}

/// Hint for an image that cannot be exported in its state.
fn of_image(flaw: &Flaw) -> Option<&'static str> {
    Some(match flaw {
        Flaw::NamesAParent => "delete or consolidate the VM's snapshots at its source first",
        Flaw::IsADevice => {
            "copy the device into a virtual disk first, or remove it from the VM and copy it by \
             other means"
        }
        Flaw::HasALog => {
            "shut the VM down in Hyper-V and copy the file again, or repair a copy of it: \
             qemu-img check -r all COPY.vhdx"
        }
        Flaw::HasLargeSectors => {
            "copy the guest in Hyper-V onto a disk made by New-VHD -LogicalSectorSizeBytes 512"
        }
        _ => return None,
    })
}

/// Hint how to pass the format of an image whose content does not match its name.
fn of_format(told: DiskFormat, found: Kind) -> String {
    let raw = "pass --source-format raw if these bytes are the disk itself";
    match found {
        Kind::Disk(format) if told == DiskFormat::Raw => {
            format!("pass --source-format {format} if it is such an image; {raw}")
        }
        Kind::Disk(format) => format!("pass --source-format {format} if it is such an image"),
        Kind::Iso => {
            format!("pass an image of a disk: an installation medium contains no VM; {raw}")
        }
        Kind::Other(_) => format!("unpack or convert it first; {raw}"),
    }
}

impl Error {
    /// Hint for a guest that cannot be shut down or quiesced.
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
                "allow more time with --shutdown-timeout, or cut the power with --power-off=force; the \
                 VM is still on, and its guest may yet shut down"
            }
        }
    }
}

impl Fault {
    fn hint(&self) -> Option<String> {
        let hint = match self.kind.as_str() {
            "NoPermission" => {
                "grant the user the privilege VApp.Export on the VM, and \
                 VirtualMachine.Interact.PowerOff for --power-off, \
                 VirtualMachine.State.CreateSnapshot and RemoveSnapshot for --snapshot"
            }
            "InvalidPowerState" => {
                "power the VM off first, let --power-off do it, or use --snapshot"
            }
            "TaskInProgress" => {
                "wait until the VM's task has ended; an interrupted export ends after five minutes"
            }
            "FileLocked" | "FileFault" => {
                "check what else uses the VM's files, such as a backup or a clone"
            }
            "ApplicationQuiesceFault" | "FilesystemQuiesceFault" => {
                "check VMware Tools in the guest, or use --quiesce try or no"
            }
            "RestrictedVersion" => {
                "use a licensed host: the free ESXi licence does not allow this call"
            }
            "HostCommunication" | "HostNotConnected" => "reconnect the VM's host in vCenter",
            "Timedout" => {
                "run the same command again: the link to the host may be slow or interrupted"
            }
            _ => return None,
        };
        Some(hint.to_owned())
    }
}
