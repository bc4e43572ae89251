//! The summary of a run, for people.

use std::path::{Path, PathBuf};

use super::super::job::real;
use super::super::stage::recovery;
use super::fit;
use super::made::Returned;
use super::report::{RunOutcome, RunReport, StageStatus};
use super::result_file::LOCAL;
use crate::libvirt::{DefinedDomain, GuestSigns, Undo};
use crate::model::{
    ByteSize, ConvertedDisk, ExportedDisk, ExportedMedium, PowerState, PoweredOff, Stage,
};

/// Number of guest changes that are listed one by one.
const CHANGES: usize = 5;

impl RunReport {
    /// Summary of the run, line by line; `strict` means that a failed stage sets the exit code.
    pub fn summary(&self, strict: bool) -> Vec<String> {
        if !self.plan.is_empty() {
            return self.plan.clone();
        }
        let mut lines: Vec<_> = self.disks.iter().filter_map(|disk| self.exported(disk)).collect();
        for ExportedMedium { id, path, file_size, .. } in &self.media {
            lines.push(format!("exported   {id}  {} ({file_size})", path.display()));
        }
        if let Some(nvram) = &self.nvram {
            let path = nvram.path.display();
            lines.push(format!(
                "exported   nvram   {path} (kept, the domain has variables of its own)"
            ));
        }
        if let Some(package) = &self.package {
            lines.push(format!("packed     {} ({})", package.path.display(), package.size));
        }
        for disk in self.converted_disks() {
            let path = disk.path.display();
            lines.push(format!("converted  {}  {path} ({})", disk.id, disk.allocated));
        }
        lines.extend(self.changes());
        let undone = self.undone.is_some();
        let domain = self.domain.as_ref().filter(|_| !undone);
        if let Some(domain) = domain {
            lines.extend(self.volumes(domain));
            let autostart = if domain.autostart { ", starts with its host" } else { "" };
            lines.push(format!("domain     {} ({}{autostart})", domain.name, domain.uuid));
        }
        lines.extend(domain.into_iter().flat_map(after));
        lines.extend(self.source_now());
        let after = self.source.iter().flat_map(|source| &source.after);
        lines.extend(after.map(|step| format!("source     {} {step}", self.vm)));
        lines.extend(self.copies());
        lines.push(self.last_line(strict));
        lines
    }

    fn converted_disks(&self) -> impl Iterator<Item = &ConvertedDisk> {
        self.converted.iter().flat_map(|disks| &disks.0)
    }

    /// A file that is both exported and converted is listed once.
    fn exported(&self, disk: &ExportedDisk) -> Option<String> {
        if self.converted_disks().any(|converted| converted.path == disk.path) {
            return None;
        }
        let ExportedDisk { id, path, file_size, capacity, .. } = disk;
        let what = format!("{id}  {} ({file_size} of {capacity})", path.display());
        Some(match self.is_made(disk) {
            true => format!("exported   {what}"),
            false => format!("source     {what}, used where it is"),
        })
    }

    /// Whether the export has written the file of a disk, and did not use the user's file in place.
    fn is_made(&self, disk: &ExportedDisk) -> bool {
        let is_local = self.export.as_ref().is_some_and(|taken| taken.vm.provider == LOCAL);
        let own = disk.id.file_name(disk.format);
        let is_named = disk.path.file_name().is_some_and(|name| name == own.as_str());
        disk.path.starts_with(&self.output) && (!is_local || is_named)
    }

    /// Whether preflight has undone the leftovers of a killed run.
    fn has_taken_back(&self) -> bool {
        self.warnings.iter().any(|warning| warning.code == recovery::TAKEN_BACK)
    }

    fn changes(&self) -> Vec<String> {
        let told = self.guest_changes.iter().take(CHANGES);
        let mut lines: Vec<_> = told.map(|change| format!("changed    {change}")).collect();
        let more = self.guest_changes.len().saturating_sub(CHANGES);
        if more > 0 {
            lines.push(format!("           … and {more} more in report.json"));
        }
        lines
    }

    fn volumes(&self, domain: &DefinedDomain) -> Vec<String> {
        let pool = &domain.pool;
        let mut lines = Vec::new();
        let made = domain.undo.iter().any(|step| matches!(step, Undo::RemovePool { .. }));
        let first = domain.volumes.first().map(|volume| Path::new(&volume.path));
        if let Some(folder) = first.and_then(Path::parent).filter(|_| made) {
            lines.push(format!(
                "pool       {pool} over {}, which was defined and starts with its host",
                folder.display()
            ));
        }
        for volume in &domain.volumes {
            let image = self.converted_disks().find(|disk| disk.id == volume.disk);
            let size = image.map(|image| format!(" ({})", image.allocated)).unwrap_or_default();
            let how = if volume.created { size } else { ", used where it is".to_owned() };
            let (disk, path) = (&volume.disk, &volume.path);
            lines.push(format!("volume     {disk}  {path}{how} in storage pool '{pool}'"));
        }
        lines
    }

