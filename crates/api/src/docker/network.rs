//! Networks: enough that clients which list them do not break.

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
        #[serde(skip_serializing_if = "String::is_empty")]
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
        pub config: Option<Vec<StringMap>>,
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
}
