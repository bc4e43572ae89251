//! `migrate`, `export` and `plan` of a VM: the verbs with their own groups of flags, and what the
//! word after a verb names.

use std::path::{Path, PathBuf};

use clap::Args;

use super::args::{ExportArgs, OutputArgs, PlanArgs};
use crate::settings::{
    ConversionArgs, DescribedArgs, Environment, Error, LibvirtArgs, PackageArg, RunningArgs,
    SourceArgs, StageArgs, Switch, TransferArgs,
};

/// How names of packages and disk images end.
const SUFFIXES: [&str; 15] = [
    ".box", ".img", ".ova", ".ovf", ".qcow", ".qcow2", ".raw", ".tar", ".tar.gz", ".tgz", ".vdi",
    ".vhd", ".vhdx", ".vmdk", ".vmx",
];
/// How the URI of a libvirt host begins that is a source.
const LIBVIRT: &str = "libvirt+";

/// The word after a verb.
#[derive(Debug, Clone, Default, Args)]
pub struct NamedArgs {
    /// Name, inventory path or moref of a VM; or a file
    ///
    /// Files are those that --source accepts. A word is a file if --url and --source are missing
    /// and it is the path of a file or folder, or has a / and the ending of a package or disk
    /// image.
    #[arg(value_name = "VM|PATH")]
    pub what: Vec<String>,
    /// VM of a package or host that holds several
    #[arg(long, value_name = "NAME", help_heading = "Export")]
    pub vm: Option<String>,
    /// Output directory; without the flag, ./export-VM
    #[arg(long, value_name = "DIR", help_heading = "Export")]
    pub output: Option<PathBuf>,
    /// Export again although the output directory holds an export, which is
    /// replaced when the new one is complete
    #[arg(long, value_name = "BOOL", default_value_t, help_heading = "Export")]
    pub fresh: Switch,
}

/// Flags about where a VM comes from.
#[derive(Debug, Clone, Args)]
pub struct OriginArgs {
    /// Source flags.
    #[command(flatten)]
    pub source: SourceArgs,
    /// What files do not say.
    #[command(flatten)]
    pub described: DescribedArgs,
    /// Flags about running VMs.
    #[command(flatten)]
    pub running: RunningArgs,
    /// Transfer flags.
    #[command(flatten)]
    pub transfer: TransferArgs,
}

/// Flags of a strict run.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Run")]
pub struct StrictRunArgs {
    /// Print the plan of the whole run and change nothing
    #[arg(long, value_name = "BOOL", default_value_t)]
    pub dry_run: Switch,
    /// Output flags.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `hyperexport migrate VM`
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub struct MigrateArgs {
    /// The VM.
    #[command(flatten)]
    pub named: NamedArgs,
    /// Where it comes from.
    #[command(flatten)]
    pub origin: OriginArgs,
    /// Conversion flags.
    #[command(flatten)]
    pub conversion: ConversionArgs,
    /// Target flags.
    #[command(flatten)]
    pub target: LibvirtArgs,
    /// Run flags.
    #[command(flatten)]
    pub run: StrictRunArgs,
}

/// `hyperexport export VM`
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub struct ExportVerbArgs {
    /// The VM.
    #[command(flatten)]
    pub named: NamedArgs,
    /// What the export writes: the disks, also an OVF descriptor, or one OVA
    #[arg(long, value_name = "FORMAT", default_value = "disks", help_heading = "Export")]
    pub format: PackageArg,
    /// Write the Artifact Manifest v1.0, which `convert` and `define` need
    #[arg(long, value_name = "BOOL", default_value_t, help_heading = "Export")]
    pub manifest: Switch,
    /// Where it comes from.
    #[command(flatten)]
    pub origin: OriginArgs,
    /// Run flags.
    #[command(flatten)]
    pub run: StrictRunArgs,
}

/// One VM through the stages that were asked for, whichever way they were.
#[derive(Debug)]
pub(super) struct Request<'a> {
    pub vm: Option<String>,
    pub source: SourceArgs,
    pub output: Option<&'a Path>,
    pub format: PackageArg,
    pub fresh: bool,
    pub manifest: bool,
    pub described: &'a DescribedArgs,
    pub running: &'a RunningArgs,
    pub transfer: &'a TransferArgs,
    pub stages: Option<&'a StageArgs>,
    pub stream_convert: Option<bool>,
    pub target: Option<&'a LibvirtArgs>,
    /// Whether a later stage that fails sets the exit code.
    pub strict: bool,
    pub dry_run: bool,
    pub printed: &'a OutputArgs,
}

impl<'a> Request<'a> {
    /// That of the flags alone.
    ///
    /// # Errors
    /// [`Error::Invalid`] where the switches do not fit together.
    pub fn of_flags(args: &'a ExportArgs) -> Result<Self, Error> {
        if args.libvirt && !args.pipeline.pipeline {
            return Err(Error::Invalid(
                "--libvirt needs --pipeline: libvirt gets converted disks".to_owned(),
            ));
        }
        let conversion = &args.pipeline.conversion;
        Ok(Self {
            vm: args.vm.clone(),
            source: args.source.clone(),
            output: args.output.as_deref(),
            format: args.format,
            fresh: args.fresh,
            manifest: args.manifest,
            described: &args.described,
            running: &args.running,
            transfer: &args.transfer,
            stages: args.pipeline.pipeline.then_some(&conversion.stages),
            stream_convert: conversion.stream_convert,
            target: args.libvirt.then_some(&args.target),
            strict: args.run.strict,
            dry_run: args.run.dry_run,
            printed: &args.run.output,
        })
    }

