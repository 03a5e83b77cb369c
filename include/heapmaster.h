/**
 * @file
 * HeapMaster: a memory pool over regions that you hand in.
 *
 * A program adds heaps, regions of memory, to a pool, and allocates blocks from it. The pool takes memory
 * from nowhere else, can be used by any number of threads, and refuses every pointer that is not the start
 * of one of its live blocks.
 *
 * Functions that return a pointer return NULL on failure, and leave the reason in hl_last_error(),
 * hl_last_error_message() and errno: ENOMEM for want of memory (::HL_ERR_OUT_OF_MEMORY,
 * ::HL_ERR_LIMIT_REACHED, ::HL_ERR_SIZE_OVERFLOW), the system's for ::HL_ERR_SYSTEM, else EINVAL. So does
 * hl_alloc_many(); all others leave errno alone, as does success.
 *
 * Structs that may grow begin with their size: set struct_size before you hand one in. A NULL pool is refused
 * with ::HL_ERR_INVALID_ARGUMENT, but a NULL block can be released to it, and a NULL pool be deleted.
 *
 * No function may be called from a signal handler.
 *
 * Generated from src/ffi: change that, and see tests/header.rs.
 */

#ifndef HEAPMASTER_H
#define HEAPMASTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/**
 * For hl_config.flags: the pool is used by one thread at a time, and takes no lock.
 */
#define HL_POOL_SINGLE_THREADED 1

/**
 * For hl_config.flags: the pool is hardened. Each block has a header and canaries about it, which show what was
 * written beside its bytes, up to 4,096 bytes behind them: its release is refused with ::HL_ERR_OVERRUN or
 * ::HL_ERR_UNDERRUN. The byte right behind is zero, so that a NUL written there shows not. Released blocks are
 * zeroed, and wait before their memory is used again; what is written to it meanwhile is told to the misuse handler
 * (::HL_ERR_WRITTEN_AFTER_RELEASE). Objects are taken at random, hl_usable_size() is what was asked for, and
 * hl_release_sized() finds every other size. A block takes at least 24 bytes more, and heaps are zeroed when they
 * are added.
 */
#define HL_POOL_HARDENED 2

/**
 * Status of a call, as the C ABI reports it (`HL_OK`, `HL_ERR_...`).
 */
enum hl_status
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  /**
   * The call did what it was asked to.
   */
  HL_OK = 0,
  /**
   * An argument that no call accepts: a null pool or result pointer, an unknown flag.
   */
  HL_ERR_INVALID_ARGUMENT = 1,
  /**
   * No heap of the pool has the room.
   */
  HL_ERR_OUT_OF_MEMORY = 2,
  /**
   * The pool's limit forbids it.
   */
  HL_ERR_LIMIT_REACHED = 3,
  /**
   * The size, or count times size, is larger than any block or heap can be.
   */
  HL_ERR_SIZE_OVERFLOW = 4,
  /**
   * The alignment is not a power of two.
   */
  HL_ERR_BAD_ALIGNMENT = 5,
  /**
   * The heap's address is null.
   */
  HL_ERR_HEAP_NULL = 6,
  /**
   * The heap has no room for one block beside its metadata.
   */
  HL_ERR_HEAP_TOO_SMALL = 7,
  /**
   * The heap's end lies beyond the end of the address space.
   */
  HL_ERR_HEAP_WRAPS = 8,
  /**
   * The heap overlaps one that this pool has, or another.
   */
  HL_ERR_HEAP_OVERLAPS = 9,
  /**
   * No heap of the pool holds the address.
   */
  HL_ERR_HEAP_UNKNOWN = 10,
  /**
   * The heap can't be removed: it has live blocks.
   */
  HL_ERR_HEAP_IN_USE = 11,
  /**
   * The pointer was never handed out: no pool's heap holds it, or it is bookkeeping.
   */
  HL_ERR_NOT_IN_POOL = 12,
  /**
   * The pointer is inside a live block, but not its start.
   */
  HL_ERR_INTERIOR_POINTER = 13,
  /**
   * The pointer is in free memory of the pool: its block was released already.
   */
  HL_ERR_ALREADY_RELEASED = 14,
  /**
   * The pointer is in a heap of another pool.
   */
  HL_ERR_OTHER_POOL = 15,
  /**
   * The block can't have been allocated with the size given.
   */
  HL_ERR_SIZE_MISMATCH = 16,
  /**
   * The pool's books contradict themselves: something wrote over them.
   */
  HL_ERR_CORRUPTED = 17,
  /**
   * The operating system refused.
   */
  HL_ERR_SYSTEM = 18,
  /**
   * Of a hardened pool: something wrote behind the end of the block.
   */
  HL_ERR_OVERRUN = 19,
  /**
   * Of a hardened pool: something wrote before the start of the block.
   */
  HL_ERR_UNDERRUN = 20,
  /**
   * Of a hardened pool: something wrote to memory that had been released.
   */
  HL_ERR_WRITTEN_AFTER_RELEASE = 21,
  /**
   * Of a hardened pool: the block was allocated by what this can't release.
   */
  HL_ERR_ORIGIN_MISMATCH = 22,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum hl_status hl_status;
