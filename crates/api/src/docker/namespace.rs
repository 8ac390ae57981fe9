//! Namespaces, which are an extension of ours: `/corten/namespaces`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A namespace, and how much is in it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Namespace {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub containers: usize,
    pub images: usize,
}

/// `POST /corten/namespaces`
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct NamespaceCreateBody {
    pub name: String,
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

/// `POST /corten/namespaces/{name}/update`: labels to be set; an empty value takes one away.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct NamespaceUpdateBody {
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}
