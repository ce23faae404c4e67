// GGUF files: metadata and the directory of tensors (format: ggml docs/gguf.md, versions 2 and 3).
//
// A model is one file or a split set name-00001-of-0000N.gguf; opening the first part opens all.
// Nothing read from a file is trusted: every count, length and offset is compared with the bytes
// that are really there before anything is allocated or followed. A violation throws
// Error(kBadFile) with file, position and what to do.
//
// io knows nothing of weight formats; the caller passes the shape of a block for each type id.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "base/units.h"

namespace hearth::io {

struct GgufArray;
struct GgufPart;

// Integers are widened (unsigned to uint64, signed to int64), floats to double.
using GgufValue = std::variant<std::uint64_t, std::int64_t, double, bool, std::string,
                               std::shared_ptr<GgufArray>>;

// Arrays keep one vector of their widened element type; nested arrays are rejected as unsupported.
struct GgufArray {
  std::variant<std::vector<std::uint64_t>, std::vector<std::int64_t>, std::vector<double>,
               std::vector<bool>, std::vector<std::string>>
      values;
  std::size_t size() const;
};

class GgufMetadata {
 public:
  struct Entry {
    std::string key;
    GgufValue value;
  };

  GgufMetadata() = default;
  explicit GgufMetadata(std::string file) : file_(std::move(file)) {}  // named in messages

  const std::string& file() const { return file_; }               // empty if not read from one
  const std::vector<Entry>& entries() const { return entries_; }  // in file order
  bool has(std::string_view key) const { return find(key) != nullptr; }
  const GgufValue* find(std::string_view key) const;  // null if absent

  // Typed access. Absent gives an empty optional; present with a type that cannot stand for the
  // wanted one throws Error(kBadFile) naming the key. Any integer width and sign is accepted where
  // the value fits, and where `element` is given, an array is indexed by it and a scalar stands
  // for every element (per-layer keys come in both forms).
  std::optional<std::uint64_t> unsigned_integer(std::string_view key) const;
  std::optional<std::uint64_t> unsigned_integer(std::string_view key, std::size_t element) const;
  std::optional<double> real(std::string_view key) const;  // integers are accepted
  std::optional<bool> boolean(std::string_view key) const;
  std::optional<std::string_view> string(std::string_view key) const;

  const std::vector<std::string>* strings(std::string_view key) const;  // null if absent
  std::optional<std::vector<double>> reals(std::string_view key) const;
  // Booleans count as 0 and 1: per-layer flags are stored in both forms.
  std::optional<std::vector<std::int64_t>> integers(std::string_view key) const;

  void set(std::string key, GgufValue value);  // replaces or appends

 private:
  std::vector<Entry> entries_;
  std::unordered_map<std::string, std::size_t> index_;
  std::string file_;
};

// Values per block and bytes per block of a tensor type.
struct BlockShape {
  std::uint32_t values = 0;
  std::uint32_t bytes = 0;
};
using BlockShapeOf = std::optional<BlockShape> (*)(std::uint32_t type_id);  // empty: unknown type

struct GgufTensor {
  std::string name;
  std::array<std::uint64_t, 4> shape{1, 1, 1, 1};  // shape[0] varies fastest; unused ones are 1
  std::uint32_t dimensions = 0;
  std::uint32_t type_id = 0;
  std::uint32_t file = 0;     // index into GgufFile::paths()
  std::uint64_t offset = 0;   // of the first byte, absolute in that file
  std::optional<Bytes> size;  // empty where the type is unknown; else inside the file

  std::uint64_t elements() const { return shape[0] * shape[1] * shape[2] * shape[3]; }
};

class GgufFile {
 public:
  // Whether the tensors must be there. A file that ends after its directory, or anywhere later,
  // still says what the model would need.
  enum class Data { kPresent, kMayBeMissing };

  // `path`: the file, or the first part of a split set.
  static GgufFile open(const std::string& path, BlockShapeOf block_shape_of,
                       Data data = Data::kPresent);
  // The same from memory, for tests and fuzzing. `name` appears in messages. A split set is not
  // followed: the key split.count > 1 is an error.
  static GgufFile parse(std::span<const std::byte> bytes, const std::string& name,
                        BlockShapeOf block_shape_of);

  // A file that is not written yet, without tensors: what its metadata ask for.
  static GgufFile unwritten(GgufMetadata metadata, const std::string& name);

  const GgufMetadata& metadata() const { return metadata_; }
  const std::vector<GgufTensor>& tensors() const { return tensors_; }  // in file order
  const GgufTensor* find(std::string_view name) const;                 // null if absent
  const std::vector<std::string>& paths() const { return paths_; }
  const std::string& name() const { return paths_.front(); }
  Bytes part_bytes(std::size_t part) const { return part_bytes_[part]; }  // of paths()[part]
  Bytes file_bytes() const;                                               // all parts together
  bool has_data() const { return has_data_; }                             // of every tensor
  std::uint32_t version() const { return version_; }

 private:
  // Appends the next file of the set; the metadata of the first one stays.
  void add(const std::string& path, GgufPart part);

  GgufMetadata metadata_;
  std::vector<GgufTensor> tensors_;
  std::unordered_map<std::string, std::size_t> tensor_index_;
  std::vector<std::string> paths_;
  std::vector<Bytes> part_bytes_;
  std::uint32_t version_ = 0;
  bool has_data_ = true;
};

}  // namespace hearth::io
