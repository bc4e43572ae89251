//! qemu-img, always with the format of every image named: qemu-img never guesses the format from
//! untrusted bytes. It can access only the files of its call, and its resources are limited
//! (`child`).

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tokio::sync::OnceCell;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::child::{self, Bounds, Confinement, Door, Limits, Output, Program};
use crate::image::{self, Compression};
use crate::model::{ByteSize, DiskFormat};
use crate::progress::{Progress, Unit};

use super::super::Error;

/// State that every program of one conversion shares: the search path, and the time limit.
#[derive(Debug, Clone)]
pub(in crate::convert) struct Tools {
    pub(in crate::convert) path: OsString,
    /// Time limit of the complete conversion.
    pub(in crate::convert) timeout: Duration,
    /// Moment at which the time limit ends.
    pub(in crate::convert) deadline: Instant,
    /// Cancels the conversion.
    pub(in crate::convert) cancel: CancellationToken,
    /// The confinement of programs that open images, once it is known.
    door: Arc<OnceCell<Door>>,
}

/// One call of qemu-img.
struct Call<'a> {
    /// Description for messages.
    doing: String,
    args: Vec<OsString>,
    /// The images that qemu-img reads.
    read: Vec<Image<'a>>,
    /// The files and folders that qemu-img also writes.
    write: Vec<PathBuf>,
    bounds: Bounds,
}

impl Tools {
    /// Programs of `path`, with `timeout` for all programs started from now on.
    pub(in crate::convert) fn new(
        path: OsString,
        timeout: Duration,
        cancel: CancellationToken,
    ) -> Self {
        let deadline = Instant::now() + timeout;
        Self { path, timeout, deadline, cancel, door: Arc::default() }
    }

    /// The tools without confinement, for tests: scripts play the programs and write beside
    /// themselves.
    #[cfg(test)]
    pub(in crate::convert) fn unconfined(self) -> Self {
        Self { door: Arc::new(OnceCell::new_with(Some(Door::None))), ..self }
    }

    /// The confinement of programs that open images on this machine, found by running `qemu-img
    /// --version` in it.
    pub(in crate::convert) async fn door(&self) -> Door {
        let limits = self.limits();
        let find = || Door::find(|| self.program(vec!["--version".into()]), &limits);
        *self.door.get_or_init(find).await
    }

    fn program(&self, args: Vec<OsString>) -> Program {
        Program::new("qemu-img").args(args).env("PATH", &self.path).env("LC_ALL", "C.UTF-8")
    }

    /// Limits for a child process that starts now.
    pub(in crate::convert) fn limits(&self) -> Limits {
        let left = self.deadline.saturating_duration_since(Instant::now());
        Limits { timeout: Some(left), cancel: self.cancel.clone() }
    }

    /// Converts a child's failure into an error of this module.
    pub(in crate::convert) fn child_error(
        &self,
        doing: &str,
    ) -> impl FnOnce(child::Error) -> Error {
        let (doing, after) = (doing.to_owned(), self.timeout);
        move |error| match error {
            child::Error::TimedOut { .. } => Error::TimedOut { after },
            child::Error::Cancelled { .. } => Error::Cancelled,
            source => Error::Child { doing, source },
        }
    }

    /// Runs qemu-img and returns its exit code and its last line; all standard output is passed to
    /// `on_out`.
    async fn qemu_img(
        &self,
        call: Call<'_>,
        mut on_out: impl FnMut(&str),
    ) -> Result<(i32, String), Error> {
        let Call { doing, args, read, write, bounds } = call;
        for image in read.iter().filter(|image| image.format == DiskFormat::Vmdk) {
            // A descriptor refers to other files: hyperexport reads those itself (`rewrite`).
            let reading = || Error::io(format!("reading {}", image.path.display()));
            if !image::is_single_vmdk(image.path).map_err(reading())? {
                let message = "only a VMDK of one sparse file is handed to it".to_owned();
                return Err(Error::QemuImg { doing, message });
            }
        }
        let confinement = Confinement::new().read(read.iter().map(|image| image.path)).write(write);
        let program = self.program(args).bounds(bounds).confined(confinement, self.door().await);
        let mut last = String::new();
        let status = child::run(program, &self.limits(), |output, line| match output {
            Output::Stdout => on_out(line),
            Output::Stderr => last = line.to_owned(),
        })
        .await
        .map_err(self.child_error(&doing))?;
        Ok((status.code().unwrap_or(-1), last))
    }

    /// The version as qemu-img prints it: `qemu-img version 10.0.8 (Debian …)`.
    pub(in crate::convert) async fn version(&self) -> Result<String, Error> {
        let mut lines = Vec::new();
        let call = Call {
            doing: "running qemu-img".to_owned(),
            args: vec!["--version".into()],
            read: Vec::new(),
            write: Vec::new(),
            bounds: Bounds::of_a_look(),
        };
        self.qemu_img(call, |line| lines.push(line.to_owned())).await?;
        Ok(lines.into_iter().next().unwrap_or_default())
    }