#else
typedef int32_t hl_status;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * Whether a block is handed out.
 */
enum hl_block_state
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  /**
   * Nobody has it.
   */
  HL_BLOCK_FREE = 0,
  /**
   * Allocated, and not released.
   */
  HL_BLOCK_LIVE = 1,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum hl_block_state hl_block_state;
#else
typedef int32_t hl_block_state;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * A pool: a set of heaps, out of which blocks of memory are allocated.
 *
 * It takes memory from its heaps and from nowhere else. Unless it was made with HL_POOL_SINGLE_THREADED,
 * every function may be called from any number of threads at once.
 */
typedef struct hl_pool hl_pool;

/**
 * A misuse of a pool, as the misuse handler is told of it.
 */
typedef struct hl_misuse {
  /**
   * sizeof(hl_misuse) of the library.
   */
  size_t struct_size;
  /**
   * What is wrong with the pointer.
   */
  hl_status status;
  /**
   * The pool that was given the pointer; NULL for what was found in a call that succeeds
   * (::HL_ERR_WRITTEN_AFTER_RELEASE).
   */
  struct hl_pool *pool;
  /**
   * The pointer.
   */
  const void *pointer;
  /**
   * Start of the live block that the pointer is in or was expected to start, or of the freed one that was written to
   * (::HL_ERR_WRITTEN_AFTER_RELEASE); NULL if there is none, or it is not known, as where something wrote over the
   * header of the block (::HL_ERR_UNDERRUN).
   */
  const void *block;
  /**
   * Bytes of that live block, or of the freed object that the pointer is in; 0 if not known.
   */
  size_t block_size;
  /**
   * One line that names the pointer and says what is wrong with it.
   */
  const char *message;
} hl_misuse;

/**
 * Is told of a misuse. May use pools; must not unwind.
 */
typedef void (*hl_misuse_fn)(const struct hl_misuse *misuse, void *context);

/**
 * What a pool has, and has done. Sizes are in bytes.
 */
typedef struct hl_pool_statistics {
  /**
   * Set it to sizeof(hl_pool_statistics) before the call; so many bytes are filled in, as far as the
   * library knows them.
   */
  size_t struct_size;
  /**
   * Number of heaps.
   */
  size_t heaps;
  /**
   * Bytes in blocks of the heaps, used and free: what they have but for metadata and trimmings.
   */
  size_t capacity_bytes;
  /**
   * Bytes that the heaps' metadata takes; of a system heap, what belongs to its committed part.
   */
  size_t metadata_bytes;
  /**
   * Bytes in use: whole granules of spans and runs.
   */
  size_t used_bytes;
  /**
   * The most bytes there ever were in use.
   */
  size_t peak_used_bytes;
  /**
   * capacity_bytes less used_bytes.
   */
  size_t free_bytes;
  /**
   * Bytes of the largest free block. Neighbouring ones may make up a larger run.
   */
  size_t largest_free_block;
  /**
   * Blocks that were allocated and not released.
   */
  size_t live_blocks;
  /**
   * The sum of their usable sizes; of a hardened pool, of what they take with header and canaries.
   */
  size_t live_bytes;
  /**
   * Blocks ever allocated from the heaps that the pool has now.
   */
  uint64_t allocations;
  /**
   * Blocks ever released to them.
   */
  uint64_t releases;
  /**
   * Allocations and resizes that failed for want of memory.
   */
  uint64_t failures;
  /**
   * Pointers that were refused, for whatever reason, and, of a hardened pool, writes to released blocks that were
   * found when their memory was used again.
   */
  uint64_t misuses;
  /**
   * The limit of used_bytes; 0 for none.
   */
  size_t limit;
} hl_pool_statistics;

