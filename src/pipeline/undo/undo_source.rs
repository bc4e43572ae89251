//! The part of `hyperexport undo` at the source: undoes the steps of `--source-after`, and powers a
//! VM on again. Both need a login, which a result does not contain.

use std::path::{Path, PathBuf};

use super::super::output::held::identity;
use super::super::output::made::{Returned, SourceNow};
use super::super::output::output_lock::{OutputDir, SwitchedOff};
use super::super::output::records::{self, Record};
use super::super::output::report::{self, RunReport};
use super::super::stage::source_power::{domain_may_run, of_folder};
use super::taken_back::{TakenBackRuns, UndoOptions};
use crate::exporter::source::{Error as SourceError, Source, SourceSettings};
use crate::libvirt::Connections;
use crate::model::{Hint, PowerState, SourceVm, chain};
use crate::pipeline::output::result_file::read_result;
use crate::pipeline::output::save::save;
use crate::progress::Progress;

/// Options for the source.
#[derive(Debug, Clone, Default)]
pub struct AtSource {
    /// Connection to the source; without it, nothing is done there.
    pub settings: Option<SourceSettings>,
    /// Whether to power on a VM that a run has powered off.
    pub power_on: bool,
}

/// Steps that are still to be undone at the source.
struct Owed {
    /// Report with the steps, and its path; `None` for a killed run.
    report: Option<(PathBuf, RunReport)>,
    /// VM that a killed run has powered off.
    killed: Option<SwitchedOff>,
}

/// Whether anything is to be undone at the source.
pub(in crate::pipeline) fn is_owed(output: &Path, asked: &AtSource) -> bool {
    let owed = Owed::of(output, &[]);
    owed.steps() > 0 || asked.power_on && owed.is_off()
}

/// Undoes the steps of the undone runs at the source, and adds the results to `all`.
pub(in crate::pipeline) async fn at_source(
    output: &Path,
    asked: &AtSource,
    how: &UndoOptions,
    all: &mut TakenBackRuns,
) {
    let runs: Vec<_> = all.runs.iter().map(|run| run.run.clone()).collect();
    let mut owed = Owed::of(output, &runs);
    let name = owed.name();
    if owed.steps() == 0 && !(owed.is_off() && asked.power_on) {
        if let Some(settings) = asked.settings.as_ref().filter(|_| owed.is_off()) {
            all.notes.push(owed.power_now(settings).await);
            return;
        }
        if let Some(killed) = &owed.killed {
            all.notes.push(format!(
                "source {} was switched off by a killed run: --power-on-source powers it on",
                killed.name
            ));
        }
        return;
    }
    let Some(settings) = &asked.settings else {
        let lines = owed.lines();
        let hint = "pass --url or --source and the login to undo that";
        all.taken.left.extend(lines.iter().map(|line| format!("source {name} {line}: {hint}")));
        return;
    };
    if how.dry_run {
        let lines = owed.lines();
        all.taken.would_go.extend(lines.iter().map(|line| format!("source {name} {line}")));
        if asked.power_on && owed.is_off() {
            all.taken.would_go.push(format!("source {name} switched off: it would be powered on"));
        }
        return;
    }
    if let Err(error) = owed.undo(output, settings, asked.power_on, all).await {
        all.taken.left.push(format!("source {name}: {}", chain(&error)));
        all.notes.extend(error.hint());
    }
}

impl Owed {
    /// Steps of the newest of these runs, or of the directory's result if that has any.
    fn of(output: &Path, runs: &[String]) -> Self {
        let killed = OutputDir::left_off(output).ok().flatten();
        let records = records::all(output).unwrap_or_default();
        let of_run = |record: &Record| runs.first().is_none_or(|run| *run == record.id);
        let recorded = records.into_iter().find(of_run).map(|found| (found.path, found.report));
        let recorded = Self { report: recorded, killed };
        if recorded.steps() > 0 || recorded.is_off() {
            return recorded;
        }
        let path = output.join(report::FILE_NAME);
        let result = read_result(&path).ok().flatten().map(|result| (path, result));
        Self { report: result.or(recorded.report), ..recorded }
    }

    fn source(&self) -> Option<&SourceNow> {
        self.report.as_ref()?.1.source.as_ref()
    }

    fn steps(&self) -> usize {
        self.source().map_or(0, |source| source.after.len())
    }

    /// Whether the VM was powered off and, as far as known, not powered on again.
    fn is_off(&self) -> bool {
        self.killed.is_some() || self.source().is_some_and(SourceNow::is_left_off)
    }

    fn name(&self) -> String {
        let of_report = self.report.as_ref().map(|(_, report)| report.vm.clone());
        let killed = self.killed.as_ref().map(|killed| killed.name.clone());
        killed.or(of_report).unwrap_or_default()
    }

