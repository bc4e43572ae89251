//! A run's report for a person.

use std::path::Path;

use super::report::{Outcome, RunReport, StageStatus};
use crate::libvirt::{DefinedDomain, Seen};
use crate::model::ByteSize;

impl RunReport {
    /// What a person wants to know at the end, line by line.
    pub fn summary(&self) -> Vec<String> {
        if !self.plan.is_empty() {
            return self.plan.clone();
        }
        let mut lines = Vec::new();
        for disk in &self.disks {
            lines.push(format!(
                "exported   {}  {} ({} of {})",
                disk.id,
                disk.path.display(),
                disk.file_size,
                disk.capacity
            ));
        }
        if let Some(nvram) = &self.nvram {
            lines.push(format!("exported   nvram   {}", nvram.path.display()));
        }
        if let Some(package) = &self.package {
            lines.push(format!("packed     {} ({})", package.path.display(), package.size));
        }
        for disk in self.converted.iter().flat_map(|disks| &disks.0) {
            let path = disk.path.display();
            lines.push(format!("converted  {}  {path} ({})", disk.id, disk.allocated));
        }
        if let Some(domain) = &self.domain {
            let autostart = if domain.autostart { ", starts with its host" } else { "" };
            lines.push(format!("domain     {} ({}{autostart})", domain.name, domain.uuid));
        }
        lines.extend(self.domain.iter().flat_map(after));
        lines.push(self.last_line());
        lines
    }

    fn last_line(&self) -> String {
        let seconds = self.finished_at.duration_since(self.started_at).as_secs_f64();
        let size: u64 = self.disks.iter().map(|disk| disk.file_size.0).sum();
        let place = display_name(&self.output);
        match self.outcome {
            Outcome::Done if size == 0 => format!("done       {} in {seconds:.0} s", self.vm),
            Outcome::Done => {
                format!("done       {} in {seconds:.0} s, {} in {place}", self.vm, ByteSize(size))
            }
            Outcome::Partial => {
                let failed = self.stages.iter().find(|stage| stage.status == StageStatus::Failed);
                let stage = failed.map_or("a later stage", |stage| stage.stage.as_str());
                format!("exported   {} to {place}, but {stage} failed", self.vm)
            }
            Outcome::Failed => format!("failed     {} after {seconds:.0} s", self.vm),
            Outcome::Refused => format!("refused    {}: nothing was changed", self.vm),
            Outcome::Interrupted => format!("stopped    {} after {seconds:.0} s", self.vm),
        }
    }
}

/// What was done with a domain after its definition.
fn after(domain: &DefinedDomain) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(snapshot) = &domain.snapshot {
        lines.push(format!("snapshot   {} of {}", snapshot.name, domain.name));
    }
    let mut seen = |what: &str, seen: &Seen| {
        lines
            .push(format!("{what:<10} {}: {} after {:.0} s", domain.name, seen.sign, seen.seconds));
    };
    domain.boot_test.iter().for_each(|test| seen("tested", test));
    domain.boot_proof.iter().for_each(|proof| seen("proved", proof));
    domain.started.iter().for_each(|start| seen("started", start));
    lines
}

fn display_name(path: &Path) -> String {
    path.display().to_string()
}
