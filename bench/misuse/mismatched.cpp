// CWE-762: a block is released by what does not go with its allocation; or, by a sized delete, with a size that is not
// its own, as when an object is deleted by a pointer to another type.
//
// mismatched ALLOCATION RELEASE SIZE

#include "misuse.h"

// Its arrays begin with their length.
struct Counted {
    char bytes[8];
    ~Counted() { read_byte(bytes); }
};

static void *text(size_t size) {
    char *source = static_cast<char *>(memset(malloc(size), 'a', size));
    source[size - 1] = '\0';
    char *copy = strdup(source);
    free(source);
    return copy;
}

static void *objects(size_t size) { return new Counted[size / sizeof(Counted)]; }
static void delete_object(void *block) { delete static_cast<Counted *>(block); }
static void delete_objects(void *block) { delete[] static_cast<Counted *>(block); }

static void resize(void *block) { free(realloc(block, 50)); }

static size_t allocated;

static size_t told(size_t size) { return size; }
static void sized_less(void *block) { ::operator delete(block, told(allocated / 2)); }
static void sized_one_less(void *block) { ::operator delete(block, told(allocated - 1)); }
static void sized_one_more(void *block) { ::operator delete(block, told(allocated + 1)); }
static void sized_more(void *block) { ::operator delete(block, told(allocated * 2)); }
static void sized_array_less(void *block) { ::operator delete[](block, told(allocated / 2)); }
static void sized_array_more(void *block) { ::operator delete[](block, told(allocated * 2)); }

static const Choice<void *(*)(size_t)> allocations[] = {
    {"malloc", malloc},   {"calloc", zeroed},    {"realloc", grown},        {"aligned", aligned}, {"text", text},
    {"new", new_one},     {"new[]", new_array},  {"new-aligned", new_aligned}, {"objects", objects},
};

static const Choice<void (*)(void *)> releases[] = {
    {"free", free},
    {"realloc", resize},
    {"delete", delete_one},
    {"delete[]", delete_array},
    {"delete-object", delete_object},
    {"delete[]-objects", delete_objects},
    {"delete-less", sized_less},
    {"delete-one-less", sized_one_less},
    {"delete-one-more", sized_one_more},
    {"delete-more", sized_more},
    {"delete[]-less", sized_array_less},
    {"delete[]-more", sized_array_more},
};

int main(int, char **arguments) {
    begin();
    allocated = number(arguments[3]);
    char *others[] = {new char[allocated], new char[allocated]};
    void *block = choice(allocations, arguments[1])(allocated);
    if (strcmp(arguments[1], "objects") != 0) memset(block, 'a', allocated - 1);
    delete[] others[0];
    choice(releases, arguments[2])(block);
    delete[] others[1];
    work_on();
    return 0;
}
