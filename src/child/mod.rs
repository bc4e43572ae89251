//! The only place that starts processes.
//!
//! A child runs in its own session and process group (`setsid`). Its standard input is closed,
//! except for a [`Dialogue`]. Both outputs are read line by line. No child outlives the run: after
//! a timeout or a cancellation the process group gets TERM, then KILL after a grace period. If
//! hyperexport itself is killed, the kernel kills the child (`PR_SET_PDEATHSIG`).
//!
//! The environment contains only the variables that the caller sets: a variable of the user's shell
//! may be a password, or change the program's behavior. Programs that open untrusted files are also
//! confined ([`Confinement`], [`Bounds`]).

mod bounds;
mod confine;
mod dialogue;
mod namespace;

pub use bounds::{Bounds, write_no_core};
pub use confine::{Confinement, Door};
pub use dialogue::Dialogue;
pub use namespace::{enter_mount_and_pid, mount_proc};

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Time between TERM and KILL.
const GRACE: Duration = Duration::from_secs(5);
/// Longest wait for another line after the process group has ended.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// Longest line of output, in bytes; the rest of a longer line is dropped.
const LONGEST_LINE: usize = 64 * 1024;

/// Search path for programs until [`find_programs_in`] sets another one.
const USUAL_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
static SEARCH_PATH: OnceLock<OsString> = OnceLock::new();

/// Why a child did not run to its end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The program could not be started or confined.
    #[error("starting {program}")]
    Start {
        /// File name of the program, without its folder.
        program: String,
        /// Error of the operating system.
        source: io::Error,
    },
    /// The exit status of the program could not be read.
    #[error("waiting for {program}")]
    Wait {
        /// File name of the program, without its folder.
        program: String,
        /// Error of the operating system.
        source: io::Error,
    },
    /// The program exceeded its time limit; its process group has been ended.
    #[error("{program} did not end within {}", humantime::format_duration(*after))]
    TimedOut {
        /// File name of the program, without its folder.
        program: String,
        /// Time limit that the program exceeded.
        after: Duration,
    },
    /// The run was cancelled; the program's process group has been ended.
    #[error("{program} was interrupted")]
    Cancelled {
        /// File name of the program, without its folder.
        program: String,
    },
}

/// Which output a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Hook that the child runs between `fork` and `exec`; must be async-signal-safe.
type BeforeExec = Box<dyn FnMut() -> io::Result<()> + Send + Sync>;

/// A program to run, with its arguments, environment and limits.
pub struct Program {
    path: PathBuf,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    dir: Option<PathBuf>,
    bounds: Bounds,
    confinement: Option<(Confinement, Door)>,
    before_exec: Option<BeforeExec>,
}

impl Program {
    /// A program by its path, or by a name that is searched in the program's own `PATH`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            args: Vec::new(),
            env: Vec::new(),
            dir: None,
            bounds: Bounds::default(),
            confinement: None,
            before_exec: None,
        }
    }

    /// Appends one argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Appends several arguments.
    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(|a| a.as_ref().to_owned()));
        self
    }

    /// Sets an environment variable; the program inherits none. Relative entries of a `PATH` are
    /// dropped, so that no program is run from the working folder.
    pub fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        let (key, mut value) = (key.as_ref().to_owned(), value.as_ref().to_owned());
        if key == "PATH" {
            value = absolute_entries(&value);
        }
        self.env.push((key, value));
        self
    }

    /// Sets several environment variables, as [`Self::env`].
    pub fn envs<K: AsRef<OsStr>, V: AsRef<OsStr>>(
        self,
        variables: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        variables.into_iter().fold(self, |program, (key, value)| program.env(key, value))
    }

    /// Runs the program in `dir` instead of the current folder.
    pub fn dir(mut self, dir: impl AsRef<Path>) -> Self {
        self.dir = Some(dir.as_ref().to_owned());
        self
    }

    /// Limits the memory, processor time and file sizes of the program.
    pub fn bounds(mut self, bounds: Bounds) -> Self {
        self.bounds = bounds;
        self
    }

    /// Runs the program in its own root, made by means of `door`.
    pub fn confined(mut self, confinement: Confinement, door: Door) -> Self {
        self.confinement = Some((confinement, door));
        self
    }

    /// Calls `act` in the child between `fork` and `exec`. The function must be async-signal-safe:
    /// system calls only, no allocation.
    pub fn before_exec(
        mut self,
        act: impl FnMut() -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        self.before_exec = Some(Box::new(act));
        self
    }

    /// Name for messages.
    fn name(&self) -> String {
        self.path.file_name().unwrap_or(self.path.as_os_str()).to_string_lossy().into_owned()
    }

    fn command(self) -> io::Result<Command> {
        let mut confine = match self.confinement {
            Some((confinement, door)) => {
                let path = self.env.iter().rfind(|(key, _)| key == "PATH");
                let path = path.map_or(OsStr::new(""), |(_, path)| path);
                Some(confinement.hook(door, &self.path, path, self.dir.as_deref())?)
            }
            None => None,
        };
        let mut command = Command::new(&self.path);
        command.args(&self.args).env_clear().envs(self.env);
        if let Some(dir) = &self.dir {
            command.current_dir(dir);
        }
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let (mut before_exec, bounds) = (self.before_exec, self.bounds);
        // SAFETY: setsid and prctl are async-signal-safe; `before_exec`, the confinement and the
        // bounds promise the same.
        unsafe {
            command.pre_exec(move || {
                nix::unistd::setsid()?;
                nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
                before_exec.as_mut().map_or(Ok(()), |act| act())?;
                confine.as_mut().map_or(Ok(()), |act| act())?;
                bounds.apply()
            });
        }
        Ok(command)
    }
}

