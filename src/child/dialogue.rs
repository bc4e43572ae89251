//! A child that reads commands: each gets its answer before the next one is given.

use std::process::{ExitStatus, Stdio};

use tokio::io::AsyncWriteExt;
use tokio::process::{Child, ChildStdin};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{Error, KillOnDrop, Limits, Output, Program, end_group, start, watch};

/// A running program that is talked with.
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
    /// Starts it.
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

    /// Gives it a text. One that has ended hears nothing: [`Dialogue::hear`] tells.
    pub async fn say(&mut self, text: &str) {
        if let Some(stdin) = &mut self.stdin
            && let Err(error) = stdin.write_all(text.as_bytes()).await
        {
            tracing::debug!(program = self.name, %error, "it does not listen");
        }
    }

    /// The next line of its output; none once it has ended.
    ///
    /// # Errors
    /// [`Error::TimedOut`] and [`Error::Cancelled`]; it is ended when this value goes.
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

    /// Tells it that there is no more to come, and waits for its end. What it still has to say goes
    /// to `on_line`.
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