/**
 * What a heap has. Sizes are in bytes.
 */
typedef struct hl_heap_statistics {
  /**
   * Set it to sizeof(hl_heap_statistics) before the call; so many bytes are filled in, as far as the
   * library knows them.
   */
  size_t struct_size;
  /**
   * The region, as it was handed in.
   */
  void *memory;
  /**
   * Its size.
   */
  size_t size;
  /**
   * The granule: sizes of runs are multiples of it.
   */
  size_t granule;
  /**
   * Bytes in blocks, used and free.
   */
  size_t capacity_bytes;
  /**
   * Bytes that metadata takes; of a system heap, what belongs to its committed part.
   */
  size_t metadata_bytes;
  /**
   * Bytes in use: whole granules of spans and runs.
   */
  size_t used_bytes;
  /**
   * capacity_bytes less used_bytes.
   */
  size_t free_bytes;
  /**
   * Bytes of the largest free block. Neighbouring ones may make up a larger run.
   */
  size_t largest_free_block;
  /**
   * Blocks that were allocated and not released.
   */
  size_t live_blocks;
  /**
   * The sum of their usable sizes; of a hardened pool, of what they take with header and canaries.
   */
  size_t live_bytes;
  /**
   * Number of spans.
   */
  size_t spans;
  /**
   * Whether hl_drain_heap() was called for it.
   */
  bool draining;
} hl_heap_statistics;

/**
 * A block, as hl_pool_walk() shows it.
 */
typedef struct hl_block_info {
  /**
   * sizeof(hl_block_info) of the library.
   */
  size_t struct_size;
  /**
   * Its first byte.
   */
  void *address;
  /**
   * Its bytes.
   */
  size_t size;
  /**
   * Whether it is handed out.
   */
  hl_block_state state;
} hl_block_info;

/**
 * Is shown a block; false ends the walk.
 */
typedef bool (*hl_visit_fn)(const struct hl_block_info *block, void *context);

/**
 * Is told that only `free_bytes` of the pool's heaps are left free.
 */
typedef void (*hl_low_memory_fn)(struct hl_pool *pool, size_t free_bytes, void *context);

/**
 * Adds memory to a pool that has no room for a request; true if it did. A heap of `needed` bytes, metadata and
 * alignment included, serves the request for certain, wherever it lies.
 */
typedef bool (*hl_grow_fn)(struct hl_pool *pool, size_t needed, void *context);

/**
 * How a pool is to be. Set struct_size to sizeof(hl_config) and what you don't know to 0.
 */
typedef struct hl_config {
  /**
   * sizeof(hl_config).
   */
  size_t struct_size;
  /**
   * HL_POOL_... flags, or 0.
   */
  uint32_t flags;
  /**
   * As for hl_pool_set_limit(); 0 for none.
   */
  size_t limit;
} hl_config;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * Allocates `count` blocks of at least `size` bytes each, and stores their addresses in `blocks`. Returns
 * how many there are; if fewer than `count`, hl_last_error() and errno say why, and the slots behind are
 * as they were. Cheaper than as many calls of hl_alloc().
 */
size_t hl_alloc_many(struct hl_pool *pool,
                     size_t size,
                     size_t count,
                     void **blocks);

/**
 * Releases the blocks whose addresses are in the `count` slots of `blocks`, as hl_release() does. Each slot
 * of a released block becomes NULL; one that is refused keeps its pointer, and does not stop the others.
 * Returns how many slots are NULL then; if fewer than `count`, hl_last_error() says why the last of the
 * others was refused.
 */
size_t hl_release_many(struct hl_pool *pool,
                       void **blocks,
                       size_t count);

/**
 * Allocates a block of at least `size` bytes; for 0 bytes one of the smallest, of its own address. The
 * address is a multiple of 16.
 *
 * NULL with ::HL_ERR_OUT_OF_MEMORY, ::HL_ERR_LIMIT_REACHED or ::HL_ERR_SIZE_OVERFLOW (errno ENOMEM).
 * Cost: bounded, whatever the heaps hold; where the heap that served last has no room, a step a heap.
 */
