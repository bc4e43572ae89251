//! Who uses a file: domains by the disks that they name, and overlays by the file below them,
//! whichever run made them and whatever their storage pool is.

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

/// Who uses a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::libvirt) enum OwningUser {
    /// A domain of that name.
    Domain(String),
    /// An overlay of that path, which no domain has yet.
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
    /// The same of a volume of which nothing is ours.
    pub fn clause(&self) -> String {
        match self {
            Self::Domain(name) => format!("domain '{name}' uses it"),
            Self::Overlay(_) => self.to_string(),
        }
    }
}

/// Which files our domains use, and who uses the others.
pub(in crate::libvirt) struct Owners {
    ours: HashSet<String>,
    others: HashMap<String, OwningUser>,
    /// Present names of our domains by their UUIDs.
    names: HashMap<String, String>,
    /// Whether the files are those of this machine.
    local: bool,
    /// What shows that the steps are those of a run of ours.
    evidence: Evidence,
    /// Present names of domains that steps name, and that no run of ours has made, by their UUIDs.
    strangers: HashMap<String, String>,
}

impl Owners {
    /// # Errors
    /// As [`undo_way::check`]; [`Error::Call`].
    pub fn look(
        connect: &Connect,
        steps: &[Undo],
        evidence: Evidence,
        local: bool,
    ) -> Result<Self, Error> {
        let owners = Self::by(connect, steps, evidence, local)?;
        // What is in the way of a domain that stays is in nobody's way.
        let ours = |step: &&Undo| match step {
            Undo::Undefine { uuid, .. } => !owners.strangers.contains_key(uuid),
            _ => true,
        };
        let steps: Vec<_> = steps.iter().filter(ours).cloned().collect();
        undo_way::check(connect, &steps)?;
        Ok(owners)
    }

    /// The same whatever is in the way of undefining our domains.
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
        // One that vanishes while it is looked at uses nothing any more.
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
            // libvirt names what lies below a disk only while its domain runs.
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

    /// Adds what lies below overlays: anyone who needs the overlay needs that too. One that nobody
    /// has, and that is not among what goes, may be somebody's.
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

    /// Who uses the file beside our domains.
    pub fn user_of(&self, path: &str) -> Option<&OwningUser> {
        let real = || real(path).filter(|_| self.local);
        self.others.get(path).or_else(|| self.others.get(&real()?))
    }

    /// What a step undoes, by the present name of its domain.
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

    /// Why what a step names stays, if it does.
    ///
    /// # Errors
    /// What libvirt says of it.
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

/// Why things stay that nothing but the file proves to be ours.
impl Owners {
    /// What no mark on the thing itself proves, where nothing else does.
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

/// Whether a file lies directly in the folder of a pool of that name. Blocks.
fn lies_in(connect: &Connect, path: &Path, pool: &str) -> bool {
    let Ok(handle) = connect.lookup_storage_pool_by_name(pool) else { return false };
    let folder = pool::describe(&handle, pool).ok().and_then(|place| place.dir.canonicalize().ok());
    let around = path.parent().and_then(|parent| parent.canonicalize().ok());
    folder.is_some() && folder == around
}

/// Who uses a volume, if anybody does. Blocks.
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

/// The path of what a step removes.
pub(in crate::libvirt) fn path(connect: &Connect, step: &Undo) -> Option<String> {
    match step {
        Undo::DeleteVolume { name, pool, .. } => {
            find_volume(connect, pool, name).ok().flatten()?.path().ok()
        }
        Undo::RemoveFile { path, .. } => Some(path.to_string_lossy().into_owned()),
        _ => None,
    }
}

/// Paths of the files below a file of this machine, and those of the file itself without links.
fn below(file: &str) -> Vec<String> {
    let mut found: Vec<PathBuf> = Vec::new();
    let mut next = Some(PathBuf::from(file));
    // A chain that names one of its own files is broken, and ends there.
    while let Some(path) = next.filter(|path| !found.contains(path)) {
        let is_file = path.metadata().is_ok_and(|found| found.is_file());
        next = is_file.then(|| image::backing_file(&path).ok().flatten()).flatten();
        found.extend(path.canonicalize().ok().filter(|real| *real != path));
        found.push(path);
    }
    found.iter().map(|path| path.to_string_lossy().into_owned()).collect()
}

/// The same file of this machine by a path without links.
fn real(file: &str) -> Option<String> {
    Some(Path::new(file).canonicalize().ok()?.to_string_lossy().into_owned())
}

/// Every volume of the started pools that lies on another one, with the path of that.
fn overlays(connect: &Connect, local: bool) -> Vec<(String, String)> {
    let active = sys::VIR_CONNECT_LIST_STORAGE_POOLS_ACTIVE;
    let pools = connect.list_all_storage_pools(active).unwrap_or_default();
    pools.iter().flat_map(|pool| overlays_in(pool, local)).collect()
}

fn overlays_in(pool: &StoragePool, local: bool) -> Vec<(String, String)> {
    // Elsewhere a look for new volumes may take minutes, and there are no overlays of files.
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
