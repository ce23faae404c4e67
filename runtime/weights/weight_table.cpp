#include "runtime/weights/weight_table.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "base/check.h"
#include "base/error.h"
#include "io/read_window.h"
#include "kernels/cpu_kernels.h"
#include "kernels/quant/half.h"
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

std::optional<io::BlockShape> block_shape_of(std::uint32_t gguf_type) {
  const auto format = kernels::format_of_gguf_type(gguf_type);
  if (!format) return std::nullopt;
  const kernels::WeightFormatTraits& traits = kernels::traits(*format);
  return io::BlockShape{traits.values_per_block, traits.bytes_per_block};
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

WeightTable::Entry& WeightTable::declare(const io::GgufTensor& tensor, std::uint32_t rows,
                                         std::uint32_t columns, std::uint32_t dimensions) {
  for (Entry& entry : entries_)
    if (entry.tensor == &tensor) return entry;
  const bool fits = tensor.dimensions == dimensions && tensor.shape[0] == columns &&
                    tensor.elements() == std::uint64_t{rows} * columns;
  if (!fits)
    throw_error(ErrorCode::kBadFile,
                "{}: tensor {} has shape {} where {}{} is expected; "
                "the file does not match its metadata",
                file_.name(), printable(tensor.name), shape_text(tensor), columns,
                dimensions > 1 ? fmt::format(" × {}", rows) : "");
  entries_.push_back({&tensor, {checked_format(file_, tensor), rows, columns, nullptr}});
  return entries_.back();
}

const io::GgufTensor& WeightTable::tensor(const std::string& name,
                                          std::span<const std::uint64_t> shape) const {
  const io::GgufTensor* const found =
      source_ != nullptr ? source_->find(name, shape) : file_.find(name);
  if (found == nullptr) throw_missing_tensor(file_, name);
  return *found;
}

const kernels::WeightMatrix* WeightTable::matrix(const std::string& name, std::uint32_t rows,
                                                 std::uint32_t columns) {
  return &declare(tensor(name, std::array<std::uint64_t, 2>{columns, rows}), rows, columns, 2)
              .matrix;
}

WeightVector WeightTable::vector(const std::string& name, std::uint32_t size) {
  return floats(name, 1, size, 1);
}

WeightVector WeightTable::optional_vector(const std::string& name, std::uint32_t size) {
  return has(name) ? floats(name, 1, size, 1) : WeightVector();
}

WeightVector WeightTable::optional_vectors(const std::string& name, std::uint32_t rows,
                                           std::uint32_t size) {
  return has(name) ? floats(name, rows, size, 2) : WeightVector();
}

WeightVector WeightTable::floats(const std::string& name, std::uint32_t rows, std::uint32_t size,
                                 std::uint32_t dimensions) {
  const std::array<std::uint64_t, 2> shape{size, rows};
  Entry& entry = declare(tensor(name, std::span(shape).first(dimensions)), rows, size, dimensions);
  entry.vector = true;
  const kernels::WeightMatrix* const matrix = &entry.matrix;
  if (matrix->format != kernels::WeightFormat::kF32)
    throw_error(ErrorCode::kUnsupported,
                "{}: tensor {} is {} where F32 is expected; convert the model again", file_.name(),
                name, kernels::traits(matrix->format).name);
  return {matrix};
}

const kernels::WeightMatrix* WeightTable::matrices(const std::string& name, std::uint32_t count,
                                                   std::uint32_t rows, std::uint32_t columns) {
  const io::GgufTensor& found = tensor(name, std::array<std::uint64_t, 3>{columns, rows, count});
  if (found.dimensions == 3 && found.shape[2] != count)
    throw_error(
        ErrorCode::kBadFile,
        "{}: tensor {} holds {} matrices where {} are expected; the file does not match its "
        "metadata",
        file_.name(), printable(name), found.shape[2], count);
  return &declare(found, count * rows, columns, 3).matrix;
}

const kernels::WeightMatrix* WeightTable::transposed(const kernels::WeightMatrix* source,
                                                     const RowGroups& groups) {
  CHECK_LE(std::size_t{groups.count} * groups.stride, source->rows);
  CHECK_LE(groups.rows, groups.stride);
  const auto entry = std::find_if(entries_.begin(), entries_.end(),
                                  [&](const Entry& one) { return &one.matrix == source; });
  CHECK(entry != entries_.end());
  made_.push_back(
      {&*entry,
       groups,
       {kernels::WeightFormat::kF16, groups.count * source->columns, groups.rows, nullptr}});
  return &made_.back().matrix;
}

// Each weight is rounded once; an f16 keeps 11 of its bits, more than the formats of 8 bits and
// fewer have.
void WeightTable::make(const Made& made, const kernels::WeightMatrix& source, std::byte* out) {
  const auto& scalar = kernels::cpu_kernels(kernels::InstructionSet::kScalar);
  const auto dequantize = scalar.dequantize[static_cast<std::size_t>(source.format)];
  std::vector<float> row(source.columns);
  for (std::uint32_t g = 0; g < made.groups.count; ++g)
    for (std::uint32_t r = 0; r < made.groups.rows; ++r) {
      dequantize(source.row(g * made.groups.stride + r), source.columns, row.data());
      for (std::uint32_t c = 0; c < source.columns; ++c) {
        const std::uint16_t half = kernels::f16_of_f32(row[c]);
        const std::size_t to = (std::size_t{g} * source.columns + c) * made.groups.rows + r;
        std::memcpy(out + 2 * to, &half, 2);
      }
    }
}

Bytes WeightTable::weight_bytes() const {
  Bytes total;
  for (const Made& made : made_) total += Bytes(made.matrix.bytes());
  for (const Entry& entry : entries_) total += Bytes(entry.matrix.bytes());
  return total;
}

Bytes WeightTable::window_bytes(const Entry& entry, std::uint64_t alignment) {
  return Bytes(io::read_window(entry.tensor->offset, entry.matrix.bytes(), alignment).length);
}

Bytes WeightTable::vector_bytes(std::uint64_t alignment) const {
  Bytes total;
  for (const Entry& entry : entries_)
    if (entry.vector) total += window_bytes(entry, alignment);
  return total;
}

Bytes WeightTable::arena_bytes(std::uint64_t alignment) const {
  Bytes total;
  for (const Entry& entry : entries_) total += window_bytes(entry, alignment);
  for (const Made& made : made_) total += Bytes(round_up(made.matrix.bytes(), alignment));
  return total;
}

void WeightTable::for_each(
    FunctionRef<void(const io::GgufTensor&, const kernels::WeightMatrix&)> visit) const {
  for_each_tensor(visit);
  for (const Made& made : made_) visit(*made.source->tensor, made.matrix);
}

void WeightTable::for_each_tensor(
    FunctionRef<void(const io::GgufTensor&, const kernels::WeightMatrix&)> visit) const {
  for (const Entry& entry : entries_) visit(*entry.tensor, entry.matrix);
}

// Takes the memory of these, and reads them.
void WeightTable::read(std::span<Entry* const> entries, io::AsyncReader& reader, io::Arena& arena,
                       FunctionRef<void(Bytes)> progress) const {
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
        const io::GgufTensor& tensor = *entries[completions[i].tag]->tensor;
        throw_read_error(file_.paths()[tensor.file], completions[i].error,
                         fmt::format("tensor {}", tensor.name));
      }
      done += Bytes(count * piece);
      progress(std::min(done, weight_bytes()));
    }
  };
  try {
    for (std::size_t index = 0; index < entries.size(); ++index) {
      Entry& entry = *entries[index];
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
    reader.end_reads();  // the arena must outlive every read into it
    throw;
  }
}

