//! The command line: what can be typed. What the flags of a room mean stands in `settings`.

use std::path::PathBuf;

use clap::{ArgAction, Args, CommandFactory, Parser, Subcommand};

use crate::settings::{
    DescribedArgs, ExaminedArgs, FilterArgs, LibvirtArgs, PackageArg, PipelineArgs, RoleForArg,
    RunningArgs, SourceArgs, StageArgs, TransferArgs, WindowsArgs,
};

const EXAMPLE: &str = "\
Example:
  hyperexport --url vc.example.com --username admin@vsphere.local \\
    --password-file pw --vm web01 --output ./web01 \\
    --pipeline --libvirt --libvirt-autostart

Exit codes:
  0 done    1 failed    2 usage    3 a stage failed, what others made
  stands (--strict)    4 refused before anything changed    130 interrupted";

/// Take a virtual machine out of VMware vSphere, or an OVA, and give it to libvirt
#[derive(Debug, Parser)]
#[command(name = "hyperexport", version, term_width = 80, max_term_width = 80)]
#[command(args_conflicts_with_subcommands = true, subcommand_precedence_over_arg = true)]
#[command(after_help = EXAMPLE, disable_help_subcommand = true)]
pub struct Cli {
    /// Something else than an export.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The export.
    #[command(flatten)]
    pub export: ExportArgs,
}

/// What stands beside the export itself.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List the VMs of a vCenter or ESXi host, or of a package
    List(ListArgs),
    /// Show what an export would know of one VM, and what is in its way
    Info(InfoArgs),
    /// Convert the disks of an export that is already there
    Convert(ConvertArgs),
    /// Define a domain from an export that is already converted
    Define(Box<DefineArgs>),
    /// Write down what `define` would make, to the last character
    Plan(Box<PlanArgs>),
    /// Do what a plan says and nothing else
    Apply(ApplyArgs),
    /// Take back what a run made in libvirt; the export stays
    Undo(UndoArgs),
    /// Print the least role of a login at vSphere, and the commands that make it
    Role(RoleArgs),
    /// Prove that the disks of a run hold what was exported, before the first
    /// start of the domain
    Verify(VerifyArgs),
    /// Look whether everything is there that a migration needs
    Doctor(DoctorArgs),
}

/// `hyperexport --vm NAME …`
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// VM to export: its name, inventory path or moref
    #[arg(long, value_name = "NAME", help_heading = "Export")]
    pub vm: Option<String>,
    /// Folder for the disks and what is known of them
    /// [default: ./export-<vm>]
    #[arg(long, value_name = "DIR", help_heading = "Export")]
    pub output: Option<PathBuf>,
    /// What is written: the disks, also an OVF descriptor, or one OVA
    /// [default: disks]
    #[arg(long, value_name = "FORMAT", help_heading = "Export")]
    pub format: Option<PackageArg>,
    /// Export anew although the folder holds an export, which makes way when
    /// the new one is complete
    #[arg(long, value_name = "BOOL", default_value_t = false, action = ArgAction::Set,
          hide_default_value = true, help_heading = "Export")]
    pub fresh: bool,
    /// Write the Artifact Manifest v1.0 (--pipeline does so in any case)
    #[arg(long, value_name = "BOOL", default_value_t = false, action = ArgAction::Set,
          hide_default_value = true, help_heading = "Export")]
    pub manifest: bool,
    /// Flags about running VMs.
    #[command(flatten)]
    pub running: RunningArgs,
    /// Source flags.
    #[command(flatten)]
    pub source: SourceArgs,
    /// What files do not say.
    #[command(flatten)]
    pub described: DescribedArgs,
    /// Transfer flags.
    #[command(flatten)]
    pub transfer: TransferArgs,
    /// Conversion flags.
    #[command(flatten)]
    pub pipeline: PipelineArgs,
    /// Define the converted VM in libvirt
    #[arg(long, value_name = "BOOL", default_value_t = false, action = ArgAction::Set,
          hide_default_value = true, help_heading = "Target (libvirt)")]
    pub libvirt: bool,
    /// Target flags.
    #[command(flatten)]
    pub target: LibvirtArgs,
    /// Run flags.
    #[command(flatten)]
    pub run: RunArgs,
}

/// `hyperexport list …`
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Which VMs.
    #[command(flatten)]
    pub filter: FilterArgs,
    /// Source flags.
    #[command(flatten)]
    pub source: SourceArgs,
    /// Output flags.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `hyperexport info …`
