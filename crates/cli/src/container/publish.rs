//! `-p` and `--expose`: ports of a container, and where the host has them.

use api::docker::host_config::PortBinding;

use std::net::IpAddr;

/// A port of the container (`80/tcp`), and where it is published.
pub(crate) type Mapping = (String, PortBinding);

/// Numbers from the first to the last.
type Range = (u16, u16);

/// Reads one `-p`: `[[IP:][HOST]:]CONTAINER[/PROTOCOL]`, the ports perhaps ranges, or the long form
/// `published=HOST,target=CONTAINER[,protocol=PROTOCOL][,mode=host]`.
pub(crate) fn publish(text: &str) -> Result<Vec<Mapping>, String> {
    let short;
    let text = if text.contains('=') {
        short = shorten(text)?;
        &short
    } else {
        text
    };
    let (ip, host, container) = split(text);
    let host_ip = read_address(ip)?;
    let (container, protocol) = split_protocol(container);
    if container.is_empty() {
        return Err(format!("no port specified: {text}<empty>"));
    }
    let ports = range(container).map_err(|_| format!("invalid containerPort: {container}"))?;
    let host_ports = match host {
        "" => None,
        host => Some(range(host).map_err(|_| format!("invalid hostPort: {host}"))?),
    };
    check_protocol(protocol)?;
    let host_port = |offset: u16| match host_ports {
        None => Ok(String::new()),
        // One port of the container may be at any of several of the host.
        Some((first, last)) if ports.0 == ports.1 && first != last => Ok(format!("{first}-{last}")),
        Some((first, last)) if last - first == ports.1 - ports.0 => Ok((first + offset).to_string()),
        Some(_) => {
            Err(format!("invalid ranges specified for container and host Ports: {container} and {host}"))
        }
    };
    let mapping = |port: u16| {
        let binding = PortBinding { host_ip: host_ip.clone(), host_port: host_port(port - ports.0)? };
        Ok((format!("{port}/{}", protocol.to_lowercase()), binding))
    };
    (ports.0..=ports.1).map(mapping).collect()
}

/// Reads one `--expose`: `PORT[-PORT][/PROTOCOL]`.
pub(crate) fn expose(text: &str) -> Result<Vec<String>, String> {
    if text.contains(':') {
        return Err(format!("invalid port format for --expose: {text}"));
    }
    let (ports, protocol) = split_protocol(text);
    let (first, last) = range(ports)
        .map_err(|reason| format!("invalid range format for --expose: {text}, error: {reason}"))?;
    check_protocol(protocol)?;
    Ok((first..=last).map(|port| format!("{port}/{}", protocol.to_lowercase())).collect())
}

/// The long form as the short one.
fn shorten(text: &str) -> Result<String, String> {
    let (mut published, mut target, mut protocol) = ("", "", "tcp");
    for field in text.split(',') {
        let (key, value) = field
            .split_once('=')
            .filter(|(key, _)| !key.is_empty())
            .ok_or_else(|| format!("invalid publish opts format (should be name=value but got '{field}')"))?;
        match key {
            "published" => published = value,
            "target" => target = value,
            "protocol" => protocol = value,
            // The other mode is that of services in a swarm.
            "mode" if value == "host" => {}
            "mode" => return Err(format!("the publish mode '{value}' is not there yet")),
            _ => return Err(format!("invalid publish opts format (unexpected key '{key}')")),
        }
    }
    Ok(format!("{published}:{target}/{protocol}"))
}

/// Address, host ports and container ports; an IPv6 address has colons of its own.
fn split(text: &str) -> (&str, &str, &str) {
    let Some((front, container)) = text.rsplit_once(':') else { return ("", "", text) };
    let (ip, host) = front.rsplit_once(':').unwrap_or(("", front));
    (ip, host, container)
}

fn read_address(text: &str) -> Result<String, String> {
    let bare = text.strip_prefix('[').and_then(|bare| bare.strip_suffix(']'));
    if bare.is_none() && text.contains(':') {
        return Err(format!("invalid IP address {text}: address {text}:: too many colons in address"));
    }
    let address = bare.unwrap_or(text);
    match address.is_empty() || address.parse::<IpAddr>().is_ok() {
        true => Ok(address.to_owned()),
        false => Err(format!("invalid IP address: {address}")),
    }
}

/// `80/udp`; TCP unless it is said.
fn split_protocol(text: &str) -> (&str, &str) {
    match text.split_once('/') {
        Some((port, "")) => (port, "tcp"),
        Some(parts) => parts,
        None => (text, "tcp"),
    }
}

fn check_protocol(protocol: &str) -> Result<(), String> {
    match protocol.to_lowercase().as_str() {
        "tcp" | "udp" | "sctp" => Ok(()),
        _ => Err(format!("invalid proto: {protocol}")),
    }
}

/// `80`, `8000-8010`.
fn range(text: &str) -> Result<Range, String> {
    if text.is_empty() {
        return Err("empty string specified for ports".into());
    }
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (number(first)?, number(last)?);
    match last < first {
        true => Err(format!("invalid range specified for port: {text}")),
        false => Ok((first, last)),
    }
}

