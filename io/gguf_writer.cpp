#include "io/gguf_writer.h"

#include <algorithm>
#include <limits>
#include <string_view>
#include <type_traits>
#include <utility>

#include "base/check.h"
#include "base/file_replacement.h"
#include "io/gguf_format.h"

namespace hearth::io {
namespace {

constexpr std::size_t kBufferBytes = 1 << 20;

// Gathers small writes.
class OutputFile {
 public:
  explicit OutputFile(const std::string& path) : file_(path, Written::kModel) {
    buffer_.reserve(kBufferBytes);
  }

  std::uint64_t position() const { return written_ + buffer_.size(); }

  void write(std::span<const std::byte> data) {
    if (buffer_.size() + data.size() > kBufferBytes) flush();
    if (data.size() >= kBufferBytes)
      write_through(data);
    else
      buffer_.insert(buffer_.end(), data.begin(), data.end());
  }

  template <typename T>
    requires std::is_arithmetic_v<T>
  void number(T value) {
    write(std::as_bytes(std::span(&value, 1)));
  }

  void text(std::string_view value) {
    number(std::uint64_t{value.size()});
    write(std::as_bytes(std::span(value)));
  }

  void type(GgufType type) { number(static_cast<std::uint32_t>(type)); }

  void pad_to(std::uint64_t alignment) {
    while (position() % alignment != 0) number(std::uint8_t{0});
  }

  void finish() {
    flush();
    file_.commit();
  }

 private:
  void flush() {
    write_through(buffer_);
    buffer_.clear();
  }

  void write_through(std::span<const std::byte> data) {
    file_.write(data);
    written_ += data.size();
  }

  FileReplacement file_;
  std::vector<std::byte> buffer_;
  std::uint64_t written_ = 0;  // past the buffer
};

// Whether every element fits type `Narrow`, which decides the width an array is written in.
template <typename Narrow, typename T>
bool all_fit(const std::vector<T>& values) {
  return std::all_of(values.begin(), values.end(),
                     [](T value) { return std::in_range<Narrow>(value); });
}

template <typename Stored, typename T>
void write_numbers(OutputFile& out, const std::vector<T>& values) {
  for (const T value : values) out.number(static_cast<Stored>(value));
}

struct ArrayWriter {
  OutputFile& out;

  void begin(GgufType type, std::size_t count) const {
    out.type(type);
    out.number(std::uint64_t{count});
  }
  void operator()(const std::vector<std::uint64_t>& values) const {
    const bool narrow = all_fit<std::uint32_t>(values);
    begin(narrow ? GgufType::kUint32 : GgufType::kUint64, values.size());
    narrow ? write_numbers<std::uint32_t>(out, values) : write_numbers<std::uint64_t>(out, values);
  }
  void operator()(const std::vector<std::int64_t>& values) const {
    const bool narrow = all_fit<std::int32_t>(values);
    begin(narrow ? GgufType::kInt32 : GgufType::kInt64, values.size());
    narrow ? write_numbers<std::int32_t>(out, values) : write_numbers<std::int64_t>(out, values);
  }
  void operator()(const std::vector<double>& values) const {
    begin(GgufType::kFloat32, values.size());
    write_numbers<float>(out, values);
  }
  void operator()(const std::vector<bool>& values) const {
    begin(GgufType::kBool, values.size());
    write_numbers<std::uint8_t>(out, values);
  }
  void operator()(const std::vector<std::string>& values) const {
    begin(GgufType::kString, values.size());
    for (const std::string& value : values) out.text(value);
  }
};

// Writes the type of a value and the value.
struct ValueWriter {
  OutputFile& out;

