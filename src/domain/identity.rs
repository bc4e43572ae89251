//! Rules for the identity by which a guest, its licenses and its inventory recognize the VM.

use crate::model::{SmbiosText, SourceVm};

use super::hardware::Hardware;
use super::text;

/// Maximum length of an SMBIOS string, in characters: QEMU's own are shorter, and no table may
/// exceed 64 KiB.
const LONGEST_TEXT: usize = 256;

/// The identity of a domain.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// UUID of the domain and of SMBIOS; `None` for a new one.
    pub uuid: Option<String>,
    /// SMBIOS strings of the source VM.
    pub smbios: Vec<SmbiosText>,
    /// VM Generation ID, if the VM has one.
    pub genid: Option<GenId>,
}

/// VM Generation ID of a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GenId {
    /// ID of the source VM.
    Kept(String),
    /// New ID from libvirt, by which the guest detects that it is a copy.
    New,
}

/// The identity of the source, so that the guest recognizes its machine; or a new identity for a
/// copy that runs beside the source.
pub(super) fn choose(vm: &SourceVm, hardware: &Hardware) -> Identity {
    let board = &vm.board;
    if hardware.new_uuid {
        let genid = board.genid.as_ref().map(|_| GenId::New);
        return Identity { uuid: None, smbios: Vec::new(), genid };
    }
    let plain = |text: &SmbiosText| SmbiosText {
        value: text::one_line(&text.value).chars().take(LONGEST_TEXT).collect(),
        ..text.clone()
    };
    Identity {
        uuid: board.uuid.as_deref().and_then(normal),
        smbios: board.smbios.iter().map(plain).filter(|text| !text.value.is_empty()).collect(),
        genid: board.genid.as_deref().and_then(normal).map(GenId::Kept),
    }
}

/// A UUID in libvirt's format; `None` for an invalid text, since a manifest may come from anywhere.
fn normal(text: &str) -> Option<String> {
    let is_dash = |at: usize| matches!(at, 8 | 13 | 18 | 23);
    let fits = |(at, byte): (usize, u8)| match is_dash(at) {
        true => byte == b'-',
        false => byte.is_ascii_hexdigit(),
    };
    let is_uuid = text.len() == 36 && text.bytes().enumerate().all(fits);
    is_uuid.then(|| text.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::fixture::vm;

    #[test]
    fn the_identity_is_kept_unless_a_new_one_is_asked_for() {
        let mut vm = vm();
        assert_eq!(choose(&vm, &Hardware::default()), Identity::default());
        let serial = |value: &str| SmbiosText {
            table: "system".to_owned(),
            name: "serial".to_owned(),
            value: value.to_owned(),
        };
        vm.board.uuid = Some("34124d56-cdab-01ef-2345-6789abcdef01".to_owned());
        vm.board.genid = Some("89abcdef-4567-0123-1032-547698badcfe".to_owned());
        vm.board.smbios = vec![serial("VMware-56\n4d"), serial("\u{1}")];
        let kept = choose(&vm, &Hardware::default());
        assert_eq!(kept.uuid, vm.board.uuid);
        assert_eq!(kept.genid, vm.board.genid.clone().map(GenId::Kept));
        assert_eq!(kept.smbios, [serial("VMware-56 4d")]);
        for wrong in [
            "",
            "34124d56",
            "34124d56-cdab-01ef-2345-6789abcdef0",
            "x4124d56-cdab-01ef-2345-6789abcdef01",
        ] {
            vm.board.uuid = Some(wrong.to_owned());
            assert_eq!(choose(&vm, &Hardware::default()).uuid, None, "{wrong}");
        }
        vm.board.uuid = Some("34124D56-CDAB-01EF-2345-6789ABCDEF01".to_owned());
        assert_eq!(choose(&vm, &Hardware::default()).uuid, kept.uuid);
        let new = choose(&vm, &Hardware { new_uuid: true, ..Hardware::default() });
        assert_eq!(new, Identity { genid: Some(GenId::New), ..Identity::default() });
    }
}