void *hl_alloc(struct hl_pool *pool,
               size_t size);

/**
 * Allocates a block of at least `count` times `size` bytes, all of them zero; otherwise as hl_alloc().
 * ::HL_ERR_SIZE_OVERFLOW also if the product overflows. Cost: a step a byte besides.
 */
void *hl_alloc_zeroed(struct hl_pool *pool,
                      size_t count,
                      size_t size);

/**
 * Allocates a block of at least `size` bytes whose address is a multiple of `alignment`; otherwise as
 * hl_alloc(). Any power of two up to the size of a heap can be served; ::HL_ERR_BAD_ALIGNMENT (errno EINVAL)
 * for what isn't a power of two.
 */
void *hl_alloc_aligned(struct hl_pool *pool,
                       size_t alignment,
                       size_t size);

/**
 * Makes a block hold `size` bytes, in place if that can be, else in another place, with its contents as far
 * as they fit. Returns the block's address from then on. A NULL block is allocated. For 0 bytes
 * the block becomes one of the smallest: it is not released. The alignment is that of hl_alloc().
 *
 * NULL, with the block as it was, for the reasons of hl_alloc() and hl_release(). Cost: bounded if it stays,
 * a step a byte if it moves; in a system heap one of 512 KiB or more moves by some calls of the system,
 * where those are less work.
 */
void *hl_resize(struct hl_pool *pool,
                void *block,
                size_t size);

/**
 * Releases a block, which must not be used any more. NULL is fine. Keeps errno.
 *
 * A pointer that is not the start of a live block of the pool is refused, always and at every size, and
 * nothing changes: ::HL_ERR_NOT_IN_POOL if it was never handed out, ::HL_ERR_INTERIOR_POINTER if it is inside
 * a live block, ::HL_ERR_ALREADY_RELEASED if it is in free memory, ::HL_ERR_OTHER_POOL if it is in a heap of
 * another pool.
 */
hl_status hl_release(struct hl_pool *pool,
                     void *block);

/**
 * Releases a block of which the size is known that it was allocated with or last resized to; otherwise as
 * hl_release(). ::HL_ERR_SIZE_MISMATCH, with nothing changed, if the block is smaller than that.
 */
hl_status hl_release_sized(struct hl_pool *pool,
                           void *block,
                           size_t size);

/**
 * How many bytes of a block may be used: at least those asked for. 0 for NULL, and, with the reasons of
 * hl_release() in hl_last_error(), for what isn't a live block.
 */
size_t hl_usable_size(struct hl_pool *pool,
                      const void *block);

/**
 * Whether an address lies in one of the pool's heaps.
 */
bool hl_owns(struct hl_pool *pool, const void *address);

/**
 * Why this thread's last failing call failed; ::HL_OK if none has. Calls that succeed leave it alone.
 */
hl_status hl_last_error(void);

/**
 * A line that says why this thread's last failing call failed, and names the pointer or value at fault; ""
 * if none has failed. Valid until the thread's next failing call or next call of this function.
 */
const char *hl_last_error_message(void);

/**
 * The name of a status, such as "HL_ERR_OUT_OF_MEMORY"; "HL_ERR_UNKNOWN" for a number that is none.
 */
const char *hl_status_name(int32_t status);

/**
 * What a status means, in a line; never NULL.
 */
const char *hl_status_message(int32_t status);

/**
 * Sets what is called, in the whole process, for each pointer that hl_release, hl_release_sized,
 * hl_release_many, hl_resize or hl_usable_size refuses; NULL removes it. There is one handler. It runs in the thread
 * that made the call, with no lock held, before the call returns its status. It is called as well when a hardened
 * pool finds, while it allocates, that something wrote to memory that had been released. Calls that other threads have
 * under way may still call the handler that was set before, after this has returned.
 */
void hl_set_misuse_handler(hl_misuse_fn handler,
                           void *context);

