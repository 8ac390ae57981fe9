//! What happens at other doors, told to containerd's clients in their terms.
//!
//! | the engine | topics |
//! |---|---|
//! | `create`, `destroy` | `/containers/create`, `/containers/delete` |
//! | `start` | `/tasks/create`, `/tasks/start` |
//! | `die` | `/tasks/exit`, `/tasks/delete` |
//! | `oom`, `pause`, `unpause` | `/tasks/oom`, `/tasks/paused`, `/tasks/resumed` |

use api::events::{
    ContainerCreate, ContainerDelete, TaskCreate, TaskDelete, TaskExit, TaskOom, TaskPaused, TaskResumed,
    TaskStart, container_create::Runtime,
};
use engine::Namespace;
use engine::events::{Event, Kind};
use engine::runtimes;

use crate::door::Door;
use crate::time;

/// Tells, for ever, what happens after this returned.
pub(crate) fn run(door: Door) -> impl Future<Output = ()> {
    let mut events = door.engine().all_events();
    async move {
        loop {
            while let Some(event) = events.next().await {
                // Containers of people who never heard of containerd must not cost them anything.
                if let (Kind::Container, Some(namespace)) = (event.kind, event.namespace.clone())
                    && door.exchange().is_heard()
                {
                    tell(&door, &namespace, &event).await;
                }
            }
            // There was more than we could take; what is now is looked at by whoever wants to know.
            tracing::warn!("events of containers were lost on their way to containerd's clients");
            events = door.engine().all_events();
        }
    }
}

async fn tell(door: &Door, namespace: &Namespace, event: &Event) {
    let (exchange, name, id) = (door.exchange(), namespace.as_str(), || event.id.clone());
    match event.action.as_str() {
        "create" => {
            let image = event.attributes.get("image").cloned().unwrap_or_default();
            let runtime = Some(Runtime { name: runtimes::OWN.into(), options: None });
            exchange.publish(name, "/containers/create", &ContainerCreate { id: id(), image, runtime });
        }
        "destroy" => exchange.publish(name, "/containers/delete", &ContainerDelete { id: id() }),
        "start" => {
            let pid = pid(door, namespace, &event.id).await;
            let task = TaskCreate { container_id: id(), pid, ..TaskCreate::default() };
            exchange.publish(name, "/tasks/create", &task);
            exchange.publish(name, "/tasks/start", &TaskStart { container_id: id(), pid });
        }
        "die" => {
            let code = event.attributes.get("exitCode").and_then(|code| code.parse().ok());
            let (exit_status, exited_at) = (code.unwrap_or_default(), Some(time::timestamp(event.time_ns)));
            let exit =
                TaskExit { container_id: id(), id: id(), exit_status, exited_at, ..TaskExit::default() };
            exchange.publish(name, "/tasks/exit", &exit);
            let gone = TaskDelete { container_id: id(), exit_status, exited_at, ..TaskDelete::default() };
            exchange.publish(name, "/tasks/delete", &gone);
        }
        "oom" => exchange.publish(name, "/tasks/oom", &TaskOom { container_id: id() }),
        "pause" => exchange.publish(name, "/tasks/paused", &TaskPaused { container_id: id() }),
        "unpause" => exchange.publish(name, "/tasks/resumed", &TaskResumed { container_id: id() }),
        _ => {}
    }
}

/// Of the container's first process; 0 if it has ended since.
async fn pid(door: &Door, namespace: &Namespace, id: &str) -> u32 {
    let container = door.engine().within(namespace.clone()).containers().inspect(id).await;
    container.map_or(0, |container| container.state.pid)
}
