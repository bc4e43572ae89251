//! How to reach the vCenter or ESXi host.

use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use clap::Args;

use super::switch::Switch;
use super::{Environment, Error};
use crate::exporter;
use crate::model::{Secret, Stage, Warning, WarningCode, quoted};
use crate::state;

const HEADING: &str = "Source (vSphere)";
/// Longest password read, in bytes; a larger file is not a password.
const LONGEST_PASSWORD: u64 = 4096;

/// Flags that say where VMs come from.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = HEADING)]
pub struct VsphereArgs {
    /// vCenter or ESXi host [env: GOVC_URL]
    ///
    /// Such as vc.example.com or https://vc.example.com/sdk
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// User [env: GOVC_USERNAME]
    ///
    /// Such as administrator@vsphere.local
    #[arg(long, value_name = "NAME")]
    pub username: Option<String>,
    /// File with the password [env: GOVC_PASSWORD]
    ///
    /// With - the password is read from standard input
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// Do not verify the server's certificate [env: GOVC_INSECURE]
    #[arg(long, value_name = "BOOL")]
    pub insecure: Option<Switch>,
    /// Trust exactly the certificate with this SHA-256 or SHA-1 thumbprint
    #[arg(long, value_name = "HEX", conflicts_with_all = ["ca_file"])]
    pub thumbprint: Option<String>,
    /// Address of an ESXi host whose name does not resolve here; may be repeated
    #[arg(long, value_name = "NAME=ADDRESS[:PORT]")]
    pub host_map: Vec<exporter::HostMapping>,
    /// Download disks only from ESXi hosts of this domain, or this host or
    /// address; may be repeated. Without the flag, from any that the server names
    #[arg(long, value_name = "SUFFIX")]
    pub nfc_host: Vec<exporter::HostSuffix>,
    /// Trust the authorities in this PEM file [env: GOVC_TLS_CA_CERTS]
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
}

impl VsphereArgs {
    /// The exporter's settings.
    ///
    /// # Errors
    /// [`Error`] when the address, the user or the password is missing or cannot be used.
    pub fn resolve(&self, environment: &Environment) -> Result<exporter::Settings, Error> {
        let (text, from_flag) = match (&self.url, &environment.govc_url) {
            (Some(url), _) => (url, true),
            (None, Some(url)) => (url, false),
            (None, None) => {
                return Err(Error::Missing {
                    what: "address of the vCenter",
                    hint: "pass --url https://vc.example.com/sdk, or set GOVC_URL",
                });
            }
        };
        let address = exporter::Address::parse(text)?;
        if from_flag && address.password.is_some() {
            return Err(Error::PasswordInUrl);
        }
        let username = self
            .username
            .clone()
            .or(address.username)
            .or_else(|| environment.govc_username.clone())
            .ok_or(Error::Missing {
                what: "user name",
                hint: "pass --username NAME, or set GOVC_USERNAME",
            })?;
        let password = match &self.password_file {
            Some(path) => read_password(path)?,
            None => address.password.or_else(|| environment.govc_password.clone()).ok_or(
                Error::Missing {
                    what: "password",
                    hint: "pass --password-file FILE or --password-file -, or set GOVC_PASSWORD",
                },
            )?,
        };
        let settings = exporter::Settings::new(address.url, username, password);
        let hosts = exporter::HostMap(self.host_map.clone());
        let nfc_hosts = exporter::NfcHosts(self.nfc_host.clone());
        Ok(exporter::Settings { trust: self.trust(environment)?, hosts, nfc_hosts, ..settings })
    }

    /// Warns of a password file that others can read.
    pub fn warnings(&self) -> Option<Warning> {
        let path = self.password_file.as_deref().filter(|path| *path != Path::new("-"))?;
        // A pipe of a shell has the mode of a pipe.
        let found = path.metadata().ok().filter(std::fs::Metadata::is_file)?;
        let mode = found.mode() & 0o7777;
        let text = format!(
            "password file {} can be read by other users (mode {mode:04o}): chmod 600 {}",
            path.display(),
            quoted(&path.to_string_lossy())
        );
        (mode & 0o044 != 0)
            .then(|| Warning::new(Stage::Preflight, WarningCode::SecretReadable, text))
    }

    /// A flag wins over the environment; the narrower trust wins over the wider.
    fn trust(&self, environment: &Environment) -> Result<exporter::Trust, Error> {
        if let Some(thumbprint) = &self.thumbprint {
            return Ok(exporter::Trust::Thumbprint(thumbprint.parse()?));
        }
        if let Some(path) = &self.ca_file {
            return Ok(exporter::Trust::CaFiles(vec![path.clone()]));
        }
        match (self.insecure, environment.govc_ca_files.as_slice()) {
            (Some(true), _) => Ok(exporter::Trust::Insecure),
            (None, _) if environment.govc_insecure => Ok(exporter::Trust::Insecure),
            (_, []) => Ok(exporter::Trust::System),
            (_, paths) => Ok(exporter::Trust::CaFiles(paths.to_vec())),
        }
    }
}

