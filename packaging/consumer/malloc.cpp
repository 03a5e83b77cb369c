// operator new is HeapMaster's, in the program and in the C++ library, linked or preloaded.
#include <dlfcn.h>
#include <heapmaster.h>

#include <string>
#include <vector>

int main() {
    // By name, so that the program needs no library to be linked.
    const auto default_pool =
        reinterpret_cast<decltype(&hl_default_pool)>(dlsym(RTLD_DEFAULT, "hl_default_pool"));
    const auto owns = reinterpret_cast<decltype(&hl_owns)>(dlsym(RTLD_DEFAULT, "hl_owns"));
    if (default_pool == nullptr || owns == nullptr) {
        return 1;
    }
    const std::vector<int> numbers(1000);
    const std::string text(1000, 'x');
    return owns(default_pool(), numbers.data()) && owns(default_pool(), text.data()) ? 0 : 2;
}
