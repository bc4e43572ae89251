//! What happens to the disks between export and libvirt.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::hostname::hostname;
use super::switch::Switch;
use super::{Environment, Error, WindowsArgs};
use crate::convert::{self, Agent, Converter, Customize, DiskKey};
use crate::image::Compression;
use crate::model::{Secret, chain};
use crate::state;

/// Longest file of a passphrase, in bytes.
const LONGEST_KEY: u64 = 64 << 10;

const HEADING: &str = "Conversion";

/// Flags of the conversion itself; `convert --manifest` has them too.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = HEADING)]
pub struct StageArgs {
    /// Converter (auto: hyper2kvm for Linux guests where hyper2kvm is found, else
    /// native; native also where hyper2kvm fails)
    #[arg(long, value_name = "CONVERTER", default_value = "auto", value_enum)]
    pub converter: ConverterArg,
    /// The hyper2kvm to run; without the flag, the first one found in the usual
    /// places and PATH
    #[arg(long, value_name = "PATH")]
    pub hyper2kvm_path: Option<PathBuf>,
    /// Longest time the conversion may take, such as 90s, 30m or 1h
    #[arg(long, value_name = "DURATION", default_value = "30m", value_parser = duration)]
    pub pipeline_timeout: Duration,
    /// Show the output of hyper2kvm or virt-v2v while it runs
    #[arg(long, value_name = "BOOL", default_value_t = true)]
    pub stream_pipeline: Switch,
    /// Print what would run, and convert nothing
    #[arg(long, value_name = "BOOL", default_value_t)]
    pub pipeline_dry_run: Switch,
    /// Detect the guest operating system
    #[arg(long, value_name = "BOOL", default_value_t = true)]
    pub pipeline_inspect: Switch,
    /// Make the guest boot on virtio
    #[arg(long, value_name = "BOOL", default_value_t = true)]
    pub pipeline_fix: Switch,
    /// Write the disks as qcow2
    #[arg(long, value_name = "BOOL", default_value_t = true)]
    pub pipeline_convert: Switch,
    /// Verify the converted disks
    #[arg(long, value_name = "BOOL", default_value_t = true)]
    pub pipeline_validate: Switch,
    /// Compress the converted disks
    #[arg(long, value_name = "BOOL", default_value_t = true)]
    pub pipeline_compress: Switch,
    /// Compression (zstd is faster, every QEMU reads zlib)
    #[arg(long, value_name = "TYPE", default_value = "zstd", value_enum)]
    pub compress_type: CompressArg,
    /// How hard to compress, from 1 (quick) to 9 (small); without the flag, 3
    /// with zstd and 6 with zlib
    #[arg(long, value_name = "1-9", value_parser = clap::value_parser!(u8).range(1..=9))]
    pub compress_level: Option<u8>,
    /// Keep the names of the guest's network interfaces (native, virt-v2v)
    #[arg(long, value_name = "BOOL", default_value_t = true)]
    pub preserve_network: Switch,
    /// Root file system of the system to fix, if the disks contain several:
    /// /dev/sda2, /dev/VG/LV
    #[arg(long, value_name = "DEVICE")]
    pub root: Option<String>,
    /// Passphrase of an encrypted disk, the first line of a file; may be repeated.
    /// DISK is a device (/dev/sda2), a LUKS UUID or 'all'
    #[arg(long, value_name = "DISK:file:PATH", value_parser = disk_key)]
    pub key: Vec<(String, PathBuf)>,
    /// What Windows guests get.
    #[command(flatten)]
    pub windows: WindowsArgs,
    /// Attach a cloud-init seed as a CD-ROM: made of a file of user data, or a
    /// folder with user-data, meta-data and network-config
    #[arg(long, value_name = "FILE|DIR")]
    pub cloud_init: Option<PathBuf>,
    /// Set the guest's hostname (native, virt-v2v)
    #[arg(long, value_name = "NAME", value_parser = hostname)]
    pub hostname: Option<String>,
    /// Add the SSH public keys of FILE to the authorized_keys of root or USER
    /// (native, virt-v2v)
    #[arg(long, value_name = "[USER:]FILE", value_parser = ssh_key)]
    pub ssh_key: Vec<(String, PathBuf)>,
    /// Run a script once at the first start of the guest (native, virt-v2v)
    #[arg(long, value_name = "SCRIPT")]
    pub firstboot: Vec<PathBuf>,
    /// Install a package in the guest, such as a .deb or .rpm of qemu-guest-agent;
    /// repeat for its dependencies (native, virt-v2v)
    #[arg(long, value_name = "FILE")]
    pub agent_package: Vec<PathBuf>,
    /// Have the guest install qemu-guest-agent from its own package sources at its
    /// first start (native, virt-v2v)
    #[arg(long, value_name = "BOOL", default_value_t)]
    pub firstboot_agent: Switch,
}

