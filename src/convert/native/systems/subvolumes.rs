//! Finds the root of a btrfs among its snapshots.
//!
//! libguestfs 1.48 lists each subvolume as `btrfsvol:DEVICE/PATH`, but the default one by the
//! device alone (`daemon/listfs.ml`), which a mount without options shows.

use crate::convert::Error;
use crate::convert::native::devices::GuestDevices;
use crate::convert::native::fix::boot::value_of;
use crate::convert::native::guestfs::Guestfs;

use super::loaders::Site;
use super::split;

/// How many subvolumes are searched for their fstab where no root is the default subvolume.
const ASKED: usize = 8;
/// The id of the topmost subvolume (btrfs(5)).
const TOP: &str = "5";

/// Roots that are subvolumes of one btrfs.
pub(super) struct Group<'a> {
    /// Device of the file system.
    pub(super) device: &'a str,
    pub(super) roots: &'a [String],
}

/// How a mount option names a subvolume (btrfs(5), "subvol", "subvolid").
#[derive(Debug, Clone, PartialEq, Eq)]
enum SubvolumeName {
    Path(String),
    Id(String),
}

/// The subvolumes of a file system.
#[derive(Debug, Default)]
struct Subvolumes {
    /// Id and path of each subvolume except the topmost.
    paths: Vec<(String, String)>,
    /// The path of the default subvolume; empty for the topmost.
    default: String,
}

/// The root that is booted: the subvolume that the boot loader or fstab names, or else the default
/// one.
pub(super) async fn booted(
    guestfs: &mut Guestfs,
    group: &Group<'_>,
    sites: &[Site],
    devices: &GuestDevices,
) -> Result<Option<String>, Error> {
    let known = subvolumes(guestfs, group.device).await?;
    let root = |named: Option<SubvolumeName>| known.root(group.roots, &named?);
    let by_loader = |site: &Site| {
        let of_this = |line: &&String| {
            let root = value_of(line, "root=");
            root.is_some_and(|name| devices.all(name).iter().any(|found| found == group.device))
        };
        let flags = site.commands().into_iter().find(|line| of_this(&line))?;
        root(named(value_of(&flags, "rootflags=")?))
    };
    if let Some(found) = sites.iter().find_map(by_loader) {
        return Ok(Some(found));
    }
    let default = known.default_root(group.roots);
    let others = group.roots.iter().filter(|root| Some(*root) != default);
    for member in default.into_iter().chain(others).take(ASKED) {
        let Some(site) = Site::of_root(guestfs, member, group.device).await? else { continue };
        let found = by_loader(&site).or_else(|| root(root_line(site.fstab()).and_then(named)));
        if found.is_some() {
            return Ok(found);
        }
        if Some(member) == default && !known.default.is_empty() {
            break;
        }
    }
    Ok(default.cloned())
}

async fn subvolumes(guestfs: &mut Guestfs, device: &str) -> Result<Subvolumes, Error> {
    if !guestfs.try_run("mounting a btrfs", &["mount-ro", device, "/"]).await? {
        return Ok(Subvolumes::default());
    }
    let default =
        guestfs.attempt("finding the default subvolume", &["btrfs-subvolume-get-default", "/"]);
    let default = default.await?.unwrap_or_default();
    let listed = guestfs.attempt("listing the subvolumes", &["btrfs-subvolume-list", "/"]).await?;
    guestfs.run("unmounting a btrfs", &["umount-all"]).await?;
    let default = default.first().map(|id| id.trim()).unwrap_or(TOP);
    Ok(Subvolumes::read(&listed.unwrap_or_default(), default))
}

impl Subvolumes {
    /// Parses guestfish's list of structures.
    fn read(list: &[String], default: &str) -> Self {
        let field = |line: &str, name: &str| {
            line.trim().strip_prefix(name).map(|value| value.trim().to_owned())
        };
        let (mut paths, mut id) = (Vec::new(), String::new());
        for line in list {
            if let Some(found) = field(line, "btrfssubvolume_id:") {
                id = found;
            }
            if let Some(path) = field(line, "btrfssubvolume_path:") {
                paths.push((id.clone(), path));
            }
        }
        let mut read = Self { paths, default: String::new() };
        read.default = read.path(default).unwrap_or_default();
        read
    }

    fn path(&self, id: &str) -> Option<String> {
        if id == TOP {
            return Some(String::new());
        }
        self.paths.iter().find(|(own, _)| own == id).map(|(_, path)| path.clone())
    }

