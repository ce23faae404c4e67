#include "io/gguf_parser.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "base/check.h"
#include "base/checked_math.h"
#include "base/error.h"
#include "io/gguf_cursor.h"
#include "io/gguf_format.h"

namespace hearth::io {
namespace {

// One element type of the format: what it becomes in a GgufValue, how to read one, and the fewest
// bytes it takes in the file, which bounds how many a count can honestly claim.
template <typename Stored, typename Widened>
struct NumberElement {
  using Value = Widened;
  static constexpr std::uint64_t kMinBytes = sizeof(Stored);
  static Value read(GgufCursor& cursor) { return cursor.number<Stored>(); }
};

struct BoolElement {
  using Value = bool;
  static constexpr std::uint64_t kMinBytes = 1;
  static Value read(GgufCursor& cursor) {
    const auto byte = cursor.number<std::uint8_t>();
    if (byte > 1) cursor.damaged("a boolean is neither 0 nor 1 but {}", byte);
    return byte == 1;
  }
};

struct StringElement {
  using Value = std::string;
  static constexpr std::uint64_t kMinBytes = sizeof(std::uint64_t);
  static Value read(GgufCursor& cursor) { return cursor.text(cursor.number<std::uint64_t>()); }
};

// Calls `use` with the element of `type`, which must be neither kArray nor unknown.
template <typename Use>
GgufValue with_element(GgufType type, Use use) {
  switch (type) {
    case GgufType::kUint8:
      return use(NumberElement<std::uint8_t, std::uint64_t>{});
    case GgufType::kUint16:
      return use(NumberElement<std::uint16_t, std::uint64_t>{});
    case GgufType::kUint32:
      return use(NumberElement<std::uint32_t, std::uint64_t>{});
    case GgufType::kUint64:
      return use(NumberElement<std::uint64_t, std::uint64_t>{});
    case GgufType::kInt8:
      return use(NumberElement<std::int8_t, std::int64_t>{});
    case GgufType::kInt16:
      return use(NumberElement<std::int16_t, std::int64_t>{});
    case GgufType::kInt32:
      return use(NumberElement<std::int32_t, std::int64_t>{});
    case GgufType::kInt64:
      return use(NumberElement<std::int64_t, std::int64_t>{});
    case GgufType::kFloat32:
      return use(NumberElement<float, double>{});
    case GgufType::kFloat64:
      return use(NumberElement<double, double>{});
    case GgufType::kBool:
      return use(BoolElement{});
    case GgufType::kString:
      return use(StringElement{});
    case GgufType::kArray:
      break;
  }
  CHECK(false);
  __builtin_unreachable();
}

class PartParser {
 public:
  PartParser(const ByteSource& source, BlockShapeOf block_shape_of, GgufFile::Data data)
      : source_(source), block_shape_of_(block_shape_of), data_(data), cursor_(source) {}

  GgufPart parse() {
    part_.file_bytes = Bytes(source_.size());
    part_.metadata = GgufMetadata(source_.name());
    read_magic_and_version();
    const auto tensors = cursor_.number<std::uint64_t>();
    const auto keys = cursor_.number<std::uint64_t>();
    read_metadata(keys);
    read_directory(tensors);
    place_tensors();
    check_overlap();
    return std::move(part_);
  }

 private:
  void read_magic_and_version();
  void read_metadata(std::uint64_t count);
  void read_directory(std::uint64_t count);
  GgufTensor read_tensor();
  void place_tensors();
  void check_end(const GgufTensor& tensor, std::uint64_t end);
  void check_overlap() const;

  std::string read_name(const char* what, std::uint64_t max_bytes);
  GgufType read_type(const std::string& key);
  GgufValue read_value(const std::string& key);
  GgufValue read_array(const std::string& key);
  std::optional<Bytes> tensor_size(const GgufTensor& tensor) const;
  void check_count(const std::string& of, std::uint64_t count, std::uint64_t min_bytes) const;

  template <typename... Args>
  [[noreturn]] void bad_tensor(const GgufTensor& tensor, fmt::format_string<Args...> what,
                               Args&&... args) const {
    throw_error(ErrorCode::kBadFile, "{}: tensor '{}' {}; the file is damaged, download it again",
                source_.name(), printable(tensor.name),
                fmt::format(what, std::forward<Args>(args)...));
  }

