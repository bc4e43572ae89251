//! FIX by virt-v2v-in-place(1), which supports the drivers of Windows and many boot loaders.

use std::fs;
use std::path::{Path, PathBuf};

use crate::child::{self, Door, Output, Program};
use crate::convert::tools::qemu_img::Tools;
use crate::convert::{ConversionRun, Error};
use crate::model::WarningCode;
use crate::progress::Event;

use super::failure_reason::FailureReason;
use super::fix::FixReport;
use super::guestfs_environment::GuestfsEnvironment;

pub(in crate::convert) const PROGRAM: &str = "virt-v2v-in-place";

/// Whether virt-v2v-in-place is installed.
pub(in crate::convert) async fn is_there(tools: &Tools) -> bool {
    version(tools).await.is_ok()
}

/// Name and version: `virt-v2v-in-place 2.2.0`.
pub(in crate::convert) async fn version(tools: &Tools) -> Result<String, Error> {
    let program = Program::new(PROGRAM).arg("--version").env("PATH", &tools.path);
    let mut said = String::new();
    child::run(program, &tools.limits(), |output, line| {
        if output == Output::Stdout && said.is_empty() {
            said = line.to_owned();
        }
    })
    .await
    .map_err(tools.child_error("running virt-v2v-in-place"))?;
    Ok(said)
}

/// The input of virt-v2v-in-place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patient<'a> {
    /// The disks as qcow2 images.
    pub(super) overlays: &'a [PathBuf],
    /// `LIBGUESTFS_BACKEND_SETTINGS`.
    pub(super) backend_settings: Option<&'a str>,
    /// The root of the guest as INSPECT found it: virt-v2v-in-place does not choose between
    /// several.
    pub(super) root: &'a str,
    /// `VIRTIO_WIN`.
    pub(super) virtio_win: Option<&'a Path>,
}

/// Fixes a guest.
///
/// # Errors
/// [`Error::Guestfs`] with the last line of virt-v2v-in-place.
pub(super) async fn fix(
    run: &ConversionRun<'_>,
    patient: Patient<'_>,
    report: &mut FixReport<'_>,
) -> Result<(), Error> {
    let Patient { overlays, backend_settings, root, virtio_win } = patient;
    let doing = "fixing the guest with virt-v2v-in-place".to_owned();
    let xml = run.work.tmp().join("guest.xml");
    fs::write(&xml, domain(overlays)).map_err(Error::io(format!("writing {}", xml.display())))?;
    let program = Program::new(PROGRAM)
        .args(["-i", "libvirtxml"])
        // Only libguestfs has the form `btrfsvol:/dev/sda2/@`.
        .args(
            Some(root)
                .filter(|root| root.starts_with("/dev/"))
                .map(|root| format!("--root={root}")),
        )
        .arg(xml)
        .environment(run, backend_settings, Door::None)
        .envs(virtio_win.map(|path| ("VIRTIO_WIN", path)));
    let (mut reason, limits) = (FailureReason::default(), run.tools.limits());
    let status = child::run(program, &limits, |_, line| {
        if let Some((_, warning)) = line.split_once("warning: ") {
            report.warn(WarningCode::VirtV2vWarning, warning);
        }
        if run.settings.stream_output {
            run.progress.send(Event::Output { program: PROGRAM, line: line.to_owned() });
        }
        reason.read(line);
    });
    match status.await.map_err(run.tools.child_error(&doing))? {
        status if status.success() => Ok(()),
        _ => Err(Error::Guestfs { doing, message: reason.into_message() }),
    }
}

/// The smallest domain that virt-v2v accepts: a domain with its disks.
fn domain(disks: &[PathBuf]) -> String {
    let escaped = |path: &PathBuf| {
        let path = path.to_string_lossy();
        path.replace('&', "&amp;").replace('<', "&lt;").replace('\'', "&apos;")
    };
    let disk = |(index, path): (usize, &PathBuf)| {
        let letter = char::from(b'a' + (index % 26) as u8);
        format!(
            "<disk type='file' device='disk'><driver name='qemu' type='qcow2'/>\
             <source file='{}'/><target dev='sd{letter}' bus='scsi'/></disk>",
            escaped(path)
        )
    };
    let disks: String = disks.iter().enumerate().map(disk).collect();
    format!(
        "<domain type='qemu'><name>guest</name><memory unit='MiB'>1024</memory><vcpu>1</vcpu>\
         <os><type arch='x86_64'>hvm</type></os><features><acpi/></features>\
         <devices>{disks}</devices></domain>"
    )
}
