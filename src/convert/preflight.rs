//! What can be refused before a byte is converted, and the plan that a dry run prints.

use std::fmt;
use std::path::{Path, PathBuf};

use nix::sys::statvfs::statvfs;
use tokio_util::sync::CancellationToken;

use crate::image::Compression;
use crate::manifest::{Disk, Manifest};
use crate::model::{
    ByteSize, DiskFormat, DiskId, OsFamily, SourceVm, Stage, Warning, WarningCode, chain,
};

use super::hyper2kvm::find::find;
use super::hyper2kvm::probe;
use super::native::{guestfs, v2v};
use super::results::free_paths;
use super::tools::qemu_img::{Tools, option};
use super::virtio_win::{self, Foretold};
use super::{Converter, Error, Settings, seed};

/// What a conversion is going to be about, known before there is a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needs {
    /// Display name of the VM.
    pub vm_name: String,
    /// Its disks, the boot disk first.
    pub disks: Vec<DiskId>,
    /// Bytes of the images to convert, as far as they are known.
    pub data: ByteSize,
    /// The same without images that were converted while they arrived.
    pub unconverted: ByteSize,
    /// The family of the guest, as far as the source tells.
    pub family: OsFamily,
}

impl From<&Manifest> for Needs {
    fn from(manifest: &Manifest) -> Self {
        let order = manifest.disks_in_boot_order();
        let bytes = |counts: &dyn Fn(&&Disk) -> bool| {
            manifest.disks.iter().filter(counts).map(|disk| ByteSize(disk.bytes)).sum()
        };
        Self {
            vm_name: manifest.vm_name().to_owned(),
            disks: order.iter().map(|disk| disk.id.clone()).collect(),
            data: bytes(&|_| true),
            unconverted: bytes(&|disk| manifest.received(&disk.id).is_none()),
            family: manifest.source_vm().guest.family,
        }
    }
}

impl From<&SourceVm> for Needs {
    fn from(vm: &SourceVm) -> Self {
        let mut disks: Vec<_> = vm.disks.iter().collect();
        disks.sort_by_key(|disk| disk.boot_order);
        Self {
            vm_name: vm.name.clone(),
            disks: disks.iter().map(|disk| disk.id.clone()).collect(),
            // How much of its capacity a disk uses is not known before it is exported.
            data: ByteSize(0),
            unconverted: ByteSize(0),
            family: vm.guest.family,
        }
    }
}

/// Who converts, once that is decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Engine {
    /// The hyper2kvm of that path.
    Hyper2kvm(PathBuf),
    /// Ourselves.
    Native,
    /// Ourselves, with virt-v2v-in-place.
    VirtV2v,
}

/// A conversion that may begin.
#[derive(Debug, Clone)]
pub struct ReadyConversion {
    /// Who converts.
    pub engine: Engine,
    /// Its name and version; only the name in a dry run, which does not run it.
    pub converter: String,
    /// Where the results go, boot disk first; none when CONVERT is off.
    pub results: Vec<PathBuf>,
    /// What is less than well.
    pub warnings: Vec<Warning>,
}

/// Checks that qemu-img and hyper2kvm are there and work, that no result exists and that there is
/// space. Writes nothing.
///
/// # Errors
/// The first thing that is missing or in the way.
pub async fn preflight(
    needs: &Needs,
    dir: &Path,
    settings: &Settings,
    cancel: &CancellationToken,
) -> Result<ReadyConversion, Error> {
    let tools = Tools::new(settings.path.clone(), settings.timeout, cancel.clone());
    prepare(needs, dir, settings, &tools).await
}

/// Whether we convert by ourselves, as far as that is known before anything is looked at closely; of any
/// guest where its family is not told.
pub fn is_ours(settings: &Settings, family: Option<OsFamily>) -> bool {
    match settings.chosen() {
        Converter::Native | Converter::VirtV2v => true,
        Converter::Hyper2kvm => false,
        Converter::Auto if family.is_some_and(|family| family != OsFamily::Linux) => true,
        Converter::Auto => matches!(find(settings), Err(Error::NotFound { .. })),
    }
}

