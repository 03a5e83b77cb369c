// @ts-check
'use strict';

const assert = require('node:assert/strict');
const { constants } = require('node:buffer');
const { spawnSync } = require('node:child_process');
const { afterEach, beforeEach, describe, test } = require('node:test');
const { inspect } = require('node:util');
const { Block, HeapMasterError, Pool, Status, version } = require('heapmaster');
// What tests look at behind the package's face.
const library = /** @type {any} */ (require('../library.js'));

const KIB = 1024;
const closed = { name: 'Error', message: 'the pool is closed' };
const alreadyReleased = { code: 'HL_ERR_ALREADY_RELEASED', status: Status.HL_ERR_ALREADY_RELEASED };

/** @type {Buffer} */
let buffer;
/** @type {Pool} */
let pool;

beforeEach(() => {
    buffer = Buffer.alloc(64 * KIB);
    pool = new Pool();
    pool.addHeap(buffer);
});

afterEach(() => {
    if (!pool.closed) pool.check();
    pool.close();
});

describe('what is written here by hand is what the library has', () => {
    test('statuses', () => {
        assert.equal(Status.HL_OK, 0);
        assert.equal(Status.HL_ERR_ALREADY_RELEASED, 14);
        for (const [name, status] of Object.entries(Status)) {
            assert.equal(library.hl_status_name(status), name);
            assert.notEqual(library.hl_status_message(status), library.hl_status_message(-1));
        }
        assert.equal(library.hl_status_name(Object.keys(Status).length), 'HL_ERR_UNKNOWN');
    });

    test('statistics are as large as the library\'s', () => {
        // The library fills in as much as it knows of a struct that is larger.
        const koffi = require('koffi');
        const larger = koffi.struct({ statistics: library.PoolStatistics, rest: koffi.array('uint8_t', 512) });
        const memory = koffi.alloc(larger, 1);
        const bytes = new Uint8Array(koffi.view(memory, larger.size)).fill(0xaa);
        new DataView(bytes.buffer).setBigUint64(0, BigInt(larger.size), true);
        const handle = library.hl_pool_new_with(null);
        koffi.load(process.env.HEAPMASTER_LIBRARY ?? 'libheapmaster.so.0')
            .func('int32_t hl_pool_stats(void *pool, void *statistics)')(handle, memory);
        library.hl_pool_delete(handle);
        assert.equal(bytes.findLastIndex((byte) => byte !== 0xaa) + 1, library.PoolStatistics.size);
        koffi.free(memory);
    });

    test('a walked block is as large as the library\'s', () => {
        const handle = library.hl_pool_new_with(null);
        const memory = Buffer.alloc(64 * KIB);
        library.hl_add_heap(handle, memory, memory.length);
        /** @type {Set<number>} */
        const sizes = new Set();
        /** @param {unknown} block */
        const visit = (block) => sizes.add(library.blockInfo(block).struct_size).size > 0;
        library.hl_pool_walk(handle, visit, null);
        library.hl_pool_delete(handle);
        assert.deepEqual([...sizes], [library.BlockInfo.size]);
    });

    test('the version', () => assert.match(version(), /^\d+\.\d+\.\d+$/));

    test('a library that is not there is named', () => {
        const env = { ...process.env, HEAPMASTER_LIBRARY: '/nowhere/libheapmaster.so' };
        const run = spawnSync(process.execPath, ['-e', 'require("heapmaster")'], { env, cwd: __dirname });
        assert.notEqual(run.status, 0);
        assert.match(run.stderr.toString(), /\/nowhere\/libheapmaster\.so, see HEAPMASTER_LIBRARY/);
    });
});

