//! libvirt's event loop, which answers and sends keepalives while calls block: without it a
//! connection that is stuck is waited for as long as TCP likes.

use std::sync::OnceLock;
use std::time::Duration;

use virt::connect::Connect;
use virt::event::{event_register_default_impl, event_run_default_impl};

/// Seconds between two keepalives, and how many may stay without an answer: a dead connection is
/// noticed within half a minute.
const INTERVAL: i32 = 5;
const UNANSWERED: u32 = 4;

/// Has the loop run, on a thread that lives as long as the process. It must run before a
/// connection is opened. Also for this machine: libvirtd 11.3 may loop without end when
/// the file system fills up under an upload, and lets go of nobody then.
pub(in crate::libvirt) fn start() {
    static STARTED: OnceLock<()> = OnceLock::new();
    STARTED.get_or_init(|| {
        if let Err(error) = event_register_default_impl() {
            return tracing::warn!(%error, "libvirt has no event loop: keepalives are off");
        }
        std::thread::spawn(|| {
            loop {
                if let Err(error) = event_run_default_impl() {
                    tracing::debug!(%error, "event loop");
                    std::thread::sleep(Duration::from_millis(100));
                }
            }
        });
    });
}

/// Has the connection closed when the other side falls silent.
pub(in crate::libvirt) fn keep_alive(connect: &Connect) {
    if let Err(error) = connect.set_keep_alive(INTERVAL, UNANSWERED) {
        tracing::debug!(%error, "the daemon has no keepalives");
    }
}
