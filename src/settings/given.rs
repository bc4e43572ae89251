//! Which flags were typed on the command line, and what follows from that alone: flags that would
//! have no effect are refused, and what was asked for is recorded for the next run.

use std::ffi::OsStr;
use std::path::Path;

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command};
use sha2::{Digest, Sha256};

use super::{Environment, Error};
use crate::libvirt::DefaultPool;
use crate::model::Sha256Digest;
use crate::pipeline::{Flags, Target};

/// Headings of the flags that are about a domain in libvirt.
const OF_TARGET: [&str; 2] = ["Target (libvirt)", "After the definition"];
/// Heading of the flags that are about the conversion.
const OF_CONVERSION: &str = "Conversion";
/// Flags of the conversion that do not change its result.
const NOT_OF_THE_RESULT: [&str; 6] = [
    "pipeline",
    "pipeline_dry_run",
    "pipeline_timeout",
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
/// Flags that say how something is done, each with the switches that have it done.
const TIED: [(&str, &[&str]); 8] = [
    ("wait_for", &["libvirt_start"]),
    ("wait_timeout", &["libvirt_start"]),
    ("allow_running_source", &["libvirt_start"]),
    ("boot_proof_timeout", &["boot_test", "boot_proof"]),
    ("shutdown_timeout", &["power_off"]),
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
    /// Whether its values name files.
    file: bool,
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
        // Whoever switches it off in so many words knows that its flags count for nothing.
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

    /// What was asked of the conversion that changes its result.
    pub fn conversion(&self) -> Flags {
        let counts =
            |flag: &&Flag| flag.heading == OF_CONVERSION && !NOT_OF_THE_RESULT.contains(&&*flag.id);
        self.flags(counts)
    }

    /// What was asked of the domain that changes its definition.
    fn target(&self) -> Flags {
        let counts = |flag: &&Flag| {
            OF_TARGET.contains(&&*flag.heading) && !NOT_OF_THE_DOMAIN.contains(&&*flag.id)
        };
        self.flags(counts)
    }

    /// The target with what only the command line as a whole tells: what was asked for, and whether
    /// the user has named a pool.
    pub fn complete(&self, target: Target, environment: &Environment) -> Target {
        let typed = |id: &str| self.find(id).is_some_and(|flag| flag.typed);
        let named = typed("libvirt_pool") || typed("libvirt_pool_path");
        let data_home = environment.data_home.clone();
        Target {
            asked: self.target(),
            default_pool: (!named).then_some(DefaultPool { data_home }),
            ..target
        }
    }

    fn flags(&self, counts: impl Fn(&&Flag) -> bool) -> Flags {
        let asked = self.0.iter().filter(counts).filter(|flag| !flag.default);
        let values = |flag: &Flag| {
            let value = |value: &String| match flag.file.then(|| content(value)).flatten() {
                Some(sum) => format!("{value} (sha256:{sum})"),
                None => value.clone(),
            };
            flag.values.iter().map(value).collect()
        };
        Flags(asked.map(|flag| (flag.name.clone(), values(flag))).collect())
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
    Some(Flag {
        id: id.to_owned(),
        name: format!("--{}", arg.get_long()?),
        heading: arg.get_help_heading().unwrap_or_default().to_owned(),
        default: values == default,
        values,
        typed: matches.value_source(id) == Some(ValueSource::CommandLine),
        file: names.iter().any(|name| name.contains("FILE") || name.contains("SCRIPT")),
    })
}

/// Sum of the file that a value names, alone or behind a colon, or of the files of a folder: the same
/// words with another content ask for something else.
fn content(value: &str) -> Option<Sha256Digest> {
    let named = |path: &Path| path.exists().then(|| path.to_owned());
    let path = named(Path::new(value))
        .or_else(|| value.split_once(':').and_then(|(_, path)| named(Path::new(path))))?;
    let mut files = vec![path.clone()];
    if path.is_dir() {
        let entries = std::fs::read_dir(&path).ok()?;
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
        sum.update(std::fs::read(&file).ok()?);
    }
    Some(Sha256Digest(sum.finalize().into()))
}
