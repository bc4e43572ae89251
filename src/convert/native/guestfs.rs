//! libguestfs through its shell: guestfish reads commands from a pipe and ends at the first that
//! fails.
//!
//! The C library is not used, because a crash or a hang in a file system parser must not take
//! hyperexport down. hyperexport also has to start where no libguestfs is installed. Files pass
//! through the work folder (`transit`), so that guest data never becomes part of the protocol. A
//! random line marks the end of an answer.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::budget::{Budget, Going};
use crate::child::{self, Dialogue, Door, Output, Program};
use crate::convert::tools::keep_log::open_log;
use crate::convert::tools::qemu_img::Tools;
use crate::convert::tools::{isolate, libguestfs};
use crate::convert::{ConversionRun, Error};
use crate::model::{Secret, shown};

use super::fix_list::WrittenFiles;
use super::guestfs_environment::GuestfsEnvironment;
use super::transit::Gate;

const PROGRAM: &str = "guestfish";
/// Longest answer of a command, in bytes.
const LONGEST_ANSWER: u64 = 16 << 20;

/// Bytes counted for a line beside its text.
const LINE: u64 = 32;
/// Printed as the last line of a successful command in the guest.
const WELL: &str = "it went well";
const BADLY: &str = "libguestfs failed";
/// Stops a resync of each array; a guest without arrays is no error.
const FREEZE: &str =
    "for md in /sys/block/md*/md/sync_action; do [ ! -e $md ] || echo frozen > $md; done";
/// Prefix of libguestfs' reasons.
const ERROR: &str = "libguestfs: error: ";

/// Whether guestfish is installed.
pub(in crate::convert) async fn is_there(tools: &Tools) -> bool {
    let program = Program::new(PROGRAM).arg("--version").env("PATH", &tools.path);
    child::run(program, &tools.limits(), |_, _| {}).await.is_ok_and(|status| status.success())
}

/// A running appliance with the disks of a guest.
pub(super) struct Guestfs {
    dialogue: Dialogue,
    tools: Tools,
    log: File,
    /// The line that marks the end of an answer.
    marker: String,
    /// Limits the data that leaves the guest.
    pub(super) gate: Gate,
    /// The first error of the last command.
    reason: Option<String>,
    /// The files that were changed in the guest.
    pub(super) written: WrittenFiles,
}

/// The parameters of an appliance.
#[derive(Clone, Copy)]
pub(super) struct Appliance<'a> {
    pub(super) run: &'a ConversionRun<'a>,
    /// Path of the log of guestfish's output.
    pub(super) log: &'a Path,
    /// `LIBGUESTFS_BACKEND_SETTINGS`.
    pub(super) backend_settings: Option<&'a str>,
}

impl Appliance<'_> {
    /// Starts an appliance with `disks`, qcow2 images, as `/dev/sda` and so on.
    ///
    /// # Errors
    /// [`Error::Appliance`] and [`Error::Guestfs`] with its last words; [`Error::Child`] when there
    /// is no guestfish.
    pub(super) async fn start(&self, disks: &[PathBuf]) -> Result<Guestfs, Error> {
        let ConversionRun { work, tools, settings, .. } = self.run;
        let door = libguestfs::door(settings, tools).await;
        let mut program = Program::new(PROGRAM).arg("--keys-from-stdin").environment(
            self.run,
            self.backend_settings,
            door,
        );
        // With a backend that needs a daemon, at least `/dev` contains no disk of this machine.
        if door == Door::None && isolate::available(&work.dev(), tools).await {
            let hook = isolate::isolation(&work.dev());
            program = program.before_exec(hook.map_err(Error::io("preparing a private /dev"))?);
        }
        let opening = Error::io(format!("writing {}", self.log.display()));
        let log = open_log(self.log).map_err(opening)?;
        let dialogue = Dialogue::start(program, &tools.limits())
            .map_err(tools.child_error("running guestfish"))?;
        let name = work.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut guestfs = Guestfs {
            dialogue,
            tools: Tools::clone(tools),
            log,
            marker: format!("end{name}"),
            gate: Gate::new(work.tmp(), Going::from(&tools.cancel)),
            reason: None,
            written: WrittenFiles::default(),
        };
        for disk in disks {
            let path = disk.to_string_lossy();
            guestfs.run("adding a disk", &["add-drive", &path, "format:qcow2"]).await?;
        }
        guestfs.run("starting the appliance of libguestfs", &["run"]).await.map_err(|error| {
            match error {
                Error::Guestfs { message, .. } => Error::Appliance { message },
                error => error,
            }
        })?;
        // An array that is not in sync would be resynchronized here, gigabytes of it. The guest
        // does that itself (Linux, `Documentation/admin-guide/md.rst`, "sync_action").
        let doing = "leaving RAID arrays as they are";
        guestfs.try_run(doing, &["debug", "sh", FREEZE]).await?;
        Ok(guestfs)
    }
}

impl Guestfs {
    /// Runs a command; `doing` names it in an error.
    pub(super) async fn run(&mut self, doing: &str, words: &[&str]) -> Result<Vec<String>, Error> {
        self.note_written(words).await?;
        self.speak(doing, &command(words), None).await
    }

