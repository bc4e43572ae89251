//! The progress of a run on standard error: bars on a terminal, and without one a line a minute.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::rate::Rate;
use super::render::eprint_line;
use super::screen;
use crate::model::{ByteSize, Stage, shown};
use crate::progress::{Event, Progress, Unit};

/// How often a task is reported without a terminal.
const INTERVAL: Duration = Duration::from_secs(60);
/// How often is checked whether a report is due.
const CHECK: Duration = Duration::from_secs(1);
/// How often a bar moves that nothing else moves.
const TICK: Duration = Duration::from_millis(250);

/// How much is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loudness {
    /// Warnings and errors only.
    Quiet,
    /// Progress too.
    Normal,
}

/// Prints events on standard error; standard output is for results alone.
pub struct Renderer {
    bars: MultiProgress,
    state: Mutex<State>,
    loudness: Loudness,
    terminal: bool,
}

/// What is going on.
#[derive(Default)]
struct State {
    /// The innermost last.
    stages: Vec<Running>,
    tasks: BTreeMap<String, Drawn>,
}

/// A stage.
struct Running {
    stage: Stage,
    began: Instant,
    /// When the last line about it was due.
    last_line: Instant,
    /// Whether its heading is printed.
    headed: bool,
    bar: ProgressBar,
}

/// A task.
struct Drawn {
    bar: ProgressBar,
    unit: Unit,
    total: Option<u64>,
    position: u64,
    /// Of what is transferred, which may be less than what the guest sees of it.
    rate: Rate,
    is_received: bool,
    began: Instant,
    last_line: Instant,
}

impl Renderer {
    /// A renderer for standard error.
    pub fn start(loudness: Loudness) -> Arc<Self> {
        let terminal = io::stderr().is_terminal();
        let renderer = Arc::new(Self::new(loudness, terminal));
        if loudness != Loudness::Quiet && !terminal {
            let observed = Arc::downgrade(&renderer);
            let report = move || report(&observed);
            if let Err(error) = thread::Builder::new().name("progress".to_owned()).spawn(report) {
                tracing::debug!(%error, "start a thread");
            }
        }
        renderer
    }

    fn new(loudness: Loudness, terminal: bool) -> Self {
        let target = match loudness == Loudness::Quiet || !terminal {
            true => ProgressDrawTarget::hidden(),
            false => screen::target(),
        };
        let bars = MultiProgress::with_draw_target(target);
        Self { bars, state: Mutex::default(), loudness, terminal }
    }

    /// Where a run sends its events.
    pub fn progress(self: &Arc<Self>) -> Progress {
        let renderer = Arc::clone(self);
        Progress::new(move |event| renderer.show(event))
    }

    fn show(&self, event: Event) {
        match event {
            Event::StageStarted(stage) => self.begin(stage),
            Event::StageFinished(stage, took) => {
                self.end_stage(stage);
                self.say(&format!("== {stage}: {:.1} s", took.as_secs_f64()));
            }
            Event::StageKept(stage) => {
                self.end_stage(stage);
                self.say(&format!("== {stage}: kept"));
            }
            Event::Note(text) => self.say_in_stage(&text),
            Event::Output { program, line } => {
                self.say_in_stage(&format!("{program} | {}", shown::text(&line)));
            }
            Event::Warned(warning) => {
                self.line(&format!("warning: {}: {}", warning.stage, warning.message));
            }
            Event::TaskStarted { task, total, unit } => self.start_task(task, total, unit),
            Event::TaskAdvanced { task, position } => self.advance(&task, position),
            Event::TaskReceived { task, bytes } => self.receive(&task, bytes),
            Event::TaskFinished { task } => self.end_task(&task),
        }
    }

    /// A line that `--quiet` leaves out.
    fn say(&self, text: &str) {
        if self.loudness != Loudness::Quiet {
            self.line(text);
        }
    }

    /// The same below the heading of its stage, which is printed with the first line: a stage that
    /// has nothing to print has one line, at its end.
    fn say_in_stage(&self, text: &str) {
        let heading = self.lock().heading();
        heading.iter().for_each(|heading| self.say(heading));
        self.say(text);
    }

