//! The same calls, wrong ones among them, to a containerd of Debian sid and to Corten: codes, messages and events are the same, but
//! for what `docs/compat.md` lists below "A conversation", each with its reason.
// What is said is a list, however long.
#![allow(clippy::too_many_lines)]

#[path = "conversation/content.rs"]
mod content;
#[path = "conversation/records.rs"]
mod records;
#[path = "conversation/services.rs"]
mod services;
#[path = "conversation/talk.rs"]
mod talk;
#[path = "conversation/tasks.rs"]
mod tasks;

use talk::Talk;

#[test]
fn corten_answers_as_containerd_does() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut talk = Talk::begin(&runtime);
    runtime.block_on(async {
        // Before anything is deleted: then containerd collects garbage at a time of its own.
        content::content(&mut talk).await;
        content::snapshots(&mut talk).await;
        records::namespaces(&mut talk).await;
        records::leases(&mut talk).await;
        records::containers(&mut talk).await;
        records::images(&mut talk).await;
        records::sandboxes(&mut talk).await;
        services::introspection(&mut talk).await;
        services::diff(&mut talk).await;
        services::streaming(&mut talk).await;
        services::transfer(&mut talk).await;
        services::controller(&mut talk).await;
        services::sizes(&mut talk).await;
        tasks::tasks(&mut talk).await;
        tasks::events(&mut talk).await;
    });
    let differences = talk.end(&runtime);
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}
