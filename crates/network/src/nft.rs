//! The nf_tables protocol: messages, batches, expressions.
