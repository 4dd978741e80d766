//! Documents for operators: with the personal data that their view declares masked.

use serde_json::{Map, Value};

use crate::View;

impl View {
    /// Replaces the values of personal fields.
    pub fn mask(&self, document: &mut Map<String, Value>, mark: &str) {
        for field in self.personal {
            let mut path = field.split('.');
            if let Some(value) = path.next().and_then(|name| document.get_mut(name)) {
                mask_in(value, path, mark);
            }
        }
    }

    /// The key of a document, with a personal value at its end replaced.
    pub fn masked_key(&self, key: &str, document: &Map<String, Value>, mark: &str) -> String {
        let values = self.personal.iter().filter_map(|field| document.get(*field)?.as_str());
        let rest = values.filter_map(|value| key.strip_suffix(value)).find(|rest| rest.ends_with('.'));
        rest.map_or_else(|| key.to_owned(), |rest| format!("{rest}{mark}"))
    }
}

fn mask_in<'p>(value: &mut Value, mut path: impl Iterator<Item = &'p str> + Clone, mark: &str) {
    if let Value::Array(items) = value
        && path.clone().next().is_some()
    {
        for item in items {
            mask_in(item, path.clone(), mark);
        }
        return;
    }
    match path.next() {
        Some(name) => {
            if let Some(inner) = value.get_mut(name) {
                mask_in(inner, path, mark);
            }
        }
        None if value.is_null() => {}
        None => *value = mark.into(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::Layout;

    use super::*;

    #[test]
    fn personal_fields_are_masked_also_in_lists_and_keys() {
        let personal = &["name", "images.alt", "list", "missing.alt"];
        let view = View { name: "things", indexes: &[], layout: Layout::Clustered, personal };
        let Value::Object(mut document) = json!({
            "name": "Ann", "n": 1, "list": ["a"], "images": [{ "alt": "Dawn", "width": 7 }, { "alt": null }],
        }) else {
            unreachable!()
        };
        assert_eq!(view.masked_key("7.Ann", &document, "#"), "7.#");
        assert_eq!(view.masked_key("7.MaryAnn", &document, "#"), "7.MaryAnn");
        view.mask(&mut document, "#");
        let expected = json!({ "name": "#", "n": 1, "list": "#", "images": [{ "alt": "#", "width": 7 }, { "alt": null }] });
        assert_eq!(Value::Object(document), expected);
    }
}
