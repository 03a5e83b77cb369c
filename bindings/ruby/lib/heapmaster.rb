# HeapMaster: blocks of memory out of buffers that you hand in.
#
#   HeapMaster::Pool.open do |pool|
#     pool.add_heap(Fiddle::Pointer.malloc(64 * 1024, Fiddle::RUBY_FREE))
#     pool.alloc(5) { |block| block.write("bytes") }
#   end
#
# The shared library is the one that the environment variable HEAPMASTER_LIBRARY names, else the one that the
# system's loader finds as libheapmaster.so.0.
module HeapMaster
  # The use of a pool that is closed.
  class ClosedError < StandardError
    def initialize(message = "the pool is closed")
      super
    end
  end

  # The library's version, such as "1.2.3".
  def self.version
    Library.hl_version.to_s
  end
end

require_relative "heapmaster/library"
require_relative "heapmaster/error"
require_relative "heapmaster/pool"
require_relative "heapmaster/block"
