//! Tags of VMs. Tags are not in the SOAP API, but in vCenter's REST API, under `/rest` since 6.5
//! ("vSphere Automation API", package `com.vmware.cis.tagging`), which needs a login of its own.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::header::CONTENT_TYPE;
use reqwest::{Method, RequestBuilder};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::super::soap::session::VSphere;
use super::super::soap::{CALL_TIMEOUT, answer, host_of, patiently};
use crate::budget::{Budget, Exhausted};
use crate::exporter::inspected::{Tag, VmSummary};
use crate::exporter::tls::Client;
use crate::exporter::{Error, Settings};

const SESSION: &str = "com/vmware/cis/session";
const CATEGORY: &str = "com/vmware/cis/tagging/category";
const TAG: &str = "com/vmware/cis/tagging/tag";
const ASSOCIATION: &str = "com/vmware/cis/tagging/tag-association";
/// Objects per request; the API accepts at most 2000.
const AT_A_TIME: usize = 1000;
/// Maximum number of tags, each of which takes a request: a vCenter has 18 000 at most, and
/// attaches 100 000 to objects ("Configuration Maximums").
const MOST_TAGS: u64 = 50_000;
const MOST_ATTACHED: u64 = 500_000;

impl VSphere {
    /// Reads the tags of `vms` in a REST session, which is closed at the end. If the future is
    /// dropped, the server ends the session after five minutes.
    ///
    /// # Errors
    /// [`Error::NoTags`] if the server has no tags; errors of the connection and the server.
    pub async fn add_tags(&self, vms: &mut [VmSummary]) -> Result<(), Error> {
        let rest = Rest::log_in(&self.settings).await?;
        let read = rest.read_tags(vms).await;
        let closed = rest.log_out().await;
        read.and(closed)
    }
}

/// An existing tag.
pub(in crate::exporter::vsphere) struct TagMatch {
    pub(in crate::exporter::vsphere) id: String,
    /// Whether the VM has the tag.
    pub(in crate::exporter::vsphere) attached: bool,
}

impl VSphere {
    /// The tag of that category and name, and whether the VM has the tag.
    pub(in crate::exporter::vsphere) async fn find_tag(
        &self,
        vm: &str,
        category: &str,
        name: &str,
    ) -> Result<Option<TagMatch>, Error> {
        let rest = Rest::log_in(&self.settings).await?;
        let found = rest.find(vm, category, name).await;
        let closed = rest.log_out().await;
        let found = found?;
        closed?;
        Ok(found)
    }

    /// Attaches a tag to the VM, or detaches it.
    pub(in crate::exporter::vsphere) async fn attach(
        &self,
        vm: &str,
        tag: &str,
        on: bool,
    ) -> Result<(), Error> {
        let rest = Rest::log_in(&self.settings).await?;
        let done = rest.attach(vm, tag, on).await;
        let closed = rest.log_out().await;
        done.and(closed)
    }
}

/// A VM, in the notation of the API.
fn object(vm: &str) -> serde_json::Value {
    json!({"type": "VirtualMachine", "id": vm})
}

struct Rest<'a> {
    client: Client,
    settings: &'a Settings,
    session: String,
}

/// Error: the server returned too many tags.
fn too_many(exhausted: Exhausted) -> Error {
    Error::Reply { method: "POST list-attached-tags-on-objects", reason: exhausted.to_string() }
}

/// Wrapper of every reply.
#[derive(Deserialize)]
struct RestAnswer<T> {
    value: T,
}

#[derive(Deserialize)]
struct Attached {
    object_id: TaggedObject,
    /// Absent or null if there are no tags.
    tag_ids: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct TaggedObject {
    id: String,
}

#[derive(Deserialize)]
struct FoundTag {
    name: String,
    category_id: String,
}

#[derive(Deserialize)]
struct Category {
    name: String,
}

impl<'a> Rest<'a> {
    async fn log_in(settings: &'a Settings) -> Result<Self, Error> {
        let client = Client::new(&settings.trust)?;
        let mut rest = Self { client, settings, session: String::new() };
        // Without a cookie: the session is identified by its header alone.
        let request = || {
            rest.request(Method::POST, &[SESSION], None)
                .basic_auth(&settings.username, Some(settings.password.reveal()))
                .header("vmware-use-header-authn", "true")
        };
        rest.session = match rest.value("POST session", request).await {
            Err(Error::Status { status: 404, host, .. }) => return Err(Error::NoTags { host }),
            session => session?,
        };
        Ok(rest)
    }

