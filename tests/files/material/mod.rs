//! Rows I and C: what is refused before anything is written, and why; PEM as OpenSSL reads it.

mod agreement;
mod algorithms;
mod constrained;
mod costly;
mod disagreements;
mod drawn;
mod forged;
mod hierarchy;
mod identity;
mod in_place;
mod loadable;
mod many;
mod mutation;
mod offers;
mod openssl;
mod pem;
mod samples;
mod secrecy;
mod time;
mod trust;
mod usages;
