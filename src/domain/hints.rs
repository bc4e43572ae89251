//! What to do about things that a host lacks: said when a guest needs one, and by the doctor before
//! any does.

/// No guest runs on KVM.
pub const KVM: &str =
    "enable virtualization in the host's firmware and load the module kvm_intel or kvm_amd";
/// No emulator for x86.
pub const QEMU: &str =
    "install QEMU for x86: qemu-system-x86 on Debian and Ubuntu, qemu-kvm on Fedora and RHEL";
/// No firmware that libvirt could select for an EFI guest.
pub const EFI: &str =
    "install the firmware on the host: ovmf on Debian and Ubuntu, edk2-ovmf on Fedora and RHEL";
/// No emulator of a TPM 2.0.
pub const TPM: &str = "install swtpm and swtpm-tools on the host and restart libvirtd";