/// Search path for programs whose caller has no `PATH`: the one from [`find_programs_in`], or the
/// usual system folders.
pub fn search_path() -> &'static OsStr {
    SEARCH_PATH.get().map_or(OsStr::new(USUAL_PATH), OsString::as_os_str)
}

/// Sets the result of [`search_path`] once per process: the `PATH` of the user who runs
/// hyperexport.
pub fn find_programs_in(path: &OsStr) {
    if SEARCH_PATH.set(absolute_entries(path)).is_err() {
        tracing::debug!("the search path is set already");
    }
}

/// `PATH` without its relative and empty entries.
fn absolute_entries(path: &OsStr) -> OsString {
    let entries = std::env::split_paths(path).filter(|entry| entry.is_absolute());
    // Joining fails only for an entry with a colon, and no entry has one.
    std::env::join_paths(entries).unwrap_or_default()
}

/// Starts a program of the user that keeps running when this process ends.
///
/// # Errors
/// [`Error::Start`].
pub fn launch(program: Program) -> Result<(), Error> {
    let name = program.name();
    let mut command = std::process::Command::new(&program.path);
    command.args(&program.args).env_clear().envs(program.env);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    command.spawn().map(drop).map_err(|source| Error::Start { program: name, source })
}

/// Time limit and cancellation of a child.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Longest run time; `None` for no limit.
    pub timeout: Option<Duration>,
    /// Token whose cancellation ends the child.
    pub cancel: CancellationToken,
}

/// Runs `program` to its end and passes every line of its output to `on_line`. A carriage return
/// also ends a line, since progress bars use it. Bytes that are not UTF-8 are replaced.
///
/// # Errors
/// [`Error`] if the program could not be started, timed out or was cancelled. A nonzero exit status
/// is not an error: the caller interprets it.
pub async fn run(
    program: Program,
    limits: &Limits,
    mut on_line: impl FnMut(Output, &str),
) -> Result<ExitStatus, Error> {
    let StartedChild { name, mut child, group, mut received } = start(program, Stdio::null())?;
    let mut guard = KillOnDrop(group);
    let end = watch(&name, &mut child, &mut received, limits, &mut on_line).await;
    // Also after a successful exit: processes that the child left running must not outlive it.
    if let Some(group) = group {
        end_group(group, &mut child, end.is_ok()).await;
    }
    guard.0 = None;
    // Remaining lines. A process that moved to another group may keep the pipe open indefinitely,
    // hence the timeout.
    while let Ok(Some((output, line))) = tokio::time::timeout(LAST_WORDS, received.recv()).await {
        on_line(output, &line);
    }
    end
}

/// A child that has just been started and whose outputs are being read.
struct StartedChild {
    name: String,
    child: tokio::process::Child,
    group: Option<Pid>,
    received: mpsc::Receiver<(Output, String)>,
}

fn start(program: Program, stdin: Stdio) -> Result<StartedChild, Error> {
    debug_assert!(!may_end_early(), "a child of this thread would be killed when the thread ends");
    let name = program.name();
    let spawned = program.command().and_then(|mut command| command.stdin(stdin).spawn());
    let mut child = spawned.map_err(|source| Error::Start { program: name.clone(), source })?;
    let group = child.id().map(|id| Pid::from_raw(id.cast_signed()));
    let (lines, received) = mpsc::channel(64);
    if let Some(out) = child.stdout.take() {
        tokio::spawn(read_lines(out, Output::Stdout, lines.clone()));
    }
    if let Some(err) = child.stderr.take() {
        tokio::spawn(read_lines(err, Output::Stderr, lines));
    }
    Ok(StartedChild { name, child, group, received })
}

