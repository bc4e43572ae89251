//! Network cards and their MAC addresses, from the source to the domain: generated, given by the
//! user, replaced, and in use by another domain.

use crate::support::files::{Desk, Form, Ovf, item, pack, packed};
use crate::support::job::{Ended, read_json};
use crate::support::libvirtd::{self, Names};
use serde_json::{Value, json};

/// A folder of sources, and names in libvirt.
struct Bench {
    desk: Desk,
    names: Names,
}

impl Bench {
    /// A bench, or `None` without libvirt.
    fn new() -> Option<Self> {
        libvirtd::available().then(|| Self { desk: Desk::new(), names: Names::new() })
    }

    /// Flags of every run here: there is no guest to inspect.
    fn convert() -> [&'static str; 5] {
        [
            "--pipeline",
            "--converter=native",
            "--pipeline-inspect=false",
            "--pipeline-fix=false",
            "--pipeline-validate=false",
        ]
    }

    /// Flags of a target, whose domain is named after `label`.
    fn target(&self, label: &str) -> Vec<String> {
        let pool = self.desk.path("pool");
        let (name, pool_name) = (self.names.name(label), self.names.name("pool"));
        let flags = ["--libvirt-name", &name, "--libvirt-pool", &pool_name, "--libvirt-pool-path"];
        flags.map(String::from).into_iter().chain([pool.to_str().expect("UTF-8").into()]).collect()
    }

    /// A complete migration into the folder `label`.
    fn run(&self, source: &str, label: &str, flags: &[&str]) -> Ended {
        let target = self.target(label);
        let mut args = vec!["--source", source, "--output", label, "--json", "--libvirt"];
        args.extend(Self::convert());
        args.extend(target.iter().map(String::as_str));
        args.extend(flags);
        self.desk.run(&args)
    }

    /// Runs `define` for the export in the folder `of`.
    fn define(&self, of: &str, label: &str, flags: &[&str]) -> Ended {
        let (manifest, target) = (format!("{of}/manifest.json"), self.target(label));
        let mut args = vec!["define", "--manifest", &manifest, "--json"];
        args.extend(target.iter().map(String::as_str));
        args.extend(flags);
        self.desk.run(&args)
    }

    fn manifest(&self, label: &str) -> Value {
        read_json(&self.desk.path(&format!("{label}/manifest.json")))
    }

    /// MAC addresses of the manifest, asserted to equal those that hyperexport stores for itself.
    fn macs(&self, label: &str) -> Vec<String> {
        let manifest = self.manifest(label);
        let macs = |nics: &Value| -> Vec<String> {
            let nics = nics.as_array().cloned().unwrap_or_default();
            nics.iter().map(|nic| nic["mac"].as_str().expect("an address").to_owned()).collect()
        };
        let exact = macs(&manifest["metadata"]["hyperexport"]["source_vm"]["nics"]);
        assert_eq!(macs(&manifest["nics"]), exact);
        exact
    }

    /// Domain XML from libvirt.
    fn xml(&self, label: &str) -> String {
        let domain = libvirtd::connect().lookup_domain_by_name(&self.names.name(label));
        domain.expect("defined").xml_desc(0).expect("described")
    }
}

/// Messages of a run's warnings with this code.
fn warnings(ended: &Ended, code: &str) -> Vec<String> {
    let all = ended.json["warnings"].as_array().cloned().unwrap_or_default();
    let of_code = all.iter().filter(|warning| warning["code"] == code);
    of_code.map(|warning| warning["message"].as_str().expect("a text").to_owned()).collect()
}

