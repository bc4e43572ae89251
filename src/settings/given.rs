//! Which flags were typed on the command line, and what follows from that alone: flags that would
//! have no effect are refused, and what was asked for is recorded for the next run.

use std::ffi::OsStr;
use std::path::Path;

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command};
use sha2::{Digest, Sha256};

use super::{Environment, Error};
use crate::image::Compression;
use crate::libvirt::DefaultPool;
use crate::model::Sha256Digest;
use crate::pipeline::{Flags, ImportSettings};
use crate::state;

/// Headings of the flags that are about a domain in libvirt.
const OF_TARGET: [&str; 2] = ["Target (libvirt)", "After the definition"];
/// Heading of the flags that are about the conversion.
const OF_CONVERSION: &str = "Conversion";
/// Headings of the flags that count for nothing once there is a converted export.
const OF_EXPORT: [&str; 4] = ["Export", "Running VMs", "Transfer", OF_CONVERSION];
/// Flags of the conversion that do not change its result.
const NOT_OF_THE_RESULT: [&str; 7] = [
    "pipeline",
    "pipeline_dry_run",
    "pipeline_timeout",
    "pipeline_validate",
    "stream_convert",
    "stream_pipeline",
    "hyper2kvm_path",
];
/// Flags of the target that do not change what is defined.
const NOT_OF_THE_DOMAIN: [&str; 7] = [
    "libvirt",
    "libvirt_start",
    "wait_for",
    "wait_timeout",
    "allow_running_source",
    "boot_proof_timeout",
    "open",
];
/// Flags that may be repeated, and whose order does not count.
const UNORDERED: [&str; 4] = ["agent_package", "key", "network_map", "ssh_key"];
/// Flags that say how something is done, each with the switches that have it done.
const TIED: [(&str, &[&str]); 10] = [
    ("wait_for", &["libvirt_start"]),
    ("wait_timeout", &["libvirt_start"]),
    ("allow_running_source", &["libvirt_start", "libvirt_autostart"]),
    ("boot_proof_timeout", &["boot_test", "boot_proof"]),
    ("shutdown_timeout", &["power_off"]),
    ("keep_source_off", &["power_off"]),
    ("power_on_after", &["power_off"]),
    ("quiesce", &["snapshot"]),
    ("compress_type", &["pipeline_compress"]),
    ("compress_level", &["pipeline_compress"]),
];
/// Largest file whose content is part of what was asked for, in bytes.
const LARGEST: u64 = 16 << 20;

/// A flag and its values.
#[derive(Debug, Clone)]
struct Flag {
    id: String,
    /// As it is typed: `--libvirt-pool`.
    name: String,
    heading: String,
    values: Vec<String>,
    /// Whether it was typed.
    typed: bool,
    /// Whether its values are those that it has by default.
    default: bool,
    /// What its values are.
    kind: ValueKind,
}

/// What the values of a flag are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ValueKind {
    Word,
    /// A file, or a folder whose files count.
    Content,
    /// A folder that counts by where it is.
    Folder,
}

/// The flags of a command line.
#[derive(Debug, Clone, Default)]
pub struct Given(Vec<Flag>);

impl Given {
    /// The flags of `command`, or of its subcommand that was typed.
    pub fn of(command: &Command, matches: &ArgMatches) -> Self {
        match matches.subcommand() {
            Some((name, matches)) => match command.find_subcommand(name) {
                Some(command) => Self::of(command, matches),
                None => Self::default(),
            },
            None => Self(command.get_arguments().filter_map(|arg| flag(arg, matches)).collect()),
        }
    }

    /// Refuses flags that would be passed over in silence.
    ///
    /// # Errors
    /// [`Error::NoEffect`] naming the first.
    pub fn check(&self) -> Result<(), Error> {
        // A user who switches it off explicitly knows that its flags count for nothing.
        let off = |id: &str| self.find(id).is_some_and(|flag| !flag.typed && !is_on(flag));
        let counts = |flag: &&Flag| flag.typed && !flag.default;
        let mut asked = self.0.iter().filter(counts);
        let useless = asked.find_map(|flag| {
            let is = |id: &str| flag.id == id;
            if off("libvirt") && OF_TARGET.contains(&&*flag.heading) && !is("libvirt") {
                return Some((flag, "--pipeline --libvirt".to_owned()));
            }
            let of_conversion = flag.heading == OF_CONVERSION;
            // Asked for without --pipeline it is refused with its own reason.
            if off("pipeline") && of_conversion && !is("pipeline") && !is("stream_convert") {
                return Some((flag, "--pipeline".to_owned()));
            }
            let (_, switches) = TIED.iter().find(|(id, _)| is(id))?;
            let switches: Vec<_> = switches.iter().filter_map(|id| self.find(id)).collect();
            let none_is_on = !switches.is_empty() && !switches.iter().any(|flag| is_on(flag));
            let names: Vec<_> = switches.iter().map(|flag| flag.name.clone()).collect();
            none_is_on.then(|| (flag, names.join(" or ")))
        });
        match useless {
            Some((flag, needs)) => Err(Error::NoEffect { flag: flag.name.clone(), needs }),
            None => Ok(()),
        }
    }