/// Whether this is a thread that tokio ends when it is idle. `PR_SET_PDEATHSIG` follows the thread,
/// so the kernel would then kill the thread's children.
fn may_end_early() -> bool {
    std::thread::current().name() == Some("tokio-rt-worker")
}

/// Passes lines on until the child ends, times out or is cancelled.
async fn watch(
    name: &str,
    child: &mut tokio::process::Child,
    received: &mut mpsc::Receiver<(Output, String)>,
    limits: &Limits,
    on_line: &mut impl FnMut(Output, &str),
) -> Result<ExitStatus, Error> {
    let program = || name.to_owned();
    let too_late = async {
        match limits.timeout {
            Some(limit) => tokio::time::sleep(limit).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(too_late);
    loop {
        tokio::select! {
            Some((output, line)) = received.recv() => on_line(output, &line),
            status = child.wait() => {
                return status.map_err(|source| Error::Wait { program: program(), source });
            }
            () = limits.cancel.cancelled() => return Err(Error::Cancelled { program: program() }),
            () = &mut too_late => {
                let after = limits.timeout.unwrap_or_default();
                return Err(Error::TimedOut { program: program(), after });
            }
        }
    }
}

/// Kills a process group when its run is dropped early.
struct KillOnDrop(Option<Pid>);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        if let Some(group) = self.0
            && let Err(error) = killpg(group, Signal::SIGKILL)
        {
            tracing::debug!(%group, %error, "killing process group");
        }
    }
}

/// Ends a process group with TERM, then KILL. `leader_gone`: the leader has already been reaped.
async fn end_group(group: Pid, child: &mut tokio::process::Child, leader_gone: bool) {
    if killpg(group, Signal::SIGTERM) == Err(Errno::ESRCH) {
        return;
    }
    let deadline = tokio::time::Instant::now() + GRACE;
    let mut reaped = leader_gone;
    while tokio::time::Instant::now() < deadline {
        if !reaped && matches!(child.try_wait(), Ok(Some(_))) {
            reaped = true;
        }
        if reaped && killpg(group, None) == Err(Errno::ESRCH) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    if let Err(error) = killpg(group, Signal::SIGKILL) {
        tracing::debug!(%group, %error, "killing process group");
    }
    if !reaped && let Err(error) = child.wait().await {
        tracing::debug!(%group, %error, "waiting for killed child");
    }
}

/// Sends lines until the stream or the receiver is closed.
async fn read_lines(
    mut stream: impl AsyncRead + Unpin,
    output: Output,
    lines: mpsc::Sender<(Output, String)>,
) {
    let mut buffer = [0; 8192];
    let mut line = Vec::new();
    loop {
        let read = match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(read) => read,
        };
        for &byte in &buffer[..read] {
            if byte == b'\n' || byte == b'\r' {
                if !line.is_empty() && send_line(&mut line, output, &lines).await.is_err() {
                    return;
                }
            } else if line.len() < LONGEST_LINE {
                line.push(byte);
            }
        }
    }
    if !line.is_empty() && send_line(&mut line, output, &lines).await.is_err() {
        tracing::debug!("last line of a child came too late");
    }
}

