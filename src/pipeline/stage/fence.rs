//! Removes a domain that must not be started, since its source was powered on in the meantime:
//! nobody may start it by hand from outdated disks.

use super::super::job::ImportSettings;
use super::super::output::made::Undone;
use super::stage_runner::StageRunner;
use crate::libvirt::{self, UndoReport};
use crate::model::{Stage, Warning, WarningCode, chain};

/// Undoes the domain that this run has defined. Objects that stay are reported as warnings.
pub(in crate::pipeline) async fn take_back(target: &ImportSettings, ledger: &mut StageRunner<'_>) {
    let Some(domain) = ledger.report.domain.clone() else { return };
    let undone = async {
        let connection = target.connections.open(&target.settings).await?;
        connection.take_back(&domain.undo).await
    };
    let undone: Result<UndoReport, libvirt::Error> = undone.await;
    match undone {
        Ok(taken) => {
            ledger.progress.note(format!("removed domain '{}': its source has run", domain.name));
            let left =
                taken.left.iter().map(|what| format!("{what} of the domain was not removed"));
            let warn = |text| Warning::new(Stage::Start, WarningCode::NotTakenBack, text);
            ledger.warn_all(left.map(warn).collect::<Vec<_>>());
            let at = jiff::Timestamp::now();
            ledger.report.undone = Some(Undone { at, left: taken.left, shared: taken.shared });
        }
        Err(error) => {
            let text = format!(
                "domain '{}' was not removed: {}; run hyperexport undo {}",
                domain.name,
                chain(&error),
                ledger.report.output.display()
            );
            ledger.warn(Warning::new(Stage::Start, WarningCode::NotTakenBack, text));
        }
    }
}
