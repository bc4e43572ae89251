//! The command line as a user meets it: help, docs, usage errors, exit codes.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Output};

fn hyperexport(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hyperexport"))
        .args(args)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .output()
        .expect("hyperexport runs")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("UTF-8")
}

#[test]
fn help_fits_eighty_columns_and_groups_flags() {
    for args in
        [&["--help"][..], &["list", "--help"], &["convert", "--help"], &["define", "--help"]]
    {
        let output = hyperexport(args);
        assert_eq!(output.status.code(), Some(0), "{args:?}");
        let help = stdout(&output);
        for line in help.lines() {
            assert!(line.chars().count() <= 80, "{args:?}: too long: {line}");
        }
        assert!(help.contains("Output:"), "{args:?}: {help}");
    }
    let help = stdout(&hyperexport(&["--help"]));
    for heading in ["Export:", "Source (vSphere):", "Conversion:", "Target (libvirt):", "Run:"] {
        assert!(help.contains(heading), "{heading} is missing:\n{help}");
    }
}

#[test]
fn switches_take_a_value_or_none() {
    for switch in ["--pipeline-fix", "--pipeline-fix=true", "--pipeline-fix=false", "--insecure"] {
        let output = hyperexport(&[switch, "--vm", "x"]);
        // Parsed: the complaint is about what is missing, not about the switch.
        assert!(stderr(&output).contains("the address of the vCenter is missing"), "{switch}");
        assert_eq!(output.status.code(), Some(2), "{switch}");
    }
    let output = hyperexport(&["--pipeline-fix=maybe", "--vm", "x"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("maybe"), "{}", stderr(&output));
}

#[test]
fn usage_errors_exit_with_2_and_say_what_to_type() {
    let cases: &[(&[&str], &str)] = &[
        (&[], "the VM is missing"),
        (&["--no-such-flag"], "--no-such-flag"),
        (&["--vm", "x", "--compress-level", "10"], "10"),
        (&["--vm", "x", "--pipeline-timeout", "soon"], "90s, 30m or 1h"),
        (&["--vm", "x", "--libvirt"], "--libvirt needs --pipeline"),
        (&["--vm", "x", "--url", "https://u:hunter2@vc/sdk"], "the URL contains a password"),
        (&["list"], "the address of the vCenter is missing"),
        (&["convert"], "--manifest"),
    ];
    for (args, expected) in cases {
        let output = hyperexport(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(expected), "{args:?}: {}", stderr(&output));
        assert!(!stderr(&output).contains("hunter2"), "a password is repeated");
    }
}

/// A vCenter that nobody asks, since the flags are refused before.
const LOGIN: [&str; 4] = ["--url", "https://127.0.0.1:1/sdk", "--username", "me"];

#[test]
fn flags_that_would_have_no_effect_are_refused_with_what_to_add() {
    let password = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(password.path(), "secret\n").expect("written");
    let password = ["--password-file", password.path().to_str().expect("UTF-8")];
    let run = |args: &[&str]| {
        let all = [&["--vm", "x"][..], &LOGIN, &password, args].concat();
        let output = hyperexport(&all);
        (output.status.code(), stderr(&output))
    };
    let pipeline = "--pipeline";
    for (args, flag, needs) in [
        (&["--libvirt-start"][..], "--libvirt-start", "--pipeline --libvirt"),
        (&["--libvirt-name", "a"], "--libvirt-name", "--pipeline --libvirt"),
        (&["--libvirt-autostart"], "--libvirt-autostart", "--pipeline --libvirt"),
        (&[pipeline, "--boot-test"], "--boot-test", "--pipeline --libvirt"),
        (&[pipeline, "--replace", "a"], "--replace", "--pipeline --libvirt"),
        (&[pipeline, "--disk-bus", "sata"], "--disk-bus", "--pipeline --libvirt"),
        (&[pipeline, "--network-map", "a=none"], "--network-map", "--pipeline --libvirt"),
        (&["--compress-type", "zlib"], "--compress-type", "--pipeline"),
        (&["--pipeline-dry-run"], "--pipeline-dry-run", "--pipeline"),
        (&["--pipeline-fix=false"], "--pipeline-fix", "--pipeline"),
        (&["--converter", "native"], "--converter", "--pipeline"),
        (&[pipeline, "--libvirt", "--wait-for", "agent"], "--wait-for", "--libvirt-start"),
        (
            &[pipeline, "--libvirt", "--allow-running-source"],
            "--allow-running-source",
            "--libvirt-start or --libvirt-autostart",
        ),
        (
            &[pipeline, "--libvirt", "--boot-proof-timeout", "1m"],
            "--boot-proof-timeout",
            "--boot-test or --boot-proof",
        ),
        (&["--shutdown-timeout", "1m"], "--shutdown-timeout", "--power-off"),
        (&["--quiesce", "no"], "--quiesce", "--snapshot"),
        (&["--keep-source-off"], "--keep-source-off", "--power-off"),
        (&["--power-on-after"], "--power-on-after", "--power-off"),
        (
            &[pipeline, "--pipeline-compress=false", "--compress-level", "9"],
            "--compress-level",
            "--pipeline-compress",
        ),
    ] {
        let (code, said) = run(args);
        assert_eq!(code, Some(2), "{args:?}: {said}");
        let expected = format!("error: {flag} has no effect without {needs}\n");
        assert!(said.contains(&expected), "no '{expected}' in {said}");
        assert!(said.contains(&format!("hint: add {needs}, or leave {flag} out")), "{said}");
    }
    // What has one, or says in so many words that it shall have none: the vCenter is asked.
    // All at once: each waits for a vCenter that does not answer.
    let asked = [
        &[][..],
        &["--libvirt=false", "--libvirt-start"],
        &["--pipeline=false", "--compress-type", "zlib"],
        &["--libvirt-start=false"],
        &["--libvirt-bridge", "virbr0"],
        &["--power-off=force", "--shutdown-timeout", "1m"],
        &[pipeline, "--libvirt", "--libvirt-start", "--wait-for", "agent"],
        &[pipeline, "--compress-level", "9"],
    ];
    std::thread::scope(|scope| {
        for args in asked {
            scope.spawn(move || {
                let (code, said) = run(args);
                assert_eq!(code, Some(4), "{args:?}: {said}");
            });
        }
    });
    let manifest = "/no/such/manifest.json";
    let output = hyperexport(&["define", "--manifest", manifest, "--wait-timeout", "1m"]);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
}

#[test]
fn a_guest_is_switched_off_in_three_ways() {
    for value in ["--power-off", "--power-off=true", "--power-off=false", "--power-off=force"] {
        let output = hyperexport(&[value, "--vm", "x"]);
        assert!(stderr(&output).contains("the address of the vCenter"), "{value}");
    }
    let output = hyperexport(&["--power-off=maybe", "--vm", "x"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("true, false or force"), "{}", stderr(&output));
}

#[test]
fn durations_are_read_as_people_write_them() {
    for duration in ["90s", "30m", "1h"] {
        let output = hyperexport(&["--vm", "x", "--pipeline-timeout", duration]);
        assert!(stderr(&output).contains("the address of the vCenter"), "{duration}");
    }
}

#[test]
fn a_missing_manifest_is_refused_with_its_path() {
    let output = hyperexport(&["define", "--manifest", "/no/such/manifest.json"]);
    assert_eq!(output.status.code(), Some(4), "{}", stderr(&output));
    assert!(stderr(&output).contains("/no/such/manifest.json"), "{}", stderr(&output));
}

#[test]
fn the_reference_in_docs_is_that_of_the_program() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/cli.md");
    let reference = reference();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &reference).expect("docs/cli.md is written");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == reference, "docs/cli.md is old: UPDATE_GOLDEN=1 cargo test --test cli");
}

