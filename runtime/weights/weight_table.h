// The dense weights: every tensor a block asks for by name, then read into one arena.
//
// Blocks declare what they need while the model is built and keep the returned pointers; the data
// appears behind them when load() has read the file. So the exact bytes are known before anything
// is allocated. Experts are not here (runtime/experts/expert_catalog.h).
#pragma once

#include <deque>
#include <optional>
#include <span>
#include <string>

#include "base/function_ref.h"
#include "base/units.h"
#include "io/arena.h"
#include "io/async_reader.h"
#include "io/gguf.h"
#include "kernels/weight_format.h"
#include "runtime/weights/tensor_source.h"

namespace hearth::runtime {

// Shape of a block of each weight format, as the GGUF reader wants it.
std::optional<io::BlockShape> block_shape_of(std::uint32_t gguf_type);

// Shape and format of a tensor in the file as a matrix, or an Error naming what is wrong with it.
kernels::WeightFormat checked_format(const io::GgufFile& file, const io::GgufTensor& tensor);

[[noreturn]] void throw_missing_tensor(const io::GgufFile& file, const std::string& name);

// A vector of f32 (norm, bias, scale); null data before load().
struct WeightVector {
  const kernels::WeightMatrix* matrix = nullptr;
  bool present() const { return matrix != nullptr; }
  // Row `index` of several vectors in one tensor.
  const float* row(std::uint32_t index) const {
    return data() + std::size_t{index} * matrix->columns;
  }
  const float* data() const { return reinterpret_cast<const float*>(matrix->data); }
};

// Some rows of a matrix: of each of `count` groups, `stride` apart, the first `rows`.
struct RowGroups {
  std::uint32_t count = 0;
  std::uint32_t rows = 0;
  std::uint32_t stride = 0;
};

class WeightTable {
 public:
  // Without a source, tensors are those of the file.
  explicit WeightTable(const io::GgufFile& file, TensorSource* source = nullptr)
      : file_(file), source_(source) {}
  WeightTable(const WeightTable&) = delete;
  WeightTable& operator=(const WeightTable&) = delete;

  // Throw Error(kBadFile) when the tensor is missing or has another shape, Error(kUnsupported) for
  // an unknown format. Asking twice for one name gives the same pointer.
  const kernels::WeightMatrix* matrix(const std::string& name, std::uint32_t rows,
                                      std::uint32_t columns);
  WeightVector vector(const std::string& name, std::uint32_t size);
  WeightVector optional_vector(const std::string& name,
                               std::uint32_t size);  // absent: not present()
  // [rows][size], one vector for each expert.
  WeightVector optional_vectors(const std::string& name, std::uint32_t rows, std::uint32_t size);
  // `count` matrices in one tensor of three dimensions, one after the other.
  const kernels::WeightMatrix* matrices(const std::string& name, std::uint32_t count,
                                        std::uint32_t rows, std::uint32_t columns);
  // Each group of rows of `source` with rows and columns exchanged, one after the other, in f16:
  // [count × columns][rows]. Made by load() of what was read, in memory of its own that
  // arena_bytes() and weight_bytes() count.
  const kernels::WeightMatrix* transposed(const kernels::WeightMatrix* source,
                                          const RowGroups& groups);
  bool has(const std::string& name) const {
    return source_ != nullptr ? source_->has(name) : file_.find(name) != nullptr;
  }
  // A tensor that must be there, for whoever reads it otherwise. Its shape is not checked.
  const io::GgufTensor& tensor(const std::string& name, std::span<const std::uint64_t> shape) const;
  const io::GgufFile& file() const { return file_; }

  // Bytes of the arena load() needs when reads are aligned to `alignment`.
  Bytes arena_bytes(std::uint64_t alignment) const;
  Bytes weight_bytes() const;  // of the tensors themselves, and of what is made of them
  // Every matrix with the tensor it is, or is made of.
  void for_each(FunctionRef<void(const io::GgufTensor&, const kernels::WeightMatrix&)> visit) const;
  // The two kinds of them apart. What is made and was not loaded is made of what is read now, and
  // gone after the call; the reader has nothing else to do.
  void for_each_tensor(
      FunctionRef<void(const io::GgufTensor&, const kernels::WeightMatrix&)> visit) const;
  void for_each_made(
      io::AsyncReader& reader,
      FunctionRef<void(const kernels::WeightMatrix&, std::span<const std::byte>)> visit) const;

  // Reads everything. `progress` gets bytes read so far.
  void load(io::AsyncReader& reader, io::Arena& arena, FunctionRef<void(Bytes)> progress);
  // Reads the vectors alone, where a device computes with the matrices: the host needs those of its
  // experts and of rotations. vector_bytes() of the arena.
  void load_vectors(io::AsyncReader& reader, io::Arena& arena, FunctionRef<void(Bytes)> progress);
  Bytes vector_bytes(std::uint64_t alignment) const;

 private:
  struct Entry {
    const io::GgufTensor* tensor;
    kernels::WeightMatrix matrix;
    bool vector = false;
  };
  Entry& declare(const io::GgufTensor& tensor, std::uint32_t rows, std::uint32_t columns,
                 std::uint32_t dimensions);
  WeightVector floats(const std::string& name, std::uint32_t rows, std::uint32_t size,
                      std::uint32_t dimensions);

  struct Made {
    const Entry* source;
    RowGroups groups;
    kernels::WeightMatrix matrix;
  };
  static void make(const Made& made, const kernels::WeightMatrix& source, std::byte* out);
  static Bytes window_bytes(const Entry& entry, std::uint64_t alignment);
  void read(std::span<Entry* const> entries, io::AsyncReader& reader, io::Arena& arena,
            FunctionRef<void(Bytes)> progress) const;

  const io::GgufFile& file_;
  TensorSource* const source_;
  std::deque<Entry> entries_;  // stable addresses
  std::deque<Made> made_;
};

}  // namespace hearth::runtime
