// CWE-590: memory is released that no allocator handed out. CWE-761: a pointer is released that is not a block's start.
//
// invalid_free WHAT SIZE RELEASE

#include "misuse.h"

#include <alloca.h>
#include <sys/mman.h>

static char static_memory[1 << 20];
static const char constant[] = "a text that the program was built with";

static char *mapped(size_t size) {
    void *memory = mmap(nullptr, size + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) exit(2);
    return static_cast<char *>(memset(memory, 'a', size));
}

static void resize(void *block) {
    if (realloc(block, 50) == block) read_byte(block);
}

static const Choice<void (*)(void *)> releases[] = {
    {"free", free}, {"delete", delete_one}, {"delete[]", delete_array}, {"realloc", resize},
};

int main(int, char **arguments) {
    begin();
    const char *what = arguments[1];
    size_t size = number(arguments[2]);
    auto release = choice(releases, arguments[3]);
    // What would be right for the block's start.
    const Api &api = named(apis, release == delete_one ? "new" : release == delete_array ? "new[]" : "malloc");
    Scene scene(api, size);

    char array[8000];
    memset(array, 'a', sizeof array);
    auto is = [what](const char *name) { return strcmp(what, name) == 0; };
    void *pointer = is("second-byte")   ? scene.block + 1
                    : is("quarter")     ? scene.block + size / 4
                    : is("middle")      ? scene.block + size / 2
                    : is("last-byte")   ? scene.block + size - 1
                    : is("array")       ? array
                    : is("in-array")    ? array + 64
                    : is("alloca")      ? memset(alloca(size / 2 + 16), 'a', size / 2 + 16)
                    : is("argument")    ? arguments[2]
                    : is("static")      ? memset(static_memory, 'a', size)
                    : is("in-static")   ? memset(static_memory + 4096, 'a', 64)
                    : is("constant")    ? const_cast<char *>(constant)
                    : is("function")    ? reinterpret_cast<void *>(begin)
                    : is("mapping")     ? mapped(size)
                    : is("in-mapping")  ? mapped(size) + 64
                    : is("environment") ? getenv("PATH")
                    : is("number")      ? reinterpret_cast<void *>(size * 16 + 0x10000)
                                        : (exit(2), nullptr);
    release(pointer);
    scene.release();
    scene.release_others();
    work_on();
    return 0;
}
