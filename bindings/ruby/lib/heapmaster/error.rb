module HeapMaster
  # A call that the library refused. Each status has a class of its own: that of HL_ERR_OUT_OF_MEMORY is
  # HeapMaster::OutOfMemory.
  class Error < StandardError
    # The status's number.
    attr_reader :status
    # The status's name, such as "HL_ERR_OUT_OF_MEMORY".
    attr_reader :name

    # The error for a status, with the library's general message if there is no better one.
    def self.of(status, message = Library.hl_status_message(status).to_s)
      CLASSES.fetch(status, self).new(status, message)
    end

    # Why the last call of this thread failed.
    def self.last
      of(Library.hl_last_error, Library.hl_last_error_message.to_s)
    end

    def self.unless_succeeded(status)
      raise last unless status.zero?
    end

    def self.unless_pointer(pointer)
      raise last if pointer.null?

      pointer
    end

    def initialize(status, message)
      super(message)
      @status = status
      @name = Library.hl_status_name(status).to_s
    end
  end

  statuses = (1..).lazy.map { |status| [status, Library.hl_status_name(status).to_s] }
  statuses = statuses.take_while { |_, name| name != "HL_ERR_UNKNOWN" }
  Error::CLASSES = statuses.to_h do |status, name|
    words = name.delete_prefix("HL_ERR_").split("_")
    [status, const_set(words.map(&:capitalize).join, Class.new(Error))]
  end.freeze
end
