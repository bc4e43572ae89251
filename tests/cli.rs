//! The command line as a user sees it: help, docs, usage errors, exit codes.

#[path = "support/schema.rs"]
#[allow(dead_code, reason = "nothing here reads files of a run")]
mod schema;
#[path = "cli/shells.rs"]
mod shells;

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

/// The command `hyperexport` and all its subcommands.
fn commands() -> Vec<clap::Command> {
    let mut command = hyperexport::cli::command();
    command.build();
    let verbs = command.get_subcommands().filter(|verb| verb.get_name() != "help").cloned();
    let verbs: Vec<_> = verbs.collect();
    [vec![command], verbs].concat()
}

#[test]
fn the_short_help_of_every_command_fits_a_screen() {
    for command in commands() {
        let help = match command.get_name() {
            "hyperexport" => stdout(&hyperexport(&["-h"])),
            verb => stdout(&hyperexport(&[verb, "-h"])),
        };
        let lines = help.lines().count();
        assert!(lines <= 40, "{}: {lines} lines\n{help}", command.get_name());
        assert!(help.contains("Usage:"), "{help}");
    }
    // Help without arguments, too, but that is a usage error.
    let bare = hyperexport(&[]);
    assert_eq!(bare.status.code(), Some(2));
    assert_eq!(stderr(&bare), stdout(&hyperexport(&["-h"])));
    for verb in ["migrate", "export", "plan"] {
        let bare = hyperexport(&[verb]);
        assert_eq!(bare.status.code(), Some(2), "{verb}");
        assert_eq!(stderr(&bare), stdout(&hyperexport(&[verb, "-h"])), "{verb}");
    }
}

#[test]
fn help_is_a_verb_and_each_verb_shows_its_own_groups() {
    let help = hyperexport(&["help"]);
    assert_eq!(help.status.code(), Some(0));
    assert_eq!(stdout(&help), stdout(&hyperexport(&["--help"])));
    let migrate = stdout(&hyperexport(&["help", "migrate"]));
    assert_eq!(migrate, stdout(&hyperexport(&["migrate", "--help"])));
    let all = ["Export:", "Source (vSphere):", "Running VMs:", "Conversion:", "Target (libvirt):"];
    for heading in all {
        assert!(migrate.contains(heading), "{heading} is missing:\n{migrate}");
    }
    assert!(!migrate.contains("--pipeline ") && !migrate.contains("--strict"), "{migrate}");
    let export = stdout(&hyperexport(&["export", "--help"]));
    for heading in ["Conversion:", "Target (libvirt):", "After the definition:"] {
        assert!(!export.contains(heading), "{heading} in\n{export}");
    }
}

#[test]
fn defaults_are_printed_by_the_parser_alone() {
    for command in commands() {
        for arg in command.get_arguments() {
            let texts = [arg.get_help(), arg.get_long_help()];
            for text in texts.into_iter().flatten() {
                let text = text.to_string();
                assert!(!text.contains("[default"), "{}: {text}", arg.get_id());
            }
        }
    }
    let help = stdout(&hyperexport(&["export", "--help"]));
    for default in ["[default: disks]", "[default: auto]", "[default: 3]"] {
        assert!(help.contains(default), "{default} is missing:\n{help}");
    }
}

/// URI of a libvirt that is not running.
const NO_LIBVIRT: &str = "--libvirt-uri=qemu+unix:///system?socket=/no/such/socket";

#[test]
fn a_path_after_a_verb_is_a_source_and_migrate_is_strict() {
    let dir = tempfile::tempdir().expect("a folder");
    let disk = dir.path().join("web.raw");
    std::fs::write(&disk, vec![0; 1 << 20]).expect("written");
    let disk = disk.to_str().expect("UTF-8");
    let output = dir.path().join("out");
    let output = format!("--output={}", output.display());
    for verb in ["export", "migrate", "plan"] {
        let missing = hyperexport(&[verb, "/no/such/web.ova", &output]);
        assert_eq!(missing.status.code(), Some(4), "{verb}: {}", stderr(&missing));
        assert!(stderr(&missing).contains("/no/such/web.ova"), "{}", stderr(&missing));
    }
    let exported = hyperexport(&["export", disk, &output, "--dry-run"]);
    assert_eq!(exported.status.code(), Some(0), "{}", stderr(&exported));
    assert!(stdout(&exported).contains(disk), "{}", stdout(&exported));
    let flags = ["--source", disk, &output, "--pipeline", "--libvirt", NO_LIBVIRT, "--dry-run"];
    let lenient = hyperexport(&flags);
    assert_eq!(lenient.status.code(), Some(0), "{}", stderr(&lenient));
    assert!(stderr(&lenient).contains("warning"), "{}", stderr(&lenient));
    for args in [
        &["migrate", disk, &output, NO_LIBVIRT, "--dry-run"][..],
        &["plan", disk, &output, NO_LIBVIRT],
    ] {
        let strict = hyperexport(args);
        assert_eq!(strict.status.code(), Some(4), "{args:?}: {}", stderr(&strict));
        assert!(
            stderr(&strict).contains("a strict run (migrate, --strict) needs the libvirt"),
            "{}",
            stderr(&strict)
        );
    }
}

