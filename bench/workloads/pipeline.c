// Producers and consumers: one thread of each pair allocates messages of 16 to 1024 bytes, the other
// releases all of them. A single thread passes them to itself, first in, first out.

#include "workload.h"

enum { CAPACITY = 4096, BATCH = 64 };

typedef struct {
    char *block;
    size_t size;
} Message;

// One writer and one reader; the counts only grow.
typedef struct {
    _Alignas(128) _Atomic size_t written;
    _Alignas(128) _Atomic size_t read;
    Message messages[CAPACITY];
} Queue;

static Queue queues[512];

static void produce(Queue *queue, Random *random, size_t count) {
    size_t written = atomic_load_explicit(&queue->written, memory_order_relaxed);
    while (written + count - atomic_load_explicit(&queue->read, memory_order_acquire) > CAPACITY)
        sched_yield();
    for (size_t i = 0; i < count; i++) {
        size_t size = log_uniform(random, 4, 10);
        queue->messages[(written + i) % CAPACITY] = (Message){block_of(size), size};
    }
    atomic_store_explicit(&queue->written, written + count, memory_order_release);
}

static void consume(Queue *queue, size_t count) {
    size_t read = atomic_load_explicit(&queue->read, memory_order_relaxed);
    while (atomic_load_explicit(&queue->written, memory_order_acquire) - read < count) sched_yield();
    for (size_t i = 0; i < count; i++) {
        Message *message = &queue->messages[(read + i) % CAPACITY];
        release(message->block, message->size);
    }
    atomic_store_explicit(&queue->read, read + count, memory_order_release);
}

static void *alone(void *argument) {
    Worker *worker = argument;
    Random random = seeded(worker->number);
    for (size_t i = 0; i < CAPACITY / BATCH; i++) produce(queues, &random, BATCH);
    for (size_t i = 0; i < worker->work / BATCH; i++) {
        consume(queues, BATCH);
        produce(queues, &random, BATCH);
    }
    for (size_t i = 0; i < CAPACITY / BATCH; i++) consume(queues, BATCH);
    return NULL;
}

static void *one_end(void *argument) {
    Worker *worker = argument;
    Random random = seeded(worker->number);
    Queue *queue = &queues[worker->number / 2];
    for (size_t i = 0; i < 2 * worker->work / BATCH; i++) {
        if (worker->number % 2 == 0)
            produce(queue, &random, BATCH);
        else
            consume(queue, BATCH);
    }
    return NULL;
}

static void run(unsigned threads, size_t work) {
    on_threads(threads, work, threads == 1 ? alone : one_end);
}