    /// Refuses flags about the source of a VM, its export and its conversion where an export is
    /// there.
    ///
    /// # Errors
    /// [`Error::NoEffect`] naming the first.
    pub fn refuse_source(&self) -> Result<(), Error> {
        let of_source = |flag: &&Flag| {
            let heading = &*flag.heading;
            let before = heading.starts_with("Source") || OF_EXPORT.contains(&heading);
            flag.typed && before && !["manifest", "plan"].contains(&&*flag.id)
        };
        match self.0.iter().find(of_source) {
            Some(flag) => Err(Error::NoEffect {
                flag: flag.name.clone(),
                needs: "a VM or file to migrate".to_owned(),
            }),
            None => Ok(()),
        }
    }

    /// What was asked of the conversion that changes its result.
    pub fn conversion(&self) -> Flags {
        let is_usual = self.has_usual_level();
        let counts = |flag: &&Flag| {
            let of_it = flag.heading == OF_CONVERSION && !NOT_OF_THE_RESULT.contains(&&*flag.id);
            of_it && !(is_usual && flag.id == "compress_level")
        };
        self.flags(counts)
    }

    /// Whether the level of the compression is the one that its type has by default.
    fn has_usual_level(&self) -> bool {
        let value = |id: &str| self.find(id).and_then(|flag| flag.values.first());
        let usual = match value("compress_type").map(String::as_str) {
            Some("zlib") => Compression::ZLIB,
            _ => Compression::ZSTD,
        };
        value("compress_level").is_some_and(|level| *level == usual.level().to_string())
    }

    /// What was asked of the domain that changes its definition.
    fn target(&self) -> Flags {
        let counts = |flag: &&Flag| {
            OF_TARGET.contains(&&*flag.heading) && !NOT_OF_THE_DOMAIN.contains(&&*flag.id)
        };
        self.flags(counts)
    }

    /// The target with what only the complete command line shows: what was asked for, and whether
    /// the user has named a pool.
    pub fn complete(&self, target: ImportSettings, environment: &Environment) -> ImportSettings {
        let named = self.is_typed("libvirt_pool") || self.is_typed("libvirt_pool_path");
        let data_home = environment.data_home.clone();
        ImportSettings {
            asked: self.target(),
            default_pool: (!named).then_some(DefaultPool { data_home }),
            ..target
        }
    }

    fn flags(&self, counts: impl Fn(&&Flag) -> bool) -> Flags {
        let asked = self.0.iter().filter(counts).filter(|flag| !flag.default);
        let values = |flag: &Flag| {
            let mut values: Vec<_> = flag.values.iter().map(|value| meant(flag, value)).collect();
            if UNORDERED.contains(&&*flag.id) {
                values.sort();
            }
            values
        };
        Flags(asked.map(|flag| (flag.name.clone(), values(flag))).collect())
    }

    /// Whether a flag was typed, whatever its value.
    pub fn is_typed(&self, id: &str) -> bool {
        self.find(id).is_some_and(|flag| flag.typed)
    }

    /// Whether a switch is on.
    pub fn is_on(&self, id: &str) -> bool {
        self.find(id).is_some_and(is_on)
    }

    fn find(&self, id: &str) -> Option<&Flag> {
        self.0.iter().find(|flag| flag.id == id)
    }
}

/// A switch that is on, or anything else that has a value.
fn is_on(flag: &Flag) -> bool {
    flag.values.iter().any(|value| value != "false")
}

fn flag(arg: &Arg, matches: &ArgMatches) -> Option<Flag> {
    let id = arg.get_id().as_str();
    matches.try_contains_id(id).ok()?;
    let text = |value: &OsStr| value.to_string_lossy().into_owned();
    let values: Vec<_> = matches.get_raw(id).into_iter().flatten().map(text).collect();
    let default: Vec<_> = arg.get_default_values().iter().map(|value| text(value)).collect();
    let names = arg.get_value_names().unwrap_or_default();
    let kind = match names.first() {
        Some(name) if name.contains("FILE") || name.contains("SCRIPT") => ValueKind::Content,
        Some(name) if name == "DIR" => ValueKind::Folder,
        // As large as a CD: where it lies must do.
        _ if id == "virtio_win" => ValueKind::Folder,
        _ => ValueKind::Word,
    };
    Some(Flag {
        id: id.to_owned(),
        name: format!("--{}", arg.get_long()?),
        heading: arg.get_help_heading().unwrap_or_default().to_owned(),
        default: values == default,
        values,
        typed: matches.value_source(id) == Some(ValueSource::CommandLine),
        kind,
    })
}

