//! Checks whether KVM really runs guests on this machine.
//!
//! On some hosts `/dev/kvm` opens and libvirt lists KVM, yet every guest hangs or QEMU aborts:
//! where KVM is nested or paravirtual. Some of them *emulate* firmware and boot loaders, a thousand
//! times slower than a processor, and fail at the first kernel. The proof is therefore a test
//! guest, a boot sector that enters 64-bit mode as a kernel does. The guest then measures its own
//! speed with the processor's time stamp counter.

use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use tempfile::NamedTempFile;
use tokio_util::sync::CancellationToken;

use crate::child::{Limits, Program, run};

/// Timeout. A guest needs some 100 ms at native speed, and two seconds if KVM emulates it.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// Size of the guest's disk, in bytes: firmware rejects a smaller one as broken.
pub const DISK: u64 = 1 << 20;

/// How QEMU executes the guest's code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accelerator {
    /// Natively on the processor.
    Kvm,
    /// By QEMU's own emulation.
    Tcg,
}

/// Result of running the test guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KvmProof {
    /// The guest ran at full speed.
    Runs,
    /// The guest did not start, hung or was too slow.
    Fails,
    /// This user has no access to `/dev/kvm`.
    Forbidden,
}

/// Runs the test guest on this machine with `emulator`, a `qemu-system-x86_64`, and `machine` or
/// else the default machine type.
pub async fn prove(
    emulator: &Path,
    machine: Option<&str>,
    accelerator: Accelerator,
    cancel: &CancellationToken,
) -> KvmProof {
    let disk = match disk() {
        Ok(disk) => disk,
        Err(error) => {
            tracing::debug!(%error, "no disk for the proof of KVM");
            return KvmProof::Fails;
        }
    };
    let (accelerator, cpu) = match accelerator {
        Accelerator::Kvm => ("kvm", "host"),
        Accelerator::Tcg => ("tcg", "max"),
    };
    // A comma ends a value of `-drive` unless it is doubled.
    let file = disk.path().to_string_lossy().replace(',', ",,");
    let program = Program::new(emulator)
        .env("LC_ALL", "C.UTF-8")
        .args(["-accel", accelerator, "-cpu", cpu, "-m", "32"])
        .args(machine.map(|machine| ["-machine", machine]).into_iter().flatten())
        .args(["-display", "none", "-nodefaults", "-no-user-config", "-no-reboot"])
        .args(["-device", "isa-debug-exit,iobase=0xf4"])
        .args(["-drive", &format!("file={file},format=raw,if=virtio,readonly=on")]);
    let limits = Limits { timeout: Some(PATIENCE), cancel: cancel.clone() };
    let mut forbidden = false;
    let end = run(program, &limits, |_, line| {
        tracing::debug!(%line, "the guest that proves KVM");
        forbidden |= line.contains("Permission denied");
    })
    .await;
    match end {
        Ok(status) if status.success() => KvmProof::Runs,
        Ok(_) if forbidden => KvmProof::Forbidden,
        Ok(status) => {
            tracing::debug!(%status, "KVM runs no guest");
            KvmProof::Fails
        }
        Err(error) => {
            tracing::debug!(%error, "KVM could not be proven");
            KvmProof::Fails
        }
    }
}

/// Disk of the test guest; the file is deleted on drop.
fn disk() -> io::Result<NamedTempFile> {
    let mut file = NamedTempFile::with_prefix("hyperexport-kvm-")?;
    file.write_all(&boot_sector())?;
    file.as_file().set_len(DISK)?;
    Ok(file)
}

/// First sector of the guest's disk. The guest requests a reset if it runs fast enough. If it is
/// too slow, it ends QEMU with status 3 by `isa-debug-exit`, or else panics by `pvpanic`.
pub fn boot_sector() -> [u8; 512] {
    let mut sector = [0; 512];
    sector[..CODE.len()].copy_from_slice(&CODE);
    // Intel BIOS Boot Specification 1.01, section 6.5.1.
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    sector
}

