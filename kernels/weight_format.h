// Weight formats as data. One struct per format with its layout lives in kernels/quant/<format>.h.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace hearth::kernels {

enum class WeightFormat : std::uint8_t {
#define WEIGHT_FORMAT(Name, text, values, bytes, id) k##Name,
#include "kernels/quant/formats.def"
#undef WEIGHT_FORMAT
};

struct WeightFormatTraits {
  WeightFormat format;
  std::string_view name;
  std::uint32_t values_per_block;
  std::uint32_t bytes_per_block;
  std::uint32_t gguf_type;
};

inline constexpr std::array kWeightFormats = {
#define WEIGHT_FORMAT(Name, text, values, bytes, id) \
  WeightFormatTraits{WeightFormat::k##Name, text, values, bytes, id},
#include "kernels/quant/formats.def"
#undef WEIGHT_FORMAT
};
inline constexpr std::size_t kWeightFormatCount = kWeightFormats.size();

constexpr const WeightFormatTraits& traits(WeightFormat format) {
  return kWeightFormats[static_cast<std::size_t>(format)];
}

constexpr std::optional<WeightFormat> format_of_gguf_type(std::uint32_t type_id) {
  for (const WeightFormatTraits& row : kWeightFormats)
    if (row.gguf_type == type_id) return row.format;
  return std::nullopt;
}

constexpr std::optional<WeightFormat> format_of_name(std::string_view name) {
  for (const WeightFormatTraits& row : kWeightFormats)
    if (row.name == name) return row.format;
  return std::nullopt;
}

// Whether a product with this format uses the 8-bit form of the activations (else their f32).
constexpr bool takes_quantized_activations(WeightFormat format) {
  return traits(format).values_per_block > 1;
}

// A matrix as it lies in the file: `rows` rows of `columns` values, each row whole blocks.
// The data may start at any address.
struct WeightMatrix {
  WeightFormat format = WeightFormat::kF32;
  std::uint32_t rows = 0;
  std::uint32_t columns = 0;  // a multiple of values_per_block
  const std::byte* data = nullptr;

  std::size_t row_bytes() const {
    return std::size_t{columns} / traits(format).values_per_block * traits(format).bytes_per_block;
  }
  std::size_t bytes() const { return rows * row_bytes(); }
  const std::byte* row(std::uint32_t r) const { return data + r * row_bytes(); }
};

}  // namespace hearth::kernels