/// A number of 16 bits, with the complaints of Go's `strconv`.
pub(crate) fn number(text: &str) -> Result<u16, String> {
    let reason = match text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty() {
        true => "value out of range",
        false => "invalid syntax",
    };
    let parsed = text.parse().ok().filter(|_| reason != "invalid syntax");
    parsed.ok_or_else(|| format!("strconv.ParseUint: parsing {text:?}: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::{expose, publish};
    use proptest::prelude::*;

    /// `80/tcp=IP|PORT`, separated by blanks.
    fn shown(text: &str) -> Result<String, String> {
        let lines = publish(text)?.into_iter();
        let lines = lines.map(|(port, binding)| format!("{port}={}|{}", binding.host_ip, binding.host_port));
        Ok(lines.collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn every_form_of_publishing_is_read() {
        for (text, want) in [
            ("80", "80/tcp=|"),
            ("80/udp", "80/udp=|"),
            ("80/UDP", "80/udp=|"),
            ("8080:80", "80/tcp=|8080"),
            (":80", "80/tcp=|"),
            ("127.0.0.1:8080:80/tcp", "80/tcp=127.0.0.1|8080"),
            ("127.0.0.1::80", "80/tcp=127.0.0.1|"),
            ("[::1]:8080:80", "80/tcp=::1|8080"),
            ("[::]::53/udp", "53/udp=::|"),
            ("80-82", "80/tcp=| 81/tcp=| 82/tcp=|"),
            ("8000-8002:80-82/sctp", "80/sctp=|8000 81/sctp=|8001 82/sctp=|8002"),
            ("8000-8010:80", "80/tcp=|8000-8010"),
            ("8000-8000:80", "80/tcp=|8000"),
            ("1.2.3.4:8000-8001:80-81", "80/tcp=1.2.3.4|8000 81/tcp=1.2.3.4|8001"),
            ("published=8080,target=80", "80/tcp=|8080"),
            ("target=80", "80/tcp=|"),
            ("published=1-2,target=5-6,protocol=udp,mode=host", "5/udp=|1 6/udp=|2"),
            ("0:80", "80/tcp=|0"),
            ("65535:65535", "65535/tcp=|65535"),
        ] {
            assert_eq!(shown(text).as_deref(), Ok(want), "{text}");
        }
    }

    #[test]
    fn wrong_publishing_has_dockers_words() {
        for (text, want) in [
            ("", "no port specified: <empty>"),
            ("80:", "no port specified: 80:<empty>"),
            ("1:x", "invalid containerPort: x"),
            ("1:65536", "invalid containerPort: 65536"),
            ("1:+1", "invalid containerPort: +1"),
            ("x:1", "invalid hostPort: x"),
            ("2-1:1", "invalid hostPort: 2-1"),
            ("1.2.3:80:80", "invalid IP address: 1.2.3"),
            ("localhost:80:80", "invalid IP address: localhost"),
            ("::1:80:80", "invalid IP address ::1: address ::1:: too many colons in address"),
            ("80-81:90-92", "invalid ranges specified for container and host Ports: 90-92 and 80-81"),
            ("80:90-92", "invalid ranges specified for container and host Ports: 90-92 and 80"),
            ("80:80/foo", "invalid proto: foo"),
            ("published=80,target", "invalid publish opts format (should be name=value but got 'target')"),
            ("published=80", "no port specified: 80:/tcp<empty>"),
            ("target=80,mode=ingress", "the publish mode 'ingress' is not there yet"),
            ("target=80,color=red", "invalid publish opts format (unexpected key 'color')"),
        ] {
            assert_eq!(shown(text), Err(want.to_owned()), "{text}");
        }
    }

    #[test]
    fn exposed_ports_may_be_ranges() {
        assert_eq!(expose("80").unwrap(), ["80/tcp"]);
        assert_eq!(expose("53-54/udp").unwrap(), ["53/udp", "54/udp"]);
        for (text, want) in [
            ("a:b", "invalid port format for --expose: a:b"),
            (
                "x",
                "invalid range format for --expose: x, error: strconv.ParseUint: parsing \"x\": invalid syntax",
            ),
            (
                "70000",
                "invalid range format for --expose: 70000, error: strconv.ParseUint: parsing \"70000\": value out of range",
            ),
            ("9-8", "invalid range format for --expose: 9-8, error: invalid range specified for port: 9-8"),
            ("", "invalid range format for --expose: , error: empty string specified for ports"),
            ("80/foo", "invalid proto: foo"),
        ] {
            assert_eq!(expose(text).unwrap_err(), want, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics_the_grammars(text in "\\PC*") {
            let _ = publish(&text);
            let _ = expose(&text);
        }

        #[test]
        fn equal_ranges_are_paired(first in 1u16..65000, host in 1u16..65000, count in 2u16..9) {
            let text = format!("{host}-{}:{first}-{}", host + count - 1, first + count - 1);
            let mappings = publish(&text).unwrap();
            prop_assert_eq!(mappings.len(), usize::from(count));
            for (offset, (port, binding)) in (0..).zip(mappings) {
                prop_assert_eq!(port, format!("{}/tcp", first + offset));
                prop_assert_eq!(binding.host_port, (host + offset).to_string());
            }
        }
    }
}