void WeightTable::load(io::AsyncReader& reader, io::Arena& arena,
                       FunctionRef<void(Bytes)> progress) {
  std::vector<Entry*> all;
  for (Entry& entry : entries_) all.push_back(&entry);
  read(all, reader, arena, progress);
  for (Made& made : made_) {
    const Bytes bytes(round_up(made.matrix.bytes(), reader.alignment()));
    std::byte* const memory = arena.take(bytes, reader.alignment()).data();
    make(made, made.source->matrix, memory);
    made.matrix.data = memory;
  }
  if (!made_.empty()) progress(weight_bytes());
}

void WeightTable::load_vectors(io::AsyncReader& reader, io::Arena& arena,
                               FunctionRef<void(Bytes)> progress) {
  std::vector<Entry*> vectors;
  for (Entry& entry : entries_)
    if (entry.vector) vectors.push_back(&entry);
  read(vectors, reader, arena, progress);
}

void WeightTable::for_each_made(
    io::AsyncReader& reader,
    FunctionRef<void(const kernels::WeightMatrix&, std::span<const std::byte>)> visit) const {
  const std::uint64_t alignment = reader.alignment();
  for (const Made& made : made_) {
    if (made.matrix.data != nullptr) {
      visit(made.matrix, {made.matrix.data, made.matrix.bytes()});
      continue;
    }
    const Bytes out_bytes(round_up(made.matrix.bytes(), alignment));
    io::Arena memory(window_bytes(*made.source, alignment) + out_bytes, io::Arena::Pages::kDefault);
    Entry source = *made.source;
    Entry* const sources[] = {&source};
    read(sources, reader, memory, [](Bytes) {});
    const std::span<std::byte> out = memory.take(out_bytes, alignment);
    make(made, source.matrix, out.data());
    visit(made.matrix, out.first(made.matrix.bytes()));
  }
}

}  // namespace hearth::runtime
