//! Signals. Those that end a program undo what the run has begun: Ctrl-C, TERM, QUIT, and HUP, which
//! a terminal sends when its connection breaks.

use std::fs::{self, File};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::exit::Exit;
use super::render::eprint_line;

/// What HUP means while the terminal stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hangup {
    /// The end, as ever.
    Ends,
    /// Somebody wants the bandwidth limit read again.
    Rereads,
}

/// Cancels `cancel` at the first signal, and leaves the program at the second one.
pub(super) async fn listen(cancel: CancellationToken, hangup: Hangup) {
    let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::quit()];
    let listened: std::io::Result<Vec<Signal>> = kinds.into_iter().map(signal).collect();
    let (Ok(mut ends), Ok(mut hangups)) = (listened, Hangups::new(hangup)) else {
        return tracing::warn!("signals cannot be listened to");
    };
    let [interrupt, terminate, quit] = ends.as_mut_slice() else { return };
    loop {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = quit.recv() => {}
            () = hangups.end() => {}
        }
        if cancel.is_cancelled() {
            eprint_line("interrupted twice: leaving at once; the next run tidies up");
            std::process::exit(i32::from(Exit::Interrupted as u8));
        }
        eprint_line("interrupted: undoing what was begun (once more to leave at once)");
        cancel.cancel();
    }
}

/// HUP, as far as it ends the run.
struct Hangups {
    meaning: Hangup,
    /// Whether the program began on a terminal.
    terminal: bool,
    /// None where HUP was ignored from the beginning, as nohup(1) has it.
    signals: Option<Signal>,
}

impl Hangups {
    fn new(meaning: Hangup) -> std::io::Result<Self> {
        let signals = (!ignored()).then(|| signal(SignalKind::hangup())).transpose()?;
        Ok(Self { meaning, terminal: has_terminal(), signals })
    }

    /// Waits for the HUP that ends the run. A broken connection may send several at once, of which
    /// the later ones are no wish to leave.
    async fn end(&mut self) {
        let Some(signals) = &mut self.signals else { return std::future::pending().await };
        loop {
            if signals.recv().await.is_none() {
                return std::future::pending().await;
            }
            let is_lost = self.terminal && !has_terminal();
            if self.meaning == Hangup::Ends || is_lost {
                self.signals = None;
                return;
            }
        }
    }
}

/// A terminal that hung up cannot be opened any more (tty(4)).
fn has_terminal() -> bool {
    File::open("/dev/tty").is_ok()
}

/// Whether HUP, the first signal, is in the mask of those that are ignored (proc(5), `SigIgn`).
fn ignored() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask & 1 == 1)
}
