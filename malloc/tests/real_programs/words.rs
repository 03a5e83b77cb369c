//! Threads count words in maps of their own; the maps meet in the main thread.

use std::collections::HashMap;
use std::thread;

fn count(first: usize) -> HashMap<String, usize> {
    let mut counts = HashMap::new();
    for number in first..first + 100_000 {
        *counts.entry(format!("word {}", number % 1000)).or_default() += 1;
    }
    counts
}

fn main() {
    let threads: Vec<_> = (0..4).map(|index| thread::spawn(move || count(index * 12_345))).collect();
    let mut total = HashMap::new();
    for counts in threads.into_iter().map(|thread| thread.join().unwrap()) {
        for (word, count) in counts {
            *total.entry(word).or_insert(0) += count;
        }
    }
    println!("{} {}", total.len(), total.values().sum::<usize>());
}
