module HeapMaster
  # A block of a pool, made by its alloc methods. Every use of a released one raises AlreadyReleased.
  class Block
    # What changes, also in a block that is frozen. It is not live while a call is under way that may end it, so that
    # a signal that breaks in costs the block and nothing else.
    State = Struct.new(:address, :size, :live)
    private_constant :State

    private_class_method :new

    def initialize(pool, address, size) # :nodoc:
      @pool = pool
      @state = State.new(address, size, true)
    end

    def initialize_copy(_) # :nodoc:
      raise TypeError, "a block can't be copied"
    end

    # How many bytes were asked for.
    def size
      @state.size
    end

    # Whether it was not released, nor its pool closed.
    def live?
      @state.live && !@pool.closed?
    end

    def address
      use { @state.address }
    end

    # How many bytes the pool has set aside for it: at least those asked for.
    def usable_size
      use { |handle| Library.hl_usable_size(handle, @state.address) }
    end

    # A copy of its bytes, of all behind offset if no length is given.
    def read(offset = 0, length = nil)
      use { range(offset, length || [size - Library.size(offset), 0].max) { |memory| memory[0, memory.size] } }
    end

    # Copies the bytes of a string into it.
    def write(bytes, offset = 0)
      raise TypeError, "#{bytes.inspect} is not a String" unless bytes.is_a?(String)

      use { range(offset, bytes.bytesize) { |memory| memory[0, memory.size] = bytes } }
      self
    end

    # Makes it hold so many bytes, if need be at another address, with its contents as far as they fit.
    def resize(size)
      use do |handle|
        Library.size(size)
        @state.live = false
        address = Library.hl_resize(handle, @state.address, size)
        @state.address, @state.size = address.to_i, size unless address.null?
        @state.live = true
        Error.unless_pointer(address)
      end
      self
    end

    # Gives it back to its pool. For traps and finalizers see Pool.
    def release
      use do |handle|
        @state.live = false
        status = Library.hl_release(handle, @state.address)
        @state.live = !status.zero?
        Error.unless_succeeded(status)
      end
      nil
    end

    private

    def use
      @pool.use do |handle|
        raise refusal(handle) unless @state.live

        yield handle
      end
    end

    # What the library says about a released block, in general terms if another block lies there by now.
    def refusal(handle)
      # Harmless whatever lies there, which hl_release() is not.
      if Library.hl_usable_size(handle, @state.address).zero?
        error = Error.last
        return error if error.is_a?(AlreadyReleased)
      end
      Error.of(Error::CLASSES.key(AlreadyReleased))
    end

    # Hands the memory of a range to the Ruby block.
    def range(offset, length)
      if Library.size(offset) + Library.size(length) > size
        raise RangeError, "#{length} bytes at #{offset} are not in a block of #{size} bytes"
      end

      yield Fiddle::Pointer.new(@state.address + offset, length)
    end
  end
end