async fn send_line(
    line: &mut Vec<u8>,
    output: Output,
    lines: &mpsc::Sender<(Output, String)>,
) -> Result<(), mpsc::error::SendError<(Output, String)>> {
    let text = String::from_utf8_lossy(line).into_owned();
    line.clear();
    lines.send((output, text)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(timeout: Option<Duration>) -> Limits {
        Limits { timeout, cancel: CancellationToken::new() }
    }

    fn shell(script: &str) -> Program {
        Program::new("/bin/sh").arg("-c").arg(script)
    }

    #[tokio::test]
    async fn lines_of_both_outputs_arrive_and_the_status_comes_back() {
        let mut seen = Vec::new();
        let status = run(
            shell(r"printf 'a\r50%%\n'; echo err >&2; printf last; exit 7"),
            &limits(None),
            |output, line| seen.push((output, line.to_owned())),
        )
        .await
        .expect("runs");
        assert_eq!(status.code(), Some(7));
        let out: Vec<_> =
            seen.iter().filter(|(o, _)| *o == Output::Stdout).map(|(_, l)| l.as_str()).collect();
        assert_eq!(out, ["a", "50%", "last"]);
        assert!(seen.contains(&(Output::Stderr, "err".to_owned())));
    }

    #[tokio::test]
    async fn a_timeout_ends_the_grandchildren_too() {
        let mut grandchild = 0;
        let error = run(
            shell("sleep 60 & echo $!; wait"),
            &limits(Some(Duration::from_millis(500))),
            |_, line| grandchild = line.parse().expect("a pid"),
        )
        .await
        .expect_err("too slow");
        assert!(matches!(error, Error::TimedOut { .. }), "{error}");
        assert!(grandchild > 0);
        let gone = nix::sys::signal::kill(Pid::from_raw(grandchild), None);
        assert_eq!(gone, Err(Errno::ESRCH), "the grandchild lives on");
    }

    #[tokio::test]
    async fn a_cancelled_child_that_ignores_term_is_killed() {
        let cancel = CancellationToken::new();
        let limits = Limits { timeout: None, cancel: cancel.clone() };
        let error =
            run(shell("trap '' TERM; echo ready; while :; do sleep 0.1; done"), &limits, |_, _| {
                cancel.cancel()
            })
            .await
            .expect_err("cancelled");
        assert!(matches!(error, Error::Cancelled { .. }), "{error}");
    }

    #[tokio::test]
    async fn what_a_child_leaves_running_does_not_hold_its_end_up() {
        let mut left = 0;
        let begin = std::time::Instant::now();
        let status = run(shell("sleep 60 & echo $!"), &limits(None), |_, line| {
            left = line.parse().expect("a pid");
        })
        .await
        .expect("runs");
        assert!(status.success() && begin.elapsed() < Duration::from_secs(30));
        assert_eq!(nix::sys::signal::kill(Pid::from_raw(left), None), Err(Errno::ESRCH));
    }

    #[tokio::test]
    async fn a_dropped_run_ends_its_group() {
        let (tell, mut told) = mpsc::unbounded_channel();
        let running = tokio::spawn(async move {
            let limits = limits(None);
            run(shell("sleep 60 & echo $!; wait"), &limits, |_, line| {
                tell.send(line.parse::<i32>().expect("a pid")).expect("listening");
            })
            .await
        });
        let grandchild = Pid::from_raw(told.recv().await.expect("a pid"));
        running.abort();
        assert!(running.await.expect_err("aborted").is_cancelled());
        for _ in 0..200 {
            if nix::sys::signal::kill(grandchild, None) == Err(Errno::ESRCH) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the grandchild lives on");
    }

    #[tokio::test]
    async fn a_thread_of_tokios_starts_no_children() {
        assert!(!may_end_early());
        assert!(tokio::task::spawn_blocking(may_end_early).await.expect("it ran"));
    }

    #[tokio::test]
    async fn a_child_has_no_variable_but_those_it_is_given() {
        assert!(std::env::vars_os().count() > 0);
        let mut seen = Vec::new();
        let env = Program::new("/usr/bin/env").env("LC_ALL", "C.UTF-8");
        run(env, &limits(None), |_, line| seen.push(line.to_owned())).await.expect("runs");
        assert_eq!(seen, ["LC_ALL=C.UTF-8"]);
    }

    #[test]
    fn programs_are_not_found_by_relative_entries_of_path() {
        for (given, kept) in
            [("/a:/b c", "/a:/b c"), (".:/a::b:../c", "/a"), ("", ""), (":", ""), ("./a", "")]
        {
            assert_eq!(absolute_entries(OsStr::new(given)), kept, "{given}");
        }
    }

    #[tokio::test]
    async fn bounds_hold_for_the_child() {
        let mut seen = Vec::new();
        let bounds = Bounds {
            address_space: Some(1 << 30),
            cpu: Some(Duration::from_secs(9)),
            file_size: Some(1 << 20),
        };
        let told = shell("ulimit -H -v; ulimit -H -t; ulimit -H -f; ulimit -H -c").bounds(bounds);
        run(told, &limits(None), |_, line| seen.push(line.to_owned())).await.expect("runs");
        assert_eq!(seen, ["1048576", "9", "2048", "0"]);
    }

    #[tokio::test]
    async fn a_missing_program_is_named() {
        let error = run(Program::new("/no/such/tool"), &limits(None), |_, _| {}).await;
        assert_eq!(error.expect_err("missing").to_string(), "starting tool");
    }
}