#[test]
fn a_disk_image_has_one_card_whose_address_is_in_manifest_and_domain() {
    let Some(bench) = Bench::new() else { return };
    bench.desk.raw("disk.raw", 6);
    let mut macs = Vec::new();
    for (label, flags) in [("one", &[][..]), ("two", &["--network-map", "*=network:default"])] {
        let ended = bench.run("disk.raw", label, flags).expect(0);
        let [mac] = bench.macs(label).try_into().expect("one card");
        assert!(mac.starts_with("52:54:00:"), "{mac}");
        let xml = bench.xml(label);
        assert_eq!(xml.matches("<interface ").count(), 1, "{xml}");
        assert!(xml.contains(&format!("<mac address='{mac}'/>")), "{mac} in {xml}");
        assert!(xml.contains("<source network='default'"), "{xml}");
        let [made] = warnings(&ended, "nic-mac-made").try_into().expect("one warning");
        assert!(made.contains(&mac), "{made}");
        assert!(warnings(&ended, "mac-in-use").is_empty());
        macs.push(mac);
    }
    assert_ne!(macs[0], macs[1], "two copies of one image");
    let info = bench.desk.run(&["info", "--source", "disk.raw"]);
    assert!(info.stdout.contains("MAC address made at export"), "{}", info.stdout);
}

#[test]
fn cards_are_what_the_user_describes() {
    let Some(bench) = Bench::new() else { return };
    bench.desk.raw("disk.raw", 6);
    let two = [
        "--nic",
        "00-50-56-AA-EE-01@network:default,model=vmxnet3",
        "--nic",
        "LAN,model=pcnet",
        "--network-map",
        "LAN=bridge:virbr0",
    ];
    let dry = bench.run("disk.raw", "two", &[&two[..], &["--dry-run"]].concat()).expect(0);
    let plan = dry.json["plan"].to_string();
    assert!(
        plan.contains("00:50:56:aa:ee:01 in network 'network:default' to network 'default'"),
        "{plan}"
    );
    bench.run("disk.raw", "two", &two).expect(0);
    let (macs, xml) = (bench.macs("two"), bench.xml("two"));
    assert_eq!(macs[0], "00:50:56:aa:ee:01");
    for part in [&macs[0], &macs[1], "<model type='vmxnet3'/>", "<model type='pcnet'/>"] {
        assert!(xml.contains(part), "{part} in {xml}");
    }
    // The manifest contains the cards, so that a separate `define` yields the same.
    bench.define("two", "again", &["--network-map", "LAN=network:default"]).expect(0);
    assert!(bench.xml("again").contains("<model type='pcnet'/>"));

    bench.run("disk.raw", "none", &["--nic", "none"]).expect(0);
    assert!(!bench.xml("none").contains("<interface "));
    bench.run("disk.raw", "lan", &["--nic", "hxt-nowhere"]).expect(4).said("--network-map");
    bench.run("disk.raw", "both", &["--nic", "none", "--nic", "default"]).expect(2);
    bench.run("disk.raw", "bad", &["--nic", "default,model=ne2k"]).expect(2).said("ne2k");
}

/// A package in a folder, whose cards have these elements.
fn package(desk: &Desk, cards: &[&str]) {
    let raw = desk.raw("disk.raw", 6);
    let vmdk = desk.image(&raw, "disk.vmdk", "vmdk", &["subformat=streamOptimized"]);
    let mut ovf = Ovf::one("disk1.vmdk", 6);
    ovf.items += &cards.iter().map(|card| item(10, card)).collect::<String>();
    let own = item(
        10,
        "<rasd:InstanceID>5</rasd:InstanceID><rasd:Address>00:50:56:aa:bb:07</rasd:Address>\
         <rasd:Connection>VM Network</rasd:Connection>\
         <rasd:ResourceSubType>VmxNet3</rasd:ResourceSubType>",
    );
    let text = ovf.text();
    assert!(text.contains(&own), "{text}");
    let vmdk = std::fs::read(vmdk).expect("readable");
    let files = [packed("vm.ovf", text.replace(&own, "")), packed("disk1.vmdk", vmdk)];
    pack(desk, Form::Tar, &files);
}

const LAN: &str = "<rasd:Connection>LAN</rasd:Connection>";

