//! SOAP 1.1 as used by vim25: each call is one POST, which returns a fault or a `returnval`. Only
//! method names are logged, since bodies contain passwords and tickets.

pub(in crate::exporter) mod args;
pub(in crate::exporter) mod node;
pub(in crate::exporter) mod properties;
pub(in crate::exporter) mod session;
pub(in crate::exporter) mod tasks;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use reqwest::RequestBuilder;
use reqwest::header::{CONTENT_TYPE, HeaderName};
use url::Url;

use crate::exporter::tls::Client;
use crate::exporter::{Error, Fault, Retry};
use args::{Args, Moref, envelope};
use node::Node;

/// Maximum length of a reply in bytes. A page of a hundred VMs has about one MiB.
const LONGEST_REPLY: usize = 64 << 20;
/// Timeout of a call. No call here waits for an event on the server.
pub(super) const CALL_TIMEOUT: Duration = Duration::from_secs(120);
/// Attempts at a read-only call.
const READS: Retry = Retry {
    attempts: 4,
    first_pause: Duration::from_millis(500),
    longest_pause: Duration::from_secs(5),
};

/// A connection to the SDK of one server. Cheap to clone; the clones share the client with the
/// session cookie.
#[derive(Debug, Clone)]
pub(super) struct Soap {
    client: Arc<RwLock<Client>>,
    url: Url,
    /// `urn:vim25/VERSION`: the API version of the replies.
    action: String,
}

impl Soap {
    /// Connects to `url` with API version 6.5, the oldest supported, until [`Soap::speak`] changes
    /// the version.
    pub(super) fn new(client: Client, url: Url) -> Self {
        let client = Arc::new(RwLock::new(client));
        Self { client, url, action: "urn:vim25/6.5".to_owned() }
    }

    /// Replaces the client by a new one without the session, also for all clones.
    pub(super) fn replace_client(&self, client: Client) {
        *self.client.write().unwrap_or_else(PoisonError::into_inner) = client;
    }

    /// The client with the session cookie.
    pub(super) fn client(&self) -> Client {
        self.client.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Selects the newest API version that both this program and the server version `server`
    /// (`8.0.3.0`) support. The fixed upper limit excludes types that were added later.
    pub(super) fn speak(&mut self, server: &str) {
        let mut parts = server.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
        let version = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
        let (major, minor) = version.clamp((6, 5), (7, 0));
        self.action = format!("urn:vim25/{major}.{minor}");
    }

    /// URL of the connection.
    pub(super) fn url(&self) -> &Url {
        &self.url
    }

    /// Host and port for messages.
    pub(super) fn host(&self) -> String {
        host_of(&self.url)
    }

    /// Calls a read-only method, with the retries of [`patiently`].
    pub(super) async fn read(
        &self,
        method: &'static str,
        this: &Moref,
        args: Args,
    ) -> Result<Node, Error> {
        patiently(method, async || self.call(method, this, args.clone()).await).await
    }

    /// Calls `method` of the object `this` and returns the response element.
    ///
    /// # Errors
    /// [`Error::Refused`] with the server's fault, [`Error::SessionEnded`], or errors of the
    /// connection.
    pub(super) async fn call(
        &self,
        method: &'static str,
        this: &Moref,
        args: Args,
    ) -> Result<Node, Error> {
        let (status, body) = self.post(method, this, args).await?;
        let wrong = |reason| Error::Reply { method, reason };
        let parsed = tokio::task::spawn_blocking(move || {
            let text = std::str::from_utf8(&body).map_err(|_| "it is not UTF-8".to_owned())?;
            Node::parse(text)
        })
        .await
        .map_err(|error| wrong(error.to_string()))?;
        let envelope = match parsed {
            Ok(node) if node.name == "Envelope" => node,
            _ if status != 200 => return Err(Error::Status { method, host: self.host(), status }),
            Ok(_) => return Err(wrong("it is not a SOAP envelope".to_owned())),
            Err(reason) => return Err(wrong(reason)),
        };
        let body = envelope.children.into_iter().find(|child| child.name == "Body");
        let content = body.and_then(|body| body.children.into_iter().next());
        let content = content.ok_or_else(|| wrong("its body is empty".to_owned()))?;
        if content.name == "Fault" {
            let source = fault(&content);
            tracing::debug!(method, fault = source.kind, "refused");
            return Err(if source.is("NotAuthenticated") {
                Error::SessionEnded { method }
            } else {
                Error::Refused { method, source }
            });
        }
        Ok(content)
    }

    async fn post(
        &self,
        method: &'static str,
        this: &Moref,
        args: Args,
    ) -> Result<(u16, Vec<u8>), Error> {
        tracing::debug!(method, "call");
        let client = self.client();
        let request = client
            .http()
            .post(self.url.clone())
            .timeout(CALL_TIMEOUT)
            .header(CONTENT_TYPE, "text/xml; charset=utf-8")
            .header(HeaderName::from_static("soapaction"), format!("\"{}\"", self.action))
            .body(envelope(method, this, &args));
        answer(method, &client, &self.url, request).await
    }
}

/// Runs a read-only operation, with a few retries when the connection fails or a restarting vCenter
/// returns 502 or 503.
pub(super) async fn patiently<T>(
    method: &'static str,
    call: impl AsyncFn() -> Result<T, Error>,
) -> Result<T, Error> {
    for pause in READS.pauses() {
        match call().await {
            Err(error) if error.is_transient() => {
                tracing::debug!(method, %error, "trying again");
                tokio::time::sleep(pause).await;
            }
            end => return end,
        }
    }
    call().await
}

/// Host and port of a URL, for messages.
pub(super) fn host_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// Sends a request of `client` to the server at `url`; returns the status and the body, whose
/// length is limited.
pub(super) async fn answer(
    method: &'static str,
    client: &Client,
    url: &Url,
    request: RequestBuilder,
) -> Result<(u16, Vec<u8>), Error> {
    let failed = |error: reqwest::Error| {
        let host = host_of(url);
        client.refusal(&host).filter(|_| error.is_connect()).unwrap_or_else(|| Error::Call {
            method,
            host,
            source: error.without_url(),
        })
    };
    let mut response = request.send().await.map_err(failed)?;
    let status = response.status().as_u16();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        if body.len() + chunk.len() > LONGEST_REPLY {
            let reason = format!("it is longer than {} MiB", LONGEST_REPLY >> 20);
            return Err(Error::Reply { method, reason });
        }
        body.extend_from_slice(&chunk);
    }
    Ok((status, body))
}

