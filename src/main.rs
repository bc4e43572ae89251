//! The command `hyperexport`: parse, run, exit.

fn main() -> std::process::ExitCode {
    hyperexport::cli::main()
}
