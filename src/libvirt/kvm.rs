//! Whether KVM really runs guests here.
//!
//! There are hosts whose `/dev/kvm` opens and whose libvirt lists KVM, and yet every guest hangs
//! or QEMU aborts: paravirtual or nested KVM. So QEMU is asked for a proof: its firmware finds no
//! disk, gives up after a second and reboots, and that reboot, which only a running guest can ask
//! for, ends QEMU with status 0. On another machine libvirt runs it for us, as a transient domain
//! that ends with that reboot.

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use virt::connect::Connect;
use virt::sys;

use crate::child::{Limits, Program, run};
use crate::domain::{DomainType, Platform};

use super::xml::probe;
use super::{Error, define, trial, xml};

/// A guest that runs needs less than a second; a hanging one is given up soon enough.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often a domain far away is looked for.
const LOOK: Duration = Duration::from_millis(100);

/// Whether a guest runs on `platform`. No proof is no.
pub(super) async fn runs(platform: &Platform) -> bool {
    let accelerator = match platform.domain_type {
        DomainType::Kvm => "kvm",
        DomainType::Qemu => "tcg",
    };
    let program = Program::new(&platform.emulator)
        .args(["-accel", accelerator, "-machine", platform.chipset.as_str()])
        .args(["-cpu", if accelerator == "kvm" { "host" } else { "max" }, "-m", "32"])
        .args(["-display", "none", "-nodefaults", "-no-user-config", "-no-reboot"])
        .args(["-boot", "reboot-timeout=1"]);
    let limits = Limits { timeout: Some(PATIENCE), cancel: CancellationToken::new() };
    let mut forbidden = false;
    let end = run(program, &limits, |_, line| {
        tracing::debug!(%line, "KVM probe");
        forbidden |= line.contains("Permission denied");
    })
    .await;
    match end {
        Ok(status) if status.success() => true,
        // libvirt's user may open what ours may not: then its word is all there is.
        Ok(_) if forbidden => true,
        Ok(status) => {
            tracing::debug!(%status, "KVM is listed but runs no guest");
            false
        }
        Err(error) => {
            tracing::debug!(%error, "KVM is listed but could not be proven");
            false
        }
    }
}

/// The same on the daemon's machine. Blocks.
pub(super) fn runs_there(connect: &Connect, arch: &str, platform: &Platform) -> bool {
    prove(connect, arch, platform).unwrap_or_else(|error| {
        tracing::debug!(%error, "KVM is listed but could not be proven");
        false
    })
}

fn prove(connect: &Connect, arch: &str, platform: &Platform) -> Result<bool, Error> {
    let uuid = define::fresh_uuid()?;
    let name = format!("{}{uuid}", trial::PREFIX);
    let text = xml::write("domain", &probe::Domain::new(&name, &uuid, arch, platform))
        .map_err(|source| Error::Xml { what: format!("domain '{name}'"), source })?;
    // Ends with this connection, so that a run that is killed leaves none.
    let domain = connect
        .create_domain_xml(&text, sys::VIR_DOMAIN_START_AUTODESTROY)
        .map_err(Error::call("start an empty domain"))?;
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        if connect.lookup_domain_by_uuid_string(&uuid).is_err() {
            return Ok(true);
        }
        std::thread::sleep(LOOK);
    }
    domain.destroy().map(|()| false).map_err(Error::call("stop an empty domain"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Chipset;

    fn platform(emulator: &str) -> Platform {
        Platform {
            domain_type: DomainType::Qemu,
            chipset: Chipset::Q35,
            machine: String::new(),
            emulator: emulator.to_owned(),
            max_vcpus: 1,
            efi: false,
            secure_boot: false,
            cpu_modes: Vec::new(),
            cpu_models: Vec::new(),
            disk_buses: Vec::new(),
            tpm: Vec::new(),
            panic: Vec::new(),
            video: Vec::new(),
            hyperv: Vec::new(),
        }
    }

    #[tokio::test]
    async fn an_emulator_that_is_missing_or_dies_is_no_proof() {
        assert!(!runs(&platform("/no/such/qemu")).await);
        assert!(!runs(&platform("/bin/false")).await);
    }

    #[tokio::test]
    async fn a_guest_that_runs_is_the_proof() {
        const QEMU: &str = "/usr/bin/qemu-system-x86_64";
        if !std::path::Path::new(QEMU).exists() {
            assert!(std::env::var_os("CI").is_none(), "this test must run in CI: no {QEMU}");
            println!("skipped: no {QEMU}");
            return;
        }
        assert!(runs(&platform(QEMU)).await);
    }
}
