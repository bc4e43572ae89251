//! Programs and files that every converter needs: qemu-img, work images, libguestfs, isolation.

pub(super) mod appliance;
pub(super) mod isolate;
pub(super) mod keep_log;
pub(super) mod libguestfs;
pub(super) mod libguestfs_cleanup;
pub(super) mod private;
pub(super) mod qemu_img;
pub(super) mod rewrite;
pub(super) mod work;