    /// The information that qemu-img prints about an image.
    pub(in crate::convert) async fn info(
        &self,
        path: &Path,
        format: DiskFormat,
    ) -> Result<ImageInfo, Error> {
        let doing = format!("inspecting {}", path.display());
        let call = Call {
            doing: doing.clone(),
            args: args(["info", "--output=json", "-f", format.qemu_driver()], [path]),
            read: vec![Image { path, format }],
            write: Vec::new(),
            bounds: Bounds::of_a_look(),
        };
        let mut json = String::new();
        let (code, last) = self.qemu_img(call, |line| json.push_str(line)).await?;
        if code != 0 {
            return Err(Error::QemuImg { doing, message: last });
        }
        serde_json::from_str(&json)
            .map_err(|error| Error::QemuImg { doing, message: error.to_string() })
    }

    /// Checks the structure of a qcow2 image.
    pub(in crate::convert) async fn check(&self, path: &Path) -> Result<(), Error> {
        let doing = format!("checking {}", path.display());
        let call = Call {
            doing: doing.clone(),
            args: args(["check", "-f", "qcow2"], [path]),
            read: vec![Image { path, format: DiskFormat::Qcow2 }],
            write: Vec::new(),
            bounds: Bounds::of_reading(length(path)),
        };
        let (code, last) = self.qemu_img(call, |_| {}).await?;
        // qemu-img(1): 2 is a corrupt image, 3 leaked clusters, which only take space.
        match code {
            0 | 3 => Ok(()),
            _ => Err(Error::QemuImg { doing, message: last }),
        }
    }

    /// Creates an overlay of `base`, a qcow2, which takes all writes.
    pub(in crate::convert) async fn overlay(&self, base: &Path, to: &Path) -> Result<(), Error> {
        self.done(Call {
            doing: format!("making an overlay of {}", base.display()),
            args: args(["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b"], [base, to]),
            read: vec![Image { path: base, format: DiskFormat::Qcow2 }],
            write: vec![to.to_owned()],
            bounds: Bounds::of_writing(0),
        })
        .await
    }

    /// Commits an overlay into its base, which is a file of `images`. The appliance could write the
    /// overlay, so no other file that the overlay names is accessible.
    pub(in crate::convert) async fn commit(
        &self,
        overlay: &Path,
        images: &Path,
    ) -> Result<(), Error> {
        let files = fs::read_dir(images).into_iter().flatten().flatten();
        let bases = files.map(|file| length(&file.path())).max().unwrap_or_default();
        self.done(Call {
            doing: format!("writing the changes of {} back", overlay.display()),
            args: args(["commit", "-q", "-d", "-f", "qcow2"], [overlay]),
            read: Vec::new(),
            write: vec![overlay.to_owned(), images.to_owned()],
            bounds: Bounds::of_writing(bases.saturating_add(length(overlay))),
        })
        .await
    }

    /// Copies the beginning of an image, as the guest sees it, into a raw file.
    pub(in crate::convert) async fn head(
        &self,
        image: Image<'_>,
        to: &Path,
        kib: u32,
    ) -> Result<(), Error> {
        let operand = |name: &str, path: &Path| {
            let mut operand = OsString::from(name);
            operand.push(path);
            operand
        };
        let words = ["dd", "-f", image.format.qemu_driver(), "-O", "raw", "bs=1024"];
        let mut words: Vec<OsString> = words.into_iter().map(OsString::from).collect();
        words.push(format!("count={kib}").into());
        words.extend([operand("if=", image.path), operand("of=", to)]);
        self.done(Call {
            doing: format!("reading the beginning of {}", image.path.display()),
            args: words,
            read: vec![image],
            write: vec![to.to_owned()],
            bounds: Bounds::of_writing(u64::from(kib) << 10),
        })
        .await
    }

    /// Copies `size` bytes from `offset` on, as the guest sees them, into a raw file; zeros become
    /// holes.
    pub(in crate::convert) async fn part(
        &self,
        image: Image<'_>,
        to: &Path,
        offset: u64,
        size: u64,
    ) -> Result<(), Error> {
        // A comma ends a value unless it is doubled (qemu(1), "-drive").
        let path = image.path.to_string_lossy().replace(',', ",,");
        let driver = image.format.qemu_driver();
        let source = format!(
            "driver=raw,offset={offset},size={size},file.driver={driver},file.file.driver=file,\
             file.file.filename={path}"
        );
        let mut words: Vec<OsString> =
            ["convert", "--image-opts", &source, "-O", "raw"].map(OsString::from).to_vec();
        words.push(to.as_os_str().to_owned());
        self.done(Call {
            doing: format!("reading a partition of {}", image.path.display()),
            args: words,
            read: vec![image],
            write: vec![to.to_owned()],
            bounds: Bounds::of_writing(size),
        })
        .await
    }

