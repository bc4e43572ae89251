//! The image below a qcow2 overlay ("backing file" of QEMU's `docs/interop/qcow2.rst`).

use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Longest name that QEMU accepts, in bytes.
const LONGEST_NAME: usize = 1023;

/// Path of the backing file of a qcow2 image; `None` if the image is no qcow2, or its backing image
/// is no file.
///
/// # Errors
/// If the image cannot be read.
pub fn backing_file(image: &Path) -> io::Result<Option<PathBuf>> {
    let file = File::open(image)?;
    let mut header = [0; 20];
    match file.read_exact_at(&mut header, 0) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let [b'Q', b'F', b'I', 0xfb, _, _, _, _, at @ .., s0, s1, s2, s3] = header else {
        return Ok(None);
    };
    let length = usize::try_from(u32::from_be_bytes([s0, s1, s2, s3])).unwrap_or(usize::MAX);
    let at = u64::from_be_bytes(at);
    if at == 0 || length == 0 || length > LONGEST_NAME {
        return Ok(None);
    }
    let mut name = vec![0; length];
    file.read_exact_at(&mut name, at)?;
    let name = name.strip_prefix(b"file:").map(<[u8]>::to_vec).unwrap_or(name);
    let name = PathBuf::from(std::ffi::OsString::from_vec(name));
    // A name without a folder is relative to the image's folder.
    Ok(Some(image.parent().unwrap_or(Path::new("/")).join(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_below_an_overlay_is_found() {
        let dir = tempfile::tempdir().expect("a folder");
        let image = |name: &str| {
            let mut bytes = vec![0_u8; 104];
            bytes[..8].copy_from_slice(b"QFI\xfb\0\0\0\x03");
            bytes[15] = 104;
            bytes[19] = u8::try_from(name.len()).expect("short");
            bytes.extend_from_slice(name.as_bytes());
            let path = dir.path().join("overlay");
            std::fs::write(&path, bytes).expect("written");
            backing_file(&path).expect("read")
        };
        assert_eq!(image("base.qcow2"), Some(dir.path().join("base.qcow2")));
        assert_eq!(image("/a/base"), Some("/a/base".into()));
        assert_eq!(image("file:/a/base"), Some("/a/base".into()));
        assert_eq!(image(""), None);
        let raw = dir.path().join("raw");
        for content in [&b""[..], &[0; 512]] {
            std::fs::write(&raw, content).expect("written");
            assert_eq!(backing_file(&raw).expect("read"), None);
        }
    }
}
