//! Files about a guest are readable only by their owner, and a limit in a file takes effect on
//! change.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::files::{Desk, Form, Ovf, pack, packed};
use crate::support::job::Ended;

fn package(desk: &Desk, mib: u64) {
    let raw = desk.raw("disk.raw", mib);
    let vmdk = desk.image(&raw, "disk.vmdk", "vmdk", &["subformat=streamOptimized"]);
    let vmdk = std::fs::read(vmdk).expect("readable");
    let ovf = Ovf::one("disk1.vmdk", mib).text();
    pack(desk, Form::Tar, &[packed("vm.ovf", ovf), packed("disk1.vmdk", vmdk)]);
}

fn assert_private(path: &Path) {
    let mode = path.symlink_metadata().expect("there").permissions().mode();
    assert_eq!(mode & 0o077, 0, "{}: {mode:o}", path.display());
    for entry in path.read_dir().into_iter().flatten() {
        assert_private(&entry.expect("an entry").path());
    }
}

/// A umask that removes no permission, and the usual one.
#[test]
fn nobody_else_may_read_what_a_run_writes() {
    let mode = |path: &Path| path.metadata().expect("there").permissions().mode() & 0o777;
    for umask in ["0", "022"] {
        let desk = Desk::new();
        package(&desk, 4);
        let run = |output: &str| {
            let args = ["--source", "vm.ova", "--output", output, "--manifest", "--pipeline"];
            let native = ["--converter", "native", "--pipeline-fix=false"];
            let no_appliance = ["--pipeline-inspect=false"];
            let inner = desk.command(&[&args[..], &native, &no_appliance].concat());
            let mut command = Command::new("sh");
            command.args(["-c", &format!("umask {umask}; exec \"$@\""), "-"]);
            command.arg(inner.get_program()).args(inner.get_args());
            command.current_dir(desk.dir.path());
            Ended::from(command.output().expect("it runs")).expect(0);
            for name in ["manifest.json", "report.json", "result.json"] {
                assert_eq!(mode(&desk.path(output).join(name)), 0o600, "{name}");
            }
        };
        run("a/b/out");
        assert_private(&desk.path("a/b/out"));
        assert_ne!(mode(&desk.path("a")) & 0o055, 0, "folders above are not ours alone");
        // An existing folder keeps its mode.
        std::fs::create_dir(desk.path("shared")).expect("made");
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(desk.path("shared"), open).expect("set");
        run("shared");
        assert_eq!(mode(&desk.path("shared")), 0o755);
    }
}

#[test]
fn a_limit_that_changes_in_its_file_counts_without_a_signal() {
    let desk = Desk::new();
    package(&desk, 8);
    std::fs::write(desk.path("limit"), "10K\n").expect("written");
    let args = ["--source", "vm.ova", "--output", "out", "--manifest"];
    let limit = ["--bandwidth-limit-file", "limit"];
    let begun = Instant::now();
    let mut command = desk.command(&[&args[..], &limit].concat());
    let child = command.stderr(std::process::Stdio::piped()).spawn().expect("it runs");
    std::thread::sleep(Duration::from_millis(500));
    assert!(!desk.path("out/disk-0.vmdk").exists(), "the limit does not hold");
    // As an editor does: a new file replaces the old one.
    std::fs::write(desk.path("limit.new"), "none\n").expect("written");
    std::fs::rename(desk.path("limit.new"), desk.path("limit")).expect("renamed");
    let ended = Ended::from(child.wait_with_output().expect("it ends")).expect(0);
    ended.said("the bandwidth limit is now none");
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
}
