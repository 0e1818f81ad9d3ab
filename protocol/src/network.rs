//! What a container is given of the outside: an interface, and whom to ask for names.

use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// The machine's network device, as one container is given it in a network namespace of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// The largest packet, in bytes.
    pub mtu: u16,
    /// Its addresses, each with the length of the prefix that is on its link.
    pub addresses: Vec<(IpAddr, u8)>,
    /// Whom it sends to what is on no link: one for each kind of address that leads out.
    pub gateways: Vec<IpAddr>,
    /// The container's /etc/resolv.conf, whole.
    pub resolv_conf: String,
    /// What stands in its /etc/hosts besides its own names.
    pub hosts: String,
}
