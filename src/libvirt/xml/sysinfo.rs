//! `<sysinfo type='smbios'>` (<https://libvirt.org/formatdomain.html#smbios-system-information>).

use serde::{Deserialize, Serialize};

use crate::model::SmbiosText;

/// `<smbios>` of `<os>`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Smbios {
    /// `sysinfo`, `host` or `emulate`.
    #[serde(rename = "@mode")]
    pub mode: String,
}

/// `<sysinfo>`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sysinfo {
    /// `smbios` or `fwcfg`.
    #[serde(rename = "@type")]
    pub kind: String,
    #[serde(skip_serializing_if = "SmbiosTable::is_empty")]
    pub bios: SmbiosTable,
    #[serde(skip_serializing_if = "SmbiosTable::is_empty")]
    pub system: SmbiosTable,
    /// One table for each board.
    #[serde(rename = "baseBoard", skip_serializing_if = "Vec::is_empty")]
    pub base_board: Vec<SmbiosTable>,
    #[serde(skip_serializing_if = "SmbiosTable::is_empty")]
    pub chassis: SmbiosTable,
    #[serde(rename = "oemStrings", skip_serializing_if = "SmbiosTable::is_empty")]
    pub oem: SmbiosTable,
}

/// An SMBIOS table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SmbiosTable {
    pub entry: Vec<Entry>,
}

/// `<entry>`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Entry {
    /// Name of the entry; `None` in `<oemStrings>`.
    #[serde(rename = "@name", skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(rename = "$text")]
    pub value: String,
}

/// Names of the tables, in the order of the schema.
const TABLES: [&str; 5] = ["bios", "system", "baseBoard", "chassis", "oemStrings"];

impl SmbiosTable {
    fn is_empty(&self) -> bool {
        self.entry.is_empty()
    }

    fn texts(&self, table: &str) -> Vec<SmbiosText> {
        let text = |entry: &Entry| SmbiosText {
            table: table.to_owned(),
            name: entry.name.clone().unwrap_or_default(),
            value: entry.value.clone(),
        };
        self.entry.iter().map(text).collect()
    }
}

impl Sysinfo {
    /// An element with these strings; `None` if there are none. Strings of tables that libvirt does
    /// not support are omitted.
    pub fn of(texts: &[SmbiosText]) -> Option<Self> {
        let table = |name: &str| {
            let entry = |text: &SmbiosText| Entry {
                name: Some(text.name.clone()).filter(|name| !name.is_empty()),
                value: text.value.clone(),
            };
            SmbiosTable {
                entry: texts.iter().filter(|text| text.table == name).map(entry).collect(),
            }
        };
        let [bios, system, board, chassis, oem] = TABLES.map(table);
        let base_board = if board.is_empty() { Vec::new() } else { vec![board] };
        let found = Self { kind: "smbios".to_owned(), bios, system, base_board, chassis, oem };
        (found != Self { kind: found.kind.clone(), ..Self::default() }).then_some(found)
    }

    /// The strings of the element, without the system UUID, which is the domain's. Of several
    /// boards only the first counts.
    pub fn texts(&self) -> Vec<SmbiosText> {
        let board = self.base_board.first().cloned().unwrap_or_default();
        let tables = [&self.bios, &self.system, &board, &self.chassis, &self.oem];
        let texts = TABLES.iter().zip(tables).flat_map(|(name, table)| table.texts(name));
        texts.filter(|text| text.table != "system" || text.name != "uuid").collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::libvirt::xml::{read, write};

    #[test]
    fn texts_come_back_as_they_were() {
        let text = "<sysinfo type='smbios'><bios><entry name='vendor'>LENOVO</entry></bios><system>\
            <entry name='manufacturer'>Fedora</entry><entry name='uuid'>u</entry>\
            <entry name='serial'>32dfcb37 &lt;1&gt;</entry></system><baseBoard>\
            <entry name='product'>20BE0061MC</entry></baseBoard><chassis>\
            <entry name='asset'>40141</entry></chassis><oemStrings><entry>myappname:some data</entry>\
            <entry>otherappname:more</entry></oemStrings></sysinfo>";
        let found: Sysinfo = read("sysinfo", text).expect("reads");
        let texts = found.texts();
        assert_eq!(texts.len(), 7);
        let again = write("sysinfo", &Sysinfo::of(&texts).expect("some")).expect("writes");
        let again: Sysinfo = read("sysinfo", &again).expect("reads");
        assert_eq!(again.texts(), texts);
        assert!(texts.iter().any(|text| text.value == "32dfcb37 <1>"));
        assert_eq!(Sysinfo::of(&[]), None);
        let odd = SmbiosText { table: "odd".into(), name: "x".into(), value: "y".into() };
        assert_eq!(Sysinfo::of(&[odd]), None);
    }
}
