//! Images.

use super::StringMap;
use super::container::Config;

wire! {
    /// One element of `GET /images/json`.
    pub struct ImageSummary {
        pub containers: i64,
        pub created: i64,
        pub id: String,
        pub labels: Option<StringMap>,
        pub parent_id: String,
        pub repo_digests: Vec<String>,
        pub repo_tags: Vec<String>,
        pub shared_size: i64,
        pub size: i64,
        /// The same as `size`; answered to clients below API 1.44 only.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub virtual_size: Option<i64>,
        /// Answered to who asks for it.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub manifests: Option<Vec<ManifestSummary>>,
    }

    /// `GET /images/{name}/json`.
    pub struct ImageInspect {
        pub id: String,
        pub repo_tags: Vec<String>,
        pub repo_digests: Vec<String>,
        pub parent: String,
        pub comment: String,
        pub created: String,
        /// Answered to clients below API 1.45 only.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub container: Option<String>,
        /// Answered to clients below API 1.45 only.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub container_config: Option<Config>,
        pub docker_version: String,
        pub author: String,
        /// A [`Config`]; its empty fields are left out since API 1.50.
        pub config: Option<serde_json::Value>,
        pub architecture: String,
        #[serde(skip_serializing_if = "String::is_empty")]
        pub variant: String,
        pub os: String,
        pub size: i64,
        #[serde(skip_serializing_if = "Option::is_none")]
        pub virtual_size: Option<i64>,
        pub graph_driver: GraphDriver,
        #[serde(rename = "RootFS")]
        pub root_fs: RootFs,
        pub metadata: ImageMetadata,
        /// What the image's names lead to.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub descriptor: Option<WireDescriptor>,
        /// Answered to who asks for it.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub manifests: Option<Vec<ManifestSummary>>,
    }

    /// One manifest that an image's names lead to. `Kind`: image, attestation.
    pub struct ManifestSummary {
        #[serde(rename = "ID")]
        pub id: String,
        pub descriptor: WireDescriptor,
        pub available: bool,
        pub kind: String,
        pub size: ManifestSizes,
        #[serde(skip_serializing_if = "Option::is_none")]
        pub image_data: Option<ManifestImage>,
        /// `For`: the manifest that it describes.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub attestation_data: Option<StringMap>,
    }

    /// What a manifest takes of the disk.
    pub struct ManifestSizes {
        pub content: i64,
        pub total: i64,
    }

    /// What a manifest that is an image tells of it.
    pub struct ManifestImage {
        pub platform: DistributionPlatform,
        pub containers: Vec<String>,
        pub size: UnpackedSize,
    }

    /// The files of an unpacked image.
    pub struct UnpackedSize {
        pub unpacked: i64,
    }

    /// The snapshotter and where its directories are.
    pub struct GraphDriver {
        pub data: Option<StringMap>,
        pub name: String,
    }

    /// The layers, as digests of what they unpack to.
    pub struct RootFs {
        #[serde(rename = "Type")]
        pub kind: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        pub layers: Option<Vec<String>>,
    }

    /// What this machine knows about an image beyond its content.
    pub struct ImageMetadata {
        pub last_tag_time: String,
    }

    /// One step of `DELETE /images/{name}`.
    pub struct ImageDeleteItem {
        #[serde(skip_serializing_if = "String::is_empty")]
        pub untagged: String,
        #[serde(skip_serializing_if = "String::is_empty")]
        pub deleted: String,
    }

    /// One line of `GET /images/{name}/history`.
    pub struct ImageHistoryItem {
        pub id: String,
        pub created: i64,
        pub created_by: String,
        pub tags: Option<Vec<String>>,
        pub size: i64,
        pub comment: String,
    }

    /// `POST /images/prune`.
    pub struct ImagesPruneReport {
        pub images_deleted: Option<Vec<ImageDeleteItem>>,
        pub space_reclaimed: i64,
    }

    /// `POST /auth`.
    pub struct AuthBody {
        #[serde(rename = "username")]
        pub username: String,
        #[serde(rename = "password")]
        pub password: String,
        #[serde(rename = "serveraddress")]
        pub server_address: String,
        #[serde(rename = "identitytoken")]
        pub identity_token: String,
    }

    /// The answer to `POST /auth`.
    pub struct AuthReply {
        pub status: String,
        pub identity_token: String,
    }

    /// One element of `GET /images/search`.
    pub struct SearchItem {
        #[serde(rename = "name")]
        pub name: String,
        #[serde(rename = "description")]
        pub description: String,
        #[serde(rename = "star_count")]
        pub star_count: i64,
        #[serde(rename = "is_official")]
        pub is_official: bool,
        #[serde(rename = "is_automated")]
        pub is_automated: bool,
    }

    /// `GET /distribution/{name}/json`.
    pub struct Distribution {
        pub descriptor: WireDescriptor,
        pub platforms: Vec<DistributionPlatform>,
    }

    /// A document at a registry.
    pub struct WireDescriptor {
        #[serde(rename = "mediaType")]
        pub media_type: String,
        #[serde(rename = "digest")]
        pub digest: String,
        #[serde(rename = "size")]
        pub size: i64,
    }

    /// What an image is built for.
    pub struct DistributionPlatform {
        #[serde(rename = "architecture")]
        pub architecture: String,
        #[serde(rename = "os")]
        pub os: String,
        #[serde(rename = "variant", skip_serializing_if = "String::is_empty")]
        pub variant: String,
    }
}
