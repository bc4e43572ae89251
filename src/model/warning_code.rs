//! All warning codes with their meanings and remedies: one table, from which the enum and
//! docs/warnings.md are generated.

use std::fmt;

use serde::de::{Deserialize, Deserializer};
use serde::ser::{Serialize, Serializer};

/// Generates the enum and its texts from the table.
macro_rules! codes {
    ($($variant:ident $code:literal $meaning:literal $remedy:literal)*) => {
        /// Kind of a warning. Scripts match its code, which never changes.
        #[derive(Debug, Clone, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum WarningCode {
            $(#[doc = $meaning] $variant,)*
            /// A code of another version of hyperexport, read from the result of that version.
            Other(String),
        }

        impl WarningCode {
            /// All codes of this version, sorted alphabetically.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The code in kebab case: `hyper2kvm-untried-version`.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $code,)*
                    Self::Other(code) => code,
                }
            }

            /// Meaning of the code, as a sentence without its full stop; empty for [`Self::Other`].
            pub fn meaning(&self) -> &'static str {
                match self {
                    $(Self::$variant => $meaning,)*
                    Self::Other(_) => "",
                }
            }

            /// What to do, as a sentence without its full stop; empty for [`Self::Other`].
            pub fn remedy(&self) -> &'static str {
                match self {
                    $(Self::$variant => $remedy,)*
                    Self::Other(_) => "",
                }
            }
        }
    };
}

