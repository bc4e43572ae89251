//! libvirt's event loop, which answers and sends keepalives while calls block. Without it a call on
//! a stuck connection waits until TCP times out.

use std::sync::OnceLock;
use std::time::Duration;

use virt::connect::Connect;
use virt::event::{event_register_default_impl, event_run_default_impl};

/// Seconds between two keepalives, and how many may remain unanswered: a dead connection is
/// detected within half a minute.
const INTERVAL: i32 = 5;
const UNANSWERED: u32 = 4;

/// Runs the event loop on a thread that lives as long as the process. Call this before opening a
/// connection. Local connections need the loop too: libvirtd 11.3 may spin when the file system
/// fills up during an upload, and then does not close its connections.
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

/// Makes libvirt close the connection when the daemon stops responding.
pub(in crate::libvirt) fn keep_alive(connect: &Connect) {
    if let Err(error) = connect.set_keep_alive(INTERVAL, UNANSWERED) {
        tracing::debug!(%error, "the daemon has no keepalives");
    }
}
