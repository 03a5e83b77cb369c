// @ts-check
'use strict';

// A pool over a Buffer: see README.md for how to run it.

const { HeapMasterError, Pool } = require('heapmaster');

const buffer = Buffer.alloc(64 * 1024);
const pool = new Pool();
try {
    pool.addHeap(buffer);

    const greeting = pool.alloc(100);
    greeting.write('hello');
    const zeros = pool.allocZeroed(1000);
    console.log('read back:', greeting.read(0, 5).toString());
    console.log('in the buffer:', buffer.includes('hello') ? 'yes' : 'no');
    console.log('sum of the zeroed bytes:', zeros.read().reduce((sum, byte) => sum + byte));

    zeros.release();
    try {
        zeros.release();
    } catch (error) {
        if (!(error instanceof HeapMasterError)) throw error;
        console.log(`second release: ${error.code}: ${error.message}`);
    }

    const statistics = pool.statistics();
    console.log('heaps:', statistics.heaps);
    console.log('live blocks:', statistics.liveBlocks);
    console.log('allocations:', statistics.allocations);
    console.log('releases:', statistics.releases);
    console.log('misuses:', statistics.misuses);

    greeting.resize(5000);
    console.log('after a resize to 5000:', greeting.read(0, 5).toString());
    pool.check();
} finally {
    pool.close();
}