/// The first line of the file, or of standard input for `-`.
fn read_password(path: &Path) -> Result<Secret, Error> {
    let failed = |source| Error::PasswordFile { path: path.to_owned(), source };
    let mut text = String::new();
    if path == Path::new("-") {
        io::stdin().lock().take(LONGEST_PASSWORD).read_to_string(&mut text).map_err(failed)?;
    } else {
        let read = state::read_piped(path, LONGEST_PASSWORD);
        let bytes = zeroize::Zeroizing::new(read.map_err(|error| failed(io::Error::other(error)))?);
        text.push_str(
            std::str::from_utf8(&bytes).map_err(|_| {
                failed(io::Error::new(io::ErrorKind::InvalidData, "not UTF-8 text"))
            })?,
        );
    }
    let text = zeroize::Zeroizing::new(text);
    let password = text.lines().next().unwrap_or_default();
    if password.is_empty() {
        return Err(failed(io::Error::new(io::ErrorKind::InvalidData, "it contains no password")));
    }
    Ok(Secret::new(password.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::model::Hint;

    fn args(url: &str) -> VsphereArgs {
        VsphereArgs { url: Some(url.to_owned()), ..VsphereArgs::default() }
    }

    fn environment() -> Environment {
        Environment {
            govc_username: Some("env-user".to_owned()),
            govc_password: Some(Secret::new("env-password".to_owned())),
            ..Environment::default()
        }
    }

    #[test]
    fn a_password_in_argv_is_refused_and_not_repeated() {
        let error = args("https://u:hunter2@vc/sdk").resolve(&environment()).expect_err("refused");
        assert!(matches!(error, Error::PasswordInUrl));
        assert!(!format!("{error:?} {error}").contains("hunter2"));
    }

    #[test]
    fn a_password_in_govc_url_is_taken() {
        let environment = Environment {
            govc_url: Some("https://u:p@vc/sdk".to_owned()),
            ..Environment::default()
        };
        let settings = VsphereArgs::default().resolve(&environment).expect("resolves");
        assert_eq!((settings.username.as_str(), settings.password.reveal()), ("u", "p"));
        assert_eq!(settings.url.as_str(), "https://vc/sdk");
    }

    #[test]
    fn the_first_line_of_the_password_file_counts() {
        let file = tempfile::NamedTempFile::new().expect("temp file");
        fs::write(file.path(), "s3cret \r\nnot this\n").expect("write");
        let with_file =
            VsphereArgs { password_file: Some(file.path().to_owned()), ..args("vc.example.com") };
        let settings = with_file.resolve(&environment()).expect("resolves");
        assert_eq!(settings.password.reveal(), "s3cret ");
        fs::write(file.path(), "\n").expect("write");
        let error = with_file.resolve(&environment()).expect_err("no password");
        assert!(error.to_string().contains("reading the password from"), "{error}");
    }

    #[test]
    fn a_password_file_that_others_can_read_is_warned_of() {
        use std::os::unix::fs::PermissionsExt;
        let file = tempfile::NamedTempFile::new().expect("temp file");
        let args = |path: &Path| VsphereArgs { password_file: Some(path.into()), ..args("vc") };
        for (mode, warns) in [(0o600, false), (0o400, false), (0o640, true), (0o604, true)] {
            fs::set_permissions(file.path(), fs::Permissions::from_mode(mode)).expect("set");
            let warning = args(file.path()).warnings();
            assert_eq!(warning.is_some(), warns, "{mode:o}");
            if let Some(warning) = warning {
                assert_eq!(warning.code, WarningCode::SecretReadable);
                assert!(warning.message.contains(&format!("{mode:04o}")), "{}", warning.message);
            }
        }
        assert!(args(Path::new("-")).warnings().is_none());
    }

    #[test]
    fn a_thumbprint_is_narrower_than_an_insecure_environment() {
        let environment = Environment { govc_insecure: true, ..environment() };
        let pinned = VsphereArgs { thumbprint: Some("AB:".repeat(31) + "AB"), ..args("vc") };
        let trust = pinned.resolve(&environment).expect("resolves").trust;
        assert!(matches!(trust, exporter::Trust::Thumbprint(_)), "{trust:?}");
        let strict = VsphereArgs { insecure: Some(false), ..args("vc") };
        let trust = strict.resolve(&environment).expect("resolves").trust;
        assert!(matches!(trust, exporter::Trust::System), "{trust:?}");
    }

    #[test]
    fn what_is_missing_is_named_with_its_remedy() {
        let error = VsphereArgs::default().resolve(&environment()).expect_err("no address");
        assert_eq!(error.to_string(), "address of the vCenter is missing");
        assert!(error.hint().expect("a hint").contains("GOVC_URL"));
        let error = args("vc").resolve(&Environment::default()).expect_err("no user");
        assert_eq!(error.to_string(), "user name is missing");
    }
}
