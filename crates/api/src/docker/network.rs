//! Networks, and a container's places in them.

use std::collections::BTreeMap;

use super::StringMap;

wire! {
    /// Which networks a new container joins.
    pub struct NetworkingConfig {
        pub endpoints_config: Option<BTreeMap<String, Option<EndpointSettings>>>,
    }

    /// A container's place in a network.
    pub struct EndpointSettings {
        #[serde(rename = "IPAMConfig")]
        pub ipam_config: Option<EndpointIpamConfig>,
        pub links: Option<Vec<String>>,
        pub aliases: Option<Vec<String>>,
        pub mac_address: String,
        #[serde(rename = "NetworkID")]
        pub network_id: String,
        #[serde(rename = "EndpointID")]
        pub endpoint_id: String,
        pub gateway: String,
        #[serde(rename = "IPAddress")]
        pub ip_address: String,
        #[serde(rename = "IPPrefixLen")]
        pub ip_prefix_len: i64,
        #[serde(rename = "IPv6Gateway")]
        pub ipv6_gateway: String,
        #[serde(rename = "GlobalIPv6Address")]
        pub global_ipv6_address: String,
        #[serde(rename = "GlobalIPv6PrefixLen")]
        pub global_ipv6_prefix_len: i64,
        pub driver_opts: Option<StringMap>,
        /// Which network has the default route.
        pub gw_priority: i64,
        /// What the container is found by in this network.
        #[serde(rename = "DNSNames")]
        pub dns_names: Option<Vec<String>>,
    }

    /// Addresses asked for.
    pub struct EndpointIpamConfig {
        #[serde(rename = "IPv4Address", skip_serializing_if = "String::is_empty")]
        pub ipv4_address: String,
        #[serde(rename = "IPv6Address", skip_serializing_if = "String::is_empty")]
        pub ipv6_address: String,
        #[serde(rename = "LinkLocalIPs", skip_serializing_if = "Option::is_none")]
        pub link_local_ips: Option<Vec<String>>,
    }

    /// `GET /networks`, `GET /networks/{id}`.
    pub struct Network {
        pub name: String,
        pub id: String,
        pub created: String,
        pub scope: String,
        pub driver: String,
        #[serde(rename = "EnableIPv4")]
        pub enable_ipv4: bool,
        #[serde(rename = "EnableIPv6")]
        pub enable_ipv6: bool,
        #[serde(rename = "IPAM")]
        pub ipam: Ipam,
        pub internal: bool,
        pub attachable: bool,
        pub ingress: bool,
        pub config_from: ConfigReference,
        pub config_only: bool,
        pub containers: BTreeMap<String, EndpointResource>,
        pub options: StringMap,
        pub labels: StringMap,
    }

    /// The network that another takes its configuration from.
    pub struct ConfigReference {
        pub network: String,
    }

    /// Address management of a network.
    pub struct Ipam {
        pub driver: String,
        pub options: Option<StringMap>,
        pub config: Option<Vec<IpamConfig>>,
    }

    /// One prefix of a network.
    pub struct IpamConfig {
        #[serde(skip_serializing_if = "String::is_empty")]
        pub subnet: String,
        #[serde(rename = "IPRange", skip_serializing_if = "String::is_empty")]
        pub ip_range: String,
        #[serde(skip_serializing_if = "String::is_empty")]
        pub gateway: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        pub auxiliary_addresses: Option<StringMap>,
    }

    /// A container in a network.
    pub struct EndpointResource {
        pub name: String,
        #[serde(rename = "EndpointID")]
        pub endpoint_id: String,
        pub mac_address: String,
        #[serde(rename = "IPv4Address")]
        pub ipv4_address: String,
        #[serde(rename = "IPv6Address")]
        pub ipv6_address: String,
    }

    /// `POST /networks/create`. A repeated name is always refused, whether `CheckDuplicate` asks for it or not.
    pub struct NetworkCreateBody {
        pub name: String,
        #[serde(skip_serializing_if = "super::is_false")]
        pub check_duplicate: bool,
        pub driver: String,
        #[serde(skip_serializing_if = "String::is_empty")]
        pub scope: String,
        #[serde(rename = "EnableIPv4", skip_serializing_if = "Option::is_none")]
        pub enable_ipv4: Option<bool>,
        #[serde(rename = "EnableIPv6", skip_serializing_if = "Option::is_none")]
        pub enable_ipv6: Option<bool>,
        #[serde(rename = "IPAM", skip_serializing_if = "Option::is_none")]
        pub ipam: Option<Ipam>,
        pub internal: bool,
        pub attachable: bool,
        pub ingress: bool,
        pub config_only: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        pub config_from: Option<ConfigReference>,
        pub options: Option<StringMap>,
        pub labels: Option<StringMap>,
    }

    /// The answer to it.
    pub struct NetworkCreateResponse {
        pub id: String,
        pub warning: String,
    }

    /// `POST /networks/{id}/connect`.
    pub struct NetworkConnectBody {
        pub container: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        pub endpoint_config: Option<EndpointSettings>,
    }

    /// `POST /networks/{id}/disconnect`.
    pub struct NetworkDisconnectBody {
        pub container: String,
        pub force: bool,
    }

    /// `POST /networks/prune`.
    pub struct NetworksPruneReport {
        pub networks_deleted: Option<Vec<String>>,
    }
}