    /// A line above the bars.
    fn line(&self, text: &str) {
        self.bars.suspend(|| eprint_line(text));
    }

    fn begin(&self, stage: Stage) {
        let bar = self.bars.add(ProgressBar::no_length());
        bar.set_style(styled("== {msg} {elapsed}"));
        bar.set_message(stage.to_string());
        if self.terminal {
            bar.enable_steady_tick(TICK);
        }
        let now = Instant::now();
        let running = Running { stage, began: now, last_line: now, headed: false, bar };
        self.lock().stages.push(running);
    }

    fn end_stage(&self, stage: Stage) {
        let mut state = self.lock();
        if let Some(at) = state.stages.iter().rposition(|running| running.stage == stage) {
            state.stages.remove(at).bar.finish_and_clear();
        }
    }

    fn start_task(&self, task: String, total: Option<u64>, unit: Unit) {
        let bar = self.bars.add(total.map_or_else(ProgressBar::no_length, ProgressBar::new));
        bar.set_style(style(total, unit));
        bar.set_message(shown::value(&task).into_owned());
        if self.terminal {
            bar.enable_steady_tick(TICK);
        }
        let drawn = Drawn::new(bar, unit, total, Instant::now());
        self.lock().tasks.insert(task, drawn);
    }

    fn advance(&self, task: &str, position: u64) {
        if let Some(drawn) = self.lock().tasks.get_mut(task) {
            drawn.advance(position, Instant::now());
        }
    }

    fn receive(&self, task: &str, bytes: u64) {
        if let Some(drawn) = self.lock().tasks.get_mut(task) {
            drawn.receive(bytes, Instant::now());
        }
    }

