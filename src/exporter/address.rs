//! The address of a vCenter or ESXi host as people and `GOVC_URL` write it.

use percent_encoding::percent_decode_str;
use url::Url;

use super::Error;
use crate::model::Secret;

/// Parsed address: the URL to connect to, and the login that the address names.
#[derive(Debug, Clone)]
pub struct Address {
    /// `https://HOST[:PORT]/sdk`, without user and password.
    pub url: Url,
    /// User name before the host; `None` if the address has none.
    pub username: Option<String>,
    /// Password after the user name; `None` if the address has none. Only an environment variable
    /// may contain a password; [`sdk_url`] rejects it.
    pub password: Option<Secret>,
}

impl Address {
    /// Accepts `vc.example.com`, `https://vc`, `https://vc/sdk` and `https://user:password@vc/sdk`.
    /// The path defaults to `/sdk`.
    ///
    /// # Errors
    /// [`Error::Address`] when the text is not the address of an HTTPS server. The message never
    /// shows the text, which may contain a password.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let text = text.trim();
        let whole = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
        let mut url = Url::parse(&whole).map_err(|_| Error::Address { fault: "is not a URL" })?;
        if url.scheme() != "https" {
            return Err(Error::Address { fault: "does not begin with https://" });
        }
        if url.host_str().is_none_or(|host| host.is_empty() || host == "*") {
            return Err(Error::Address { fault: "names no host" });
        }
        let username = Some(percent_decode(url.username())).filter(|name| !name.is_empty());
        let password = url.password().map(|text| Secret::new(percent_decode(text)));
        let cleared = url.set_username("").is_ok() && url.set_password(None).is_ok();
        debug_assert!(cleared, "an https URL with a host takes a user name");
        if url.path() == "/" {
            url.set_path("/sdk");
        }
        url.set_query(None);
        url.set_fragment(None);
        Ok(Self { url, username, password })
    }
}

/// SDK URL from the text that a user typed: `vc.example.com`, `https://vc/` and `https://vc/sdk`
/// all become `https://…/sdk`.
///
/// # Errors
/// [`Error::Address`] when the text is not the address of an HTTPS server;
/// [`Error::PasswordInAddress`].
pub fn sdk_url(text: &str) -> Result<Url, Error> {
    let address = Address::parse(text)?;
    if address.password.is_some() {
        return Err(Error::PasswordInAddress);
    }
    Ok(address.url)
}

/// Replaces `%XX` by the byte with that value; invalid UTF-8 in the result is replaced.
fn percent_decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Hint;

    #[test]
    fn short_forms_become_the_sdk_address() {
        for (text, url) in [
            ("vc.example.com", "https://vc.example.com/sdk"),
            (" vc:8443 ", "https://vc:8443/sdk"),
            ("https://vc/", "https://vc/sdk"),
            ("https://[fd00::1]/sdk", "https://[fd00::1]/sdk"),
            ("https://vc/proxy/sdk?x#y", "https://vc/proxy/sdk"),
        ] {
            assert_eq!(sdk_url(text).expect("valid").as_str(), url);
        }
    }

    #[test]
    fn what_is_no_https_address_is_refused() {
        for text in ["", "http://vc/sdk", "https://", "https://*/sdk", "esx://h", "a b"] {
            assert!(sdk_url(text).is_err(), "{text}");
        }
    }

    #[test]
    fn user_and_password_are_split_off() {
        let address = Address::parse("administrator@vsphere.local:p%40s+s%2f%+f&@vc/sdk");
        let address = address.expect("valid");
        assert_eq!(address.url.as_str(), "https://vc/sdk");
        assert_eq!(address.username.as_deref(), Some("administrator@vsphere.local"));
        assert_eq!(address.password.expect("one").reveal(), "p@s+s/%+f&");
    }

    #[test]
    fn a_password_in_an_argument_is_refused_and_not_repeated() {
        let error = sdk_url("https://root:geheim@vc/sdk").expect_err("contains a password");
        assert!(!format!("{error} {error:?} {:?}", error.hint()).contains("geheim"));
    }
}
