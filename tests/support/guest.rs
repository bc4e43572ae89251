//! A real small Debian guest (`tests/guest/`), and two ways to see that a disk boots: QEMU alone on
//! an image, and a libvirt domain through its serial console. Both are emulated, so that they work
//! on every machine, and both wait for the login prompt.

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

/// What the guest's getty says when all went well.
const PROMPT: &str = "login:";
/// What says that the prompt will never come.
const DEAD_ENDS: [&str; 4] = ["(initramfs)", "Kernel panic", "grub rescue>", "No bootable device"];
/// Emulated and on a busy machine, a boot takes 40 to 100 s.
const PATIENCE: Duration = Duration::from_secs(240);
/// How often an emulator may crash.
const CRASHES: u32 = 4;
const POLL: Duration = Duration::from_millis(250);
/// Silence of a guest's console after which Enter is pressed.
const SILENCE: Duration = Duration::from_secs(20);

/// The disk of a Debian that thinks it lives on VMware: 2 GiB, `/dev/sda` in its fstab and on its
/// kernel's command line, the first serial port as its console.
#[derive(Debug, Clone)]
pub struct Guest {
    /// The disk itself.
    pub raw: PathBuf,
    /// The same as a streamOptimized VMDK.
    pub vmdk: PathBuf,
}

/// The guest for that firmware, `bios` or `uefi`, built by `tests/guest/build.sh` or kept from an
/// earlier run. `None` where it cannot be built, which is a failure where `CI` is set.
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

/// What came of a boot.
#[derive(Debug)]
pub enum Boot {
    /// The login prompt came after this long; what the guest said until then.
    Login(Duration, String),
    /// It did not; the end of what the guest said, with the reason in front.
    Stuck(String),
}

impl Boot {
    /// Asserts that the prompt came; how long it took, and what was on the console.
    pub fn expect_login(self) -> (Duration, String) {
        match self {
            Self::Login(after, said) => (after, said),
            Self::Stuck(why) => panic!("no login prompt: {why}"),
        }
    }

    /// What the console holds so far decides, or `None` when it decides nothing yet.
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

/// Boots a raw image on a bus, `ide` or `virtio`, in QEMU alone; the image stays as it is.
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

/// A running QEMU, which must not outlive its test.
struct Qemu(Child);

impl Drop for Qemu {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.0.kill());
        self.0.wait().expect("waited for");
    }
}

/// Starts the domain of that name, reads its serial console until the login prompt, and switches it
/// off again, whatever came of it. Returns what was on the console.
///
/// A crash of QEMU says nothing about the disk, so it is started again then: emulating several
/// processors, QEMU 10.0 now and then fails an assertion in `iotlb_to_section` while the guest sets
/// its PCI devices up.
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

/// Whether the domain's last end was a crash of its emulator.
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
    // Reading blocks for as long as the guest is silent; the end of the domain ends it.
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
            // Now and then the emulated port loses the prompt; getty writes it again for Enter.
            Err(RecvTimeoutError::Timeout) => drop(keyboard.send(b"\r")),
            Err(RecvTimeoutError::Disconnected) => break Boot::stuck("the domain ended", &said),
        }
    };
    drop(running);
    reader.join().expect("no panic");
    end
}

/// The domain's first serial console.
fn open_console(connect: &Connect, domain: &Domain) -> Stream {
    let stream = Stream::new(connect, 0).expect("a stream");
    let force = sys::VIR_DOMAIN_CONSOLE_FORCE;
    // SAFETY: both pointers live for the whole call; no device name means the first console.
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
        // The reader goes on until the domain ends: it must not leave the stream open.
        drop(to.send(buffer[..read].to_vec()));
    }
    // The domain is gone, so is the stream; there is nothing to lose.
    drop(console.abort());
}

/// A running domain, which must not outlive its test.
struct Running<'a>(&'a Domain);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.0.destroy());
    }
}

/// The variable that names the appliance which `scripts/test.sh` has set, for a command whose
/// environment is cleared. Without it the appliance of the system is started.
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
