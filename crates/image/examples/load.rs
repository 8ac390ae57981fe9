//! Loads an archive from standard input into a store: `load ROOT WORKER [MARK …]`. For tests that kill it.

use std::error::Error;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;

use image::{Images, WorkerCommand};
use store::Store;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let root = arguments.next().ok_or("the first argument is the store's root")?;
    let worker = arguments.next().ok_or("the second argument is the worker")?;
    let store = Arc::new(Store::open(Path::new(&root))?);
    let marks = arguments.map(Into::into).collect();
    let images =
        Images::new(store, WorkerCommand { program: worker.into(), arguments: marks }, Default::default())?;
    images.load("default", std::io::stdin().as_fd().try_clone_to_owned()?, &mut |_| {})?;
    Ok(())
}
