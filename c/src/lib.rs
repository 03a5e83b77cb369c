//! `libheapmaster.so` and `libheapmaster.a`: the C ABI of the package `heapmaster`, and nothing else.

#![no_std]

extern crate heapmaster as _;
