//! Runs hyper2kvm on a job and parses its output. `mod.rs` describes its surroundings and why its
//! reported success is not trusted.

pub(super) mod accept;
pub(super) mod environment;
pub(super) mod find;
pub(super) mod job;
pub(super) mod log;
pub(super) mod output_progress;
pub(super) mod probe;
pub(super) mod report;
pub(super) mod shebang;

use std::fs;
use std::io::{self, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use serde_json::Value;

use crate::child::{self, Program};
use crate::model::{Stage, Warning, WarningCode, shown};
use crate::progress::{Event, Progress};

use super::output_files::HYPER2KVM_LOG;
use super::tools::isolate;
use super::tools::keep_log::open_log;
use super::tools::libguestfs::FORCE_TCG;
use super::tools::libguestfs_cleanup::{self, GuestfsFolders};
use super::tools::qemu_img::Tools;
use super::tools::work::WorkDir;
use super::{Error, Settings};
use environment::hyper2kvm_environment;
use log::{Findings, LogReader, is_trace};
use output_progress::OutputProgress;
use report::Hyper2kvmReport;

/// The output of a run that reported success.
#[derive(Debug)]
pub(super) struct Hyper2kvmOutcome {
    pub(super) report: Hyper2kvmReport,
    pub(super) json: Value,
    pub(super) warnings: Vec<Warning>,
    /// Whether hyper2kvm built an initramfs.
    pub(super) initramfs: bool,
}

/// hyper2kvm, ready to run in a work folder.
pub(super) struct Hyper2kvm<'a> {
    pub(super) program: &'a Path,
    pub(super) settings: &'a Settings,
    pub(super) tools: &'a Tools,
    pub(super) work: &'a WorkDir,
    /// The output directory, for the log.
    pub(super) output: &'a Path,
    pub(super) progress: &'a Progress,
    /// Whether FIX is expected to rebuild an initramfs.
    pub(super) initramfs: bool,
}

impl Hyper2kvm<'_> {
    /// Runs the job. When libguestfs cannot start its appliance and the user chose no backend
    /// settings, a second attempt runs without KVM.
    pub(super) async fn run(&self) -> Result<Hyper2kvmOutcome, Error> {
        let given = self.settings.guestfs.backend_settings.as_deref();
        let mut warnings = Vec::new();
        let isolated = isolate::available(&self.work.dev(), self.tools).await;
        if !isolated && nix::unistd::geteuid().is_root() {
            warnings.push(Warning::new(
                Stage::Pipeline,
                WarningCode::Hyper2kvmNotIsolated,
                "no namespaces here: hyper2kvm runs as root with the host's devices in sight",
            ));
        }
        let mut ended = self.once(given, isolated).await?;
        if !ended.0.success() && ended.1.launch_failed && given.is_none() {
            let message = "libguestfs could not start its appliance; running it without KVM, which \
                           is slow (LIBGUESTFS_BACKEND_SETTINGS=force_tcg says so from the start)";
            self.progress.note(message);
            warnings.push(Warning::new(
                Stage::Pipeline,
                WarningCode::LibguestfsWithoutKvm,
                message,
            ));
            ended = self.once(Some(FORCE_TCG), isolated).await?;
        }
        let (status, findings) = ended;
        self.examine(status, findings, warnings)
    }

    /// Runs the job once.
    async fn once(
        &self,
        backend_settings: Option<&str>,
        isolated: bool,
    ) -> Result<(ExitStatus, Findings), Error> {
        for stale in self.report_places() {
            match fs::remove_file(&stale) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(Error::io(format!("removing {}", stale.display()))(error));
                }
                _ => {}
            }
        }
        let mut program = Program::new(self.program)
            .args(["-v", "--manifest"])
            .arg(self.work.job())
            .envs(hyper2kvm_environment(self.settings, self.work, backend_settings))
            .dir(self.work.path());
        if isolated {
            let hook = isolate::isolation(&self.work.dev())
                .map_err(Error::io("preparing a private /dev"))?;
            program = program.before_exec(hook);
        }
        let before = GuestfsFolders::now();
        let ended = self.follow(program).await;
        libguestfs_cleanup::unmount_below(self.work.path());
        before.remove_newer();
        ended
    }

    /// Runs `program`; logs, shows and parses its output.
    async fn follow(&self, program: Program) -> Result<(ExitStatus, Findings), Error> {
        let path = self.output.join(HYPER2KVM_LOG);
        let doing = format!("writing {}", path.display());
        let mut log = open_log(&path).map_err(Error::io(&doing))?;
        let converting = OutputProgress::new(self.progress, self.work);
        let mut reader = LogReader::new(self.progress, converting.clone());
        let mut written = Ok(());
        let limits = self.tools.limits();
        let run = child::run(program, &limits, |_, line| {
            reader.line(line);
            if is_trace(line) {
                return;
            }
            // A short write to the page cache, made at once so that the log of a killed run is
            // complete. Not worth leaving the runtime for.
            if written.is_ok() {
                written = log.write_all(format!("{}\n", shown::text(line)).as_bytes());
            }
            if self.settings.stream_output {
                self.progress.send(Event::Output { program: "hyper2kvm", line: line.to_owned() });
            }
        });
        let status = tokio::select! {
            status = run => status,
            never = converting.report() => match never {},
        };
        let findings = reader.finish();
        let status = status.map_err(self.tools.child_error("running hyper2kvm"));
        if let Err(error) = &status {
            written = written.and_then(|()| writeln!(log, "hyperexport: {error}"));
        }
        written.map_err(Error::io(doing))?;
        Ok((status?, findings))
    }

    /// Judges a run by exit code, report and log; returns the reason of a failure.
    fn examine(
        &self,
        status: ExitStatus,
        findings: Findings,
        mut warnings: Vec<Warning>,
    ) -> Result<Hyper2kvmOutcome, Error> {
        let log = self.output.join(HYPER2KVM_LOG);
        let read = Hyper2kvmReport::read(&self.report_places());
        if !status.success() {
            let said = read.ok().and_then(|(report, _)| report.first_error());
            let own = || (String::new(), last_words(status, &findings));
            let (stage, message) = said.unwrap_or_else(own);
            return Err(Error::Hyper2kvm { stage, message, log });
        }
        let (report, json) =
            read.map_err(|problem| Error::NotDone { problem, log: log.clone() })?;
        if let Some(problem) = hidden_failure(&report, &findings, self.settings) {
            return Err(Error::NotDone { problem, log });
        }
        warnings.extend(remarks(&report, &findings));
        let initramfs = &findings.initramfs;
        if self.initramfs && initramfs.tried.is_empty() && !initramfs.done {
            warnings.push(Warning::new(
                Stage::Pipeline,
                WarningCode::GuestInitramfsNotRebuilt,
                "hyper2kvm found nothing in the guest to rebuild its initramfs with: it may lack \
                 the virtio drivers and not boot",
            ));
        }
        Ok(Hyper2kvmOutcome { report, json, warnings, initramfs: initramfs.done })
    }

    /// Possible paths of the report: as the job names it, in the output folder once CONVERT has
    /// started, or beside the job.
    fn report_places(&self) -> Vec<PathBuf> {
        vec![self.work.report(), self.work.out().join("report.json")]
    }
}

