//! Remedies for missing features of a host, shown when a guest needs one and by `doctor`
//! beforehand.

/// Remedy if no guest runs on KVM.
pub const KVM: &str =
    "enable virtualization in the host's firmware and load the module kvm_intel or kvm_amd";
/// Remedy if the host has no x86 emulator.
pub const QEMU: &str =
    "install QEMU for x86: qemu-system-x86 on Debian and Ubuntu, qemu-kvm on Fedora and RHEL";
/// Remedy if the host has no firmware that libvirt can select for an EFI guest.
pub const EFI: &str =
    "install the firmware on the host: ovmf on Debian and Ubuntu, edk2-ovmf on Fedora and RHEL";
/// Remedy if the host has no TPM 2.0 emulator.
pub const TPM: &str = "install swtpm and swtpm-tools on the host and restart libvirtd";
