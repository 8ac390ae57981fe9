//! Proxies: which one a host is reached through, by the rules that most programs share (curl's variables, Go's matching). Pure.

use std::net::IpAddr;

use base64::Engine;
use ipnet::IpNet;

/// What `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY` say.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    pub http: String,
    pub https: String,
    pub no_proxy: String,
}

/// A proxy.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Proxy {
    pub(super) host: String,
    pub(super) port: u16,
    /// The value of `Proxy-Authorization`.
    pub(super) authorization: Option<String>,
}

// Their URLs may carry passwords.
impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Proxy").field("host", &self.host).field("port", &self.port).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Proxies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Proxies").field("no_proxy", &self.no_proxy).finish_non_exhaustive()
    }
}

impl Proxies {
    /// The proxy to a host. Err: what is wrong with the proxy's URL.
    pub(super) fn to(&self, is_https: bool, host: &str, port: u16) -> Result<Option<Proxy>, String> {
        let url = if is_https { &self.https } else { &self.http };
        if url.is_empty() || self.is_excepted(host, port) {
            return Ok(None);
        }
        parse(url).map(Some)
    }

    fn is_excepted(&self, host: &str, port: u16) -> bool {
        let host =
            host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.').to_ascii_lowercase();
        let address: Option<IpAddr> = host.parse().ok();
        if host == "localhost" || address.is_some_and(|address| address.is_loopback()) {
            return true;
        }
        let excepts = |entry: &str| {
            let entry = entry.trim().to_ascii_lowercase();
            if entry == "*" {
                return true;
            }
            if let (Ok(prefix), Some(address)) = (entry.parse::<IpNet>(), address) {
                return prefix.contains(&address);
            }
            let (name, wanted_port) = split_port(&entry);
            if name.is_empty() || wanted_port.is_some_and(|wanted| wanted != port) {
                return false;
            }
            // `.example.org` is what is below it, `example.org` itself too.
            let suffix = name.trim_start_matches("*");
            match suffix.strip_prefix('.') {
                Some(_) => host.ends_with(suffix),
                None => host == suffix || host.ends_with(&format!(".{suffix}")),
            }
        };
        self.no_proxy.split([',', ' ']).any(excepts)
    }
}

fn parse(url: &str) -> Result<Proxy, String> {
    let rest = match url.split_once("://") {
        Some(("http", rest)) => rest,
        Some((scheme, _)) => return Err(format!("proxies with `{scheme}://` are not there yet")),
        None => url,
    };
    let authority = rest.split('/').next().unwrap_or_default();
    let (user, host) = match authority.rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, authority),
    };
    let (host, port) = split_port(host);
    if host.is_empty() {
        return Err("a proxy's URL has no host".into());
    }
    let basic = |user: &str| {
        let text = base64::engine::general_purpose::STANDARD.encode(unescape(user));
        format!("Basic {text}")
    };
    Ok(Proxy { host: host.to_owned(), port: port.unwrap_or(80), authorization: user.map(basic) })
}

/// Host and port; an IPv6 address has brackets.
pub(super) fn split_port(authority: &str) -> (&str, Option<u16>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => match port.parse() {
            Ok(port) => (host, Some(port)),
            Err(_) => (authority, None),
        },
        _ => (authority, None),
    }
}

/// Undoes percent-encoding; what is no encoding stays.
fn unescape(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let code = text.get(at + 1..at + 3).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match (bytes[at], code) {
            (b'%', Some(byte)) => {
                out.push(byte);
                at += 3;
            }
            (byte, _) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exceptions_are_matched_as_everywhere() {
        let no_proxy =
            "internal.example, .lan,10.0.0.0/8, 192.0.2.7, here.example:8443, *.star.example".to_owned();
        let proxies = Proxies { https: "http://proxy:3128".into(), no_proxy, ..Proxies::default() };
        for (host, port, is_proxied) in [
            ("registry.example", 443, true),
            ("internal.example", 443, false),
            ("deep.internal.example", 443, false),
            ("notinternal.example", 443, true),
            ("nas.lan", 443, false),
            ("lan", 443, true),
            ("10.1.2.3", 443, false),
            ("192.0.2.7", 443, false),
            ("192.0.2.8", 443, true),
            ("here.example", 8443, false),
            ("here.example", 443, true),
            ("a.star.example", 443, false),
            ("localhost", 5000, false),
            ("127.0.0.9", 5000, false),
            ("[::1]", 5000, false),
        ] {
            assert_eq!(proxies.to(true, host, port).unwrap().is_some(), is_proxied, "{host}:{port}");
        }
        assert_eq!(proxies.to(false, "registry.example", 80), Ok(None), "there is none for HTTP");
    }

    #[test]
    fn a_proxy_s_url_is_read() {
        let proxy = parse("http://us%40er:pa%3ass@[fd00::1]:3128/").unwrap();
        assert_eq!((proxy.host.as_str(), proxy.port), ("[fd00::1]", 3128));
        let expected = base64::engine::general_purpose::STANDARD.encode("us@er:pa:ss");
        assert_eq!(proxy.authorization, Some(format!("Basic {expected}")));
        assert_eq!(parse("proxy.example").unwrap().port, 80);
        assert!(parse("socks5://x").is_err() && parse("http://").is_err());
        assert!(
            !format!("{:?}", Proxies { http: "http://u:secret@x".into(), ..Proxies::default() })
                .contains("secret")
        );
    }
}
