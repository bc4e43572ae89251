//! Login and logout, and the handful of objects everything else starts from.

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
    /// Of a server that has one.
    pub(in crate::exporter::vsphere) authorization_manager: Option<Moref>,
}

impl VSphere {
    /// Connects and logs in.
    ///
    /// # Errors
    /// [`Error::WrongThumbprint`] and [`Error::Untrusted`] for the certificate, [`Error::Login`]
    /// for a wrong name or password, [`Error::Call`] when nobody answers.
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

    /// Logs in anew, with a client of its own: a cookie that is logged in, or was, is refused at a
    /// login. What is left of the old session is closed, and its leases with it.
    pub(in crate::exporter::vsphere) async fn renew(&self) -> Result<(), Error> {
        let client = Client::new(&self.settings.trust)?;
        if let Err(error) = self.soap.read("Logout", &self.session_manager, Args::default()).await {
            tracing::debug!(%error, "closing the old session");
        }
        self.soap.replace_client(client);
        self.log_in().await
    }

    /// Does `step`; when the session has ended in it, logs in anew and does it once more. Views,
    /// page tokens and leases end with a session, so a step takes none along.
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

    /// Logs out. Leases that are still held end with the session.
    ///
    /// # Errors
    /// What happened on the way; a session that has ended already is none.
    pub async fn close(self) -> Result<(), Error> {
        match self.soap.read("Logout", &self.session_manager, Args::default()).await {
            Ok(_) | Err(Error::SessionEnded { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// The reply to `method` lacks `element`.
pub(in crate::exporter::vsphere) fn lacks(method: &'static str, element: &str) -> Error {
    Error::Reply { method, reason: format!("it has no {element}") }
}
