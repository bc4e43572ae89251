//! The host of a libvirt daemon: capabilities, KVM, bridges, and the rights of QEMU.

pub(super) mod access;
pub(super) mod bridge_helper;
pub(super) mod bridges;
pub(super) mod capabilities;
pub(super) mod host_checks;
pub(super) mod kvm;
pub(super) mod own_daemon;
