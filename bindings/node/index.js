'use strict';

const library = require('./library.js');
const { markAsUntransferable } = require('node:worker_threads');

/** The library's statuses, by their names. */
const Status = {};
for (let status = 0, name; (name = library.hl_status_name(status)) !== 'HL_ERR_UNKNOWN'; ++status)
    Status[name] = status;
Object.freeze(Status);

class HeapMasterError extends Error {
    constructor(status, message) {
        super(message);
        this.name = 'HeapMasterError';
        this.status = status;
        this.code = library.hl_status_name(status);
    }
}

function lastError() {
    return new HeapMasterError(library.hl_last_error(), library.hl_last_error_message());
}

function succeed(status) {
    if (status !== Status.HL_OK) throw lastError();
}

function notNull(pointer) {
    if (pointer === null) throw lastError();
    return pointer;
}

// koffi would cut off what is no size.
function size(number) {
    if (!Number.isSafeInteger(number) || number < 0)
        throw new RangeError(`${number} is not a number of bytes`);
    return number;
}

/** Names of the statistics: in C, and here. */
const statistics = Object.keys(library.PoolStatistics.members)
    .filter((name) => name !== 'struct_size')
    .map((name) => [name, name.replace(/_(.)/g, (_, letter) => letter.toUpperCase())]);

/** The handle of a pool, if that is open. */
let open;

/** Deletes pools that are garbage, and keeps their buffers until then. */
const forgotten = new FinalizationRegistry(({ handle }) => library.hl_pool_delete(handle));

class Pool {
    #handle;
    #buffers = [];

    static {
        open = (pool) => {
            if (pool.closed) throw new Error('the pool is closed');
            return pool.#handle;
        };
    }

    constructor({ hardened = false } = {}) {
        const flags = hardened ? library.HL_POOL_HARDENED : 0;
        const config = { struct_size: library.Config.size, flags, limit: 0 };
        this.#handle = notNull(library.hl_pool_new_with(config));
        forgotten.register(this, { handle: this.#handle, buffers: this.#buffers }, this);
    }

    close() {
        if (this.closed) return;
        succeed(library.hl_pool_delete(this.#handle));
        forgotten.unregister(this);
        this.#handle = null;
        this.#buffers.length = 0;
    }

    [Symbol.dispose]() {
        this.close();
    }

    get closed() {
        return this.#handle === null;
    }

    addHeap(buffer) {
        const handle = open(this);
        if (!ArrayBuffer.isView(buffer)) throw new TypeError('a heap is a Buffer or a view of an ArrayBuffer');
        if (buffer.buffer.resizable) throw new TypeError('a heap can not be resizable');
        succeed(library.hl_add_heap(handle, buffer, buffer.byteLength));
        // A message to a worker would take the memory along.
        markAsUntransferable(buffer.buffer);
        this.#buffers.push(buffer);
    }

    addSystemHeap(maxSize = 0) {
        succeed(library.hl_add_system_heap(open(this), size(maxSize)));
    }

    alloc(bytes) {
        return new Block(this, notNull(library.hl_alloc(open(this), size(bytes))), bytes);
    }

    allocZeroed(bytes) {
        return new Block(this, notNull(library.hl_alloc_zeroed(open(this), 1, size(bytes))), bytes);
    }

    allocAligned(alignment, bytes) {
        const address = library.hl_alloc_aligned(open(this), size(alignment), size(bytes));
        return new Block(this, notNull(address), bytes);
    }

    owns(address) {
        return library.hl_owns(open(this), address);
    }

    setLimit(bytes) {
        succeed(library.hl_pool_set_limit(open(this), size(bytes)));
    }

    statistics() {
        const raw = { struct_size: library.PoolStatistics.size };
        for (const [field] of statistics) raw[field] = 0;
        succeed(library.hl_pool_stats(open(this), raw));
        return Object.fromEntries(statistics.map(([field, name]) => [name, raw[field]]));
    }

    check() {
        succeed(library.hl_pool_check(open(this)));
    }

    walk() {
        const blocks = [];
        const visit = (pointer) => {
            const { address, size, state } = library.blockInfo(pointer);
            return blocks.push({ address, size, live: state === library.HL_BLOCK_LIVE }) > 0;
        };
        succeed(library.hl_pool_walk(open(this), visit, null));
        return blocks;
    }
}

class Block {
    #pool;
    #address;
    #size;
    #live = true;
    #bytes = null;

    constructor(pool, address, size) {
        this.#pool = pool;
        this.#address = address;
        this.#size = size;
    }

    get live() {
        return this.#live && !this.#pool.closed;
    }

    get size() {
        return this.#size;
    }

    get address() {
        this.#use();
        return this.#address;
    }

    get usableSize() {
        return library.hl_usable_size(this.#use(), this.#address);
    }

    read(offset = 0, length = this.#size - offset) {
        return Buffer.from(this.#range(offset, length));
    }

    write(data, offset = 0) {
        const bytes = typeof data === 'string' ? Buffer.from(data) : data;
        this.#range(offset, bytes.length).set(bytes);
    }

    resize(bytes) {
        const handle = this.#use();
        this.#address = notNull(library.hl_resize(handle, this.#address, size(bytes)));
        this.#size = bytes;
        this.#bytes = null;
    }

    release() {
        succeed(library.hl_release(this.#use(), this.#address));
        this.#live = false;
        this.#bytes = null;
    }

    [Symbol.dispose]() {
        if (this.live) this.release();
    }

    /** The handle of the pool, if the block is live. */
    #use() {
        const handle = open(this.#pool);
        if (!this.#live) throw this.#refusal(handle);
        return handle;
    }

    /** What the library says about a released block, in general terms if another block lies there by now. */
    #refusal(handle) {
        const status = Status.HL_ERR_ALREADY_RELEASED;
        // Harmless whatever lies there, which hl_release() is not.
        const refused = library.hl_usable_size(handle, this.#address) === 0;
        if (refused && library.hl_last_error() === status) return lastError();
        return new HeapMasterError(status, library.hl_status_message(status));
    }

    /** A part of the block's bytes. Never handed out: nothing could end it when the block is released. */
    #range(offset, length) {
        this.#use();
        if (size(offset) + size(length) > this.#size)
            throw new RangeError(`${length} bytes at ${offset} are not in a block of ${this.#size} bytes`);
        this.#bytes ??= library.view(this.#address, this.#size);
        return this.#bytes.subarray(offset, offset + length);
    }
}

/** The library's version, such as "1.2.3". */
function version() {
    return library.hl_version();
}

module.exports = { Block, HeapMasterError, Pool, Status, version };
