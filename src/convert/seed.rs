//! The seed of cloud-init: a small ISO image labelled `cidata` that its data source NoCloud
//! searches for (cloud-init documentation, "NoCloud"). The seed becomes another volume of the
//! domain, in a CD-ROM drive.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::child::{self, Output, Program};
use crate::model::{ByteSize, ConvertedDisk, ConvertedDisks, DiskFormat, DiskId, chain, file_name};
use crate::state;

use super::results::move_in;
use super::tools::qemu_img::Tools;
use super::{ConversionRun, Error};

/// The files of a seed; the first one is required.
const FILES: [&str; 4] = ["user-data", "meta-data", "network-config", "vendor-data"];
/// Allowed first lines of user data: cloud-init documentation, "User data formats".
const BEGINNINGS: [&str; 8] = [
    "#cloud-config",
    "#cloud-boothook",
    "#!",
    "#include",
    "#part-handler",
    "## template:",
    "Content-Type:",
    "MIME-Version:",
];
/// The volume's label.
const LABEL: &str = "cidata";
/// Programs that write such an image, all with the options of mkisofs(8).
const PROGRAMS: [&str; 3] = ["xorrisofs", "genisoimage", "mkisofs"];
/// Largest of its files, in bytes.
const LARGEST: u64 = 16 << 20;

/// Path of the seed of a VM in the output directory `dir`.
pub fn seed_path(vm_name: &str, dir: &Path) -> PathBuf {
    dir.join(format!("{}-seed.iso", file_name(vm_name)))
}

/// The seed as a disk, placed after the others.
pub fn seed_disk(path: PathBuf, size: ByteSize, disks: &ConvertedDisks) -> Option<ConvertedDisk> {
    Some(ConvertedDisk {
        id: "seed".parse::<DiskId>().ok()?,
        path,
        format: DiskFormat::Raw,
        capacity: size,
        allocated: size,
        boot_order: u32::try_from(disks.0.len()).unwrap_or(u32::MAX),
        fixed: disks.0.iter().all(|disk| disk.fixed),
        medium: true,
        content: None,
    })
}

/// Checks the source of a seed: a file of user data, or a folder with the files.
///
/// # Errors
/// [`Error::Seed`] naming the part that cloud-init would not accept.
pub(super) fn check(path: &Path) -> Result<(), Error> {
    let wrong = |why: String| Error::Seed { path: path.to_owned(), why };
    let data = user_data(path);
    let start = state::read_small(&data, LARGEST).map_err(|error| wrong(chain(&error)))?;
    let text = String::from_utf8_lossy(&start[..start.len().min(64)]);
    if !BEGINNINGS.iter().any(|begin| text.starts_with(begin)) {
        let why = format!("{} does not begin with #cloud-config, #! or the like", data.display());
        return Err(wrong(why));
    }
    Ok(())
}

fn user_data(path: &Path) -> PathBuf {
    if path.is_dir() { path.join(FILES[0]) } else { path.to_owned() }
}

/// Makes the image in the run's work folder.
///
/// # Errors
/// [`Error::Seed`], [`Error::NoSeedProgram`].
pub(super) async fn make(run: &ConversionRun<'_>, path: &Path) -> Result<PathBuf, Error> {
    check(path)?;
    let folder = run.work.tmp().join("seed");
    let doing = || format!("making {}", folder.display());
    fs::DirBuilder::new().mode(0o700).create(&folder).map_err(Error::io(doing()))?;
    for name in FILES {
        let from = if name == FILES[0] { user_data(path) } else { path.join(name) };
        if let Some(content) = read(&from)? {
            fs::write(folder.join(name), content).map_err(Error::io(doing()))?;
        }
    }
    let meta = folder.join("meta-data");
    if !meta.exists() {
        fs::write(&meta, meta_data(run)).map_err(Error::io(doing()))?;
    }
    let image = run.work.path().join("seed.iso");
    for program in PROGRAMS {
        match write(run.tools, program, &folder, &image).await {
            Err(Error::Child { source: child::Error::Start { source, .. }, .. })
                if source.kind() == std::io::ErrorKind::NotFound => {}
            end => return end.map(|()| image),
        }
    }
    Err(Error::NoSeedProgram { path: path.to_owned(), programs: &PROGRAMS })
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    match state::read_small(path, LARGEST) {
        Ok(content) => Ok(Some(content)),
        // A single file has no siblings.
        Err(error) if error.is_absence() => Ok(None),
        Err(error) => Err(Error::Seed { path: path.to_owned(), why: chain(&error) }),
    }
}

/// The minimum that cloud-init needs: an id that is new to the guest, so that cloud-init runs, and
/// a name.
fn meta_data(run: &ConversionRun<'_>) -> String {
    let vm = run.manifest.source_vm();
    let exported = vm.origin.exported_at.unwrap_or_default();
    let name = serde_json::Value::from(file_name(&vm.name));
    let id = serde_json::Value::from(format!("hyperexport-{}-{exported}", vm.id));
    // YAML accepts JSON's strings.
    format!("instance-id: {id}\nlocal-hostname: {name}\n")
}

async fn write(tools: &Tools, program: &str, folder: &Path, image: &Path) -> Result<(), Error> {
    let doing = format!("writing {}", image.display());
    let command = Program::new(program)
        .args(["-quiet", "-volid", LABEL, "-rational-rock", "-joliet", "-output"])
        .arg(image)
        .arg(folder)
        .env("PATH", &tools.path)
        .env("LC_ALL", "C.UTF-8");
    let mut last = String::new();
    let keep = |output, line: &str| {
        if output == Output::Stderr {
            last = line.to_owned();
        }
    };
    let status = child::run(command, &tools.limits(), keep).await;
    match status.map_err(tools.child_error(&doing))? {
        status if status.success() => Ok(()),
        _ => Err(Error::Seed { path: image.to_owned(), why: last }),
    }
}

/// Moves the image to its name and adds it to the disks.
pub(super) fn publish(image: &Path, to: &Path, disks: &mut ConvertedDisks) -> Result<(), Error> {
    let (size, _) = move_in(image, to)?;
    disks.0.extend(seed_disk(to.to_owned(), size, disks));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_cloud_init_takes_is_taken() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("user-data");
        assert!(check(dir.path()).expect_err("empty").to_string().contains("user-data"));
        fs::write(&file, "packages: [nginx]\n").expect("written");
        assert!(check(dir.path()).expect_err("no header").to_string().contains("#cloud-config"));
        fs::write(&file, "#cloud-config\npackages: [nginx]\n").expect("written");
        check(dir.path()).expect("a folder");
        check(&file).expect("a file");
    }
}
