package heapmaster;

/** A block as {@link Pool#walk} shows it. */
public record BlockInfo(long address, long size, boolean live) {}
