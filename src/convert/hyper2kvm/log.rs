//! hyper2kvm's output, line by line: its stages become tasks, and the failures that it logs but
//! does not report are recorded. Observed with 0.2.1, where a line is `HH:MM:SS EMOJI LEVEL
//! [proc=MainProcess] message`; words are matched, never the emoji.
//!
//! Some failures are not even logged: an `update-initramfs` that fails in the guest is ignored
//! silently. libguestfs' own trace (`LIBGUESTFS_TRACE`, guestfs(3)) on the same stream shows those
//! failures.

use std::sync::LazyLock;

use regex::Regex;

use crate::progress::{Progress, Task, Unit};

use super::output_progress::OutputProgress;

/// Compiles a pattern that is known to be valid.
fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("a constant pattern")
}

static PREFIX: LazyLock<Regex> = LazyLock::new(|| {
    pattern(r"^\d\d:\d\d:\d\d \S+ +(DEBUG|INFO|WARNING|ERROR|CRITICAL|TRACE) +\[[^\]]*\] ?(.*)$")
});
static STAGE: LazyLock<Regex> = LazyLock::new(|| pattern(r"Stage: ([A-Z][A-Z ]+)$"));
static STAGE_END: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"^\S+ ([a-z_]+) (completed in [0-9.]+s|failed: .*)$"));
static DISK: LazyLock<Regex> = LazyLock::new(|| pattern(r"Converting disk: ([a-zA-Z0-9_-]+)$"));

/// FIX failed, whatever it reports.
static FATAL: LazyLock<Regex> = LazyLock::new(|| {
    pattern(concat!(
        r"Mounted root at / using .* \[ro\]|Read-only file system",
        r"|Stage failed: (?:mount_root|rewrite_fstab|grub_update_root|regen_initramfs_and_bootloader):",
    ))
});
/// The guest boots, but its network interface keeps its old name or address.
static NETWORK: LazyLock<Regex> = LazyLock::new(|| {
    pattern(concat!(
        r"Error processing /etc/\S*(?:network|netplan|sysconfig|NetworkManager)",
        r"|Network fixes complete: .* [1-9][0-9]* failed|Stage failed: fix_network:",
    ))
});
/// Another step of FIX failed.
static STEP: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"Stage failed: ([a-z_]+: .*)$|(GRUB regeneration failed.*)$"));

/// A message that a successful run of 0.2.1 logs for a first attempt, before the older method
/// succeeds.
const NOISE: &str = "has no attribute 'command_with_mounts'";
/// A command that FIX runs in the guest; the next result in the trace belongs to the command.
static COMMAND: LazyLock<Regex> = LazyLock::new(|| pattern(r"Running \(guestfs\): ((\S+).*)$"));
/// Prefix of the results of such commands and of writes to the guest's files.
const TRACE: &str = "libguestfs: trace: ";
/// The programs that build an initramfs, for all distributions that 0.2.1 supports.
const INITRAMFS: [&str; 8] = [
    "update-initramfs",
    "dracut",
    "mkinitcpio",
    "mkinitrd",
    "mkinitfs",
    "booster",
    "genkernel",
    "kernel-install",
];

/// Whether `line` belongs to libguestfs' trace. Users do not see the trace: it is long and quotes
/// the guest's files.
pub(in crate::convert) fn is_trace(line: &str) -> bool {
    line.starts_with(TRACE)
}

/// Commands for one purpose; FIX tries them in turn until one succeeds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::convert) struct Attempts {
    pub(in crate::convert) tried: Vec<String>,
    /// Whether a command succeeded.
    pub(in crate::convert) done: bool,
}

/// What the log shows beyond the report.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::convert) struct Findings {
    /// Lines that mean that FIX failed.
    pub(in crate::convert) fatal: Vec<String>,
    /// Lines that mean that the guest's network was not fixed.
    pub(in crate::convert) network: Vec<String>,
    /// Other steps of FIX that failed.
    pub(in crate::convert) steps: Vec<String>,
    /// libguestfs could not start its appliance.
    pub(in crate::convert) launch_failed: bool,
    /// Attempts to build the initramfs.
    pub(in crate::convert) initramfs: Attempts,
    /// Attempts to write the boot loader's configuration.
    pub(in crate::convert) boot_loader: Attempts,
    /// The last message of level ERROR, or else the last line.
    pub(in crate::convert) last: String,
}

