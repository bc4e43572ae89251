//! Which card gets which name.

use super::super::place::tests::{card, cards, e1000};
use super::*;
use crate::model::MacAddress;

fn named(name: &str) -> Subject {
    Subject { name: Some(name.to_owned()), is_configured: true, ..Subject::default() }
}

fn mac(last: u8) -> MacAddress {
    format!("00:50:56:aa:bb:{last:02x}").parse().expect("an address")
}

fn survey(subjects: Vec<Subject>) -> Survey {
    Survey { subjects, is_configured: true, ..Survey::default() }
}

/// Name, index of the card, evidence.
fn ties(
    subjects: Vec<Subject>,
    cards: &[Card],
    kernel: bool,
) -> Vec<(String, usize, NameEvidence)> {
    let survey = survey(subjects);
    let assigned = assign(&survey, cards, kernel);
    let name = |tie: &Tie| survey.subjects[tie.subject].name.clone().unwrap_or("-".to_owned());
    let mut ties: Vec<_> = assigned.ties.iter().map(|tie| (name(tie), tie.card, tie.how)).collect();
    ties.sort_by_key(|(_, card, _)| *card);
    ties
}

fn tie(name: &str, card: usize, how: NameEvidence) -> (String, usize, NameEvidence) {
    (name.to_owned(), card, how)
}

#[test]
fn one_name_and_one_card_belong_together() {
    let alone = [card(1, None)];
    assert_eq!(ties(vec![named("ens192")], &alone, false), [tie("ens192", 0, NameEvidence::Alone)]);
    assert_eq!(
        ties(vec![named("lan")], &cards(&[192]), false),
        [tie("lan", 0, NameEvidence::Alone)]
    );
}

#[test]
fn the_slot_is_exact() {
    let subjects = || vec![named("ens192"), named("ens224")];
    let swapped = cards(&[224, 192]);
    assert_eq!(
        ties(subjects(), &swapped, false),
        [tie("ens224", 0, NameEvidence::Slot), tie("ens192", 1, NameEvidence::Slot)]
    );
    let many = cards(&[1184, 192, 224, 256]);
    let names = ["ens161", "enp11s0", "eno50336512", "ens256"].map(named).to_vec();
    let found = ties(names, &many, false);
    assert!(
        found.iter().all(|(.., how)| *how == NameEvidence::Slot) && found.len() == 4,
        "{found:?}"
    );
}

#[test]
fn a_mac_address_goes_before_the_slot_and_the_slot_before_addresses() {
    let by_mac = Subject { macs: vec![mac(1)], ..named("ens224") };
    let by_address = Subject { addresses: vec!["192.0.2.7/24".to_owned()], ..named("ens192") };
    let mut two = cards(&[192, 224]);
    two[1].addresses = vec!["fe80::1/64".to_owned(), "192.0.2.7/24".to_owned()];
    assert_eq!(
        ties(vec![by_mac, by_address.clone()], &two, false),
        [tie("ens224", 0, NameEvidence::Mac), tie("ens192", 1, NameEvidence::Address)]
    );
    assert_eq!(ties(vec![by_address], &two, false), [tie("ens192", 0, NameEvidence::Slot)]);
}

#[test]
fn addresses_of_tools_and_leases_tell_the_card() {
    let mut two = [card(1, None), card(2, None)];
    two[1].addresses = vec!["192.0.2.7/24".to_owned()];
    let leased = Subject { leased: vec!["192.0.2.7".to_owned()], ..named("lan") };
    assert_eq!(
        ties(vec![leased, named("wan")], &two, false),
        [tie("wan", 0, NameEvidence::LastOne), tie("lan", 1, NameEvidence::Address)]
    );
    let by_lease = Subject { leased_macs: vec![mac(2)], ..named("wan") };
    assert_eq!(ties(vec![by_lease], &two, false), [tie("wan", 1, NameEvidence::LeasedMac)]);
    two[0].addresses = vec!["192.0.2.7/24".to_owned()];
    let both = Subject { addresses: vec!["192.0.2.7/24".to_owned()], ..named("lan") };
    assert!(ties(vec![both], &two, false).is_empty(), "an address on two cards");
}

