#include "runtime/weights/weight_table.h"

#include <algorithm>
#include <array>

#include "base/check.h"
#include "base/error.h"
#include "io/read_window.h"
#include "runtime/io_error.h"

namespace hearth::runtime {
namespace {

std::string shape_text(const io::GgufTensor& tensor) {
  std::string text;
  for (std::uint32_t i = 0; i < tensor.dimensions; ++i)
    text += fmt::format("{}{}", i == 0 ? "" : " × ", tensor.shape[i]);
  return text;
}

}  // namespace

void throw_missing_tensor(const io::GgufFile& file, const std::string& name) {
  throw_error(ErrorCode::kBadFile, "{}: tensor {} is missing; convert or download the model again",
              file.name(), name);
}

kernels::WeightFormat checked_format(const io::GgufFile& file, const io::GgufTensor& tensor) {
  const auto format = kernels::format_of_gguf_type(tensor.type_id);
  if (!format)
    throw_error(ErrorCode::kUnsupported,
                "{}: tensor {} has weight format {}, which is not supported; use a file quantized "
                "otherwise",
                file.name(), printable(tensor.name), tensor.type_id);
  return *format;
}

const kernels::WeightMatrix* WeightTable::declare(const io::GgufTensor& tensor, std::uint32_t rows,
                                                  std::uint32_t columns, std::uint32_t dimensions) {
  for (const Entry& entry : entries_)
    if (entry.tensor == &tensor) return &entry.matrix;
  const bool fits = tensor.dimensions == dimensions && tensor.shape[0] == columns &&
                    tensor.elements() == std::uint64_t{rows} * columns;
  if (!fits)
    throw_error(ErrorCode::kBadFile,
                "{}: tensor {} has shape {} where {}{} is expected; "
                "the file does not match its metadata",
                file_.name(), printable(tensor.name), shape_text(tensor), columns,
                dimensions > 1 ? fmt::format(" × {}", rows) : "");
  entries_.push_back({&tensor, {checked_format(file_, tensor), rows, columns, nullptr}});
  return &entries_.back().matrix;
}

const kernels::WeightMatrix* WeightTable::matrix(const std::string& name, std::uint32_t rows,
                                                 std::uint32_t columns) {
  const io::GgufTensor* tensor = file_.find(name);
  if (tensor == nullptr) throw_missing_tensor(file_, name);
  return declare(*tensor, rows, columns, 2);
}

WeightVector WeightTable::vector(const std::string& name, std::uint32_t size) {
  const WeightVector found = optional_vector(name, size);
  if (!found.present()) throw_missing_tensor(file_, name);
  return found;
}

WeightVector WeightTable::optional_vector(const std::string& name, std::uint32_t size) {
  return optional_floats(name, 1, size, 1);
}

WeightVector WeightTable::optional_vectors(const std::string& name, std::uint32_t rows,
                                           std::uint32_t size) {
  return optional_floats(name, rows, size, 2);
}

WeightVector WeightTable::optional_floats(const std::string& name, std::uint32_t rows,
                                          std::uint32_t size, std::uint32_t dimensions) {
  const io::GgufTensor* tensor = file_.find(name);
  if (tensor == nullptr) return {};
  const kernels::WeightMatrix* matrix = declare(*tensor, rows, size, dimensions);
  if (matrix->format != kernels::WeightFormat::kF32)
    throw_error(ErrorCode::kUnsupported,
                "{}: tensor {} is {} where F32 is expected; convert the model again", file_.name(),
                name, kernels::traits(matrix->format).name);
  return {matrix};
}

Bytes WeightTable::weight_bytes() const {
  Bytes total;
  for (const Entry& entry : entries_) total += Bytes(entry.matrix.bytes());
  return total;
}

Bytes WeightTable::arena_bytes(std::uint64_t alignment) const {
  Bytes total;
  for (const Entry& entry : entries_)
    total += Bytes(io::read_window(entry.tensor->offset, entry.matrix.bytes(), alignment).length);
  return total;
}

void WeightTable::for_each(
    FunctionRef<void(const io::GgufTensor&, const kernels::WeightMatrix&)> visit) const {
  for (const Entry& entry : entries_) visit(*entry.tensor, entry.matrix);
}

void WeightTable::load(io::AsyncReader& reader, io::Arena& arena,
                       FunctionRef<void(Bytes)> progress) {
  const std::uint64_t alignment = reader.alignment();
  const std::uint64_t piece = round_up(std::uint64_t{4} << 20, alignment);
  constexpr std::size_t kInFlight = 16;
  Bytes done;
  const auto collect = [&](std::size_t leave) {
    std::array<io::ReadCompletion, kInFlight> completions;
    while (reader.outstanding() > leave) {
      const std::size_t count = reader.reap(completions, io::AsyncReader::Wait::kOne);
      for (std::size_t i = 0; i < count; ++i) {
        if (completions[i].error == 0) continue;
        const io::GgufTensor& tensor = *entries_[completions[i].tag].tensor;
        throw_read_error(file_.paths()[tensor.file], completions[i].error,
                         fmt::format("tensor {}", tensor.name));
      }
      done += Bytes(count * piece);
      progress(std::min(done, weight_bytes()));
    }
  };
  try {
    for (std::size_t index = 0; index < entries_.size(); ++index) {
      Entry& entry = entries_[index];
      const io::ReadWindow window =
          io::read_window(entry.tensor->offset, entry.matrix.bytes(), alignment);
      const std::span<std::byte> memory = arena.take(Bytes(window.length), alignment);
      entry.matrix.data = memory.data() + window.skip;
      for (std::uint64_t at = 0; at < window.length; at += piece) {
        const std::uint64_t length = std::min(piece, window.length - at);
        const io::ReadRequest request{
            .file = entry.tensor->file,
            .offset = window.offset + at,
            .destination = memory.subspan(at, length),
            .needed = std::min(length, window.needed - std::min(at, window.needed)),
            .tag = index};
        collect(kInFlight - 1);
        reader.submit({&request, 1});
      }
    }
    collect(0);
  } catch (...) {
    drain(reader);  // the arena must outlive every read into it
    throw;
  }
}

}  // namespace hearth::runtime
