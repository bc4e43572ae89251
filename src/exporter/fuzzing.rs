//! Doors for `make fuzz`: what reads foreign bytes, alone.

use super::files::fuzzing as files;
use super::vsphere;

/// The members of an archive.
pub fn archive(bytes: &[u8]) {
    files::archive(bytes);
}

/// A package as an archive in a file, down to where its disks are.
pub fn package(path: &std::path::Path) {
    files::package(path);
}

/// An OVF descriptor, or a file of sums.
pub fn ovf(bytes: &[u8]) {
    files::ovf(&String::from_utf8_lossy(bytes));
}

/// A VMX file.
pub fn vmx(bytes: &[u8]) {
    files::vmx(&String::from_utf8_lossy(bytes));
}

/// The variables of a firmware.
pub fn nvram(bytes: &[u8]) {
    super::nvram::lost(bytes);
}

/// A reply of vSphere.
pub fn soap(bytes: &[u8]) {
    vsphere::fuzz(&String::from_utf8_lossy(bytes));
}
