/* Blocks are allocated and released by code of which nobody has said how to unwind it: a compiler's that the program
 * has itself, below and above the libraries, and a stack that begins with a return address that is none. */
#include "malloc_check.h"

#include <sys/mman.h>

static void use_memory(void) {
    for (size_t size = 1; size < 3000; size += 100) {
        char *block = malloc(size);
        CHECK(block != NULL);
        memset(block, 7, size);
        free(block);
    }
}

typedef void caller(void (*function)(void));

#if defined __x86_64__
/* sub rsp, 8; call rdi; add rsp, 8; ret */
static const unsigned char code[] = {0x48, 0x83, 0xec, 8, 0xff, 0xd7, 0x48, 0x83, 0xc4, 8, 0xc3};
#elif defined __aarch64__
/* stp x29, x30, [sp, #-16]!; blr x0; ldp x29, x30, [sp], #16; ret */
static const uint32_t code[] = {0xa9bf7bfd, 0xd63f0000, 0xa8c17bfd, 0xd65f03c0};
#endif

static void it_is_called_from(void *wanted) {
    void *page = mmap(wanted, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(page != MAP_FAILED);
    memcpy(page, code, sizeof code);
    CHECK(mprotect(page, 4096, PROT_READ | PROT_EXEC) == 0);
    __builtin___clear_cache(page, (char *)page + sizeof code);
    caller *call;
    memcpy(&call, &page, sizeof call);
    call(use_memory);
}

#if defined __x86_64__
static _Alignas(16) char stack[64 * 1024];

/* Runs the function on a stack of its own, whose outermost call returns to nowhere. */
__attribute__((noinline)) static void on_a_made_up_stack(void (*function)(void)) {
    void **top = (void **)(stack + sizeof stack);
    *--top = (void *)0xdeaddeaddeaddead;
    __asm__ volatile("mov %%rsp, %%rbx\n"
                     "mov %[top], %%rsp\n"
                     "sub $8, %%rsp\n"
                     "call *%[function]\n"
                     "mov %%rbx, %%rsp"
                     :
                     : [top] "r"(top), [function] "r"(function)
                     : "rbx", "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "memory");
}
#endif

int main(void) {
    check_that_malloc_is_ours();
    it_is_called_from((void *)0x10000000);
    it_is_called_from((void *)0x7fff00000000);
#if defined __x86_64__
    on_a_made_up_stack(use_memory);
#endif
    return 0;
}