#[test]
fn the_table_of_privileges_in_docs_is_that_of_the_program() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/sources.md");
    let text = std::fs::read_to_string(&path).expect("docs/sources.md");
    let (head, rest) = text.split_once("<!-- privileges -->\n").expect("where it begins");
    let (_, tail) = rest.split_once("<!-- end -->").expect("where it ends");
    let table = hyperexport::exporter::privileges_markdown();
    let expected = format!("{head}<!-- privileges -->\n{table}<!-- end -->{tail}");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &expected).expect("docs/sources.md is written");
    }
    let found = std::fs::read_to_string(&path).expect("docs/sources.md");
    assert!(found == expected, "docs/sources.md is old: UPDATE_GOLDEN=1 cargo test --test cli");
}

#[test]
fn a_role_is_printed_as_commands_a_table_and_json() {
    let output = hyperexport(&["role", "--for", "export,power-off"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = stdout(&output);
    let command = "govc role.create hyperexport Datastore.Browse Datastore.FileManagement VApp.Export \
                   VirtualMachine.Interact.PowerOff VirtualMachine.Interact.PowerOn\n";
    assert!(text.starts_with(command), "{text}");
    assert!(text.contains("NEEDED FOR"), "{text}");
    let output = hyperexport(&["role", "--for", "datastore", "--json"]);
    let role: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(role["privileges"][0]["id"], "Datastore.Browse");
    assert_eq!(hyperexport(&["role", "--for", "everything"]).status.code(), Some(2));
}

#[test]
fn a_source_that_comes_back_and_one_that_stays_off_are_told_apart() {
    let both = ["--vm", "x", "--power-off", "--power-on-after", "--keep-source-off"];
    let output = hyperexport(&both);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("it is one or the other"), "{}", stderr(&output));
}

/// `docs/cli.md`: the help of every command.
fn reference() -> String {
    let mut text = String::from(
        "# Command line\n\nMade from the program's own help by `UPDATE_GOLDEN=1 cargo test --test cli`.\n",
    );
    let mut command = hyperexport::cli::command();
    command.build();
    let mut add = |title: &str, command: &mut clap::Command| {
        let help = command.render_long_help();
        write!(text, "\n## {title}\n\n```text\n{help}```\n").expect("a string takes it");
    };
    add("hyperexport", &mut command.clone());
    for sub in command.get_subcommands_mut() {
        let title = format!("hyperexport {}", sub.get_name());
        add(&title, sub);
    }
    let lines: Vec<_> = text.lines().map(str::trim_end).collect();
    lines.join("\n") + "\n"
}

#[test]
fn a_profile_that_cannot_be_used_is_named_with_its_element() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("own.xml");
    std::fs::write(&file, "<domain><features/>\n<devices><hub/></devices></domain>")
        .expect("written");
    let file = file.to_str().expect("UTF-8");
    let output =
        hyperexport(&["define", "--manifest", "/nonexistent/m.json", "--libvirt-profile", file]);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    for part in [file, "line 2: <hub> is not known", "hint: write domain XML"] {
        assert!(stderr(&output).contains(part), "no {part} in {}", stderr(&output));
    }
}
