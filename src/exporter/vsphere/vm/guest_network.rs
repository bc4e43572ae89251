//! Network configuration of a running guest, from VMware Tools (vim25 reference, `GuestNicInfo` and
//! `GuestStackInfo`).

use super::super::soap::node::Node;
use crate::model::{GuestInterface, GuestNetwork};

/// Prefix length of the default route.
const DEFAULT_ROUTE: &str = "0";

/// The network that `guest.net` and `guest.ipStack` describe; `None` if VMware Tools are not
/// running.
pub(in crate::exporter::vsphere) fn told(
    net: Option<&Node>,
    stack: Option<&Node>,
) -> Option<GuestNetwork> {
    let interfaces: Vec<_> =
        net.into_iter().flat_map(|net| &net.children).filter_map(interface).collect();
    let stacks = || stack.into_iter().flat_map(|stack| &stack.children);
    let dns = || stacks().filter_map(|stack| stack.child("dnsConfig"));
    let hostname = dns().map(|dns| dns.text_of("hostName")).find(|name| !name.is_empty());
    let told = GuestNetwork {
        hostname: hostname.map(str::to_owned),
        interfaces,
        gateways: unique(stacks().flat_map(gateways)),
        dns: unique(dns().flat_map(|dns| texts(dns, "ipAddress"))),
        search: unique(dns().flat_map(|dns| texts(dns, "searchDomain"))),
    };
    (told != GuestNetwork::default()).then_some(told)
}

/// The interface of a virtual network card with an address; `None` for the guest's own bridges and
/// tunnels.
fn interface(nic: &Node) -> Option<GuestInterface> {
    let mac = nic.text_of("macAddress").parse().ok()?;
    let of_hardware = nic.number::<i64>("deviceConfigId").is_none_or(|id| id >= 0);
    let addresses: Vec<_> = nic
        .child("ipConfig")
        .into_iter()
        .flat_map(|config| config.all("ipAddress"))
        .filter(|address| !is_link_local(address.text_of("ipAddress")))
        .collect();
    let origins: Vec<_> = addresses.iter().map(|address| address.text_of("origin")).collect();
    let known = origins.iter().any(|origin| !origin.is_empty());
    let addresses: Vec<_> = addresses
        .iter()
        .map(|address| {
            format!("{}/{}", address.text_of("ipAddress"), address.text_of("prefixLength"))
        })
        .collect();
    let dhcp = known.then(|| origins.contains(&"dhcp"));
    (of_hardware && !addresses.is_empty()).then_some(GuestInterface { mac, addresses, dhcp })
}

/// Whether an address is link-local (RFC 4291 section 2.5.6, RFC 3927).
fn is_link_local(address: &str) -> bool {
    address.to_ascii_lowercase().starts_with("fe80:") || address.starts_with("169.254.")
}

fn gateways(stack: &Node) -> impl Iterator<Item = String> {
    let routes = stack.child("ipRouteConfig").into_iter().flat_map(|config| config.all("ipRoute"));
    routes
        .filter(|route| route.text_of("prefixLength") == DEFAULT_ROUTE)
        .filter_map(|route| route.child("gateway"))
        .map(|gateway| gateway.text_of("ipAddress").to_owned())
        .filter(|address| !address.is_empty())
}

fn texts<'a>(node: &'a Node, name: &'a str) -> impl Iterator<Item = String> + 'a {
    node.all(name).map(|child| child.text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// Removes duplicates, and keeps the order.
fn unique(all: impl Iterator<Item = String>) -> Vec<String> {
    let mut kept = Vec::new();
    for one in all {
        if !kept.contains(&one) {
            kept.push(one);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_routes_and_name_servers_are_taken_down() {
        let net = Node::parse(
            "<val><GuestNicInfo><macAddress>00:50:56:aa:bb:01</macAddress>\
               <deviceConfigId>4000</deviceConfigId><ipConfig>\
               <ipAddress><ipAddress>192.0.2.7</ipAddress><prefixLength>24</prefixLength>\
                 <origin>manual</origin></ipAddress>\
               <ipAddress><ipAddress>fe80::1</ipAddress><prefixLength>64</prefixLength></ipAddress>\
               </ipConfig></GuestNicInfo>\
             <GuestNicInfo><macAddress>02:42:aa:bb:cc:dd</macAddress>\
               <deviceConfigId>-1</deviceConfigId><ipConfig><ipAddress>\
               <ipAddress>172.17.0.1</ipAddress><prefixLength>16</prefixLength></ipAddress>\
               </ipConfig></GuestNicInfo></val>",
        );
        let stack = Node::parse(
            "<val><GuestStackInfo><dnsConfig><dhcp>false</dhcp><hostName>web01</hostName>\
               <ipAddress>192.0.2.53</ipAddress><searchDomain>example.com</searchDomain></dnsConfig>\
               <ipRouteConfig><ipRoute><network>0.0.0.0</network><prefixLength>0</prefixLength>\
               <gateway><ipAddress>192.0.2.1</ipAddress></gateway></ipRoute>\
               <ipRoute><network>192.0.2.0</network><prefixLength>24</prefixLength><gateway/>\
               </ipRoute></ipRouteConfig></GuestStackInfo></val>",
        );
        let (net, stack) = (net.expect("well-formed"), stack.expect("well-formed"));
        let told = told(Some(&net), Some(&stack)).expect("a network");
        let [card] = &told.interfaces[..] else { panic!("{told:?}") };
        assert_eq!(card.addresses, ["192.0.2.7/24"]);
        assert_eq!((card.mac.to_string().as_str(), card.dhcp), ("00:50:56:aa:bb:01", Some(false)));
        assert_eq!(told.hostname.as_deref(), Some("web01"));
        assert_eq!(
            (told.gateways, told.dns),
            (vec!["192.0.2.1".into()], vec!["192.0.2.53".into()])
        );
        assert_eq!(told.search, ["example.com"]);
    }

    #[test]
    fn a_guest_without_tools_tells_nothing() {
        let empty = Node::parse("<val/>").expect("well-formed");
        assert_eq!(told(Some(&empty), None), None);
    }
}
