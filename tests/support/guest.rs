//! A real small Debian guest (`tests/guest/`), and two ways to check that a disk boots: an image in
//! plain QEMU, and a libvirt domain through its serial console. Both are emulated, so that they
//! work on every machine, and both wait for the login prompt.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use virt::connect::Connect;
use virt::domain::{Domain, DomainShutoffReason, DomainStateReason};
use virt::enumutil::Enum;
use virt::stream::Stream;
use virt::sys;

use super::libvirtd;

/// Prompt of the guest's getty after a successful boot.
const PROMPT: &str = "login:";
/// Output after which the prompt will never come.
const DEAD_ENDS: [&str; 4] = ["(initramfs)", "Kernel panic", "grub rescue>", "No bootable device"];
/// Longest time that a boot may take. Emulated and on a busy machine, a boot takes 40 to 250 s, the
/// longest with cloud-init.
const PATIENCE: Duration = Duration::from_secs(480);
/// Most crashes of an emulator before a test fails.
const CRASHES: u32 = 4;
const POLL: Duration = Duration::from_millis(250);
/// Silence of a guest's console after which the test presses Enter.
const SILENCE: Duration = Duration::from_secs(20);

/// Disk of a Debian set up for VMware: 2 GiB, `/dev/sda` in its fstab and on its kernel's command
/// line, the first serial port as its console.
#[derive(Debug, Clone)]
pub struct Guest {
    /// Raw image of the disk.
    pub raw: PathBuf,
    /// The same disk as a streamOptimized VMDK.
    pub vmdk: PathBuf,
}

/// Guest for a firmware, `bios` or `uefi`, built by `tests/guest/build.sh` or cached from an
/// earlier run. `None` if the build is impossible, which is a failure where `CI` is set.
pub fn guest(firmware: &str) -> Option<Guest> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let out = root.join(".cache/guest");
    let build = Command::new(root.join("tests/guest/build.sh")).arg(firmware).arg(&out).output();
    let build = build.expect("bash runs");
    if !build.status.success() {
        libvirtd::skip(&format!("the guest: {}", String::from_utf8_lossy(&build.stderr)));
        return None;
    }
    let image = |extension| out.join(format!("debian-{firmware}.{extension}"));
    Some(Guest { raw: image("raw"), vmdk: image("vmdk") })
}

/// Result of a boot.
#[derive(Debug)]
pub enum Boot {
    /// Time until the login prompt, and the console output until then.
    Login(Duration, String),
    /// No prompt: the reason, followed by the end of the console output.
    Stuck(String),
}

impl Boot {
    /// Asserts that the prompt came; returns the time until then, and the console output.
    pub fn expect_login(self) -> (Duration, String) {
        match self {
            Self::Login(after, said) => (after, said),
            Self::Stuck(why) => panic!("no login prompt: {why}"),
        }
    }

    /// Result by the console output so far, or `None` if it is still undecided.
    fn judge(console: &[u8], began: Instant) -> Option<Self> {
        let text = String::from_utf8_lossy(console);
        if text.contains(PROMPT) {
            return Some(Self::Login(began.elapsed(), text.into_owned()));
        }
        let end = DEAD_ENDS.iter().find(|end| text.contains(**end))?;
        Some(Self::stuck(end, console))
    }

    fn stuck(why: &str, console: &[u8]) -> Self {
        let text = String::from_utf8_lossy(console);
        let lines: Vec<_> = text.lines().collect();
        let last = lines[lines.len().saturating_sub(20)..].join("\n");
        Self::Stuck(format!("{why}; the console's end:\n{last}"))
    }
}

/// Boots a raw image on a bus, `ide` or `virtio`, in plain QEMU; the image is not modified.
pub fn boot_image(image: &Path, bus: &str) -> Boot {
    let dir = tempfile::tempdir().expect("a folder");
    let console = dir.path().join("console");
    let errors = File::create(dir.path().join("errors")).expect("created");
    let began = Instant::now();
    let child = Command::new("qemu-system-x86_64")
        .args(["-accel", "tcg", "-m", "768", "-net", "none"])
        .args(["-display", "none", "-monitor", "none", "-no-reboot"])
        .args(["-serial", &format!("file:{}", console.display())])
        .arg("-drive")
        .arg(format!("file={},format=raw,if={bus},snapshot=on", image.display()))
        .stdin(Stdio::null())
        .stderr(errors)
        .spawn()
        .expect("qemu-system-x86 is installed");
    let mut qemu = Qemu(child);
    loop {
        thread::sleep(POLL);
        let said = fs::read(&console).unwrap_or_default();
        if let Some(end) = Boot::judge(&said, began) {
            return end;
        }
        if began.elapsed() > PATIENCE {
            return Boot::stuck("its time was up", &said);
        }
        if let Some(status) = qemu.0.try_wait().expect("waited for") {
            let errors = fs::read_to_string(dir.path().join("errors")).unwrap_or_default();
            return Boot::stuck(&format!("QEMU ended, {status}: {errors}"), &said);
        }
    }
}