    fn lines(&self) -> Vec<String> {
        let steps = self.source().into_iter().flat_map(|source| &source.after);
        steps.map(ToString::to_string).collect()
    }

    async fn undo(
        &mut self,
        output: &Path,
        settings: &SourceSettings,
        power_on: bool,
        all: &mut TakenBackRuns,
    ) -> Result<(), SourceError> {
        let source = settings.open().await?;
        let done = async {
            let vm = self.vm(&source).await?;
            let Some(vm) = vm else {
                let name = self.name();
                all.taken.left.push(format!("source {name}: this login has another VM of its id"));
                return Ok(());
            };
            self.undo_steps(&source, &vm, all).await?;
            if power_on && self.is_off() {
                self.power_on(&source, output, &vm, all).await?;
            }
            Ok(())
        };
        let done = done.await;
        source.leave().await;
        self.save(output, all);
        done
    }

    /// Describes whether a VM that a run has powered off is on now.
    async fn power_now(&self, settings: &SourceSettings) -> String {
        let asked = async {
            let source = settings.open().await?;
            let vm = self.vm(&source).await;
            source.leave().await;
            vm
        };
        let was = format!("source {} was powered off by this run", self.name());
        match asked.await {
            Ok(Some(vm)) if vm.power == PowerState::On => format!("{was}, and is on again"),
            Ok(Some(vm)) if vm.power == PowerState::Off => {
                format!("{was}, and is still off; --power-on-source powers it on")
            }
            Ok(Some(vm)) => format!("{was}, and is {} now", vm.power.as_str()),
            Ok(None) => format!("{was}; this login has another VM of its id"),
            Err(error) => format!("{was}; whether it is on now is not known: {}", chain(&error)),
        }
    }

    /// The current VM, if it is the exported one: another vCenter may use the same ids.
    async fn vm(&self, source: &Source) -> Result<Option<SourceVm>, SourceError> {
        if let Some(killed) = &self.killed {
            let vm = source.inspect(&killed.id).await?.vm;
            return Ok((identity(&vm) == killed.vm).then_some(vm));
        }
        let exported = self.report.as_ref().and_then(|(_, report)| report.export.as_ref());
        let Some(exported) = exported.map(|taken| &taken.vm) else { return Ok(None) };
        let vm = source.inspect(&exported.id).await?.vm;
        let same = vm.instance_uuid == exported.instance_uuid && vm.provider == exported.provider;
        Ok(same.then_some(vm))
    }

    /// Undoes the steps, the last one first. A failed step stays, with all steps before it.
    async fn undo_steps(
        &mut self,
        source: &Source,
        vm: &SourceVm,
        all: &mut TakenBackRuns,
    ) -> Result<(), SourceError> {
        let Some((_, report)) = &mut self.report else { return Ok(()) };
        let name = report.vm.clone();
        let Some(now) = &mut report.source else { return Ok(()) };
        while let Some(step) = now.after.last() {
            let told = format!("source {name} {step}");
            match source.undo_step(vm, step).await? {
                true => all.taken.done.push(told),
                false => all.taken.gone.push(told),
            }
            now.after.pop();
            // The revision has changed through the undo.
            now.left_at = None;
        }
        Ok(())
    }

    async fn power_on(
        &mut self,
        source: &Source,
        output: &Path,
        vm: &SourceVm,
        all: &mut TakenBackRuns,
    ) -> Result<(), SourceError> {
        let records = records::all(output).unwrap_or_default();
        let domains = of_folder(output, &records);
        if let Some(why) = domain_may_run(domains, &Connections::default()).await {
            all.taken.left.push(format!("source {} switched off: {why}", vm.name));
            return Ok(());
        }
        source.power_on(vm, &Progress::none()).await?;
        all.taken.done.push(format!("source {} switched off: it is on again", vm.name));
        if let Some(now) = self.report.as_mut().and_then(|(_, report)| report.source.as_mut()) {
            now.returned = Some(Returned::On);
        }
        if self.killed.take().is_some()
            && let Err(error) = OutputDir::take(output).and_then(|claim| claim.switched_on())
        {
            all.notes.push(format!("recording that it is on: {}", chain(&error)));
        }
        Ok(())
    }

    fn save(&self, output: &Path, all: &mut TakenBackRuns) {
        let Some((path, report)) = &self.report else { return };
        let record = Record { path: path.clone(), ..Record::of(report.clone()) };
        let saved = match report.run.is_some() {
            true => record.rewrite(output),
            false => serde_json::to_vec_pretty(report)
                .map_err(Into::into)
                .and_then(|text| save(path, &text)),
        };
        if let Err(error) = saved {
            all.notes.push(format!("{} does not record what was undone: {error}", path.display()));
        }
    }
}