    /// State of the source VM at the end of the run; `None` for a VM in files, which is never
    /// running.
    fn source_now(&self) -> Option<String> {
        let source = self.source.as_ref()?;
        if self.export.as_ref().is_some_and(|export| export.vm.provider == LOCAL) {
            return None;
        }
        let name = &self.vm;
        let now = match (source.state.power, source.powered_off) {
            _ if source.returned == Some(Returned::On) => {
                "is on again: it was switched off for the export; what it writes is not on the \
                 exported disks"
            }
            (PowerState::Off, Some(PoweredOff::Shutdown)) => {
                "is off: it was shut down for the export, and stays off"
            }
            (PowerState::Off, Some(PoweredOff::Cut)) => {
                "is off: its power was cut for the export, and it stays off"
            }
            (PowerState::Off, None) => "is off",
            (PowerState::On, _) => "is on, and runs on",
            (PowerState::Suspended, _) => "is suspended",
            (PowerState::Unknown, _) => return None,
        };
        Some(format!("source     {name} {now}"))
    }

    /// Copies of the disks at the end of the run, and those that can be deleted.
    fn copies(&self) -> Vec<String> {
        let converted: Vec<(PathBuf, u64)> =
            self.converted_disks().map(|disk| (disk.path.clone(), disk.allocated.0)).collect();
        // Copies that the run does not need may have been deleted since.
        let there = |(path, _): &(PathBuf, u64)| path.exists();
        let converted: Vec<_> = converted.into_iter().filter(there).collect();
        let made = self.disks.iter().filter(|disk| self.is_made(disk));
        let exported: Vec<_> = made
            .map(|disk| (disk.path.clone(), disk.file_size.0))
            .filter(|(path, _)| !converted.iter().any(|(other, _)| other == path))
            .filter(there)
            .collect();
        let in_use = |path: &Path| {
            let volumes = self.domain.iter().flat_map(|domain| &domain.volumes);
            volumes.clone().any(|volume| real(volume.path.as_ref()) == real(path))
        };
        let volumes: u64 = self
            .domain
            .iter()
            .flat_map(|domain| &domain.volumes)
            .filter(|volume| volume.created)
            .filter_map(|volume| self.converted_disks().find(|disk| disk.id == volume.disk))
            .map(|disk| disk.allocated.0)
            .sum();
        let sum = |files: &[(PathBuf, u64)]| files.iter().map(|(_, size)| size).sum::<u64>();
        let copies: Vec<_> =
            [("exported", sum(&exported)), ("converted", sum(&converted)), ("volumes", volumes)]
                .into_iter()
                .filter(|(_, size)| *size > 0)
                .map(|(what, size)| format!("{what} {}", ByteSize(size)))
                .collect();
        if copies.len() < 2 {
            return Vec::new();
        }
        let mut lines = vec![format!("copies     {}: {}", copies.len(), copies.join(", "))];
        // The copies from which the next stage was made; only the last ones are needed.
        let may_go = if self.domain.is_some() { [exported, converted].concat() } else { exported };
        let may_go: Vec<_> = may_go.into_iter().filter(|(path, _)| !in_use(path)).collect();
        if !may_go.is_empty() {
            let names: Vec<_> = may_go.iter().map(|(path, _)| path.display().to_string()).collect();
            let user = if self.domain.is_some() { "the domain" } else { "the converted disks" };
            lines.push(format!(
                "to delete  {} ({}): {user} can do without, another conversion or definition cannot",
                names.join(" "),
                ByteSize(sum(&may_go))
            ));
        }
        lines
    }

    fn partial(&self, strict: bool) -> String {
        let place = self.output.display();
        let failed = self.stages.iter().find(|stage| stage.status == StageStatus::Failed);
        let failed = failed.map(|stage| stage.stage);
        let failed = failed.or_else(|| self.errors.first().map(|error| error.stage));
        let failed = match failed {
            // The guest on the disks is unchanged.
            Some(Stage::Pipeline) if self.converted.is_some() => "FIX",
            Some(stage) => stage.as_str(),
            None => "a stage",
        };
        let exported = self.stages.iter().any(|stage| stage.stage == Stage::Export);
        // `convert`, `define` and `apply` have no export stage.
        let code = match exported && !strict {
            true => "exit code 0; `migrate` or --strict would make it 3",
            false => "exit code 3",
        };
        let made = match self.domain.as_ref().filter(|_| self.undone.is_none()) {
            Some(domain) => format!("defined    {}", domain.name),
            None if exported => format!("exported   {} to {place}", self.vm),
            None => format!("converted  {} in {place}", self.vm),
        };
        format!("{made}, but {failed} failed ({code})")
    }

