//! Why a program of libguestfs has failed, as far as its output says.

/// The reason of a failure, read from the output line by line.
#[derive(Debug, Default)]
pub(super) struct FailureReason {
    first_error: Option<String>,
    last: String,
}

impl FailureReason {
    /// Reads the next line. Advice on reporting bugs follows the error itself.
    pub(super) fn read(&mut self, line: &str) {
        if self.first_error.is_none()
            && let Some((_, error)) = line.split_once("error: ")
        {
            self.first_error = Some(error.to_owned());
        }
        line.clone_into(&mut self.last);
    }

    /// The first error; else the last line.
    pub(super) fn into_message(self) -> String {
        self.first_error.unwrap_or(self.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(output: &[&str]) -> String {
        let mut reason = FailureReason::default();
        output.iter().for_each(|line| reason.read(line));
        reason.into_message()
    }

    #[test]
    fn the_error_counts_and_not_the_advice_after_it() {
        let output = [
            "[  66.9] SSH key inject: root",
            "virt-customize: error: ssh-inject: the user root does not exist on the guest",
            "If reporting bugs, run virt-customize with debugging enabled and include the complete output:",
            "  virt-customize -v -x [...]",
        ];
        assert_eq!(message(&output), "ssh-inject: the user root does not exist on the guest");
        assert_eq!(message(&["starting", "Killed"]), "Killed");
    }
}
