'use strict';

const library = require('./library.js');
const { constants } = require('node:buffer');
const { inspect, types } = require('node:util');
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

/** Of a value that has not the type it should have. */
function wrongType(value, wanted) {
    return new TypeError(`${inspect(value)} (${typeof value}) is not ${wanted}`);
}

// koffi would cut off what is no size.
function size(number) {
    if (typeof number !== 'number') throw wrongType(number, 'a number of bytes');
    if (!Number.isSafeInteger(number) || number < 0)
        throw new RangeError(`${number} is not a number of bytes`);
    // Makes 0 of -0.
    return number + 0;
}

/** Names of the statistics: in C, and here. */
const statistics = Object.keys(library.PoolStatistics.members)
    .filter((name) => name !== 'struct_size')
    .map((name) => [name, name.replace(/_(.)/g, (_, letter) => letter.toUpperCase())]);

/** The handle of a pool, if that is open. */
let open;

/**
 * Whether a heap's memory is no longer its buffer's: ArrayBuffer.prototype.transfer(), which Node has from 21 on, and
 * the growth of a WebAssembly.Memory heed no mark. Its pool is left alone then, which does not protect other pools:
 * the library's list of all heaps leads through that memory, so that they may fail once it is freed.
 */
const detached = (buffer) => buffer.byteLength === 0;

/** Deletes pools that are garbage, and keeps their buffers until then. */
const forgotten = new FinalizationRegistry(({ handle, buffers }) => {
    if (!buffers.some(detached)) library.hl_pool_delete(handle);
});

/** What makes blocks: none but this module has it. */
const maker = Symbol();

class Pool {
    #handle;
    #buffers = [];

    static {
        open = (pool) => {
            if (pool.closed) throw new Error('the pool is closed');
            if (pool.#buffers.some(detached)) throw new Error('the buffer of a heap is detached');
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
        succeed(library.hl_pool_delete(open(this)));
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
        if (!ArrayBuffer.isView(buffer)) throw new TypeError('a heap is a Buffer or a view of an ArrayBuffer');
        if (buffer.buffer.resizable) throw new TypeError('a heap can not be resizable');
        // Whatever a class derived from these says of itself.
        const memory = new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength);
        succeed(library.hl_add_heap(open(this), memory, memory.byteLength));
        // A message to a worker would take the memory along.
        markAsUntransferable(memory.buffer);
        this.#buffers.push(memory);
    }

    addSystemHeap(maxSize = 0) {
        succeed(library.hl_add_system_heap(open(this), size(maxSize)));
    }

    alloc(bytes) {
        bytes = size(bytes);
        return new Block(maker, this, notNull(library.hl_alloc(open(this), bytes)), bytes);
    }

    allocZeroed(bytes) {
        bytes = size(bytes);
        return new Block(maker, this, notNull(library.hl_alloc_zeroed(open(this), 1, bytes)), bytes);
    }

    allocAligned(alignment, bytes) {
        bytes = size(bytes);
        const address = library.hl_alloc_aligned(open(this), size(alignment), bytes);
        return new Block(maker, this, notNull(address), bytes);
    }

    owns(address) {
        const handle = open(this);
        if (typeof address !== 'bigint') throw wrongType(address, 'an address');
        // koffi would cut off what is no address.
        return BigInt.asUintN(64, address) === address && library.hl_owns(handle, address);
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

    [inspect.custom]() {
        return this.closed ? 'HeapMaster pool (closed)' : 'HeapMaster pool';
    }
}

class Block {
    #pool;
    #address;
    #size;
    #live = true;

    constructor(token, pool, address, size) {
        if (token !== maker) throw new TypeError('blocks are made by the alloc methods of a pool');
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

    read(offset = 0, length = Math.max(this.#size - size(offset), 0)) {
        return Buffer.from(this.#range(offset, length));
    }

    write(data, offset = 0) {
        const bytes = typeof data === 'string' ? Buffer.from(data) : data;
        // Of anything else set() would run code, which could end the block.
        if (!types.isUint8Array(bytes)) throw new TypeError('bytes are a Uint8Array or a string');
        this.#range(offset, bytes.length).set(bytes);
    }

    resize(bytes) {
        bytes = size(bytes);
        this.#address = notNull(library.hl_resize(this.#use(), this.#address, bytes));
        this.#size = bytes;
    }

    release() {
        succeed(library.hl_release(this.#use(), this.#address));
        this.#live = false;
    }

    [Symbol.dispose]() {
        if (this.live) this.release();
    }

    [inspect.custom]() {
        const state = this.live ? `at 0x${this.#address.toString(16)}` : '(released)';
        return `HeapMaster block of ${this.#size} bytes ${state}`;
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
        // Node ends the program if a view is larger than that.
        if (length > constants.MAX_LENGTH)
            throw new RangeError(`${length} bytes are more than the ${constants.MAX_LENGTH} of a Buffer`);
        return library.view(this.#address + BigInt(offset), length);
    }
}

/** The library's version, such as "1.2.3". */
function version() {
    return library.hl_version();
}

module.exports = { Block, HeapMasterError, Pool, Status, version };
