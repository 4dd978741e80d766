//! Secrets: read from files, generated in development only, and never shown.

use std::fmt;
use std::path::{Path, PathBuf};

use super::{Environment, PlaceSettings, Problems};

/// A text that must not be shown. It has neither `Debug` nor `Display`.
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub fn reveal(&self) -> &str {
        &self.0
    }
}

/// A secret in a file.
#[derive(Debug, Clone, Copy)]
pub struct SecretFile<'a> {
    /// The variable that names the file, for error messages.
    pub variable: &'a str,
    /// The configured file, if any.
    pub named: Option<&'a Path>,
    /// The default file name in the data folder.
    pub default_name: &'a str,
}

impl SecretFile<'_> {
    /// The configured file, or the default one.
    pub fn path(&self, place: &PlaceSettings) -> PathBuf {
        self.named.map_or_else(|| place.data.join(self.default_name), Path::to_owned)
    }

    /// Reads the secret. In development, a missing default file is created first.
    pub fn read<T, E: fmt::Display>(
        self,
        place: &PlaceSettings,
        make: impl FnOnce() -> Secret,
        parse: impl FnOnce(&Secret) -> Result<T, E>,
        problems: &mut Problems,
    ) -> Option<T> {
        let outcome = self.text(place, make).and_then(|(path, secret)| {
            parse(&secret).map_err(|problem| format!("{}: {problem}", path.display()))
        });
        outcome.map_err(|problem| problems.add(format!("{}: {problem}", self.variable))).ok()
    }

    /// Reads a secret that exists, without creating it or changing its permissions: for programs that change nothing.
    ///
    /// # Errors
    /// Also if it does not exist.
    pub fn read_existing<T, E: fmt::Display>(
        self,
        place: &PlaceSettings,
        parse: impl FnOnce(&Secret) -> Result<T, E>,
    ) -> Result<T, String> {
        let path = self.path(place);
        let with_path =
            |problem: &dyn fmt::Display| format!("{}: {}: {problem}", self.variable, path.display());
        let secret = std::fs::read_to_string(&path).map(Secret).map_err(|error| with_path(&error))?;
        parse(&secret).map_err(|problem| with_path(&problem))
    }

    fn text(self, place: &PlaceSettings, make: impl FnOnce() -> Secret) -> Result<(PathBuf, Secret), String> {
        let path = match (self.named, place.env) {
            (Some(path), _) => path.to_owned(),
            (None, Environment::Development) => place.data.join(self.default_name),
            (None, Environment::Production) => {
                return Err("production needs this file; only development creates it".to_owned());
            }
        };
        let with_path = |problem: std::io::Error| format!("{}: {problem}", path.display());
        let read = || std::fs::read_to_string(&path).map(Secret);
        let secret = match read() {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && self.named.is_none() => {
                let secret = make();
                match write_private(&path, secret.reveal()) {
                    Ok(()) => Ok(secret),
                    // Another process created it concurrently: use that one.
                    Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => read(),
                    Err(error) => Err(error),
                }
            }
            outcome => outcome,
        };
        let secret = secret.map_err(with_path)?;
        if self.named.is_none() {
            make_private(&path).map_err(with_path)?;
        }
        if secret.reveal().trim().is_empty() {
            return Err(format!("{}: the file is empty", path.display()));
        }
        if place.in_production() && lies_within(&path, &place.data) {
            return Err(format!(
                "{}: it lies in the data folder, where development makes its secrets and where backups of the data \
                 would hold it: give production a secret of its own, elsewhere",
                path.display()
            ));
        }
        Ok((path, secret))
    }
}

/// Follows symbolic links. A missing folder contains nothing.
fn lies_within(path: &Path, folder: &Path) -> bool {
    match (path.canonicalize(), folder.canonicalize()) {
        (Ok(path), Ok(folder)) => path.starts_with(folder),
        _ => false,
    }
}

/// Restricts a default file to its owner if others can read it, for example after a copy. Permissions of configured
/// files are the operator's responsibility.
fn make_private(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mut permissions = std::fs::metadata(path)?.permissions();
    let for_others = permissions.mode() & 0o077;
    if for_others == 0 {
        return Ok(());
    }
    permissions.set_mode(0o600);
    std::fs::set_permissions(path, permissions)
}