    async fn done(&self, call: Call<'_>) -> Result<(), Error> {
        let doing = call.doing.clone();
        match self.qemu_img(call, |_| {}).await? {
            (0, _) => Ok(()),
            (_, message) => Err(Error::QemuImg { doing, message }),
        }
    }

    /// Whether two images have the same content for the guest; stops at the first difference.
    pub(in crate::convert) async fn same(&self, a: Image<'_>, b: Image<'_>) -> Result<bool, Error> {
        let doing = format!("comparing {} and {}", a.path.display(), b.path.display());
        let formats = ["compare", "-f", a.format.qemu_driver(), "-F", b.format.qemu_driver()];
        let call = Call {
            doing: doing.clone(),
            args: args(formats, [a.path, b.path]),
            read: vec![a, b],
            write: Vec::new(),
            bounds: Bounds::of_reading(length(a.path).saturating_add(length(b.path))),
        };
        let (code, last) = self.qemu_img(call, |_| {}).await?;
        match code {
            0 => Ok(true),
            1 => Ok(false),
            _ => Err(Error::QemuImg { doing, message: last }),
        }
    }

    /// Copies an image into a new qcow2 file, and reports the progress.
    pub(in crate::convert) async fn to_qcow2(
        &self,
        from: Image<'_>,
        NewQcow2 { path: to, compression, capacity, task }: &NewQcow2,
        progress: &Progress,
    ) -> Result<(), Error> {
        let doing = format!("converting {} to {}", from.path.display(), to.display());
        let mut words = vec!["convert", "-p", "-f", from.format.qemu_driver(), "-O", "qcow2"];
        if let Some(compression) = compression {
            // -W: clusters may be written out of order, so that both cores compress.
            words.extend(["-c", "-W", "-m", "16", "-o", option(*compression)]);
        }
        let task = progress.task(task, Some(10_000), Unit::BasisPoints);
        let call = Call {
            doing: doing.clone(),
            args: args(words, [from.path, to]),
            read: vec![from],
            write: vec![to.to_owned()],
            bounds: Bounds::of_writing(capacity.0),
        };
        let (code, last) = self
            .qemu_img(call, |line| {
                percentage(line).into_iter().for_each(|position| task.at(position));
            })
            .await?;
        if code == 0 { Ok(()) } else { Err(Error::QemuImg { doing, message: last }) }
    }
}

/// The parameters of a new qcow2 file.
#[derive(Debug, Clone)]
pub(in crate::convert) struct NewQcow2 {
    pub(in crate::convert) path: PathBuf,
    pub(in crate::convert) compression: Option<Compression>,
    /// Size that the guest sees.
    pub(in crate::convert) capacity: ByteSize,
    /// Name of the task under which progress is reported.
    pub(in crate::convert) task: String,
}

/// An image and its format.
#[derive(Debug, Clone, Copy)]
pub(in crate::convert) struct Image<'a> {
    pub(in crate::convert) path: &'a Path,
    pub(in crate::convert) format: DiskFormat,
}

/// The part of `qemu-img info --output=json` that matters here (QEMU's `ImageInfo`).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(in crate::convert) struct ImageInfo {
    /// Size that the guest sees, in bytes.
    pub(in crate::convert) virtual_size: u64,
    /// QEMU's name of the format.
    pub(in crate::convert) format: String,
    /// Backing file of the image.
    pub(in crate::convert) backing_filename: Option<String>,
}

/// The value of `-o` that selects a kind of compression. qemu-img accepts no level: its zlib is
/// always at 6 and its zstd at 3.
pub(in crate::convert) fn option(compression: Compression) -> &'static str {
    match compression {
        Compression::Zlib(_) => "compression_type=zlib",
        Compression::Zstd(_) => "compression_type=zstd",
    }
}

/// Whether qemu-img supports exactly this compression and level.
pub(in crate::convert) fn is_exact(compression: Compression) -> bool {
    matches!(compression, Compression::ZLIB | Compression::ZSTD)
}

/// Hundredths of a percent, parsed from qemu-img's `    (45.00/100%)`.
fn percentage(line: &str) -> Option<u64> {
    let (whole, part) = line.trim().strip_prefix('(')?.strip_suffix("/100%)")?.split_once('.')?;
    let hundredths = whole.parse::<u64>().ok()?.checked_mul(100)?;
    hundredths.checked_add(part.parse().ok()?)
}

/// Length of a file; 0 where it cannot be read, which the call itself reports.
fn length(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |found| found.len())
}

fn args<'a>(
    words: impl IntoIterator<Item = &'a str>,
    paths: impl IntoIterator<Item = &'a Path>,
) -> Vec<OsString> {
    let words = words.into_iter().map(OsString::from);
    words.chain(paths.into_iter().map(|path| path.as_os_str().to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_lines_are_read() {
        assert_eq!(percentage("    (45.07/100%)"), Some(4507));
        assert_eq!(percentage("    (100.00/100%)"), Some(10_000));
        assert_eq!(percentage("qemu-img: error"), None);
    }
}
