//! Detects who uses a file: a domain whose XML names the file, or an overlay based on the file.
//! Covers all runs and all storage pools.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::{Path, PathBuf};

use virt::connect::Connect;
use virt::domain::Domain;
use virt::storage_pool::StoragePool;
use virt::sys;

use crate::domain::DiskKind;
use crate::image;

use super::super::Error;
use super::super::guest::{identity, replace};
use super::super::hint_words::word;
use super::super::storage::found_volume::{begins_as, find_volume};
use super::super::storage::pool;
use super::super::xml::sources;
use super::step_result::said;
use super::undo_step::{Evidence, Undo};
use super::{undo_way, used};

/// User of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::libvirt) enum OwningUser {
    /// A domain, by its name.
    Domain(String),
    /// An overlay that no domain uses yet, by its path.
    Overlay(String),
}

impl fmt::Display for OwningUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Domain(name) => write!(f, "another domain uses it: '{name}'"),
            Self::Overlay(path) => write!(f, "{path} is an overlay of it"),
        }
    }
}

impl OwningUser {
    /// As a clause, for a volume that is not part of our domains.
    pub fn clause(&self) -> String {
        match self {
            Self::Domain(name) => format!("domain '{name}' uses it"),
            Self::Overlay(_) => self.to_string(),
        }
    }
}

/// Files that our domains use, and users of other files.
pub(in crate::libvirt) struct Owners {
    ours: HashSet<String>,
    others: HashMap<String, OwningUser>,
    /// Present names of our domains by their UUIDs.
    names: HashMap<String, String>,
    /// Whether the files are on this machine.
    local: bool,
    /// Evidence that the steps are those of a hyperexport run.
    evidence: Evidence,
    /// Present names of domains that steps name but no run of ours has created, by their UUIDs.
    strangers: HashMap<String, String>,
}

impl Owners {
    /// Fails if a domain of the steps cannot be undefined now.
    ///
    /// # Errors
    /// As [`undo_way::check`]; [`Error::Call`].
    pub fn look(
        connect: &Connect,
        steps: &[Undo],
        evidence: Evidence,
        local: bool,
    ) -> Result<Self, Error> {
        let owners = Self::by(connect, steps, evidence, local)?;
        // A domain that stays need not be undefinable.
        let ours = |step: &&Undo| match step {
            Undo::Undefine { uuid, .. } => !owners.strangers.contains_key(uuid),
            _ => true,
        };
        let steps: Vec<_> = steps.iter().filter(ours).cloned().collect();
        undo_way::check(connect, &steps)?;
        Ok(owners)
    }

    /// As [`Self::look`], without the check that our domains can be undefined.
    ///
    /// # Errors
    /// [`Error::Call`].
    pub fn of(connect: &Connect, steps: &[Undo], local: bool) -> Result<Self, Error> {
        Self::by(connect, steps, Evidence::Seal, local)
    }

    fn by(
        connect: &Connect,
        steps: &[Undo],
        evidence: Evidence,
        local: bool,
    ) -> Result<Self, Error> {
        let mut owners = Self { evidence, ..Self::new(local) };
        for domain in connect.list_all_domains(0).map_err(Error::call("listing domains"))? {
            owners.add(&domain, steps);
        }
        if steps.iter().any(Undo::is_of_volume) {
            let going: HashSet<_> = steps.iter().filter_map(|step| path(connect, step)).collect();
            owners.follow(&overlays(connect, local), &going);
        }
        Ok(owners)
    }

    fn new(local: bool) -> Self {
        let (ours, others, names) = (HashSet::new(), HashMap::new(), HashMap::new());
        let strangers = HashMap::new();
        Self { ours, others, names, local, evidence: Evidence::Seal, strangers }
    }

    fn add(&mut self, domain: &Domain, steps: &[Undo]) {
        // A domain that vanishes meanwhile no longer uses anything.
        let (Ok(uuid), Ok(xml)) = (domain.uuid_string(), domain.xml_desc(0)) else { return };
        let name = domain.name().unwrap_or_else(|_| uuid.clone());
        let named = steps.iter().find_map(|step| match step {
            Undo::Undefine { uuid: ours, mark, .. } if *ours == uuid => Some(mark.as_deref()),
            _ => None,
        });
        let is_ours = named.is_some_and(|mark| match self.evidence {
            Evidence::Seal => identity::has_mark(&xml, mark),
            Evidence::Marks => {
                let metadata = identity::metadata(domain).ok().flatten();
                identity::is_proved(metadata.as_deref(), mark)
            }
        });
        if named.is_some() && !is_ours {
            self.strangers.insert(uuid.clone(), name.clone());
        }
        let mut files = sources::files(&xml);
        if self.local {
            // libvirt lists the backing files of a disk only while its domain runs.
            files.extend(files.clone().iter().flat_map(|file| below(file)));
        }
        if is_ours {
            self.ours.extend(files);
            self.names.insert(uuid, name);
        } else {
            self.others
                .extend(files.into_iter().map(|file| (file, OwningUser::Domain(name.clone()))));
        }
    }

