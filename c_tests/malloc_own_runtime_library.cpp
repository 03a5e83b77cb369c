// See malloc_own_runtime.cpp.
#include <string>

std::string *own_runtime_make();
void own_runtime_take(std::string *text);

std::string *own_runtime_make() { return new std::string(1000, 'x'); }
void own_runtime_take(std::string *text) { delete text; }
