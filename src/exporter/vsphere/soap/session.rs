//! Login and logout, and the root objects of a session.

use super::Soap;
use super::args::{Args, Moref};
use super::node::Node;
use crate::exporter::tls::Client;
use crate::exporter::{Error, Settings};

/// A session on one server.
#[derive(Debug)]
pub struct VSphere {
    pub(in crate::exporter::vsphere) soap: Soap,
    pub(in crate::exporter::vsphere) settings: Settings,
    pub(in crate::exporter::vsphere) root_folder: Moref,
    pub(in crate::exporter::vsphere) property_collector: Moref,
    pub(in crate::exporter::vsphere) view_manager: Moref,
    pub(in crate::exporter::vsphere) session_manager: Moref,
    /// `None` if the server has none.
    pub(in crate::exporter::vsphere) authorization_manager: Option<Moref>,
}

impl VSphere {
    /// Connects to the server and logs in.
    ///
    /// # Errors
    /// [`Error::WrongThumbprint`] and [`Error::Untrusted`] for the certificate, [`Error::Login`]
    /// for a wrong name or password, [`Error::Call`] when the server is unreachable.
    pub async fn connect(settings: Settings) -> Result<Self, Error> {
        const METHOD: &str = "RetrieveServiceContent";
        let client = Client::new(&settings.trust)?;
        let mut soap = Soap::new(client, settings.url.clone());
        let instance = Moref::new("ServiceInstance", "ServiceInstance");
        let reply = soap.read(METHOD, &instance, Args::default()).await?;
        let content = reply.child("returnval").ok_or_else(|| lacks(METHOD, "returnval"))?;
        let object = |name: &'static str| {
            content.child(name).and_then(Node::moref).ok_or_else(|| lacks(METHOD, name))
        };
        let version = content.at(&["about", "apiVersion"]).map_or("", |node| &node.text);
        soap.speak(version);
        let server = content.at(&["about", "fullName"]).map_or("", |node| &node.text);
        tracing::info!(host = soap.host(), server, version, "connected");
        let vsphere = Self {
            root_folder: object("rootFolder")?,
            property_collector: object("propertyCollector")?,
            view_manager: object("viewManager")?,
            session_manager: object("sessionManager")?,
            authorization_manager: object("authorizationManager").ok(),
            soap,
            settings,
        };
        vsphere.log_in().await?;
        Ok(vsphere)
    }

    async fn log_in(&self) -> Result<(), Error> {
        let username = &self.settings.username;
        let args = Args::default()
            .text("userName", username)
            .text("password", self.settings.password.reveal());
        match self.soap.read("Login", &self.session_manager, args).await {
            Ok(_) => Ok(()),
            Err(Error::Refused { source, .. }) => {
                Err(Error::Login { username: username.clone(), source })
            }
            Err(error) => Err(error),
        }
    }

    /// Logs in again, with a new client: the server rejects a login with the cookie of an earlier
    /// login. The old session is closed, which also ends its leases.
    pub(in crate::exporter::vsphere) async fn renew(&self) -> Result<(), Error> {
        let client = Client::new(&self.settings.trust)?;
        if let Err(error) = self.soap.read("Logout", &self.session_manager, Args::default()).await {
            tracing::debug!(%error, "closing the old session");
        }
        self.soap.replace_client(client);
        self.log_in().await
    }

    /// Runs `step`; if the session has ended, logs in again and repeats `step` once. Views, page
    /// tokens and leases end with a session, so a step must not use any from outside.
    pub(in crate::exporter::vsphere) async fn in_session<T>(
        &self,
        step: impl AsyncFn() -> Result<T, Error>,
    ) -> Result<T, Error> {
        match step().await {
            Err(Error::SessionEnded { method }) => {
                tracing::info!(method, "the session has ended: log in again");
                self.renew().await?;
                step().await
            }
            end => end,
        }
    }

    /// Logs out. Leases that are still active end with the session.
    ///
    /// # Errors
    /// Errors of the connection and the server; a session that has already ended is not an error.
    pub async fn close(self) -> Result<(), Error> {
        match self.soap.read("Logout", &self.session_manager, Args::default()).await {
            Ok(_) | Err(Error::SessionEnded { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Error: the reply to `method` lacks `element`.
pub(in crate::exporter::vsphere) fn lacks(method: &'static str, element: &str) -> Error {
    Error::Reply { method, reason: format!("it has no {element}") }
}
