//! Addresses: the files of CNI's host-local plugin.