/// Parses the output line by line as it arrives.
pub(in crate::convert) struct LogReader {
    progress: Progress,
    stage: Option<Task>,
    converting: OutputProgress,
    findings: Findings,
    error_seen: bool,
    /// A command whose result has not arrived yet: whether the command builds an initramfs.
    running: Option<bool>,
}

impl LogReader {
    /// Stages are reported to `progress`, and disks to `converting`.
    pub(in crate::convert) fn new(progress: &Progress, converting: OutputProgress) -> Self {
        Self {
            progress: progress.clone(),
            stage: None,
            converting,
            findings: Findings::default(),
            error_seen: false,
            running: None,
        }
    }

    /// Parses the next line.
    pub(in crate::convert) fn line(&mut self, line: &str) {
        if let Some(call) = line.strip_prefix(TRACE) {
            return self.traced(call);
        }
        let (level, message) = match PREFIX.captures(line) {
            Some(parts) => {
                (parts.get(1).map_or("", |m| m.as_str()), parts.get(2).map_or("", |m| m.as_str()))
            }
            None => ("", line),
        };
        self.follow(message);
        self.examine(level, message);
    }

    /// Returns the findings and ends the tasks.
    pub(in crate::convert) fn finish(self) -> Findings {
        self.converting.end();
        self.findings
    }

    fn follow(&mut self, message: &str) {
        if let Some(stage) = STAGE.captures(message) {
            let name = stage[1].trim().to_lowercase();
            self.converting.end();
            self.stage = None;
            self.stage =
                Some(self.progress.task(format!("hyper2kvm {name}"), None, Unit::BasisPoints));
        } else if STAGE_END.is_match(message) {
            self.converting.end();
            self.stage = None;
        } else if let Some(disk) = DISK.captures(message) {
            self.converting.begin(&disk[1]);
        }
    }

    /// Parses a result in the trace: `command = "output"` or `command = NULL (error)`.
    fn traced(&mut self, call: &str) {
        let failed = call.ends_with("(error)");
        if call.starts_with("command = ")
            && let Some(initramfs) = self.running.take()
        {
            self.attempts(initramfs).done |= !failed;
        } else if failed && call.starts_with("write") {
            self.findings.steps.push("a file of the guest could not be written".to_owned());
            self.findings.steps.dedup();
        }
    }

    fn attempts(&mut self, initramfs: bool) -> &mut Attempts {
        if initramfs { &mut self.findings.initramfs } else { &mut self.findings.boot_loader }
    }

