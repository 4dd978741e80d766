//! Browser sessions: the token in a cookie that scripts cannot read, and the necessary CSRF check, since browsers
//! send the cookie with requests of any page.

use chrono::{DateTime, Utc};
use cookie::{Cookie, time};
use http::{HeaderMap, HeaderValue, header};

use service::config::{HttpSettings, SameSite};

use crate::problem::Problem;

/// The prefix makes browsers accept it over TLS only, and for the host that set it only.
/// Source: <https://datatracker.ietf.org/doc/html/draft-ietf-httpbis-rfc6265bis#section-4.1.3.2>.
pub const SESSION_COOKIE: &str = "__Host-chorus";

/// Makes session cookies, and checks the origin of requests that use or get one.
#[derive(Debug, Clone)]
pub struct SessionCookies {
    origins: Vec<String>,
    same_site: SameSite,
    /// The scheme of the API's own origin.
    own_scheme: &'static str,
}

impl SessionCookies {
    pub fn configured(http: &HttpSettings, same_site: SameSite) -> Self {
        let cookies = Self::new(http.allowed_origins().map(str::to_owned), same_site);
        cookies.reached_by_tls(http.is_reached_by_tls())
    }

    /// `origins` may call the API; they are spelled as in the `Origin` header. The API itself is reached by TLS, unless
    /// [`reached_by_tls`](Self::reached_by_tls) says otherwise.
    pub fn new(origins: impl IntoIterator<Item = String>, same_site: SameSite) -> Self {
        Self { origins: origins.into_iter().collect(), same_site, own_scheme: "https" }
    }

    /// Whether browsers reach the API by TLS, its own or a proxy's.
    #[must_use]
    pub fn reached_by_tls(self, by_tls: bool) -> Self {
        Self { own_scheme: if by_tls { "https" } else { "http" }, ..self }
    }

    /// The `Set-Cookie` that stores a session.
    pub fn set(
        &self,
        token: &str,
        now: DateTime<Utc>,
        expires: DateTime<Utc>,
    ) -> Result<HeaderValue, Problem> {
        self.set_cookie(token, (expires - now).num_seconds().max(0))
    }

    /// The `Set-Cookie` that removes a session.
    pub fn remove(&self) -> Result<HeaderValue, Problem> {
        self.set_cookie("", 0)
    }

    fn set_cookie(&self, token: &str, seconds: i64) -> Result<HeaderValue, Problem> {
        let same_site = match self.same_site {
            SameSite::Strict => cookie::SameSite::Strict,
            SameSite::Lax => cookie::SameSite::Lax,
            SameSite::None => cookie::SameSite::None,
        };
        let cookie = Cookie::build((SESSION_COOKIE, token))
            .path("/")
            .max_age(time::Duration::seconds(seconds))
            .http_only(true)
            .secure(true)
            .same_site(same_site);
        cookie_header(&cookie.build())
    }

    /// The CSRF check of a state-changing request that is authenticated by the cookie: its page must be allowed.
    ///
    /// # Errors
    /// 403, also without an `Origin`.
    pub fn check_cookie_use(&self, headers: &HeaderMap) -> Result<(), Problem> {
        match headers.get(header::ORIGIN) {
            Some(origin) if self.allows(origin, headers) => Ok(()),
            _ => Err(foreign_origin()),
        }
    }

    /// The CSRF check of a request that sets a cookie: a foreign page must not log a browser in. Clients other than
    /// browsers send no `Origin`.
    ///
    /// # Errors
    /// 403.
    pub fn check_log_in(&self, headers: &HeaderMap) -> Result<(), Problem> {
        match headers.get(header::ORIGIN) {
            Some(origin) if !self.allows(origin, headers) => Err(foreign_origin()),
            _ => Ok(()),
        }
    }

    /// An allowed origin, or the API's own: then the browser names the same host in both headers. A page from plain
    /// HTTP has another origin than an API with TLS: the network may have changed it.
    fn allows(&self, origin: &HeaderValue, headers: &HeaderMap) -> bool {
        let Ok(origin) = origin.to_str() else { return false };
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let is_own = host.is_some_and(|host| origin == format!("{}://{host}", self.own_scheme));
        is_own || self.origins.iter().any(|allowed| allowed == origin)
    }
}

/// The value of `Set-Cookie`.
///
/// # Errors
/// If the cookie has bytes that a header cannot have.
pub(crate) fn cookie_header(cookie: &Cookie<'_>) -> Result<HeaderValue, Problem> {
    let mut value = HeaderValue::try_from(cookie.to_string()).map_err(Problem::internal)?;
    value.set_sensitive(true);
    Ok(value)
}

fn foreign_origin() -> Problem {
    Problem::new(
        http::StatusCode::FORBIDDEN,
        "foreign-origin",
        "A page of this origin may not do this with a browser's session: CHORUS_ALLOWED_ORIGINS names those that may",
    )
}

/// The token in the session cookie, if there is one.
///
/// # Errors
/// 401 if there are several: it is ambiguous.
pub(crate) fn session_cookie(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let cookies = cookies.flat_map(Cookie::split_parse).flatten().filter(|c| c.name() == SESSION_COOKIE);
    let mut tokens = cookies.filter_map(|cookie| cookie.value_raw()).filter(|token| !token.is_empty());
    match (tokens.next(), tokens.next()) {
        (token, None) => Ok(token),
        (_, Some(_)) => Err(Problem::unauthenticated("The session cookie may be given once")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cookies() -> SessionCookies {
        SessionCookies::new(["https://app.example".to_owned()], SameSite::Lax)
    }

    fn headers(pairs: &[(http::HeaderName, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn cookie_is_host_only_and_http_only() {
        let (now, later) = (DateTime::UNIX_EPOCH, DateTime::from_timestamp_secs(60).unwrap());
        let cookie = cookies().set("a.b.c", now, later).unwrap();
        assert_eq!(cookie, "__Host-chorus=a.b.c; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=60");
        assert!(cookie.is_sensitive());
        let gone = cookies().remove().unwrap();
        assert_eq!(gone, "__Host-chorus=; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=0");
    }

    #[test]
    fn cookie_is_found_among_others_and_rejected_if_repeated() {
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
    fn foreign_page_can_neither_use_nor_set_a_cookie() {
        let of = |origin: &str| headers(&[(header::ORIGIN, origin), (header::HOST, "api.example")]);
        for good in ["https://app.example", "https://api.example"] {
            assert!(cookies().check_cookie_use(&of(good)).is_ok(), "{good}");
            assert!(cookies().check_log_in(&of(good)).is_ok(), "{good}");
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
            assert_eq!(cookies().check_cookie_use(&of(foreign)).unwrap_err().status, 403, "{foreign}");
            assert_eq!(cookies().check_log_in(&of(foreign)).unwrap_err().status, 403, "{foreign}");
        }
        let plain = cookies().reached_by_tls(false);
        assert!(plain.check_cookie_use(&of("http://api.example")).is_ok());
        assert_eq!(plain.check_cookie_use(&of("https://api.example")).unwrap_err().status, 403);
        let none = headers(&[(header::HOST, "api.example")]);
        assert_eq!(cookies().check_cookie_use(&none).unwrap_err().status, 403);
        assert!(cookies().check_log_in(&none).is_ok());
    }
}