fn json(output: &Output) -> serde_json::Value {
    let text = stdout(output);
    let json = serde_json::from_str(&text)
        .unwrap_or_else(|error| panic!("{error}: '{text}' {}", stderr(output)));
    schema::assert_printed(&json);
    json
}

#[test]
fn failures_are_json_too_with_code_hint_and_vm() {
    let manifest = ["define", "--manifest", "/no/such/manifest.json", "--json"];
    let cases: &[(&[&str], i32, &str, &str)] = &[
        (&["list", "--json"], 2, "refused", "missing"),
        (&["list", "--source", "/no/such/web.ova", "--json"], 1, "failed", ""),
        (&["info", "--source", "/no/such/web.ova", "--json"], 1, "failed", ""),
        (&["info", "web01", "--json"], 2, "refused", "missing"),
        (&["migrate", "web01", "--json"], 2, "refused", "missing"),
        (&["migrate", "/no/such/web.ova", "--json"], 4, "refused", ""),
        (&["--vm", "x", "--libvirt-start", "--json"], 2, "refused", ""),
        (&manifest, 4, "refused", "read"),
        (&["plan", "--manifest", "/no/such/manifest.json", "--json"], 4, "refused", "read"),
        (&["undo", "/no/such/folder", "--json"], 4, "refused", "record"),
        (&["verify", "--result", "/no/such/folder", "--json"], 4, "refused", ""),
    ];
    for (args, code, outcome, error) in cases {
        let output = hyperexport(args);
        assert_eq!(output.status.code(), Some(*code), "{args:?}: {}", stderr(&output));
        let json = json(&output);
        assert_eq!(json["outcome"], *outcome, "{args:?}: {json:#}");
        let first = &json["errors"][0];
        let found = first["code"].as_str().expect("a code");
        assert!(!found.is_empty() && (error.is_empty() || found == *error), "{args:?}: {json:#}");
        assert!(first["message"].as_str().is_some_and(|text| stderr(&output).contains(text)));
        assert!(json["warnings"].is_array(), "{json:#}");
        let object = json.as_object().expect("an object");
        assert!(object.contains_key("vm") && object.contains_key("vm_id"), "{json:#}");
    }
    let missing = hyperexport(&["list", "--json"]);
    let hint = json(&missing)["errors"][0]["hint"].as_str().expect("a hint").to_owned();
    assert!(stderr(&missing).contains(&format!("hint: {hint}")), "{hint}");
    // Before the manifest is read, the VM's name is unknown.
    let nameless = stderr(&hyperexport(&manifest));
    assert!(nameless.starts_with("error: manifest: "), "{nameless}");
}

#[test]
fn columns_of_a_list_are_named_by_what_they_show() {
    let dir = tempfile::tempdir().expect("a folder");
    let disk = dir.path().join("web.raw");
    std::fs::write(&disk, vec![0; 1 << 20]).expect("written");
    let disk = disk.to_str().expect("UTF-8");
    let listed = hyperexport(&["list", "--source", disk]);
    assert_eq!(listed.status.code(), Some(0), "{}", stderr(&listed));
    let text = stdout(&listed);
    let (heading, line) = text.split_once('\n').expect("two lines");
    let heading = heading.trim();
    assert!(heading.starts_with("NAME") && heading.ends_with("SOURCE"), "{text}");
    assert!(!heading.contains("MOREF") && !heading.contains("PATH"), "{text}");
    assert!(line.trim_end().ends_with(disk), "{text}");
    let nothing = hyperexport(&["list", "--source", disk, "--name", "zzz*"]);
    assert_eq!(nothing.status.code(), Some(0));
    assert_eq!(stderr(&nothing), "no VM matches\n");
}

