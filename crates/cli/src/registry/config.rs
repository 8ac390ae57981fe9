//! Docker's `config.json`: logins, and who keeps them. What is not known in here is kept as it is.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::OnceLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::helper::{self, Kept};
use crate::error::Error;

/// More than any list of logins needs.
const MAX: u64 = 4 << 20;

/// The directory that the command line names.
static GIVEN: OnceLock<PathBuf> = OnceLock::new();

/// The file.
#[derive(Debug)]
pub(crate) struct Config {
    path: PathBuf,
    json: Map<String, Value>,
}

/// How one proves who one is.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Login {
    Password { username: String, password: String },
    Token { username: String, token: String },
}

// A password must not be seen by accident.
impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (Login::Password { username, .. } | Login::Token { username, .. }) = self;
        write!(f, "Login({username})")
    }
}

impl Config {
    /// Reads the file; one that is not there is empty.
    pub(crate) fn load() -> Result<Config, Error> {
        let path = Config::directory().join("config.json");
        let failed = |source| Error::File { action: "reading", path: path.clone(), source };
        let mut text = String::new();
        match File::open(&path) {
            Ok(file) => drop(file.take(MAX).read_to_string(&mut text).map_err(failed)?),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
            Err(error) => return Err(failed(error)),
        }
        if text.trim().is_empty() {
            text = "{}".into();
        }
        let json = serde_json::from_str(&text).map_err(|error| failed(io::Error::other(error)))?;
        Ok(Config { path, json })
    }

    /// The directory of the file, and of other files of Docker's client.
    pub(crate) fn directory() -> PathBuf {
        let variable = || std::env::var_os("DOCKER_CONFIG").filter(|path| !path.is_empty());
        let directory = GIVEN.get().cloned().or_else(|| variable().map(PathBuf::from));
        let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".docker"));
        // Without a home there is nowhere to keep a login, and none is known.
        directory.or_else(home).unwrap_or_else(|| "/root/.docker".into())
    }

    /// Says where the file is, before it is read for the first time: `--config`.
    pub(crate) fn set_directory(path: &str) {
        // The command line is read once.
        let _is_first = GIVEN.set(path.into());
    }

    /// What the file holds under a key.
    pub(crate) fn value(&self, key: &str) -> Option<&Value> {
        self.json.get(key)
    }

    /// A file that holds this.
    #[cfg(test)]
    pub(crate) fn of(json: Value) -> Config {
        let Value::Object(json) = json else { panic!("an object") };
        Config { path: PathBuf::new(), json }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &std::path::Path {
        &self.path
    }

    /// Who keeps the logins of a registry; None: the file.
    pub(crate) fn helper(&self, registry: &str) -> Option<String> {
        let helpers = self.json.get("credHelpers").and_then(Value::as_object);
        let own = helpers.and_then(|helpers| helpers.get(registry)).and_then(Value::as_str);
        let usual = self.json.get("credsStore").and_then(Value::as_str);
        own.or(usual).filter(|name| !name.is_empty()).map(str::to_owned)
    }

    /// The login at a registry.
    pub(crate) fn login(&self, registry: &str) -> Result<Option<Login>, Error> {
        if let Some(helper) = self.helper(registry) {
            return Ok(helper::get(&helper, registry)?.map(login_of));
        }
        let auths = self.json.get("auths").and_then(Value::as_object);
        let entry = auths.and_then(|auths| {
            // Logins of old are kept under the whole URL.
            let is_same = |key: &&String| host_of(key) == host_of(registry);
            auths.get(registry).or_else(|| auths.keys().find(is_same).and_then(|key| auths.get(key)))
        });
        let Some(entry) = entry.and_then(Value::as_object) else { return Ok(None) };
        let text = |key: &str| entry.get(key).and_then(Value::as_str).unwrap_or_default();
        let pair = STANDARD.decode(text("auth")).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let (username, password) = pair
            .as_deref()
            .and_then(|pair| pair.split_once(':'))
            .map_or((text("username"), text("password")), |(user, secret)| {
                (user, secret.trim_end_matches('\0'))
            });
        let username = username.to_owned();
        Ok(match text("identitytoken") {
            "" if username.is_empty() => None,
            "" => Some(Login::Password { username, password: password.to_owned() }),
            token => Some(Login::Token { username, token: token.to_owned() }),
        })
    }

    /// Keeps a login. Ok(true): in the file, where whoever reads it has it.
    pub(crate) fn keep(&mut self, registry: &str, login: &Login) -> Result<bool, Error> {
        if let Some(helper) = self.helper(registry) {
            helper::store(&helper, registry, login)?;
            // Docker lists the registry all the same.
            self.set(registry, Some(json!({})))?;
            return Ok(false);
        }
        let entry = match login {
            Login::Password { username, password } => {
                json!({"auth": STANDARD.encode(format!("{username}:{password}"))})
            }
            Login::Token { username, token } => {
                json!({"auth": STANDARD.encode(format!("{username}:")), "identitytoken": token})
            }
        };
        self.set(registry, Some(entry))?;
        Ok(true)
    }

    /// Forgets the login at a registry. Ok(false): there was none.
    pub(crate) fn forget(&mut self, registry: &str) -> Result<bool, Error> {
        let is_known = self.json.get("auths").is_some_and(|auths| auths.get(registry).is_some());
        if let Some(helper) = self.helper(registry) {
            helper::erase(&helper, registry)?;
        }
        if is_known {
            self.set(registry, None)?;
        }
        Ok(is_known)
    }

    fn set(&mut self, registry: &str, entry: Option<Value>) -> Result<(), Error> {
        let auths = self.json.entry("auths").or_insert_with(|| json!({}));
        let Some(auths) = auths.as_object_mut() else {
            let source = io::Error::other("`auths` is no object");
            return Err(Error::File { action: "changing", path: self.path.clone(), source });
        };
        match entry {
            Some(entry) => drop(auths.insert(registry.to_owned(), entry)),
            None => drop(auths.remove(registry)),
        }
        self.write().map_err(|source| Error::File { action: "writing", path: self.path.clone(), source })
    }

    /// Only its owner may read it, and nobody ever reads half of it.
    fn write(&self) -> io::Result<()> {
        let directory = self.path.parent().unwrap_or(std::path::Path::new("/"));
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        // A link (to a file that is kept elsewhere) stays one.
        let target = fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        let temporary = target.with_extension(format!("json.{}", std::process::id()));
        let text = serde_json::to_string_pretty(&self.json).expect("it was JSON");
        let written = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&temporary)
            .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
            .and_then(|()| fs::rename(&temporary, &target));
        if written.is_err() {
            // The error is what counts.
            drop(fs::remove_file(&temporary));
        }
        written
    }
}

