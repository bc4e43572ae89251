//! A child that reads commands from standard input and answers each before the next.

use std::process::{ExitStatus, Stdio};

use tokio::io::AsyncWriteExt;
use tokio::process::{Child, ChildStdin};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{Error, KillOnDrop, Limits, Output, Program, end_group, start, watch};

/// A running program whose standard input is open.
pub struct Dialogue {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    received: mpsc::Receiver<(Output, String)>,
    limits: Limits,
    deadline: Option<Instant>,
    guard: KillOnDrop,
}

impl Dialogue {
    /// Starts the program.
    ///
    /// # Errors
    /// [`Error::Start`].
    pub fn start(program: Program, limits: &Limits) -> Result<Self, Error> {
        let mut started = start(program, Stdio::piped())?;
        Ok(Self {
            name: started.name,
            stdin: started.child.stdin.take(),
            child: started.child,
            received: started.received,
            deadline: limits.timeout.map(|timeout| Instant::now() + timeout),
            limits: limits.clone(),
            guard: KillOnDrop(started.group),
        })
    }

    /// Writes `text` to the program's standard input. Failures are ignored: [`Dialogue::hear`]
    /// reports that the program has ended.
    pub async fn say(&mut self, text: &str) {
        if let Some(stdin) = &mut self.stdin
            && let Err(error) = stdin.write_all(text.as_bytes()).await
        {
            tracing::debug!(program = self.name, %error, "it does not listen");
        }
    }

    /// Next line of the program's output; `None` after its end.
    ///
    /// # Errors
    /// [`Error::TimedOut`] and [`Error::Cancelled`]; dropping this value then kills the program.
    pub async fn hear(&mut self) -> Result<Option<(Output, String)>, Error> {
        let program = || self.name.clone();
        let too_late = async {
            match self.deadline {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            line = self.received.recv() => Ok(line),
            () = self.limits.cancel.cancelled() => Err(Error::Cancelled { program: program() }),
            () = too_late => {
                let after = self.limits.timeout.unwrap_or_default();
                Err(Error::TimedOut { program: program(), after })
            }
        }
    }

    /// Closes standard input and waits for the program's end. Remaining output is passed to
    /// `on_line`.
    ///
    /// # Errors
    /// [`Error`], as for [`super::run`].
    pub async fn end(mut self, mut on_line: impl FnMut(Output, &str)) -> Result<ExitStatus, Error> {
        drop(self.stdin.take());
        let left = self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let limits = Limits { timeout: left, cancel: self.limits.cancel.clone() };
        let (child, received) = (&mut self.child, &mut self.received);
        let end = watch(&self.name, child, received, &limits, &mut on_line).await;
        if let Some(group) = self.guard.0.take() {
            end_group(group, child, end.is_ok()).await;
        }
        end
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio_util::sync::CancellationToken;

    use super::*;

    fn shell(timeout: Duration) -> Dialogue {
        let limits = Limits { timeout: Some(timeout), cancel: CancellationToken::new() };
        Dialogue::start(Program::new("/bin/sh"), &limits).expect("started")
    }

    #[tokio::test]
    async fn every_question_has_its_answer() {
        let mut shell = shell(Duration::from_secs(30));
        for question in ["1", "2"] {
            shell.say(&format!("echo {question}0\n")).await;
            let heard = shell.hear().await.expect("in time");
            assert_eq!(heard, Some((Output::Stdout, format!("{question}0"))));
        }
        shell.say("exit 3\n").await;
        assert_eq!(shell.hear().await.expect("in time"), None);
        assert_eq!(shell.end(|_, _| {}).await.expect("ended").code(), Some(3));
    }

    #[tokio::test]
    async fn silence_ends_with_the_time() {
        let mut shell = shell(Duration::from_millis(300));
        shell.say("sleep 60\n").await;
        let error = shell.hear().await.expect_err("silent");
        assert!(matches!(error, Error::TimedOut { .. }), "{error}");
    }
}
