//! Events: one JSON object per line of `GET /events`.

use super::StringMap;

wire! {
    /// Something that happened. `status`, `id` and `from` repeat the rest for clients of API 1.21 and older.
    pub struct Event {
        #[serde(rename = "status", skip_serializing_if = "String::is_empty")]
        pub status: String,
        #[serde(rename = "id", skip_serializing_if = "String::is_empty")]
        pub id: String,
        #[serde(rename = "from", skip_serializing_if = "String::is_empty")]
        pub from: String,
        #[serde(rename = "Type")]
        pub kind: String,
        pub action: String,
        pub actor: Actor,
        #[serde(rename = "scope", skip_serializing_if = "String::is_empty")]
        pub scope: String,
        #[serde(rename = "time")]
        pub time: i64,
        #[serde(rename = "timeNano")]
        pub time_nano: i64,
    }

    /// To whom it happened.
    pub struct Actor {
        #[serde(rename = "ID")]
        pub id: String,
        pub attributes: StringMap,
    }
}