    /// Runs a command that asks for a passphrase, which is read from the same pipe (guestfish(1),
    /// `--keys-from-stdin`) and never logged.
    pub(super) async fn attempt_with_key(
        &mut self,
        doing: &str,
        words: &[&str],
        key: &Secret,
    ) -> Result<Result<Vec<String>, String>, Error> {
        let answer = self.speak(doing, &format!("-{}", command(words)), Some(key)).await?;
        self.outcome(doing, answer).await
    }

    /// Runs a command whose answer is piped through a program of this machine.
    pub(super) async fn piped(
        &mut self,
        doing: &str,
        words: &[&str],
        program: &'static str,
    ) -> Result<Result<Vec<String>, String>, Error> {
        let text = format!("-{} | {program}", command(words));
        let answer = self.speak(doing, &text, None).await?;
        self.outcome(doing, answer).await
    }

    async fn speak(
        &mut self,
        doing: &str,
        command: &str,
        key: Option<&Secret>,
    ) -> Result<Vec<String>, Error> {
        self.note(&format!("> {command}"));
        self.dialogue.say(&format!("{command}\n")).await;
        if let Some(key) = key {
            self.dialogue.say(key.reveal()).await;
            self.dialogue.say("\n").await;
        }
        self.dialogue.say(&format!("echo {}\n", quoted(&self.marker))).await;
        let mut answer = Vec::new();
        let mut budget = Budget::new(LONGEST_ANSWER, "bytes of an answer");
        self.reason = None;
        loop {
            let heard = self.dialogue.hear().await.map_err(self.tools.child_error(doing))?;
            match heard {
                Some((Output::Stdout, line)) if line == self.marker => return Ok(answer),
                Some((Output::Stdout, line)) => {
                    let drawn = budget.draw(line.len() as u64 + LINE);
                    drawn.map_err(|exhausted| ended(doing, Some(exhausted.to_string())))?;
                    answer.push(line);
                }
                Some((Output::Stderr, line)) => {
                    self.note(&line);
                    // The first line is the reason, the lines after it are advice.
                    if let Some((_, why)) = line.split_once(ERROR) {
                        self.reason.get_or_insert_with(|| why.to_owned());
                    }
                }
                None => return Err(ended(doing, self.reason.take())),
            }
        }
    }

    /// Runs a command that may fail, and returns libguestfs' reason when it does; guestfish
    /// continues.
    ///
    /// # Errors
    /// [`Error`] when guestfish itself ended.
    pub(super) async fn attempt(
        &mut self,
        doing: &str,
        words: &[&str],
    ) -> Result<Result<Vec<String>, String>, Error> {
        self.note_written(words).await?;
        self.ask_failing(doing, words).await
    }

    /// [`Self::attempt`] for a command that changes nothing.
    pub(super) async fn ask_failing(
        &mut self,
        doing: &str,
        words: &[&str],
    ) -> Result<Result<Vec<String>, String>, Error> {
        // guestfish(1), "EXIT ON ERROR BEHAVIOUR": a leading dash lets guestfish continue.
        let answer = self.speak(doing, &format!("-{}", command(words)), None).await?;
        self.outcome(doing, answer).await
    }

    async fn outcome(
        &mut self,
        doing: &str,
        answer: Vec<String>,
    ) -> Result<Result<Vec<String>, String>, Error> {
        // The reason arrives on the other stream, in no order with the answer. The error about a
        // nonexistent command arrives there after all output of the command before.
        self.dialogue.say(&format!("-{}\n", self.marker)).await;
        let mut why = None;
        loop {
            let heard = self.dialogue.hear().await.map_err(self.tools.child_error(doing))?;
            match heard {
                Some((Output::Stderr, line)) if line.starts_with(&self.marker) => break,
                Some((Output::Stderr, line)) => {
                    self.note(&line);
                    if let Some((_, reason)) = line.split_once(ERROR).filter(|_| why.is_none()) {
                        why = Some(reason.to_owned());
                    }
                }
                Some((Output::Stdout, _)) => {}
                None => return Err(ended(doing, why)),
            }
        }
        match self.reason.take().or(why) {
            Some(why) => Ok(Err(why)),
            None => Ok(Ok(answer)),
        }
    }

    /// Runs a command that may fail; returns whether it succeeded.
    pub(super) async fn try_run(&mut self, doing: &str, words: &[&str]) -> Result<bool, Error> {
        self.attempt(doing, words).await.map(|outcome| outcome.is_ok())
    }

    /// The one line that a command answers.
    pub(super) async fn ask(&mut self, words: &[&str]) -> Result<String, Error> {
        let answer = self.run(&format!("asking libguestfs: {}", words.join(" ")), words).await?;
        Ok(answer.into_iter().next().unwrap_or_default())
    }

    /// Whether the path is a regular file; links are followed.
    pub(super) async fn is_file(&mut self, path: &str) -> Result<bool, Error> {
        Ok(self.ask(&["is-file", path, "followsymlinks:true"]).await? == "true")
    }

