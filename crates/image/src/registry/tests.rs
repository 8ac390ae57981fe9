//! The client against hosts that mean ill, on loopback.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use hyper::Method;
use oci::reference::Reference;

use super::client::{Ask, Registry, Source, nothing};
use super::hosts::Right;
use super::{Access, Config, Credentials, Failure};

/// A host that answers each request by `script`; the requests' heads are kept.
struct Peer {
    authority: String,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Peer {
    fn start(script: impl Fn(&str) -> String + Send + 'static) -> Peer {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let authority = listener.local_addr().unwrap().to_string();
        let heads = Arc::<Mutex<Vec<String>>>::default();
        let seen = heads.clone();
        thread::spawn(move || {
            for mut client in listener.incoming().flatten() {
                let Some(head) = read_head(&mut client) else { continue };
                let answer = script(&head);
                seen.lock().unwrap().push(head);
                drop(client.write_all(answer.as_bytes()));
            }
        });
        Peer { authority, heads }
    }

    fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }

    fn source(&self, password: &str) -> Source {
        let credentials =
            Credentials { username: "anna".into(), password: password.into(), ..Credentials::default() };
        Source {
            name: Reference::parse_normalized(&format!("{}/a/b:1", self.authority)).unwrap(),
            access: Access { credentials: Some(credentials), proxies: None, ..Access::default() },
            scope: "pull",
        }
    }
}

/// None: it is the beginning of TLS, which is not spoken here.
fn read_head(client: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
        if head[0] == 0x16 {
            return None;
        }
    }
    String::from_utf8(head).ok()
}

fn answer(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}")
}

async fn get(registry: &Registry, source: &Source) -> Result<(), Failure> {
    let endpoint = registry.round(source, Right::Pull).next().expect("an endpoint");
    let ask = Ask { method: Method::GET, path: "/a/b/x".into(), headers: Vec::new(), body: &nothing };
    registry.send(&endpoint, source, &ask).await.map(drop)
}

#[tokio::test]
async fn another_password_does_not_get_the_token_of_the_right_one() {
    let right = "Basic YW5uYTpyaWdodA==";
    let peer = Peer::start(move |head| match head.to_lowercase().contains(&right.to_lowercase()) {
        true => answer("200 OK", "", "x"),
        false => answer("401 Unauthorized", "WWW-Authenticate: Basic realm=\"x\"\r\n", ""),
    });
    let registry = Registry::new(Config::default());
    assert_eq!(get(&registry, &peer.source("right")).await, Ok(()));
    let refused = Err(Failure::Unauthorized { with_credentials: true });
    assert_eq!(get(&registry, &peer.source("wrong")).await, refused);
    assert_eq!(get(&registry, &peer.source("right")).await, Ok(()));
}

#[tokio::test]
async fn a_host_that_a_registry_leads_to_is_not_told_who_asks() {
    let thief = Peer::start(|_| answer("401 Unauthorized", "WWW-Authenticate: Basic realm=\"x\"\r\n", ""));
    let place = format!("Location: http://{}/x\r\n", thief.authority);
    let peer = Peer::start(move |_| answer("307 Temporary Redirect", &place, ""));
    let registry = Registry::new(Config::default());
    let failure = get(&registry, &peer.source("secret")).await.unwrap_err();
    assert!(matches!(failure, Failure::Status { status: 401, .. }), "{failure}");
    let tells = |peer: &Peer| peer.heads().iter().any(|head| head.to_lowercase().contains("authorization"));
    assert!(!thief.heads().is_empty() && !tells(&thief) && !tells(&peer));
}

#[tokio::test]
async fn what_must_be_tls_is_not_spoken_without_it_because_somebody_did() {
    let peer = Peer::start(|_| answer("200 OK", "", "x"));
    let registry = Registry::new(Config::default());
    assert_eq!(get(&registry, &peer.source("x")).await, Ok(()));
    let mut strict = registry.round(&peer.source("x"), Right::Pull).next().unwrap();
    strict.scheme = super::hosts::Scheme::Https;
    let ask = Ask { method: Method::GET, path: "/a/b/x".into(), headers: Vec::new(), body: &nothing };
    let failure = registry.send(&strict, &peer.source("x"), &ask).await.unwrap_err();
    assert!(matches!(failure, Failure::Connect(_)), "{failure}");
    assert_eq!(peer.heads().len(), 1);
}

#[tokio::test]
async fn a_verified_registry_cannot_lead_away_from_tls() {
    let peer = Peer::start(|_| answer("200 OK", "", "x"));
    let registry = Registry::new(Config::default());
    let mut strict = registry.round(&peer.source("x"), Right::Pull).next().unwrap();
    (strict.scheme, strict.tls.skip_verify) = (super::hosts::Scheme::Https, false);
    let path = format!("http://{}/upload", peer.authority);
    let ask = Ask { method: Method::PUT, path, headers: Vec::new(), body: &nothing };
    let failure = registry.send(&strict, &peer.source("x"), &ask).await.unwrap_err();
    assert!(failure.to_string().contains("without TLS"), "{failure}");
    let realm = format!("http://{}/token", peer.authority);
    let token = registry.token(&strict, &peer.source("x"), (&realm, "s", "x"), None).await;
    assert!(token.unwrap_err().to_string().contains("without TLS"));
    assert!(peer.heads().is_empty());
}

#[test]
fn nothing_that_is_shown_is_a_secret() {
    let registry = Registry::new(Config::default());
    let peer = Source {
        name: Reference::parse_normalized("127.0.0.1:1/a").unwrap(),
        access: Access::default(),
        scope: "pull",
    };
    let mut endpoint = registry.round(&peer, Right::Pull).next().unwrap();
    endpoint.headers.push(("X-Key".into(), "a secret".into()));
    let proxies = super::Proxies { https: "http://anna:secret@127.0.0.1:3".into(), ..Default::default() };
    let proxy = proxies.to(true, "192.0.2.1", 443).unwrap().unwrap();
    assert!(proxy.authorization.is_some());
    for shown in [format!("{endpoint:?}"), format!("{proxy:?}"), format!("{registry:?}")] {
        assert!(!shown.contains("secret") && !shown.contains("YW5uYTpz"), "{shown}");
    }
}

#[test]
fn credentials_that_differ_in_anything_are_others() {
    let of = |username: &str, password: &str, token: &str| {
        let credentials = Credentials {
            username: username.into(),
            password: password.into(),
            identity_token: token.into(),
            registry_token: String::new(),
        };
        credentials.digest()
    };
    let all = [of("a", "b", ""), of("a", "c", ""), of("a", "", "b"), of("ab", "", ""), of("", "", "")];
    for (at, one) in all.iter().enumerate() {
        assert!(all[at + 1..].iter().all(|other| other != one));
    }
}