codes! {
    AgentForLinux "agent-for-linux"
        "--agent-package and --firstboot-agent were passed for a Windows guest: nothing was installed"
        "Install qemu-ga of virtio-win in the guest"
    ArchitectureDiffers "architecture-differs"
        "The source names another processor architecture than the system on the disks"
        "Check the guest OS and the architecture in the source VM"
    BootDiskChosen "boot-disk-chosen"
        "The source names no boot disk, and the disk with the boot loader comes first"
        "Check the boot order of the domain"
    BootDiskNotBootable "boot-disk-not-bootable"
        "The first disk has no boot loader that the firmware of the domain finds"
        "Follow the advice of the message, such as --firmware bios"
    BridgeUnproven "bridge-unproven"
        "It is unknown whether guests of a user's own daemon may join the bridge"
        "Allow the bridge in /etc/qemu/bridge.conf of the host, or use --network-map '*=user'"
    CapacityDiffers "capacity-differs"
        "The size of an image differs from the size in its description; the size of the image is used"
        "Check whether the package is complete"
    CdromMediumNotKept "cdrom-medium-not-kept"
        "A CD-ROM drive of the source VM contains a medium; the drive of the domain is empty"
        "Insert a copy with virsh change-media"
    ChecksumsIgnored "checksums-ignored"
        "The checksums of a package were not verified, since --ignore-checksums was passed"
        "Check the disks by other means"
    CloudInitFirstBoot "cloud-init-first-boot"
        "cloud-init is installed and has never run: it configures the guest at the first start"
        "Pass --cloud-init with a seed"
    CloudInitNewInstance "cloud-init-new-instance"
        "cloud-init regards the guest on KVM as a new instance and runs its scripts per instance again"
        "Check the effects after the first start, or pass --cloud-init"
    CompressLevelApproximated "compress-level-approximated"
        "qemu-img has no such compression level; another one was used"
        "Nothing"
    ContentNotCompared "content-not-compared"
        "A converted disk was not compared with the exported disk"
        "Check the guest after its first start"
    ConversionUnrecorded "conversion-unrecorded"
        "An earlier version converted the disks and did not record its flags; the disks are reused"
        "Pass --fresh to convert again"
    ConvertedChanged "converted-changed"
        "A converted disk is not the disk that the conversion left"
        "Convert again, or keep the domain if you changed the disk on purpose"
    ConverterFailed "converter-failed"
        "hyper2kvm failed, and the native converter converted the disks"
        "Read the log of hyper2kvm, or pass --converter native"
    ConverterUnusable "converter-unusable"
        "The converter is missing or does not work; the export runs without a conversion"
        "Install what the hint names, then run hyperexport convert"
    CpuModelNotKept "cpu-model-not-kept"
        "The host does not offer the CPU model of the source; another one was used"
        "Choose one with --libvirt-cpu-mode"
    DiskBusUnproven "disk-bus-unproven"
        "It is unknown whether the guest has a driver for the disk bus that was passed"
        "Leave --disk-bus out if the guest does not start"
    DiskEmpty "disk-empty"
        "A package has no image of a disk; the disk becomes empty"
        "Check whether the package is complete"
    DiskLeftOut "disk-left-out"
        "A disk in the hardware of a package has neither an image nor a size; the disk is left out"
        "Check whether the package is complete"
    DiskNotUsed "disk-not-used"
        "A package contains a disk image that no VM of the package uses; the image is not exported"
        "Export the image by itself if it is needed"
    DomainKept "domain-kept"
        "The domain of a killed run is not removed, since somebody may use it"
        "Check the domain; hyperexport undo removes it"
    ExportFlagsUnknown "export-flags-unknown"
        "An earlier version made the export and did not record which flags described the VM; the export is reused"
        "Pass --fresh to export again"
    ExportStateUnknown "export-state-unknown"
        "It is unknown whether the VM ran or was changed since its export"
        "Pass --fresh to export again"
    FirmwareDiffers "firmware-differs"
        "The source names another firmware than the one that the boot disk starts by"
        "Set the firmware in the source VM, or pass --firmware for files"
    FixAttemptFailed "fix-attempt-failed"
        "One way to fix the guest failed; the next one is tried"
        "Read the log of the conversion"
    FixListNotKnown "fix-list-not-known"
        "The list of files that FIX changed is not complete; the list of blocks is"
        "Nothing"
    FixWithoutConvert "fix-without-convert"
        "FIX without conversion works on a copy that is discarded"
        "Leave --pipeline-convert=false out"
    FloppyNotKept "floppy-not-kept"
        "The source VM has a floppy drive; the domain has none"
        "Nothing, unless the guest needs the drive"
    FoundBelow "found-below"
        "The folder itself contains no VM; the only VM below it is used"
        "Check whether this is the VM that you want"
    FwcfgNotKept "fwcfg-not-kept"
        "The source domain passes data to its firmware (fwcfg); the new domain does not"
        "Add the data to the domain if the guest needs it"
    GuestAgentMissing "guest-agent-missing"
        "The guest has no QEMU guest agent"
        "Install qemu-ga in Windows; pass --agent-package or --firstboot-agent for Linux"
    GuestAgentNotInstalled "guest-agent-not-installed"
        "The packages of --agent-package were not installed"
        "Install qemu-guest-agent in the guest"
    GuestBootEnvironmentFull "guest-boot-environment-full"
        "The GRUB environment of the guest has no room for a longer device name"
        "Change that line with grub2-editenv in the guest"
    GuestBootLoaderNotUpdated "guest-boot-loader-not-updated"
        "hyper2kvm could not configure the boot loader of the guest again"
        "Check the boot loader, or pass --converter native"
    GuestChangeRefused "guest-change-refused"
        "The guest did not accept a change: its file system is full or read-only"
        "Free some space in the guest before the export"
    GuestDeviceByOrder "guest-device-by-order"
        "A file of the guest names a device whose name may differ on KVM"
        "Name the device by /dev/disk/by-uuid in that file"
    GuestDeviceNotFound "guest-device-not-found"
        "A file of the guest names a device that does not exist or may have another name on KVM"
        "Correct the name in that file"
    GuestDiffers "guest-differs"
        "The source names another guest OS than the system on the disks; the domain follows the source"
        "Correct the guest OS in the source VM"
    GuestDiskByHardware "guest-disk-by-hardware"
        "A file of the guest selects disks by hardware that they may not have on KVM"
        "Select them by a UUID or a label in that file"
    GuestDiskNotOpened "guest-disk-not-opened"
        "An encrypted device of the guest was not opened"
        "Pass --key for that device"
    GuestEspFull "guest-esp-full"
        "The EFI system partition has no room for a copy of the boot loader"
        "Keep the UEFI variables, or free some space in that partition"
    GuestEspUnreadable "guest-esp-unreadable"
        "The EFI system partition of the guest cannot be read"
        "Check the partition in the guest"
    GuestHibernated "guest-hibernated"
        "Windows is hibernated and cannot be changed"
        "Run shutdown /s /f /t 0 in the source VM and export again"
    GuestInitramfsNotRebuilt "guest-initramfs-not-rebuilt"
        "An initramfs of the guest was not rebuilt and may lack virtio drivers"
        "Rebuild the initramfs in the guest before the export"
    GuestInitramfsUnreadable "guest-initramfs-unreadable"
        "An initramfs of the guest cannot be read"
        "Check the file in the guest"
    GuestKernelNotFound "guest-kernel-not-found"
        "No kernel was found in the guest"
        "Check whether the guest starts"
    GuestKernelWithoutVirtio "guest-kernel-without-virtio"
        "A kernel of the guest has no virtio drivers"
        "Start the guest with another kernel"
    GuestLvmDevices "guest-lvm-devices"
        "LVM of the guest knows its disks by serial numbers of VMware"
        "Run vgimportdevices --all in the guest if a volume is missing"
    GuestMdDevices "guest-md-devices"
        "A file of the guest names a RAID array by its devices alone"
        "Name the array by UUID= in that file"
    GuestNetworkByHardware "guest-network-by-hardware"
        "A network file of the guest selects a card by hardware that no card has on KVM"
        "Correct that file"
    GuestNetworkByOrder "guest-network-by-order"
        "The network cards got their names by their order"
        "Check the names of the cards in the guest"
    GuestNetworkCardWithoutName "guest-network-card-without-name"
        "No network configuration of the guest was found for a card"
        "Configure the card in the guest"
    GuestNetworkCardsDiffer "guest-network-cards-differ"
        "The guest may be configured for other network cards and is not converted again"
        "Check the names of the network cards in the guest"
    GuestNetworkNameWithoutCard "guest-network-name-without-card"
        "The guest configures a network name that no card of the VM is known to have"
        "Check that configuration in the guest"
    GuestNetworkNotChanged "guest-network-not-changed"
        "A network file of the guest was not changed"
        "Check the file in the guest"
    GuestNetworkNotFixed "guest-network-not-fixed"
        "hyper2kvm did not adapt the network of the guest"
        "Check the names of the interfaces after the first start"
    GuestNetworkNotKept "guest-network-not-kept"
        "The files of the guest cannot be read: its network cards get other names on KVM"
        "Pass --key, or tie the names to MAC addresses in the guest before the export"
    GuestNetworkNotPinned "guest-network-not-pinned"
        "A network card of the guest may get another name on KVM"
        "Check the names of the cards in the guest"
    GuestNetworkNotRead "guest-network-not-read"
        "A network file of the guest cannot be read"
        "Check the file in the guest"
    GuestNetworkRenamed "guest-network-renamed"
        "A network card of the guest has a new name"
        "Check firewall rules and services that use the old name"
    GuestNetworkStaleMac "guest-network-stale-mac"
        "A file of the guest contains a MAC address that no card of the VM has"
        "Check the addresses in that file"
    GuestNotFixed "guest-not-fixed"
        "The guest does not start from virtio; its disks get another bus"
        "Nothing; pass --disk-bus virtio if the guest has the drivers"
    GuestNotInspected "guest-not-inspected"
        "The operating system of the guest was not recognized"
        "Pass --root or --key where the message names them"
    GuestNotVerified "guest-not-verified"
        "The guest could not be read after hyper2kvm"
        "Check whether the guest starts"
    GuestRegistryUnsaved "guest-registry-unsaved"
        "Windows was not shut down, and recent changes of its registry may be lost"
        "Shut Windows down at the source and export again"
    GuestToolsNotRemoved "guest-tools-not-removed"
        "VMware Tools could not be removed from the guest"
        "Remove VMware Tools in the guest"
    GuestUuidTwice "guest-uuid-twice"
        "Two devices of the guest have the same UUID; names by that UUID are not written"
        "Give one of them another UUID"
    GuestWillNotBeFixed "guest-will-not-be-fixed"
        "guestfish is not installed: the guest is not fixed and gets hardware that it supports already"
        "Install libguestfs-tools (Fedora: guestfs-tools)"
    GuestWillNotBoot "guest-will-not-boot"
        "The guest has no driver for any controller that the domain can have"
        "Install drivers in the guest before the export"
    HostDeviceNotKept "host-device-not-kept"
        "The source VM uses a device of its host; the domain does not"
        "Attach a device of the target host"
    Hyper2kvmNotIsolated "hyper2kvm-not-isolated"
        "hyper2kvm runs without namespaces, as root and with the devices of the host"
        "Enable user namespaces, or pass --converter native"
    Hyper2kvmNotRun "hyper2kvm-not-run"
        "A hyper2kvm was found and not run, for the reason in the message"
        "Pass --hyper2kvm-path if you trust the program"
    Hyper2kvmStepFailed "hyper2kvm-step-failed"
        "A step of hyper2kvm failed"
        "Read the log of hyper2kvm"
    Hyper2kvmUnsafePath "hyper2kvm-unsafe-path"
        "A hyper2kvm was passed over, since others can replace the program"
        "Make the program and its folders writable by their owner alone"
    Hyper2kvmUntriedVersion "hyper2kvm-untried-version"
        "hyperexport was not tested with this version of hyper2kvm"
        "Check the guest, or use a tested version"
    Hyper2kvmUnusable "hyper2kvm-unusable"
        "hyper2kvm cannot be used"
        "Follow the hint, or pass --converter native"
    Hyper2kvmWarning "hyper2kvm-warning"
        "A warning of hyper2kvm itself"
        "Read the log of hyper2kvm"
    IsoNotPacked "iso-not-packed"
        "The package contains no CD-ROM; the image is beside the package"
        "Copy the image along with the package"
    IsoNotTaken "iso-not-taken"
        "A CD-ROM image was not exported or is missing; the drive of the domain is empty"
        "Insert the image with virsh change-media"
    KvmUnusable "kvm-unusable"
        "KVM does not run guests on the host; the domain is emulated, which is slow"
        "Enable virtualization in the firmware of the host, and load kvm_intel or kvm_amd"
    LeaseNotAborted "lease-not-aborted"
        "The export lease could not be aborted: the VM stays locked for up to five minutes"
        "Wait"
    LeaseNotCompleted "lease-not-completed"
        "The export lease could not be completed; the disks are complete"
        "Wait until the lease has timed out"
    LeftToOthers "left-to-others"
        "A storage pool or volume of a killed run is not removed, since others use it"
        "Remove it when nobody needs it"
    Leftover "leftover"
        "A file of an earlier or unfinished run could not be removed"
        "Remove the file"
    LeftoverFile "leftover-file"
        "An unfinished file could not be removed"
        "Remove the file"
    LibguestfsWithoutKvm "libguestfs-without-kvm"
        "libguestfs runs without KVM, which is slow"
        "Enable KVM, or set LIBGUESTFS_BACKEND_SETTINGS=force_tcg"
    LibvirtUnreachable "libvirt-unreachable"
        "libvirt cannot be reached; the export and the conversion run without it"
        "Start libvirt, then run hyperexport define"
    MacInUse "mac-in-use"
        "Another domain has the same MAC address"
        "Run only one of the two, or pass --new-mac"
    ManifestExtensionIgnored "manifest-extension-ignored"
        "hyper2kvm does not get an extension of the manifest"
        "Nothing, or pass --converter native"
    ManifestNotUpdated "manifest-not-updated"
        "What was found on the disks could not be written to the manifest"
        "Check space and permissions of the output directory"
    ManifestSizeDiffers "manifest-size-differs"
        "A disk image has another size than the manifest says"
        "Check whether the image was changed"
    MarkerStays "marker-stays"
        "The lock file of the run could not be removed"
        "Remove the file when no run is active"
    NetworkMapUnused "network-map-unused"
        "--network-map was passed, and the VM has no network card"
        "Leave --network-map out"
    NicLeftOut "nic-left-out"
        "A network card is left out of the domain"
        "Nothing, or connect the card with --network-map"
    NicMacMade "nic-mac-made"
        "A network card got a MAC address made by hyperexport"
        "Update licences and DHCP reservations"
    NotQuiesced "not-quiesced"
        "The guest was not quiesced for the snapshot: its disks are as after a power failure"
        "Check VMware Tools in the guest, or pass --quiesce yes to require it"
    NotTakenBack "not-taken-back"
        "A domain or what belongs to it could not be removed"
        "Run hyperexport undo"
    NotVerifiedByServer "not-verified-by-server"
        "The server gave no checksum of a disk; only length and structure were verified"
        "Nothing"
    NvramKeysLost "nvram-keys-lost"
        "Keys for secure boot that were enrolled in the source VM are not in the domain"
        "Enrol the keys again with mokutil --import"
    NvramNotExported "nvram-not-exported"
        "The UEFI variables of the VM were not exported"
        "Enrol keys again if any were enrolled by hand"
    NvramNotKept "nvram-not-kept"
        "The domain has UEFI variables, or a TPM, of its own"
        "Enrol keys again, and have the recovery key of BitLocker ready"
    OutputShared "output-shared"
        "Other users can write to the output directory or a folder above it"
        "Use an --output that only you and root can write to"
    PoolNotAutostarted "pool-not-autostarted"
        "The domain starts with its host, and its storage pool does not"
        "Run virsh pool-autostart POOL"
    PoolUsedInstead "pool-used-instead"
        "The storage pool does not exist; another pool over its folder is used"
        "Nothing, or pass --libvirt-pool"
    PoweredOffHard "powered-off-hard"
        "The VM was powered off, since its guest could not be shut down"
        "Check the file systems of the guest"
    PrivilegesNotKnown "privileges-not-known"
        "The server does not report the privileges of the login"
        "Compare them with hyperexport role"
    ReportNotSaved "report-not-saved"
        "The report of the conversion could not be written"
        "Check space and permissions of the output directory"
    ResultNotSaved "result-not-saved"
        "result.json could not be written"
        "Check space and permissions of the output directory"
    RunNotRecorded "run-not-recorded"
        "The run could not be recorded; hyperexport undo does not know it"
        "Keep result.json of this run"
    SecretReadable "secret-readable"
        "Other users can read the file with the password"
        "Run chmod 600 on the file"
    SessionLeft "session-left"
        "The session at vSphere could not be closed"
        "Nothing: the server closes the session"
    SizeDiffers "size-differs"
        "A file has another size than its description says; the size of the file is used"
        "Check whether the package is complete"
    SnapshotExportReused "snapshot-export-reused"
        "The reused export is that of a snapshot: later changes are not on the disks"
        "Pass --fresh to export again"
    SnapshotFound "snapshot-found"
        "The VM has a snapshot of another run of hyperexport"
        "Remove the snapshot in the vSphere client if no run is active"
    SnapshotLeft "snapshot-left"
        "The snapshot of a run could not be removed and grows while the VM runs"
        "Remove the snapshot in the vSphere client"
    SourceLeftOff "source-left-off"
        "The source VM was switched off by a run and stays off"
        "Power the VM on, or run hyperexport undo --power-on-source"
    SourceMayGoOff "source-may-go-off"
        "The source VM was asked to shut down and still runs; it may shut down later"
        "Check the VM; the next run powers it on"
    SourceNotAsked "source-not-asked"
        "It is unknown whether the source VM is off, since no login was passed"
        "Check that the source VM is off"
    SourceStaysOff "source-stays-off"
        "The source VM is not powered on again, since its domain runs or may run"
        "Stop the domain first if the source VM is to run"
    SpaceMayRunOut "space-may-run-out"
        "The disks may need more space than is free"
        "Free some space, or use another --output"
    SumMissing "sum-missing"
        "A package has checksums, but none of this disk"
        "Nothing, or check the disk by other means"
    TakenBack "taken-back"
        "What a killed run left was removed"
        "Nothing"
    UuidNotKept "uuid-not-kept"
        "Another domain has the UUID of the VM; the new domain gets another one"
        "Renew licences that depend on the UUID"
    VirtV2vWarning "virt-v2v-warning"
        "A warning of virt-v2v itself"
        "Read the log of the conversion"
    WindowsWithoutDrivers "windows-without-drivers"
        "No virtio drivers were found for this Windows"
        "Pass --virtio-win"
    WindowsWithoutRhsrvany "windows-without-rhsrvany"
        "rhsrvany is missing, without which virt-v2v changes no Windows with VMware Tools"
        "Install rhsrvany, or set VIRT_TOOLS_DATA_DIR"
    WindowsWithoutVirtV2v "windows-without-virt-v2v"
        "virt-v2v-in-place is not installed, which alone installs virtio drivers in Windows"
        "Install virt-v2v"
    WorkFolderLeft "work-folder-left"
        "The work folder of the conversion could not be removed"
        "Remove the folder"
}