/// A running QEMU, killed on drop.
struct Qemu(Child);

impl Drop for Qemu {
    fn drop(&mut self) {
        // QEMU may have exited already.
        drop(self.0.kill());
        self.0.wait().expect("waited for");
    }
}

/// Starts a domain, reads its serial console until the login prompt, and always powers it off
/// again. Returns the console output.
///
/// A crash of QEMU proves nothing about the disk, so the domain is then started again. With several
/// emulated processors, QEMU 10.0 sometimes fails an assertion in `iotlb_to_section` while the
/// guest configures its PCI devices.
pub fn assert_boots(domain: &str) -> String {
    let connect = libvirtd::connect();
    let domain = connect.lookup_domain_by_name(domain).expect("the domain is there");
    for _ in 0..CRASHES {
        let end = boot_domain(&connect, &domain);
        if !crashed(&domain) {
            return end.expect_login().1;
        }
        println!("QEMU crashed, starting again: {end:?}");
    }
    panic!("QEMU crashed {CRASHES} times");
}

/// Whether the domain ended last by a crash of its emulator.
fn crashed(domain: &Domain) -> bool {
    let (_, reason) = domain.state().expect("its state");
    let Enum::Known(DomainStateReason::Shutoff(reason)) = reason else { return false };
    reason.is(DomainShutoffReason::Crashed)
}

fn boot_domain(connect: &Connect, domain: &Domain) -> Boot {
    let began = Instant::now();
    domain.create().expect("the domain starts");
    let running = Running(domain);
    let (send, received) = mpsc::channel();
    let console = open_console(connect, domain);
    let keyboard = console.clone();
    // Reading blocks while the guest is silent, until the domain ends.
    let reader = thread::spawn(move || read_console(console, &send));
    let mut said = Vec::new();
    let end = loop {
        if let Some(end) = Boot::judge(&said, began) {
            break end;
        }
        let left = PATIENCE.saturating_sub(began.elapsed());
        match received.recv_timeout(SILENCE.min(left)) {
            Ok(bytes) => said.extend(bytes),
            Err(RecvTimeoutError::Timeout) if left <= SILENCE => {
                break Boot::stuck("its time was up", &said);
            }
            // Sometimes the emulated port loses the prompt; getty prints it again upon Enter.
            Err(RecvTimeoutError::Timeout) => drop(keyboard.send(b"\r")),
            Err(RecvTimeoutError::Disconnected) => break Boot::stuck("the domain ended", &said),
        }
    };
    drop(running);
    reader.join().expect("no panic");
    end
}

/// Opens the domain's first serial console.
fn open_console(connect: &Connect, domain: &Domain) -> Stream {
    let stream = Stream::new(connect, 0).expect("a stream");
    let force = sys::VIR_DOMAIN_CONSOLE_FORCE;
    // SAFETY: both pointers are valid during the call; without a device name the first console is
    // opened.
    let opened = unsafe {
        sys::virDomainOpenConsole(domain.as_ptr(), std::ptr::null(), stream.as_ptr(), force)
    };
    assert_eq!(opened, 0, "open the console: {}", virt::error::Error::last_error());
    stream
}

fn read_console(console: Stream, to: &mpsc::Sender<Vec<u8>>) {
    let mut buffer = [0; 4096];
    while let Ok(read @ 1..) = console.recv(&mut buffer) {
        let read = usize::try_from(read).expect("positive");
        // A closed channel is ignored: the reader must drain the stream until the domain ends.
        drop(to.send(buffer[..read].to_vec()));
    }
    // The domain is gone, and so is the stream.
    drop(console.abort());
}

/// A running domain, destroyed on drop.
struct Running<'a>(&'a Domain);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        // The domain may have ended already.
        drop(self.0.destroy());
    }
}

/// Variable of the appliance that `scripts/test.sh` has set, for a command with an empty
/// environment. Without it libguestfs uses the system's appliance.
pub fn appliance_variable() -> Option<(&'static str, OsString)> {
    let name = "LIBGUESTFS_PATH";
    std::env::var_os(name).map(|path| (name, path))
}

/// Runs commands in the appliance of libguestfs.
pub fn appliance(args: &[&str], commands: &str) {
    let mut guestfish = Command::new("guestfish")
        .args(args)
        .env("LIBGUESTFS_BACKEND", "direct")
        .env("LIBGUESTFS_BACKEND_SETTINGS", "force_tcg")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("guestfish runs");
    let mut stdin = guestfish.stdin.take().expect("a pipe");
    stdin.write_all(format!("run\n{commands}\n").as_bytes()).expect("it listens");
    drop(stdin);
    let status = guestfish.wait().expect("it ends");
    assert!(status.success(), "{commands}: {status}");
}
