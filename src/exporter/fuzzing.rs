//! Entry points for `make fuzz`, one for each parser of foreign bytes.

use super::files::fuzzing as files;
use super::vsphere;

/// Fuzzes the reader of archives.
pub fn archive(bytes: &[u8]) {
    files::archive(bytes);
}

/// Fuzzes the reader of a package in an archive file, up to the location of its disks.
pub fn package(path: &std::path::Path) {
    files::package(path);
}

/// Fuzzes the parsers of OVF descriptors and of checksum files.
pub fn ovf(bytes: &[u8]) {
    files::ovf(&String::from_utf8_lossy(bytes));
}

/// Fuzzes the parser of VMX files.
pub fn vmx(bytes: &[u8]) {
    files::vmx(&String::from_utf8_lossy(bytes));
}

/// Fuzzes the parser of firmware variables.
pub fn nvram(bytes: &[u8]) {
    super::nvram::lost(bytes);
}

/// Fuzzes the parser of vSphere's replies.
pub fn soap(bytes: &[u8]) {
    vsphere::fuzz(&String::from_utf8_lossy(bytes));
}