/// Why a run without a report failed. The last line of a killed run means nothing; `isolate.rs`
/// passes a signal on as 128 plus its number.
fn last_words(status: ExitStatus, findings: &Findings) -> String {
    let signal = status.signal().or(status.code().map(|code| code - 128).filter(|n| *n > 0));
    match signal {
        Some(signal) => format!("it was killed by signal {signal}"),
        None if findings.last.is_empty() => format!("it ended with {status}"),
        None => findings.last.clone(),
    }
}

/// The evidence that contradicts a successful exit.
fn hidden_failure(
    report: &Hyper2kvmReport,
    findings: &Findings,
    settings: &Settings,
) -> Option<String> {
    let stages = &report.pipeline.stages;
    let wanted = [
        ("fix", settings.stages.fix),
        ("convert", settings.stages.convert),
        ("validate", settings.stages.validate),
    ];
    if !report.pipeline.success {
        return Some("its report says that it failed".to_owned());
    }
    for (name, _) in wanted.iter().filter(|(_, wanted)| *wanted) {
        if !stages.get(*name).is_some_and(|stage| stage.success) {
            return Some(format!("it did not run {name}"));
        }
    }
    if !settings.stages.fix {
        return None;
    }
    if let Some(fatal) = findings.fatal.first() {
        return Some(format!("fix did not work, its log says: {fatal}"));
    }
    let initramfs = &findings.initramfs;
    (!initramfs.tried.is_empty() && !initramfs.done)
        .then(|| format!("fix could not rebuild the guest's initramfs: {}", initramfs.tried[0]))
}

/// Warnings of the report and of the log. Data disks are not fixed, which is correct and no
/// warning.
fn remarks(report: &Hyper2kvmReport, findings: &Findings) -> Vec<Warning> {
    let warn = |code: WarningCode, message: String| Warning::new(Stage::Pipeline, code, message);
    let said = report.warnings.iter().filter(|r| !r.message.starts_with("Data disk "));
    let mut all: Vec<_> =
        said.map(|r| warn(WarningCode::Hyper2kvmWarning, r.message.clone())).collect();
    all.extend(
        findings.steps.iter().map(|line| warn(WarningCode::Hyper2kvmStepFailed, line.clone())),
    );
    if let Some(command) = findings.boot_loader.tried.first().filter(|_| !findings.boot_loader.done)
    {
        let message = format!("the guest's boot loader was not configured anew: {command}");
        all.push(warn(WarningCode::GuestBootLoaderNotUpdated, message));
    }
    if let Some(line) = findings.network.first() {
        let message = format!(
            "hyper2kvm did not adapt the guest's network; after the first boot check the names of \
             its interfaces ({line})"
        );
        all.push(warn(WarningCode::GuestNetworkNotFixed, message));
    }
    all
}
