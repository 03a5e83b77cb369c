/* mallinfo2 and its like tell what is so. */
#include "malloc_check.h"

#include <limits.h>
#include <malloc.h>
#include <pthread.h>

enum { KIB = 1024, MIB = 1024 * KIB, BLOCKS = 1000, BLOCK_SIZE = 1000 };

static void *blocks[BLOCKS];

static void allocate_a_megabyte(void) {
    for (int i = 0; i < BLOCKS; i++) {
        blocks[i] = memset(malloc(BLOCK_SIZE), i, BLOCK_SIZE);
    }
}

static void release_it(void) {
    for (int i = 0; i < BLOCKS; i++) {
        free(blocks[i]);
    }
}

static void mallinfo2_follows_what_the_program_does(void) {
    struct mallinfo2 before = mallinfo2();
    allocate_a_megabyte();
    struct mallinfo2 held = mallinfo2();
    release_it();
    struct mallinfo2 after = mallinfo2();

    /* A block is at most a fifth larger than was asked for; some may be sampled, and not be the pool's. */
    size_t in_use = held.uordblks - before.uordblks;
    size_t least = (BLOCKS - (is_hardened() ? 256 : 0)) * BLOCK_SIZE;
    CHECK(in_use >= least && in_use <= BLOCKS * BLOCK_SIZE * 6 / 5);
    CHECK(after.uordblks - before.uordblks <= waiting());
    const struct mallinfo2 all[] = {before, held, after};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        CHECK_EQUAL(all[i].arena, all[i].uordblks + all[i].fordblks);
        CHECK_EQUAL(all[i].hblkhd, 0);
    }
}

