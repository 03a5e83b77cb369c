# A pool over memory of Ruby's: see README.md for how to run it.

require "heapmaster"

buffer = Fiddle::Pointer.malloc(64 * 1024, Fiddle::RUBY_FREE)
HeapMaster::Pool.open do |pool|
  pool.add_heap(buffer)

  greeting = pool.alloc(100)
  greeting.write("hello")
  zeros = pool.alloc_zeroed(1000)
  puts "read back: #{greeting.read(0, 5)}"
  puts "in the buffer: #{buffer[0, buffer.size].include?('hello') ? 'yes' : 'no'}"
  puts "sum of the zeroed bytes: #{zeros.read.sum}"

  zeros.release
  begin
    zeros.release
  rescue HeapMaster::AlreadyReleased => error
    puts "second release: #{error.name}: #{error.message}"
  end

  statistics = pool.statistics
  puts "heaps: #{statistics.heaps}"
  puts "live blocks: #{statistics.live_blocks}"
  puts "allocations: #{statistics.allocations}"
  puts "releases: #{statistics.releases}"
  puts "misuses: #{statistics.misuses}"

  greeting.resize(5000)
  puts "after a resize to 5000: #{greeting.read(0, 5)}"
  pool.check
end