/// Code of the guest. The BIOS loads it to 0x7c00 and starts it in real mode (Intel 64 and IA-32
/// Architectures Software Developer's Manual, volume 3, 11.8.5 "Initializing IA-32e Mode").
#[rustfmt::skip]
const CODE: [u8; 166] = [
    0xfa,                                     //       cli
    0x31, 0xc0,                               //       xor   ax, ax
    0x8e, 0xd8,                               //       mov   ds, ax
    0x8e, 0xc0,                               //       mov   es, ax
    0x8e, 0xd0,                               //       mov   ss, ax
    0xbc, 0x00, 0x7c,                         //       mov   sp, 0x7c00
    // Page tables for one page of 2 MiB, at 0x1000.
    0xfc,                                     //       cld
    0xbf, 0x00, 0x10,                         //       mov   di, 0x1000
    0xb9, 0x00, 0x18,                         //       mov   cx, 0x1800
    0xf3, 0xab,                               //       rep   stosw
    0xc7, 0x06, 0x00, 0x10, 0x03, 0x20,       //       mov   word [0x1000], 0x2003
    0xc7, 0x06, 0x00, 0x20, 0x03, 0x30,       //       mov   word [0x2000], 0x3003
    0xc6, 0x06, 0x00, 0x30, 0x83,             //       mov   byte [0x3000], 0x83
    // CR4.PAE, CR3, EFER.LME, CR0.PE and PG.
    0x66, 0xb8, 0x20, 0x00, 0x00, 0x00,       //       mov   eax, 0x20
    0x0f, 0x22, 0xe0,                         //       mov   cr4, eax
    0x66, 0xb8, 0x00, 0x10, 0x00, 0x00,       //       mov   eax, 0x1000
    0x0f, 0x22, 0xd8,                         //       mov   cr3, eax
    0x66, 0xb9, 0x80, 0x00, 0x00, 0xc0,       //       mov   ecx, 0xc0000080
    0x0f, 0x32,                               //       rdmsr
    0x80, 0xcc, 0x01,                         //       or    ah, 1
    0x0f, 0x30,                               //       wrmsr
    0x0f, 0x20, 0xc0,                         //       mov   eax, cr0
    0x66, 0x0d, 0x01, 0x00, 0x00, 0x80,       //       or    eax, 0x80000001
    0x0f, 0x22, 0xc0,                         //       mov   cr0, eax
    0x0f, 0x01, 0x16, 0xa0, 0x7c,             //       lgdt  [0x7ca0]
    0xea, 0x5b, 0x7c, 0x08, 0x00,             //       jmp   8:0x7c5b
    // 64 bits. Sixteen tries, since a busy machine may interrupt some of them.
    0xbb, 0x10, 0x00, 0x00, 0x00,             //       mov   ebx, 16
    // 65536 iterations of a loop: fast enough if an iteration takes less than 64 cycles. A
    // processor needs one or two, QEMU's emulation some ten, KVM's more than a thousand.
    0x0f, 0x31,                               // try:  rdtsc
    0x89, 0xc6,                               //       mov   esi, eax
    0xb9, 0x00, 0x00, 0x01, 0x00,             //       mov   ecx, 0x10000
    0xff, 0xc9,                               // turn: dec   ecx
    0x75, 0xfc,                               //       jnz   turn
    0x0f, 0x31,                               //       rdtsc
    0x29, 0xf0,                               //       sub   eax, esi
    0xc1, 0xe8, 0x16,                         //       shr   eax, 22
    0x74, 0x10,                               //       jz    runs
    0xff, 0xcb,                               //       dec   ebx
    0x75, 0xe6,                               //       jnz   try
    0xb0, 0x01,                               //       mov   al, 1
    0xe6, 0xf4,                               //       out   0xf4, al
    0x66, 0xba, 0x05, 0x05,                   //       mov   dx, 0x505
    0xee,                                     //       out   dx, al
    0xf4,                                     // halt: hlt
    0xeb, 0xfd,                               //       jmp   halt
    0xb0, 0xfe,                               // runs: mov   al, 0xfe
    0xe6, 0x64,                               //       out   0x64, al
    0xeb, 0xf7,                               //       jmp   halt
    0x0f, 0x1f, 0x40, 0x00,
    // Segment descriptors: null and 64-bit code; then limit and address of their table.
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x9a, 0x20, 0x00,
    0x0f, 0x00, 0x90, 0x7c, 0x00, 0x00,
];

#[cfg(test)]
mod tests {
    use super::*;

    async fn emulated(emulator: &str, machine: Option<&str>) -> KvmProof {
        let cancel = CancellationToken::new();
        prove(Path::new(emulator), machine, Accelerator::Tcg, &cancel).await
    }

    #[tokio::test]
    async fn an_emulator_that_is_missing_or_dies_is_no_proof() {
        assert_eq!(emulated("/no/such/qemu", None).await, KvmProof::Fails);
        assert_eq!(emulated("/bin/false", Some("q35")).await, KvmProof::Fails);
    }

    #[tokio::test]
    async fn a_guest_that_runs_is_the_proof() {
        const QEMU: &str = "/usr/bin/qemu-system-x86_64";
        if !Path::new(QEMU).exists() {
            assert!(std::env::var_os("CI").is_none(), "this test must run in CI: no {QEMU}");
            println!("skipped: no {QEMU}");
            return;
        }
        for machine in [None, Some("pc"), Some("q35")] {
            assert_eq!(emulated(QEMU, machine).await, KvmProof::Runs, "{machine:?}");
        }
    }
}
