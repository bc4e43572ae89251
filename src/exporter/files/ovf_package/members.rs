//! Finds the files of a package that its descriptor refers to, whose spelling may differ.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Read;
use std::ops::ControlFlow;
use std::path::{Component, Path};

use percent_encoding::percent_decode_str;

use crate::exporter::Error;
use crate::exporter::files::store::{Member, Store, plain};

/// Magic numbers of images that can be detected at their start: VMDK as a file or as a text, qcow2.
const BEGINNINGS: [[u8; 4]; 3] = [*b"KDMV", *b"# Di", *b"QFI\xfb"];

/// The files of a store, if they can be listed.
pub(super) struct Members<'a> {
    store: &'a Store,
    /// Path of the descriptor's directory inside an archive, with a trailing `/` unless empty.
    prefix: &'a str,
    /// Names and lengths of an archive's files. `None` for a directory, and for a stream, which
    /// would have to be read.
    listed: Option<HashMap<String, u64>>,
}

impl<'a> Members<'a> {
    /// Lists the files of an archive. Blocks.
    pub(super) fn of(store: &'a Store, prefix: &'a str) -> Result<Self, Error> {
        let listed = match store {
            Store::Folder(_) => None,
            _ if store.is_stream() => None,
            _ => {
                let names = std::cell::RefCell::new(HashMap::new());
                let note = |name: &str, size| {
                    names.borrow_mut().insert(name.to_owned(), size);
                    false
                };
                store.each(&note, &mut |_| Ok(ControlFlow::Continue(())))?;
                Some(names.into_inner())
            }
        };
        Ok(Self { store, prefix, listed })
    }

    /// Length of a file in bytes, if it is listed.
    pub(super) fn size(&self, name: &str) -> Option<u64> {
        self.listed.as_ref()?.get(name).copied()
    }

    /// The file of a reference: by its exact name, by its decoded name, or in another case. In a
    /// stream, a missing file is only detected when the stream is read.
    ///
    /// # Errors
    /// [`Error::Unusable`] when there is no such file, or the reference leads out of the package.
    pub(super) fn find(&self, href: &str) -> Result<String, Error> {
        self.look(href)?.ok_or_else(|| match self.store {
            Store::Folder(folder) => Error::File {
                action: "opening",
                path: folder.join(&spellings(href)[0]),
                source: nix::errno::Errno::ENOENT.into(),
            },
            _ => self.store.lacks(&spellings(href)[0]),
        })
    }

    /// The files of a disk: the file of the reference, or else the chunks of that name, even if the
    /// descriptor does not count them. If each chunk is an image of its own, the chunks are the
    /// states of a VM with snapshots, and only the last one is returned. Blocks.
    ///
    /// # Errors
    /// As those of [`Members::find`]; [`Error::File`].
    pub(super) fn find_or_chunks(&self, href: &str) -> Result<Vec<String>, Error> {
        if let Some(name) = self.look(href)? {
            return Ok(vec![name]);
        }
        let mut chunks = Vec::new();
        while let Some(chunk) = self.look(&format!("{href}.{:09}", chunks.len()))? {
            chunks.push(chunk);
        }
        if chunks.is_empty() {
            return self.find(href).map(|name| vec![name]);
        }
        let starts = self.starts(&chunks)?;
        let is_whole = |name: &String| starts.get(name).is_some_and(|s| BEGINNINGS.contains(s));
        if chunks.len() > 1 && chunks.iter().all(is_whole) {
            chunks.drain(..chunks.len() - 1);
        }
        Ok(chunks)
    }

