//! HeapMaster
#![cfg_attr(not(test), no_std)]
#![allow(missing_docs, dead_code)]
#[cfg(all(feature = "system", not(test)))]
extern crate std;
mod bits;
mod buddy;
mod error;
mod pool;
mod slab;
pub use error::*;
pub use pool::*;
