// A model file held in memory, to be written again with one thing changed.
#pragma once

#include <algorithm>
#include <fstream>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/check.h"
#include "io/gguf.h"
#include "io/gguf_writer.h"
#include "runtime/engine.h"

namespace hearth::testing {

struct TensorCopy {
  std::string name;
  std::vector<std::uint64_t> shape;
  std::uint32_t type_id = 0;
  std::vector<std::byte> data;
};

class ModelCopy {
 public:
  explicit ModelCopy(const std::string& path) {
    const io::GgufFile file = io::GgufFile::open(path, runtime::block_shape_of);
    entries_ = file.metadata().entries();
    std::ifstream in(path, std::ios::binary);
    for (const io::GgufTensor& tensor : file.tensors()) {
      TensorCopy& copy = tensors_.emplace_back();
      copy.name = tensor.name;
      copy.shape.assign(tensor.shape.begin(), tensor.shape.begin() + tensor.dimensions);
      copy.type_id = tensor.type_id;
      copy.data.resize(tensor.size->count);
      in.seekg(static_cast<std::streamoff>(tensor.offset));
      in.read(reinterpret_cast<char*>(copy.data.data()),
              static_cast<std::streamsize>(copy.data.size()));
    }
    CHECK(in.good());
  }

  TensorCopy& tensor(std::string_view name) {
    const auto found = std::find_if(tensors_.begin(), tensors_.end(),
                                    [&](const TensorCopy& each) { return each.name == name; });
    CHECK(found != tensors_.end());
    return *found;
  }
  void remove_tensor(std::string_view name) {
    CHECK_EQ(std::erase_if(tensors_, [&](const TensorCopy& each) { return each.name == name; }),
             1u);
  }

  void set(const std::string& key, io::GgufValue value) {
    remove_key(key);
    entries_.push_back({key, std::move(value)});
  }
  void set(const std::string& key, std::vector<std::string> strings) {
    set(key, io::GgufValue(std::make_shared<io::GgufArray>(io::GgufArray{std::move(strings)})));
  }
  // The keys of the architecture follow.
  void rename_architecture(const std::string& from, const std::string& to) {
    for (auto& entry : entries_)
      if (entry.key.starts_with(from + ".")) entry.key.replace(0, from.size(), to);
    set("general.architecture", to);
  }
  void remove_key(std::string_view key) {
    std::erase_if(entries_, [&](const auto& entry) { return entry.key == key; });
  }
  const std::vector<std::string>& strings(std::string_view key) const {
    const auto found = std::find_if(entries_.begin(), entries_.end(),
                                    [&](const auto& entry) { return entry.key == key; });
    CHECK(found != entries_.end());
    return std::get<std::vector<std::string>>(
        std::get<std::shared_ptr<io::GgufArray>>(found->value)->values);
  }

  void write(const std::string& path) const { write(path, 0, tensors_.size()); }
  // Only tensors [begin, end), as a part of a split file has them.
  void write(const std::string& path, std::size_t begin, std::size_t end) const {
    io::GgufWriter writer(path);
    for (const auto& entry : entries_) writer.set(entry.key, entry.value);
    for (std::size_t i = begin; i < end; ++i)
      writer.declare(tensors_[i].name, tensors_[i].shape, tensors_[i].type_id,
                     Bytes(tensors_[i].data.size()));
    for (std::size_t i = begin; i < end; ++i) writer.append(tensors_[i].data);
    writer.finish();
  }

  const std::vector<TensorCopy>& tensors() const { return tensors_; }

 private:
  std::vector<io::GgufMetadata::Entry> entries_;
  std::vector<TensorCopy> tensors_;
};

}  // namespace hearth::testing
