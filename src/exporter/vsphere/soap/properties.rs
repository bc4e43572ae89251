//! The property collector: reads properties of objects, page by page.

use std::collections::HashMap;
use std::time::Duration;

use humantime::format_duration;

use super::args::{Args, Moref};
use super::localized_fault;
use super::node::Node;
use super::session::{VSphere, lacks};
use crate::budget::Budget;
use crate::exporter::{Error, Fault};

const RETRIEVE: &str = "RetrievePropertiesEx";
const CONTINUE: &str = "ContinueRetrievePropertiesEx";
/// Maximum number of objects in an inventory. A vCenter has 45 000 VMs at most ("Configuration
/// Maximums"), and as many folders, hosts and datastores again.
const MOST_OBJECTS: u64 = 200_000;
/// Maximum number of elements in the properties of all objects.
const MOST_NODES: u64 = 4_000_000;
/// Maximum total time of reading all pages.
const LONGEST: Duration = Duration::from_secs(15 * 60);

/// Properties of one object.
#[derive(Debug)]
pub(in crate::exporter::vsphere) struct Object {
    pub(in crate::exporter::vsphere) moref: Moref,
    properties: HashMap<String, Node>,
    missing: HashMap<String, Fault>,
}

impl Object {
    /// Parses an `ObjectContent`; `None` if it names no object.
    pub(in crate::exporter::vsphere) fn read(node: &Node) -> Option<Self> {
        let moref = node.child("obj")?.moref()?;
        let properties = node
            .all("propSet")
            .filter_map(|set| Some((set.text_of("name").to_owned(), set.child("val")?.clone())))
            .collect();
        let missing = node
            .all("missingSet")
            .filter_map(|set| {
                Some((set.text_of("path").to_owned(), localized_fault(set.child("fault")?)))
            })
            .collect();
        Some(Self { moref, properties, missing })
    }

    /// The property at `path`; `None` if it is unset or not readable.
    pub(in crate::exporter::vsphere) fn get(&self, path: &str) -> Option<&Node> {
        self.properties.get(path)
    }

    /// Text of the property at `path`; empty if there is none.
    pub(in crate::exporter::vsphere) fn text(&self, path: &str) -> &str {
        self.get(path).map_or("", |node| node.text.as_str())
    }

    /// The object that the property at `path` refers to.
    pub(in crate::exporter::vsphere) fn moref(&self, path: &str) -> Option<Moref> {
        self.get(path)?.moref()
    }

    /// Fault that explains why the property at `path` is not readable.
    pub(in crate::exporter::vsphere) fn why_missing(&self, path: &str) -> Option<&Fault> {
        self.missing.get(path)
    }
}

impl VSphere {
    pub(in crate::exporter::vsphere) async fn properties(
        &self,
        of: &Moref,
        paths: &[&str],
    ) -> Result<Object, Error> {
        let spec = Args::default()
            .nested("propSet", paths_of(&of.kind, paths))
            .nested("objectSet", Args::default().moref("obj", of));
        let mut objects = self.retrieve(spec).await?;
        objects.pop().ok_or_else(|| lacks(RETRIEVE, "returnval"))
    }

    /// Properties of all objects of some types in the entire inventory, across datacenters; for
    /// each type, the paths of its properties.
    pub(in crate::exporter::vsphere) async fn all_properties(
        &self,
        wanted: &[(&str, &[&str])],
    ) -> Result<Vec<Object>, Error> {
        let mut args = Args::default().moref("container", &self.root_folder);
        for (kind, _) in wanted {
            args = args.text("type", kind);
        }
        args = args.text("recursive", "true");
        let reply = self.soap.read("CreateContainerView", &self.view_manager, args).await?;
        let view = reply.child("returnval").and_then(Node::moref);
        let view = view.ok_or_else(|| lacks("CreateContainerView", "returnval"))?;

        let through = Args::default()
            .text("name", "view")
            .text("type", "ContainerView")
            .text("path", "view")
            .text("skip", "false");
        let mut spec = Args::default();
        for (kind, paths) in wanted {
            spec = spec.nested("propSet", paths_of(kind, paths));
        }
        let objects = Args::default().moref("obj", &view).text("skip", "true").typed(
            "selectSet",
            Some("TraversalSpec"),
            through,
        );
        let pages = self.retrieve(spec.nested("objectSet", objects));
        let found = tokio::time::timeout(LONGEST, pages).await.unwrap_or_else(|_| {
            let reason = format!("its pages do not end within {}", format_duration(LONGEST));
            Err(Error::Reply { method: CONTINUE, reason })
        });
        // A view costs the server little and ends with the session, so an error is ignored.
        if let Err(error) = self.soap.call("DestroyView", &view, Args::default()).await {
            tracing::debug!(%error, "destroying the view");
        }
        match found {
            // The view is private to the session, so it was lost with the session.
            Err(Error::Refused { method, source }) if source.is("ManagedObjectNotFound") => {
                Err(Error::SessionEnded { method })
            }
            found => found,
        }
    }

    /// Reads page after page. vCenter returns at most a hundred objects per page, whatever the
    /// request says. The first token may be "0": its presence counts, not its value.
    async fn retrieve(&self, spec: Args) -> Result<Vec<Object>, Error> {
        let args = Args::default().nested("specSet", spec).nested("options", Args::default());
        let mut reply = self.soap.read(RETRIEVE, &self.property_collector, args).await?;
        let mut objects = Vec::new();
        let mut method = RETRIEVE;
        let mut budgets = Budgets::new();
        // A reply without a returnval means that nothing was found.
        while let Some(page) = reply.child("returnval") {
            let before = objects.len();
            for found in page.all("objects") {
                budgets.draw(found).map_err(|reason| Error::Reply { method, reason })?;
                objects.extend(Object::read(found));
            }
            let Some(token) = page.child("token").map(|token| token.text.clone()) else { break };
            if objects.len() == before {
                return Err(Error::Reply { method, reason: "its page is empty".to_owned() });
            }
            method = CONTINUE;
            let args = Args::default().text("token", &token);
            reply = self.soap.call(CONTINUE, &self.property_collector, args).await?;
        }
        // An ended session may be reported for each property instead of as one fault.
        let dead = |object: &Object| object.missing.values().any(|f| f.is("NotAuthenticated"));
        if objects.iter().any(dead) { Err(Error::SessionEnded { method }) } else { Ok(objects) }
    }
}

/// Limits for all pages of one query.
struct Budgets {
    objects: Budget,
    nodes: Budget,
}

impl Budgets {
    const fn new() -> Self {
        let objects = Budget::new(MOST_OBJECTS, "objects on its pages");
        Self { objects, nodes: Budget::new(MOST_NODES, "elements on its pages") }
    }

    fn draw(&mut self, object: &Node) -> Result<(), String> {
        self.objects.draw(1)?;
        Ok(self.nodes.draw(object.size())?)
    }
}

fn paths_of(kind: &str, paths: &[&str]) -> Args {
    let spec = Args::default().text("type", kind);
    paths.iter().fold(spec, |spec, path| spec.text("pathSet", path))
}
