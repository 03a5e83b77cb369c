require "heapmaster"
require "minitest/autorun"
require "open3"
require "rbconfig"

KIB = 1024

def new_buffer(size = 64 * KIB)
  Fiddle::Pointer.malloc(size, Fiddle::RUBY_FREE)
end

# A pool over 64 KiB, which is checked and closed at the end of the test.
class PoolTest < Minitest::Test
  def setup
    @buffer = new_buffer
    @pool = HeapMaster::Pool.open.add_heap(@buffer)
  end

  def teardown
    @pool.check unless @pool.closed?
    @pool.close
  end
end

# What is written here by hand is what the library has.
class AbiTest < PoolTest
  Library = HeapMaster::Library

  def test_each_status_has_its_class
    classes = HeapMaster::Error::CLASSES
    assert_same HeapMaster::AlreadyReleased, classes[14]
    unknown = Library.hl_status_message(-1).to_s
    (1..classes.size).each do |status|
      name = "HL_ERR_#{classes[status].name.delete_prefix('HeapMaster::').gsub(/(?<=[a-z])(?=[A-Z])/, '_').upcase}"
      assert_equal name, Library.hl_status_name(status).to_s
      error = HeapMaster::Error.of(status)
      assert_equal [classes[status], status, name], [error.class, error.status, error.name]
      refute_equal unknown, error.message
    end
    assert_equal "HL_ERR_UNKNOWN", Library.hl_status_name(classes.size + 1).to_s
    assert_instance_of HeapMaster::Error, HeapMaster::Error.of(classes.size + 1)
  end

  def test_statistics_are_as_large_as_the_librarys
    # The library fills in as much as it knows of a struct that is larger.
    memory = new_buffer(1024)
    memory[0, 1024] = "\xaa".b * 1024
    Library::PoolStatistics.new(memory).struct_size = 1024
    @pool.use { |handle| assert_equal 0, Library.hl_pool_stats(handle, memory) }
    assert_equal Library::PoolStatistics.size, memory[0, 1024].sub(/\xaa+\z/n, "").bytesize
  end

  def test_a_walked_block_is_as_large_as_the_librarys
    sizes = []
    visit = Fiddle::Closure::BlockCaller.new(Fiddle::TYPE_CHAR, [Fiddle::TYPE_VOIDP] * 2) do |pointer, _|
      sizes << Library::BlockInfo.new(pointer).struct_size
      1
    end
    @pool.use { |handle| assert_equal 0, Library.hl_pool_walk(handle, visit, nil) }
    assert_equal [Library::BlockInfo.size], sizes.uniq
  end

  def test_the_version_is_the_librarys
    assert_match(/\A\d+\.\d+\.\d+\z/, HeapMaster.version)
  end

  def test_a_library_that_is_not_there_is_named
    environment = { "HEAPMASTER_LIBRARY" => "/nowhere/libheapmaster.so" }
    library = File.expand_path("../lib", __dir__)
    output, status = Open3.capture2e(environment, RbConfig.ruby, "-I", library, "-r", "heapmaster", "-e", "1")
    refute_predicate status, :success?
    assert_match %r{see HEAPMASTER_LIBRARY: /nowhere/libheapmaster\.so}, output
  end
end