    /// Adds the backing files of overlays: a user of an overlay needs its backing file too. An
    /// overlay that no domain uses and no step removes may still be in use.
    fn follow(&mut self, overlays: &[(String, String)], going: &HashSet<String>) {
        loop {
            let before = (self.ours.len(), self.others.len());
            for (above, below) in overlays {
                if self.ours.contains(above) {
                    self.ours.insert(below.clone());
                }
                let user = match self.others.get(above) {
                    Some(user) => Some(user.clone()),
                    None if !going.contains(above) => Some(OwningUser::Overlay(above.clone())),
                    None => None,
                };
                if let Some(user) = user.filter(|_| !self.others.contains_key(below)) {
                    self.others.insert(below.clone(), user);
                }
            }
            if before == (self.ours.len(), self.others.len()) {
                return;
            }
        }
    }

    /// User of the file other than our domains.
    pub fn user_of(&self, path: &str) -> Option<&OwningUser> {
        let real = || real(path).filter(|_| self.local);
        self.others.get(path).or_else(|| self.others.get(&real()?))
    }

    /// Describes the object of a step, with the present name of its domain.
    pub fn label(&self, step: &Undo) -> String {
        match step {
            Undo::Undefine { name, uuid, .. } => {
                match (self.names.get(uuid), self.strangers.get(uuid)) {
                    (Some(now), _) if now != name => format!("domain '{now}', which was '{name}'"),
                    (None, Some(now)) if now != name => {
                        format!("domain '{now}', which the record calls '{name}'")
                    }
                    _ => step.to_string(),
                }
            }
            _ => step.to_string(),
        }
    }

    /// Why the object of a step must stay; `None` if it may be removed.
    ///
    /// # Errors
    /// Message of libvirt.
    pub fn reason(&self, connect: &Connect, step: &Undo) -> Result<Option<String>, String> {
        if self.evidence == Evidence::Marks
            && let Some(reason) = self.unproved(connect, step)?
        {
            return Ok(Some(reason));
        }
        match step {
            Undo::DeleteVolume { name, pool, image, begins } => {
                let Some(volume) = find_volume(connect, pool, name)? else { return Ok(None) };
                let path = volume.path().map_err(said)?;
                Ok(match self.user_of(&path) {
                    Some(user) => Some(user.to_string()),
                    None if self.ours.contains(&path)
                        || self.evidence == Evidence::Seal
                            && begins_as(connect, &volume, image.as_deref(), *begins) =>
                    {
                        None
                    }
                    None => Some(format!(
                        "it may be another by now: 'virsh vol-delete --pool {pool} {name}' removes it"
                    )),
                })
            }
            Undo::RemoveFile { path, .. } => {
                Ok(self.user_of(&path.to_string_lossy()).map(OwningUser::to_string))
            }
            _ => Ok(None),
        }
    }
}

/// Checks for steps that only marks on their objects can prove.
impl Owners {
    /// Why the object of a step stays: no mark proves that a run of ours created it.
    fn unproved(&self, connect: &Connect, step: &Undo) -> Result<Option<String>, String> {
        let of_ours = |uuid: &str| self.names.contains_key(uuid);
        Ok(match step {
            Undo::Undefine { uuid, .. } => self.strangers.get(uuid).map(|now| {
                format!(
                    "the mark of that run is not in its metadata, so another has made it: \
                     'virsh undefine --nvram {}' removes it",
                    word(now)
                )
            }),
            Undo::DropSnapshot { uuid, .. } | Undo::Stop { uuid, .. } => {
                (!of_ours(uuid)).then(|| "its domain is not that of this run".to_owned())
            }
            Undo::BringBack { name, aside, uuid, .. } => {
                let domain = identity::find(connect, uuid, None).map_err(said)?;
                let metadata = domain.map(|domain| identity::metadata(&domain)).transpose();
                let is_ours = metadata.map_err(said)?.is_none_or(|found| found.is_some());
                let fits = replace::is_aside(name, aside);
                (!is_ours || !fits).then(|| "no run of hyperexport has set it aside".to_owned())
            }
            Undo::RemoveFile { path, pool, .. } => {
                (!lies_in(connect, path, pool)).then(|| format!("it does not lie in pool '{pool}'"))
            }
            Undo::RemovePool { name, uuid, .. } => {
                let there = connect.lookup_storage_pool_by_uuid_string(uuid).is_ok();
                there.then(|| {
                    format!(
                        "nothing proves that this run has made it: 'virsh pool-destroy {0}' and \
                         'virsh pool-undefine {0}' remove it",
                        word(name)
                    )
                })
            }
            Undo::Defined { .. }
            | Undo::DeleteVolume { .. }
            | Undo::StopPool { .. }
            | Undo::RemoveFolder { .. } => None,
        })
    }
}