  template <typename Stored, typename T>
  void scalar(GgufType type, T value) const {
    out.type(type);
    out.number(static_cast<Stored>(value));
  }
  void operator()(std::uint64_t value) const {
    if (std::in_range<std::uint32_t>(value))
      scalar<std::uint32_t>(GgufType::kUint32, value);
    else
      scalar<std::uint64_t>(GgufType::kUint64, value);
  }
  void operator()(std::int64_t value) const {
    if (std::in_range<std::int32_t>(value))
      scalar<std::int32_t>(GgufType::kInt32, value);
    else
      scalar<std::int64_t>(GgufType::kInt64, value);
  }
  void operator()(double value) const { scalar<float>(GgufType::kFloat32, value); }
  void operator()(bool value) const { scalar<std::uint8_t>(GgufType::kBool, value); }
  void operator()(const std::string& value) const {
    out.type(GgufType::kString);
    out.text(value);
  }
  void operator()(const std::shared_ptr<GgufArray>& array) const {
    CHECK(array != nullptr);
    out.type(GgufType::kArray);
    std::visit(ArrayWriter{out}, array->values);
  }
};

}  // namespace

struct GgufWriter::State {
  explicit State(const std::string& path) : out(path) {}

  void begin_data();  // writes everything in front of the tensor data, once

  OutputFile out;
  GgufMetadata metadata;
  std::vector<GgufTensor> tensors;
  std::uint64_t alignment = 0;  // known when the data begins
  bool in_data = false;
  std::size_t current = 0;     // the tensor being written
  std::uint64_t appended = 0;  // bytes of it
};

void GgufWriter::State::begin_data() {
  if (std::exchange(in_data, true)) return;
  alignment = metadata.unsigned_integer(kGgufAlignmentKey).value_or(kGgufDefaultAlignment);
  CHECK(is_gguf_alignment(alignment));
  out.write(std::as_bytes(std::span(kGgufMagic)));
  out.number(kGgufVersion);
  out.number(std::uint64_t{tensors.size()});
  out.number(std::uint64_t{metadata.entries().size()});
  for (const GgufMetadata::Entry& entry : metadata.entries()) {
    out.text(entry.key);
    std::visit(ValueWriter{out}, entry.value);
  }
  std::uint64_t offset = 0;
  for (const GgufTensor& tensor : tensors) {
    out.text(tensor.name);
    out.number(tensor.dimensions);
    for (std::uint32_t i = 0; i < tensor.dimensions; ++i) out.number(tensor.shape[i]);
    out.number(tensor.type_id);
    out.number(offset);
    offset += round_up(tensor.size->count, alignment);
  }
  out.pad_to(alignment);
}

GgufWriter::GgufWriter(const std::string& path) : state_(std::make_unique<State>(path)) {}

GgufWriter::~GgufWriter() = default;

void GgufWriter::set(const std::string& key, const GgufValue& value) {
  CHECK(!state_->in_data);
  CHECK(!key.empty() && key.size() <= kGgufMaxKeyBytes);
  state_->metadata.set(key, value);
}

void GgufWriter::declare(const std::string& name, std::span<const std::uint64_t> shape,
                         std::uint32_t type_id, Bytes size) {
  CHECK(!state_->in_data);
  CHECK(!name.empty() && name.size() <= kGgufMaxTensorNameBytes);
  CHECK(!shape.empty() && shape.size() <= kGgufMaxDimensions);
  CHECK_GT(size.count, 0u);
  GgufTensor tensor;
  tensor.name = name;
  std::copy(shape.begin(), shape.end(), tensor.shape.begin());
  tensor.dimensions = static_cast<std::uint32_t>(shape.size());
  tensor.type_id = type_id;
  tensor.size = size;
  state_->tensors.push_back(std::move(tensor));
}

void GgufWriter::append(std::span<const std::byte> data) {
  State& state = *state_;
  state.begin_data();
  CHECK_LT(state.current, state.tensors.size());
  const std::uint64_t size = state.tensors[state.current].size->count;
  CHECK_LE(data.size(), size - state.appended);
  state.out.write(data);
  state.appended += data.size();
  if (state.appended < size) return;
  state.out.pad_to(state.alignment);
  state.appended = 0;
  ++state.current;
}

void GgufWriter::finish() {
  state_->begin_data();
  CHECK_EQ(state_->current, state_->tensors.size());
  state_->out.finish();
}

void GgufWriter::finish_header() {
  CHECK(!state_->in_data);
  state_->begin_data();
  state_->out.finish();
}

}  // namespace hearth::io
