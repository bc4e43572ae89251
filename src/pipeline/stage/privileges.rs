//! Compares the privileges that a run's flags need with those of the login, before anything begins.

use super::super::job::{ComesBack, Job};
use super::stage_error::{At, StageError};
use crate::exporter::source::{Source, SourceSettings};
use crate::exporter::{self, Granted, Need, Transport};
use crate::model::{PowerState, SourceAfter, SourceVm, Stage, Warning, WarningCode};

/// Rejects a run whose login lacks a privilege; `exports` states whether disks are downloaded.
/// Warns if the server does not report privileges.
///
/// # Errors
/// [`StageError`] with all missing privileges.
pub(in crate::pipeline) async fn check(
    source: &Source,
    job: &Job,
    vm: &SourceVm,
    exports: bool,
) -> Result<Option<Warning>, StageError> {
    let (Source::VSphere(server), SourceSettings::VSphere(settings)) = (source, &job.source) else {
        return Ok(None);
    };
    let needs = needs(job, vm, exports.then_some(settings.transport));
    if needs.is_empty() {
        return Ok(None);
    }
    let folder = job.source_after.iter().find_map(|after| match after {
        SourceAfter::Folder(path) => Some(path.as_str()),
        _ => None,
    });
    let Some(granted) = server.granted(vm, folder).await.at(Stage::Preflight)? else {
        let text = format!(
            "the privileges of {} are unknown: the server does not report them, and a lack shows \
             only later",
            settings.username
        );
        return Ok(Some(Warning::new(Stage::Preflight, WarningCode::PrivilegesNotKnown, text)));
    };
    let lacking: Vec<_> = needs.iter().flat_map(|ways| of_ways(&granted, ways)).collect();
    if lacking.is_empty() {
        return Ok(None);
    }
    let (username, uses) = (settings.username.clone(), uses(job, settings));
    let error = exporter::Error::LacksPrivileges { username, lacking, uses };
    Err(StageError::of(Stage::Preflight, &error))
}

/// Needs of a run: each entry lists alternatives, one of which is sufficient.
fn needs(job: &Job, vm: &SourceVm, exports: Option<Transport>) -> Vec<Vec<Need>> {
    let mut needs = Vec::new();
    if let Some(transport) = exports {
        let runs = vm.power == PowerState::On;
        let snapshot = runs && job.snapshot.is_some();
        needs.push(match transport {
            Transport::Datastore => vec![Need::Datastore],
            // Without a lease, the datastore is read, which is impossible for a running VM.
            Transport::Auto if !snapshot => vec![Need::Export, Need::Datastore],
            Transport::Auto | Transport::Nfc => vec![Need::Export],
        });
        if snapshot {
            needs.push(vec![Need::Snapshot]);
        }
        if runs && job.power_off.is_some() {
            needs.push(vec![Need::PowerOff]);
            if job.comes_back != ComesBack::Never {
                needs.push(vec![Need::PowerOn]);
            }
        }
    }
    needs.extend(job.source_after.iter().map(|after| {
        vec![match after {
            SourceAfter::DisconnectNics => Need::DisconnectNics,
            SourceAfter::Rename(_) => Need::Rename,
            SourceAfter::Folder(_) => Need::Folder,
            SourceAfter::Tag { .. } => Need::Tag,
            SourceAfter::Note => Need::Note,
        }]
    }));
    needs
}

/// Missing privileges of the first alternative, if none is available.
fn of_ways(granted: &Granted, ways: &[Need]) -> Vec<String> {
    let lacking: Vec<_> = ways.iter().map(|need| granted.lacks(*need)).collect();
    match lacking.iter().any(Vec::is_empty) {
        true => Vec::new(),
        false => lacking.into_iter().next().unwrap_or_default(),
    }
}

/// The uses, in the notation of `hyperexport role --for`.
fn uses(job: &Job, settings: &exporter::Settings) -> String {
    let by_datastore = settings.transport == Transport::Datastore;
    let uses = [
        ("datastore", by_datastore),
        ("export", !by_datastore),
        ("snapshot", job.snapshot.is_some()),
        ("power-off", job.power_off.is_some()),
        ("source-after", !job.source_after.is_empty()),
    ];
    let uses = uses.into_iter().filter_map(|(name, is_asked)| is_asked.then_some(name));
    uses.collect::<Vec<_>>().join(",")
}
