// A folder in place of /, with what a test says that the kernel tells of control groups.
#pragma once

#include <filesystem>
#include <fstream>
#include <string_view>

#include "tests/io/support/temporary_directory.h"

namespace hearth::runtime {

class MadeUpRoot {
 public:
  std::filesystem::path path() const { return directory_.file(""); }
  void write(const std::filesystem::path& file, std::string_view text) const {
    std::filesystem::create_directories((path() / file).parent_path());
    std::ofstream(path() / file) << text;
  }

 private:
  io::TemporaryDirectory directory_;
};

}  // namespace hearth::runtime
