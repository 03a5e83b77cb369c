// CWE-122 and CWE-124: a program writes behind a block's end, or before its start. CWE-126 and CWE-127: it reads there.
//
// out_of_bounds HOW SIZE DISTANCE API WHEN
//
// DISTANCE is that of the furthest byte from the block. Some ways touch all bytes up to there, some that one alone.

#include "misuse.h"

#include <fcntl.h>

// All that is known of the access: the block has `size` bytes.
struct Access {
    char *block;
    size_t size;
    size_t distance;

    size_t reach() const { return size + distance; }
};

// Something of the program's own to copy from and to.
static char other[4 << 20];

static int zeroes() { return open("/dev/zero", O_RDONLY); }
static int nowhere() { return open("/dev/null", O_WRONLY); }

static const char *text_of(size_t length) {
    memset(other, 'A', length);
    other[length] = '\0';
    return other;
}

// --- Writing behind the end ---

static void write_loop(Access it) {
    for (size_t i = 0; i < it.reach(); i++) it.block[i] = 'A';
}

static void write_words(Access it) {
    for (size_t i = 0; i < it.reach(); i += 8) reinterpret_cast<int64_t *>(it.block)[i / 8] = 5;
}

static void write_memcpy(Access it) { memcpy(it.block, text_of(it.reach()), it.reach()); }
static void write_memmove(Access it) { memmove(it.block, text_of(it.reach()), it.reach()); }
static void write_memset(Access it) { memset(it.block, 'A', it.reach()); }
static void write_strcpy(Access it) { strcpy(it.block, text_of(it.reach() - 1)); }
static void write_strncpy(Access it) { strncpy(it.block, text_of(it.size / 2), it.reach()); }
static void write_snprintf(Access it) { snprintf(it.block, it.reach(), "%s", text_of(it.reach())); }
static void write_sprintf(Access it) { sprintf(it.block, "%s", text_of(it.reach() - 1)); }

static void write_strcat(Access it) {
    it.block[it.size / 2] = '\0';
    size_t length = strlen(it.block);
    strcat(it.block, text_of(it.reach() - length - 1));
}

static void write_index(Access it) { it.block[it.reach() - 1] = 'A'; }

static void write_word(Access it) {
    memcpy(it.block + it.reach() - sizeof(int64_t), "12345678", sizeof(int64_t));
}

struct Record {
    int32_t key;
    char name[12];
    int64_t value;
};

// The elements of an array, up to one that holds the last byte.
static void write_records(Access it) {
    auto *records = reinterpret_cast<Record *>(it.block);
    for (size_t i = 0; i * sizeof(Record) < it.reach(); i++) records[i].key = 7;
    records[(it.reach() - 1) / sizeof(Record)].value = 7;
}

static void write_member(Access it) {
    auto *records = reinterpret_cast<Record *>(it.block);
    records[(it.reach() - 1) / sizeof(Record)].value = 7;
}

static void write_system(Access it) { sink = read(zeroes(), it.block, it.reach()) > 0; }

// --- Writing before the start ---

static void write_index_before(Access it) { it.block[-static_cast<ptrdiff_t>(it.distance)] = 'A'; }

static void write_loop_before(Access it) {
    for (ptrdiff_t i = static_cast<ptrdiff_t>(it.size) - 1; i >= -static_cast<ptrdiff_t>(it.distance); i--) {
        it.block[i] = 'A';
    }
}

static void write_memcpy_before(Access it) { memcpy(it.block - it.distance, text_of(it.size), it.size); }
static void write_memset_before(Access it) { memset(it.block - it.distance, 'A', it.size); }
static void write_strcpy_before(Access it) { strcpy(it.block - it.distance, text_of(it.size - 1)); }
static void write_word_before(Access it) { memcpy(it.block - it.distance, "12345678", sizeof(int64_t)); }

// --- Reading behind the end ---

static void read_loop(Access it) {
    for (size_t i = 0; i < it.reach(); i++) read_byte(it.block + i);
}

static void read_words(Access it) {
    for (size_t i = 0; i < it.reach(); i += 8) read_byte(it.block + i);
}