/// `--converter`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ConverterArg {
    /// hyper2kvm where it is found, else native
    Auto,
    /// hyper2kvm
    Hyper2kvm,
    /// hyperexport itself, with libguestfs
    Native,
    /// hyperexport itself, with virt-v2v-in-place for the guest
    VirtV2v,
}

/// `--compress-type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CompressArg {
    /// Zstandard: QEMU 5.1 and later
    Zstd,
    /// Deflate: every QEMU
    Zlib,
}

/// Flags that switch the conversion on.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = HEADING)]
pub struct PipelineArgs {
    /// Convert the exported disks for KVM
    #[arg(long, value_name = "BOOL", default_value_t)]
    pub pipeline: Switch,
    /// Flags of the conversion.
    #[command(flatten)]
    pub conversion: ConversionArgs,
}

/// Flags of the conversion of a run that also exports.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = HEADING)]
pub struct ConversionArgs {
    /// Convert disks while they leave vSphere or a package, so that no VMDK is
    /// written; without the flag, where the converter is native and the disk
    /// can be read front to back
    #[arg(long, value_name = "BOOL")]
    pub stream_convert: Option<Switch>,
    /// Flags that `convert` has, too.
    #[command(flatten)]
    pub stages: StageArgs,
}

impl StageArgs {
    /// The converter's settings.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the stages do not fit together.
    pub fn resolve(&self, environment: &Environment) -> Result<convert::Settings, Error> {
        if self.pipeline_timeout.is_zero() {
            return Err(Error::Invalid("--pipeline-timeout must be longer than 0s".to_owned()));
        }
        Ok(convert::Settings {
            converter: self.converter(),
            hyper2kvm_path: self.hyper2kvm_path.clone(),
            timeout: self.pipeline_timeout,
            stream_output: self.stream_pipeline,
            dry_run: self.pipeline_dry_run,
            stages: convert::Stages {
                inspect: self.pipeline_inspect,
                fix: self.pipeline_fix,
                convert: self.pipeline_convert,
                validate: self.pipeline_validate,
            },
            compression: self.pipeline_compress.then(|| self.compression()),
            preserve_network: self.preserve_network,
            left_out: Vec::new(),
            guestfs: environment.guestfs.clone(),
            customize: self.customize()?,
            agent: self.agent()?,
            root: self.root.clone(),
            keys: self.keys()?,
            windows: self.windows.resolve(environment),
            cloud_init: self.cloud_init.clone().map(absolute).transpose()?,
            consume: false,
            path: environment.path.clone(),
            home: environment.home.clone(),
        })
    }
}

impl StageArgs {
    fn converter(&self) -> Converter {
        converter(self.converter, self.hyper2kvm_path.is_some())
    }

    /// What is changed in the guest: only we do that, and only with FIX.
    fn customize(&self) -> Result<Customize, Error> {
        let keys = self.ssh_key.iter().cloned();
        let key = |(user, file)| Ok((user, absolute(file)?));
        let customize = Customize {
            hostname: self.hostname.clone(),
            ssh_keys: keys.map(key).collect::<Result<_, Error>>()?,
            firstboot: self.firstboot.iter().cloned().map(absolute).collect::<Result<_, _>>()?,
        };
        if customize != Customize::default()
            && (!self.pipeline_fix || self.converter() == Converter::Hyper2kvm)
        {
            return Err(Error::Invalid(
                "--hostname, --ssh-key and --firstboot need FIX by --converter native or virt-v2v"
                    .to_owned(),
            ));
        }
        Ok(customize)
    }