/**
 * Adds the `size` bytes at `memory` to the pool as a heap. Neither need be aligned. The pool's metadata
 * takes the first bytes: less than 4 % of 64 KiB or more, some 500 of 4 KiB.
 *
 * ::HL_ERR_HEAP_NULL, ::HL_ERR_HEAP_TOO_SMALL, ::HL_ERR_HEAP_WRAPS (around the end of the address space),
 * ::HL_ERR_SIZE_OVERFLOW (more than PTRDIFF_MAX), ::HL_ERR_HEAP_OVERLAPS (one that a pool has, its metadata, or the
 * handle before the first heap of hl_pool_new_in()); then the pool is as it was. A heap may lie inside a block of
 * another pool. That it lies in a block, and not in what is free, is the caller's word.
 *
 * The memory must stay valid until the heap is removed or the pool deleted, and only the blocks in it that
 * were handed out may be written to. Other threads may use the pool meanwhile.
 */
hl_status hl_add_heap(struct hl_pool *pool,
                      void *memory,
                      size_t size);

/**
 * Reserves up to `max_size` bytes of address space, 0 for as many as the system agrees to, and adds them to
 * the pool as a heap. Memory is committed as the heap grows, and given back as it runs empty. Every block of it gives
 * an address in its region, as does hl_pool_walk() once it has served one.
 *
 * ::HL_ERR_HEAP_TOO_SMALL below 1 MiB; ::HL_ERR_SIZE_OVERFLOW, ::HL_ERR_SYSTEM if there is no such address
 * space.
 */
hl_status hl_add_system_heap(struct hl_pool *pool,
                             size_t max_size);

/**
 * Allocates nothing more from the heap that holds the address `memory`, any in its region, so that
 * hl_remove_heap() succeeds once its blocks are released; one that grows by hl_resize() moves to another heap.
 * Only hl_pool_reset() undoes it. ::HL_ERR_HEAP_UNKNOWN if no heap holds the address.
 */
hl_status hl_drain_heap(struct hl_pool *pool,
                        void *memory);

/**
 * Removes the heap that holds the address `memory`, any in its region, and gives the memory back to the caller, or to the
 * system if it came from there. Other threads may use the pool meanwhile.
 *
 * ::HL_ERR_HEAP_UNKNOWN; ::HL_ERR_HEAP_IN_USE while it has live blocks, how many and of how many bytes
 * hl_last_error_message() says, and for ever if it is the one that `malloc` began with.
 */
hl_status hl_remove_heap(struct hl_pool *pool,
                         void *memory);

/**
 * Fills in what the pool has now. Cost: a step a heap and size class, and one a span, run and free block.
 */
hl_status hl_pool_stats(struct hl_pool *pool,
                        struct hl_pool_statistics *statistics);

/**
 * Fills in what the heap that holds the address `memory`, any in its region, has now. ::HL_ERR_HEAP_UNKNOWN if none does.
 */
hl_status hl_heap_stats(struct hl_pool *pool,
                        const void *memory,
                        struct hl_heap_statistics *statistics);

/**
 * Calls `visit` for each block of the pool, live and free, in the order of their addresses, until it
 * returns false. Objects of a span are shown one by one. A system heap that has not served a block yet has no memory,
 * so that nothing of it is shown.
 *
 * No lock is held while it runs, so it may release, allocate and resize. What changes during the walk, by
 * it or by other threads, may be shown as it was just before.
 */
hl_status hl_pool_walk(struct hl_pool *pool,
                       hl_visit_fn visit,
                       void *context);

/**
 * Checks every invariant of the pool's books. ::HL_ERR_CORRUPTED if one does not hold, which
 * hl_last_error_message() names. Of a hardened pool also what was written beside a live block, or to one that waits
 * in quarantine or is free: ::HL_ERR_OVERRUN, ::HL_ERR_UNDERRUN, ::HL_ERR_WRITTEN_AFTER_RELEASE. Other threads wait
 * meanwhile. Cost: a step a granule; in a hardened pool all free memory is read.
 */
hl_status hl_pool_check(struct hl_pool *pool);

/**
 * Draws the heap that holds the address `memory` as a string of `size - 1` characters, each for an equal
 * share of it: '.' free, '1' to '9' tenths in use, '#' all in use. ::HL_ERR_HEAP_UNKNOWN if none does.
 */
hl_status hl_pool_map(struct hl_pool *pool,
                      const void *memory,
                      char *text,
                      size_t size);

