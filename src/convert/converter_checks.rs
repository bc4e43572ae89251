//! Checks what this machine lacks for a conversion.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::child::{self, Door, Limits, Output, Program};
use crate::model::{Check, Hint, chain};

use super::hyper2kvm::{find, probe};
use super::tools::appliance;
use super::tools::libguestfs::{APPLIANCE_CACHE, FORCE_TCG};
use super::tools::libguestfs::{confined, described, door};
use super::tools::qemu_img::Tools;
use super::{Converter, Settings, virtio_win};

/// Longest time that the appliance of libguestfs may take. Under emulation it takes some 15 s, and
/// half a minute more when it has to be built first.
const PATIENCE: Duration = Duration::from_secs(180);
const UNCONFINED_REMEDY: &str = "run it as root, or allow user namespaces (sysctl user.max_user_namespaces, \
     kernel.apparmor_restrict_unprivileged_userns=0), so that an image that takes the program over finds \
     no other file. libguestfs is confined without LIBGUESTFS_BACKEND, and once its appliance is built: \
     run this again";
const LIBGUESTFS_REMEDY: &str = "install libguestfs-tools and python3-guestfs (Fedora: guestfs-tools \
     and python3-libguestfs) and a kernel that its user can read; libguestfs-test-tool says more";

/// Examines this machine: qemu-img, hyper2kvm, libguestfs by starting its appliance, and what
/// Windows guests need. Changes nothing.
pub async fn examine(settings: &Settings, cancel: &CancellationToken) -> Vec<Check> {
    let tools = Tools::new(settings.path.clone(), PATIENCE, cancel.clone());
    let mut checks = vec![
        qemu_img(&tools).await,
        hyper2kvm(settings, &tools).await,
        libguestfs(settings, &tools).await,
    ];
    let is_asked = settings.converter == Converter::VirtV2v;
    checks.extend(virtio_win::checks(&settings.windows, is_asked, &tools).await);
    checks
}

async fn qemu_img(tools: &Tools) -> Check {
    match tools.version().await {
        Ok(version) => match tools.door().await {
            Door::None => {
                let found = format!("{version}, not confined: there are no namespaces here");
                Check::warning("qemu-img", found, UNCONFINED_REMEDY)
            }
            Door::Privilege | Door::UserNamespace => {
                Check::ok("qemu-img", format!("{version}, confined"))
            }
        },
        Err(error) => Check::failed("qemu-img", chain(&error), error.hint()),
    }
}

/// A missing hyper2kvm is a failure only where the user asks for hyper2kvm.
async fn hyper2kvm(settings: &Settings, tools: &Tools) -> Check {
    let asked = async {
        let found = find::find(settings)?;
        let installed = probe::ask(&found.path, settings, tools).await?;
        let mut warnings = found.warnings;
        warnings.extend(installed.warnings);
        Ok::<_, super::Error>((format!("{} at {}", installed.name, found.path.display()), warnings))
    };
    match asked.await {
        Ok((found, warnings)) => match warnings.into_iter().next() {
            None => Check::ok("hyper2kvm", found),
            Some(warning) => Check::warning("hyper2kvm", found, warning.message),
        },
        Err(error) if settings.converter == Converter::Hyper2kvm => {
            Check::failed("hyper2kvm", chain(&error), error.hint())
        }
        Err(error) => {
            let remedy = error.hint().unwrap_or_default();
            let remedy = format!("{remedy}; hyperexport converts by itself without hyper2kvm");
            Check::note("hyper2kvm", chain(&error), remedy)
        }
    }
}

/// An installed libguestfs proves nothing: its appliance needs a kernel and an emulator that work.
/// A conversion falls back to emulation, and so does this check.
async fn libguestfs(settings: &Settings, tools: &Tools) -> Check {
    const NAME: &str = "libguestfs";
    let cancel = &tools.cancel;
    let door = door(settings, tools).await;
    let (decided, without_kvm) = appliance::decided(settings, cancel).await;
    let given = decided.guestfs.backend_settings.as_deref();
    let first = start(settings, given, door, cancel).await;
    let (ended, how) = match (&first, given) {
        (Err(_), None) => (start(settings, Some(FORCE_TCG), door, cancel).await, "starts emulated"),
        _ if without_kvm.is_some() => (first, "starts emulated"),
        _ => (first, "starts"),
    };
    match ended {
        Ok(version) => {
            let found = format!("{version}, {}, its appliance {how}", described(settings, door));
            match door {
                Door::None => Check::warning(NAME, found, UNCONFINED_REMEDY),
                Door::Privilege | Door::UserNamespace => Check::ok(NAME, found),
            }
        }
        Err(why) => Check::warning(NAME, why, LIBGUESTFS_REMEDY),
    }
}