    fn last_line(&self, strict: bool) -> String {
        let seconds = self.finished_at.duration_since(self.started_at).as_secs_f64();
        let size: u64 = self.disks.iter().map(|disk| disk.file_size.0).sum();
        let place = self.output.display();
        if self.outcome == RunOutcome::AlreadyDone {
            let taken = self.export.as_ref().map(|export| fit::time(export.exported_at));
            let of = taken.map(|taken| format!(" since the export of {taken}")).unwrap_or_default();
            return format!("done       {}: nothing to do, all is complete{of}", self.vm);
        }
        match self.outcome {
            RunOutcome::Done | RunOutcome::AlreadyDone if size == 0 => {
                format!("done       {} in {seconds:.0} s", self.vm)
            }
            RunOutcome::Done | RunOutcome::AlreadyDone => {
                format!("done       {} in {seconds:.0} s, {} in {place}", self.vm, ByteSize(size))
            }
            RunOutcome::Partial => self.partial(strict),
            RunOutcome::Failed => format!("failed     {} after {seconds:.0} s", self.vm),
            RunOutcome::Refused => {
                // The VM has no name until a manifest is read.
                let of = if self.vm.is_empty() { String::new() } else { format!("{}: ", self.vm) };
                match self.has_taken_back() {
                    true => format!(
                        "refused    {of}the leftovers of a killed run were removed, nothing else was changed"
                    ),
                    false => format!("refused    {of}nothing was changed"),
                }
            }
            RunOutcome::Interrupted => format!("stopped    {} after {seconds:.0} s", self.vm),
        }
    }
}

/// Steps that followed the definition of a domain.
fn after(domain: &DefinedDomain) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(snapshot) = &domain.snapshot {
        lines.push(format!("snapshot   {} of {}", snapshot.name, domain.name));
    }
    let mut seen = |what: &str, seen: &GuestSigns| {
        lines
            .push(format!("{what:<10} {}: {} after {:.0} s", domain.name, seen.sign, seen.seconds));
    };
    domain.boot_test.iter().for_each(|test| seen("tested", test));
    domain.boot_proof.iter().for_each(|proof| seen("proved", proof));
    domain.started.iter().for_each(|start| seen("started", start));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::output::report::{Failure, StageReport};

    fn partial(stages: &[(Stage, StageStatus)], failed: Stage) -> RunReport {
        let mut report = RunReport::begin("web01", Path::new("/srv/web01"));
        let stage = |(stage, status): &(Stage, StageStatus)| StageReport {
            stage: *stage,
            status: *status,
            seconds: 0.0,
        };
        report.stages = stages.iter().map(stage).collect();
        report.outcome = RunOutcome::Partial;
        report.errors.push(Failure {
            stage: failed,
            code: "guest-not-fixed".to_owned(),
            message: "no".to_owned(),
            hint: None,
            by_other_flags: false,
        });
        report
    }

    #[test]
    fn a_partial_run_names_the_stage_that_failed_and_its_exit_code() {
        use StageStatus::{Done, Failed};
        let run = partial(&[(Stage::Export, Done), (Stage::Libvirt, Failed)], Stage::Libvirt);
        let last = |report: &RunReport, strict| report.last_line(strict);
        assert_eq!(
            last(&run, false),
            "exported   web01 to /srv/web01, but libvirt failed (exit code 0; \
             `migrate` or --strict would make it 3)"
        );
        assert_eq!(
            last(&run, true),
            "exported   web01 to /srv/web01, but libvirt failed (exit code 3)"
        );
        let mut fix = partial(&[(Stage::Export, Done), (Stage::Pipeline, Done)], Stage::Pipeline);
        fix.converted = Some(crate::model::ConvertedDisks(Vec::new()));
        assert!(last(&fix, true).ends_with("but FIX failed (exit code 3)"), "{}", last(&fix, true));
        let later = partial(&[(Stage::Start, Failed)], Stage::Start);
        assert!(last(&later, false).ends_with("but start failed (exit code 3)"));
    }
}