    /// The first four bytes of files; empty for a stream. Blocks.
    pub(super) fn starts(&self, names: &[String]) -> Result<BTreeMap<String, [u8; 4]>, Error> {
        let mut starts = BTreeMap::new();
        let mut note = |name: &str, content: &mut dyn Read| {
            let mut start = [0; 4];
            // A shorter file has no magic number.
            if content.read_exact(&mut start).is_ok() {
                starts.insert(name.to_owned(), start);
            }
        };
        match self.store {
            Store::Folder(folder) => {
                for name in names {
                    let path = folder.join(name);
                    let failed =
                        |source| Error::File { action: "reading", path: path.clone(), source };
                    note(name, &mut File::open(&path).map_err(failed)?);
                }
            }
            _ if self.store.is_stream() => {}
            _ => {
                let mut left = names.len();
                let wanted = |name: &str, _| names.iter().any(|one| one == name);
                self.store.each(&wanted, &mut |Member { name, content }| {
                    note(&name, content);
                    left -= 1;
                    Ok(if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
                })?;
            }
        }
        Ok(starts)
    }

    fn look(&self, href: &str) -> Result<Option<String>, Error> {
        let outside = || self.store.unusable(format!("its file '{href}' is not in its folder"));
        if href.contains("://") {
            return Err(outside());
        }
        let spellings = spellings(href);
        let Store::Folder(folder) = self.store else {
            let mut names = spellings.iter().map(|name| format!("{}{name}", self.prefix));
            return Ok(match &self.listed {
                Some(listed) => in_list(listed, names.collect()),
                // The usual spelling: a reference is a URI.
                None => names.next_back(),
            });
        };
        for name in &spellings {
            if !is_plain(name) {
                return Err(outside());
            }
        }
        let Some(name) = in_folder(folder, &spellings)? else { return Ok(None) };
        let failed = |source| Error::File { action: "opening", path: folder.join(&name), source };
        let real = folder.join(&name).canonicalize().map_err(failed)?;
        let root = folder.canonicalize().map_err(|source| self.store.failed(source))?;
        if real.starts_with(&root) && real.is_file() { Ok(Some(name)) } else { Err(outside()) }
    }
}

/// Whether a name cannot lead out of a directory, except by symbolic links.
pub(super) fn is_plain(name: &str) -> bool {
    let is_below = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
    is_below && !name.is_empty() && !name.contains('\0')
}

/// The possible names of a reference, the likeliest first: as written, and decoded. Writers on
/// Windows use `\` between directories.
fn spellings(href: &str) -> Vec<String> {
    let decoded = percent_decode_str(href).decode_utf8_lossy();
    let mut spellings: Vec<String> = Vec::new();
    for name in [href, &decoded] {
        let name = plain(&name.replace('\\', "/"));
        if !spellings.contains(&name) {
            spellings.push(name);
        }
    }
    spellings
}

/// The first of the names that is listed, or else the only listed name that differs in case.
fn in_list(listed: &HashMap<String, u64>, names: Vec<String>) -> Option<String> {
    if let Some(name) = names.iter().find(|name| listed.contains_key(*name)) {
        return Some(name.clone());
    }
    let alike = |found: &&String| names.iter().any(|name| is_alike(name, found));
    let mut alike = listed.keys().filter(alike);
    alike.next().filter(|_| alike.next().is_none()).cloned()
}

/// As [`in_list`], for the files below a directory; only the last part of a name may differ in
/// case.
fn in_folder(folder: &Path, names: &[String]) -> Result<Option<String>, Error> {
    if let Some(name) = names.iter().find(|name| folder.join(name).exists()) {
        return Ok(Some(name.clone()));
    }
    for name in names {
        let (below, last) =
            name.rsplit_once('/').map_or(("", name.as_str()), |(below, last)| (below, last));
        // A directory that cannot be read has no such file.
        let Ok(entries) = std::fs::read_dir(folder.join(below)) else { continue };
        let entries = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut alike = entries.filter(|found| is_alike(last, found));
        if let (Some(found), None) = (alike.next(), alike.next()) {
            let below = if below.is_empty() { String::new() } else { format!("{below}/") };
            return Ok(Some(format!("{below}{found}")));
        }
    }
    Ok(None)
}

fn is_alike(one: &str, other: &str) -> bool {
    one.to_lowercase() == other.to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_looked_up_as_it_stands_decoded_and_in_another_case() {
        let listed = ["a%2fb.vmdk", "c d.vmdk", "Disk.VMDK", "e/f.vmdk", "x.vmdk", "X.vmdk"];
        let listed: HashMap<_, _> = listed.map(|name| (name.to_owned(), 1)).into();
        for (href, expected) in [
            ("a%2fb.vmdk", Some("a%2fb.vmdk")),
            ("c%20d.vmdk", Some("c d.vmdk")),
            ("disk.vmdk", Some("Disk.VMDK")),
            (r".\e\f.vmdk", Some("e/f.vmdk")),
            ("x.vmdk", Some("x.vmdk")),
            ("x.VMDK", None),
            ("none.vmdk", None),
        ] {
            let found = in_list(&listed, spellings(href));
            assert_eq!(found.as_deref(), expected, "{href}");
        }
    }

    #[test]
    fn chunks_that_nobody_counts_are_one_disk_and_whole_images_are_states_of_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let put = |name: &str, bytes: &[u8]| {
            std::fs::write(folder.path().join(name), bytes).expect("written");
        };
        for n in 0..3 {
            put(&format!("chunked.vmdk.{n:09}"), if n == 0 { b"KDMV 1" } else { b"more" });
            put(&format!("states.vmdk.{n:09}"), b"KDMV 1");
        }
        let store = Store::Folder(folder.path().to_owned());
        let members = Members::of(&store, "").expect("listed");
        let found = |href: &str| members.find_or_chunks(href).expect("found");
        let names = |name: &str, of: &[u32]| {
            of.iter().map(|n| format!("{name}.vmdk.{n:09}")).collect::<Vec<_>>()
        };
        assert_eq!(found("chunked.vmdk"), names("chunked", &[0, 1, 2]));
        assert_eq!(found("states.vmdk"), names("states", &[2]));
        assert!(members.find_or_chunks("none.vmdk").is_err());
        assert!(members.find_or_chunks("../none.vmdk").is_err());
    }
}