    fn examine(&mut self, level: &str, message: &str) {
        let text = message.trim();
        if text.is_empty() || text.contains(NOISE) {
            return;
        }
        if let Some(command) = COMMAND.captures(text) {
            let initramfs = INITRAMFS.contains(&&command[2]);
            self.attempts(initramfs).tried.push(command[1].to_owned());
            self.running = Some(initramfs);
        }
        self.findings.initramfs.done |= text.contains("\"initramfs_rebuilt\": true");
        if matches!(level, "ERROR" | "CRITICAL") || !self.error_seen {
            self.error_seen |= matches!(level, "ERROR" | "CRITICAL");
            self.findings.last = text.to_owned();
        }
        self.findings.launch_failed |= text.contains("guestfs_launch failed");
        let kept = if FATAL.is_match(text) {
            &mut self.findings.fatal
        } else if NETWORK.is_match(text) {
            &mut self.findings.network
        } else if STEP.is_match(text) {
            &mut self.findings.steps
        } else {
            return;
        };
        if !kept.iter().any(|line| line == text) {
            kept.push(text.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use crate::convert::hyper2kvm::output_progress;
    use crate::progress::Event;

    use super::*;

    fn read(lines: &[&str]) -> (Findings, Vec<String>) {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let sink = seen.clone();
        let progress = Progress::new(move |event| {
            sink.lock().expect("whole").push(match event {
                Event::TaskStarted { task, .. } => format!("+{task}"),
                Event::TaskAdvanced { position, .. } => position.to_string(),
                Event::TaskFinished { task } => format!("-{task}"),
                _ => return,
            });
        });
        let mut reader = LogReader::new(&progress, output_progress::nowhere(&progress));
        lines.iter().for_each(|line| reader.line(line));
        let findings = reader.finish();
        let seen = seen.lock().expect("whole").clone();
        (findings, seen)
    }

    #[test]
    fn stages_and_disks_become_tasks() {
        let (_, seen) = read(&[
            "23:27:24 ✅ INFO     [proc=MainProcess] ➡️  Stage: LOAD MANIFEST",
            "23:27:24 ✅ INFO     [proc=MainProcess] ✅ load_manifest completed in 0.12s",
            "23:27:24 ✅ INFO     [proc=MainProcess] ➡️  Stage: CONVERT",
            "💾 Converting disk: disk-0",
            "   Input: /x/disk-0.qcow2",
            "23:27:25 ✅ INFO     [proc=MainProcess] ⏳ Progress: 10.7%",
            "💾 Converting disk: disk-1",
            "23:27:28 💥 ERROR    [proc=MainProcess] ❌ convert failed: qemu-img not found.",
        ]);
        assert_eq!(
            seen,
            [
                "+hyper2kvm load manifest",
                "-hyper2kvm load manifest",
                "+hyper2kvm convert",
                "+convert disk-0",
                "-convert disk-0",
                "+convert disk-1",
                "-convert disk-1",
                "-hyper2kvm convert",
            ]
        );
    }

    #[test]
    fn hidden_failures_are_told_apart() {
        let (found, _) = read(&[
            "23:27:25 ✅ INFO     [proc=MainProcess] Mounted root at / using /dev/sda1 [ro]",
            "23:27:25 ⚠️ WARNING  [proc=MainProcess] Stage failed: rewrite_fstab: write: Read-only file system",
            "23:27:25 💥 ERROR    [proc=MainProcess] Error processing /etc/network/interfaces: x",
            "23:27:25 ✅ INFO     [proc=MainProcess] Network fixes complete: 0/1 files modified, 1 failed",
            "23:27:25 ⚠️ WARNING  [proc=MainProcess] Stage failed: read_os_release: no such file",
            "23:27:26 ✅ INFO     [proc=MainProcess] done",
        ]);
        assert_eq!(found.fatal.len(), 2);
        assert_eq!(found.network.len(), 2);
        assert_eq!(found.steps, ["Stage failed: read_os_release: no such file"]);
        assert_eq!(found.last, "Error processing /etc/network/interfaces: x");
    }

    #[test]
    fn commands_that_fail_in_silence_are_seen_in_the_trace() {
        let run = |command: &str, result: &str| {
            [
                format!("23:27:25 ✅ INFO     [proc=MainProcess] Running (guestfs): {command}"),
                format!("libguestfs: trace: command \"{command}\""),
                format!("libguestfs: trace: command = {result}"),
                "libguestfs: trace: command = \"of another command\"".to_owned(),
            ]
        };
        let lines = [
            run("update-initramfs -u -k all", "NULL (error)"),
            run("update-initramfs -u", "NULL (error)"),
            run("update-grub", "\"Found linux image\\n\""),
        ]
        .concat();
        let lines: Vec<_> = lines.iter().map(String::as_str).collect();
        let (found, _) = read(&lines);
        assert_eq!(found.initramfs.tried, ["update-initramfs -u -k all", "update-initramfs -u"]);
        assert!(!found.initramfs.done && found.boot_loader.done);
        let (second, _) =
            read(&[&lines[..4], &[lines[4], "libguestfs: trace: command = \"\""]].concat());
        assert!(second.initramfs.done, "the second attempt worked");
        let (write, _) = read(&["libguestfs: trace: write = -1 (error)"]);
        assert_eq!(write.steps.len(), 1);
    }

    #[test]
    fn the_noise_of_a_good_run_is_nothing() {
        let (found, _) = read(&[
            "23:27:25 ⚠️ WARNING  [proc=MainProcess]   ⚠️  GRUB regeneration failed: 'GuestFS' object has no attribute 'command_with_mounts'",
            "    \"GRUB regeneration failed: 'GuestFS' object has no attribute 'command_with_mounts'\"",
            "23:27:25 ✅ INFO     [proc=MainProcess] Mounted root at / using /dev/sda1 [rw]",
            "libguestfs: error: blkid: no such device",
            "23:27:25 ✅ INFO     [proc=MainProcess] Network fixes complete: 1/1 files modified, 0 failed",
        ]);
        assert!(found.fatal.is_empty() && found.network.is_empty() && found.steps.is_empty());
        assert!(!found.launch_failed);
    }
}