#[test]
fn nothing_steers_a_terminal_that_is_none() {
    let with = |args: &[&str], variables: &[(&str, &str)]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hyperexport"));
        command.args(args).env_clear().envs(variables.iter().copied());
        let output = command.output().expect("it runs");
        stderr(&output) + &stdout(&output)
    };
    let missing = ["migrate", "/no/such/web.ova", "-vvv"];
    for args in [&missing[..], &["--no-such-flag"], &["--help"]] {
        assert!(!with(args, &[]).contains('\u{1b}'), "{args:?}");
    }
    let forced = ("CLICOLOR_FORCE", "1");
    assert!(with(&["--no-such-flag"], &[forced]).contains('\u{1b}'), "colours can be had");
    let plain = with(&["--no-such-flag"], &[forced, ("NO_COLOR", "1")]);
    assert!(!plain.contains('\u{1b}'), "{plain}");
}

#[test]
fn a_stage_has_one_line_where_nothing_happened() {
    let said = stderr(&hyperexport(&["migrate", "/no/such/web.ova"]));
    let lines: Vec<_> = said.lines().filter(|line| line.starts_with("== preflight")).collect();
    let [line] = &lines[..] else { panic!("{said}") };
    assert!(line.starts_with("== preflight: ") && line.ends_with(" s"), "{line}");
}

#[test]
fn words_of_other_programs_get_a_hint() {
    for (args, hint) in [
        (&["list", "-k"][..], "--thumbprint"),
        (&["list", "-u", "me"], "--username"),
        (&["list", "--password", "x"], "--password-file"),
        (&["--disk", "x"], "--source PATH"),
        (&["web01"], "hyperexport migrate web01"),
    ] {
        let output = hyperexport(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        let said = stderr(&output);
        let told = said.lines().find(|line| line.starts_with("hint: "));
        assert!(told.is_some_and(|told| told.contains(hint)), "{args:?}: {said}");
    }
}

#[test]
fn sizes_are_read_in_usual_spellings_and_an_error_lists_them() {
    let dir = tempfile::tempdir().expect("a folder");
    let disk = dir.path().join("web.raw");
    std::fs::write(&disk, vec![0; 1 << 20]).expect("written");
    let disk = disk.to_str().expect("UTF-8");
    for (memory, mib) in [("2GiB", 2048), ("2G", 2048), ("512M", 512), ("2048", 2048)] {
        let output = hyperexport(&["info", "--source", disk, "--memory", memory, "--json"]);
        assert_eq!(json(&output)["vm"]["memory_mib"], mib, "{memory}");
    }
    let export = |more: &[&str]| {
        let output = dir.path().join("out");
        let output = format!("--output={}", output.display());
        hyperexport(&[&["export", disk, &output, "--dry-run"][..], more].concat())
    };
    for rate in ["50M", "10MB", "80Mbit", "80Mbit/s", "none"] {
        let output = export(&["--bandwidth-limit", rate]);
        assert_eq!(output.status.code(), Some(0), "{rate}: {}", stderr(&output));
    }
    for args in [["--memory", "2X"], ["--bandwidth-limit", "80Mb"]] {
        let output = export(&args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        for spelling in ["4GiB", "10MB", "512M"] {
            assert!(stderr(&output).contains(spelling), "{args:?}: {}", stderr(&output));
        }
    }
}

#[test]
fn a_password_that_others_can_read_is_warned_of() {
    use std::os::unix::fs::PermissionsExt;
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), "secret\n").expect("written");
    let path = file.path().to_str().expect("UTF-8");
    let set = |mode| std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("set");
    let run = || {
        let login = ["--url", "https://127.0.0.1:1/sdk", "--username", "me"];
        hyperexport(&[&["migrate", "x", "--json", "--password-file", path][..], &login].concat())
    };
    set(0o644);
    let output = run();
    assert!(stderr(&output).contains("chmod 600"), "{}", stderr(&output));
    assert_eq!(json(&output)["warnings"][0]["code"], "secret-readable");
    set(0o600);
    assert_eq!(json(&run())["warnings"], serde_json::json!([]));
}

