//! Files that systems read together: the meaning of one depends on the others.

use std::collections::BTreeMap;

use super::super::claim::Says;
use super::super::place::Card;
use super::{Form, Text, cloud_init, ifupdown, netplan, networkd, remembered, yaml};

/// Reads the files that [`super::one`] left out, and corrects what depends on other files.
pub(super) fn join(files: &[&Text], all: &mut [Says]) {
    ifupdown_files(files, all);
    netplan_files(files, all);
    for form in [Form::Network, Form::Link] {
        networkd_units(form, files, all);
    }
    silence_cloud_init(files, all);
}

/// The indexes of the files of a form.
fn of_form(form: Form, files: &[&Text]) -> Vec<usize> {
    (0..files.len()).filter(|index| files[*index].form == form).collect()
}

/// Reads ifupdown's files together.
fn ifupdown_files(files: &[&Text], all: &mut [Says]) {
    let own = of_form(Form::Ifupdown, files);
    let texts: Vec<_> = own.iter().map(|index| files[*index].text.as_str()).collect();
    for (index, says) in own.into_iter().zip(ifupdown::read(&texts)) {
        all[index] = says;
    }
}

/// Reads each systemd file together with its drop-ins.
fn networkd_units(form: Form, files: &[&Text], all: &mut [Says]) {
    for (main, drop_ins) in units(form, files) {
        let text = &files[main].text;
        all[main] = match form {
            Form::Link => networkd::link(text, &drop_ins),
            _ => networkd::network(text, &drop_ins),
        };
        if form == Form::Network {
            let turn = Some(files[main].name().to_owned());
            all[main].claims.iter_mut().for_each(|claim| claim.turn.clone_from(&turn));
        }
    }
}

/// The name and the settings of the first `.link` file that matches the card without naming it.
pub(in super::super) fn settings(
    files: &[&Text],
    cards: &[Card],
    card: usize,
) -> Option<(String, Vec<String>)> {
    units(Form::Link, files).into_iter().find_map(|(main, drop_ins)| {
        let lines = networkd::settings(&files[main].text, &drop_ins, cards, card)?;
        Some((files[main].name().to_owned(), lines))
    })
}

/// The files of a systemd form in the order of their names, with the texts of their drop-ins. A
/// drop-in without its file is not read.
fn units<'a>(form: Form, files: &[&'a Text]) -> Vec<(usize, Vec<&'a str>)> {
    let mut units: BTreeMap<&str, (Option<usize>, Vec<usize>)> = BTreeMap::new();
    for index in of_form(form, files) {
        let (unit, is_drop_in) = unit(&files[index].path);
        let own = units.entry(unit).or_default();
        if is_drop_in {
            own.1.push(index);
        } else {
            own.0 = Some(index);
        }
    }
    let with_texts = |(main, mut drop_ins): (Option<usize>, Vec<usize>)| {
        // An empty file replaces the distribution's, as a link to /dev/null does.
        let main = main.filter(|main| !files[*main].text.trim().is_empty())?;
        drop_ins.sort_by_key(|index| files[*index].name());
        Some((main, drop_ins.into_iter().map(|index| files[index].text.as_str()).collect()))
    };
    units.into_values().filter_map(with_texts).collect()
}

/// The systemd file of a path, and whether the path is a drop-in of it.
fn unit(path: &str) -> (&str, bool) {
    let mut parts = path.rsplit('/');
    let file = parts.next().unwrap_or_default();
    match parts.next().and_then(|folder| folder.strip_suffix(".d")) {
        Some(unit) => (unit, true),
        None => (file, false),
    }
}

/// Where any file makes cloud-init leave the network unchanged, the others are only evidence of an
/// earlier configuration.
fn silence_cloud_init(files: &[&Text], all: &mut [Says]) {
    let own = of_form(Form::CloudInit, files);
    if own.iter().any(|index| cloud_init::is_off(&files[*index].text)) {
        for index in own {
            all[index] = remembered(std::mem::take(&mut all[index]));
        }
    }
}

