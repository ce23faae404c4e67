// A file of made-up experts, and the table that lists them with their hashes.
#pragma once

#include <hearth/experts.h>
#include <xxhash.h>

#include <cstdint>
#include <cstring>
#include <fstream>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/random.h"
#include "tests/io/support/temporary_directory.h"

namespace hearth::testing {

struct ExpertFileShape {
  std::uint32_t layers = 3;
  std::uint32_t experts = 8;
  std::uint32_t parts = 2;
  std::uint32_t bytes = 3000;  // of the first part in layer 0; more in later ones
  bool hashes = true;
};

class ExpertFile {
 public:
  explicit ExpertFile(const ExpertFileShape& shape = {}) : shape_(shape) {
    Random random(shape.layers * 31 + shape.experts);
    for (std::uint32_t l = 0; l < shape.layers; ++l)
      for (std::uint32_t e = 0; e < shape.experts; ++e)
        for (std::uint32_t p = 0; p < shape.parts; ++p) add_part(l, e, p, random);
    file_name_ = directory_.write("experts", std::as_bytes(std::span(bytes_)));
    files_ = file_name_.c_str();
  }
  ExpertFile(const ExpertFile&) = delete;
  ExpertFile& operator=(const ExpertFile&) = delete;

  hearth_expert_table table() const {
    return {sizeof(hearth_expert_table), &files_, 1, rows_.data(), rows_.size()};
  }
  std::vector<hearth_expert_row>& rows() { return rows_; }
  const std::string& path() const { return file_name_; }

  // Of each part of an expert, whether the bytes at the pointer are its own.
  bool is(std::uint32_t layer, std::uint32_t expert, std::uint32_t part, const void* at) const {
    const auto [offset, length] = places_.at({layer, expert, part});
    return std::memcmp(at, bytes_.data() + offset, length) == 0;
  }
  bool is(std::uint32_t layer, std::uint32_t expert, const hearth_expert_memory& memory) const {
    for (std::uint32_t p = 0; p < shape_.parts; ++p)
      if (!is(layer, expert, p, memory.part[p])) return false;
    return memory.parts == shape_.parts;
  }
  // In the file, not in what is expected.
  void damage(std::uint32_t layer, std::uint32_t expert, std::uint32_t part) const {
    std::fstream file(file_name_, std::ios::binary | std::ios::in | std::ios::out);
    const std::size_t at = places_.at({layer, expert, part}).first;
    file.seekp(static_cast<std::streamoff>(at));
    file.put(static_cast<char>(bytes_[at] ^ 1));
  }
  void repair() const {
    std::fstream file(file_name_, std::ios::binary | std::ios::in | std::ios::out);
    file.write(bytes_.data(), static_cast<std::streamsize>(bytes_.size()));
  }

 private:
  struct Key {
    std::uint32_t layer, expert, part;
    auto operator<=>(const Key&) const = default;
  };

  void add_part(std::uint32_t layer, std::uint32_t expert, std::uint32_t part, Random& random) {
    const std::size_t offset = bytes_.size() + random.below(700), length = length_of(layer, part);
    bytes_.resize(offset + length);
    for (std::size_t i = offset; i < bytes_.size(); ++i)
      bytes_[i] = static_cast<char>(random.below(256));
    rows_.push_back({layer, expert, 0, shape_.hashes ? 1u : 0u, offset, length,
                     XXH3_64bits(bytes_.data() + offset, length)});
    places_[{layer, expert, part}] = {offset, length};
  }
  std::size_t length_of(std::uint32_t layer, std::uint32_t part) const {
    return shape_.bytes + 5000 * (layer % 2) + 100 * part;
  }

  ExpertFileShape shape_;
  const io::TemporaryDirectory directory_;
  std::string file_name_;
  const char* files_ = nullptr;
  std::string bytes_;
  std::vector<hearth_expert_row> rows_;
  std::map<Key, std::pair<std::size_t, std::size_t>> places_;
};

}  // namespace hearth::testing