    /// Runs a program of the guest that changes files; returns whether it succeeded.
    pub(super) async fn sh(&mut self, command: &str) -> Result<(bool, Vec<String>), Error> {
        self.written.unlisted(&format!("'{command}' of the guest"));
        self.ask_sh(command).await
    }

    /// Runs a program of the guest that changes nothing; returns whether it succeeded.
    pub(super) async fn ask_sh(&mut self, command: &str) -> Result<(bool, Vec<String>), Error> {
        // Not with the random marker, which no program in the guest may know.
        let shell = format!("{{ {command}\n}} 2>&1 && echo {WELL} || echo {BADLY}");
        // A guest whose shell cannot run must not end guestfish.
        let mut said = match self.attempt(&format!("running {command}"), &["sh", &shell]).await? {
            Ok(said) => said,
            Err(why) => return Ok((false, vec![why])),
        };
        let end = said.pop().unwrap_or_default();
        Ok((end == WELL, said))
    }

    /// The tags of a block device as blkid(8) finds them: `UUID`, `PARTUUID`, `LABEL`, …
    pub(super) async fn tags(&mut self, device: &str) -> Result<BTreeMap<String, String>, Error> {
        let told = self.attempt("identifying a block device", &["blkid", device]).await?;
        let pairs = told.unwrap_or_default();
        let pairs = pairs.iter().filter_map(|line| line.split_once(": "));
        Ok(pairs.map(|(tag, value)| (tag.to_owned(), without_escapes(value))).collect())
    }

    /// Whether the path is a folder; links are followed.
    pub(super) async fn is_dir(&mut self, path: &str) -> Result<bool, Error> {
        let words = ["is-dir", path, "followsymlinks:true"];
        // Does not use `run`, which calls this for the files that a command is about to write.
        let doing = format!("searching for the guest's {path}");
        let answer = self.speak(&doing, &command(&words), None).await?;
        Ok(answer.first().is_some_and(|answer| answer == "true"))
    }

    /// Writes all data back and stops the appliance.
    ///
    /// # Errors
    /// [`Error::Guestfs`]: written data may then be lost.
    pub(super) async fn end(mut self) -> Result<(), Error> {
        self.run("unmounting the guest's file systems", &["umount-all"]).await?;
        self.run("stopping the appliance of libguestfs", &["shutdown"]).await?;
        let doing = "ending guestfish";
        let mut last = String::new();
        let status = self.dialogue.end(|_, line| last = line.to_owned()).await;
        match status.map_err(self.tools.child_error(doing))? {
            status if status.success() => Ok(()),
            _ => Err(Error::Guestfs { doing: doing.to_owned(), message: last }),
        }
    }

    /// Appends a line to the log. A log that cannot be written is no reason for a run to fail.
    fn note(&mut self, line: &str) {
        if let Err(error) = writeln!(self.log, "{}", shown::text(line)) {
            tracing::debug!(%error, "writing the log");
        }
    }
}

/// Removes the escapes that blkid(8) adds for shells: a backslash before a shell's special
/// character, `\xNN` for a byte that cannot be printed.
fn without_escapes(value: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), value);
    while let Some((before, after)) = rest.split_once('\\') {
        bytes.extend(before.bytes());
        let code = after.strip_prefix('x').and_then(|code| code.get(..2));
        let byte = code.and_then(|code| u8::from_str_radix(code, 16).ok());
        let mut others = after.chars();
        rest = match (byte, others.next()) {
            (Some(byte), _) => {
                bytes.push(byte);
                &after[3..]
            }
            (None, Some(c)) => {
                bytes.extend(c.to_string().bytes());
                others.as_str()
            }
            (None, None) => "",
        };
    }
    bytes.extend(rest.bytes());
    String::from_utf8_lossy(&bytes).into_owned()
}

fn ended(doing: &str, why: Option<String>) -> Error {
    let message = why.unwrap_or_else(|| "guestfish ended".to_owned());
    Error::Guestfs { doing: doing.to_owned(), message }
}

/// A command in guestfish's words.
fn command(words: &[&str]) -> String {
    let (name, operands) = words.split_first().unwrap_or((&"", &[]));
    let operands = operands.iter().map(|word| format!(" {}", quoted(word)));
    std::iter::once((*name).to_owned()).chain(operands).collect()
}

/// A word as guestfish(1) reads it ("QUOTING").
fn quoted(word: &str) -> String {
    let mut quoted = String::from("\"");
    for c in word.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_told_without_the_escapes_of_shells() {
        for (told, value) in [
            (r"EFI\ System\ Partition", "EFI System Partition"),
            (r"it\'s\ a\\b", r"it's a\b"),
            (r"\xc3\x9cbersicht\x", "Übersichtx"),
            ("plain", "plain"),
        ] {
            assert_eq!(without_escapes(told), value);
        }
    }

    #[test]
    fn words_are_one_line_whatever_they_hold() {
        assert_eq!(quoted("a b"), "\"a b\"");
        assert_eq!(quoted("say \"x\\y\"\nand | go"), "\"say \\\"x\\\\y\\\"\\nand | go\"");
    }
}