/// Reads netplan's files together.
fn netplan_files(files: &[&Text], all: &mut [Says]) {
    let mut ids = netplan::Ids::default();
    let mut networks = Vec::new();
    for (index, file) in files.iter().enumerate().filter(|(_, file)| file.form == Form::Netplan) {
        match yaml::documents(&file.text) {
            Ok(documents) => networks.extend(documents.into_iter().map(|one| (index, one))),
            Err(fault) => all[index].fault = Some(fault),
        }
    }
    let networks: Vec<_> =
        networks.iter().filter_map(|(i, document)| Some((*i, document.get("network")?))).collect();
    networks.iter().for_each(|(_, network)| ids.add(network));
    for (index, network) in networks {
        let found = netplan::network(network, &files[index].text, &ids);
        all[index].append(found);
    }
}

#[cfg(test)]
mod tests {
    use super::super::read;
    use super::*;
    use crate::convert::native::fix::network::claim::ClaimRole;

    fn text(form: Form, path: &str, text: &str) -> Text {
        Text { form, path: path.to_owned(), text: text.to_owned() }
    }

    #[test]
    fn drop_ins_belong_to_their_file() {
        let network = |path: &str, words: &str| text(Form::Network, path, words);
        let all = [
            network("/etc/systemd/network/20-x.network", "[Match]\nName=eth0\n"),
            network("/etc/systemd/network/20-x.network.d/50.conf", "[Match]\nName=\nName=ens192\n"),
            network("/etc/systemd/network/30-y.network", ""),
            network("/usr/lib/systemd/network/30-y.network.d/50.conf", "[Match]\nName=ens224\n"),
            network("/usr/lib/systemd/network/40-z.network.d/50.conf", "[Match]\nName=ens256\n"),
        ];
        let says = read(&all.iter().collect::<Vec<_>>());
        let names = says.iter().flat_map(|says| &says.claims).flat_map(|claim| &claim.names);
        let names: Vec<_> = names.map(|name| name.value.as_str()).collect();
        assert_eq!(names, ["ens192"], "a masked or absent file has no drop-ins");
    }

    #[test]
    fn what_cloud_init_wrote_before_it_was_switched_off_is_history() {
        let installer = "network: {version: 1, config: [{type: physical, name: ens33}]}\n";
        let files = |off: &str| {
            let all = [
                text(Form::CloudInit, "/etc/cloud/cloud.cfg.d/90-installer-network.cfg", installer),
                text(Form::CloudInit, "/etc/cloud/cloud.cfg.d/99-off.cfg", off),
            ];
            read(&all.iter().collect::<Vec<_>>())[0].claims[0].role
        };
        assert_eq!(files("network: {config: disabled}\n"), ClaimRole::Remembers);
        assert_eq!(files("users: [default]\n"), ClaimRole::Configures);
    }

    #[test]
    fn netplan_files_are_read_together() {
        let file = |path: &str, text: &str| Text {
            form: Form::Netplan,
            path: path.to_owned(),
            text: text.to_owned(),
        };
        let all = [
            file(
                "/etc/netplan/1.yaml",
                "network:\n  ethernets:\n    lan: {match: {name: ens192}}\n",
            ),
            file("/etc/netplan/2.yaml", "network: {ethernets: {lan: {dhcp4: true}, ens224: {}}}\n"),
            file("/etc/netplan/3.yaml", "network: ["),
        ];
        let all = read(&all.iter().collect::<Vec<_>>());
        let names = |says: &Says| {
            let names = says.claims.iter().flat_map(|claim| claim.names.clone());
            names.map(|name| name.value).collect::<Vec<_>>()
        };
        assert_eq!(
            (names(&all[0]), names(&all[1])),
            (vec!["ens192".to_owned()], vec!["ens224".to_owned()])
        );
        assert!(all[2].fault.is_some());
    }
}
