//! Which VMs a list shows.

use clap::{Args, ValueEnum};

use crate::exporter::Filter;
use crate::model::PowerState;

/// Flags of `list`.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Filter")]
pub struct FilterArgs {
    /// Only VMs with matching names; * and ? are wildcards, case is ignored
    #[arg(long, value_name = "GLOB", value_parser = glob::Pattern::new)]
    pub name: Option<glob::Pattern>,
    /// Only VMs in or below a folder: /DC/vm/Prod, or Prod for short
    #[arg(long, value_name = "PATH")]
    pub folder: Option<String>,
    /// Only VMs in this power state
    #[arg(long, value_name = "STATE")]
    pub power: Option<PowerArg>,
    /// Only VMs with this custom attribute; repeated: with all of them
    #[arg(long, value_name = "NAME=VALUE", value_parser = attribute)]
    pub attribute: Vec<(String, String)>,
    /// Only VMs with this vCenter tag; repeated: with all of them
    #[arg(long, value_name = "[CATEGORY=]NAME")]
    pub tag: Vec<String>,
}

/// A power state that can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PowerArg {
    /// Running.
    On,
    /// Not running.
    Off,
    /// Stopped with its memory kept.
    Suspended,
}

impl FilterArgs {
    /// The filter.
    pub fn resolve(&self) -> Filter {
        let power = self.power.map(|power| match power {
            PowerArg::On => PowerState::On,
            PowerArg::Off => PowerState::Off,
            PowerArg::Suspended => PowerState::Suspended,
        });
        Filter {
            name: self.name.clone(),
            folder: self.folder.clone(),
            power,
            attributes: self.attribute.clone(),
            tags: self.tag.clone(),
        }
    }
}

/// A custom attribute, `NAME=VALUE`.
fn attribute(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(name, _)| !name.is_empty());
    let pair = pair.map(|(name, value)| (name.to_owned(), value.to_owned()));
    pair.ok_or_else(|| "write it as NAME=VALUE".to_owned())
}
