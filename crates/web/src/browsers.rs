//! What browsers need: the session in a cookie that no script can read, and a look at where a request comes from, since a
//! browser sends the cookie along whoever makes it ask.

use chrono::{DateTime, Utc};
use http::{HeaderMap, HeaderValue, header};

use service::config::{HttpSettings, SameSite};

use crate::problem::Problem;

/// The prefix has browsers take it only over TLS, from this very host, for all of it.
/// Source: <https://datatracker.ietf.org/doc/html/draft-ietf-httpbis-rfc6265bis#section-4.1.3.2>.
pub const SESSION_COOKIE: &str = "__Host-chorus";

/// How browsers are dealt with.
#[derive(Debug, Clone)]
pub struct Browsers {
    origins: Vec<String>,
    same_site: SameSite,
    /// The scheme of the API's own origin.
    own_scheme: &'static str,
}

impl Browsers {
    /// As the settings say.
    pub fn configured(http: &HttpSettings, same_site: SameSite) -> Self {
        let browsers = Self::new(http.allowed_origins().map(str::to_owned), same_site);
        browsers.reached_by_tls(http.is_reached_by_tls())
    }

    /// `origins` are those whose pages may call the API, as the `Origin` header spells them. Browsers reach the API itself
    /// by TLS until [`reached_by_tls`](Self::reached_by_tls) says otherwise.
    pub fn new(origins: impl IntoIterator<Item = String>, same_site: SameSite) -> Self {
        Self { origins: origins.into_iter().collect(), same_site, own_scheme: "https" }
    }

    /// Whether browsers reach the API by TLS, its own or a proxy's.
    #[must_use]
    pub fn reached_by_tls(self, by_tls: bool) -> Self {
        Self { own_scheme: if by_tls { "https" } else { "http" }, ..self }
    }

    /// The `Set-Cookie` that keeps a session.
    pub fn cookie(
        &self,
        token: &str,
        now: DateTime<Utc>,
        expires: DateTime<Utc>,
    ) -> Result<HeaderValue, Problem> {
        self.set_cookie(token, (expires - now).num_seconds().max(0))
    }

    /// The `Set-Cookie` that makes a browser forget its session.
    pub fn no_cookie(&self) -> Result<HeaderValue, Problem> {
        self.set_cookie("", 0)
    }

    fn set_cookie(&self, token: &str, seconds: i64) -> Result<HeaderValue, Problem> {
        let same_site = match self.same_site {
            SameSite::Strict => "Strict",
            SameSite::Lax => "Lax",
            SameSite::None => "None",
        };
        let cookie = format!(
            "{SESSION_COOKIE}={token}; Path=/; Max-Age={seconds}; HttpOnly; Secure; SameSite={same_site}"
        );
        let mut value = HeaderValue::try_from(cookie).map_err(Problem::internal)?;
        value.set_sensitive(true);
        Ok(value)
    }

    /// For a request that changes something and speaks for the cookie's owner: the page it comes from must be allowed.
    ///
    /// # Errors
    /// 403, also if the request does not say where it comes from.
    pub fn check_cookie_use(&self, headers: &HeaderMap) -> Result<(), Problem> {
        match headers.get(header::ORIGIN) {
            Some(origin) if self.allows(origin, headers) => Ok(()),
            _ => Err(foreign_origin()),
        }
    }

    /// For a request that is answered with a cookie: a page of somebody else's must not log a browser in. Programs that
    /// are no browsers do not say where they come from.
    ///
    /// # Errors
    /// 403.
    pub fn check_log_in(&self, headers: &HeaderMap) -> Result<(), Problem> {
        match headers.get(header::ORIGIN) {
            Some(origin) if !self.allows(origin, headers) => Err(foreign_origin()),
            _ => Ok(()),
        }
    }

    /// An origin on the list, or the API's own: then the browser names the same host in both headers. A page that came over
    /// plain HTTP is not of the same origin as an API with TLS: anybody on the way could have written it.
    fn allows(&self, origin: &HeaderValue, headers: &HeaderMap) -> bool {
        let Ok(origin) = origin.to_str() else { return false };
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let is_own = |(scheme, authority)| scheme == self.own_scheme && host == Some(authority);
        let own = origin.split_once("://").is_some_and(is_own);
        own || self.origins.iter().any(|allowed| allowed == origin)
    }
}

