//! "Read your files again": one file per consumer. Knows no certificates, and promises nothing: whether the files
//! were taken only a handshake tells.

pub mod postgres;