static void read_memcpy(Access it) { memcpy(other, it.block, it.reach()); }
static void read_memmove(Access it) { memmove(other, it.block, it.reach()); }
static void read_memcmp(Access it) { sink = memcmp(other, memcpy(other, it.block, it.size), it.reach()) != 0; }
static void read_index(Access it) { read_byte(it.block + it.reach() - 1); }
static void read_system(Access it) { sink = write(nowhere(), it.block, it.reach()) > 0; }

static void read_records(Access it) {
    auto *records = reinterpret_cast<Record *>(it.block);
    for (size_t i = 0; i * sizeof(Record) < it.reach(); i++) read_byte(&records[i].value);
}

static void read_string(Access it) {
    // Without the zero that it needs.
    sink = strnlen(it.block, it.reach()) > it.size;
}

// --- Reading before the start ---

static void read_index_before(Access it) { read_byte(it.block - it.distance); }

static void read_loop_before(Access it) {
    for (ptrdiff_t i = static_cast<ptrdiff_t>(it.size) - 1; i >= -static_cast<ptrdiff_t>(it.distance); i--) {
        read_byte(it.block + i);
    }
}

static void read_memcpy_before(Access it) { memcpy(other, it.block - it.distance, it.size); }
static void read_memmove_before(Access it) { memmove(other, it.block - it.distance, it.size); }
static void read_system_before(Access it) { sink = write(nowhere(), it.block - it.distance, it.size) > 0; }

static const Choice<void (*)(Access)> ways[] = {
    {"write-loop", write_loop},
    {"write-words", write_words},
    {"write-memcpy", write_memcpy},
    {"write-memmove", write_memmove},
    {"write-memset", write_memset},
    {"write-strcpy", write_strcpy},
    {"write-strncpy", write_strncpy},
    {"write-snprintf", write_snprintf},
    {"write-sprintf", write_sprintf},
    {"write-strcat", write_strcat},
    {"write-index", write_index},
    {"write-word", write_word},
    {"write-records", write_records},
    {"write-member", write_member},
    {"write-system", write_system},
    {"write-index-before", write_index_before},
    {"write-loop-before", write_loop_before},
    {"write-memcpy-before", write_memcpy_before},
    {"write-memset-before", write_memset_before},
    {"write-strcpy-before", write_strcpy_before},
    {"write-word-before", write_word_before},
    {"read-loop", read_loop},
    {"read-words", read_words},
    {"read-memcpy", read_memcpy},
    {"read-memmove", read_memmove},
    {"read-memcmp", read_memcmp},
    {"read-index", read_index},
    {"read-system", read_system},
    {"read-records", read_records},
    {"read-string", read_string},
    {"read-index-before", read_index_before},
    {"read-loop-before", read_loop_before},
    {"read-memcpy-before", read_memcpy_before},
    {"read-memmove-before", read_memmove_before},
    {"read-system-before", read_system_before},
};

// What becomes of the block.
static void released(Scene &scene) {
    scene.release();
    scene.release_others();
}

static void released_after_work(Scene &scene) {
    work_on();
    scene.release_others();
    scene.release();
    work_on();
}

// Its content moves on, as when a buffer grows.
static void replaced(Scene &scene) {
    char *larger = scene.filled(scene.size * 2);
    memcpy(larger, scene.block, scene.size);
    scene.release();
    scene.block = larger;
    released(scene);
}

static void kept(Scene &) {}

static void kept_at_work(Scene &scene) {
    scene.release_others();
    work_on();
}

static void exits(Scene &) { exit(0); }

static const Choice<void (*)(Scene &)> whens[] = {
    {"released", released},   {"released-after-work", released_after_work},
    {"replaced", replaced},    {"kept", kept},
    {"kept-at-work", kept_at_work}, {"exits", exits},
};

int main(int, char **arguments) {
    begin();
    Scene scene(named(apis, arguments[4]), number(arguments[2]));
    choice(ways, arguments[1])({scene.block, scene.size, number(arguments[3])});
    choice(whens, arguments[5])(scene);
    return 0;
}
