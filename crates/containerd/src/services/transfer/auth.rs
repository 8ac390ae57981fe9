//! Credentials, which the client is asked for over a stream of its own: once for each host.

use std::collections::HashMap;
use std::sync::Arc;

use api::any;
use api::types::transfer::{AuthRequest, AuthResponse, AuthType};
use engine::images::{Asker, Credentials};
use tokio::sync::Mutex;

use super::super::streaming::Taken;

struct Asking {
    stream: Taken,
    known: HashMap<String, Option<Credentials>>,
}

/// Asks the client at the other end of `stream`.
pub(super) fn asker(stream: Taken, reference: String) -> Asker {
    let asking = Arc::new(Mutex::new(Asking { stream, known: HashMap::new() }));
    Asker(Arc::new(move |host| {
        let (asking, reference) = (asking.clone(), reference.clone());
        Box::pin(async move {
            let mut asking = asking.lock().await;
            if let Some(known) = asking.known.get(&host) {
                return known.clone();
            }
            let answer = asking.ask(&host, reference).await;
            asking.known.insert(host, answer.clone());
            answer
        })
    }))
}

impl Asking {
    /// None: the client knows none, or is gone.
    async fn ask(&mut self, host: &str, reference: String) -> Option<Credentials> {
        let request = AuthRequest { host: host.to_owned(), reference, wwwauthenticate: Vec::new() };
        self.stream.send(any::pack(&request)).await.ok()?;
        let message = self.stream.receive().await.ok()??;
        let AuthResponse { auth_type, secret, username, .. } = any::unpack(&message)?.ok()?;
        match AuthType::try_from(auth_type) {
            Ok(AuthType::Credentials) => {
                Some(Credentials { username, password: secret, ..Credentials::default() })
            }
            Ok(AuthType::Refresh) => Some(Credentials { identity_token: secret, ..Credentials::default() }),
            _ => None,
        }
    }
}
