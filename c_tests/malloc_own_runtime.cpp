// A library has a C++ runtime of its own inside, whose operators it alone uses: the program deletes what it made.
#include "malloc_check.h"

#include <string>

std::string *own_runtime_make();
void own_runtime_take(std::string *text);

int main() {
    check_that_malloc_is_ours();
    delete own_runtime_make();
    own_runtime_take(new std::string(1000, 'x'));
    own_runtime_take(own_runtime_make());
}
