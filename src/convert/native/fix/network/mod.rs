//! Preserves the guest's network. On KVM a card is in another slot, so that `ens192` becomes
//! `enp1s0` and no configuration matches any more; its MAC address stays. So each name that the
//! guest knows is tied to the MAC address of its card.
//!
//! ```text
//! files ──forms──▶ claims ──survey──▶ subjects ──assign──▶ ties ──pin──▶ .link files, rules
//!                                                            └──mend──▶ edits of the files
//! ```
//!
//! Only [`preserve`] accesses the guest; all other functions work on texts. No other part of FIX is
//! needed: the names can be kept in a guest whose boot cannot be fixed.

mod assign;
mod claim;
mod files;
mod forms;
#[cfg(fuzzing)]
pub(super) mod fuzz_forms;
mod interface;
mod mend;
mod naming;
mod pin;
mod place;
mod selection;
mod survey;
mod tell;
mod virtual_names;

use std::collections::{BTreeMap, BTreeSet};

use crate::convert::Error;
use crate::convert::native::guestfs::Guestfs;
use crate::manifest::Manifest;

pub(in crate::convert::native) use self::interface::FoundInterface;

use self::assign::{Assigned, NameEvidence, assign};
use self::claim::Says;
use self::files::NetworkFile;
use self::forms::{Form, Text};
use self::mend::{KnownGuest, Mended, NamedCard, mend};
use self::naming::Naming;
use self::pin::{Keep, Keeper, LinkSettings, Row};
use self::place::Card;
use self::selection::Selection;
use self::survey::Survey;
use super::edits::edited;
use super::{Change, FixReport, TextChange, rewrite};

/// Facts about the guest and its cards.
struct NetworkContext {
    cards: Vec<Card>,
    files: Vec<NetworkFile>,
    says: Vec<Says>,
    naming: Naming,
    survey: Survey,
    assigned: Assigned,
}

/// Ensures that network cards keep their names and their configuration. The domain does not have
/// the cards of `left_out`.
///
/// # Errors
/// [`Error::Guestfs`] when the guest's files cannot be read or written.
pub(super) async fn preserve(
    guestfs: &mut Guestfs,
    manifest: &Manifest,
    left_out: &[String],
    report: &mut FixReport<'_>,
) -> Result<(), Error> {
    let cards = Card::all(&manifest.source_vm(), left_out);
    let files = files::read(guestfs).await?;
    let naming = Naming::of(guestfs, &files).await?;
    let guest = NetworkContext::new(cards, files, naming);
    let rows = guest.rows();
    let keeps = pin::keep(&rows, naming, &guest.survey.taken);
    let mended = guest.mend(&rows, &keeps);
    tell::doubts(&guest, &rows, report);
    let (mut written, mut refused) = (BTreeSet::new(), BTreeSet::new());
    for (found, mended) in guest.files.iter().zip(&mended) {
        match write(guestfs, found, mended, report).await? {
            WriteResult::Changed => written.insert(found.text.path.as_str()),
            WriteResult::Refused => {
                tell::refused(&found.text.path, report);
                refused.insert(found.text.path.as_str())
            }
            WriteResult::Same => false,
        };
    }
    let keeps = guest.without(&refused, &rows, keeps);
    for (index, (row, keep)) in rows.iter().zip(&keeps).enumerate() {
        let kept_by = guest.pin(guestfs, Pinned { index, row, keep }, report).await?;
        let ruled_by = guest.rule_of(index, row).filter(|path| written.contains(path));
        let kept_by = kept_by.or_else(|| ruled_by.map(str::to_owned));
        tell::outcome(row, keep, report);
        report.interfaces.push(interface(row, keep, kept_by));
    }
    Ok(())
}

fn interface(row: &Row, keep: &Keep, kept_by: Option<String>) -> FoundInterface {
    let after = match keep {
        Keep::Renamed(name) | Keep::Kernel(name) => Some(name.clone()),
        Keep::Impossible | Keep::Refused => None,
        _ => row.name.clone().filter(|_| row.position.is_some()),
    };
    FoundInterface {
        mac: row.mac,
        name: row.name.clone(),
        after,
        known_by: row.how.map(NameEvidence::as_str),
        addresses: row.addresses.clone(),
        kept_by,
    }
}