/// What a value stands for, however it is spelled: of a file its content, wherever that lies; of a
/// folder its path.
fn meant(flag: &Flag, value: &str) -> String {
    match flag.id.as_str() {
        // A checksum would give a short passphrase away.
        "key" => value.split(":file:").next().unwrap_or_default().to_owned(),
        "ssh_key" => match value.split_once(':').filter(|(user, _)| !user.contains('/')) {
            Some((user, file)) => format!("{user}:{}", of_content(file)),
            None => format!("root:{}", of_content(value)),
        },
        _ => match flag.kind {
            ValueKind::Content => of_content(value),
            ValueKind::Folder => of_place(value),
            ValueKind::Word => value.to_owned(),
        },
    }
}

fn of_content(value: &str) -> String {
    let sum = content(Path::new(value)).map(|sum| format!("sha256:{sum}"));
    sum.unwrap_or_else(|| of_place(value))
}

fn of_place(value: &str) -> String {
    let path = std::path::absolute(value);
    path.map_or_else(|_| value.to_owned(), |path| path.to_string_lossy().into_owned())
}

/// Checksum of a file, or of the files of a folder, but for large ones.
fn content(path: &Path) -> Option<Sha256Digest> {
    let mut files = vec![path.to_owned()];
    if path.is_dir() {
        let entries = std::fs::read_dir(path).ok()?;
        files = entries.flatten().map(|entry| entry.path()).filter(|path| path.is_file()).collect();
        files.sort();
    }
    let mut sum = Sha256::new();
    for file in files {
        let length = file.metadata().ok()?.len();
        if length > LARGEST {
            return None;
        }
        sum.update(length.to_le_bytes());
        sum.update(state::read_small(&file, LARGEST).ok()?);
    }
    Some(Sha256Digest(sum.finalize().into()))
}

#[cfg(test)]
mod tests {
    use clap::Args;

    use super::super::{LibvirtArgs, StageArgs, switches};
    use super::*;

    /// What a command line asks of a conversion and of a domain.
    fn asked(words: &[&str]) -> [Flags; 2] {
        let command =
            LibvirtArgs::augment_args(StageArgs::augment_args(Command::new("hyperexport")));
        let command = switches(command);
        let words = ["hyperexport"].iter().chain(words);
        let matches = command.clone().try_get_matches_from(words).expect("understood");
        let given = Given::of(&command, &matches);
        [given.conversion(), given.target()]
    }

    #[test]
    fn what_is_meant_counts_and_not_how_it_is_spelled() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = |name: &str| dir.path().join(name).to_str().expect("UTF-8").to_owned();
        for name in ["a", "b"] {
            std::fs::write(path(name), "ssh-ed25519 AAAA").expect("written");
        }
        std::fs::write(path("c"), "ssh-ed25519 BBBB").expect("written");
        let key = |name: &str| format!("--ssh-key={}", path(name));
        let passphrase = |name: &str| format!("--key=all:file:{}", path(name));
        let same: [(&[&str], &[&str]); 8] = [
            (&[], &["--compress-level=3"]),
            (&["--compress-type=zlib"], &["--compress-type=zlib", "--compress-level=6"]),
            (&[], &["--pipeline-validate=false"]),
            (&[&key("a")], &[&key("b")]),
            (&[&key("a")], &[&format!("--ssh-key=root:{}", path("a"))]),
            (&[&key("a"), &key("c")], &[&key("c"), &key("a")]),
            (&[&passphrase("a")], &[&passphrase("c")]),
            (&["--network-map", "a=none", "b=none"], &["--network-map", "b=none", "a=none"]),
        ];
        for (one, other) in same {
            assert_eq!(asked(one), asked(other), "{one:?} and {other:?}");
        }
        let others: [(&[&str], &[&str]); 5] = [
            (&[], &["--compress-level=4"]),
            (&[], &["--compress-type=zlib", "--compress-level=3"]),
            (&[&key("a")], &[&key("c")]),
            (&[&key("a")], &[&format!("--ssh-key=me:{}", path("a"))]),
            (
                &["--firstboot", &path("a"), "--firstboot", &path("c")],
                &["--firstboot", &path("c"), "--firstboot", &path("a")],
            ),
        ];
        for (one, other) in others {
            assert_ne!(asked(one), asked(other), "{one:?} and {other:?}");
        }
    }

    #[test]
    fn a_folder_of_a_pool_is_its_absolute_path_whatever_it_holds() {
        let [_, flags] = asked(&["--libvirt-pool-path=pool"]);
        let here = std::env::current_dir().expect("a folder").join("pool");
        assert_eq!(flags.get("--libvirt-pool-path"), here.to_str());
    }
}
