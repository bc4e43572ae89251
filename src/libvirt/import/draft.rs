//! An exact description of the domain that an import would define, for review and for comparison
//! with the domain that would be defined later.

use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};
use virt::connect::Connect;

use crate::domain::DiskKind;
use crate::model::{ByteSize, DiskFormat, DiskId};

use super::super::guest::identity::Chosen;
use super::super::storage::pool;
use super::super::storage::pool::{Access, UsablePool};
use super::super::storage::wanted::WantedVolume;
use super::super::{Connection, Error};
use super::request::ImportRequest;

/// The domain that an import would define.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Draft {
    /// libvirt connection URI.
    pub uri: String,
    /// Name of the domain.
    pub name: String,
    /// UUID that the domain will have.
    pub uuid: String,
    /// Mark in the metadata of the domain, if the domain keeps the UUID of the source VM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<String>,
    /// XML of the domain.
    pub xml: String,
    /// Storage pool of the disks.
    pub pool: DraftPool,
    /// The volumes of the domain.
    pub volumes: Vec<DraftVolume>,
}

/// The storage pool of a draft.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DraftPool {
    /// Name of the pool.
    pub name: String,
    /// UUID of the pool; null if `apply` creates the pool.
    pub uuid: Option<String>,
    /// Folder of the pool on the target host.
    pub path: PathBuf,
}

/// A volume of a draft.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DraftVolume {
    /// ID of the disk within the VM, such as `disk-0`.
    pub disk: DiskId,
    /// Absolute path on the target host.
    pub path: PathBuf,
    /// Format of the volume: `qcow2` or `raw`.
    pub format: DiskFormat,
    /// Size that the guest sees, in bytes.
    pub capacity: ByteSize,
    /// Bytes of data in the volume.
    pub allocation: ByteSize,
    /// Path of the image that the volume is created from. If the image is in the pool already, path
    /// of the volume itself.
    pub image: PathBuf,
    /// Length of the image, in bytes.
    pub image_length: u64,
    /// When the image was last modified, in nanoseconds since 1970.
    pub image_modified: u64,
}

impl Connection {
    /// Describes what [`Self::import`] would create for `request`, whose images must exist. The
    /// domain gets the UUID of the draft that the request must follow exactly, or a new one.
    ///
    /// # Errors
    /// [`Error::Plan`], [`Error::File`] and [`Error::Call`].
    pub async fn draft(&self, request: &ImportRequest<'_>) -> Result<Draft, Error> {
        let choice = request.pool.clone();
        let (place, uuid) = self.call(move |connect| find(connect, &choice)).await?;
        let local = self.is_local();
        let volume = |wanted: &WantedVolume| {
            let here = local && place.holds(&wanted.image);
            DraftVolume::new(wanted, here, &place.dir)
        };
        let wanted = request.volumes(place.kind);
        let volumes: Vec<_> = wanted.iter().map(volume).collect::<Result<_, _>>()?;
        let planned: Vec<_> = wanted
            .iter()
            .zip(&volumes)
            .map(|(wanted, volume)| wanted.planned(volume.path.to_string_lossy().into_owned()))
            .collect();
        let old = self.predecessor(request).await?;
        let nvram = old.and_then(|old| old.nvram_beside(request));
        let spec = request.plan(&planned)?.with_nvram(nvram);
        let identity = match request.exactly {
            Some(draft) => draft.identity(),
            None => self.identity(&spec).await?,
        };
        Ok(Draft {
            uri: self.uri().to_owned(),
            name: spec.name.clone(),
            xml: identity.xml(&spec)?,
            uuid: identity.uuid,
            mark: identity.mark,
            pool: DraftPool { name: place.pool, uuid, path: place.dir },
            volumes,
        })
    }
}

fn find(
    connect: &Connect,
    choice: &super::super::PoolChoice,
) -> Result<(UsablePool, Option<String>), Error> {
    match (pool::find(connect, choice)?, &choice.path) {
        (Some(place), _) => {
            let handle = pool::open(connect, &place.pool)?;
            let call = Error::call(format!("inspecting storage pool '{}'", place.pool));
            let uuid = handle.uuid_string().map_err(call)?;
            Ok((place, Some(uuid)))
        }
        (None, Some(path)) => {
            let (pool, dir, of) = (choice.name.clone(), path.clone(), pool::OF_FOLDER.to_owned());
            let (kind, access) = (DiskKind::File, Access::default());
            Ok((UsablePool { pool, of, kind, dir, access, active: false }, None))
        }
        (None, None) => Err(Error::NoPool { name: choice.name.clone(), existing: Vec::new() }),
    }
}

impl DraftVolume {
    fn new(wanted: &WantedVolume, here: bool, dir: &Path) -> Result<Self, Error> {
        let measured = wanted.measured()?;
        let look = |error| Error::file("inspecting", &wanted.image)(error);
        let found = wanted.image.metadata().map_err(look)?;
        let modified = found.modified().map_err(look)?;
        let since = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(Self {
            disk: wanted.id.clone(),
            path: if here { wanted.image.clone() } else { dir.join(&wanted.name) },
            format: wanted.format,
            capacity: wanted.capacity,
            allocation: measured.allocated,
            image: wanted.image.clone(),
            image_length: found.len(),
            image_modified: u64::try_from(since.as_nanos()).unwrap_or(u64::MAX),
        })
    }
}

impl Draft {
    pub(in crate::libvirt) fn identity(&self) -> Chosen {
        Chosen { uuid: self.uuid.clone(), mark: self.mark.clone() }
    }

    /// Differences between this draft and `now`, what would be created now; empty if there are
    /// none.
    pub fn differences(&self, now: &Self) -> Vec<String> {
        let mut found = Vec::new();
        let mut compare = |what: String, then: &dyn std::fmt::Debug, now: &dyn std::fmt::Debug| {
            let (then, now) = (format!("{then:?}"), format!("{now:?}"));
            if then != now {
                found.push(format!("{what}: planned {then}, now {now}"));
            }
        };
        compare("the daemon".to_owned(), &self.uri, &now.uri);
        compare("the storage pool".to_owned(), &self.pool, &now.pool);
        compare("the number of disks".to_owned(), &self.volumes.len(), &now.volumes.len());
        for (then, now) in self.volumes.iter().zip(&now.volumes) {
            compare(then.disk.to_string(), then, now);
        }
        let (mut then, mut now) = (self.xml.lines(), now.xml.lines());
        let line = loop {
            match (then.next(), now.next()) {
                (None, None) => return found,
                (a, b) if a != b => break (a, b),
                _ => {}
            }
        };
        let text = |line: Option<&str>| line.map_or("nothing", str::trim).to_owned();
        found.push(format!("the domain: planned {}, now {}", text(line.0), text(line.1)));
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft() -> Draft {
        Draft {
            uri: "qemu:///system".to_owned(),
            name: "web01".to_owned(),
            uuid: "u".to_owned(),
            mark: None,
            xml: "<domain>\n  <name>web01</name>\n</domain>".to_owned(),
            pool: DraftPool { name: "p".to_owned(), uuid: None, path: "/p".into() },
            volumes: Vec::new(),
        }
    }

    #[test]
    fn differences_name_what_changed() {
        assert!(draft().differences(&draft()).is_empty());
        let mut now = draft();
        now.pool.uuid = Some("x".to_owned());
        now.xml = now.xml.replace("</name>", "</name>\n  <title/>");
        let found = draft().differences(&now);
        assert!(found[0].starts_with("the storage pool: planned "), "{found:?}");
        assert_eq!(found[1], "the domain: planned </domain>, now <title/>");
    }
}
