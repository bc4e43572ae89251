//! The serial console of a running domain.

use std::time::{Duration, Instant};

use virt::connect::Connect;
use virt::domain::Domain;
use virt::stream::Stream;
use virt::sys;

use super::super::Error;

/// Bytes of output kept: the last screens of a boot.
const KEPT: usize = 64 * 1024;
/// Returned by `virStreamRecv` when no data is available yet.
const NOTHING_YET: isize = -2;

/// Silence after which Enter is pressed: a lost login prompt is printed again, and a program that
/// waits for a key continues.
const SILENCE: Duration = Duration::from_secs(20);

/// An open console and its latest output.
pub(in crate::libvirt) struct Console {
    stream: Option<Stream>,
    kept: Vec<u8>,
    quiet_since: Instant,
}

impl Console {
    /// Opens the first console of a domain and disconnects any other client from it.
    pub fn open(connect: &Connect, domain: &Domain, name: &str) -> Result<Self, Error> {
        let call = || Error::call(format!("opening the console of domain '{name}'"));
        let stream = Stream::new(connect, sys::VIR_STREAM_NONBLOCK).map_err(call())?;
        domain.open_console(None, &stream, sys::VIR_DOMAIN_CONSOLE_FORCE).map_err(call())?;
        Ok(Self { stream: Some(stream), kept: Vec::new(), quiet_since: Instant::now() })
    }

    /// Reads the output that has arrived since the last call. A closed console yields no more
    /// output.
    pub fn read(&mut self) {
        let mut buffer = [0; 4096];
        while let Some(stream) = &self.stream {
            match stream.recv(&mut buffer) {
                Ok(NOTHING_YET) => break,
                Ok(length) if length > 0 => {
                    let length = usize::try_from(length).unwrap_or(0).min(buffer.len());
                    self.keep(&buffer[..length]);
                }
                ended => {
                    tracing::debug!(?ended, "the console is closed");
                    self.stream = None;
                }
            }
        }
    }

    /// Presses Enter once the guest has been silent for long.
    pub fn wake(&mut self) {
        if let Some(stream) = self.stream.as_ref().filter(|_| self.quiet_since.elapsed() > SILENCE)
        {
            self.quiet_since = Instant::now();
            if let Err(error) = stream.send(b"\r") {
                tracing::debug!(%error, "press Enter");
            }
        }
    }

    /// The latest output, without terminal control sequences.
    pub fn text(&self) -> String {
        plain(&String::from_utf8_lossy(&self.kept))
    }

    fn keep(&mut self, bytes: &[u8]) {
        self.quiet_since = Instant::now();
        self.kept.extend_from_slice(bytes);
        let surplus = self.kept.len().saturating_sub(KEPT);
        self.kept.drain(..surplus);
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        // A stream that is dropped without `abort` stays open in the daemon.
        if let Some(stream) = self.stream.take()
            && let Err(error) = stream.abort()
        {
            tracing::debug!(%error, "closing the console");
        }
    }
}

/// The last non-empty lines of a text.
pub(in crate::libvirt) fn last_lines(text: &str, count: usize) -> Vec<String> {
    let lines: Vec<_> = text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(count)..].iter().map(|line| (*line).to_owned()).collect()
}

/// The text without escape sequences (ECMA-48, sections 5.3 and 5.4) and other control characters.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' if chars.next_if_eq(&'[').is_some() => {
                // A control sequence ends with its first byte from @ to ~.
                while chars.next().is_some_and(|c| !('@'..='~').contains(&c)) {}
            }
            '\u{1b}' => drop(chars.next()),
            '\n' | '\t' => plain.push(c),
            c if c.is_control() => {}
            c => plain.push(c),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_text_is_left_of_a_screen() {
        let screen = "\u{1b}[2J\u{1b}[01;32mDebian\u{1b}[0m 12\r\n\u{1b}(Blogin: \u{7}";
        assert_eq!(plain(screen), "Debian 12\nBlogin: ");
    }

    #[test]
    fn the_last_lines_are_the_last_that_say_something() {
        assert_eq!(last_lines("a\n\nb \n\nc\n\n", 2), ["b", "c"]);
        assert_eq!(last_lines("", 2), [""; 0]);
    }

    #[test]
    fn memory_stays_flat() {
        let mut console = Console { stream: None, kept: Vec::new(), quiet_since: Instant::now() };
        for _ in 0..100 {
            console.keep(&[b'x'; 4096]);
        }
        console.keep(b"end");
        assert_eq!(console.kept.len(), KEPT);
        assert!(console.text().ends_with("xend"));
    }
}