class BlockTest < PoolTest
  def test_data_lie_in_the_buffer_and_survive_a_resize
    block = @pool.alloc(11)
    block.write("hello ").write("world", 6)
    assert_includes @buffer[0, @buffer.size], "hello world"
    @pool.alloc(11)
    block.resize(5000)
    assert_equal "hello world", block.read(0, 11)
    assert_equal 5000, block.read.bytesize
  end

  def test_zeroed_blocks_are_zero
    @pool.alloc(3000) { |dirty| dirty.write("\xff" * 3000) }
    assert_equal "\0" * 3000, @pool.alloc_zeroed(3000).read
  end

  def test_aligned_blocks_are_aligned
    assert_equal 0, @pool.alloc_aligned(4096, 10).address % 4096
    error = assert_raises(HeapMaster::BadAlignment) { @pool.alloc_aligned(48, 10) }
    assert_equal "bad alignment: 48 is not a power of two", error.message
  end

  def test_a_ruby_block_has_a_block_that_is_released_at_its_end
    block = @pool.alloc(100) { |lent| lent.tap { assert_predicate lent, :live? } }
    refute_predicate block, :live?
    @pool.alloc(100, &:release)
    assert_equal 0, @pool.statistics.live_blocks
  end

  def test_reading_and_writing_end_at_the_end_of_the_block
    block = @pool.alloc(10)
    assert_raises(RangeError) { block.read(5, 6) }
    assert_raises(RangeError) { block.read(11) }
    assert_raises(RangeError) { block.read(-1, 1) }
    assert_raises(RangeError) { block.write("12345678901") }
    assert_raises(RangeError) { block.write("1", 10) }
  end

  def test_sizes_that_nothing_can_have_are_refused
    assert_raises(HeapMaster::SizeOverflow) { @pool.alloc(2**63) }
    block = @pool.alloc(10)
    uses = [
      ->(size) { @pool.alloc(size) }, ->(size) { @pool.alloc_aligned(size, 8) }, ->(size) { block.resize(size) },
      ->(size) { block.read(size) }, ->(size) { block.write("", size) }, ->(size) { @pool.add_system_heap(size) },
      ->(size) { @pool.limit = size },
    ]
    uses.each do |use|
      [-1, (2**64) + 8].each do |size|
        assert_equal "#{size} is not a number of bytes", assert_raises(RangeError) { use.call(size) }.message
      end
      [1.9, 3r, "8", nil].each do |size|
        assert_equal "#{size.inspect} is not an Integer", assert_raises(TypeError) { use.call(size) }.message
      end
    end
    assert_predicate block, :live?
    assert_equal 0, @pool.statistics.limit
  end

  def test_only_strings_are_written
    [nil, 5, :abc].each do |value|
      error = assert_raises(TypeError) { @pool.alloc(10).write(value) }
      assert_equal "#{value.inspect} is not a String", error.message
    end
  end

  def test_a_block_that_is_not_resized_stays_as_it_is
    block = @pool.alloc(10).write("stays here")
    assert_raises(HeapMaster::OutOfMemory) { block.resize(1 << 20) }
    assert_equal "stays here", block.read
  end

  def test_usable_size_holds_what_was_asked_for
    assert_operator @pool.alloc(1000).usable_size, :>=, 1000
  end

  def test_addresses_of_blocks_are_the_pools
    assert @pool.owns?(@pool.alloc(1).address)
    refute @pool.owns?(16)
    assert @pool.owns?(@buffer + 100)
    ["x", nil, 1.5].each { |value| assert_raises(TypeError) { @pool.owns?(value) } }
  end

  def test_blocks_are_the_pools_alone_to_make_and_to_copy
    block = @pool.alloc(10)
    assert_raises(NoMethodError) { HeapMaster::Block.new(@pool, block.address, 10) }
    [:dup, :clone].each { |copy| assert_raises(TypeError, &block.method(copy)) }
  end

  def test_frozen_blocks_are_released_once
    block = @pool.alloc(10).freeze
    assert_equal 5000, block.resize(5000).size
    assert_nil block.release
    refute_predicate block, :live?
    assert_raises(HeapMaster::AlreadyReleased) { block.release }
  end
end

class MisuseTest < PoolTest
  def test_a_byte_behind_a_block_is_found_if_the_pool_is_hardened
    [false, true].each do |hardened|
      HeapMaster::Pool.open(hardened: hardened) do |pool|
        buffer = new_buffer
        block = pool.add_heap(buffer).alloc(11)
        block.write("hello world")
        buffer[buffer[0, buffer.size].index("hello world".b) + 11] = "!".ord
        next block.release unless hardened

        error = assert_raises(HeapMaster::Overrun) { block.release }
        assert_match(/\Aoverrun: byte 0 /, error.message)
      end
    end
  end

  def test_a_second_release_is_refused_in_the_librarys_words
    block = @pool.alloc(100)
    block.release
    error = assert_raises(HeapMaster::AlreadyReleased) { block.release }
    assert_equal "HL_ERR_ALREADY_RELEASED", error.name
    assert_match(/\Aalready released: 0x\h+ /, error.message)
    assert_equal 1, @pool.statistics.misuses
  end

  def test_a_second_release_spares_the_block_that_lies_there_now
    stale = @pool.alloc(100)
    address = stale.address
    stale.release
    block = @pool.alloc(100)
    assert_equal address, block.address
    error = assert_raises(HeapMaster::AlreadyReleased) { stale.release }
    assert_match(/released already/, error.message)
    assert_predicate block, :live?
    assert_equal 1, @pool.statistics.live_blocks
  end

  def test_released_blocks_are_of_no_use
    block = @pool.alloc(100)
    block.release
    [
      -> { block.address }, -> { block.usable_size }, -> { block.read }, -> { block.write("x") },
      -> { block.resize(10) },
    ].each { |use| assert_raises(HeapMaster::AlreadyReleased, &use) }
  end
end

