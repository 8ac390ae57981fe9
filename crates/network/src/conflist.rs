//! Networks on disk: CNI conflists.
