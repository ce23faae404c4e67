// The same in C++, with handles that close themselves: hello MODEL.gguf.
#include <hearth/experts.h>
#include <hearth/recording.h>
#include <hearth/hearth.hpp>

#include <algorithm>
#include <cstdint>
#include <iostream>
#include <vector>

int main(int argc, char** argv) try {
  if (argc != 2) return 2;
  auto options = hearth::api::sized<hearth_engine_options>();
  options.context = 64;
  options.threads = 1;
  hearth::api::Engine engine(argv[1], options);
  hearth::api::Session session(engine);
  const std::vector<std::int32_t> tokens = {10, 131, 47};
  const auto logits = session.evaluate(tokens);
  const auto best = std::max_element(logits.begin(), logits.end()) - logits.begin();
  std::cout << "hello from " << hearth_version() << ", token " << best << "\n";
  return 0;
} catch (const hearth::api::Error& error) {
  std::cerr << "hello: " << error.what() << "\n";
  return 1;
}