fn foreign_origin() -> Problem {
    Problem::new(
        http::StatusCode::FORBIDDEN,
        "foreign-origin",
        "A page of this origin may not do this with a browser's session: CHORUS_ALLOWED_ORIGINS names those that may",
    )
}

/// The token in the session cookie; none without the cookie.
///
/// # Errors
/// 401 if the cookie comes twice: which one is meant cannot be known.
pub(crate) fn session_cookie(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let pairs = cookies.flat_map(|cookies| cookies.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let mut tokens =
        pairs.filter(|(name, token)| *name == SESSION_COOKIE && !token.is_empty()).map(|(_, token)| token);
    match (tokens.next(), tokens.next()) {
        (token, None) => Ok(token),
        (_, Some(_)) => Err(Problem::unauthenticated("The session cookie may be given once")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn browsers() -> Browsers {
        Browsers::new(["https://app.example".to_owned()], SameSite::Lax)
    }

    fn headers(pairs: &[(http::HeaderName, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn the_cookie_is_out_of_reach_of_scripts_and_of_other_hosts() {
        let (now, later) = (DateTime::UNIX_EPOCH, DateTime::from_timestamp_secs(60).unwrap());
        let cookie = browsers().cookie("a.b.c", now, later).unwrap();
        assert_eq!(cookie, "__Host-chorus=a.b.c; Path=/; Max-Age=60; HttpOnly; Secure; SameSite=Lax");
        assert!(cookie.is_sensitive());
        let gone = browsers().no_cookie().unwrap();
        assert_eq!(gone, "__Host-chorus=; Path=/; Max-Age=0; HttpOnly; Secure; SameSite=Lax");
    }

    #[test]
    fn the_cookie_is_read_among_others_and_only_once() {
        let read = |values: &[&str]| {
            let pairs: Vec<_> = values.iter().map(|value| (header::COOKIE, *value)).collect();
            session_cookie(&headers(&pairs)).map(|token| token.map(str::to_owned)).map_err(|p| p.status)
        };
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&["theme=dark; __Host-chorus=a.b.c; x=y"]), Ok(Some("a.b.c".into())));
        assert_eq!(read(&["theme=dark", "__Host-chorus=a.b.c"]), Ok(Some("a.b.c".into())));
        assert_eq!(read(&["__Host-chorus="]), Ok(None));
        assert_eq!(read(&["chorus=a.b.c; x__Host-chorus=a"]), Ok(None));
        assert_eq!(read(&["__Host-chorus=a; __Host-chorus=b"]).unwrap_err(), 401);
    }

    #[test]
    fn a_foreign_page_can_neither_use_a_cookie_nor_plant_one() {
        let of = |origin: &str| headers(&[(header::ORIGIN, origin), (header::HOST, "api.example")]);
        for good in ["https://app.example", "https://api.example"] {
            assert!(browsers().check_cookie_use(&of(good)).is_ok(), "{good}");
            assert!(browsers().check_log_in(&of(good)).is_ok(), "{good}");
        }
        let foreign = [
            "https://evil.example",
            "null",
            "https://app.example.evil.example",
            "http://app.example",
            "http://api.example",
            "https://api.example:8443",
            "api.example",
            "",
        ];
        for foreign in foreign {
            assert_eq!(browsers().check_cookie_use(&of(foreign)).unwrap_err().status, 403, "{foreign}");
            assert_eq!(browsers().check_log_in(&of(foreign)).unwrap_err().status, 403, "{foreign}");
        }
        let plain = browsers().reached_by_tls(false);
        assert!(plain.check_cookie_use(&of("http://api.example")).is_ok());
        assert_eq!(plain.check_cookie_use(&of("https://api.example")).unwrap_err().status, 403);
        let none = headers(&[(header::HOST, "api.example")]);
        assert_eq!(browsers().check_cookie_use(&none).unwrap_err().status, 403);
        assert!(browsers().check_log_in(&none).is_ok());
    }
}
