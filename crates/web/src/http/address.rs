//! The client's address: the peer of the connection, or, behind proxies, an entry of `X-Forwarded-For`. Only as many
//! entries are trusted as there are configured proxies; clients may have made up those before.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use axum::extract::{ConnectInfo, FromRequestParts, Request};
use http::request::Parts;
use http::{HeaderMap, HeaderName};

use crate::problem::Problem;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The client's address; an IPv4 address is never written as IPv6. A handler may take it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientAddress(pub IpAddr);

impl ClientAddress {
    /// Of a request that came through this number of proxies. If they wrote fewer entries, or no address, it is the peer
    /// of the connection: the client has bypassed them, or there are fewer than configured.
    pub(super) fn of(request: &Request, trusted_hops: u8) -> Self {
        let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
        // Without a connection there is none: only in a test.
        let peer = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |ConnectInfo(address)| address.ip());
        let address = match trusted_hops {
            0 => peer,
            hops => forwarded(request.headers(), hops).unwrap_or(peer),
        };
        Self(address.to_canonical())
    }

    /// Addresses that share a rate limit: an IPv4 address, or an IPv6 /64, the least that one customer gets.
    pub(crate) fn rate_limit_key(self) -> IpAddr {
        match self.0 {
            IpAddr::V4(_) => self.0,
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
            }
        }
    }
}

impl fmt::Display for ClientAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<S: Sync> FromRequestParts<S> for ClientAddress {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let missing = || Problem::internal("a route without the layers of web::http");
        parts.extensions.get::<Self>().copied().ok_or_else(missing)
    }
}

/// The entry that the outermost trusted proxy has appended, counted from the end over all lines of the header.
fn forwarded(headers: &HeaderMap, hops: u8) -> Option<IpAddr> {
    let lines = headers.get_all(FORWARDED_FOR).into_iter();
    let mut entries = Vec::new();
    for line in lines {
        // An entry that is not text is not an address, but it counts.
        entries.extend(line.to_str().unwrap_or("?").split(','));
    }
    let place = entries.len().checked_sub(usize::from(hops))?;
    address(entries.get(place)?.trim())
}

/// With or without a port.
fn address(entry: &str) -> Option<IpAddr> {
    let bare = || entry.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let with_port = || entry.parse::<SocketAddr>().ok().map(|address| address.ip());
    entry.parse().ok().or_else(with_port).or_else(bare)
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn seen(hops: u8, lines: &[&str]) -> String {
        let mut request = Request::new(Body::empty());
        request.extensions_mut().insert(ConnectInfo(SocketAddr::from(([10, 0, 0, 9], 4000))));
        for line in lines {
            request.headers_mut().append(FORWARDED_FOR, line.parse().unwrap());
        }
        ClientAddress::of(&request, hops).to_string()
    }

    #[test]
    fn forwarded_for_is_ignored_without_proxies() {
        assert_eq!(seen(0, &["1.1.1.1"]), "10.0.0.9");
        assert_eq!(seen(0, &[]), "10.0.0.9");
    }

    #[test]
    fn each_proxy_adds_one_entry_at_the_end() {
        let invented = ["6.6.6.6, 7.7.7.7", "1.1.1.1 ,2.2.2.2"];
        assert_eq!(seen(1, &invented), "2.2.2.2");
        assert_eq!(seen(2, &invented), "1.1.1.1");
        assert_eq!(seen(3, &invented), "7.7.7.7");
    }

    #[test]
    fn too_few_or_malformed_entries_are_ignored() {
        assert_eq!(seen(2, &["1.1.1.1"]), "10.0.0.9");
        for nonsense in ["", "unknown", "1.1.1.1.1", "1.1.1.1 2.2.2.2", "_hidden", ","] {
            assert_eq!(seen(1, &[nonsense]), "10.0.0.9", "{nonsense}");
        }
    }

    #[test]
    fn ports_brackets_and_mapped_addresses_are_parsed() {
        assert_eq!(seen(1, &["1.1.1.1:8080"]), "1.1.1.1");
        assert_eq!(seen(1, &["[2001:db8::7]:443"]), "2001:db8::7");
        assert_eq!(seen(1, &["[2001:db8::7]"]), "2001:db8::7");
        assert_eq!(seen(1, &["::ffff:1.2.3.4"]), "1.2.3.4");
    }

    #[test]
    fn an_ipv6_network_has_one_rate_limit_key() {
        let of = |text: &str| ClientAddress(text.parse().unwrap()).rate_limit_key();
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::9"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_ne!(of("1.1.1.1"), of("1.1.1.2"));
    }
}
