//! What the login must be allowed for the flags of a run, compared before anything begins with what
//! it is allowed.

use super::super::job::{ComesBack, Job};
use super::stage_error::{At, StageError};
use crate::exporter::source::{Source, SourceSettings};
use crate::exporter::{self, Granted, Need, Transport};
use crate::model::{PowerState, SourceAfter, SourceVm, Stage, Warning, WarningCode};

/// Refuses a run whose login lacks a privilege; `exports` says whether disks leave the source.
/// Warns where the server does not tell.
///
/// # Errors
/// [`StageError`] with every privilege that is lacking.
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

/// What a run needs: of each entry one of the ways that it lists.
fn needs(job: &Job, vm: &SourceVm, exports: Option<Transport>) -> Vec<Vec<Need>> {
    let mut needs = Vec::new();
    if let Some(transport) = exports {
        let runs = vm.power == PowerState::On;
        let snapshot = runs && job.snapshot.is_some();
        needs.push(match transport {
            Transport::Datastore => vec![Need::Datastore],
            // No lease, and the datastore is read; that of a running VM cannot be.
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

/// What is lacking of the first way, if none of them is open.
fn of_ways(granted: &Granted, ways: &[Need]) -> Vec<String> {
    let lacking: Vec<_> = ways.iter().map(|need| granted.lacks(*need)).collect();
    match lacking.iter().any(Vec::is_empty) {
        true => Vec::new(),
        false => lacking.into_iter().next().unwrap_or_default(),
    }
}

/// The kinds of use, as `hyperexport role --for` takes them.
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
