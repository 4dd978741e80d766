//! Settings of usernames.

use std::path::Path;

use clap::Args;

use super::Problems;

#[derive(Debug, Clone, Default, Args)]
pub struct AccountSettings {
    /// Additional reserved usernames, beside the built-in ones (admin, support, ...): names separated by commas, or
    /// file:<path> of a file with one name per line
    #[arg(long, env = "CHORUS_RESERVED_USERNAMES", value_name = "NAMES|file:PATH")]
    pub reserved_usernames: Option<String>,
}

impl AccountSettings {
    /// The additional names; in a file, empty lines and lines that start with `#` are skipped.
    pub fn reserved_usernames(&self, problems: &mut Problems) -> Vec<String> {
        let setting = self.reserved_usernames.as_deref().unwrap_or_default();
        let names = |text: &str, separator| -> Vec<String> {
            let names = text.split(separator).map(str::trim);
            names.filter(|name| !name.is_empty() && !name.starts_with('#')).map(str::to_owned).collect()
        };
        let Some(path) = setting.strip_prefix("file:") else { return names(setting, ',') };
        match std::fs::read_to_string(Path::new(path)) {
            Ok(text) => names(&text, '\n'),
            Err(error) => {
                problems.add(format!("CHORUS_RESERVED_USERNAMES: {path}: {error}"));
                Vec::new()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(setting: &str) -> Result<Vec<String>, Problems> {
        let mut problems = Problems::default();
        let settings = AccountSettings { reserved_usernames: Some(setting.to_owned()) };
        let names = settings.reserved_usernames(&mut problems);
        problems.none_or().map(|()| names)
    }

    #[test]
    fn reserved_usernames_come_from_the_setting_or_its_file() {
        assert_eq!(read("").unwrap(), Vec::<String>::new());
        assert_eq!(read("acme, acme.support,").unwrap(), ["acme", "acme.support"]);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "# ours\nacme\r\n\n  acme.support\n").unwrap();
        let setting = format!("file:{}", file.path().display());
        assert_eq!(read(&setting).unwrap(), ["acme", "acme.support"]);
    }

    #[test]
    fn missing_file_of_reserved_usernames_is_a_problem() {
        let problem = read("file:/nowhere/reserved").unwrap_err().to_string();
        assert!(problem.contains("CHORUS_RESERVED_USERNAMES: /nowhere/reserved"), "{problem}");
    }
}