/// Checks that qemu-img and hyper2kvm are there and work, long before there is anything to convert.
/// What is less than well about them is told by the conversion itself, but for what makes FIX
/// impossible.
///
/// # Errors
/// The first thing that is missing.
pub async fn usable(
    guest: &Foretold,
    settings: &Settings,
    cancel: &CancellationToken,
) -> Result<Vec<Warning>, Error> {
    let tools = Tools::new(settings.path.clone(), settings.timeout, cancel.clone());
    let ready = converter(guest.family, settings, &tools).await?;
    let ours = !matches!(ready.engine, Engine::Hyper2kvm(_));
    if !(ours && settings.stages.fix) {
        return Ok(Vec::new());
    }
    if guestfs::is_there(&tools).await {
        return Ok(virtio_win::warnings(&settings.windows, guest, &tools).await);
    }
    let text = "guestfish is not installed, so the guest will not be fixed: it gets hardware that \
        it supports already (install libguestfs-tools; Fedora: guestfs-tools)";
    Ok(vec![Warning::new(Stage::Preflight, WarningCode::GuestWillNotBeFixed, text)])
}

/// [`preflight`] with the tools of a conversion.
pub(super) async fn prepare(
    needs: &Needs,
    dir: &Path,
    settings: &Settings,
    tools: &Tools,
) -> Result<ReadyConversion, Error> {
    let seed = settings.cloud_init.is_some();
    let paths = if settings.stages.convert { free_paths(needs, dir, seed)? } else { Vec::new() };
    // What arrived as it is to be takes no further space.
    space(dir, if settings.consume { needs.unconverted } else { needs.data })?;
    virtio_win::check_sources(&settings.windows).await?;
    let ready = converter(needs.family, settings, tools).await?;
    Ok(ReadyConversion { results: paths, ..ready })
}

/// The tools alone, without results.
async fn converter(
    family: OsFamily,
    settings: &Settings,
    tools: &Tools,
) -> Result<ReadyConversion, Error> {
    tools.version().await?;
    if let Some(path) = &settings.cloud_init {
        seed::check(path)?;
    }
    match settings.chosen() {
        Converter::Hyper2kvm => hyper2kvm(settings, tools).await,
        Converter::Native => Ok(native()),
        Converter::VirtV2v => virt_v2v(tools).await,
        // hyper2kvm 0.2.1 knows Linux alone: of any other guest it converts nothing.
        Converter::Auto if family != OsFamily::Linux => Ok(native()),
        Converter::Auto => match hyper2kvm(settings, tools).await {
            Err(Error::NotFound { passed_over, .. }) => {
                Ok(ReadyConversion { warnings: passed_over, ..native() })
            }
            // One that is there and does not work is worth a word, unless it was asked for.
            Err(
                error @ (Error::NotImportable { .. }
                | Error::NoGuestfs { .. }
                | Error::Unsafe { .. }),
            ) if settings.hyper2kvm_path.is_none() => {
                let mut ready = native();
                let warning =
                    Warning::new(Stage::Pipeline, WarningCode::Hyper2kvmUnusable, chain(&error));
                ready.warnings.push(warning);
                Ok(ready)
            }
            found => found,
        },
    }
}

/// We ourselves.
pub(super) fn native() -> ReadyConversion {
    ReadyConversion {
        engine: Engine::Native,
        converter: concat!("native ", env!("CARGO_PKG_VERSION")).to_owned(),
        results: Vec::new(),
        warnings: Vec::new(),
    }
}

async fn virt_v2v(tools: &Tools) -> Result<ReadyConversion, Error> {
    let said = v2v::version(tools).await?;
    let version = said.split_whitespace().last().unwrap_or_default();
    Ok(ReadyConversion {
        engine: Engine::VirtV2v,
        converter: format!("virt-v2v {version}"),
        ..native()
    })
}

async fn hyper2kvm(settings: &Settings, tools: &Tools) -> Result<ReadyConversion, Error> {
    let found = find(settings)?;
    let mut ready = ReadyConversion {
        engine: Engine::Hyper2kvm(found.path.clone()),
        converter: "hyper2kvm".to_owned(),
        results: Vec::new(),
        warnings: found.warnings,
    };
    if !settings.dry_run {
        let installed = probe::ask(&found.path, settings, tools).await?;
        ready.converter = installed.name;
        ready.warnings.extend(installed.warnings);
    }
    Ok(ready)
}