/// Creates a file with mode 0600, complete or not at all.
fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Temporary files are created with mode 0600 and keep it.
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist_noclobber(path).map(drop).map_err(|error| error.error)
}

/// A setting without the password of a URL. A name alone before the `@` may be a token, so it is removed too, except
/// in the URL of a mail server, where it is the user.
pub fn without_password(setting: &str) -> String {
    match (setting.find("//"), setting.rfind('@')) {
        (Some(start), Some(end)) if start < end => {
            if setting.starts_with("smtp") && !setting[start..end].contains(':') {
                return setting.to_owned();
            }
            let user = setting[start + 2..end].split(':').next().unwrap_or("");
            format!("{}//{user}:…{}", &setting[..start], &setting[end..])
        }
        _ => setting.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn password_is_not_shown() {
        assert_eq!(without_password("mongodb://ann:s3cret@h:1,i:2/db?x=y"), "mongodb://ann:…@h:1,i:2/db?x=y");
        assert_eq!(without_password("nats://h:4222"), "nats://h:4222");
        assert_eq!(without_password("sqlite:data/a@b.db"), "sqlite:data/a@b.db");
        assert_eq!(without_password("smtp://ann%40a.example@h:587"), "smtp://ann%40a.example@h:587");
        assert_eq!(without_password("smtps://ann:s3cret@h:465"), "smtps://ann:…@h:465");
    }

    fn place(folder: &Path, env: Environment) -> PlaceSettings {
        PlaceSettings { env, data: folder.to_owned() }
    }

    fn get(named: Option<&Path>, place: &PlaceSettings, problems: &mut Problems) -> Option<String> {
        let file = SecretFile { variable: "CHORUS_X", named, default_name: "x.key" };
        let parse = |secret: &Secret| match secret.reveal() {
            "bad" => Err("it is bad"),
            good => Ok(good.to_owned()),
        };
        file.read(place, || Secret::new("made"), parse, problems)
    }

    #[test]
    fn development_creates_a_missing_secret_once_with_private_permissions() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let place = place(folder.path(), Environment::Development);
        let mut problems = Problems::default();
        assert_eq!(get(None, &place, &mut problems).as_deref(), Some("made"));
        let path = folder.path().join("x.key");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::write(&path, "kept").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(get(None, &place, &mut problems).as_deref(), Some("kept"));
        let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "a file that others can read");
        problems.none_or().unwrap();
    }

    #[test]
    fn production_creates_no_secrets_and_reports_all_problems() {
        let folder = tempfile::tempdir().unwrap();
        let mut problems = Problems::default();
        assert_eq!(get(None, &place(folder.path(), Environment::Production), &mut problems), None);
        let missing = folder.path().join("missing.key");
        assert_eq!(get(Some(&missing), &place(folder.path(), Environment::Development), &mut problems), None);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        let bad = folder.path().join("bad.key");
        std::fs::write(&bad, "bad").unwrap();
        assert_eq!(get(Some(&bad), &place(folder.path(), Environment::Development), &mut problems), None);
        let text = problems.none_or().unwrap_err().to_string();
        assert_eq!(text.lines().count(), 4, "{text}");
        assert!(
            text.contains("production") && text.contains("missing.key") && text.contains("it is bad"),
            "{text}"
        );
    }

    #[test]
    fn development_secrets_are_rejected_in_production_and_empty_ones_always() {
        let (data, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let made = data.path().join("x.key");
        assert!(get(None, &place(data.path(), Environment::Development), &mut Problems::default()).is_some());
        let linked = elsewhere.path().join("linked.key");
        std::os::unix::fs::symlink(&made, &linked).unwrap();
        let empty = elsewhere.path().join("empty.key");
        std::fs::write(&empty, " \n").unwrap();
        let own = elsewhere.path().join("own.key");
        std::fs::write(&own, "good").unwrap();
        let production = place(data.path(), Environment::Production);
        let mut problems = Problems::default();
        for refused in [&made, &linked, &empty] {
            assert_eq!(get(Some(refused), &production, &mut problems), None, "{}", refused.display());
        }
        assert_eq!(problems.0.len(), 3);
        assert_eq!(get(Some(&own), &production, &mut problems).as_deref(), Some("good"));
        assert_eq!(problems.0.len(), 3, "{problems}");
    }
}
