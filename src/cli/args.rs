//! The command line: what can be typed. What the flags of a room mean stands in `settings`.

use std::path::PathBuf;

use clap::{ArgAction, Args, CommandFactory, Parser, Subcommand, ValueEnum};

use super::verbs::{ExportVerbArgs, MigrateArgs, NamedArgs, OriginArgs};
use crate::settings::{
    ConversionArgs, DescribedArgs, ExaminedArgs, FilterArgs, LibvirtArgs, PackageArg, PipelineArgs,
    RoleForArg, RunningArgs, SourceArgs, StageArgs, Switch, TransferArgs, WindowsArgs, switches,
};

const EXAMPLE: &str = "\
Examples:
  hyperexport migrate web01 --url vc.example.com --password-file pw \\
    --username admin@vsphere.local --libvirt-start
  hyperexport migrate ./web01.ova
  hyperexport --vm web01 --url vc.example.com --password-file pw \\
    --username admin@vsphere.local --pipeline --libvirt

Exit codes:
  0 done    1 failed    2 usage    3 a stage failed, and the results of
  others exist    4 refused before anything changed    130 interrupted";

/// Migrate virtual machines from VMware vSphere, OVA, disk images or another
/// libvirt host to KVM/libvirt
#[derive(Debug, Parser)]
#[command(name = "hyperexport", version, term_width = 80, max_term_width = 80)]
#[command(args_conflicts_with_subcommands = true, subcommand_precedence_over_arg = true)]
#[command(after_help = EXAMPLE, arg_required_else_help = true)]
pub struct Cli {
    /// The verb, if there is one.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The run that flags alone ask for.
    #[command(flatten)]
    pub export: ExportArgs,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Export a VM, convert its disks and define it in libvirt
    Migrate(Box<MigrateArgs>),
    /// Export a VM and leave its disks as they are
    Export(Box<ExportVerbArgs>),
    /// List the VMs of a vCenter or ESXi host, or of a package
    List(ListArgs),
    /// Show the details of a VM, and what prevents its export
    Info(InfoArgs),
    /// Convert the disks of an export
    Convert(ConvertArgs),
    /// Define a domain from a converted export
    Define(Box<DefineArgs>),
    /// Print what a migration would do, or write the exact plan of `define`
    Plan(Box<PlanArgs>),
    /// Do exactly what a plan file says
    Apply(ApplyArgs),
    /// Remove what a run made in libvirt; the export stays
    Undo(UndoArgs),
    /// Print the least role that a login at vSphere needs
    Role(RoleArgs),
    /// Compare the disks of a domain with what was exported
    Verify(VerifyArgs),
    /// Check that everything a migration needs is installed
    Doctor(Box<DoctorArgs>),
    /// Print the script that completes this command in a shell
    Completions(CompletionsArgs),
    /// Print or write the manual pages
    #[command(hide = true)]
    Man(ManArgs),
}

