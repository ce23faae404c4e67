// The command line of hearth-llama-record.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

namespace hearth_llama {

// One line: what, where, what to do. It ends the program with `exit_code`.
class Failure : public std::runtime_error {
 public:
  explicit Failure(const std::string& line, int code = 1)
      : std::runtime_error(line), exit_code(code) {}
  const int exit_code;
};

struct Options {
  std::string model;
  std::string output;
  std::string workload;
  std::vector<std::string> files;       // texts
  std::vector<std::int32_t> token_ids;  // instead of them
  std::uint64_t most_tokens = UINT64_MAX;
  std::uint32_t context = 512;
  std::uint32_t batch = 256;
  std::int32_t threads = 0;      // 0: llama.cpp's choice
  std::int32_t gpu_layers = -1;  // likewise
  bool help = false;
};

// Throws Failure with exit code 2.
Options parse_options(int argc, char** argv);

extern const char kHelp[];

}  // namespace hearth_llama
