//! Switches of the command line. One rule for all of them: `--flag`, `--flag=true`, `--flag=false`.

use clap::Command;

/// The value of a switch, whose flag is given the value name `BOOL`. A name of its own, since clap
/// makes a flag without any value of a field that is called `bool`.
pub type Switch = bool;

/// Has all switches of a command keep to the rule.
pub fn switches(command: Command) -> Command {
    command.mut_args(|arg| {
        let names = arg.get_value_names().unwrap_or_default();
        if !matches!(names, [name] if name.starts_with("BOOL")) {
            return arg;
        }
        let is_off = arg.get_default_values() == ["false"];
        arg.num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true")
            .hide_possible_values(true)
            .hide_default_value(is_off)
    })
}
