//! A guest that cloud-init set up keeps its identity. Its data source was VMware's and is gone on
//! KVM, so cloud-init would treat the guest as a new machine. The guest would get other SSH host
//! keys, another host name, and DHCP instead of a static address. The configuration makes
//! cloud-init trust the instance that it knows.

use crate::convert::Error;
use crate::convert::native::guestfs::Guestfs;
use crate::model::WarningCode;

use super::{Change, FixReport};

/// Path at which cloud-init stores the instance that it has set up.
const INSTANCE: &str = "/var/lib/cloud/instance";
/// The file that disables cloud-init (cloud-init documentation, "How to disable cloud-init").
const DISABLED: &str = "/etc/cloud/cloud-init.disabled";
/// The file that hyperexport writes: read after those of the distribution and of VMware's tools.
const OURS: &str = "/etc/cloud/cloud.cfg.d/99-hyperexport.cfg";
const TEXT: &str = "\
# Written by hyperexport: this machine was moved to KVM and is still the instance that it was.
# Without its data source cloud-init would set it up anew. Remove this file, and run
# `cloud-init clean`, to have it set up by a data source of the new host.
manual_cache_clean: true
preserve_hostname: true
ssh_deletekeys: false
network: {config: disabled}
";

/// Pins the instance, unless the user provides a data source on the new host.
pub(super) async fn keep_identity(
    guestfs: &mut Guestfs,
    has_seed: bool,
    report: &mut FixReport<'_>,
) -> Result<(), Error> {
    if !guestfs.is_dir("/etc/cloud").await? || guestfs.is_file(DISABLED).await? {
        return Ok(());
    }
    if has_seed {
        // A file that an earlier migration wrote would prevent cloud-init from reading the seed.
        return guestfs.modify("removing the pinned instance", &["rm-f", OURS]).await;
    }
    if !guestfs.is_dir(INSTANCE).await? {
        let text = "cloud-init is installed and never ran: it will set the guest up at its first \
                    start, from what the new host offers; --cloud-init gives it a seed";
        report.warn(WarningCode::CloudInitFirstBoot, text);
        return Ok(());
    }
    if !guestfs.is_file(&format!("{INSTANCE}/obj.pkl")).await? {
        let text = "cloud-init of the guest has no cache of its instance \
                    (/var/lib/cloud/instance/obj.pkl) and takes the guest for a new one on KVM: host \
                    name, SSH host keys and network stay, and its scripts per instance run again";
        report.warn(WarningCode::CloudInitNewInstance, text);
    }
    let source = guestfs.read(&format!("{INSTANCE}/datasource")).await?.unwrap_or_default();
    let source = source.split(':').next().unwrap_or_default().trim().to_owned();
    guestfs.modify("making a folder in the guest", &["mkdir-p", "/etc/cloud/cloud.cfg.d"]).await?;
    guestfs.write(OURS, TEXT).await?;
    let before = match source.as_str() {
        "" => "sets the guest up by its data source".to_owned(),
        name => format!("sets the guest up by {name}"),
    };
    let after = "keeps host name, SSH host keys and network";
    report.changes.push(Change::new("cloud-init", OURS, &before, after));
    Ok(())
}
