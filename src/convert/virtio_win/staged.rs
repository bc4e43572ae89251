//! Prepares the drivers for virt-v2v-in-place: the original path, or a folder with the drivers of
//! one Windows under the name that virt-v2v expects.

use std::fs;
use std::path::{Path, PathBuf};

use crate::convert::Error;

use super::layout::{self, Release, Width};
use super::{Drivers, WindowsSources, look, stand_ins};

/// The drivers for virt-v2v-in-place.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::convert) struct Handed {
    /// The value of `VIRTIO_WIN`; none where virt-v2v uses its default.
    pub(in crate::convert) virtio_win: Option<PathBuf>,
    /// Whether there are drivers for the guest.
    pub(in crate::convert) fits: bool,
}

/// Decides which drivers virt-v2v-in-place uses for a Windows. `osinfo` and `arch` are libguestfs'
/// values, which virt-v2v uses, `product` is the name in the registry. A new folder is created in
/// `work` if needed.
///
/// # Errors
/// [`Error::NoDrivers`] when there is no place with drivers; the errors of copying.
pub(in crate::convert) async fn hand_over(
    sources: &WindowsSources,
    osinfo: &str,
    arch: &str,
    product: &str,
    work: &Path,
) -> Result<Handed, Error> {
    let none = |place: Option<PathBuf>| Error::NoDrivers { guest: product.to_owned(), place };
    let Some(place) = sources.place() else { return Err(none(None)) };
    let drivers = match look(&place).await {
        Ok(drivers) => drivers,
        Err(_) if sources.named().is_none() => return Err(none(Some(place))),
        Err(error) => return Err(error),
    };
    let itself = Handed { virtio_win: sources.named().cloned(), fits: false };
    let (Some(looked_for), Some(width)) = (layout::by_osinfo(osinfo), Width::of(arch)) else {
        return Ok(itself);
    };
    let real = real(osinfo, product);
    let found = stand_ins(&real).into_iter().filter_map(layout::by_osinfo);
    let mut found = found.filter(|release| drivers.start(release, width));
    match found.next() {
        Some(release) if release == looked_for => Ok(Handed { fits: true, ..itself }),
        Some(release) => {
            let to = work.join("virtio-win");
            let copied = {
                let to = to.clone();
                tokio::task::spawn_blocking(move || {
                    stage(&drivers, release, looked_for, width, &to)
                })
            };
            let doing = format!("copying drivers to {}", to.display());
            copied
                .await
                .map_err(|join| Error::io(&doing)(join.into()))?
                .map_err(Error::io(&doing))?;
            Ok(Handed { virtio_win: Some(to), fits: true })
        }
        // virt-v2v's own detection is tried nevertheless.
        None => Ok(Handed { fits: drivers.start(looked_for, width), ..itself }),
    }
}

/// The release by the name in the registry: a libguestfs older than a server release detects an
/// older one.
fn real(osinfo: &str, product: &str) -> String {
    let years =
        [("2016", "win2k16"), ("2019", "win2k19"), ("2022", "win2k22"), ("2025", "win2k25")];
    let is_server = |(year, _): &&(&str, &str)| product.contains(&format!("Server {year}"));
    years.iter().find(is_server).map_or(osinfo, |(_, id)| id).to_owned()
}

/// Copies the drivers of one release to the folder in which virt-v2v searches for those of
/// `looked_for`, and the installer of the guest agent.
fn stage(
    drivers: &Drivers,
    release: &'static Release,
    looked_for: &'static Release,
    width: Width,
    to: &Path,
) -> std::io::Result<()> {
    let folder = to.join(looked_for.folders[0]).join(width.to_string());
    fs::create_dir_all(&folder)?;
    for file in &drivers.files {
        let name = file.path.rsplit('/').next().unwrap_or_default().to_lowercase();
        if layout::system(&file.path) == Some((release, width)) {
            file.copy(&drivers.path, &folder.join(name))?;
        } else if layout::is_agent(&file.path) {
            file.copy(&drivers.path, &to.join(name))?;
        }
    }
    Ok(())
}