static void a_large_block_counts_as_any_other(void) {
    struct mallinfo2 before = mallinfo2();
    void *block = malloc(100 * MIB);
    CHECK(block != NULL);
    CHECK(mallinfo2().uordblks - before.uordblks >= 100 * MIB);
    free(block);
    /* However large it is, the last one waits. */
    CHECK(is_hardened() || mallinfo2().uordblks == before.uordblks);
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
static void mallinfo_says_the_same_as_far_as_int_goes(void) {
    allocate_a_megabyte();
    struct mallinfo2 large = mallinfo2();
    struct mallinfo small = mallinfo();
    CHECK_EQUAL(small.uordblks, large.uordblks);
    CHECK_EQUAL(small.fordblks, large.fordblks);
    CHECK_EQUAL(small.arena, large.arena);
    release_it();
    /* Not touched, so not paid for. */
    void *block = malloc((size_t)3 * KIB * MIB);
    if (block != NULL) {
        CHECK_EQUAL(mallinfo().uordblks, INT_MAX);
        free(block);
    }
}
#pragma GCC diagnostic pop

/* The number after these words. */
static size_t figure(const char *text, const char *words) {
    const char *found = strstr(text, words);
    CHECK(found != NULL);
    return strtoull(found + strlen(words), NULL, 10);
}

static void malloc_info_writes_xml(void) {
    char *text;
    size_t length;
    FILE *stream = open_memstream(&text, &length);
    CHECK_EQUAL(malloc_info(1, stream), EINVAL);
    CHECK_EQUAL(fflush(stream), 0);
    CHECK_EQUAL(length, 0);
    allocate_a_megabyte();
    size_t in_use = mallinfo2().uordblks;
    CHECK_EQUAL(malloc_info(0, stream), 0);
    release_it();
    CHECK_EQUAL(fclose(stream), 0);
    CHECK(strncmp(text, "<malloc version=\"1\">\n", 21) == 0);
    CHECK(strcmp(text + length - 10, "</malloc>\n") == 0);
    const char *live = strstr(text, "<total type=\"live\" ");
    CHECK(live != NULL && figure(live, "count=\"") >= BLOCKS);
    CHECK_EQUAL(figure(live, "size=\""), in_use);
    CHECK(figure(text, "<system type=\"current\" size=\"") >= in_use);
    CHECK(figure(text, "<system type=\"max\" size=\"") >=
          figure(text, "<system type=\"current\" size=\""));
    free(text);
}

static void malloc_stats_writes_on_standard_error(void) {
    char text[2000] = "";
    FILE *file = tmpfile();
    int standard_error = dup(STDERR_FILENO);
    CHECK(file != NULL && standard_error >= 0);
    allocate_a_megabyte();
    CHECK(dup2(fileno(file), STDERR_FILENO) >= 0);
    errno = UNTOUCHED;
    malloc_stats();
    CHECK_EQUAL(errno, UNTOUCHED);
    CHECK(dup2(standard_error, STDERR_FILENO) >= 0);
    rewind(file);
    CHECK(fread(text, 1, sizeof text - 1, file) > 100);
    CHECK(strncmp(text, "heapmaster:\n", 12) == 0);
    CHECK(figure(text, "live blocks      =") >= BLOCKS);
    CHECK(figure(text, "live bytes       =") >= BLOCKS * BLOCK_SIZE);
    CHECK(figure(text, "used bytes       =") >= figure(text, "live bytes       ="));
    CHECK_EQUAL(figure(text, "misuses          ="), 0);
    release_it();
    CHECK_EQUAL(fclose(file), 0);
}

/* Whether it was one block or many. */
static void malloc_trim_gives_memory_back(void) {
    /* The kernel counts pages roughly, and takes some of the program's own when memory is short. */
    enum { SIZE = 64 * MIB, PIECES = SIZE / KIB, SLACK = SIZE / 8 };
    static void *pieces[PIECES];
    malloc_trim(0);
    size_t before = resident();

    memset(blocks[0] = malloc(SIZE), 1, SIZE);
    CHECK(resident() >= before + SIZE - SLACK);
    free(blocks[0]);
    malloc_trim(0);
    CHECK(resident() <= before + SLACK);

    for (int i = 0; i < PIECES; i++) {
        pieces[i] = memset(malloc(KIB), i, KIB);
    }
    CHECK(resident() >= before + SIZE - SLACK);
    for (int i = 0; i < PIECES; i++) {
        free(pieces[i]);
    }
    malloc_trim(0);
    /* Nothing is left to give back. */
    CHECK_EQUAL(malloc_trim(0), 0);
    CHECK(resident() <= before + SLACK);
}

enum { HANDED = 40000 };

static void *handed[HANDED];

static void *release_the_rest(void *unused) {
    for (int i = 1; i < HANDED; i += 2) {
        free(handed[i]);
    }
    return unused;
}

/* Blocks that this thread has allocated, of which another released the last ones. */
static void malloc_trim_gives_back_what_another_thread_released(void) {
    malloc_trim(0);
    size_t before = resident();
    for (int i = 0; i < HANDED; i++) {
        handed[i] = memset(malloc(KIB), i, KIB);
    }
    for (int i = 0; i < HANDED; i += 2) {
        free(handed[i]);
    }
    pthread_t other;
    CHECK_EQUAL(pthread_create(&other, NULL, release_the_rest, NULL), 0);
    CHECK_EQUAL(pthread_join(other, NULL), 0);
    malloc_trim(0);
    CHECK(resident() <= before + 8 * MIB);
}

/* A hint is taken, and has no effect. What would change what a program sees is refused. */
static void mallopt_takes_hints(void) {
    const int hints[] = {M_MXFAST,         M_TRIM_THRESHOLD, M_TOP_PAD,  M_MMAP_THRESHOLD,
                         M_MMAP_MAX,       M_ARENA_TEST,     M_ARENA_MAX};
    for (size_t i = 0; i < sizeof hints / sizeof *hints; i++) {
        CHECK_EQUAL(mallopt(hints[i], 64), 1);
    }
    CHECK_EQUAL(mallopt(M_PERTURB, 0xAA), 0);
    CHECK_EQUAL(mallopt(M_CHECK_ACTION, 3), 0);
    CHECK_EQUAL(mallopt(12345, 1), 0);
}

int main(void) {
    check_that_malloc_is_ours();
    mallinfo2_follows_what_the_program_does();
    a_large_block_counts_as_any_other();
    mallinfo_says_the_same_as_far_as_int_goes();
    malloc_info_writes_xml();
    malloc_stats_writes_on_standard_error();
    malloc_trim_gives_memory_back();
    malloc_trim_gives_back_what_another_thread_released();
    mallopt_takes_hints();
    return 0;
}