/// The name of a card, and the method that keeps the name.
struct Pinned<'a> {
    index: usize,
    row: &'a Row,
    keep: &'a Keep,
}

impl NetworkContext {
    /// Evaluates the files and assigns the names.
    fn new(cards: Vec<Card>, files: Vec<NetworkFile>, naming: Naming) -> Self {
        let texts: Vec<_> = files.iter().map(|found| &found.text).collect();
        let says = forms::read(&texts);
        let survey = Survey::of(&says, &cards);
        let assigned = assign(&survey, &cards, naming.kernel);
        Self { cards, files, says, naming, survey, assigned }
    }

    /// One row for each card of the VM.
    fn rows(&self) -> Vec<Row> {
        (0..self.cards.len()).map(|index| self.row(index)).collect()
    }

    fn row(&self, index: usize) -> Row {
        let card = &self.cards[index];
        let subjects = &self.survey.subjects;
        let ties: Vec<_> = self.assigned.of_card(index).collect();
        let named = ties.iter().find(|tie| subjects[tie.subject].name.is_some());
        let first = named.or(ties.first()).copied();
        let selected = self.survey.selected.get(&index);
        let mut addresses: Vec<_> =
            ties.iter().flat_map(|tie| subjects[tie.subject].addresses.clone()).collect();
        let turns = || ties.iter().filter_map(|tie| subjects[tie.subject].turn.as_ref());
        addresses.extend(selected.into_iter().flat_map(|own| own.addresses(turns())).cloned());
        addresses.dedup();
        let mut row = Row {
            mac: card.mac,
            name: first.and_then(|tie| subjects[tie.subject].name.clone()),
            how: first.map(|tie| tie.how).or(selected.map(|_| NameEvidence::Hardware)),
            position: card.position,
            addresses,
            is_ruled: false,
            has_ifcfg: false,
        };
        if row.name.is_none()
            && let Some((name, how)) = self.name_for_a_pattern(index, &row)
        {
            (row.name, row.how) = (Some(name), Some(how));
        }
        row.is_ruled = self.rule_of(index, &row).is_some();
        row.has_ifcfg = self.claims().any(|(file, claim)| {
            file.form == Form::Ifcfg
                && file.path.contains("/network-scripts/")
                && claim.names.iter().any(|name| Some(&name.value) == row.name.as_ref())
        });
        row
    }

    fn claims(&self) -> impl Iterator<Item = (&Text, &claim::NameClaim)> {
        let pairs = self.files.iter().map(|found| &found.text).zip(&self.says);
        pairs.flat_map(|(file, says)| says.claims.iter().map(move |claim| (file, claim)))
    }

    /// A name for a card that only a pattern such as `ens*` selects, where the pattern would select
    /// other cards under the names of KVM.
    fn name_for_a_pattern(&self, index: usize, row: &Row) -> Option<(String, NameEvidence)> {
        if self.naming.kernel {
            return None;
        }
        let own = self.survey.selections.iter().filter(|selection| selection.is_of(index));
        let own: Vec<_> = own.collect();
        if self.cards[index].slot.is_some() {
            let named = self.assigned.by_name(&self.survey);
            let is_needed = |name: &String| {
                let needs = own.iter().any(|own| own.needs(name, self.names_on_kvm()));
                needs && !named.contains_key(name.as_str())
            };
            let by_place = self.cards[index].names_by_place().into_iter().find(is_needed);
            return by_place.map(|name| (name, NameEvidence::Slot));
        }
        // A selection by hardware or MAC address means this card, whatever else selects the card.
        let (means, is_else): (Vec<_>, Vec<_>) =
            own.into_iter().partition(|own| own.cards.is_some());
        let lost: Vec<_> = means.into_iter().filter(|own| !self.fits_on_kvm(own)).collect();
        if lost.is_empty() && (row.how.is_some() || self.is_selected_on_kvm(index)) {
            return None;
        }
        let chosen = if lost.is_empty() { is_else } else { lost };
        let patterns: Vec<_> = chosen.iter().flat_map(|own| own.patterns.clone()).collect();
        let fits = |name: &str| chosen.iter().any(|own| own.fits(name));
        let is_free = |name: &String| {
            let has = |card: &Card| card.names_by_place().contains(name);
            !self.survey.taken.contains(name) && !self.cards.iter().any(has)
        };
        place::names_like(&patterns, index, self.cards.len())
            .into_iter()
            .find(|name| virtual_names::is_valid(name) && fits(name) && is_free(name))
            .map(|name| (name, row.how.unwrap_or(NameEvidence::Order)))
    }

