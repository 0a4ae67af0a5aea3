//! Rows I and C: what is refused before anything is written, and why; PEM as OpenSSL reads it.

mod identity;
mod offers;
mod pem;
mod secrecy;
mod time;
mod trust;
