//! Forwarding, masquerading and published ports, over nf_tables.
