//! Reads files of a CD or DVD image, such as virtio-win.iso, without mounting it.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use isomage::TreeNode;

use crate::panics::contained;

/// A file in an ISO image.
#[derive(Debug)]
pub struct IsoFile {
    /// Path below the root, separated by `/`: `viostor/w10/amd64/viostor.sys`.
    pub path: String,
    node: TreeNode,
}

/// All files of an image: ISO 9660 with Joliet or Rock Ridge, or UDF. Blocks.
///
/// # Errors
/// Error of the operating system; also if the image is malformed.
pub fn iso_files(image: &Path) -> io::Result<Vec<IsoFile>> {
    let mut file = File::open(image)?;
    let name = image.to_string_lossy();
    let root = contained(|| {
        let read = isomage::detect_and_parse_filesystem(&mut file, &name);
        read.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    })?;
    let mut files = Vec::new();
    collect(root, "", &mut files);
    Ok(files)
}

fn collect(folder: TreeNode, path: &str, files: &mut Vec<IsoFile>) {
    for node in folder.children {
        // Plain ISO 9660 appends the version to a name.
        let name = node.name.strip_suffix(";1").unwrap_or(&node.name);
        let path = if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
        if node.is_directory {
            collect(node, &path, files);
        } else {
            files.push(IsoFile { path, node });
        }
    }
}

impl IsoFile {
    /// Copies the content to `to`. `image` is the ISO image that contains the file. Blocks.
    ///
    /// # Errors
    /// Error of the operating system; also if the image is malformed.
    pub fn copy(&self, image: &mut File, to: &mut impl Write) -> io::Result<()> {
        isomage::cat_node(image, &self.node, to).map_err(io::Error::other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An image with one file, as small as ISO 9660 allows: descriptors in the sectors 16 and 17,
    /// the root in 18, a folder in 19, and the file in 20.
    fn image() -> Vec<u8> {
        const SECTOR: usize = 2048;
        let both = |number: u32| [number.to_le_bytes(), number.to_be_bytes()].concat();
        let entry = |name: &[u8], sector: u32, size: u32, flags: u8| {
            let mut bytes = vec![0; 33];
            bytes[2..10].copy_from_slice(&both(sector));
            bytes[10..18].copy_from_slice(&both(size));
            bytes[25] = flags;
            bytes[28..32].copy_from_slice(&[1, 0, 0, 1]);
            bytes[32] = u8::try_from(name.len()).expect("short");
            bytes.extend(name);
            bytes.resize(bytes.len().next_multiple_of(2), 0);
            bytes[0] = u8::try_from(bytes.len()).expect("short");
            bytes
        };
        let mut image = vec![0; 21 * SECTOR];
        let mut put = |sector: usize, at: usize, bytes: &[u8]| {
            image[sector * SECTOR + at..][..bytes.len()].copy_from_slice(bytes);
        };
        put(16, 0, b"\x01CD001\x01");
        put(16, 80, &both(21));
        put(16, 120, &[1, 0, 0, 1]);
        put(16, 124, &[1, 0, 0, 1]);
        put(16, 128, &[0, 8, 8, 0]);
        put(16, 156, &entry(&[0], 18, 2048, 2));
        put(17, 0, b"\xffCD001\x01");
        let above = [entry(&[0], 18, 2048, 2), entry(&[1], 18, 2048, 2)].concat();
        put(18, 0, &[above, entry(b"W10", 19, 2048, 2)].concat());
        let above = [entry(&[0], 19, 2048, 2), entry(&[1], 18, 2048, 2)].concat();
        put(19, 0, &[above, entry(b"VIOSTOR.SYS;1", 20, 2, 0)].concat());
        put(20, 0, b"MZ");
        image
    }

    #[test]
    fn files_have_their_paths_and_their_content() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("drivers.iso");
        std::fs::write(&path, image()).expect("written");
        let files = iso_files(&path).expect("read");
        let [file] = &files[..] else { panic!("{files:?}") };
        assert_eq!(file.path, "W10/VIOSTOR.SYS");
        let mut content = Vec::new();
        let mut image = File::open(&path).expect("there");
        file.copy(&mut image, &mut content).expect("read");
        assert_eq!(content, b"MZ");
    }

    #[test]
    fn what_is_no_image_is_an_error() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("drivers.iso");
        std::fs::write(&path, vec![b'x'; 1 << 20]).expect("written");
        assert!(iso_files(&path).is_err());
        std::fs::write(&path, b"").expect("written");
        assert!(iso_files(&path).is_err());
        assert!(iso_files(dir.path()).is_err(), "a folder");
    }
}