/// The host of a registry's key, which may be a URL.
fn host_of(key: &str) -> &str {
    let rest = key.split_once("://").map_or(key, |(_, rest)| rest);
    rest.split('/').next().unwrap_or_default()
}

/// A helper's word for a token in place of a password.
fn login_of(kept: Kept) -> Login {
    match kept.username.as_str() {
        "<token>" => Login::Token { username: String::new(), token: kept.secret },
        _ => Login::Password { username: kept.username, password: kept.secret },
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::{Config, Login};
    use serde_json::{Value, json};

    fn config(json: Value) -> (tempfile::TempDir, Config) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("new/config.json");
        let Value::Object(json) = json else { panic!("an object") };
        (directory, Config { path, json })
    }

    #[test]
    fn logins_are_found_under_the_keys_that_clients_have_used() {
        let (_directory, config) = config(json!({"auths": {
            "https://old.test/v1/": {"auth": "YTpi"}, "new.test:5000": {"auth": "YTo=", "identitytoken": "t"},
            "plain.test": {"username": "u", "password": "p"}, "empty.test": {},
        }}));
        let password = |username: &str, password: &str| {
            Some(Login::Password { username: username.into(), password: password.into() })
        };
        for (registry, login) in [
            ("old.test", password("a", "b")),
            ("new.test:5000", Some(Login::Token { username: "a".into(), token: "t".into() })),
            ("plain.test", password("u", "p")),
            ("empty.test", None),
            ("new.test", None),
        ] {
            assert!(config.login(registry).unwrap() == login, "{registry}");
        }
    }

    #[test]
    fn a_login_is_written_for_its_owner_alone_and_nothing_else_is_lost() {
        let (_directory, mut config) =
            config(json!({"psFormat": "x", "auths": {"other.test": {"auth": "YTpi"}}}));
        let login = Login::Password { username: "anna".into(), password: "p:w".into() };
        assert!(config.keep("mine.test", &login).unwrap());
        assert_eq!(config.path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let read = || serde_json::from_slice::<Value>(&std::fs::read(&config.path).unwrap()).unwrap();
        assert_eq!(read()["auths"]["mine.test"]["auth"], "YW5uYTpwOnc=");
        assert_eq!(
            (&read()["psFormat"], &read()["auths"]["other.test"]["auth"]),
            (&json!("x"), &json!("YTpi"))
        );
        assert!(config.login("mine.test").unwrap() == Some(login));
        assert!(config.forget("mine.test").unwrap() && !config.forget("mine.test").unwrap());
        assert_eq!(config.login("mine.test").unwrap(), None);
    }

    #[test]
    fn a_registrys_own_helper_is_asked_before_the_usual_one() {
        let (_directory, config) = config(json!({"credsStore": "usual", "credHelpers": {"own.test": "own"}}));
        assert_eq!(config.helper("own.test").as_deref(), Some("own"));
        assert_eq!(config.helper("other.test").as_deref(), Some("usual"));
    }
}