describe('blocks', () => {
    test('data lie in the buffer and survive a resize', () => {
        const block = pool.alloc(11);
        block.write('hello ');
        block.write(Buffer.from('world'), 6);
        assert.ok(buffer.includes('hello world'));
        pool.alloc(11);
        block.resize(5000);
        assert.equal(block.read(0, 11).toString(), 'hello world');
        assert.equal(block.read().length, 5000);
    });

    test('zeroed blocks are zero', () => {
        const dirty = pool.alloc(3000);
        dirty.write(Buffer.alloc(3000, 0xff));
        dirty.release();
        assert.deepEqual(pool.allocZeroed(3000).read(), Buffer.alloc(3000));
    });

    test('aligned blocks are aligned', () => {
        assert.equal(pool.allocAligned(4096, 10).address % 4096n, 0n);
        assert.throws(() => pool.allocAligned(48, 10), { code: 'HL_ERR_BAD_ALIGNMENT', message: /48/ });
    });

    test('a block of no bytes has an address', () => {
        const [one, other] = [pool.alloc(0), pool.alloc(0)];
        assert.notEqual(one.address, other.address);
        assert.equal(one.read().length, 0);
    });

    test('the usable size holds what was asked for', () => {
        const block = pool.alloc(1000);
        assert.ok(block.usableSize >= block.size && block.size === 1000);
    });

    test('addresses of blocks are the pool\'s', () => {
        assert.ok(pool.owns(pool.alloc(1).address));
        assert.ok(!pool.owns(16n));
        assert.ok(!pool.owns(2n ** 64n + pool.alloc(1).address));
        for (const none of /** @type {any[]} */ ([undefined, 1.5, NaN]))
            assert.throws(() => pool.owns(none), { name: 'TypeError', message: /^\S+ \(\w+\) is not an address$/ });
    });

    test('reading and writing end at the end of the block', () => {
        const block = pool.alloc(10);
        const uses = [
            () => block.read(5, 6),
            () => block.read(11),
            () => block.read(-1, 1),
            () => block.write('12345678901'),
            () => block.write('1', 10),
            () => block.write('1', 0.5),
        ];
        for (const use of uses) assert.throws(use, RangeError);
        assert.throws(() => block.read(11), { message: '0 bytes at 11 are not in a block of 10 bytes' });
    });

    test('only a string and a Uint8Array are written', () => {
        const block = pool.allocZeroed(10);
        const close = { valueOf: () => (pool.close(), 1) };
        const refused = [[close, 2], new Uint16Array([1]), new DataView(new ArrayBuffer(1)), null, 5];
        for (const data of /** @type {any[]} */ (refused))
            assert.throws(() => block.write(data), new TypeError('bytes are a Uint8Array or a string'));
        assert.deepEqual(block.read(), Buffer.alloc(10));
    });

    test('as much is read of a large block as a Buffer holds', () => {
        pool.addSystemHeap(2 ** 34);
        const block = pool.alloc(2 ** 33);
        block.write('end', block.size - 3);
        assert.equal(block.read(block.size - 3).toString(), 'end');
        if (block.size > constants.MAX_LENGTH) assert.throws(() => block.read(), RangeError);
    });

    test('nobody else makes a block', () => {
        const Class = /** @type {any} */ (Block);
        assert.throws(() => new Class(pool, 16n, 10), { name: 'TypeError', message: /made by the alloc methods/ });
    });

    test('pools and blocks have a text', () => {
        const pool = new Pool();
        assert.equal(inspect(pool), 'HeapMaster pool');
        pool.addHeap(Buffer.alloc(64 * KIB));
        const block = pool.alloc(10);
        assert.equal(inspect(block), `HeapMaster block of 10 bytes at 0x${block.address.toString(16)}`);
        block.release();
        assert.equal(inspect(block), 'HeapMaster block of 10 bytes (released)');
        pool.close();
        assert.equal(inspect(pool), 'HeapMaster pool (closed)');
    });

    test('sizes that nothing can have are refused', () => {
        assert.throws(() => pool.allocZeroed(2 ** 53 - 1), { code: 'HL_ERR_OUT_OF_MEMORY' });
        for (const size of [-1, 1.5, 2 ** 64, NaN]) assert.throws(() => pool.alloc(size), RangeError);
        assert.ok(Object.is(pool.alloc(-0).size, 0));
        for (const size of /** @type {any[]} */ (['8', 8n, Symbol()])) {
            const message = `${inspect(size)} (${typeof size}) is not a number of bytes`;
            assert.throws(() => pool.alloc(size), new TypeError(message));
        }
    });
});