    /// The root that a mount option means.
    fn root(&self, roots: &[String], named: &SubvolumeName) -> Option<String> {
        let path = match named {
            SubvolumeName::Path(path) => path.clone(),
            SubvolumeName::Id(id) => self.path(id)?,
        };
        let path = path.trim_matches('/');
        if path == self.default {
            return self.default_root(roots).cloned();
        }
        roots.iter().find(|root| !path.is_empty() && split(root).1 == path).cloned()
    }

    /// The root that libguestfs names by its device alone; else the root with the default path.
    fn default_root<'a>(&self, roots: &'a [String]) -> Option<&'a String> {
        let by_path = || roots.iter().find(|root| split(root).1 == self.default);
        roots.iter().find(|root| split(root).1.is_empty()).or_else(by_path)
    }
}

/// The options of `/` in fstab(5).
fn root_line(fstab: &str) -> Option<&str> {
    let lines = fstab.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    let mut fields = lines.map(|line| line.split_whitespace().collect::<Vec<_>>());
    let line = fields.find(|fields| fields.get(1) == Some(&"/"))?;
    line.get(3).copied()
}

/// The subvolume that mount options name.
fn named(options: &str) -> Option<SubvolumeName> {
    let value = |key: &str| options.split(',').find_map(|option| option.strip_prefix(key));
    let path = value("subvol=").map(|path| SubvolumeName::Path(path.to_owned()));
    path.or_else(|| value("subvolid=").map(|id| SubvolumeName::Id(id.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The subvolumes of a SLES, as guestfish lists them.
    const LIST: &str = "[0] = {\n  btrfssubvolume_id: 256\n  btrfssubvolume_top_level_id: 5\n  \
                        btrfssubvolume_path: @\n}\n[1] = {\n  btrfssubvolume_id: 268\n  \
                        btrfssubvolume_top_level_id: 266\n  btrfssubvolume_path: @/.snapshots/1/snapshot\n}\n\
                        [2] = {\n  btrfssubvolume_id: 270\n  btrfssubvolume_path: @/.snapshots/2/snapshot\n}";

    fn known(default: &str) -> Subvolumes {
        Subvolumes::read(&LIST.lines().map(str::to_owned).collect::<Vec<_>>(), default)
    }

    fn roots(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn the_default_subvolume_is_the_device_itself() {
        let known = known("268");
        let second = "btrfsvol:/dev/sda2/@/.snapshots/2/snapshot";
        let roots = roots(&["/dev/sda2", second]);
        let root = |options: &str| known.root(&roots, &named(options)?);
        assert_eq!(known.default_root(&roots).map(String::as_str), Some("/dev/sda2"));
        assert_eq!(root("subvol=@/.snapshots/1/snapshot").as_deref(), Some("/dev/sda2"));
        assert_eq!(root("subvolid=268").as_deref(), Some("/dev/sda2"));
        assert_eq!(root("rw,subvol=/@/.snapshots/2/snapshot").as_deref(), Some(second));
        assert_eq!(root("subvolid=270").as_deref(), Some(second));
        assert_eq!(root("subvol=@"), None, "no root is there");
        assert_eq!(root("subvol=/"), None, "the topmost is not the default one");
        assert_eq!(root("defaults"), None);
    }

    #[test]
    fn the_topmost_subvolume_is_the_default_one_of_a_new_file_system() {
        let known = known("5");
        let own = roots(&["btrfsvol:/dev/sda2/@", "btrfsvol:/dev/sda2/@/.snapshots/1/snapshot"]);
        assert_eq!(known.default_root(&own), None);
        let named = SubvolumeName::Path("@".to_owned());
        assert_eq!(known.root(&own, &named).as_deref(), Some("btrfsvol:/dev/sda2/@"));
        let top = roots(&["/dev/sda2", "btrfsvol:/dev/sda2/@"]);
        assert_eq!(
            known.root(&top, &SubvolumeName::Id("5".to_owned())).as_deref(),
            Some("/dev/sda2")
        );
    }

    #[test]
    fn fstab_tells_the_subvolume_of_the_root() {
        let of = |options: &str| {
            named(root_line(&format!("# x\nUUID=a / btrfs {options} 0 0\n")).unwrap_or_default())
        };
        assert_eq!(of("rw,subvol=/@,noatime"), Some(SubvolumeName::Path("/@".to_owned())));
        assert_eq!(of("subvolid=256"), Some(SubvolumeName::Id("256".to_owned())));
        assert_eq!(of("defaults"), None);
        assert_eq!(root_line("/dev/sda1 /home ext4 defaults 0 0\n"), None);
    }
}
