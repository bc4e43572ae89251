//! Checks that can fail before a byte is converted.

use std::path::Path;

use nix::sys::statvfs::statvfs;
use tokio_util::sync::CancellationToken;

use crate::model::{ByteSize, OsFamily, Stage, Warning, WarningCode, chain};

use super::engine::{Engine, ReadyConversion};
use super::hyper2kvm::find::find;
use super::hyper2kvm::probe;
use super::native::{guestfs, v2v};
use super::needs::Needs;
use super::results::free_paths;
use super::tools::qemu_img::Tools;
use super::virtio_win::{self, Foretold};
use super::{Converter, Error, Settings, seed};

/// Checks that qemu-img and hyper2kvm are installed and work, that no result exists and that there
/// is enough space. Writes nothing.
///
/// # Errors
/// The first check that fails.
pub async fn preflight(
    needs: &Needs,
    dir: &Path,
    settings: &Settings,
    cancel: &CancellationToken,
) -> Result<ReadyConversion, Error> {
    let tools = Tools::new(settings.path.clone(), settings.timeout, cancel.clone());
    prepare(needs, dir, settings, &tools).await
}

/// Whether hyperexport itself converts the guest, as far as that is known before any inspection.
/// `family` is `None` where the guest's family is unknown.
pub fn is_ours(settings: &Settings, family: Option<OsFamily>) -> bool {
    match settings.chosen() {
        Converter::Native | Converter::VirtV2v => true,
        Converter::Hyper2kvm => false,
        Converter::Auto if family.is_some_and(|family| family != OsFamily::Linux) => true,
        Converter::Auto => matches!(find(settings), Err(Error::NotFound { .. })),
    }
}

/// Checks that qemu-img and hyper2kvm are installed and work, long before a conversion. Returns
/// only warnings about what makes FIX impossible; the conversion reports all others.
///
/// # Errors
/// The first check that fails.
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
    // Images that were converted during the download need no further space.
    space(dir, if settings.consume { needs.unconverted } else { needs.data })?;
    virtio_win::check_sources(&settings.windows).await?;
    let ready = converter(needs.family, settings, tools).await?;
    Ok(ReadyConversion { results: paths, ..ready })
}

/// Checks the converter alone, without results.
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
        // hyper2kvm 0.2.1 supports only Linux: it cannot convert any other guest.
        Converter::Auto if family != OsFamily::Linux => Ok(native()),
        Converter::Auto => match hyper2kvm(settings, tools).await {
            Err(Error::NotFound { passed_over, .. }) => {
                Ok(ReadyConversion { warnings: passed_over, ..native() })
            }
            // A hyper2kvm that does not work causes a warning, and an error where the user asked
            // for it.
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

/// hyperexport itself as the converter.
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

/// Checks the free space. The work image and the converted image exist at the same time, each no
/// smaller than the compressed image that it is made from.
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
