//! `libheapmaster.so` and `libheapmaster.a`: the C ABI of the package `heapmaster`, and nothing else. They contain
//! neither std nor an unwinder, and need no library but libc.

#![no_std]

heapmaster::in_place_of_std!();