    /// Names that cards may get on KVM.
    fn names_on_kvm(&self) -> &'static [&'static str] {
        if self.naming.kernel { &["eth0", "eth1"] } else { &["enp1s0", "ens3"] }
    }

    /// Whether a selection matches cards under the names that they get on KVM.
    fn fits_on_kvm(&self, selection: &Selection) -> bool {
        self.names_on_kvm().iter().all(|name| selection.fits(name))
    }

    /// Whether a configuration selects the card under the name that it gets on KVM.
    fn is_selected_on_kvm(&self, index: usize) -> bool {
        let mut own = self.survey.selections.iter().filter(|own| own.is_of(index));
        own.any(|own| self.fits_on_kvm(own))
    }

    /// The file of the guest with a rule that gives the card its name on KVM too.
    fn rule_of(&self, index: usize, row: &Row) -> Option<&str> {
        let name = row.name.as_deref()?;
        let files = self.files.iter().zip(&self.says);
        let mut ruling = files.filter(|(found, says)| {
            let named = NamedCard { name, card: index };
            let holds = |claim| mend::holds(&found.text, claim, self.naming, named, &self.cards);
            found.is_editable && says.claims.iter().any(holds)
        });
        ruling.next().map(|(found, _)| found.text.path.as_str())
    }

    /// The methods that keep the names of cards, where the guest has rejected changes of the files
    /// in `refused`.
    fn without(&self, refused: &BTreeSet<&str>, rows: &[Row], keeps: Vec<Keep>) -> Vec<Keep> {
        let is_lost = |(index, (row, keep)): (usize, (&Row, &Keep))| {
            let file = match keep {
                Keep::Hwaddr => self.ifcfg_of(row.name.as_deref().unwrap_or_default()),
                _ => self.rule_of(index, row).filter(|_| row.is_ruled),
            };
            file.is_some_and(|path| refused.contains(path))
        };
        let lost: Vec<_> = rows.iter().zip(&keeps).enumerate().map(is_lost).collect();
        let ruled = rows
            .iter()
            .zip(&lost)
            .map(|(row, lost)| Row { is_ruled: row.is_ruled && !lost, ..row.clone() });
        let again = pin::keep(&ruled.collect::<Vec<_>>(), self.naming, &self.survey.taken);
        let of_card = |((keep, again), lost): ((Keep, Keep), bool)| match (lost, again) {
            (false, _) => keep,
            (true, again @ (Keep::Nothing | Keep::Link | Keep::Rule)) => again,
            // The files with the name are written already.
            (true, _) => Keep::Refused,
        };
        keeps.into_iter().zip(again).zip(lost).map(of_card).collect()
    }

    /// The edits of each file.
    fn mend(&self, rows: &[Row], keeps: &[Keep]) -> Vec<Mended> {
        let (mut renames, mut hwaddr) = (BTreeMap::new(), BTreeMap::new());
        for (row, keep) in rows.iter().zip(keeps) {
            match (&row.name, keep, row.mac) {
                (Some(name), Keep::Renamed(new) | Keep::Kernel(new), _) => {
                    renames.insert(name.clone(), new.clone());
                }
                (Some(name), Keep::Hwaddr, Some(mac)) => {
                    hwaddr.insert(name.clone(), mac);
                }
                _ => {}
            }
        }
        let known = KnownGuest {
            cards: &self.cards,
            survey: &self.survey,
            assigned: &self.assigned,
            by_name: &self.assigned.by_name(&self.survey),
            renames: &renames,
            hwaddr: &hwaddr,
        };
        let files = self.files.iter().zip(&self.says);
        files.map(|(found, says)| mend(&found.text, says, &known)).collect()
    }

    /// Cards that no known configuration configures.
    fn uncovered(&self, rows: &[Row]) -> Vec<usize> {
        let is_bare = |index: &usize| {
            let is_tied = self.assigned.of_card(*index).next().is_some();
            let is_selected =
                self.survey.selected.contains_key(index) || self.is_selected_on_kvm(*index);
            let row = &rows[*index];
            row.position.is_some() && row.name.is_none() && !is_tied && !is_selected
        };
        (0..rows.len()).filter(is_bare).collect()
    }

    /// Keeps the name of a card; returns the file that keeps it.
    async fn pin(
        &self,
        guestfs: &mut Guestfs,
        Pinned { index, row, keep }: Pinned<'_>,
        report: &mut FixReport<'_>,
    ) -> Result<Option<String>, Error> {
        let (Some(mac), Some(name)) = (row.mac, row.name.as_deref()) else { return Ok(None) };
        let name = match keep {
            Keep::Renamed(name) => name,
            _ => name,
        };
        match keep {
            Keep::Link | Keep::Rule | Keep::Renamed(_) => {}
            Keep::Hwaddr => return Ok(self.ifcfg_of(name).map(str::to_owned)),
            Keep::Nothing | Keep::Kernel(_) | Keep::Impossible | Keep::Refused => return Ok(None),
        }
        for keeper in pin::keepers(keep, self.naming) {
            let (path, text) = match keeper {
                Keeper::Link => pin::link(mac, name, &self.settings(index)),
                Keeper::Rules(path) => {
                    let old = guestfs.read(path).await?.unwrap_or_default();
                    let gap = if old.is_empty() || old.ends_with('\n') { "" } else { "\n" };
                    (path.to_owned(), format!("{old}{gap}{}", pin::rule(mac, name)))
                }
            };
            let folder = path.rsplit_once('/').map_or("/", |(folder, _)| folder);
            let end = guestfs.modify("making a folder in the guest", &["mkdir-p", folder]).await;
            if report.accept(end)?.is_none() {
                continue;
            }
            let end = guestfs.write(&path, &text).await;
            if report.accept(end)?.is_some() {
                let after = format!("{name} keeps its name");
                report.changes.push(Change::new("network", &path, "", &after));
                return Ok(Some(path));
            }
        }
        tell::not_pinned(name, report);
        Ok(None)
    }

    /// The ifcfg file that configures a card by name.
    fn ifcfg_of(&self, name: &str) -> Option<&str> {
        let is_own = |(file, claim): &(&Text, &claim::NameClaim)| {
            file.form == Form::Ifcfg && claim.names.iter().any(|own| own.value == name)
        };
        self.claims().find(is_own).map(|(file, _)| file.path.as_str())
    }

    /// The settings in the guest's first `.link` file that matches the card.
    fn settings(&self, card: usize) -> LinkSettings {
        let files: Vec<_> = self.files.iter().map(|found| &found.text).collect();
        let found = forms::settings(&files, &self.cards, card);
        found.map(|(file, lines)| LinkSettings { file, lines }).unwrap_or_default()
    }
}