#[test]
fn a_kept_export_keeps_the_addresses_that_were_made() {
    let Some(bench) = Bench::new() else { return };
    package(&bench.desk, &[LAN, LAN]);
    // The boot proof fails, since the disk is empty: the domain is removed, export and conversion
    // stay.
    let proof = ["--boot-proof", "--boot-proof-timeout", "1s"];
    let first = bench.run("vm.ova", "web", &proof);
    assert_eq!(first.json["outcome"], "partial", "{}\n{}", first.stdout, first.stderr);
    let made = bench.macs("web");
    assert_eq!(made.len(), 2);
    assert_ne!(made[0], made[1]);
    let second = bench.run("vm.ova", "web", &[]).expect(0);
    assert_eq!((second.stage("export"), second.stage("pipeline")), ("kept", "kept"));
    let xml = bench.xml("web");
    for mac in &made {
        assert!(xml.contains(&format!("<mac address='{mac}'/>")), "{mac} in {xml}");
    }
}

#[test]
fn a_source_that_has_cards_takes_no_others() {
    let desk = Desk::new();
    package(&desk, &[LAN]);
    let ended = desk.export("vm.ova", &["--nic", "default"]).expect(4);
    ended.said("--nic conflicts with the 1 network cards");
    ended.said("--network-map");
    package(&desk, &[]);
    desk.export("vm.ova", &["--nic", "00:50:56:aa:bb:09@LAN"]).expect(0);
    assert_eq!(
        desk.manifest()["nics"],
        json!([{"id": "nic-0", "mac": "00:50:56:aa:bb:09", "network": "LAN"}])
    );
}

#[test]
fn an_entry_of_the_map_for_no_card_is_refused_before_anything_is_asked_of_the_host() {
    let desk = Desk::new();
    let gone = "qemu+unix:///system?socket=/no/such/socket";
    for (cards, entry, said) in [
        (&[LAN][..], "Lan=network:default", "nic-0 (52:54:00:"),
        (&[LAN], "mac:00:50:56:00:00:01=none", "in 'LAN'"),
        (&[], "LAN=network:default", "it has no network card"),
    ] {
        package(&desk, cards);
        let flags = ["--pipeline", "--libvirt", "--libvirt-uri", gone, "--network-map", entry];
        let ended = desk.export("vm.ova", &flags).expect(4);
        let source = entry.split('=').next().expect("a source");
        ended.said(&format!("no network card of the VM matches '{source}'"));
        ended.said(said);
        assert_eq!(desk.files("out"), [""; 0]);
    }
}

#[test]
fn a_second_domain_with_the_same_address_is_warned_of_and_gets_another_one() {
    let Some(bench) = Bench::new() else { return };
    bench.desk.raw("disk.raw", 6);
    let nic = ["--nic", "00:50:56:aa:ee:02@network:default"];
    bench.run("disk.raw", "first", &nic).expect(0);
    let dry = bench.define("first", "second", &["--dry-run"]).expect(0);
    let [used] = warnings(&dry, "mac-in-use").try_into().expect("one warning");
    let first = bench.names.name("first");
    assert!(used.contains(&format!("domain '{first}'")), "{used}");
    assert!(used.contains("00:50:56:aa:ee:02 on network 'default'"), "{used}");
    assert!(used.contains("--new-mac"), "{used}");
    // The network's bridge is the same segment; another network is not.
    let bridge =
        bench.define("first", "second", &["--dry-run", "--network-map", "*=bridge:virbr0"]);
    assert_eq!(warnings(&bridge, "mac-in-use").len(), 1);

    let ended = bench.define("first", "second", &["--new-mac"]).expect(0);
    assert!(warnings(&ended, "mac-in-use").is_empty(), "{}", ended.stdout);
    let [made] = warnings(&ended, "nic-mac-made").try_into().expect("one warning");
    assert!(made.contains("in place of 00:50:56:aa:ee:02"), "{made}");
    let xml = bench.xml("second");
    assert!(!xml.contains("00:50:56:aa:ee:02"), "{xml}");
    let third = bench.define("first", "third", &["--new-mac"]).expect(0);
    assert!(warnings(&third, "mac-in-use").is_empty(), "a third one has another: {}", third.stdout);
    assert_eq!(bench.macs("first"), ["00:50:56:aa:ee:02"], "the manifest is the export's");

    // As if the conversion had bound the guest's interface names to the old address.
    let result = bench.desk.path("first/result.json");
    let mut report = read_json(&result);
    report["converted"] = report["converted"].take();
    for disk in report["converted"].as_array_mut().expect("disks") {
        disk["fixed"] = json!(true);
    }
    std::fs::write(&result, report.to_string()).expect("written");
    bench.define("first", "fourth", &["--new-mac"]).expect(4).said("--new-mac");
}

