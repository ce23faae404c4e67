// GGUF files made by hand, byte by byte, so that they can be wrong in any way.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "io/gguf.h"
#include "io/gguf_format.h"

namespace hearth::io {

// The formats the tests know: f32, one with blocks of 32 values in 34 bytes, one with 256 in 144.
constexpr std::uint32_t kPlainType = 0;
constexpr std::uint32_t kBlock32Type = 8;
constexpr std::uint32_t kBlock256Type = 12;

inline std::optional<BlockShape> test_block_shape(std::uint32_t type_id) {
  switch (type_id) {
    case kPlainType:
      return BlockShape{1, 4};
    case kBlock32Type:
      return BlockShape{32, 34};
    case kBlock256Type:
      return BlockShape{256, 144};
    default:
      return std::nullopt;
  }
}

class GgufImage {
 public:
  struct Field {
    std::size_t position = 0;
    std::size_t width = 0;
  };

  template <typename T>
    requires std::is_arithmetic_v<T>
  GgufImage& number(T value) {
    if (sizeof(T) >= 4) fields_.push_back({bytes_.size(), sizeof(T)});
    const auto raw = std::as_bytes(std::span(&value, 1));
    bytes_.insert(bytes_.end(), raw.begin(), raw.end());
    return *this;
  }

  GgufImage& raw(std::string_view characters) {
    const auto raw = std::as_bytes(std::span(characters));
    bytes_.insert(bytes_.end(), raw.begin(), raw.end());
    return *this;
  }

  GgufImage& text(std::string_view value) { return number(std::uint64_t{value.size()}).raw(value); }

  GgufImage& header(std::uint64_t tensors, std::uint64_t keys, std::uint32_t version = 3) {
    return raw("GGUF").number(version).number(tensors).number(keys);
  }

  GgufImage& key(std::string_view name, GgufType type) {
    return text(name).number(static_cast<std::uint32_t>(type));
  }

  GgufImage& array(std::string_view name, GgufType element, std::uint64_t count) {
    return key(name, GgufType::kArray).number(static_cast<std::uint32_t>(element)).number(count);
  }

  GgufImage& tensor(std::string_view name, std::initializer_list<std::uint64_t> shape,
                    std::uint32_t type, std::uint64_t offset) {
    text(name).number(static_cast<std::uint32_t>(shape.size()));
    for (const std::uint64_t extent : shape) number(extent);
    return number(type).number(offset);
  }

  GgufImage& pad(std::size_t alignment = 32) {
    bytes_.resize((bytes_.size() + alignment - 1) / alignment * alignment);
    return *this;
  }

  GgufImage& data(std::size_t count) {
    bytes_.resize(bytes_.size() + count, std::byte{0x5a});
    return *this;
  }

  const std::vector<std::byte>& bytes() const { return bytes_; }
  const std::vector<Field>& fields() const { return fields_; }  // numbers of 32 and 64 bits

 private:
  std::vector<std::byte> bytes_;
  std::vector<Field> fields_;
};

// Every scalar type, every array type, three tensors; the last one ends with the file.
inline GgufImage complete_image() {
  using Type = GgufType;
  GgufImage image;
  image.header(3, 26);
  image.key("u8", Type::kUint8).number(std::uint8_t{200});
  image.key("i8", Type::kInt8).number(std::int8_t{-100});
  image.key("u16", Type::kUint16).number(std::uint16_t{60000});
  image.key("i16", Type::kInt16).number(std::int16_t{-30000});
  image.key("u32", Type::kUint32).number(std::uint32_t{4000000000});
  image.key("i32", Type::kInt32).number(std::int32_t{-2000000000});
  image.key("u64", Type::kUint64).number(std::numeric_limits<std::uint64_t>::max());
  image.key("i64", Type::kInt64).number(std::numeric_limits<std::int64_t>::min());
  image.key("f32", Type::kFloat32).number(1.5f);
  image.key("f64", Type::kFloat64).number(0.1);
  image.key("bool", Type::kBool).number(std::uint8_t{1});
  image.key("string", Type::kString).text("hearth");
  image.array("u8s", Type::kUint8, 2).number(std::uint8_t{1}).number(std::uint8_t{255});
  image.array("i8s", Type::kInt8, 2).number(std::int8_t{1}).number(std::int8_t{-128});
  image.array("u16s", Type::kUint16, 1).number(std::uint16_t{65535});
  image.array("i16s", Type::kInt16, 1).number(std::int16_t{-32768});
  image.array("u32s", Type::kUint32, 2).number(std::uint32_t{7}).number(std::uint32_t{8});
  image.array("i32s", Type::kInt32, 1).number(std::int32_t{-7});
  image.array("u64s", Type::kUint64, 1).number(std::uint64_t{1} << 63);
  image.array("i64s", Type::kInt64, 1).number(std::int64_t{-1});
  image.array("f32s", Type::kFloat32, 2).number(0.5f).number(-0.25f);
  image.array("f64s", Type::kFloat64, 1).number(1e300);
  image.array("bools", Type::kBool, 3).raw(std::string_view("\1\0\1", 3));
  image.array("strings", Type::kString, 3).text("a").text("").text("bc");
  image.array("nothing", Type::kString, 0);
  image.key("general.alignment", Type::kUint32).number(std::uint32_t{64});
  image.tensor("plain", {3}, kPlainType, 0);
  image.tensor("blocks", {64, 2}, kBlock32Type, 64);
  image.tensor("experts", {32, 1, 2}, kBlock32Type, 256);
  return image.pad(64).data(12).pad(64).data(136).pad(64).data(68);
}

}  // namespace hearth::io
