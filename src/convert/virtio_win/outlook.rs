//! Predicts the drivers of a Windows guest before any data is transferred.

use std::path::PathBuf;

use serde::Serialize;

use crate::convert::Error;
use crate::convert::native::v2v;
use crate::convert::tools::qemu_img::Tools;
use crate::model::{Check, Hint, OsFamily, Stage, Warning, WarningCode, chain};

use super::{DOWNLOAD, DriversOf, INSTALL_RHSRVANY, WindowsSources, look, name};

/// The facts about a guest that its source reports.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Foretold {
    /// Family of the guest's operating system.
    pub family: OsFamily,
    /// For Windows: short ids (libosinfo's database) of the possible releases; empty where any is
    /// possible.
    pub windows: Vec<String>,
    /// Architecture in libvirt's notation, if the source reports it.
    pub arch: Option<String>,
}

/// The available virtio drivers for a Windows guest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct WindowsDrivers {
    /// Path of the ISO or folder; null where there is none.
    pub place: Option<PathBuf>,
    /// Drivers that fit the guest; empty where none fit.
    pub drivers: Vec<DriversOf>,
    /// Why the ISO or folder is not usable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}

/// Searches for the drivers of a guest.
pub async fn drivers_for(sources: &WindowsSources, guest: &Foretold) -> WindowsDrivers {
    let Some(place) = sources.place() else { return WindowsDrivers::default() };
    let ids: Vec<_> = guest.windows.iter().map(String::as_str).collect();
    let found = look(&place).await.map(|drivers| drivers.serve(&ids, guest.arch.as_deref()));
    let fault = found.as_ref().err().map(|error| chain(error));
    WindowsDrivers { place: Some(place), drivers: found.unwrap_or_default(), fault }
}

impl WindowsDrivers {
    /// A summary in one line, for messages.
    pub fn line(&self, guest: &Foretold) -> String {
        let Some(place) = &self.place else { return format!("none here: {DOWNLOAD}") };
        if let Some(fault) = &self.fault {
            return format!("none: {fault}; {DOWNLOAD}");
        }
        if self.drivers.is_empty() {
            return format!("none for {} in {}: {DOWNLOAD}", names(guest), place.display());
        }
        let of = |of: &DriversOf| {
            format!("{} for {} ({})", of.drivers.join(", "), name(of.windows), of.arch)
        };
        let parts: Vec<_> = self.drivers.iter().map(of).collect();
        format!("{} in {}", parts.join("; "), place.display())
    }
}

/// The possible releases, for messages: `Windows 10 or Windows 11 (x86_64)`.
fn names(guest: &Foretold) -> String {
    let names: Vec<_> = guest.windows.iter().map(|id| name(id)).collect();
    let names = if names.is_empty() { "Windows".to_owned() } else { names.join(" or ") };
    guest.arch.as_ref().map_or(names.clone(), |arch| format!("{names} ({arch})"))
}

/// Rejects a path of the user that contains no drivers.
///
/// # Errors
/// [`Error::VirtioWin`].
pub async fn check_sources(sources: &WindowsSources) -> Result<(), Error> {
    match &sources.virtio_win {
        Some(path) => look(path).await.map(drop),
        None => Ok(()),
    }
}

/// Warnings about missing drivers and programs, if the guest runs Windows.
pub(in crate::convert) async fn warnings(
    sources: &WindowsSources,
    guest: &Foretold,
    tools: &Tools,
) -> Vec<Warning> {
    if guest.family != OsFamily::Windows {
        return Vec::new();
    }
    let warn = |code, text: String| Warning::new(Stage::Preflight, code, text);
    let stays =
        "unless it has them already, it keeps the controller and the network cards of its source";
    let mut warnings = Vec::new();
    if !v2v::is_there(tools).await {
        let text = format!(
            "virt-v2v-in-place is not installed, which alone installs the drivers of virtio in a Windows: \
             {stays} (install virt-v2v)"
        );
        warnings.push(warn(WarningCode::WindowsWithoutVirtV2v, text));
    }
    let found = drivers_for(sources, guest).await;
    if found.drivers.is_empty() {
        let text = format!("drivers of virtio: {}; {stays}", found.line(guest));
        warnings.push(warn(WarningCode::WindowsWithoutDrivers, text));
    } else if !sources.has_starter() {
        let text = format!(
            "{} has neither rhsrvany.exe nor pvvxsvc.exe, without which virt-v2v-in-place changes no \
             Windows that has VMware Tools: {INSTALL_RHSRVANY}",
            sources.tools().display()
        );
        warnings.push(warn(WarningCode::WindowsWithoutRhsrvany, text));
    }
    warnings
}

