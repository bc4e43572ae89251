//! A network card as the user describes it: `[MAC@]NETWORK[,model=MODEL]`.

use std::str::FromStr;

use crate::domain::Attachment;
use crate::model::{AskedNic, GuestCard, MacAddress, SourceNic};

/// What stands before the model.
const MODEL: &str = ",model=";
/// The models, in the words of libvirt.
const MODELS: [(&str, GuestCard); 6] = [
    ("virtio", GuestCard::Virtio),
    ("vmxnet3", GuestCard::Vmxnet3),
    ("e1000e", GuestCard::E1000e),
    ("e1000", GuestCard::E1000),
    ("rtl8139", GuestCard::Rtl8139),
    ("pcnet", GuestCard::Pcnet),
];

/// A value of `--nic`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NicArg {
    /// `none`: the VM has no card.
    None,
    /// A card.
    Card(NicCard),
}

/// A card as it was typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NicCard {
    mac: Option<MacAddress>,
    network: String,
    model: Option<GuestCard>,
}

impl FromStr for NicArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self::None);
        }
        let (mac, rest) = match text.split_once('@') {
            None => (None, text),
            Some((mac, rest)) => (Some(address(mac)?), rest),
        };
        let (network, model) = without_model(rest)?;
        if network.is_empty() {
            return Err("the network is missing: write [MAC@]NETWORK[,model=MODEL]".to_owned());
        }
        if network == "none" {
            return Err("a card without a network is no card: write --nic none alone".to_owned());
        }
        let is_target =
            ["bridge:", "ovs:", "network:"].iter().any(|kind| network.starts_with(kind));
        if is_target && let Err(error) = network.parse::<Attachment>() {
            return Err(error.to_string());
        }
        Ok(Self::Card(NicCard { mac, network, model }))
    }
}

fn address(text: &str) -> Result<MacAddress, String> {
    let mac: MacAddress = text.trim().parse().map_err(|error| format!("{error}"))?;
    match mac.0[0] & 1 {
        0 => Ok(mac),
        _ => Err(format!("{mac} is a multicast address, which no network card has")),
    }
}

/// The network, and the model that may stand anywhere behind it.
fn without_model(text: &str) -> Result<(String, Option<GuestCard>), String> {
    let Some((before, rest)) = text.split_once(MODEL) else { return Ok((text.to_owned(), None)) };
    let (model, after) = rest.find(',').map_or((rest, ""), |at| rest.split_at(at));
    let known = MODELS.iter().find(|(name, _)| name.eq_ignore_ascii_case(model));
    let (_, card) = known.ok_or_else(|| {
        let names: Vec<_> = MODELS.iter().map(|(name, _)| *name).collect();
        format!("'{model}' is not a model of network cards: {}", names.join(", "))
    })?;
    Ok((format!("{before}{after}"), Some(*card)))
}

/// The cards of all values; `None` when there is no value.
///
/// # Errors
/// What does not go together.
pub(super) fn cards(values: &[NicArg]) -> Result<Option<Vec<SourceNic>>, String> {
    let cards: Vec<&NicCard> = values
        .iter()
        .filter_map(|value| match value {
            NicArg::None => None,
            NicArg::Card(card) => Some(card),
        })
        .collect();
    match (values.len() - cards.len(), cards.len()) {
        (0, 0) => return Ok(None),
        (0, _) | (1, 0) => {}
        _ => return Err("--nic none cannot go with another --nic".to_owned()),
    }
    for (index, card) in cards.iter().enumerate() {
        let same = |other: &&&NicCard| card.mac.is_some() && other.mac == card.mac;
        if cards[..index].iter().find(same).is_some() {
            let mac = card.mac.map(|mac| mac.to_string()).unwrap_or_default();
            return Err(format!("--nic: two cards have the MAC address {mac}"));
        }
    }
    let nic = |(index, card): (usize, &&NicCard)| SourceNic {
        mac: card.mac,
        network: card.network.clone(),
        asked: Some(AskedNic { card: card.model }),
        ..SourceNic::at(index)
    };
    Ok(Some(cards.iter().enumerate().map(nic).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[&str]) -> Result<Option<Vec<SourceNic>>, String> {
        let parsed: Result<Vec<NicArg>, String> = values.iter().map(|text| text.parse()).collect();
        cards(&parsed?)
    }

    #[test]
    fn address_network_and_model_are_understood() {
        for (text, mac, network, model) in [
            ("default", None, "default", None),
            ("bridge:br0,vlan=20", None, "bridge:br0,vlan=20", None),
            ("bridge:br0,model=e1000,vlan=20", None, "bridge:br0,vlan=20", Some(GuestCard::E1000)),
            ("network:a,b,model=pcnet", None, "network:a,b", Some(GuestCard::Pcnet)),
            (
                "00-50-56-AA-BB-01@LAN,model=VMXNET3",
                Some("00:50:56:aa:bb:01"),
                "LAN",
                Some(GuestCard::Vmxnet3),
            ),
            ("005056aabb01@ovs:o,vlan=5", Some("00:50:56:aa:bb:01"), "ovs:o,vlan=5", None),
        ] {
            let found = read(&[text]).expect(text).expect("a card");
            assert_eq!(found[0].mac.map(|mac| mac.to_string()).as_deref(), mac, "{text}");
            assert_eq!(found[0].network, network, "{text}");
            assert_eq!(found[0].asked, Some(AskedNic { card: model }), "{text}");
        }
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&["none"]), Ok(Some(Vec::new())));
        let two = read(&["a", "b"]).expect("read").expect("cards");
        assert_eq!([two[0].id.as_str(), two[1].id.as_str()], ["nic-0", "nic-1"]);
    }

    #[test]
    fn every_mistake_is_named() {
        for (values, said) in [
            (&["none", "a"][..], "--nic none cannot go with another --nic"),
            (&["none", "none"], "cannot go with another"),
            (&[""], "the network is missing"),
            (&["00:50:56:aa:bb:01@"], "the network is missing"),
            (&["zz@br0"], "'zz' is not a MAC address"),
            (&["01:00:5e:00:00:01@a"], "is a multicast address"),
            (&["a,model=ne2k"], "'ne2k' is not a model of network cards: virtio, vmxnet3"),
            (&["bridge:br0,vlan=0"], "is not vlan=N with N from 1 to 4094"),
            (&["bridge:"], "cannot be the name of a bridge: it is empty"),
            (&["00:50:56:aa:bb:01@none"], "write --nic none alone"),
            (&["00:50:56:aa:bb:01@a", "00:50:56:AA:BB:01@b"], "two cards have the MAC address"),
        ] {
            let error = read(values).expect_err("refused");
            assert!(error.contains(said), "{values:?}: {error}");
        }
    }
}
