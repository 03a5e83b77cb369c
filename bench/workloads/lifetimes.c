// Long-lived and short-lived objects: each thread builds and drops small lists over a table of 50,000
// entries in all, of which one is replaced now and then.

#include "workload.h"

enum { ENTRIES = 50000, LIST = 20 };

typedef struct Node {
    struct Node *next;
    char data[];
} Node;

static unsigned shares;

static Node *node(Random *random, Node *next) {
    size_t size = 8 + below(random, 120);
    Node *node = checked(malloc(sizeof *node + size));
    node->next = next;
    node->data[size - 1] = 1;
    return node;
}

static void *live(void *argument) {
    Worker *worker = argument;
    Random random = seeded(worker->number);
    size_t entries = ENTRIES / shares;
    Node **table = checked(calloc(entries, sizeof *table));
    for (size_t i = 0; i < entries; i++) table[i] = node(&random, NULL);
    for (size_t done = 0; done < worker->work; done += LIST + 1) {
        Node *list = NULL;
        for (int i = 0; i < LIST; i++) list = node(&random, list);
        size_t entry = below(&random, entries);
        free(table[entry]);
        table[entry] = node(&random, NULL);
        while (list) {
            Node *following = list->next;
            free(list);
            list = following;
        }
    }
    for (size_t i = 0; i < entries; i++) free(table[i]);
    free(table);
    return NULL;
}

static void run(unsigned threads, size_t work) {
    shares = threads;
    on_threads(threads, work, live);
}