/// Starts an appliance; returns its version, or the reason for the failure.
async fn start(
    settings: &Settings,
    backend_settings: Option<&str>,
    door: Door,
    cancel: &CancellationToken,
) -> Result<String, String> {
    let program = Program::new("guestfish")
        .args(["add-drive-scratch", "1M", ":", "run", ":", "version"])
        .env("PATH", &settings.path)
        .env("LC_ALL", "C.UTF-8")
        .env("LIBGUESTFS_CACHEDIR", APPLIANCE_CACHE)
        .envs(backend_settings.map(|given| ("LIBGUESTFS_BACKEND_SETTINGS", given)));
    let program = confined(program, settings, None, door);
    let (mut version, mut why) = (Vec::new(), String::new());
    let limits = Limits { timeout: Some(PATIENCE), cancel: cancel.clone() };
    let end = child::run(program, &limits, |output, line| match output {
        Output::Stdout => version.extend(number(line)),
        // Its first words name what failed, the rest is advice.
        Output::Stderr if why.is_empty() => line.clone_into(&mut why),
        Output::Stderr => {}
    })
    .await;
    match end {
        Ok(status) if status.success() => Ok(version.join(".")),
        Ok(_) => Err(why),
        Err(error) => Err(chain(&error)),
    }
}

/// guestfish(1) prints a version as `major: 1`, `minor: 56`, `release: 1` and `extra:`.
fn number(line: &str) -> Option<String> {
    let (_, number) = line.split_once(": ")?;
    number.trim().parse::<u32>().ok().map(|number| number.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Health;

    #[tokio::test]
    async fn where_nothing_is_installed_the_remedies_say_what_to_install() {
        let empty = tempfile::tempdir().expect("a folder");
        let mut settings = Settings { path: empty.path().into(), ..Settings::default() };
        settings.windows.virtio_win_variable = Some(empty.path().into());
        settings.windows.virt_tools = Some(empty.path().into());
        let checks = examine(&settings, &CancellationToken::new()).await;
        let [qemu_img, hyper2kvm, libguestfs, v2v, drivers, rhsrvany] = &checks[..] else {
            panic!("{checks:?}")
        };
        assert_eq!(hyper2kvm.health, Health::Note, "optional");
        assert_eq!(qemu_img.health, Health::Failed);
        let remedy = |check: &Check| check.remedy.clone().expect("a remedy");
        assert!(remedy(qemu_img).contains("qemu-utils"), "{}", remedy(qemu_img));
        assert_eq!(libguestfs.health, Health::Warning);
        assert!(libguestfs.found.starts_with("starting guestfish"), "{}", libguestfs.found);
        assert!(remedy(libguestfs).contains("libguestfs-tools"), "{}", remedy(libguestfs));
        for (check, part) in [
            (v2v, "install virt-v2v"),
            (drivers, "virtio-win.iso"),
            (rhsrvany, "VIRT_TOOLS_DATA_DIR"),
        ] {
            assert_eq!(check.health, Health::Note, "{check:?}");
            assert!(remedy(check).contains(part), "{check:?}");
        }
        assert!(drivers.found.contains("holds no viostor.sys"), "{drivers:?}");
        for (converter, name) in
            [(Converter::Hyper2kvm, "hyper2kvm"), (Converter::VirtV2v, "virt-v2v")]
        {
            let asked = Settings { converter, ..settings.clone() };
            let checks = examine(&asked, &CancellationToken::new()).await;
            let failed = |check: &&Check| check.health == Health::Failed && check.name == name;
            assert!(checks.iter().any(|check| failed(&check)), "{name}: {checks:?}");
        }
    }

    #[test]
    fn only_the_numbers_of_a_version_are_kept() {
        let lines = ["major: 1", "minor: 48", "release: 6", "extra: "];
        let numbers: Vec<_> = lines.into_iter().filter_map(number).collect();
        assert_eq!(numbers.join("."), "1.48.6");
    }
}