#[test]
fn the_address_that_a_new_one_replaced_tells_the_card() {
    let mut two = cards(&[192, 224]);
    two[1].source_mac = Some(mac(77));
    let old = Subject { macs: vec![mac(77)], ..named("lan") };
    assert_eq!(ties(vec![old], &two, false), [tie("lan", 1, NameEvidence::Mac)]);
}

#[test]
fn a_stale_mac_falls_through_to_the_next_evidence() {
    let stale = |name: &str| Subject { macs: vec![mac(99)], ..named(name) };
    assert_eq!(
        ties(vec![stale("ens192")], &cards(&[224, 192]), false),
        [tie("ens192", 1, NameEvidence::Slot)]
    );
    assert_eq!(
        ties(vec![stale("lan")], &cards(&[192]), false),
        [tie("lan", 0, NameEvidence::Alone)]
    );
    let other = Subject { macs: vec![mac(1)], ..named("lan0") };
    let two = [card(1, None), card(2, None)];
    assert_eq!(
        ties(vec![stale("lan1"), other.clone()], &two, false),
        [tie("lan0", 0, NameEvidence::Mac), tie("lan1", 1, NameEvidence::LastOne)]
    );
    let three = [card(1, None), card(2, None), card(3, None)];
    let doubtful = ties(vec![stale("lan1"), stale("lan2"), other], &three, false);
    assert_eq!(doubtful, [tie("lan0", 0, NameEvidence::Mac)]);
}

#[test]
fn order_needs_as_many_names_of_one_kind_as_cards() {
    let two = [card(1, None), card(2, None)];
    assert_eq!(
        ties(vec![named("ens224"), named("ens192")], &two, false),
        [tie("ens192", 0, NameEvidence::Order), tie("ens224", 1, NameEvidence::Order)]
    );
    for names in [
        vec!["ens224"],
        vec!["ens192", "ens224", "ens256"],
        vec!["eth0", "ens192"],
        vec!["lan", "wan"],
    ] {
        let subjects = names.iter().map(|name| named(name)).collect();
        assert!(ties(subjects, &two, false).is_empty(), "{names:?}");
    }
}

#[test]
fn a_name_that_stays_down_makes_way_where_there_are_too_few_cards() {
    let active = |name: &str| Subject { is_active: true, ..named(name) };
    let names = || vec![named("ens33"), active("ens192")];
    assert_eq!(ties(names(), &[card(1, None)], false), [tie("ens192", 0, NameEvidence::Alone)]);
    let two = [card(1, None), card(2, None)];
    assert_eq!(ties(names(), &two, false).len(), 2, "there is a card for each");
    assert!(ties(vec![active("ens33"), active("ens192")], &two[..1], false).is_empty());
}

#[test]
fn a_name_of_another_slot_is_not_given_to_a_card() {
    // ens256 belongs to a removed card, and nothing names the card in slot 224.
    let subjects = vec![named("ens192"), named("ens256")];
    assert_eq!(ties(subjects, &cards(&[192, 224]), false), [tie("ens192", 0, NameEvidence::Slot)]);
    let survey = survey(vec![named("ens192")]);
    let assigned = assign(&survey, &cards(&[160]), false);
    assert_eq!((assigned.ties[0].how, assigned.in_doubt.len()), (NameEvidence::Order, 1));
}

#[test]
fn names_of_the_kernel_follow_the_bus() {
    let subjects = || vec![named("eth0"), named("eth1")];
    assert_eq!(
        ties(subjects(), &cards(&[224, 192]), true),
        [tie("eth1", 0, NameEvidence::Slot), tie("eth0", 1, NameEvidence::Slot)]
    );
    assert_eq!(
        ties(subjects(), &cards(&[224, 192]), false),
        [tie("eth0", 0, NameEvidence::Order), tie("eth1", 1, NameEvidence::Order)]
    );
}

