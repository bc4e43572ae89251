//! A real libvirt daemon for the tests: the running one, or else one started here without systemd.
//! It is left running, since several test binaries share it and none knows that it is the last.
#![allow(clippy::print_stdout, reason = "the reason of a skip, and what was started")]

use std::fs::File;
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use virt::connect::Connect;
use virt::sys;

/// Connection URI of the daemon.
pub const URI: &str = "qemu:///system";

/// libvirt's default network as distributions ship it.
const DEFAULT_NETWORK: &str = "<network><name>default</name><forward mode='nat'/>\
    <bridge name='virbr0' stp='on' delay='0'/>\
    <ip address='192.168.122.1' netmask='255.255.255.0'>\
    <dhcp><range start='192.168.122.2' end='192.168.122.254'/></dhcp></ip></network>";

/// Whether a daemon with an active default network is running. If none can be started, the test
/// fails in CI and is skipped with a printed reason elsewhere.
pub fn available() -> bool {
    static END: OnceLock<Result<(), String>> = OnceLock::new();
    match END.get_or_init(provide) {
        Ok(()) => true,
        Err(reason) => {
            skip(reason);
            false
        }
    }
}

/// Prints why a test is skipped; fails in CI.
pub fn skip(reason: &str) {
    assert!(std::env::var_os("CI").is_none(), "this test must run in CI: {reason}");
    println!("skipped: {reason}");
}

fn provide() -> Result<(), String> {
    virt::error::clear_error_callback();
    if Connect::open(Some(URI)).is_err() {
        // The script waits for other starters of the daemon, and gives QEMU's user access to
        // /dev/kvm.
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/libvirtd.sh");
        let status = Command::new(script).arg("start").status();
        let status = status.map_err(|e| format!("{URI} does not answer, {script}: {e}"))?;
        println!("{script} start: {status}");
    }
    let end = Instant::now() + Duration::from_secs(30);
    let connect = loop {
        match Connect::open(Some(URI)) {
            Ok(connect) => break connect,
            Err(e) if Instant::now() > end => return Err(format!("{URI}: {}", e.message())),
            Err(_) => std::thread::sleep(Duration::from_millis(100)),
        }
    };
    start_network(&connect).map_err(|e| format!("start network default: {}", e.message()))
}

fn start_network(connect: &Connect) -> Result<(), virt::error::Error> {
    let network = connect
        .lookup_network_by_name("default")
        .or_else(|_| connect.define_network_xml(DEFAULT_NETWORK))?;
    if network.is_active()? {
        return Ok(());
    }
    match network.create() {
        // Another process was faster.
        Err(_) if network.is_active()? => Ok(()),
        end => end,
    }
}

/// A connection of the test's own, to inspect the program's results.
pub fn connect() -> Connect {
    Connect::open(Some(URI)).expect("the daemon answers")
}

/// Lock on a host that has no pool `default`, nor a pool at its folder. The lock excludes all other
/// tests, in every process.
pub fn no_default_pool() -> Option<File> {
    let path = std::env::temp_dir().join("hyperexport-test-default-pool.lock");
    let lock = File::create(path).expect("a lock file");
    lock.lock().expect("locked");
    let pools = connect().list_all_storage_pools(0).expect("lists");
    let is_taken = pools.iter().any(|pool| {
        let xml = pool.xml_desc(0).unwrap_or_default();
        xml.contains("<name>default<") || xml.contains("<path>/var/lib/libvirt/images<")
    });
    if is_taken {
        println!("skipped: the host has a pool default, or one over its folder");
    }
    (!is_taken).then_some(lock)
}

/// A prefix for names that no other test or process uses; everything with the prefix is removed
/// from libvirt on drop.
pub struct Names {
    prefix: String,
}

impl Names {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self { prefix: format!("hxt-{}-{number}", std::process::id()) }
    }

    /// A name with the prefix.
    pub fn name(&self, label: &str) -> String {
        format!("{}-{label}", self.prefix)
    }

    /// Names of the domains with the prefix.
    pub fn domains(&self) -> Vec<String> {
        let domains = connect().list_all_domains(0).expect("lists");
        let names = domains.iter().map(|domain| domain.name().expect("has a name"));
        names.filter(|name| name.starts_with(&self.prefix)).collect()
    }

    /// Names of the pools with the prefix.
    pub fn pools(&self) -> Vec<String> {
        let pools = connect().list_all_storage_pools(0).expect("lists");
        let names = pools.iter().map(|pool| pool.name().expect("has a name"));
        names.filter(|name| name.starts_with(&self.prefix)).collect()
    }

    fn clean(&self) -> Result<(), virt::error::Error> {
        let connect = Connect::open(Some(URI))?;
        for domain in connect.list_all_domains(0)? {
            if domain.name()?.starts_with(&self.prefix) {
                if domain.is_active()? {
                    domain.destroy()?;
                }
                domain.undefine_flags(
                    sys::VIR_DOMAIN_UNDEFINE_NVRAM | sys::VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA,
                )?;
            }
        }
        for pool in connect.list_all_storage_pools(0)? {
            if pool.name()?.starts_with(&self.prefix) {
                if pool.is_active()? {
                    pool.destroy()?;
                }
                pool.undefine()?;
            }
        }
        Ok(())
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        if let Err(error) = self.clean() {
            println!("clean up {}: {error}", self.prefix);
        }
    }
}

/// Checks domain XML against libvirt's own schema.
pub fn validate(xml: &str) {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("domain.xml");
    std::fs::write(&file, xml).expect("written");
    let run = Command::new("virt-xml-validate").arg(&file).arg("domain").output();
    let Ok(output) = run else {
        return skip("virt-xml-validate (package libvirt-clients) is missing");
    };
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "invalid XML: {said}\n{xml}");
}
