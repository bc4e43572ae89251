//! Progress on a person's terminal: bars where there is one, plain lines where there is none.

use std::collections::HashMap;
use std::io::{self, IsTerminal, Write};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use comfy_table::Table;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use super::screen;
use crate::model::shown;
use crate::progress::{Event, Progress, Unit};

/// Without a terminal, a task is mentioned no more often than this.
const QUIET_TIME: Duration = Duration::from_secs(10);

/// How much is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loudness {
    /// Warnings and errors only.
    Quiet,
    /// Progress too.
    Normal,
}

/// Draws events on standard error; standard output is for results alone.
pub struct Renderer {
    bars: MultiProgress,
    tasks: Mutex<HashMap<String, Drawn>>,
    loudness: Loudness,
    terminal: bool,
}

/// A task on the screen.
struct Drawn {
    bar: ProgressBar,
    unit: Unit,
    total: Option<u64>,
    last_line: Instant,
}

impl Renderer {
    /// A renderer for standard error.
    pub fn new(loudness: Loudness) -> Self {
        let terminal = io::stderr().is_terminal();
        let target = match loudness == Loudness::Quiet || !terminal {
            true => ProgressDrawTarget::hidden(),
            false => screen::target(),
        };
        let bars = MultiProgress::with_draw_target(target);
        Self { bars, tasks: Mutex::new(HashMap::new()), loudness, terminal }
    }

    /// Where a run sends its events.
    pub fn progress(self: &std::sync::Arc<Self>) -> Progress {
        let renderer = std::sync::Arc::clone(self);
        Progress::new(move |event| renderer.show(event))
    }

    fn show(&self, event: Event) {
        match event {
            Event::StageStarted(stage) => self.say(&format!("== {stage}")),
            Event::StageFinished(stage, took) => {
                self.say(&format!("== {stage}: {:.1} s", took.as_secs_f64()));
            }
            Event::StageKept(stage) => self.say(&format!("== {stage}: kept")),
            Event::Note(text) => self.say(&text),
            Event::Output { program, line } => {
                self.say(&format!("{program} | {}", shown::text(&line)))
            }
            Event::Warned(warning) => {
                self.line(&format!("warning: {}: {}", warning.stage, warning.message));
            }
            Event::TaskStarted { task, total, unit } => self.start(task, total, unit),
            Event::TaskAdvanced { task, position } => self.advance(&task, position),
            Event::TaskFinished { task } => self.end(&task),
        }
    }

    /// A line that `--quiet` leaves out.
    fn say(&self, text: &str) {
        if self.loudness != Loudness::Quiet {
            self.line(text);
        }
    }

    /// A line above the bars.
    fn line(&self, text: &str) {
        self.bars.suspend(|| eprint_line(text));
    }

    fn start(&self, task: String, total: Option<u64>, unit: Unit) {
        let bar = self.bars.add(total.map_or_else(ProgressBar::no_length, ProgressBar::new));
        bar.set_style(style(total, unit));
        bar.set_message(shown::value(&task).into_owned());
        if self.terminal {
            bar.enable_steady_tick(Duration::from_millis(250));
        }
        let drawn = Drawn { bar, unit, total, last_line: Instant::now() };
        self.lock().insert(task, drawn);
    }

    fn advance(&self, task: &str, position: u64) {
        let mut tasks = self.lock();
        let Some(drawn) = tasks.get_mut(task) else { return };
        drawn.bar.set_position(position);
        if !self.terminal && drawn.last_line.elapsed() >= QUIET_TIME {
            drawn.last_line = Instant::now();
            let text = format!("{task}: {}", amount(position, drawn.total, drawn.unit));
            drop(tasks);
            self.say(&text);
        }
    }

    fn end(&self, task: &str) {
        if let Some(drawn) = self.lock().remove(task) {
            drawn.bar.finish_and_clear();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Drawn>> {
        self.tasks.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// How far a task is, for a plain line.
fn amount(position: u64, total: Option<u64>, unit: Unit) -> String {
    use crate::model::ByteSize;
    match (unit, total) {
        (Unit::Bytes, Some(total)) => {
            let percent = position.saturating_mul(100) / total.max(1);
            format!("{percent} % ({} of {})", ByteSize(position), ByteSize(total))
        }
        (Unit::Bytes, None) => ByteSize(position).to_string(),
        (Unit::BasisPoints, _) => format!("{} %", position / 100),
    }
}

fn style(total: Option<u64>, unit: Unit) -> ProgressStyle {
    let template = match (unit, total) {
        (Unit::Bytes, Some(_)) => {
            "{msg:24!} {bar:24} {percent:>3} % {bytes:>10}/{total_bytes} {bytes_per_sec} {eta}"
        }
        (Unit::Bytes, None) => "{msg:24!} {spinner} {bytes} {bytes_per_sec} {elapsed}",
        (Unit::BasisPoints, _) => "{msg:24!} {bar:24} {percent:>3} % {elapsed}",
    };
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// Writes a message to standard error. That standard error is closed is nothing that could be told,
/// least of all in the log, which goes the same way.
pub fn eprint_line(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", shown::message(text));
}

/// Writes a line to standard output.
///
/// # Errors
/// What the system says, so that a full disk behind a redirection is noticed.
pub fn print_line(text: &str) -> io::Result<()> {
    print(&shown::message(text))
}

/// Writes a table to standard output, whose cells are made by [`cell`].
///
/// # Errors
/// As [`print_line`].
pub fn print_table(table: &Table) -> io::Result<()> {
    print(&shown::text(&table.trim_fmt()))
}

/// Writes a value to standard output as JSON.
///
/// # Errors
/// As [`print_line`].
pub fn print_json(value: &impl Serialize) -> io::Result<()> {
    print(&json(&serde_json::to_string_pretty(value)?))
}

/// A value of others as the cell of a table, which has one line.
pub fn cell(value: &str) -> String {
    shown::value(value).into_owned()
}

/// JSON that means the same and steers no terminal. serde escapes C0 alone; what else steers stands
/// within strings, and each such character has a single unit of UTF-16.
fn json(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            c if c != '\n' && shown::steers(c) => {
                safe.push_str(&format!("\\u{:04x}", u32::from(c)))
            }
            c => safe.push(c),
        }
    }
    safe
}

/// A reader that has seen enough, as `head` has, is no error.
fn print(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    match writeln!(stdout, "{text}").and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        end => end,
    }
}

/// The log of `-v` on standard error: an event is a message, and one that cannot be written is lost.
pub struct Log;

impl Write for Log {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        eprint_line(&String::from_utf8_lossy(event));
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_line_tells_how_far_a_task_is() {
        assert_eq!(amount(512, Some(2048), Unit::Bytes), "25 % (512 B of 2.0 KiB)");
        assert_eq!(amount(2048, None, Unit::Bytes), "2.0 KiB");
        assert_eq!(amount(4550, Some(10_000), Unit::BasisPoints), "45 %");
    }

    #[test]
    fn json_means_the_same_and_steers_no_terminal() {
        let value = serde_json::json!({"name": "a\u{1b}[2J\u{9b}\u{7f}\u{202e}\u{2028}\n\u{e9}"});
        let text = json(&serde_json::to_string_pretty(&value).expect("JSON"));
        assert!(!text.contains(|c| c != '\n' && shown::steers(c)), "{text}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).expect("JSON"), value);
    }
}