/// Whether a file is directly in the folder of the pool of that name. Blocks.
fn lies_in(connect: &Connect, path: &Path, pool: &str) -> bool {
    let Ok(handle) = connect.lookup_storage_pool_by_name(pool) else { return false };
    let folder = pool::describe(&handle, pool).ok().and_then(|place| place.dir.canonicalize().ok());
    let around = path.parent().and_then(|parent| parent.canonicalize().ok());
    folder.is_some() && folder == around
}

/// User of a volume, if there is one. Blocks.
///
/// # Errors
/// [`Error::Call`].
pub(in crate::libvirt) fn user_of(
    connect: &Connect,
    path: &str,
    local: bool,
) -> Result<Option<OwningUser>, Error> {
    let mut owners = Owners::of(connect, &[], local)?;
    owners.follow(&overlays(connect, local), &HashSet::new());
    Ok(owners.user_of(path).cloned())
}

/// Path of the volume or file that a step removes.
pub(in crate::libvirt) fn path(connect: &Connect, step: &Undo) -> Option<String> {
    match step {
        Undo::DeleteVolume { name, pool, .. } => {
            find_volume(connect, pool, name).ok().flatten()?.path().ok()
        }
        Undo::RemoveFile { path, .. } => Some(path.to_string_lossy().into_owned()),
        _ => None,
    }
}

/// Paths of the backing files of a local file, and the path of the file itself without links.
fn below(file: &str) -> Vec<String> {
    let mut found: Vec<PathBuf> = Vec::new();
    let mut next = Some(PathBuf::from(file));
    // A chain that contains one of its own files is broken, and ends there.
    while let Some(path) = next.filter(|path| !found.contains(path)) {
        let is_file = path.metadata().is_ok_and(|found| found.is_file());
        next = is_file.then(|| image::backing_file(&path).ok().flatten()).flatten();
        found.extend(path.canonicalize().ok().filter(|real| *real != path));
        found.push(path);
    }
    found.iter().map(|path| path.to_string_lossy().into_owned()).collect()
}

/// Path of a local file without links.
fn real(file: &str) -> Option<String> {
    Some(Path::new(file).canonicalize().ok()?.to_string_lossy().into_owned())
}

/// All volumes of active pools that are overlays, each with the path of its backing file.
fn overlays(connect: &Connect, local: bool) -> Vec<(String, String)> {
    let active = sys::VIR_CONNECT_LIST_STORAGE_POOLS_ACTIVE;
    let pools = connect.list_all_storage_pools(active).unwrap_or_default();
    pools.iter().flat_map(|pool| overlays_in(pool, local)).collect()
}

fn overlays_in(pool: &StoragePool, local: bool) -> Vec<(String, String)> {
    // On a pool of devices a refresh may take minutes, and there are no overlays of files.
    let is_of_files = pool::describe(pool, "").is_ok_and(|place| place.kind == DiskKind::File);
    if is_of_files && let Err(error) = pool.refresh(0) {
        tracing::debug!(%error, "refresh");
    }
    let volumes = pool.list_all_volumes(0).unwrap_or_default();
    let of_volume = |volume: &virt::storage_vol::StorageVol| {
        let below = used::describe(volume)?.backing_store?.path;
        let above = volume.path().ok()?;
        let real = real(&below).filter(|real| local && *real != below);
        let real = real.map(|real| (above.clone(), real));
        Some(std::iter::once((above, below)).chain(real).collect::<Vec<_>>())
    };
    volumes.iter().filter_map(of_volume).flatten().collect()
}
