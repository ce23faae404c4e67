// The same in C++: the header has its own `extern "C"`.
#include <hearth/hearth.h>

#include <iostream>
#include <string>

int main() {
  const std::string header = std::to_string(HEARTH_VERSION_MAJOR) + "." +
                             std::to_string(HEARTH_VERSION_MINOR) + "." +
                             std::to_string(HEARTH_VERSION_PATCH);
  std::cout << "hello from " << hearth_version() << "\n";
  return header == hearth_version() ? 0 : 1;
}