    fn agent(&self) -> Result<Agent, Error> {
        let agent = Agent {
            packages: self.agent_package.iter().cloned().map(absolute).collect::<Result<_, _>>()?,
            first_boot: self.firstboot_agent,
        };
        if agent != Agent::default()
            && (!self.pipeline_fix || self.converter() == Converter::Hyper2kvm)
        {
            return Err(Error::Invalid(
                "--agent-package and --firstboot-agent need FIX by --converter native or virt-v2v"
                    .to_owned(),
            ));
        }
        Ok(agent)
    }

    /// The passphrases, each the first line of its file, as virt-v2v reads them.
    fn keys(&self) -> Result<Vec<DiskKey>, Error> {
        let read = |(device, file): &(String, PathBuf)| {
            let text = state::read_piped(file, LONGEST_KEY)
                .map_err(|error| Error::Invalid(format!("--key: {}", chain(&error))))?;
            let text = zeroize::Zeroizing::new(String::from_utf8_lossy(&text).into_owned());
            let line = text.lines().next().unwrap_or_default();
            if line.is_empty() {
                let text = format!("--key {}: the first line is empty", file.display());
                return Err(Error::Invalid(text));
            }
            let passphrase = Secret::new(line.to_owned());
            Ok(DiskKey { device: device.clone(), passphrase })
        };
        self.key.iter().map(read).collect()
    }

    fn compression(&self) -> Compression {
        match (self.compress_type, self.compress_level) {
            (CompressArg::Zstd, None) => Compression::ZSTD,
            (CompressArg::Zstd, Some(level)) => Compression::Zstd(level),
            (CompressArg::Zlib, None) => Compression::ZLIB,
            (CompressArg::Zlib, Some(level)) => Compression::Zlib(level),
        }
    }
}

/// The converter that is asked for: a path to hyper2kvm asks for hyper2kvm.
pub(super) fn converter(arg: ConverterArg, has_path: bool) -> Converter {
    match arg {
        ConverterArg::Auto if has_path => Converter::Hyper2kvm,
        ConverterArg::Auto => Converter::Auto,
        ConverterArg::Hyper2kvm => Converter::Hyper2kvm,
        ConverterArg::Native => Converter::Native,
        ConverterArg::VirtV2v => Converter::VirtV2v,
    }
}

/// An absolute path of a file that is there.
fn absolute(path: PathBuf) -> Result<PathBuf, Error> {
    std::fs::canonicalize(&path)
        .map_err(|error| Error::Invalid(format!("reading {}: {error}", path.display())))
}

/// A user and a file; root when there is only a file.
fn ssh_key(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once(':') {
        Some((user, file)) if !user.is_empty() && !user.contains('/') && !file.is_empty() => {
            Ok((user.to_owned(), file.into()))
        }
        Some(_) => Err("write it as FILE or USER:FILE".to_owned()),
        None => Ok(("root".to_owned(), text.into())),
    }
}

/// A device and the file with its passphrase.
fn disk_key(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once(":file:") {
        Some((device, file)) if !device.is_empty() && !file.is_empty() => {
            Ok((device.to_owned(), file.into()))
        }
        _ => Err("write it as DISK:file:PATH, such as /dev/sda2:file:passphrase.txt".to_owned()),
    }
}

/// Longest duration that may be given. The clock has an end, and nobody waits for it.
const A_YEAR: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// A duration as people write it, of a year at most.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let found = humantime::parse_duration(text)
        .map_err(|error| format!("{error}: write it as 90s, 30m or 1h"))?;
    match found <= A_YEAR {
        true => Ok(found),
        false => Err("it is longer than a year: write it as 90s, 30m or 1h".to_owned()),
    }
}

#[cfg(test)]
mod duration_tests {
    use super::*;

    #[test]
    fn durations_beyond_the_clock_are_refused() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert!(duration("366d").is_ok());
        for text in ["584542000000y", "18446744073709551615s", "2y", "367d", "-1s", "soon"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