describe('misuse', () => {
    test('a byte behind a block is found if the pool is hardened', () => {
        for (const hardened of [false, true]) {
            const memory = Buffer.alloc(64 * KIB);
            const pool = new Pool({ hardened });
            pool.addHeap(memory);
            const block = pool.alloc(11);
            block.write('hello world');
            memory.write('!', memory.indexOf('hello world') + 11);
            if (hardened)
                assert.throws(() => block.release(), { code: 'HL_ERR_OVERRUN', message: /^overrun: byte 0 / });
            else block.release();
            pool.close();
        }
    });

    test('a second release is refused in the library\'s words', () => {
        const block = pool.alloc(100);
        block.release();
        assert.throws(() => block.release(), { ...alreadyReleased, message: /^already released: 0x[0-9a-f]+ / });
        assert.throws(() => block.release(), HeapMasterError);
        assert.equal(pool.statistics().misuses, 2);
    });

    test('a second release spares the block that lies there now', () => {
        const stale = pool.alloc(100);
        const { address } = stale;
        stale.release();
        const block = pool.alloc(100);
        assert.equal(block.address, address);
        assert.throws(() => stale.release(), { ...alreadyReleased, message: /released already/ });
        assert.ok(block.live);
        assert.equal(pool.statistics().liveBlocks, 1);
    });

    test('released blocks are of no use', () => {
        const block = pool.alloc(100);
        block.release();
        assert.ok(!block.live);
        block[Symbol.dispose]();
        const uses = [
            () => block.address,
            () => block.usableSize,
            () => block.read(),
            () => block.write('x'),
            () => block.resize(10),
        ];
        for (const use of uses) assert.throws(use, alreadyReleased);
    });
});

describe('limits', () => {
    test('a full pool is out of memory', () => {
        assert.throws(() => pool.alloc(1 << 20), { code: 'HL_ERR_OUT_OF_MEMORY', message: /1048576 bytes/ });
    });

    test('the limit holds', () => {
        pool.setLimit(4096);
        assert.throws(() => pool.alloc(5000), { code: 'HL_ERR_LIMIT_REACHED' });
        pool.setLimit(0);
        pool.alloc(5000);
    });
});

describe('heaps', () => {
    test('a pool of the system serves large blocks', () => {
        pool.addSystemHeap(64 << 20);
        const block = pool.alloc(8 << 20);
        block.write('end', block.size - 3);
        assert.equal(block.read(block.size - 3).toString(), 'end');
    });

    test('a heap can not be transferred away', () => {
        try {
            structuredClone(buffer.buffer, { transfer: [/** @type {ArrayBuffer} */ (buffer.buffer)] });
        } catch (error) {
            assert.equal(/** @type {Error} */ (error).name, 'DataCloneError');
        }
        assert.equal(buffer.length, 64 * KIB);
    });

    test('a pool is left alone once a heap is detached', () => {
        // In another process, whose pools all are of no use from then on.
        const program = `
            const { Pool } = require('heapmaster');
            const memory = new WebAssembly.Memory({ initial: 1, maximum: 2 });
            const pool = new Pool();
            pool.addHeap(new Uint8Array(memory.buffer));
            const block = pool.alloc(10);
            memory.grow(1);
            const uses = [() => pool.alloc(1), () => pool.check(), () => pool.close(), () => block.read()];
            for (const use of uses)
                try {
                    use();
                } catch (error) {
                    console.log(error.message);
                }`;
        const run = spawnSync(process.execPath, ['-e', program], { cwd: __dirname });
        assert.equal(run.stdout.toString(), 'the buffer of a heap is detached\n'.repeat(4));
    });

    test('a heap is as large as its memory, whatever it says', () => {
        class Boastful extends Uint8Array {
            get byteLength() {
                return 128 * KIB;
            }
        }
        assert.throws(() => pool.addHeap(new Boastful(64 * KIB)), RangeError);
    });

    test('what can be no heap is refused', () => {
        assert.throws(() => pool.addHeap(buffer), { code: 'HL_ERR_HEAP_OVERLAPS' });
        assert.throws(() => pool.addHeap(Buffer.alloc(16)), { code: 'HL_ERR_HEAP_TOO_SMALL' });
        assert.throws(() => pool.addHeap(/** @type {any} */ ('text')), TypeError);
        // @ts-ignore: Node 20 has resizable buffers, the declarations of its JavaScript have not.
        const resizable = new Uint8Array(new ArrayBuffer(64 * KIB, { maxByteLength: 128 * KIB }));
        assert.throws(() => pool.addHeap(resizable), TypeError);
    });

    test('forgotten pools give their buffers back, which stay till then', async () => {
        const memory = Buffer.alloc(64 * KIB);
        (() => {
            const forgotten = new Pool();
            forgotten.addHeap(memory);
            forgotten.alloc(100);
        })();
        assert.throws(() => pool.addHeap(memory), { code: 'HL_ERR_HEAP_OVERLAPS' });
        /** @type {any} */ (require('node:v8')).setFlagsFromString('--expose-gc');
        const collect = require('node:vm').runInNewContext('gc');
        for (;;) {
            collect();
            await new Promise((resolve) => setImmediate(resolve));
            try {
                return pool.addHeap(memory);
            } catch (error) {
                if (!(error instanceof HeapMasterError)) throw error;
            }
        }
    });
});

