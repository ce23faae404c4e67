#include <cstdio>

int main() {
  std::puts("hearth " HEARTH_VERSION);
  return 0;
}