#[test]
fn switches_take_a_value_or_none() {
    for switch in ["--pipeline-fix", "--pipeline-fix=true", "--pipeline-fix=false", "--insecure"] {
        let output = hyperexport(&[switch, "--vm", "x"]);
        // The switch was parsed: the error is about a missing option.
        assert!(stderr(&output).contains("address of the vCenter is missing"), "{switch}");
        assert_eq!(output.status.code(), Some(2), "{switch}");
    }
    let output = hyperexport(&["--pipeline-fix=maybe", "--vm", "x"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("maybe"), "{}", stderr(&output));
}

#[test]
fn usage_errors_exit_with_2_and_say_what_to_type() {
    let cases: &[(&[&str], &str)] = &[
        (&["--insecure"], "VM is missing"),
        (&["--no-such-flag"], "--no-such-flag"),
        (&["--vm", "x", "--compress-level", "10"], "10"),
        (&["--vm", "x", "--pipeline-timeout", "soon"], "90s, 30m or 1h"),
        (&["--vm", "x", "--libvirt"], "--libvirt needs --pipeline"),
        (&["--vm", "x", "--url", "https://u:hunter2@vc/sdk"], "the URL contains a password"),
        (&["list"], "address of the vCenter is missing"),
        (&["convert"], "--manifest"),
        (&["migrate", "web01"], "address of the vCenter is missing"),
        (&["migrate", "web01", "web02"], "'web01' and 'web02' both name a VM"),
        (&["migrate", "web01", "--pipeline"], "--pipeline"),
        (&["export", "web01", "--libvirt-start"], "--libvirt-start"),
        (&["plan", "web01", "--plan", "p.json"], "--plan needs a converted export"),
        (&["plan", "--manifest", "m.json", "--snapshot"], "--snapshot has no effect"),
        (&["plan", "--manifest", "m.json", "--converter=native"], "--converter has no effect"),
        (&["apply", "/no/such/plan", "--dry-run"], "/no/such/plan"),
    ];
    for (args, expected) in cases {
        let output = hyperexport(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(expected), "{args:?}: {}", stderr(&output));
        assert!(!stderr(&output).contains("hunter2"), "a password is repeated");
    }
}

/// Login for a vCenter that is never contacted, since the flags are rejected before.
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
    // A target is given or explicitly declined, so the vCenter is contacted. All runs are started
    // together, since each waits for a vCenter that does not answer.
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
        assert!(stderr(&output).contains("address of the vCenter"), "{value}");
    }
    let output = hyperexport(&["--power-off=maybe", "--vm", "x"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("true, false or force"), "{}", stderr(&output));
}

#[test]
fn durations_are_read_as_people_write_them() {
    for duration in ["90s", "30m", "1h"] {
        let output = hyperexport(&["--vm", "x", "--pipeline-timeout", duration]);
        assert!(stderr(&output).contains("address of the vCenter"), "{duration}");
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
    let role = json(&output);
    assert_eq!(role["privileges"][0]["id"], "Datastore.Browse");
    assert_eq!(hyperexport(&["role", "--for", "everything"]).status.code(), Some(2));
}

#[test]
#[should_panic(expected = "not as docs/schemas/role.json says")]
fn a_field_that_no_schema_describes_is_found() {
    let mut role = json(&hyperexport(&["role", "--for", "datastore", "--json"]));
    role["undescribed"] = true.into();
    schema::assert_printed(&role);
}

#[test]
fn a_source_that_comes_back_and_one_that_stays_off_are_told_apart() {
    let both = ["--vm", "x", "--power-off", "--power-on-after", "--keep-source-off"];
    let output = hyperexport(&both);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("it is one or the other"), "{}", stderr(&output));
}

/// Content of `docs/cli.md`: the help of every command.
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
    for sub in command.get_subcommands_mut().filter(|sub| sub.get_name() != "help") {
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

/// The advisory database needs network access: without it the dependencies are not checked.
#[test]
fn advisories_are_skipped_with_the_reason_where_they_cannot_be_had() {
    use std::os::unix::fs::PermissionsExt;

    let dir = tempfile::tempdir().expect("a folder");
    let cargo = dir.path().join("cargo");
    let run = |program: &str| {
        std::fs::write(&cargo, program).expect("written");
        std::fs::set_permissions(&cargo, std::fs::Permissions::from_mode(0o755)).expect("set");
        Command::new("scripts/advisories.sh").env("CARGO", &cargo).output().expect("it runs")
    };
    let offline = "#!/bin/sh\n[ \"$2\" = fetch ] || exit 9\nprintf '\\033[31mno route\\033[0m\\n\\n' >&2\nexit 1\n";
    let output = run(offline);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let said = stdout(&output);
    assert!(said.starts_with("SKIPPED: ") && said.contains(": no route\n"), "{said:?}");
    let vulnerable = "#!/bin/sh\n[ \"$2\" = fetch ] && exit 0\necho \"$*\"\nexit 4\n";
    let output = run(vulnerable);
    assert_eq!(output.status.code(), Some(4), "{}", stdout(&output));
    assert!(stdout(&output).contains("advisories"), "{}", stdout(&output));
}

#[test]
fn a_failure_before_the_vm_is_known_has_no_empty_name() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let output = hyperexport(&["convert", "--manifest", file]);
    assert_eq!(output.status.code(), Some(4), "{}", stderr(&output));
    assert!(stderr(&output).contains("error: manifest: "), "{}", stderr(&output));
    assert!(stdout(&output).contains("refused    nothing was changed"), "{}", stdout(&output));
}
