//! Warnings: unknown facts about the guest's network, and places that the administrator has to
//! check.

use crate::model::{MacAddress, WarningCode};

use super::assign::NameEvidence;
use super::files::NetworkFile;
use super::mend::Mended;
use super::pin::{Keep, Row};
use super::{FixReport, NetworkContext};

/// Warns of unknown facts.
pub(super) fn doubts(guest: &NetworkContext, rows: &[Row], report: &mut FixReport<'_>) {
    for (found, says) in guest.files.iter().zip(&guest.says) {
        if let Some(fault) = &says.fault {
            let path = &found.text.path;
            let text = format!("{path} of the guest cannot be read: {fault}");
            report.warn(WarningCode::GuestNetworkNotRead, text);
        }
    }
    let subjects = &guest.survey.subjects;
    let name = |index: &usize| subjects[*index].name.clone().unwrap_or_default();
    let mut in_doubt: Vec<_> = guest.assigned.in_doubt.iter().map(name).collect();
    // Names that were invented for a pattern are no subjects.
    let by_order = rows.iter().filter(|row| row.how == Some(NameEvidence::Order));
    for name in by_order.filter_map(|row| row.name.as_ref()) {
        if !in_doubt.contains(name) {
            in_doubt.push(name.clone());
        }
    }
    if !in_doubt.is_empty() {
        let text = format!(
            "which network card has which name was decided by the order of the cards: check {}",
            in_doubt.join(", ")
        );
        report.warn(WarningCode::GuestNetworkByOrder, text);
    }
    let uncovered = guest.uncovered(rows);
    if !guest.survey.is_configured {
        if !uncovered.is_empty() {
            stale_rules(guest, report);
        }
        return;
    }
    for index in &uncovered {
        let card = card(rows[*index].mac, *index);
        let text = format!("no network configuration of the guest is known to be of {card}");
        report.warn(WarningCode::GuestNetworkCardWithoutName, text);
    }
    // An interface that stays down belonged to a removed card, unless a card has no name.
    let open = subjects.iter().enumerate().filter(|(index, subject)| {
        let counts = subject.is_active || !uncovered.is_empty();
        subject.is_configured && counts && guest.assigned.card_of(*index).is_none()
    });
    let names: Vec<_> = open.filter_map(|(_, subject)| subject.name.clone()).collect();
    if !names.is_empty() {
        let text = format!(
            "the guest configures {}, and no card of the VM is known to have that name: \
             the configuration may have no effect on KVM",
            names.join(", ")
        );
        report.warn(WarningCode::GuestNetworkNameWithoutCard, text);
    }
}

/// Warns of names that rules give to MAC addresses which no card has, in a guest with unknown
/// configuration. One of them may have been the name of its card.
fn stale_rules(guest: &NetworkContext, report: &mut FixReport<'_>) {
    let subjects = guest.survey.subjects.iter().enumerate();
    let stale = subjects.filter(|(index, subject)| {
        !subject.ruled_macs.is_empty() && guest.assigned.card_of(*index).is_none()
    });
    let names: Vec<_> = stale.filter_map(|(_, subject)| subject.name.clone()).collect();
    if !names.is_empty() {
        let text = format!(
            "rules of the guest give {} to MAC addresses that no card of the VM has, and nothing \
             tells which card is meant: set the addresses in the guest's rules of udev",
            names.join(", ")
        );
        report.warn(WarningCode::GuestNetworkStaleMac, text);
    }
}

/// Warns of the problems found in one file.
pub(super) fn mended(found: &NetworkFile, mended: &Mended, report: &mut FixReport<'_>) {
    let path = &found.text.path;
    for lost in &mended.lost {
        let text = format!(
            "{path} of the guest selects a network card by {lost}, which no card has on KVM"
        );
        report.warn(WarningCode::GuestNetworkByHardware, text);
    }
    for (old, new) in &mended.stale {
        let text = format!(
            "{path} of the guest selects a network card by MAC address {old}, which no card of the \
             VM has: replaced by {new}"
        );
        report.warn(WarningCode::GuestNetworkStaleMac, text);
    }
    for old in &mended.unknown {
        let text = format!(
            "{path} of the guest selects a network card by MAC address {old}, which no card of the \
             VM has, and nothing tells which card is meant: set the address in that file"
        );
        report.warn(WarningCode::GuestNetworkStaleMac, text);
    }
    if mended.is_stuck || !found.is_editable && !mended.edits.is_empty() {
        let why =
            if mended.is_stuck { "names a card that has another name now" } else { "is not UTF-8" };
        let text = format!("{path} of the guest {why} and was not changed: check the file");
        report.warn(WarningCode::GuestNetworkNotChanged, text);
    }
}

/// Reports how a card's name is kept.
pub(super) fn outcome(row: &Row, keep: &Keep, report: &mut FixReport<'_>) {
    let name = row.name.as_deref().unwrap_or_default();
    match keep {
        Keep::Renamed(new) | Keep::Kernel(new) => {
            let text = format!(
                "{name} of the guest is now {new}, since the kernel gives {name} to another card: \
                 check firewall rules and services that name {name}"
            );
            report.warn(WarningCode::GuestNetworkRenamed, text);
        }
        Keep::Impossible => {
            let why = match row.mac {
                None => "the card has no MAC address",
                Some(_) => "the guest has no udev",
            };
            let text = format!("{name} of the guest may get another name on KVM: {why}");
            report.warn(WarningCode::GuestNetworkNotPinned, text);
        }
        Keep::Refused => not_pinned(name, report),
        Keep::Nothing | Keep::Link | Keep::Rule | Keep::Hwaddr => {}
    }
}

/// Warns of a file whose change the guest rejected.
pub(super) fn refused(path: &str, report: &mut FixReport<'_>) {
    let text = format!(
        "{path} of the guest cannot be changed and still describes the network cards of VMware: \
         check the file"
    );
    report.warn(WarningCode::GuestNetworkNotChanged, text);
}

/// Warns of a name that no file of the guest can keep.
pub(super) fn not_pinned(name: &str, report: &mut FixReport<'_>) {
    let text = format!(
        "{name} of the guest may get another name on KVM: the file that would keep the name \
         cannot be written"
    );
    report.warn(WarningCode::GuestNetworkNotPinned, text);
}

fn card(mac: Option<MacAddress>, index: usize) -> String {
    match mac {
        Some(mac) => format!("network card {} ({mac}) of the VM", index + 1),
        None => format!("network card {} of the VM", index + 1),
    }
}