test('a closed pool refuses everything but another close', () => {
    const block = pool.alloc(100);
    pool.close();
    pool.close();
    pool[Symbol.dispose]();
    assert.ok(pool.closed && !block.live);
    const uses = [
        () => pool.alloc(1),
        () => pool.statistics(),
        () => pool.check(),
        () => pool.walk(),
        () => pool.addHeap(buffer),
        () => block.release(),
        () => block.read(),
    ];
    for (const use of uses) assert.throws(use, closed);
});

describe('insight', () => {
    test('each statistic counts what its name says', () => {
        pool.addSystemHeap(1 << 20);
        const blocks = [100, 1000, 2000, 3000, 4000, 5000].map((size) => pool.alloc(size));
        for (const block of blocks.slice(0, 2)) block.release();
        for (let i = 0; i < 3; ++i) assert.throws(() => blocks[0].release(), alreadyReleased);
        assert.throws(() => pool.alloc(1 << 30), { code: 'HL_ERR_OUT_OF_MEMORY' });
        pool.setLimit(1 << 19);

        const now = pool.statistics();
        assert.equal(now.heaps, 2);
        assert.equal(now.liveBlocks, 4);
        assert.equal(now.liveBytes, blocks.slice(2).reduce((sum, block) => sum + block.usableSize, 0));
        assert.equal(now.allocations, 6);
        assert.equal(now.releases, 2);
        assert.equal(now.misuses, 3);
        assert.equal(now.failures, 1);
        assert.equal(now.limit, 1 << 19);
        assert.equal(now.capacityBytes, now.usedBytes + now.freeBytes);
        assert.ok(now.peakUsedBytes > now.usedBytes && now.usedBytes > 14000);
        assert.ok(now.freeBytes > now.largestFreeBlock && now.largestFreeBlock > now.usedBytes);
        assert.ok(now.metadataBytes > 0 && now.metadataBytes < now.capacityBytes);
    });

    test('a walk shows live blocks in the order of their addresses', () => {
        const blocks = [10, 200, 3000].map((size) => pool.alloc(size));
        const walked = pool.walk();
        const live = walked.filter((block) => block.live).map((block) => block.address);
        const sorted = blocks.map((block) => block.address).sort((a, b) => Number(a - b));
        assert.deepEqual(live, sorted);
        const total = walked.reduce((sum, block) => sum + block.size, 0);
        assert.equal(total, pool.statistics().capacityBytes);
    });
});
