//! Containers that clients of containerd's API made: what can be done to them here, too.

use engine::guests::Guest;
use engine::{Error, Result, Scope};

/// What was done to a container of ours; when `name` is none of them, what is done to the guest of that name.
pub(crate) async fn or_guest<T, F>(
    engine: &Scope,
    name: &str,
    own: Result<T>,
    act: impl FnOnce(Guest) -> F,
) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    match own {
        Err(Error::NoSuchContainer(asked)) => match engine.guests().find(name).await? {
            Some(guest) => act(guest).await,
            None => Err(Error::NoSuchContainer(asked)),
        },
        own => own,
    }
}
