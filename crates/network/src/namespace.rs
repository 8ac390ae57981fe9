//! Network namespaces, and sockets in them.
