module HeapMaster
  # What a pool has, and has done. Sizes are in bytes.
  Statistics = Struct.new(*Library::PoolStatistics.members.drop(1).map(&:to_sym))

  # A block as Pool#walk shows it.
  BlockInfo = Struct.new(:address, :size, :live)

  # A set of heaps, out of which blocks are allocated. Any thread may use it. What is never released lives until
  # the pool is closed, at the latest when it is garbage. Every method raises ClosedError once it is closed.
  #
  # A trap or finalizer can't use it, nor its blocks, for Ruby lets neither lock a mutex: ThreadError. Let them hand
  # what is to be released to a thread, by a Queue, or leave it to the pool's close.
  class Pool
    # What changes, also in a pool that is frozen.
    State = Struct.new(:handle, :buffers)
    private_constant :State

    # A pool that is closed at the end of the block, if there is one.
    def self.open(**options)
      pool = new(**options)
      return pool unless block_given?

      begin
        yield pool
      ensure
        pool.close
      end
    end

    # One that is hardened finds what was written beside a block, or after its release. It takes more memory and time
    # for that.
    def initialize(hardened: false)
      config = Library::Config.malloc(Fiddle::RUBY_FREE)
      config.struct_size = Library::Config.size
      config.flags = hardened ? Library::POOL_HARDENED : 0
      config.limit = 0
      @state = State.new(Error.unless_pointer(Library.hl_pool_new_with(config)), [])
      # A pool is closed under it, so that no call of another thread can be inside.
      @mutex = Mutex.new
      # Not the pool's own, which a copy would have as well.
      ObjectSpace.define_finalizer(@state, self.class.send(:deleter, *@state))
    end

    def initialize_copy(_) # :nodoc:
      raise TypeError, "a pool can't be copied"
    end

    # Must not know the state, which it would keep, but has the buffers to the end.
    def self.deleter(handle, buffers)
      proc do
        Thread.handle_interrupt(Object => :never) { Library.hl_pool_delete(handle) }
        buffers.clear
      end
    end
    private_class_method :deleter

    # Ends the pool and its blocks; its heaps are the caller's again. Harmless if it is closed.
    def close
      exclusively do
        next unless (handle = @state.handle)

        # First, for a signal comes between any two lines, and a pool must not be deleted twice.
        ObjectSpace.undefine_finalizer(@state)
        @state.handle = nil
        Error.unless_succeeded(Library.hl_pool_delete(handle))
        @state.buffers.clear
      end
      nil
    end

    def closed?
      @state.handle.nil?
    end

    # Adds the memory of a Fiddle::Pointer that knows its size, and how to free it, as a heap. The pool keeps it.
    def add_heap(buffer)
      raise TypeError, "a heap is a Fiddle::Pointer" unless buffer.is_a?(Fiddle::Pointer)
      # It would be a part of another object, which the pool does not keep.
      unless buffer.free || buffer.null?
        raise ArgumentError, "a heap is memory of its own, such as Fiddle::Pointer.malloc(size, Fiddle::RUBY_FREE)"
      end

      use do |handle|
        # First, for the library has it even if a signal comes before the next line.
        @state.buffers << buffer
        Error.unless_succeeded(Library.hl_add_heap(handle, buffer, buffer.size))
      rescue Error
        @state.buffers.pop
        raise
      end
      self
    end

    # Adds a heap that grows to max_size bytes of the system's memory; 0 stands for all that can be had.
    def add_system_heap(max_size = 0)
      use { |handle| Error.unless_succeeded(Library.hl_add_system_heap(handle, Library.size(max_size))) }
      self
    end

    # Allocates a block, of which the bytes are not defined. It is released at the end of the Ruby block, if
    # there is one.
    def alloc(size, &user)
      new_block(size, user) { |handle| Library.hl_alloc(handle, Library.size(size)) }
    end

    # As alloc, but the bytes are zero.
    def alloc_zeroed(size, &user)
      new_block(size, user) { |handle| Library.hl_alloc_zeroed(handle, 1, Library.size(size)) }
    end

    # As alloc, but the address is a multiple of alignment, a power of two.
    def alloc_aligned(alignment, size, &user)
      new_block(size, user) do |handle|
        Library.hl_alloc_aligned(handle, Library.size(alignment), Library.size(size))
      end
    end

    # Whether an address, an Integer or a Fiddle::Pointer, lies in one of the pool's heaps.
    def owns?(address)
      unless address.is_a?(Integer) || address.is_a?(Fiddle::Pointer)
        raise TypeError, "#{address.inspect} is not an address"
      end

      use { |handle| !Library.hl_owns(handle, address).zero? }
    end

    # Lets the blocks take at most so many bytes of the heaps; 0 lifts the limit.
    def limit=(size)
      use { |handle| Error.unless_succeeded(Library.hl_pool_set_limit(handle, Library.size(size))) }
    end

    # What the pool has now, and has done.
    def statistics
      raw = Library::PoolStatistics.malloc(Fiddle::RUBY_FREE)
      raw.struct_size = Library::PoolStatistics.size
      use { |handle| Error.unless_succeeded(Library.hl_pool_stats(handle, raw)) }
      Statistics.new(*Statistics.members.map { |name| raw.public_send(name) })
    end

    # Raises Corrupted if an invariant of the pool's books does not hold.
    def check
      use { |handle| Error.unless_succeeded(Library.hl_pool_check(handle)) }
    end

    # All blocks, live and free, in the order of their addresses.
    def walk
      blocks = []
      visit = Fiddle::Closure::BlockCaller.new(Fiddle::TYPE_CHAR, [Fiddle::TYPE_VOIDP] * 2) do |pointer, _|
        block = Library::BlockInfo.new(pointer)
        blocks << BlockInfo.new(block.address.to_i, block.size, block.state == Library::BLOCK_LIVE)
        1
      end
      use { |handle| Error.unless_succeeded(Library.hl_pool_walk(handle, visit, nil)) }
      blocks
    end

    # Hands the library's handle to the Ruby block, if the pool is open.
    def use # :nodoc:
      exclusively do
        raise ClosedError unless @state.handle

        yield @state.handle
      end
    end

    private

    # An exception from elsewhere must not come between a call and what is noted about it, nor unwind through the
    # library.
    def exclusively(&user)
      Thread.handle_interrupt(Object => :never) { @mutex.synchronize(&user) }
    end

    def new_block(size, user)
      block = use { |handle| Block.send(:new, self, Error.unless_pointer(yield(handle)).to_i, size) }
      return block unless user

      begin
        user.call(block)
      ensure
        block.release if block.live?
      end
    end
  end
end
