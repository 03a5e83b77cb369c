/* A pool in an array, through the C header and whichever library it is linked with. */
#include <heapmaster.h>

static char memory[64 * 1024];

int main(void) {
    hl_pool *pool = hl_pool_new_in(memory, sizeof memory);
    char *block = hl_alloc(pool, 100);
    if (block < memory || block >= memory + sizeof memory) {
        return 1;
    }
    if (hl_release(pool, block) != HL_OK || hl_release(pool, block) != HL_ERR_ALREADY_RELEASED) {
        return 2;
    }
    return hl_pool_delete(pool) == HL_OK ? 0 : 3;
}
