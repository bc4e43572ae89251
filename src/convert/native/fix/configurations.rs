//! Reads the configuration files of boot loaders, up to a limit: a guest may have countless
//! folders, and all texts are in memory at once.

use crate::convert::Error;
use crate::convert::native::guestfs::Guestfs;

/// Most files, and most bytes of all files together.
const MOST_FILES: usize = 1_000;
const MOST_BYTES: usize = 32 << 20;

/// Path and text of the files that match these patterns.
pub(in crate::convert::native) async fn texts<'a>(
    guestfs: &mut Guestfs,
    patterns: impl IntoIterator<Item = &'a &'static str>,
) -> Result<Vec<(String, String)>, Error> {
    let (mut found, mut room) = (Vec::new(), MOST_BYTES);
    for pattern in patterns {
        for path in guestfs.glob(pattern).await? {
            if found.len() >= MOST_FILES {
                return Ok(found);
            }
            let text = guestfs.read(&path).await?;
            if let Some(text) = text.filter(|text| text.len() <= room) {
                room -= text.len();
                found.push((path, text));
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::convert::native::played::Played;

    #[tokio::test]
    async fn no_more_is_kept_than_a_boot_loader_has() {
        let zeros = vec![0; 4 << 20];
        let paths: Vec<_> = (0..10).map(|number| format!("boot/EFI/{number}/grub.cfg")).collect();
        let mut files: Vec<_> = paths.iter().map(|path| (path.as_str(), &zeros[..])).collect();
        files.push(("boot/grub/menu.lst", b"default 0\n"));
        let mut guestfs = Played::new(&files, json!({})).started().await;
        let patterns = ["/boot/grub/menu.lst", "/boot/EFI/*/grub.cfg"];
        let found = texts(&mut guestfs, &patterns).await.expect("read");
        let bytes: usize = found.iter().map(|(_, text)| text.len()).sum();
        assert_eq!((found[0].1.as_str(), found.len()), ("default 0\n", 8));
        assert!(bytes <= MOST_BYTES, "{bytes}");
    }
}