class HeapTest < PoolTest
  def test_a_full_pool_and_a_limit_are_told_apart
    error = assert_raises(HeapMaster::OutOfMemory) { @pool.alloc(1 << 20) }
    assert_match(/room for 1048576 bytes/, error.message)
    @pool.limit = 4096
    assert_raises(HeapMaster::LimitReached) { @pool.alloc(5000) }
    @pool.limit = 0
    @pool.alloc(5000)
  end

  def test_a_pool_of_the_system_serves_large_blocks
    @pool.add_system_heap(64 << 20)
    block = @pool.alloc(8 << 20).write("end", (8 << 20) - 3)
    assert_equal "end", block.read(block.size - 3)
  end

  def test_what_can_be_no_heap_is_refused
    assert_raises(HeapMaster::HeapOverlaps) { @pool.add_heap(@buffer) }
    assert_raises(HeapMaster::HeapTooSmall) { @pool.add_heap(new_buffer(16)) }
    assert_raises(HeapMaster::HeapNull) { @pool.add_heap(Fiddle::NULL) }
    assert_raises(TypeError) { @pool.add_heap("text") }
    assert_equal 1, @pool.statistics.heaps
  end

  def test_a_part_of_other_memory_can_be_no_heap
    text = "x" * 64 * KIB
    [new_buffer + 64, Fiddle::Pointer[text]].each do |part|
      error = assert_raises(ArgumentError) { @pool.add_heap(part) }
      assert_match(/memory of its own/, error.message)
    end
  end

  def test_buffers_live_as_long_as_their_pools_which_are_collected
    100.times do
      pool = HeapMaster::Pool.open.add_heap(new_buffer)
      block = pool.alloc(1000)
      GC.start
      assert_equal "here", block.write("here").read(0, 4)
    end
    GC.start
    assert_operator ObjectSpace.each_object(HeapMaster::Pool).count, :<, 50
  end
end

class CloseTest < PoolTest
  def test_a_closed_pool_refuses_everything_but_another_close
    block = @pool.alloc(100)
    2.times { assert_nil @pool.close }
    assert_predicate @pool, :closed?
    refute_predicate block, :live?
    [
      -> { @pool.alloc(1) }, -> { @pool.statistics }, -> { @pool.check }, -> { @pool.walk },
      -> { @pool.add_heap(@buffer) }, -> { @pool.limit = 1 }, -> { block.release }, -> { block.read },
    ].each { |use| assert_raises(HeapMaster::ClosedError, &use) }
  end

  def test_frozen_pools_are_closed_once
    pool = HeapMaster::Pool.open.add_heap(new_buffer).freeze
    2.times { pool.close }
    assert_predicate pool, :closed?
    assert_raises(HeapMaster::ClosedError) { pool.alloc(1) }
  end

  def test_a_refused_copy_leaves_its_pool_open
    100.times { [:dup, :clone].each { |copy| assert_raises(TypeError, &@pool.method(copy)) } }
    GC.start
    assert_equal "here", @pool.alloc(4).write("here").read
  end

  def test_an_exception_from_elsewhere_waits_for_the_end_of_a_call
    reached = Queue.new
    thread = Thread.new do
      @pool.use do |_|
        reached << nil
        sleep 0.05
        reached << :end
      end
    rescue Interrupt
      nil
    end
    reached.pop
    thread.raise(Interrupt)
    thread.join
    assert_equal :end, reached.pop(true)
  end

  def test_threads_that_use_a_pool_see_it_close
    threads = Array.new(4) do
      Thread.new { assert_raises(HeapMaster::ClosedError) { loop { @pool.alloc(64).release } } }
    end
    @pool.close
    threads.each(&:join)
  end
end

class InsightTest < PoolTest
  def test_each_statistic_counts_what_its_name_says
    @pool.add_system_heap(1 << 20)
    blocks = [100, 1000, 2000, 3000, 4000, 5000].map { |size| @pool.alloc(size) }
    blocks.first(2).each(&:release)
    3.times { assert_raises(HeapMaster::AlreadyReleased) { blocks[0].release } }
    assert_raises(HeapMaster::OutOfMemory) { @pool.alloc(1 << 30) }
    @pool.limit = 1 << 19

    now = @pool.statistics
    assert_equal 2, now.heaps
    assert_equal 4, now.live_blocks
    assert_equal blocks.drop(2).sum(&:usable_size), now.live_bytes
    assert_equal 6, now.allocations
    assert_equal 2, now.releases
    assert_equal 3, now.misuses
    assert_equal 1, now.failures
    assert_equal 1 << 19, now.limit
    assert_equal now.used_bytes + now.free_bytes, now.capacity_bytes
    assert_operator now.peak_used_bytes, :>, now.used_bytes
    assert_operator now.used_bytes, :>, 14_000
    assert_operator now.free_bytes, :>, now.largest_free_block
    assert_operator now.largest_free_block, :>, now.used_bytes
    assert_includes 1...now.capacity_bytes, now.metadata_bytes
  end

  def test_a_walk_shows_live_blocks_in_the_order_of_their_addresses
    blocks = [10, 200, 3000].map { |size| @pool.alloc(size) }
    walked = @pool.walk
    assert_equal blocks.map(&:address).sort, walked.select(&:live).map(&:address)
    assert_equal @pool.statistics.capacity_bytes, walked.sum(&:size)
  end
end
