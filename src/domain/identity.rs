//! Identity rules: what a guest, its licences and its inventory know the VM by.

use crate::model::{SmbiosText, SourceVm};

use super::hardware::Hardware;
use super::text;

/// Longest text of SMBIOS, in characters: QEMU's own are shorter, and no table may exceed 64 KiB.
const LONGEST_TEXT: usize = 256;

/// The identity of a domain.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// UUID of the domain, which is that of SMBIOS, too; none for a new one.
    pub uuid: Option<String>,
    /// Texts of SMBIOS.
    pub smbios: Vec<SmbiosText>,
    /// VM Generation ID, where the VM has one.
    pub genid: Option<GenId>,
}

/// VM Generation ID of a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GenId {
    /// This one.
    Kept(String),
    /// One that libvirt makes: the guest learns that it is a copy.
    New,
}

/// That of the source, so that the guest takes itself for the machine that it was; or a new one for
/// a copy that runs beside it.
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

/// A UUID as libvirt writes it; nothing for what is none: a manifest may come from anywhere.
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