    fn end_task(&self, task: &str) {
        if let Some(drawn) = self.lock().tasks.remove(task) {
            drawn.bar.finish_and_clear();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Prints what is due until the renderer is gone.
fn report(renderer: &Weak<Renderer>) {
    loop {
        thread::sleep(CHECK);
        let Some(renderer) = renderer.upgrade() else { return };
        let due = renderer.lock().due(Instant::now());
        let time = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ");
        due.iter().for_each(|line| renderer.say_in_stage(&format!("{time} {line}")));
    }
}

impl State {
    /// The heading of the stage, once.
    fn heading(&mut self) -> Option<String> {
        let running = self.stages.last_mut().filter(|running| !running.headed)?;
        running.headed = true;
        Some(format!("== {}", running.stage))
    }

    /// What has not been reported for an interval: the tasks, or a stage without any.
    fn due(&mut self, now: Instant) -> Vec<String> {
        let is_due = |last: Instant| now.saturating_duration_since(last) >= INTERVAL;
        let mut lines = Vec::new();
        for (task, drawn) in self.tasks.iter_mut().filter(|(_, drawn)| is_due(drawn.last_line)) {
            drawn.last_line = now;
            lines.push(format!("{}: {}", shown::value(task), drawn.amount(now)));
        }
        let Some(running) = self.stages.last_mut() else { return lines };
        if !self.tasks.is_empty() {
            running.last_line = now;
        } else if is_due(running.last_line) {
            running.last_line = now;
            let seconds = now.saturating_duration_since(running.began).as_secs();
            lines.push(format!("{}: at work for {seconds} s", running.stage));
        }
        lines
    }
}

impl Drawn {
    fn new(bar: ProgressBar, unit: Unit, total: Option<u64>, now: Instant) -> Self {
        let rate = Rate::new(now);
        Self { bar, unit, total, position: 0, rate, is_received: false, began: now, last_line: now }
    }

    fn advance(&mut self, position: u64, now: Instant) {
        self.position = position;
        self.bar.set_position(position);
        if !self.is_received {
            self.rate.at(position, now);
        }
        self.show_rate(now);
    }

    fn receive(&mut self, bytes: u64, now: Instant) {
        if !self.is_received {
            (self.is_received, self.rate) = (true, Rate::new(self.began));
        }
        self.rate.at(bytes, now);
        self.show_rate(now);
    }

    fn show_rate(&self, now: Instant) {
        if self.unit == Unit::Bytes {
            self.bar.set_prefix(format!("{}/s", ByteSize(self.rate.per_second(now))));
        }
    }

    /// How far the task is.
    fn amount(&self, now: Instant) -> String {
        let rate = || format!("{}/s", ByteSize(self.rate.per_second(now)));
        let position = ByteSize(self.position);
        match (self.unit, self.total) {
            (Unit::Bytes, Some(total)) => {
                let percent = u128::from(self.position) * 100 / u128::from(total.max(1));
                format!("{percent} % ({position} of {}), {}", ByteSize(total), rate())
            }
            (Unit::Bytes, None) => format!("{position}, {}", rate()),
            (Unit::BasisPoints, _) => format!("{} %", self.position / 100),
        }
    }
}

fn style(total: Option<u64>, unit: Unit) -> ProgressStyle {
    styled(match (unit, total) {
        (Unit::Bytes, Some(_)) => {
            "{msg:24!} {bar:24} {percent:>3} % {bytes:>10}/{total_bytes} {prefix} {eta}"
        }
        (Unit::Bytes, None) => "{msg:24!} {spinner} {bytes} {prefix} {elapsed}",
        (Unit::BasisPoints, _) => "{msg:24!} {bar:24} {percent:>3} % {elapsed}",
    })
}

fn styled(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(number: u64) -> Duration {
        Duration::from_secs(number)
    }

    #[test]
    fn without_a_terminal_each_task_has_a_line_a_minute() {
        let renderer = Renderer::new(Loudness::Normal, false);
        renderer.show(Event::StageStarted(Stage::Export));
        let (task, total) = ("download disk-0".to_owned(), Some(4 << 20));
        renderer.show(Event::TaskStarted { task: task.clone(), total, unit: Unit::Bytes });
        let began = Instant::now();
        let due = |after| renderer.lock().due(began + seconds(after));
        assert!(due(59).is_empty(), "too early");
        renderer.lock().tasks.get_mut(&task).expect("runs").advance(1 << 20, began + seconds(59));
        let lines = due(61);
        let [line] = &lines[..] else { panic!("{lines:?}") };
        assert!(line.starts_with("download disk-0: 25 % (1.0 MiB of 4.0 MiB), "), "{line}");
        assert!(line.ends_with("/s"), "{line}");
        assert!(due(62).is_empty(), "once a minute");
        // A task that hangs is reported, too.
        assert_eq!(due(125).len(), 1);
        renderer.show(Event::TaskFinished { task });
        assert!(due(130).is_empty());
        assert_eq!(due(190), ["export: at work for 190 s"]);
    }

    #[test]
    fn the_rate_is_that_of_the_wire() {
        let began = Instant::now();
        let mut drawn = Drawn::new(ProgressBar::hidden(), Unit::Bytes, Some(1 << 30), began);
        for second in 1..=10 {
            drawn.advance(second * (100 << 20), began + seconds(second));
            drawn.receive(second * (10 << 20), began + seconds(second));
        }
        let amount = drawn.amount(began + seconds(10));
        assert!(amount.ends_with(", 10.0 MiB/s"), "{amount}");
    }

    #[test]
    fn a_stage_has_a_heading_once_and_only_with_a_line_below() {
        let renderer = Renderer::new(Loudness::Normal, false);
        assert_eq!(renderer.lock().heading(), None);
        renderer.show(Event::StageStarted(Stage::Preflight));
        assert_eq!(renderer.lock().heading().as_deref(), Some("== preflight"));
        assert_eq!(renderer.lock().heading(), None);
        renderer.show(Event::StageFinished(Stage::Preflight, Duration::ZERO));
        assert!(renderer.lock().stages.is_empty());
    }

    #[test]
    fn percents_are_those_of_a_task_that_counts_them() {
        let now = Instant::now();
        let mut drawn = Drawn::new(ProgressBar::hidden(), Unit::BasisPoints, Some(10_000), now);
        drawn.advance(4550, now);
        assert_eq!(drawn.amount(now), "45 %");
    }
}
