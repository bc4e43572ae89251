//! Signals, on a thread of their own: whatever blocks the runtime, they are heard. Those that end a
//! program undo what the run has begun: Ctrl-C, TERM, QUIT, and HUP, which a terminal sends when
//! its connection breaks.

use std::ffi::c_int;
use std::fs::{self, File};
use std::io;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use nix::libc;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;
use tokio_util::sync::CancellationToken;

use super::exit::Exit;
use super::render::eprint_line;

/// How long the program waits for its last words: standard error may take none.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// Cancels `cancel` at the first signal that ends a program, and leaves the program at the second
/// one. With `rereads`, USR1 asks for a file to be read again, and so does HUP while the terminal
/// stands.
pub(super) fn listen(cancel: CancellationToken, rereads: Option<Sender<()>>) {
    let mut kinds = vec![SIGINT, SIGTERM, SIGQUIT];
    kinds.extend((!ignores_hangups()).then_some(SIGHUP));
    kinds.extend(rereads.is_some().then_some(SIGUSR1));
    let listener = Listener { cancel, rereads, terminal: has_terminal() };
    let started = Signals::new(kinds).and_then(|signals| start(listener, signals));
    if let Err(error) = started {
        tracing::warn!(%error, "signals cannot be listened to");
    }
}

fn start(listener: Listener, mut signals: Signals) -> io::Result<()> {
    let work = move || signals.forever().for_each(|signal| listener.hear(signal));
    thread::Builder::new().name("signals".to_owned()).spawn(work).map(drop)
}

struct Listener {
    cancel: CancellationToken,
    rereads: Option<Sender<()>>,
    /// Whether the program began on a terminal.
    terminal: bool,
}

impl Listener {
    fn hear(&self, signal: c_int) {
        match &self.rereads {
            Some(rereads) if signal == SIGUSR1 || signal == SIGHUP && !self.has_lost_terminal() => {
                if rereads.send(()).is_err() {
                    tracing::debug!("nobody reads the file again");
                }
            }
            // A broken connection may send several, none of which is a wish to leave at once.
            _ if signal == SIGHUP && self.cancel.is_cancelled() => {}
            _ => self.end(),
        }
    }

    fn end(&self) {
        if self.cancel.is_cancelled() {
            let said = say("interrupted twice: exiting immediately; the next run cleans up");
            // Whether or not standard error took it.
            let _ = said.recv_timeout(LAST_WORDS);
            // SAFETY: it only ends the process. What `exit` runs before may wait for what is
            // blocked.
            unsafe { libc::_exit(c_int::from(Exit::Interrupted as u8)) }
        }
        self.cancel.cancel();
        say("interrupted: cleaning up (press Ctrl-C again to exit immediately)");
    }

    fn has_lost_terminal(&self) -> bool {
        self.terminal && !has_terminal()
    }
}

/// Prints on another thread, since standard error may be what is blocked. The receiver hears the
/// end.
fn say(text: &'static str) -> Receiver<()> {
    let (done, heard) = mpsc::channel();
    let print = move || {
        eprint_line(text);
        // Nobody waits for the first message.
        let _ = done.send(());
    };
    if let Err(error) = thread::Builder::new().spawn(print) {
        tracing::debug!(%error, "starting a thread");
    }
    heard
}

/// A terminal that hung up cannot be opened any more (tty(4)).
fn has_terminal() -> bool {
    File::open("/dev/tty").is_ok()
}

/// Whether HUP is ignored from the beginning, as nohup(1) has it: HUP, the first signal, is in the
/// mask of those that are ignored (proc(5), `SigIgn`).
fn ignores_hangups() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask & 1 == 1)
}
