module HeapMaster
  # A block of a pool, made by its alloc methods. Every use of a released one raises AlreadyReleased.
  class Block
    # How many bytes were asked for.
    attr_reader :size

    def initialize(pool, address, size) # :nodoc:
      @pool = pool
      @address = address
      @size = size
      @live = true
    end

    # Whether it was not released, nor its pool closed.
    def live?
      @live && !@pool.closed?
    end

    def address
      use { @address }
    end

    # How many bytes the pool has set aside for it: at least those asked for.
    def usable_size
      use { |handle| Library.hl_usable_size(handle, @address) }
    end

    # A copy of its bytes, of all behind offset if no length is given.
    def read(offset = 0, length = nil)
      use { range(offset, length || [@size - offset, 0].max) { |memory| memory[0, memory.size] } }
    end

    # Copies the bytes of a string into it.
    def write(bytes, offset = 0)
      use { range(offset, bytes.bytesize) { |memory| memory[0, memory.size] = bytes } }
      self
    end

    # Makes it hold so many bytes, if need be at another address, with its contents as far as they fit.
    def resize(size)
      use do |handle|
        @address = Error.unless_pointer(Library.hl_resize(handle, @address, size)).to_i
        @size = size
      end
      self
    end

    # Gives it back to its pool.
    def release
      use do |handle|
        Error.unless_succeeded(Library.hl_release(handle, @address))
        @live = false
      end
    end

    private

    def use
      @pool.use do |handle|
        raise refusal(handle) unless @live

        yield handle
      end
    end

    # What the library says about a released block, in general terms if another block lies there by now.
    def refusal(handle)
      # Harmless whatever lies there, which hl_release() is not.
      if Library.hl_usable_size(handle, @address).zero?
        error = Error.last
        return error if error.is_a?(AlreadyReleased)
      end
      Error.of(Error::CLASSES.key(AlreadyReleased))
    end

    # Hands the memory of a range to the Ruby block.
    def range(offset, length)
      if offset.negative? || length.negative? || offset + length > @size
        raise RangeError, "#{length} bytes at #{offset} are not in a block of #{@size} bytes"
      end

      yield Fiddle::Pointer.new(@address + offset, length)
    end
  end
end