/// `hyperexport --vm NAME …`
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// VM to export: its name, inventory path or moref
    #[arg(long, value_name = "NAME", help_heading = "Export")]
    pub vm: Option<String>,
    /// Output directory; without the flag, ./export-VM
    #[arg(long, value_name = "DIR", help_heading = "Export")]
    pub output: Option<PathBuf>,
    /// What the export writes: the disks, also an OVF descriptor, or one OVA
    #[arg(long, value_name = "FORMAT", default_value = "disks", help_heading = "Export")]
    pub format: PackageArg,
    /// Export again although the output directory holds an export, which is
    /// replaced when the new one is complete
    #[arg(long, value_name = "BOOL", default_value_t, help_heading = "Export")]
    pub fresh: Switch,
    /// Write the Artifact Manifest v1.0, which --pipeline writes in any case
    #[arg(long, value_name = "BOOL", default_value_t, help_heading = "Export")]
    pub manifest: Switch,
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
    #[arg(long, value_name = "BOOL", default_value_t, help_heading = "Target (libvirt)")]
    pub libvirt: Switch,
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
#[command(arg_required_else_help = true)]
pub struct PlanArgs {
    /// The VM.
    #[command(flatten)]
    pub named: NamedArgs,
    /// Manifest of an export
    ///
    /// A folder with one may be given as PATH
    #[arg(long, value_name = "FILE", help_heading = "Export", conflicts_with = "what")]
    pub manifest: Option<PathBuf>,
    /// Write the plan to a new file, for `apply`
    ///
    /// The plan is that of a converted export
    #[arg(long, value_name = "FILE", help_heading = "Export")]
    pub plan: Option<PathBuf>,
    /// Where the VM comes from.
    #[command(flatten)]
    pub origin: OriginArgs,
    /// Conversion flags.
    #[command(flatten)]
    pub conversion: ConversionArgs,
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
    /// Check the plan, print what would be done and change nothing
    #[arg(long, value_name = "BOOL", default_value_t)]
    pub dry_run: Switch,
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
    /// Output directory, whose newest run is undone that is not undone yet; or
    /// the result.json of a run, or a file of its folder runs/
    #[arg(
        value_name = "FOLDER|FILE",
        required_unless_present = "result",
        conflicts_with = "result"
    )]
    pub output_dir: Option<PathBuf>,
    /// The same as FILE
    #[arg(long, value_name = "FILE", conflicts_with_all = ["all", "run"])]
    pub result: Option<PathBuf>,
    /// List the runs that made something in libvirt, and change nothing
    #[arg(long, value_name = "BOOL", default_value_t)]
    pub list: Switch,
    /// Undo all runs, the last one first
    #[arg(long, value_name = "BOOL", default_value_t, conflicts_with = "run")]
    pub all: Switch,
    /// Undo the run that --list shows by this name
    #[arg(long, value_name = "ID")]
    pub run: Option<String>,
    /// Delete disks that were written to since their run, too: the newest data
    /// of the machine may be on them
    #[arg(long, value_name = "BOOL", default_value_t)]
    pub even_if_used: Switch,
    /// The URI that the run used, where it names a program (command, netcat):
    /// files are not believed there
    #[arg(long, value_name = "URI")]
    pub libvirt_uri: Option<String>,
    /// Print what would go and change nothing
    #[arg(long, value_name = "BOOL", default_value_t)]
    pub dry_run: Switch,
    /// Power the source VM on that the run has switched off; refused while the
    /// domain runs or may run. Needs the login of the source
    #[arg(long, value_name = "BOOL", default_value_t)]
    pub power_on_source: Switch,
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
    #[arg(long, value_name = "BOOL", default_value_t)]
    pub dry_run: Switch,
    /// Exit with 3, not 0, when a stage failed and the results of others exist;
    /// all verbs do
    #[arg(long, value_name = "BOOL", default_value_t)]
    pub strict: Switch,
    /// Output flags.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Flags about what is printed.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Output")]
pub struct OutputArgs {
    /// Print the result as JSON on standard output, errors too
    #[arg(long, value_name = "BOOL", default_value_t)]
    pub json: Switch,
    /// Log more (-v what is done, -vv every call)
    #[arg(short, long, action = ArgAction::Count)]
    pub verbose: u8,
    /// Print nothing but warnings and errors
    #[arg(short, long, conflicts_with = "verbose")]
    pub quiet: bool,
}

/// The whole command line.
pub fn command() -> clap::Command {
    let each = |command: clap::Command| short(switches(command));
    let command = each(Cli::command()).mut_subcommands(each);
    // The verbs stand before them.
    command.mut_args(|arg| arg.hide_short_help(true))
}

/// Flags that `-h` shows; `--help` shows all of them.
const SHORT: [&str; 16] = [
    "plan",
    "manifest",
    "result",
    "uses",
    "output",
    "url",
    "username",
    "password_file",
    "source",
    "power_off",
    "snapshot",
    "libvirt_uri",
    "libvirt_pool",
    "libvirt_start",
    "all",
    "dry_run",
];

/// With a `-h` of one screen.
fn short(command: clap::Command) -> clap::Command {
    command.mut_args(|arg| {
        let is_short = arg.is_positional() || SHORT.contains(&arg.get_id().as_str());
        arg.hide_short_help(!is_short)
    })
}

/// `hyperexport man …`
#[derive(Debug, Args)]
pub struct ManArgs {
    /// Directory for the page of every command; no file is overwritten.
    /// Without it the main page is printed
    #[arg(long, value_name = "DIR")]
    pub output: Option<PathBuf>,
}

/// `hyperexport completions SHELL`
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// Shell that reads the script
    #[arg(value_name = "SHELL")]
    pub shell: ShellArg,
}

/// Shells with a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ShellArg {
    /// GNU Bash.
    Bash,
    /// Z shell.
    Zsh,
    /// fish.
    Fish,
}
