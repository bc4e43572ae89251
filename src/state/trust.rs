//! Checks which other users could have written a file or a folder.

use std::fs::{self, DirBuilder, Metadata};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Component, Path, PathBuf};

use nix::unistd::{Gid, Group, Uid, getegid, geteuid};

use super::surroundings;

/// Most symbolic links in a path, as in Linux.
const MOST_LINKS: u32 = 40;

/// Whether `path` is a folder. A link to a folder does not count, since another user may have made
/// the link.
pub fn is_folder(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.is_dir())
}

/// Creates a folder for state, accessible only to its owner, unless it exists.
///
/// # Errors
/// Error of the file system; [`io::ErrorKind::AlreadyExists`] if `path` is a link or a file.
pub fn make_folder(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && is_folder(path) => Ok(()),
        end => end,
    }
}

/// Who else could have written `path`, a link in it, or a folder above either. `None` if only root
/// and this user could.
pub fn distrust(path: &Path) -> Option<String> {
    first_distrusted(path, &[geteuid().as_raw(), 0])
}

/// Who else could change files in `folder`, which must exist. A sticky folder such as /tmp above
/// `folder` is accepted, but `folder` itself must not be writable for others. The caller of sudo is
/// trusted: sudo lets that user name the programs that run.
pub fn distrust_folder(folder: &Path) -> Option<String> {
    let us: Vec<_> = [geteuid().as_raw(), 0].into_iter().chain(surroundings().invoker).collect();
    match fs::metadata(folder) {
        Ok(found) => open_to_others(&found).map(|why| format!("{} {why}", folder.display())),
        Err(error) => Some(format!("{}: {error}", folder.display())),
    }
    .or_else(|| first_distrusted(folder, &us))
}

/// Whether a folder that others can write to is an error. Root could be made to overwrite anybody's
/// files; other users risk only their own and are warned.
pub fn is_fatal() -> bool {
    geteuid().is_root()
}

fn first_distrusted(path: &Path, us: &[u32]) -> Option<String> {
    let walked = match walk(path) {
        Ok(walked) => walked,
        Err(error) => return Some(format!("{} cannot be resolved: {error}", path.display())),
    };
    let judged = |(place, found): &(PathBuf, Metadata)| {
        Some(format!("{} {}", place.display(), others_could_write(found, us)?))
    };
    walked.iter().find_map(judged)
}

/// Every folder and link that the resolution of a path passes, from the root on. A user who can
/// write to one of them can redirect the path.
fn walk(path: &Path) -> io::Result<Vec<(PathBuf, Metadata)>> {
    let path = std::path::absolute(path)?;
    let names = |path: &Path| -> Vec<PathBuf> {
        path.components().rev().map(|part| part.as_os_str().into()).collect()
    };
    let (mut rest, mut at, mut walked, mut links) = (names(&path), PathBuf::new(), Vec::new(), 0);
    while let Some(name) = rest.pop() {
        match name.components().next() {
            Some(Component::ParentDir) => {
                at.pop();
                continue;
            }
            Some(Component::CurDir) | None => continue,
            _ => {}
        }
        let next = at.join(&name);
        let found = fs::symlink_metadata(&next)?;
        if found.is_symlink() {
            links += 1;
            if links > MOST_LINKS {
                return Err(io::Error::other("too many links"));
            }
            rest.extend(names(&fs::read_link(&next)?));
        } else {
            at.clone_from(&next);
        }
        walked.push((next, found));
    }
    Ok(walked)
}

/// Checks one file or folder. In a sticky folder such as /tmp others cannot replace files of this
/// user, so only the owner is checked.
fn others_could_write(found: &Metadata, us: &[u32]) -> Option<String> {
    if let Some(why) = owned_by_others(found, us) {
        return Some(why);
    }
    // The target of a link cannot be changed, whatever the link's mode.
    if found.is_symlink() {
        return None;
    }
    if found.is_dir() && found.mode() & 0o1000 != 0 {
        return None;
    }
    open_to_others(found)
}

/// Checks a file of our own state: this user or root must own it, and nobody else may write it.
pub(super) fn foreign(found: &Metadata) -> Option<String> {
    owned_by_others(found, &[geteuid().as_raw(), 0]).or_else(|| open_to_others(found))
}

fn owned_by_others(found: &Metadata, us: &[u32]) -> Option<String> {
    (!us.contains(&found.uid())).then(|| format!("belongs to user {}", found.uid()))
}

/// Write access of group root, or of a group whose only member is this user, is accepted.
pub(super) fn open_to_others(found: &Metadata) -> Option<String> {
    let mode = found.mode();
    if mode & 0o002 != 0 {
        return Some("can be written by everybody".to_owned());
    }
    if mode & 0o020 != 0 && found.gid() != 0 && !is_private(found.gid()) {
        return Some(format!("can be written by group {}", found.gid()));
    }
    None
}

/// Whether a group is this user's private group, as most systems create for each user.
fn is_private(gid: u32) -> bool {
    if getegid() != Gid::from_raw(gid) || geteuid() == Uid::from_raw(0) {
        return false;
    }
    let user = nix::unistd::User::from_uid(geteuid()).ok().flatten();
    let group = Group::from_gid(Gid::from_raw(gid)).ok().flatten();
    user.zip(group).is_some_and(|(user, group)| {
        group.name == user.name && group.mem.iter().all(|member| *member == user.name)
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    use super::*;

    fn folder(mode: u32) -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a folder");
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(mode)).expect("set");
        dir
    }

    #[test]
    fn a_folder_of_ours_below_a_sticky_one_is_trusted() {
        assert_eq!(distrust_folder(folder(0o755).path()), None);
    }

    #[test]
    fn a_folder_that_others_can_write_to_is_not_even_where_it_is_sticky() {
        for mode in [0o777, 0o1777] {
            let why = distrust_folder(folder(mode).path());
            assert!(why.is_some_and(|why| why.contains("everybody")), "{mode:o}");
        }
    }

    #[test]
    fn every_link_on_the_way_counts() {
        let (open, good, start) = (folder(0o777), folder(0o755), folder(0o755));
        symlink(good.path(), open.path().join("second")).expect("linked");
        symlink(open.path().join("second"), start.path().join("first")).expect("linked");
        symlink("good", start.path().join("near")).expect("linked");
        fs::create_dir(start.path().join("good")).expect("made");
        assert!(distrust_folder(&start.path().join("first")).is_some(), "by an open folder");
        assert_eq!(distrust_folder(&start.path().join("near")), None);
        assert_eq!(distrust_folder(&start.path().join("near/../good/.")), None);
        symlink("round", start.path().join("round")).expect("linked");
        assert!(distrust(&start.path().join("round")).is_some());
        if geteuid().is_root() {
            // The owner of a link in a sticky folder can replace that link.
            let link = start.path().join("near");
            std::os::unix::fs::lchown(&link, Some(12345), None).expect("chown");
            assert!(distrust_folder(&link).is_some());
        }
    }

    #[test]
    fn whoever_can_replace_a_folder_or_the_link_to_it_counts() {
        let (open, good) = (folder(0o777), folder(0o755));
        let inner = open.path().join("inner");
        fs::create_dir(&inner).expect("made");
        assert!(distrust_folder(&inner).is_some());
        let link = open.path().join("link");
        symlink(good.path(), &link).expect("linked");
        assert!(distrust_folder(&link).is_some());
        if geteuid().is_root() {
            chown(good.path(), Some(12345), None).expect("chown");
            let why = distrust_folder(good.path());
            assert!(why.is_some_and(|why| why.contains("belongs to user 12345")));
        }
    }
}
