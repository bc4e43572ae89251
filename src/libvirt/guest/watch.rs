//! Watches a started domain until it shows a sign that its guest is up.

use std::fmt;
use std::time::{Duration, Instant};

use regex::Regex;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use virt::domain::Domain;

use super::super::Error;
use super::console::{Console, last_lines};

/// Time between two checks.
const PAUSE: Duration = Duration::from_millis(200);
/// Lines of the console that an error quotes.
const QUOTED: usize = 5;
/// The channel of the guest agent, and its state in libvirt once the agent answers.
const AGENT: &str = "org.qemu.guest_agent.0";
const CONNECTED: &str = "state='connected'";

/// Sign that a guest must show.
#[derive(Debug, Clone)]
pub enum Sign {
    /// The domain runs.
    Running,
    /// The guest agent answers.
    Agent,
    /// The serial console matches a pattern.
    Console(Regex),
    /// The agent answers or the console shows a login prompt.
    Up,
}

/// Sign to wait for, and how long.
#[derive(Debug, Clone)]
pub struct Wait {
    /// Sign that the guest must show.
    pub sign: Sign,
    /// Time limit.
    pub timeout: Duration,
}

/// Sign that a guest has shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct GuestSigns {
    /// `running`, `agent`, or the line of the console that matched.
    pub sign: String,
    /// Seconds from the start of the guest to the sign.
    pub seconds: f64,
}

impl Sign {
    /// Parses `running`, `agent` or `console:REGEX`.
    ///
    /// # Errors
    /// A message that says what is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "running" => Ok(Self::Running),
            None if text == "agent" => Ok(Self::Agent),
            Some(("console", pattern)) if !pattern.is_empty() => {
                Regex::new(pattern).map(Self::Console).map_err(|error| error.to_string())
            }
            _ => Err(format!("'{text}' is none of running, agent and console:REGEX")),
        }
    }

    /// Whether this sign needs the console.
    pub(in crate::libvirt) fn needs_console(&self) -> bool {
        matches!(self, Self::Console(_) | Self::Up)
    }
}

impl fmt::Display for Sign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Running => f.write_str("runs"),
            Self::Agent => f.write_str("answers by its agent"),
            Self::Console(pattern) => write!(f, "shows '{pattern}' on its console"),
            Self::Up => f.write_str("answers by its agent or asks for a login on its console"),
        }
    }
}

/// Watches the just started `domain` until it shows the sign. Blocks.
pub(in crate::libvirt) fn watch(
    domain: &Domain,
    name: &str,
    mut console: Option<Console>,
    wait: &Wait,
    cancel: &CancellationToken,
) -> Result<GuestSigns, Error> {
    let begun = Instant::now();
    loop {
        if let Some(console) = &mut console {
            console.read();
            // The guest is only tested then, and Enter does no harm at a login prompt.
            if matches!(wait.sign, Sign::Up) {
                console.wake();
            }
        }
        let text = console.as_ref().map(Console::text).unwrap_or_default();
        let call = Error::call(format!("inspecting domain '{name}'"));
        let runs = domain.is_active().map_err(call)?;
        if !runs {
            return Err(Error::GuestStopped {
                name: name.to_owned(),
                last: last_lines(&text, QUOTED),
            });
        }
        if let Some(sign) = shown(domain, name, &text, &wait.sign)? {
            return Ok(GuestSigns { sign, seconds: begun.elapsed().as_secs_f64() });
        }
        if cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        if begun.elapsed() >= wait.timeout {
            return Err(Error::NotSeen {
                name: name.to_owned(),
                sign: wait.sign.to_string(),
                after: wait.timeout,
                last: last_lines(&text, QUOTED),
            });
        }
        std::thread::sleep(PAUSE);
    }
}

fn shown(domain: &Domain, name: &str, text: &str, sign: &Sign) -> Result<Option<String>, Error> {
    let line = |pattern: &Regex| {
        let found = pattern.find(text)?;
        let begin = text[..found.start()].rfind('\n').map_or(0, |end| end + 1);
        let end = text[found.end()..].find('\n').map_or(text.len(), |at| found.end() + at);
        Some(text[begin..end].trim().to_owned())
    };
    let agent = || -> Result<Option<String>, Error> {
        let call = Error::call(format!("inspecting domain '{name}'"));
        let xml = domain.xml_desc(0).map_err(call)?;
        let connected = xml.lines().any(|line| line.contains(AGENT) && line.contains(CONNECTED));
        Ok(connected.then(|| "agent".to_owned()))
    };
    match sign {
        Sign::Running => Ok(Some("running".to_owned())),
        Sign::Agent => agent(),
        Sign::Console(pattern) => Ok(line(pattern)),
        Sign::Up => {
            let login = Regex::new(r"(?m)\blogin: *$").ok().and_then(|pattern| line(&pattern));
            login.map_or_else(agent, |login| Ok(Some(login)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_are_read_as_they_are_typed() {
        assert!(matches!(Sign::parse("running"), Ok(Sign::Running)));
        assert!(matches!(Sign::parse("agent"), Ok(Sign::Agent)));
        let console = Sign::parse("console:ready: [0-9]+").expect("a pattern");
        assert_eq!(console.to_string(), "shows 'ready: [0-9]+' on its console");
        for wrong in ["", "console", "console:", "agent:x", "console:(", "up"] {
            assert!(Sign::parse(wrong).is_err(), "{wrong}");
        }
    }
}
