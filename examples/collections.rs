//! Collections whose elements lie in a pool; when it is full, they say so and go on.
//!
//! `cargo run --example collections --features allocator-api2`

use allocator_api2::boxed::Box;
use allocator_api2::vec::Vec;
use hashbrown::{DefaultHashBuilder, HashMap};
use heapmaster::{Error, Pool};

fn main() -> Result<(), Error> {
    let mut memory = std::vec::Vec::with_capacity(64 * 1024);
    let pool = Pool::new();
    pool.add_heap(memory.spare_capacity_mut())?;

    let mut squares = HashMap::with_hasher_in(DefaultHashBuilder::default(), &pool);
    squares.extend((0..100u64).map(|number| (number, Box::new_in(number * number, &pool))));
    println!("12 times 12 is {}", squares[&12]);

    let mut numbers = Vec::new_in(&pool);
    while numbers.try_reserve(1).is_ok() {
        numbers.push(numbers.len());
    }
    println!("there was room for {} numbers beside the squares", numbers.len());

    drop(squares);
    numbers.shrink_to_fit();
    println!("{:#?}", pool.stats());
    Ok(())
}
