//! Where a request comes from: the other end of the connection, or, behind proxies, what those say of it. No more of
//! `X-Forwarded-For` is believed than the configured number of proxies has written; what stands before, anybody may
//! have made up.

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
    /// Of a request that has come over so many proxies. Where they have said too little, or nothing that is an address,
    /// it is the other end of the connection: somebody has come around them, or they are fewer than configured.
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

    /// Those who share a limit: of IPv6 a whole /64, since that is the least a customer gets.
    pub(crate) fn neighbourhood(self) -> IpAddr {
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

/// The entry that the outermost of so many proxies has appended, counted from the end over all lines of the header.
fn forwarded(headers: &HeaderMap, hops: u8) -> Option<IpAddr> {
    let lines = headers.get_all(FORWARDED_FOR).into_iter();
    let mut entries = Vec::new();
    for line in lines {
        // An entry that is no text is none to be believed, but it counts.
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
    fn nothing_is_believed_without_proxies() {
        assert_eq!(seen(0, &["1.1.1.1"]), "10.0.0.9");
        assert_eq!(seen(0, &[]), "10.0.0.9");
    }

    #[test]
    fn each_proxy_accounts_for_one_entry_from_the_end() {
        let invented = ["6.6.6.6, 7.7.7.7", "1.1.1.1 ,2.2.2.2"];
        assert_eq!(seen(1, &invented), "2.2.2.2");
        assert_eq!(seen(2, &invented), "1.1.1.1");
        assert_eq!(seen(3, &invented), "7.7.7.7");
    }

    #[test]
    fn what_says_too_little_is_not_believed() {
        assert_eq!(seen(2, &["1.1.1.1"]), "10.0.0.9");
        for nonsense in ["", "unknown", "1.1.1.1.1", "1.1.1.1 2.2.2.2", "_hidden", ","] {
            assert_eq!(seen(1, &[nonsense]), "10.0.0.9", "{nonsense}");
        }
    }

    #[test]
    fn ports_brackets_and_mapped_addresses_are_read() {
        assert_eq!(seen(1, &["1.1.1.1:8080"]), "1.1.1.1");
        assert_eq!(seen(1, &["[2001:db8::7]:443"]), "2001:db8::7");
        assert_eq!(seen(1, &["[2001:db8::7]"]), "2001:db8::7");
        assert_eq!(seen(1, &["::ffff:1.2.3.4"]), "1.2.3.4");
    }

    #[test]
    fn the_addresses_of_one_customer_are_one() {
        let of = |text: &str| ClientAddress(text.parse().unwrap()).neighbourhood();
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::9"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_ne!(of("1.1.1.1"), of("1.1.1.2"));
    }
}