/// The checks of `doctor`; `is_asked` is true where a run is to use virt-v2v.
pub(in crate::convert) async fn checks(
    sources: &WindowsSources,
    is_asked: bool,
    tools: &Tools,
) -> Vec<Check> {
    let v2v = match v2v::version(tools).await {
        Ok(version) => Check::ok("virt-v2v", version),
        Err(error) => {
            let remedy = "install virt-v2v, which installs drivers in Windows guests";
            match is_asked {
                true => Check::failed("virt-v2v", chain(&error), Some(remedy.to_owned())),
                false => Check::note("virt-v2v", chain(&error), remedy),
            }
        }
    };
    vec![v2v, drivers(sources).await, starter(sources)]
}

async fn drivers(sources: &WindowsSources) -> Check {
    const NAME: &str = "virtio-win";
    let Some(place) = sources.place() else {
        let found = "no drivers of virtio for Windows guests";
        return Check::note(NAME, found, format!("for such guests {DOWNLOAD}"));
    };
    match look(&place).await {
        Ok(drivers) => Check::ok(NAME, format!("{} in {}", drivers.summary(), place.display())),
        // A run would fail with this error.
        Err(error) if sources.virtio_win.is_some() => {
            Check::failed(NAME, chain(&error), error.hint())
        }
        Err(error) => Check::note(NAME, chain(&error), DOWNLOAD),
    }
}

fn starter(sources: &WindowsSources) -> Check {
    const NAME: &str = "rhsrvany";
    let folder = sources.tools();
    match sources.has_starter() {
        true => Check::ok(NAME, format!("in {}", folder.display())),
        false => {
            let found = format!("neither rhsrvany.exe nor pvvxsvc.exe in {}", folder.display());
            let remedy =
                format!("{INSTALL_RHSRVANY}; Windows guests with VMware Tools need rhsrvany");
            Check::note(NAME, found, remedy)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::time::Duration;

    use tokio_util::sync::CancellationToken;

    use super::*;

    /// The warnings for a guest on a machine where nothing is installed.
    async fn told(sources: &WindowsSources, family: OsFamily, id: &str) -> Vec<Warning> {
        let tools = Tools::new("/nowhere".into(), Duration::from_secs(9), CancellationToken::new());
        let arch = Some("x86_64".to_owned());
        let guest = Foretold { family, windows: vec![id.to_owned()], arch };
        warnings(sources, &guest, &tools).await
    }

    fn at(path: &Path) -> WindowsSources {
        let path = Some(path.to_owned());
        WindowsSources { virtio_win: path.clone(), virt_tools: path, ..WindowsSources::default() }
    }

    #[tokio::test]
    async fn a_windows_is_told_what_it_will_miss() {
        let dir = tempfile::tempdir().expect("a folder");
        let folder = dir.path().join("viostor/w10/amd64");
        fs::create_dir_all(&folder).expect("made");
        fs::write(folder.join("viostor.sys"), "").expect("written");
        let codes = async |family, id| {
            let told = told(&at(dir.path()), family, id).await;
            told.iter().map(|warning| warning.code.as_str()).collect::<Vec<_>>().join(" ")
        };
        let windows = OsFamily::Windows;
        assert_eq!(codes(OsFamily::Linux, "win10").await, "");
        let without_v2v = "windows-without-virt-v2v";
        let more = |code: &str| format!("{without_v2v} {code}");
        assert_eq!(codes(windows, "win10").await, more("windows-without-rhsrvany"));
        assert_eq!(codes(windows, "win2k8r2").await, more("windows-without-drivers"));
        fs::write(dir.path().join("rhsrvany.exe"), "").expect("written");
        assert_eq!(codes(windows, "win10").await, without_v2v);
        let text = &told(&at(dir.path()), windows, "win2k8r2").await[1].message;
        for part in ["Windows Server 2008 R2 (x86_64)", "package virtio-win", "fedorapeople.org"] {
            assert!(text.contains(part), "no {part} in {text}");
        }
    }
}