#[test]
fn a_configuration_without_a_name_shares_its_card() {
    let nameless = Subject { macs: vec![mac(1)], is_configured: true, ..Subject::default() };
    let parent = named("lan0");
    assert_eq!(
        ties(vec![nameless.clone(), parent.clone()], &[card(1, None)], false),
        [tie("-", 0, NameEvidence::Mac), tie("lan0", 0, NameEvidence::Alone)]
    );
    assert_eq!(
        ties(vec![nameless, parent], &[card(1, None), card(2, None)], false),
        [tie("-", 0, NameEvidence::Mac), tie("lan0", 1, NameEvidence::LastOne)]
    );
}

#[test]
fn drivers_that_differ_leave_the_kernels_order_open() {
    // With one driver the slots are exact; e1000 may find its card before or after vmxnet3.
    let subjects = || vec![named("eth0"), named("eth1")];
    let mut two = cards(&[192, 33]);
    two[1] = e1000(2, 33);
    assert_eq!(
        ties(subjects(), &two, true),
        [tie("eth1", 0, NameEvidence::Order), tie("eth0", 1, NameEvidence::Order)]
    );
}

#[test]
fn a_name_made_of_the_mac_address_tells_the_card() {
    let two = [card(2, None), card(1, None)];
    let subjects = || vec![named("enx005056aabb01"), named("enx005056aabb02")];
    assert_eq!(
        ties(subjects(), &two, false),
        [
            tie("enx005056aabb02", 0, NameEvidence::Mac),
            tie("enx005056aabb01", 1, NameEvidence::Mac)
        ]
    );
    let mut renewed = two.clone();
    renewed[0].source_mac = Some(mac(77));
    let old = vec![named("enx005056aabb4d")];
    assert_eq!(ties(old, &renewed, false), [tie("enx005056aabb4d", 0, NameEvidence::Mac)]);
    assert_eq!(["enx", "enx00505", "enx+05056aabb01", "ens192"].map(mac_in), [None; 4]);
}

#[test]
fn the_only_rule_is_of_the_only_card() {
    let ruled = |name: &str, last: u8| Subject {
        name: Some(name.to_owned()),
        ruled_macs: vec![mac(last)],
        ..Subject::default()
    };
    let alone = [card(1, None)];
    assert_eq!(ties(vec![ruled("eth0", 99)], &alone, true), [tie("eth0", 0, NameEvidence::Alone)]);
    let rival = vec![ruled("eth0", 99), ruled("eth1", 98)];
    assert!(ties(rival, &alone, true).is_empty());
    assert!(ties(vec![ruled("eth0", 99)], &[card(1, None), card(2, None)], true).is_empty());
    let configured = vec![ruled("eth0", 99), named("lan")];
    assert_eq!(ties(configured, &alone, true), [tie("lan", 0, NameEvidence::Alone)]);
}

/// Names that match no naming scheme of systemd are assigned and kept as any others.
#[test]
fn names_of_other_schemes_are_tied_too() {
    for names in [["em1", "em2"], ["p1p1", "p1p2"], ["lan0", "lan1"]] {
        let subjects = names.map(named).to_vec();
        let [first, second] = names;
        assert_eq!(
            ties(subjects, &[card(1, None), card(2, None)], false),
            [tie(first, 0, NameEvidence::Order), tie(second, 1, NameEvidence::Order)]
        );
        assert_eq!(
            ties(vec![named(first)], &cards(&[192]), false),
            [tie(first, 0, NameEvidence::Alone)]
        );
    }
}

#[test]
fn names_are_ordered_as_people_count() {
    let mut names = ["enp19s0", "enp11s0", "enp3s0", "ens192", "ens9"];
    names.sort_by_key(|name| natural(name));
    assert_eq!(names, ["enp3s0", "enp11s0", "enp19s0", "ens9", "ens192"]);
    assert_eq!(
        ["eth0", "eth12", "eth", "eth01", "lan0"].map(eth_number),
        [Some(0), Some(12), None, None, None]
    );
}