#[derive(Debug, Args)]
pub struct InfoArgs {
    /// The VM: its name, inventory path or moref; needed where there are many
    #[arg(value_name = "VM")]
    pub vm: Option<String>,
    /// Source flags.
    #[command(flatten)]
    pub source: SourceArgs,
    /// What files do not say.
    #[command(flatten)]
    pub described: DescribedArgs,
    /// What Windows guests get.
    #[command(flatten)]
    pub windows: WindowsArgs,
    /// Output flags.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `hyperexport convert …`
#[derive(Debug, Args)]
pub struct ConvertArgs {
    /// The manifest of the export
    #[arg(long, value_name = "FILE", help_heading = "Export")]
    pub manifest: PathBuf,
    /// Conversion flags.
    #[command(flatten)]
    pub stages: StageArgs,
    /// Run flags.
    #[command(flatten)]
    pub run: RunArgs,
}

/// `hyperexport define …`
#[derive(Debug, Args)]
pub struct DefineArgs {
    /// The manifest of the export
    #[arg(long, value_name = "FILE", help_heading = "Export")]
    pub manifest: PathBuf,
    /// Target flags.
    #[command(flatten)]
    pub target: LibvirtArgs,
    /// Run flags.
    #[command(flatten)]
    pub run: RunArgs,
}

/// `hyperexport plan …`
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// The manifest of the export
    #[arg(long, value_name = "FILE", help_heading = "Export")]
    pub manifest: PathBuf,
    /// Where the plan goes; never over a file that is there
    #[arg(long, value_name = "FILE", help_heading = "Export")]
    pub plan: PathBuf,
    /// Target flags.
    #[command(flatten)]
    pub target: LibvirtArgs,
    /// Output flags.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `hyperexport apply …`
#[derive(Debug, Args)]
pub struct ApplyArgs {
    /// The plan
    #[arg(value_name = "PLAN")]
    pub plan: PathBuf,
    /// Output flags.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `hyperexport doctor …`
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// What to examine.
    #[command(flatten)]
    pub examined: ExaminedArgs,
    /// Output flags.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `hyperexport undo …`
#[derive(Debug, Args)]
pub struct UndoArgs {
    /// Output directory whose last run is undone that is not undone yet
    #[arg(value_name = "DIR", required_unless_present = "result", conflicts_with = "result")]
    pub output_dir: Option<PathBuf>,
    /// The result.json of the run, or a file of its folder runs/
    #[arg(long, value_name = "FILE", conflicts_with_all = ["all", "run"])]
    pub result: Option<PathBuf>,
    /// List the runs that made something in libvirt, and change nothing
    #[arg(long, value_name = "BOOL", default_value_t = false, action = ArgAction::Set,
          hide_default_value = true)]
    pub list: bool,
    /// Undo all runs, the last one first
    #[arg(long, value_name = "BOOL", default_value_t = false, action = ArgAction::Set,
          hide_default_value = true, conflicts_with = "run")]
    pub all: bool,
    /// Undo the run that --list shows by this name
    #[arg(long, value_name = "ID")]
    pub run: Option<String>,
    /// Delete disks that were written to since their run, too: the newest data
    /// of the machine may be on them
    #[arg(long, value_name = "BOOL", default_value_t = false, action = ArgAction::Set,
          hide_default_value = true)]
    pub even_if_used: bool,
    /// The URI that the run used, where it names a program (command, netcat):
    /// files are not believed there
    #[arg(long, value_name = "URI")]
    pub libvirt_uri: Option<String>,
    /// Print what would go and change nothing
    #[arg(long, value_name = "BOOL", default_value_t = false, action = ArgAction::Set,
          hide_default_value = true)]
    pub dry_run: bool,
    /// Power the source VM on that the run has switched off; refused while the
    /// domain runs or may run. Needs the login of the source
    #[arg(long, value_name = "BOOL", default_value_t = false, action = ArgAction::Set,
          hide_default_value = true)]
    pub power_on_source: bool,
    /// Source flags.
    #[command(flatten)]
    pub source: SourceArgs,
    /// Output flags.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `hyperexport role …`
#[derive(Debug, Args)]
pub struct RoleArgs {
    /// What the login shall be able to do; repeated or with commas
    #[arg(long = "for", value_name = "USE", value_delimiter = ',', default_value = "export")]
    pub uses: Vec<RoleForArg>,
    /// Output flags.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `hyperexport verify …`
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// The result.json of the run, a file of its folder runs/, or its output
    /// directory
    #[arg(long, value_name = "FILE")]
    pub result: PathBuf,
    /// The URI that the run used, where it names a program (command, netcat):
    /// files are not believed there
    #[arg(long, value_name = "URI")]
    pub libvirt_uri: Option<String>,
    /// Output flags.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Flags of a run as a whole.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Run")]
pub struct RunArgs {
    /// Print the plan of the whole run and change nothing
    #[arg(long, value_name = "BOOL", default_value_t = false, action = ArgAction::Set,
          hide_default_value = true)]
    pub dry_run: bool,
    /// Exit with 3, not 0, when a stage failed and what others made stands; convert, define and apply always do
    #[arg(long, value_name = "BOOL", default_value_t = false, action = ArgAction::Set,
          hide_default_value = true)]
    pub strict: bool,
    /// Output flags.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Flags about what is printed.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Output")]
pub struct OutputArgs {
    /// Print one JSON object with the whole result on standard output
    #[arg(long, value_name = "BOOL", default_value_t = false, action = ArgAction::Set,
          hide_default_value = true)]
    pub json: bool,
    /// Say more (-v what is done, -vv every call)
    #[arg(short, long, action = ArgAction::Count)]
    pub verbose: u8,
    /// Say nothing but warnings and errors
    #[arg(short, long, conflicts_with = "verbose")]
    pub quiet: bool,
}

/// The whole command line. One rule for every switch: `--flag`, `--flag=true` and `--flag=false`.
pub fn command() -> clap::Command {
    let switches = |command: clap::Command| {
        command.mut_args(|arg| {
            let names = arg.get_value_names().unwrap_or_default();
            let is_switch = matches!(names, [name] if name.starts_with("BOOL"));
            if is_switch {
                arg.num_args(0..=1)
                    .require_equals(true)
                    .default_missing_value("true")
                    .hide_possible_values(true)
            } else {
                arg
            }
        })
    };
    switches(Cli::command()).mut_subcommands(switches)
}