    async fn log_out(self) -> Result<(), Error> {
        let request = || self.request(Method::DELETE, &[SESSION], None);
        match self.send("DELETE session", request).await {
            // The session has already ended.
            Ok(_) | Err(Error::Status { status: 401, .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn read_tags(&self, vms: &mut [VmSummary]) -> Result<(), Error> {
        let mut attached = BTreeMap::new();
        let mut budget = Budget::new(MOST_ATTACHED, "tags on its VMs");
        let morefs: Vec<_> = vms.iter().map(|vm| vm.moref.clone()).collect();
        for some in morefs.chunks(AT_A_TIME) {
            for (vm, ids) in self.attached(some).await? {
                budget.draw(ids.len() as u64 + 1).map_err(too_many)?;
                attached.insert(vm, ids);
            }
        }
        let ids: BTreeSet<&String> = attached.values().flatten().collect();
        Budget::new(MOST_TAGS, "tags").draw(ids.len() as u64).map_err(too_many)?;
        let (mut tags, mut categories) = (BTreeMap::new(), BTreeMap::new());
        for id in ids {
            let found: FoundTag = self.get("GET tag", TAG, id).await?;
            if !categories.contains_key(&found.category_id) {
                let Category { name } =
                    self.get("GET category", CATEGORY, &found.category_id).await?;
                categories.insert(found.category_id.clone(), name);
            }
            let category = categories[&found.category_id].clone();
            tags.insert(id.clone(), Tag { category, name: found.name });
        }
        for vm in vms {
            let ids = attached.get(&vm.moref).into_iter().flatten();
            vm.tags = ids.map(|id| tags[id].clone()).collect();
            vm.tags.sort();
        }
        Ok(())
    }

    /// Ids of the tags of each VM.
    async fn attached(&self, vms: &[String]) -> Result<Vec<(String, Vec<String>)>, Error> {
        let objects: Vec<_> = vms.iter().map(|vm| object(vm)).collect();
        let action = Some("~action=list-attached-tags-on-objects");
        let body = json!({"object_ids": objects}).to_string();
        let request = || {
            self.request(Method::POST, &[ASSOCIATION], action)
                .header(CONTENT_TYPE, "application/json")
                .body(body.clone())
        };
        let attached: Vec<Attached> =
            self.value("POST list-attached-tags-on-objects", request).await?;
        Ok(attached
            .into_iter()
            .map(|one| (one.object_id.id, one.tag_ids.unwrap_or_default()))
            .collect())
    }

    async fn find(&self, vm: &str, category: &str, name: &str) -> Result<Option<TagMatch>, Error> {
        let categories: Vec<String> =
            self.value("GET categories", || self.request(Method::GET, &[CATEGORY], None)).await?;
        for id in categories {
            let seen: Category = self.get("GET category", CATEGORY, &id).await?;
            if seen.name != category {
                continue;
            }
            let path = [TAG, &format!("id:{id}")];
            let action = Some("~action=list-tags-for-category");
            let request = || self.request(Method::POST, &path, action);
            let tags: Vec<String> = self.value("POST list-tags-for-category", request).await?;
            for tag in tags {
                let seen: FoundTag = self.get("GET tag", TAG, &tag).await?;
                if seen.name == name {
                    let attached = self.attached(&[vm.to_owned()]).await?;
                    let attached = attached.iter().any(|(_, tags)| tags.contains(&tag));
                    return Ok(Some(TagMatch { id: tag, attached }));
                }
            }
        }
        Ok(None)
    }

    async fn attach(&self, vm: &str, tag: &str, on: bool) -> Result<(), Error> {
        let action = if on { "~action=attach" } else { "~action=detach" };
        let body = json!({"object_id": object(vm)}).to_string();
        let request = || {
            self.request(Method::POST, &[ASSOCIATION, &format!("id:{tag}")], Some(action))
                .header(CONTENT_TYPE, "application/json")
                .body(body.clone())
        };
        self.send("POST attach or detach", request).await.map(drop)
    }

    async fn get<T: DeserializeOwned>(
        &self,
        method: &'static str,
        path: &str,
        id: &str,
    ) -> Result<T, Error> {
        let id = format!("id:{id}");
        let request = || self.request(Method::GET, &[path, &id], None);
        self.value(method, request).await
    }

    /// A request to the URL with the segments of `path`.
    fn request(&self, method: Method, path: &[&str], query: Option<&str>) -> RequestBuilder {
        let mut url = self.settings.url.clone();
        url.set_path("rest");
        url.set_query(query);
        if let Ok(mut segments) = url.path_segments_mut() {
            let (fixed, rest) = path.split_at(1);
            // An id is one segment, whatever characters it contains.
            segments.extend(fixed[0].split('/')).extend(rest);
        }
        let request = self.client.http().request(method, url).timeout(CALL_TIMEOUT);
        request.header("vmware-api-session-id", &self.session)
    }

    async fn value<T: DeserializeOwned>(
        &self,
        method: &'static str,
        request: impl Fn() -> RequestBuilder,
    ) -> Result<T, Error> {
        let body = self.send(method, request).await?;
        let answer = serde_json::from_slice(&body);
        let answer: RestAnswer<T> =
            answer.map_err(|error| Error::Reply { method, reason: error.to_string() })?;
        Ok(answer.value)
    }

    async fn send(
        &self,
        method: &'static str,
        request: impl Fn() -> RequestBuilder,
    ) -> Result<Vec<u8>, Error> {
        let url = &self.settings.url;
        patiently(method, async || match answer(method, &self.client, url, request()).await? {
            (200 | 204, body) => Ok(body),
            (status, _) => Err(Error::Status { method, host: host_of(url), status }),
        })
        .await
    }
}
