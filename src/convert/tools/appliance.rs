//! How the appliance of libguestfs is run: libguestfs uses KVM wherever `/dev/kvm` opens, and waits
//! without end where no guest runs on KVM.

use std::borrow::Cow;
use std::path::PathBuf;

use tokio_util::sync::CancellationToken;

use super::super::Settings;
use super::libguestfs::FORCE_TCG;
use crate::kvm::{Accelerator, KvmProof, prove};
use crate::model::{Stage, Warning, WarningCode};

/// The emulators that libguestfs runs the appliance in: Debian's, found in `PATH`, and Red Hat's.
const IN_PATH: &str = "qemu-system-x86_64";
const OF_RED_HAT: &str = "/usr/libexec/qemu-kvm";

/// The settings; with emulation and a warning where KVM runs no guest, since emulation is slow. The
/// user's own settings stay unchanged.
pub(in crate::convert) async fn decided<'a>(
    settings: &'a Settings,
    cancel: &CancellationToken,
) -> (Cow<'a, Settings>, Option<Warning>) {
    let as_it_is = || (Cow::Borrowed(settings), None);
    if settings.guestfs.backend_settings.is_some() {
        return as_it_is();
    }
    let Some(emulator) = emulator(settings) else { return as_it_is() };
    match prove(&emulator, None, Accelerator::Kvm, cancel).await {
        KvmProof::Runs => as_it_is(),
        // libguestfs has no KVM there, and detects that itself.
        KvmProof::Forbidden => as_it_is(),
        KvmProof::Fails => {
            let mut decided = settings.clone();
            decided.guestfs.backend_settings = Some(FORCE_TCG.to_owned());
            let message = "KVM runs no guest here: libguestfs works without it, which is slow \
                           (LIBGUESTFS_BACKEND_SETTINGS overrides this)";
            let warning = Warning::new(Stage::Pipeline, WarningCode::LibguestfsWithoutKvm, message);
            (Cow::Owned(decided), Some(warning))
        }
    }
}

fn emulator(settings: &Settings) -> Option<PathBuf> {
    let folders = std::env::split_paths(&settings.path).filter(|folder| folder.is_absolute());
    let in_path = folders.map(|folder| folder.join(IN_PATH));
    in_path.chain([PathBuf::from(OF_RED_HAT)]).find(|path| path.is_file())
}