/// The result of writing a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WriteResult {
    Same,
    Changed,
    /// The guest rejected the change.
    Refused,
}

/// Writes the changed file.
async fn write(
    guestfs: &mut Guestfs,
    found: &NetworkFile,
    mended: &Mended,
    report: &mut FixReport<'_>,
) -> Result<WriteResult, Error> {
    let Text { path, text, .. } = &found.text;
    tell::mended(found, mended, report);
    let after = edited(text, &mended.edits);
    let mut written = WriteResult::Same;
    if found.is_editable && after != *text {
        let change = TextChange { what: "network", path, before: text, after: &after };
        let accepted = rewrite(guestfs, change, report).await?;
        written = if accepted { WriteResult::Changed } else { WriteResult::Refused };
    }
    if let Some((from, to)) = &mended.moved {
        for part in ["/ifcfg-", "/ifroute-", "/ifrule-", "/ifsysctl-"] {
            // SUSE's files that belong to an interface are named after it.
            let (from, to) = (from.replace("/ifcfg-", part), to.replace("/ifcfg-", part));
            if guestfs.is_file(&from).await? {
                let end = guestfs.modify("renaming a file of the guest", &["mv", &from, &to]).await;
                if report.accept(end)?.is_some() {
                    report.changes.push(Change::new("network", &from, &from, &to));
                }
            }
        }
    }
    Ok(written)
}

#[cfg(test)]
mod tests;
