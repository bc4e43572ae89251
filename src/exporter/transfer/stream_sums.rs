//! Checksums of a stream from a server.

use sha1::Digest;

use crate::model::Sha256Digest;

pub(super) struct StreamSums {
    sha256: sha2::Sha256,
    /// Only computed if the server provides a SHA-1 checksum.
    sha1: Option<sha1::Sha1>,
}

impl StreamSums {
    /// The checksums of an empty stream; `sha1` is true if the server provides a SHA-1 checksum.
    pub(super) fn new(sha1: bool) -> Self {
        Self { sha256: sha2::Sha256::new(), sha1: sha1.then(sha1::Sha1::new) }
    }

    pub(super) fn update(&mut self, chunk: &[u8]) {
        self.sha256.update(chunk);
        if let Some(sha1) = &mut self.sha1 {
            sha1.update(chunk);
        }
    }

    /// The SHA-256 checksum, and the SHA-1 checksum in lower-case hexadecimal.
    pub(super) fn finish(self) -> (Sha256Digest, Option<String>) {
        let sha1 = self.sha1.map(|sum| hex(&sum.finalize()));
        (Sha256Digest(self.sha256.finalize().into()), sha1)
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
