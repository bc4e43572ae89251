//! libguestfs by its shell: guestfish reads commands from a pipe and ends at the first that fails.
//!
//! Not by the C library: a file system that breaks its parser, a hang or a crash must not take this
//! process along, and the program has to start where no libguestfs is installed. Files go through
//! the work folder (`transit`), so that nothing of the guest's is ever a word of the protocol. The
//! end of an answer is a line that nobody else knows.

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

/// libguestfs' shell.
const PROGRAM: &str = "guestfish";
/// Longest answer of a command, in bytes.
const LONGEST_ANSWER: u64 = 16 << 20;

/// What a line costs beside its bytes.
const LINE: u64 = 32;
/// The last line of a command in the guest.
const WELL: &str = "it went well";
const BADLY: &str = "libguestfs failed";
/// Stops a resync of each array; no array is no error.
const FREEZE: &str =
    "for md in /sys/block/md*/md/sync_action; do [ ! -e $md ] || echo frozen > $md; done";
/// How libguestfs begins a reason.
const ERROR: &str = "libguestfs: error: ";

/// Whether it is installed.
pub(in crate::convert) async fn is_there(tools: &Tools) -> bool {
    let program = Program::new(PROGRAM).arg("--version").env("PATH", &tools.path);
    child::run(program, &tools.limits(), |_, _| {}).await.is_ok_and(|status| status.success())
}

/// A running appliance with the disks of a guest.
pub(super) struct Guestfs {
    dialogue: Dialogue,
    tools: Tools,
    log: File,
    /// What ends an answer.
    marker: String,
    /// What leaves the guest.
    pub(super) gate: Gate,
    /// The first error of the command that was spoken last.
    reason: Option<String>,
    /// What was changed in the guest.
    pub(super) written: WrittenFiles,
}

/// What an appliance needs.
#[derive(Clone, Copy)]
pub(super) struct Appliance<'a> {
    pub(super) run: &'a ConversionRun<'a>,
    /// Where its words are kept.
    pub(super) log: &'a Path,
    /// `LIBGUESTFS_BACKEND_SETTINGS`.
    pub(super) backend_settings: Option<&'a str>,
}

impl Appliance<'_> {
    /// Starts it with `disks`, qcow2 images, as `/dev/sda` and so on.
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
        // With a backend that needs a daemon there is at least no disk of this machine in `/dev`.
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
        // An array that is not in sync would be written anew here, gigabytes of it: the guest does
        // that itself (Linux, `Documentation/admin-guide/md.rst`, "sync_action").
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
    /// `--keys-from-stdin`) and noted nowhere.
    pub(super) async fn attempt_with_key(
        &mut self,
        doing: &str,
        words: &[&str],
        key: &Secret,
    ) -> Result<Result<Vec<String>, String>, Error> {
        let answer = self.speak(doing, &format!("-{}", command(words)), Some(key)).await?;
        self.outcome(doing, answer).await
    }

    /// Runs a command whose answer goes through a program of this machine before it comes here.
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
                    // The first is the reason, what follows is advice.
                    if let Some((_, why)) = line.split_once(ERROR) {
                        self.reason.get_or_insert_with(|| why.to_owned());
                    }
                }
                None => return Err(ended(doing, self.reason.take())),
            }
        }
    }

    /// Runs a command that may fail, and returns libguestfs' reason when it does: guestfish goes
    /// on.
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

    /// The same of a command that changes nothing.
    pub(super) async fn ask_failing(
        &mut self,
        doing: &str,
        words: &[&str],
    ) -> Result<Result<Vec<String>, String>, Error> {
        // guestfish(1), "EXIT ON ERROR BEHAVIOUR": a dash in front lets guestfish go on.
        let answer = self.speak(doing, &format!("-{}", command(words)), None).await?;
        self.outcome(doing, answer).await
    }

    async fn outcome(
        &mut self,
        doing: &str,
        answer: Vec<String>,
    ) -> Result<Result<Vec<String>, String>, Error> {
        // The reason comes by the other stream, in no order with the answer. A command that does
        // not exist is complained of there, after all that belongs to the command before.
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

    /// Runs a command that may fail; says whether it went well.
    pub(super) async fn try_run(&mut self, doing: &str, words: &[&str]) -> Result<bool, Error> {
        self.attempt(doing, words).await.map(|outcome| outcome.is_ok())
    }

    /// The one line that a command answers.
    pub(super) async fn ask(&mut self, words: &[&str]) -> Result<String, Error> {
        let answer = self.run(&format!("asking libguestfs: {}", words.join(" ")), words).await?;
        Ok(answer.into_iter().next().unwrap_or_default())
    }

    /// Whether there is a file of that path; links are followed.
    pub(super) async fn is_file(&mut self, path: &str) -> Result<bool, Error> {
        Ok(self.ask(&["is-file", path, "followsymlinks:true"]).await? == "true")
    }

    /// Runs a program of the guest's that changes files; says whether it ended well.
    pub(super) async fn sh(&mut self, command: &str) -> Result<(bool, Vec<String>), Error> {
        self.written.unlisted(&format!("'{command}' of the guest"));
        self.ask_sh(command).await
    }

    /// Runs a program of the guest's that changes nothing; says whether it ended well.
    pub(super) async fn ask_sh(&mut self, command: &str) -> Result<(bool, Vec<String>), Error> {
        // Not by our own marker, which nobody in the guest may know.
        let shell = format!("{{ {command}\n}} 2>&1 && echo {WELL} || echo {BADLY}");
        // A guest whose shell cannot run is no reason for guestfish to end.
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

    /// Whether there is a folder of that path; links are followed.
    pub(super) async fn is_dir(&mut self, path: &str) -> Result<bool, Error> {
        let words = ["is-dir", path, "followsymlinks:true"];
        // Not by `run`, which asks this of what it is about to write.
        let doing = format!("searching for the guest's {path}");
        let answer = self.speak(&doing, &command(&words), None).await?;
        Ok(answer.first().is_some_and(|answer| answer == "true"))
    }

    /// Writes everything back and stops.
    ///
    /// # Errors
    /// [`Error::Guestfs`]: what was written may be lost then.
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

    /// The log helps a person; a run does not fail of it.
    fn note(&mut self, line: &str) {
        if let Err(error) = writeln!(self.log, "{}", shown::text(line)) {
            tracing::debug!(%error, "writing the log");
        }
    }
}

/// A value as blkid(8) writes it for shells: a backslash before a character of theirs, `\xNN` for a
/// byte that cannot be printed.
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