#[test]
fn new_addresses_stand_in_the_manifest_beside_those_that_they_replace() {
    let Some(bench) = Bench::new() else { return };
    bench.desk.raw("disk.raw", 6);
    let nic = "00:50:56:aa:ee:03@network:default";
    let flags = ["--nic", nic, "--new-mac", "--network-map", "mac:00:50:56:AA:EE:03=bridge:virbr0"];
    bench.run("disk.raw", "copy", &flags).expect(0);
    let [mac] = bench.macs("copy").try_into().expect("one card");
    assert_ne!(mac, "00:50:56:aa:ee:03");
    let card = &bench.manifest("copy")["metadata"]["hyperexport"]["source_vm"]["nics"][0];
    assert_eq!(
        (&card["source_mac"], &card["mac_made"]),
        (&json!("00:50:56:aa:ee:03"), &json!(true))
    );
    assert!(bench.xml("copy").contains(&mac));

    // The same command is already done; without --new-mac it would request the old address.
    let again = bench.run("disk.raw", "copy", &flags).expect(0);
    assert_eq!(again.json["already_done"], true, "{}", again.stdout);
    let ended = bench.run("disk.raw", "copy", &["--nic", nic]).expect(4);
    assert_eq!(ended.json["errors"][0]["code"], "export-differs", "{}", ended.stderr);
    ended.said("--new-mac: for ");
    ended.said("--fresh");
}

#[test]
fn a_guest_for_other_processors_is_exported_and_not_defined() {
    let desk = Desk::new();
    let raw = desk.raw("disk.raw", 6);
    desk.image(&raw, "vm/disk.vmdk", "vmdk", &["subformat=monolithicSparse"]);
    let vmx = "guestOS = \"arm-debian12-64\"\nmemsize = \"512\"\nfirmware = \"efi\"\n\
        nvme0.present = \"TRUE\"\nnvme0:0.present = \"TRUE\"\nnvme0:0.fileName = \"disk.vmdk\"\n";
    std::fs::write(desk.path("vm/web.vmx"), vmx).expect("written");
    let info = desk.run(&["info", "--source", "vm"]);
    assert!(info.stdout.contains("architecture  aarch64"), "{}", info.stdout);
    assert!(info.stdout.contains("not defined as it is: it is for aarch64"), "{}", info.stdout);
    let info = desk.run(&["info", "--source", "vm", "--json"]);
    assert_eq!(info.json["vm"]["arch"], "aarch64");
    assert_eq!(info.json["obstacles"].as_array().map(Vec::len), Some(1), "{}", info.stdout);
    if libvirtd::available() {
        let ended = desk.export("vm", &["--pipeline", "--libvirt", "--libvirt-pool-path", "pool"]);
        let ended = ended.expect(4);
        ended.said("for aarch64 processors, and the host emulates x86_64");
        assert_eq!(desk.files("out"), [""; 0]);
    }
    desk.export("vm", &[]).expect(0);
}