    /// That of `export`.
    ///
    /// # Errors
    /// [`Error::Invalid`] where two words name a VM.
    pub fn of_export(args: &'a ExportVerbArgs, environment: &Environment) -> Result<Self, Error> {
        let run = &args.run;
        let plain =
            Self::of_words(&args.named, &args.origin, run.dry_run, &run.output, environment)?;
        Ok(Self { format: args.format, manifest: args.manifest, ..plain })
    }

    /// That of `migrate`.
    ///
    /// # Errors
    /// [`Error::Invalid`] where two words name a VM.
    pub fn of_migrate(args: &'a MigrateArgs, environment: &Environment) -> Result<Self, Error> {
        let run = &args.run;
        let plain =
            Self::of_words(&args.named, &args.origin, run.dry_run, &run.output, environment)?;
        Ok(plain.with_domain(&args.conversion, &args.target))
    }

    /// That of `plan VM`: what `migrate` would do.
    ///
    /// # Errors
    /// [`Error::Invalid`] where two words name a VM.
    pub fn of_plan(args: &'a PlanArgs, environment: &Environment) -> Result<Self, Error> {
        let plain = Self::of_words(&args.named, &args.origin, true, &args.output, environment)?;
        Ok(plain.with_domain(&args.conversion, &args.target))
    }

    fn with_domain(self, conversion: &'a ConversionArgs, target: &'a LibvirtArgs) -> Self {
        Self {
            stages: Some(&conversion.stages),
            stream_convert: conversion.stream_convert,
            target: Some(target),
            ..self
        }
    }

    fn of_words(
        named: &'a NamedArgs,
        origin: &'a OriginArgs,
        dry_run: bool,
        printed: &'a OutputArgs,
        environment: &Environment,
    ) -> Result<Self, Error> {
        let (vm, source) = named.resolve(&origin.source, environment)?;
        Ok(Self {
            vm,
            source,
            output: named.output.as_deref(),
            format: PackageArg::Disks,
            fresh: named.fresh,
            manifest: false,
            described: &origin.described,
            running: &origin.running,
            transfer: &origin.transfer,
            stages: None,
            stream_convert: None,
            target: None,
            strict: true,
            dry_run,
            printed,
        })
    }
}

impl NamedArgs {
    fn resolve(
        &self,
        source: &SourceArgs,
        environment: &Environment,
    ) -> Result<(Option<String>, SourceArgs), Error> {
        resolve(&self.what, self.vm.as_deref(), source, environment)
    }
}

/// The VM that `words` and `--vm` name, and the source with the files among the words.
///
/// # Errors
/// [`Error::Invalid`] where several VMs are named.
pub(super) fn resolve(
    words: &[String],
    vm: Option<&str>,
    source: &SourceArgs,
    environment: &Environment,
) -> Result<(Option<String>, SourceArgs), Error> {
    let may_be_files = source.source.is_empty() && source.vsphere.url.is_none();
    let has_server = environment.govc_url.is_some();
    let is_file = |word: &&String| may_be_files && is_source(word, has_server);
    let (files, names): (Vec<_>, Vec<_>) = words.iter().partition(is_file);
    let mut source = source.clone();
    source.source.extend(files.into_iter().cloned());
    let mut vms = names.into_iter().map(String::as_str).chain(vm);
    match (vms.next(), vms.next()) {
        (Some(one), Some(other)) => Err(Error::Invalid(format!(
            "'{one}' and '{other}' both name a VM: a run is for one VM"
        ))),
        (vm, _) => Ok((vm.map(str::to_owned), source)),
    }
}

/// Whether a word is a source and not the name of a VM. The name of a VM may be that of the output
/// directory of its first run, so that a folder needs a `/` where a vCenter is known.
fn is_source(word: &str, has_server: bool) -> bool {
    let lower = word.to_ascii_lowercase();
    let has_slash = word.contains('/');
    let path = Path::new(word);
    lower.starts_with(LIBVIRT)
        || lower.starts_with("file://")
        || has_slash && SUFFIXES.iter().any(|suffix| lower.ends_with(suffix))
        || path.is_file()
        || path.exists() && (has_slash || !has_server)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn a_word_is_a_file_or_the_name_of_a_vm() {
        let dir = tempfile::tempdir().expect("a folder");
        let folder = dir.path().to_str().expect("UTF-8");
        let file = format!("{folder}/disk");
        std::fs::write(&file, "x").expect("written");
        for word in
            [folder, &file, "/no/such/web.ova", "./web.QCOW2", "libvirt+qemu:///system?domain=a"]
        {
            assert!(is_source(word, false), "{word}");
        }
        for word in ["web01", "web.ova", "/DC0/vm/web01", "vm-42"] {
            assert!(!is_source(word, false), "{word}");
        }
        // Cargo runs the tests in the folder of the package.
        assert!(is_source("src", false) && is_source("./src", true));
        assert!(!is_source("src", true), "a VM whose output directory has its name");
    }

    #[test]
    fn several_files_are_one_vm_and_several_names_are_refused() {
        let environment = Environment::default();
        let none = SourceArgs::default();
        let of = |given: &[&str], vm| resolve(&words(given), vm, &none, &environment);
        let (vm, source) = of(&["./a.raw", "./b.raw"], Some("web01")).expect("one VM");
        assert_eq!((vm.as_deref(), source.source), (Some("web01"), words(&["./a.raw", "./b.raw"])));
        let error = of(&["web01", "web02"], None).expect_err("two VMs");
        assert!(error.to_string().contains("'web01' and 'web02' both name a VM"), "{error}");
        assert!(of(&["web01"], Some("web02")).is_err());
        let of_package = SourceArgs { source: words(&["all.ova"]), ..SourceArgs::default() };
        let named = resolve(&words(&["src"]), None, &of_package, &environment).expect("a VM");
        assert_eq!((named.0.as_deref(), named.1.source.len()), (Some("src"), 1));
    }
}