/// A `soapenv:Fault`. Its type is the `xsi:type` of the detail, or else the detail's element name
/// without `Fault`.
fn fault(node: &Node) -> Fault {
    let detail = node.child("detail").and_then(|detail| detail.children.first());
    let kind = detail.map_or("unknown fault", |detail| {
        let by_name = detail.name.strip_suffix("Fault").unwrap_or(&detail.name);
        detail.xsi_type.as_deref().unwrap_or(by_name)
    });
    Fault { kind: kind.to_owned(), text: node.text_of("faultstring").trim().to_owned() }
}

/// A `LocalizedMethodFault`, as tasks, leases and missing properties carry it.
pub(super) fn localized_fault(node: &Node) -> Fault {
    let kind = node.child("fault").and_then(|fault| fault.xsi_type.clone());
    Fault {
        kind: kind.unwrap_or_else(|| "unknown fault".to_owned()),
        text: node.text_of("localizedMessage").trim().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_go_by_type_then_by_element() {
        let detail = |inner: &str| {
            let xml = format!(
                "<Fault xmlns:i=\"http://www.w3.org/2001/XMLSchema-instance\"><faultstring> Nein. \
                 </faultstring><detail>{inner}</detail></Fault>"
            );
            fault(&Node::parse(&xml).expect("well-formed"))
        };
        let typed = detail("<InvalidLoginFault i:type=\"vim25:InvalidLogin\"/>");
        assert_eq!((typed.kind.as_str(), typed.text.as_str()), ("InvalidLogin", "Nein."));
        assert_eq!(detail("<FileLockedFault/>").kind, "FileLocked");
        assert_eq!(detail("").kind, "unknown fault");
    }

    #[test]
    fn the_api_version_is_the_lower_of_both() {
        let url = Url::parse("https://vc/sdk").expect("valid");
        let client = Client::new(&crate::exporter::Trust::Insecure).expect("a client");
        let mut soap = Soap::new(client, url);
        for (server, action) in [
            ("8.0.3.0", "urn:vim25/7.0"),
            ("6.7.3", "urn:vim25/6.7"),
            ("5.5", "urn:vim25/6.5"),
            ("", "urn:vim25/6.5"),
        ] {
            soap.speak(server);
            assert_eq!(soap.action, action, "{server}");
        }
    }
}