impl From<&str> for WarningCode {
    fn from(code: &str) -> Self {
        let known = Self::ALL.iter().find(|known| known.as_str() == code);
        known.cloned().unwrap_or_else(|| Self::Other(code.to_owned()))
    }
}

impl fmt::Display for WarningCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for WarningCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// An unknown code is kept: results of other versions stay readable.
impl<'de> Deserialize<'de> for WarningCode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|code| Self::from(code.as_str()))
    }
}

/// A string, not an enumeration: results of other versions are valid, too.
#[cfg(test)]
impl schemars::JsonSchema for WarningCode {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "WarningCode".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "What a warning is about. docs/warnings.md lists all codes.",
            "type": "string",
            "pattern": "^[a-z0-9]+(-[a-z0-9]+)*$",
        })
    }
}

impl PartialEq<str> for WarningCode {
    fn eq(&self, code: &str) -> bool {
        self.as_str() == code
    }
}

impl PartialEq<&str> for WarningCode {
    fn eq(&self, code: &&str) -> bool {
        self.as_str() == *code
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_sorted_and_in_kebab_case() {
        let codes: Vec<_> = WarningCode::ALL.iter().map(WarningCode::as_str).collect();
        assert!(codes.is_sorted_by(|a, b| a < b), "{codes:?}");
        for code in codes {
            let words = code.split('-');
            let plain = |word: &str| {
                let letters = word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
                !word.is_empty() && letters
            };
            assert!(words.into_iter().all(plain), "{code}");
        }
    }

    #[test]
    fn a_code_of_another_version_is_kept() {
        for code in ["taken-back", "of-the-future"] {
            let json = serde_json::Value::from(code);
            let read: WarningCode = serde_json::from_value(json.clone()).expect("a code");
            assert_eq!(serde_json::to_value(&read).expect("a text"), json);
            assert_eq!(matches!(read, WarningCode::Other(_)), code == "of-the-future");
        }
    }
}
