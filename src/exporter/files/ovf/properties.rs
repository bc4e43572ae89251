//! Values that a descriptor leaves to the deployment (DSP0243 2.1.1, sections 9.1 and 9.5):
//! `${KEY}` is replaced by the default of the property KEY.

use std::collections::HashMap;

use super::index::Index;
use super::schema::{Product, Property, VirtualSystem};

/// The properties of a system, with their defaults.
#[derive(Default)]
pub(super) struct Properties<'a>(HashMap<String, &'a str>);

impl<'a> Properties<'a> {
    /// The properties of the system and of the collections around it; the system's take precedence.
    ///
    /// # Errors
    /// When the VMs of the descriptor have too many properties.
    pub(super) fn of(system: &'a VirtualSystem, index: &Index<'a>) -> Result<Self, String> {
        let mut values = HashMap::new();
        for product in system.product_section.iter().chain(index.products.iter().copied()) {
            for property in &product.property {
                let count = property.values.len() as u64 + 1;
                index.cost.borrow_mut().properties(count)?;
                let Some(value) = value(property, index) else { continue };
                values.entry(full_key(product, property)).or_insert(value);
                values.entry(property.key.trim().to_owned()).or_insert(value);
            }
        }
        Ok(Self(values))
    }

    /// The text itself, or the default of the property that the text refers to; `None` without a
    /// default.
    pub(super) fn value<'t>(&self, text: &'t str) -> Option<&'t str>
    where
        'a: 't,
    {
        let name = text.trim().strip_prefix("${").and_then(|name| name.strip_suffix('}'));
        match name {
            Some(name) => self.0.get(name.trim()).copied(),
            None => Some(text),
        }
    }
}

/// `CLASS.KEY.INSTANCE`, without absent parts.
fn full_key(product: &Product, property: &Property) -> String {
    let parts = [&product.class, &property.key, &product.instance];
    let parts: Vec<_> =
        parts.into_iter().map(|part| part.trim()).filter(|part| !part.is_empty()).collect();
    parts.join(".")
}

/// The value in the default deployment option, else the general value.
fn value<'a>(property: &'a Property, index: &Index<'_>) -> Option<&'a str> {
    let of_option = property.values.iter().find(|value| index.is_default(&value.configuration));
    let of_all = property.values.iter().find(|value| value.configuration.trim().is_empty());
    of_option
        .map(|value| value.value.as_str())
        .or(property.value.as_deref())
        .or(of_all.map(|value| value.value.as_str()))
}
