require "fiddle/import"

module HeapMaster
  # The C ABI by Fiddle.
  module Library # :nodoc:
    extend Fiddle::Importer

    begin
      path = ENV.fetch("HEAPMASTER_LIBRARY", "")
      dlload path.empty? ? "libheapmaster.so.0" : path
    rescue Fiddle::DLError => error
      raise LoadError, "can't load HeapMaster's library, see HEAPMASTER_LIBRARY: #{error.message}"
    end

    typealias "hl_status", "int"

    Config = struct [
      "size_t struct_size",
      "unsigned int flags",
      "size_t limit",
    ]
    POOL_HARDENED = 2

    PoolStatistics = struct [
      "size_t struct_size",
      "size_t heaps",
      "size_t capacity_bytes",
      "size_t metadata_bytes",
      "size_t used_bytes",
      "size_t peak_used_bytes",
      "size_t free_bytes",
      "size_t largest_free_block",
      "size_t live_blocks",
      "size_t live_bytes",
      "unsigned long long allocations",
      "unsigned long long releases",
      "unsigned long long failures",
      "unsigned long long misuses",
      "size_t limit",
    ]

    BlockInfo = struct [
      "size_t struct_size",
      "void *address",
      "size_t size",
      "int state",
    ]
    BLOCK_LIVE = 1

    extern "const char *hl_version()"
    extern "const char *hl_status_name(hl_status)"
    extern "const char *hl_status_message(hl_status)"
    extern "hl_status hl_last_error()"
    extern "const char *hl_last_error_message()"

    extern "void *hl_pool_new_with(void *)"
    extern "hl_status hl_pool_delete(void *)"
    extern "hl_status hl_pool_set_limit(void *, size_t)"
    extern "hl_status hl_pool_stats(void *, void *)"
    extern "hl_status hl_pool_check(void *)"
    extern "hl_status hl_pool_walk(void *, void *, void *)"

    extern "hl_status hl_add_heap(void *, void *, size_t)"
    extern "hl_status hl_add_system_heap(void *, size_t)"

    extern "void *hl_alloc(void *, size_t)"
    extern "void *hl_alloc_zeroed(void *, size_t, size_t)"
    extern "void *hl_alloc_aligned(void *, size_t, size_t)"
    extern "void *hl_resize(void *, void *, size_t)"
    extern "hl_status hl_release(void *, void *)"
    extern "size_t hl_usable_size(void *, void *)"
    # C's bool, of which the other bytes of a register tell nothing.
    extern "char hl_owns(void *, void *)"

    # Refuses a number of bytes of which C would make another.
    def self.size(number)
      raise TypeError, "#{number.inspect} is not an Integer" unless number.is_a?(Integer)
      raise RangeError, "#{number} is not a number of bytes" unless (0...(2**64)).cover?(number)

      number
    end
  end
end
