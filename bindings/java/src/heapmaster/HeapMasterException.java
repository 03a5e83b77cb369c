package heapmaster;

/** A call that the library refused. */
public final class HeapMasterException extends RuntimeException {
    private static final long serialVersionUID = 1;

    private final int number;

    private HeapMasterException(int number, String message) {
        super(message);
        this.number = number;
    }

    /** Why it was refused. */
    public Status status() {
        return Status.of(number);
    }

    /** The status's name, such as "HL_ERR_OUT_OF_MEMORY". */
    public String statusName() {
        return Library.hl_status_name(number);
    }

    /** The exception for a status, with what the library says of it in general. */
    static HeapMasterException of(Status status) {
        return new HeapMasterException(status.ordinal(), Library.hl_status_message(status.ordinal()));
    }

    /** The exception for a size that C would take for a large one. */
    static HeapMasterException negative(long size) {
        return new HeapMasterException(
                Status.SIZE_OVERFLOW.ordinal(), "size overflow: " + size + " is not a number of bytes");
    }

    /** Why the last call of this thread failed. */
    static HeapMasterException last() {
        return new HeapMasterException(Library.hl_last_error(), Library.hl_last_error_message());
    }

    static void unlessSucceeded(int status) {
        if (status != Status.OK.ordinal()) {
            throw last();
        }
    }

    static <T> T unlessNull(T pointer) {
        if (pointer == null) {
            throw last();
        }
        return pointer;
    }
}