  const ByteSource& source_;
  BlockShapeOf block_shape_of_;
  GgufFile::Data data_;
  GgufCursor cursor_;
  GgufPart part_;
};

void PartParser::read_magic_and_version() {
  const std::string magic =
      cursor_.text(std::min<std::uint64_t>(kGgufMagic.size(), cursor_.remaining()));
  if (magic != kGgufMagic.substr(0, magic.size()))
    throw_error(ErrorCode::kBadFile,
                "{}: not a GGUF file (it begins with '{}'); was the model page or a pointer file "
                "downloaded instead of the model?",
                source_.name(), printable(magic));
  const auto version = cursor_.number<std::uint32_t>();
  const std::uint32_t swapped = __builtin_bswap32(version);
  if (swapped >= 1 && swapped <= kGgufVersion)
    throw_error(ErrorCode::kUnsupported,
                "{}: a big-endian GGUF file (version {}); convert it to little-endian",
                source_.name(), swapped);
  if (version == 1)
    throw_error(ErrorCode::kUnsupported,
                "{}: GGUF version 1 is not supported; convert the model again with current tools",
                source_.name());
  if (version == 0) cursor_.damaged("the GGUF version is 0");
  if (version > kGgufVersion)
    throw_error(ErrorCode::kUnsupported,
                "{}: GGUF version {} is not supported (2 and 3 are); use a newer hearth",
                source_.name(), version);
  part_.version = version;
}

void PartParser::check_count(const std::string& of, std::uint64_t count,
                             std::uint64_t min_bytes) const {
  if (count > cursor_.remaining() / min_bytes)
    throw_error(ErrorCode::kBadFile,
                "{}: truncated or damaged: {} claims {} entries, more than the {} bytes left at "
                "byte {} can hold; download it again",
                source_.name(), of, count, cursor_.remaining(), cursor_.position());
}

std::string PartParser::read_name(const char* what, std::uint64_t max_bytes) {
  const auto length = cursor_.number<std::uint64_t>();
  if (length == 0) cursor_.damaged("an empty {}", what);
  if (length > max_bytes)
    cursor_.damaged("a {} of {} bytes (at most {} are allowed)", what, length, max_bytes);
  return cursor_.text(length);
}

void PartParser::read_metadata(std::uint64_t count) {
  // An entry has at least a key of one byte, a type and a value of one byte.
  check_count("the metadata", count, 8 + 1 + 4 + 1);
  for (std::uint64_t i = 0; i < count; ++i) {
    std::string key = read_name("key", kGgufMaxKeyBytes);
    if (part_.metadata.has(key)) cursor_.damaged("the key '{}' a second time", printable(key));
    GgufValue value = read_value(key);
    part_.metadata.set(std::move(key), std::move(value));
  }
}

GgufType PartParser::read_type(const std::string& key) {
  const auto type = cursor_.number<std::uint32_t>();
  if (type > static_cast<std::uint32_t>(GgufType::kFloat64))
    cursor_.damaged("the key '{}' has the unknown value type {}", printable(key), type);
  return static_cast<GgufType>(type);
}

GgufValue PartParser::read_value(const std::string& key) {
  const GgufType type = read_type(key);
  if (type == GgufType::kArray) return read_array(key);
  return with_element(type, [&]<typename Element>(Element) {
    return GgufValue(std::in_place_type<typename Element::Value>, Element::read(cursor_));
  });
}

GgufValue PartParser::read_array(const std::string& key) {
  const GgufType type = read_type(key);
  if (type == GgufType::kArray)
    throw_error(ErrorCode::kUnsupported,
                "{}: the key '{}' holds an array of arrays, which is not supported; remove the key",
                source_.name(), printable(key));
  const auto count = cursor_.number<std::uint64_t>();
  return with_element(type, [&]<typename Element>(Element) {
    check_count(fmt::format("the array '{}'", printable(key)), count, Element::kMinBytes);
    std::vector<typename Element::Value> values;
    values.reserve(count);
    for (std::uint64_t i = 0; i < count; ++i) values.push_back(Element::read(cursor_));
    return GgufValue(std::make_shared<GgufArray>(GgufArray{std::move(values)}));
  });
}

void PartParser::read_directory(std::uint64_t count) {
  // An entry has at least a name of one byte, one dimension, a type and an offset.
  check_count("the tensor directory", count, 8 + 1 + 4 + 8 + 4 + 8);
  part_.tensors.reserve(count);
  for (std::uint64_t i = 0; i < count; ++i) part_.tensors.push_back(read_tensor());
}

GgufTensor PartParser::read_tensor() {
  GgufTensor tensor;
  tensor.name = read_name("tensor name", kGgufMaxTensorNameBytes);
  tensor.dimensions = cursor_.number<std::uint32_t>();
  if (tensor.dimensions < 1 || tensor.dimensions > kGgufMaxDimensions)
    bad_tensor(tensor, "has {} dimensions (1 to {} are allowed)", tensor.dimensions,
               kGgufMaxDimensions);
  std::uint64_t elements = 1;
  for (std::uint32_t i = 0; i < tensor.dimensions; ++i) {
    tensor.shape[i] = cursor_.number<std::uint64_t>();
    if (tensor.shape[i] == 0) bad_tensor(tensor, "has no elements: dimension {} is 0", i);
    const auto product = checked_multiply(elements, tensor.shape[i]);
    if (!product || *product > std::numeric_limits<std::int64_t>::max())
      bad_tensor(tensor, "has a shape whose element count overflows");
    elements = *product;
  }
  tensor.type_id = cursor_.number<std::uint32_t>();
  tensor.size = tensor_size(tensor);
  tensor.offset = cursor_.number<std::uint64_t>();  // of the tensor data, until place_tensors
  return tensor;
}

std::optional<Bytes> PartParser::tensor_size(const GgufTensor& tensor) const {
  const std::optional<BlockShape> block = block_shape_of_(tensor.type_id);
  if (!block) return std::nullopt;
  CHECK(block->values > 0 && block->bytes > 0);
  if (tensor.shape[0] % block->values != 0)
    bad_tensor(tensor, "has rows of {} values, no multiple of the {} in a block of type {}",
               tensor.shape[0], block->values, tensor.type_id);
  const auto bytes = checked_multiply(tensor.elements() / block->values, block->bytes);
  if (!bytes) bad_tensor(tensor, "has a size that overflows");
  return Bytes(*bytes);
}

void PartParser::place_tensors() {
  const std::uint64_t alignment =
      part_.metadata.unsigned_integer(kGgufAlignmentKey).value_or(kGgufDefaultAlignment);
  if (!is_gguf_alignment(alignment))
    throw_error(
        ErrorCode::kBadFile,
        "{}: {} is {}, not a power of two from 8 on; the file is damaged, download it again",
        source_.name(), kGgufAlignmentKey, alignment);
  const auto data = checked_add(cursor_.position(), alignment - 1);
  if (!data) cursor_.damaged("the alignment {} overflows", alignment);
  const std::uint64_t data_start = round_down(*data, alignment);
  for (GgufTensor& tensor : part_.tensors) {
    if (tensor.offset % alignment != 0)
      bad_tensor(tensor, "starts at {}, no multiple of the alignment {}", tensor.offset, alignment);
    const auto begin = checked_add(data_start, tensor.offset);
    // A tensor of unknown type has at least one byte.
    const auto end = begin ? checked_add(*begin, tensor.size.value_or(Bytes(1)).count) : begin;
    if (!end) bad_tensor(tensor, "has an offset that overflows");
    check_end(tensor, *end);
    tensor.offset = *begin;
  }
}

// Without its data, nothing but the address space bounds what a file may claim.
void PartParser::check_end(const GgufTensor& tensor, std::uint64_t end) {
  if (end <= source_.size()) return;
  if (data_ == GgufFile::Data::kPresent)
    throw_error(ErrorCode::kBadFile,
                "{}: truncated: tensor '{}' needs {} bytes, the file has {}; download it again",
                source_.name(), printable(tensor.name), end, source_.size());
  constexpr std::uint64_t kMostBytes = std::uint64_t{1} << 47;
  if (end > kMostBytes) bad_tensor(tensor, "ends at {}, beyond any file", end);
  part_.has_data = false;
  part_.file_bytes = std::max(part_.file_bytes, Bytes(end));
}

void PartParser::check_overlap() const {
  std::vector<const GgufTensor*> by_offset;
  by_offset.reserve(part_.tensors.size());
  for (const GgufTensor& tensor : part_.tensors) by_offset.push_back(&tensor);
  std::sort(by_offset.begin(), by_offset.end(),
            [](const GgufTensor* a, const GgufTensor* b) { return a->offset < b->offset; });
  for (std::size_t i = 1; i < by_offset.size(); ++i) {
    const GgufTensor& previous = *by_offset[i - 1];
    if (by_offset[i]->offset < previous.offset + previous.size.value_or(Bytes(1)).count)
      bad_tensor(*by_offset[i], "overlaps tensor '{}'", printable(previous.name));
  }
}

}  // namespace

GgufPart parse_gguf_part(const ByteSource& source, BlockShapeOf block_shape_of,
                         GgufFile::Data data) {
  return PartParser(source, block_shape_of, data).parse();
}

}  // namespace hearth::io