/**
 * The library's version, such as "1.2.3".
 */
const char *hl_version(void);

/**
 * The pool that the library has itself, the one behind malloc where that is substituted; sampled blocks of malloc, and,
 * if it is hardened, those of 0 bytes are not the pool's. It adds a system heap to itself when it first needs one, and
 * can't be reset or deleted. In the child of a fork it is usable if no other thread was in a function of the library,
 * or if it is the one of libheapmaster_malloc.so.
 */
struct hl_pool *hl_default_pool(void);

/**
 * Lets the blocks of the pool take at most `bytes` bytes of its heaps, counted in whole granules of spans
 * and runs (`used_bytes` of the statistics); 0 lifts the limit. Live blocks stay so, also beyond it.
 */
hl_status hl_pool_set_limit(struct hl_pool *pool,
                            size_t bytes);

/**
 * Sets what is called when free bytes have fallen below `threshold` bytes, by an allocation, hl_resize() or
 * hl_remove_heap(), once until they have risen above it again, and each time before an allocation fails for want of
 * memory or at the limit. NULL removes it.
 *
 * The callback runs in the thread that made the call, with no lock held: it may release and allocate. At most four
 * callbacks of a pool run at once; an allocation that would call one more fails without, and that free bytes have
 * fallen is told by the next that takes some. Calls that other threads have under way may still call the callback
 * that was set before, after this has returned.
 */
hl_status hl_pool_set_low_memory_callback(struct hl_pool *pool,
                                          size_t threshold,
                                          hl_low_memory_fn callback,
                                          void *context);

/**
 * Sets what is called when no heap has room for a request: it may add a heap, and return true for the
 * allocation to be tried again; up to eight times for one request. NULL removes it.
 *
 * The callback runs in the thread that allocates, with no lock held: it may use the pool. At most four
 * callbacks of a pool run at once; an allocation that would call one more fails without. Calls that other threads have
 * under way may still call the callback that was set before, after this has returned.
 */
hl_status hl_pool_set_grow_callback(struct hl_pool *pool,
                                    hl_grow_fn callback,
                                    void *context);

/**
 * Makes a pool without heaps; add some with hl_add_heap() or hl_add_system_heap(). The handle takes a page
 * of memory from the system. NULL if there is none (::HL_ERR_SYSTEM).
 */
struct hl_pool *hl_pool_new(void);

/**
 * As hl_pool_new(), with a configuration; NULL stands for the default one. NULL, with
 * ::HL_ERR_INVALID_ARGUMENT, for a flag that isn't known or a struct_size that isn't set.
 */
struct hl_pool *hl_pool_new_with(const struct hl_config *config);

/**
 * Makes a pool inside the `size` bytes at `memory`: the handle comes first, what is left becomes the first
 * heap. Nothing is taken from the system. NULL, with ::HL_ERR_HEAP_NULL, ::HL_ERR_HEAP_TOO_SMALL,
 * ::HL_ERR_HEAP_WRAPS or ::HL_ERR_SIZE_OVERFLOW, if that can't be.
 *
 * The memory must stay valid until hl_pool_delete() and is the caller's again after it. The heap begins behind
 * the handle: an address in it is `(char *)memory + size - 1`. ::HL_ERR_HEAP_OVERLAPS if the memory shares any with
 * another pool, metadata and the handle before its first heap included; it may lie inside a block of one. That it lies
 * in a block, and not in what is free, is the caller's word.
 */
struct hl_pool *hl_pool_new_in(void *memory,
                               size_t size);

/**
 * Releases every block of the pool at once; its heaps stay, drained ones are in use again. No block may be used any
 * more. Not for the default pool (::HL_ERR_INVALID_ARGUMENT). Cost: a step a block.
 */
hl_status hl_pool_reset(struct hl_pool *pool);

/**
 * Deletes a pool: its blocks die with it, its heaps are the caller's again, and what it took from the
 * system goes back. NULL is fine. Not for the default pool (::HL_ERR_INVALID_ARGUMENT).
 *
 * No other thread may be using the pool. Its handle is none any more, and not to be deleted again.
 */
hl_status hl_pool_delete(struct hl_pool *pool);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* HEAPMASTER_H */
