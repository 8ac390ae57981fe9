//! Volumes.

use super::StringMap;

wire! {
    /// A volume as every answer shows it.
    pub struct Volume {
        #[serde(skip_serializing_if = "String::is_empty")]
        pub created_at: String,
        pub driver: String,
        pub labels: Option<StringMap>,
        pub mountpoint: String,
        pub name: String,
        pub options: Option<StringMap>,
        pub scope: String,
        /// Told by `GET /system/df` only.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub usage_data: Option<VolumeUsage>,
    }

    /// What a volume takes of the disk, and how many containers use it.
    pub struct VolumeUsage {
        pub ref_count: i64,
        pub size: i64,
    }

    /// `POST /volumes/create`.
    pub struct VolumeCreateBody {
        pub name: String,
        pub driver: String,
        pub driver_opts: Option<StringMap>,
        pub labels: Option<StringMap>,
        #[serde(skip_serializing_if = "Option::is_none")]
        pub cluster_volume_spec: Option<super::Present>,
    }

    /// `GET /volumes`.
    pub struct VolumeList {
        pub volumes: Vec<Volume>,
        pub warnings: Option<Vec<String>>,
    }

    /// `POST /volumes/prune`.
    pub struct VolumesPruneReport {
        pub volumes_deleted: Option<Vec<String>>,
        pub space_reclaimed: i64,
    }
}
