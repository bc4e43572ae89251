//! The property collector: reads named properties of objects, page by page.

use std::collections::HashMap;

use super::args::{Args, Moref};
use super::node::Node;
use super::session::{VSphere, lacks};
use super::soap::localized_fault;
use crate::exporter::{Error, Fault};

const RETRIEVE: &str = "RetrievePropertiesEx";
const CONTINUE: &str = "ContinueRetrievePropertiesEx";

/// What the collector said about one object.
#[derive(Debug)]
pub(super) struct Object {
    /// Which one.
    pub(super) moref: Moref,
    properties: HashMap<String, Node>,
    missing: HashMap<String, Fault>,
}

impl Object {
    /// Reads an `ObjectContent`; nothing when it names no object.
    pub(super) fn read(node: &Node) -> Option<Self> {
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

    /// The property at `path`, unless it is unset or may not be read.
    pub(super) fn get(&self, path: &str) -> Option<&Node> {
        self.properties.get(path)
    }

    /// Text of the property at `path`; empty when there is none.
    pub(super) fn text(&self, path: &str) -> &str {
        self.get(path).map_or("", |node| node.text.as_str())
    }

    /// The object that the property at `path` refers to.
    pub(super) fn moref(&self, path: &str) -> Option<Moref> {
        self.get(path)?.moref()
    }

    /// Why the property at `path` may not be read.
    pub(super) fn why_missing(&self, path: &str) -> Option<&Fault> {
        self.missing.get(path)
    }
}

impl VSphere {
    /// Properties of one object.
    pub(super) async fn properties(&self, of: &Moref, paths: &[&str]) -> Result<Object, Error> {
        let spec = Args::default()
            .nested("propSet", paths_of(&of.kind, paths))
            .nested("objectSet", Args::default().moref("obj", of));
        let mut objects = self.retrieve(spec).await?;
        objects.pop().ok_or_else(|| lacks(RETRIEVE, "returnval"))
    }

    /// Properties of all objects of some kinds in the whole inventory, all datacenters: for each
    /// kind the paths that are wanted.
    pub(super) async fn all_properties(
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
        let found = self.retrieve(spec.nested("objectSet", objects)).await;
        // A view costs the server little and ends with the session, so its end decides nothing.
        if let Err(error) = self.soap.call("DestroyView", &view, Args::default()).await {
            tracing::debug!(%error, "destroy the view");
        }
        match found {
            // Nobody else knows our view, so it went with its session.
            Err(Error::Refused { method, source }) if source.is("ManagedObjectNotFound") => {
                Err(Error::SessionEnded { method })
            }
            found => found,
        }
    }

    /// Reads page after page. vCenter cuts at a hundred objects whatever is asked for, and the
    /// first token may be "0": its presence counts, not its value.
    async fn retrieve(&self, spec: Args) -> Result<Vec<Object>, Error> {
        let args = Args::default().nested("specSet", spec).nested("options", Args::default());
        let mut reply = self.soap.read(RETRIEVE, &self.property_collector, args).await?;
        let mut objects = Vec::new();
        let mut method = RETRIEVE;
        // Nothing found is an answer without a returnval.
        while let Some(page) = reply.child("returnval") {
            let before = objects.len();
            objects.extend(page.all("objects").filter_map(Object::read));
            let Some(token) = page.child("token").map(|token| token.text.clone()) else { break };
            if objects.len() == before {
                return Err(Error::Reply { method, reason: "its page is empty".to_owned() });
            }
            method = CONTINUE;
            let args = Args::default().text("token", &token);
            reply = self.soap.call(CONTINUE, &self.property_collector, args).await?;
        }
        // A dead session may be told by each property instead of by a fault.
        let dead = |object: &Object| object.missing.values().any(|f| f.is("NotAuthenticated"));
        if objects.iter().any(dead) { Err(Error::SessionEnded { method }) } else { Ok(objects) }
    }
}

fn paths_of(kind: &str, paths: &[&str]) -> Args {
    let spec = Args::default().text("type", kind);
    paths.iter().fold(spec, |spec, path| spec.text("pathSet", path))
}