/// At least the work image and the converted one are there together, each no smaller than the
/// compressed image it is made from.
fn space(dir: &Path, data: ByteSize) -> Result<(), Error> {
    let existing = dir.ancestors().find(|dir| dir.exists()).unwrap_or(Path::new("/"));
    let found = statvfs(existing).map_err(|error| {
        Error::io(format!("finding the free space of {}", dir.display()))(error.into())
    })?;
    // The types of statvfs' fields differ between machines.
    #[allow(clippy::useless_conversion)]
    let free = u64::from(found.blocks_available()).saturating_mul(u64::from(found.fragment_size()));
    let needed = data.0.saturating_mul(2);
    if needed > free {
        return Err(Error::NoSpace {
            dir: dir.to_owned(),
            needed: ByteSize(needed),
            free: ByteSize(free),
        });
    }
    Ok(())
}

/// What a conversion would do, for a dry run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConversionPlan {
    /// What would be run, one step a line.
    pub steps: Vec<String>,
    /// What would be there afterwards.
    pub results: Vec<PathBuf>,
}

impl fmt::Display for ConversionPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.steps.iter().try_for_each(|step| writeln!(f, "{step}"))
    }
}

/// The plan of a conversion.
pub(super) fn plan(
    manifest: &Manifest,
    ready: &ReadyConversion,
    settings: &Settings,
) -> ConversionPlan {
    let mut steps = match &ready.engine {
        Engine::Hyper2kvm(program) => by_hyper2kvm(manifest, ready, settings, program),
        _ => by_ourselves(manifest, ready, settings),
    };
    steps.extend(settings.foreseen(&manifest.source_vm()));
    if let (Some(_), Some(folder)) =
        (&settings.cloud_init, ready.results.first().and_then(|p| p.parent()))
    {
        let path = seed::seed_path(manifest.vm_name(), folder);
        steps.push(format!("write {}", path.display()));
    }
    ConversionPlan { steps, results: ready.results.clone() }
}

fn by_ourselves(manifest: &Manifest, ready: &ReadyConversion, settings: &Settings) -> Vec<String> {
    let packed = settings.compression.map_or("as they are", Compression::kind);
    let mut steps = Vec::new();
    for (disk, to) in manifest.disks_in_boot_order().iter().zip(&ready.results) {
        let (path, to) = (disk.local_path.display(), to.display());
        steps.push(format!("convert {path} to {to}, its clusters {packed}"));
    }
    if settings.stages.fix {
        let by = if ready.engine == Engine::VirtV2v { v2v::PROGRAM } else { "libguestfs" };
        steps.push(format!("fix the guest on an overlay, by {by}"));
    }
    if settings.stages.validate {
        steps.push("check the images".to_owned());
    }
    steps
}

fn by_hyper2kvm(
    manifest: &Manifest,
    ready: &ReadyConversion,
    settings: &Settings,
    program: &Path,
) -> Vec<String> {
    let mut steps = Vec::new();
    for disk in manifest.disks_in_boot_order() {
        let (format, id) = (disk.source_format.qemu_driver(), &disk.id);
        let path = disk.local_path.display();
        steps.push(format!("qemu-img convert -f {format} -O qcow2 {path} WORK/images/{id}.qcow2"));
    }
    let (program, stages) = (program.display(), settings.stages.names());
    steps.push(format!("{program} -v --manifest WORK/job.json ({stages})"));
    for path in &ready.results {
        let path = path.display();
        steps.push(match settings.compression {
            Some(compression) => {
                let (driver, option) = (DiskFormat::Qcow2.qemu_driver(), option(compression));
                format!("qemu-img convert -f {driver} -O {driver} -c -o {option} to {path}")
            }
            None => format!("move to {path}"),
        });
    }
    steps
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn auto_takes_hyper2kvm_for_linux_alone() {
        let dir = tempfile::tempdir().expect("a folder");
        let program = dir.path().join("hyper2kvm");
        std::fs::write(&program, "#!/bin/sh\n").expect("written");
        let executable = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(&program, executable).expect("set");
        let settings = Settings { path: dir.path().into(), ..Settings::default() };
        assert!(!is_ours(&settings, Some(OsFamily::Linux)) && !is_ours(&settings, None));
        assert!(is_ours(&settings, Some(OsFamily::Windows)));
        assert!(is_ours(&settings, Some(OsFamily::Unknown)));
        let named = Settings { hyper2kvm_path: Some(program), ..settings };
        assert!(!is_ours(&named, Some(OsFamily::Windows)), "a word for hyper2kvm");
    }
}
